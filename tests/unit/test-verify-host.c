/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A host laid out in a directory, and what is said of it: see test-verify.h. */
#include "tests/unit/test-verify.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

/* In the file of a laid-out host, MSRs don't overlap. */
#define MSR_BYTES 8

uint32_t leaf_15[4], leaf_16[4];
uint64_t timer_resolution;
const char *unmounted_tracing;
int tracing_error;

static const char *root; /* of the one host that there is at a time */

static gboolean fake_cpuid(uint32_t leaf, uint32_t eax_to_edx[4])
{
    const uint32_t *r = leaf == 0x15 ? leaf_15 : leaf_16;

    memcpy(eax_to_edx, r, sizeof(leaf_15));
    return (leaf == 0x15 || leaf == 0x16) && (r[0] | r[1] | r[2] | r[3]) != 0;
}

static uint64_t fake_resolution(void)
{
    return timer_resolution;
}

static int fake_tracing(void)
{
    g_autofree char *full = g_strconcat(root, unmounted_tracing, NULL);

    if (unmounted_tracing != NULL) {
        return open(full, O_PATH | O_DIRECTORY | O_CLOEXEC);
    }
    errno = tracing_error;
    return -1;
}

/* ---- the host ---- */

void write_bytes(struct fake *f, const char *path, const char *bytes, gsize length)
{
    g_autofree char *full = g_strconcat(f->root, path, NULL);
    g_autofree char *directory = g_path_get_dirname(full);
    g_autoptr(GError) error = NULL;

    g_assert_cmpint(g_mkdir_with_parents(directory, 0755), ==, 0);
    /* In this way it takes no fsync(). */
    g_unlink(full);
    g_file_set_contents_full(full, bytes, (gssize)length, G_FILE_SET_CONTENTS_NONE, 0644, &error);
    g_assert_no_error(error);
}

void write_file(struct fake *f, const char *path, const char *text)
{
    write_bytes(f, path, text, strlen(text));
}

void write_program(struct fake *f, const char *path)
{
    g_autofree char *full = g_strconcat(f->root, path, NULL);

    write_file(f, path, "#!/bin/true\n");
    g_assert_cmpint(g_chmod(full, 0755), ==, 0);
}

static void remove_tree(const char *path)
{
    g_autoptr(GDir) directory = g_dir_open(path, 0, NULL);
    const char *name;

    while (directory != NULL && (name = g_dir_read_name(directory)) != NULL) {
        g_autofree char *child = g_build_filename(path, name, NULL);

        remove_tree(child);
    }
    g_remove(path);
}

void remove_path(struct fake *f, const char *path)
{
    g_autofree char *full = g_strconcat(f->root, path, NULL);

    remove_tree(full);
    g_assert_false(g_file_test(full, G_FILE_TEST_EXISTS));
}

void write_msr(struct fake *f, uint32_t msr, uint64_t value)
{
    g_autofree char *full = g_strconcat(f->root, MSR, NULL);
    g_autofree char *directory = g_path_get_dirname(full);
    int fd;

    g_assert_cmpint(g_mkdir_with_parents(directory, 0755), ==, 0);
    fd = open(full, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(pwrite(fd, &value, sizeof(value), (off_t)msr * MSR_BYTES), ==, sizeof(value));
    close(fd);
}

void write_cpu(struct fake *f, const char *vendor, unsigned family, unsigned model,
               unsigned stepping, const char *flags, const char *vmx_flags)
{
    g_autofree char *text = g_strdup_printf(
        "processor\t: 0\nvendor_id\t: %s\ncpu family\t: %u\nmodel\t\t: %u\n"
        "model name\t: A CPU @ 9.99GHz\nstepping\t: %u\ncpu MHz\t\t: 1234.567\nflags\t\t: %s\n"
        "%s%s%sbugs\t\t: spectre_v1\n\nprocessor\t: 1\nvendor_id\t: Second\ncpu family\t: 6\n"
        "model\t\t: 26\nstepping\t: 5\nflags\t\t: fpu vmx svm\nvmx flags\t: preemption_timer\n\n",
        vendor, family, model, stepping, flags, vmx_flags != NULL ? "vmx flags\t: " : "",
        vmx_flags != NULL ? vmx_flags : "", vmx_flags != NULL ? "\n" : "");

    write_file(f, CPU, text);
}

void fake_set_up(struct fake *f, G_GNUC_UNUSED gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    f->root = g_dir_make_tmp("hvtimer-test-verify-XXXXXX", &error);
    g_assert_no_error(error);
    g_assert_cmpint(g_chmod(f->root, 0755), ==, 0); /* for nobody */
    f->host = (struct host){f->root, MSR_BYTES, fake_cpuid, fake_resolution, fake_tracing};
    f->services = (struct services){.hvtimerd = g_new0(struct services_hvtimerd, 1)};
    set_hvtimerd_error(
        f, g_error_new_literal(G_DBUS_ERROR, G_DBUS_ERROR_NAME_HAS_NO_OWNER, "no such name"));
    root = f->root;
    timer_resolution = 1;
    unmounted_tracing = NULL;
    tracing_error = ENODEV;
    memset(leaf_15, 0, sizeof(leaf_15));
    memset(leaf_16, 0, sizeof(leaf_16));
}

void fake_tear_down(struct fake *f, G_GNUC_UNUSED gconstpointer data)
{
    remove_path(f, "");
    set_hvtimerd_error(f, NULL);
    g_free(f->services.hvtimerd);
    services_libvirt_free(f->services.libvirt);
    g_free(f->root);
}

void set_hvtimerd_error(struct fake *f, GError *error)
{
    g_clear_error(&f->services.hvtimerd->error);
    g_clear_pointer(&f->services.hvtimerd->version, g_free);
    *f->services.hvtimerd = (struct services_hvtimerd){.error = error};
}

void write_hvtimerd(struct fake *f, unsigned uid, int policy, const char *cpus)
{
    g_autofree char *stat =
        g_strdup_printf("4713 (hvt-engine) S 1 4711 4711 0 -1 1077936192 65 0 0 "
                        "0 0 0 0 0 -51 0 5 0 1234 225280 1024 "
                        "18446744073709551615 1 1 0 0 0 0 0 4096 0 0 0 0 -1 1 "
                        "%d %d 0 0 0 0 0 0 0 0 0 0\n",
                        policy == 0 ? 0 : 50, policy);
    g_autofree char *process = g_strdup_printf(
        "Name:\thvtimerd\nUid:\t%u\t%u\t%u\t%u\nVmLck:\t    4096 kB\n", uid, uid, uid, uid);
    g_autofree char *thread =
        g_strdup_printf("Name:\thvt-engine\nCpus_allowed:\tf\nCpus_allowed_list:\t%s\n", cpus);

    write_file(f, DAEMON "status", process);
    write_file(f, DAEMON "timerslack_ns", "50000\n");
    write_file(f, DAEMON "cgroup", "3:cpu,cpuacct:/system.slice/hvtimerd.service\n0::/x\n");
    write_file(f, DAEMON "task/4711/comm", "hvtimerd\n");
    write_file(f, DAEMON "task/4713/comm", "hvt-engine\n");
    write_file(f, DAEMON "task/4713/stat", stat);
    write_file(f, DAEMON "task/4713/status", thread);
    set_hvtimerd_error(f, NULL);
    f->services.hvtimerd->version = g_strdup(PACKAGE_VERSION);
    f->services.hvtimerd->pid = 4711;
}

struct services_libvirt *set_libvirt(struct fake *f, GError *error)
{
    services_libvirt_free(f->services.libvirt);
    f->services.libvirt = services_libvirt_new("qemu:///system");
    f->services.libvirt->error = error;
    f->services.libvirt->version = g_strdup("9.0.0");
    f->services.libvirt->hypervisor = g_strdup("QEMU 7.2.22");
    return f->services.libvirt;
}

static void write_system(struct fake *f)
{
    static const char *const events[] = {"kvm_pio", "kvm_hv_timer_state", "kvm_apic", "kvm_msr"};

    write_file(f, RELEASE, "6.1.0-18-amd64\n");
    write_file(f, SOURCE, "tsc\n");
    write_file(f, SOURCES, "tsc hpet acpi_pm \n");
    write_file(f, RUNTIME, "950000\n");
    write_file(f, RTPERIOD, "1000000\n");
    write_file(f, SLACK, "50000\n");
    write_file(f, YAMA, "0\n");
    write_file(f, LOCKDOWN, "[none] integrity confidentiality\n");
    write_file(f, PERF, "3\n");
    for (size_t i = 0; i < G_N_ELEMENTS(events); i++) {
        g_autofree char *path = g_strconcat(TRACING EVENTS, events[i], "/id", NULL);
        write_file(f, path, "1234\n");
    }
    write_file(f, ONLINE, "0-7\n");
    write_file(f, ISOLATED, "\n");
    write_program(f, HELPER);
}

static void write_common(struct fake *f)
{
    write_system(f);
    write_file(f, DEVICE, "");
    write_file(f, PERIOD, "200\n");
    write_file(f, POSTED, "0\n");
}

void write_intel(struct fake *f)
{
    const uint32_t crystal[4] = {2, 208, 24000000, 0}; /* 2496 MHz */

    write_common(f);
    write_cpu(f, "GenuineIntel", XEON, FLAGS_VMX, VMX_FLAGS);
    write_file(f, TIMER, "Y\n");
    write_file(f, APICV, "Y\n");
    write_msr(f, 0x480, BASIC_TRUE);
    write_msr(f, 0x481, PIN);
    write_msr(f, 0x485, MISC(5));
    write_msr(f, 0x48D, TRUE_PIN);
    memcpy(leaf_15, crystal, sizeof(leaf_15));
}

void write_amd(struct fake *f, const char *avic)
{
    write_common(f);
    write_cpu(f, "AuthenticAMD", 25, 1, 1, FLAGS_SVM, NULL);
    write_file(f, AVIC, avic);
}

/* ---- findings ---- */

void assert_sound(const GPtrArray *findings)
{
    for (guint i = 0; i < findings->len; i++) {
        const struct finding *a = findings->pdata[i];

        g_test_message("%-4s  %s: %s; %s; %s", finding_level_name(a->level), a->subject, a->found,
                       a->meaning, a->remedy != NULL ? a->remedy : "-");
        g_assert_true(g_utf8_validate(a->found, -1, NULL));
        g_assert_null(strpbrk(a->found, "\n\r\t\033"));
        g_assert_cmpuint(strlen(a->found), >, 0);
        g_assert_cmpuint(g_utf8_strlen(a->found, -1), <, 400);
        g_assert_cmpuint(strlen(a->meaning), >, 0);
        if (a->level == FINDING_WARN || a->level == FINDING_FAIL) {
            g_assert_nonnull(a->remedy);
        }
        for (guint j = 0; j < i; j++) {
            const struct finding *b = findings->pdata[j];

            g_assert_true(g_str_equal(a->subject, "domain") ||
                          !g_str_equal(a->subject, b->subject));
        }
    }
}

GPtrArray *verify_fake(struct fake *f)
{
    GPtrArray *findings = verify_host(&f->host, &f->services);

    assert_sound(findings);
    return findings;
}

const struct finding *find(const GPtrArray *findings, const char *subject)
{
    for (guint i = 0; i < findings->len; i++) {
        const struct finding *finding = findings->pdata[i];

        if (g_str_equal(finding->subject, subject)) {
            return finding;
        }
    }
    return NULL;
}

void assert_finding(struct fake *f, const char *subject, enum finding_level level, const char *word)
{
    g_autoptr(GPtrArray) findings = verify_fake(f);
    const struct finding *finding = find(findings, subject);

    g_assert_nonnull(finding);
    g_assert_cmpstr(finding_level_name(finding->level), ==, finding_level_name(level));
    if (strstr(finding->found, word) == NULL &&
        (finding->remedy == NULL || strstr(finding->remedy, word) == NULL)) {
        g_error("'%s' is not in: %s; %s", word, finding->found, finding->remedy);
    }
}

void assert_no_finding(struct fake *f, const char *subject)
{
    g_autoptr(GPtrArray) findings = verify_fake(f);

    g_assert_null(find(findings, subject));
}

void assert_subjects(struct fake *f, const char *const *subjects, enum finding_level level)
{
    g_autoptr(GPtrArray) findings = verify_fake(f);

    g_assert_cmpuint(findings->len, ==, g_strv_length((char **)subjects));
    for (guint i = 0; i < findings->len; i++) {
        const struct finding *finding = findings->pdata[i];

        g_assert_cmpstr(finding->subject, ==, subjects[i]);
        g_assert_cmpstr(finding_level_name(finding->level), ==, finding_level_name(level));
    }
}

void add_verify_test(const char *name, void (*test)(struct fake *f, gconstpointer data))
{
    g_autofree char *path = g_strconcat("/verify/", name, NULL);

    g_test_add(path, struct fake, NULL, fake_set_up, test, fake_tear_down);
}
