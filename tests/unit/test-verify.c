/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What 'hvtimerctl verify' says of hosts of each kind: which timer KVM has, what it does to ticks,
 * and what can't be told.
 */
#include "tests/unit/test-verify.h"

#include <glib/gstdio.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#define NOBODY 65534

/* ---- Intel ---- */

static void test_intel(struct fake *f, G_GNUC_UNUSED gconstpointer data)
{
    static const char *const all[] = {"kernel",
                                      "kvm",
                                      "preemption-timer",
                                      "preemption-timer-rate",
                                      "minimum-period",
                                      "apicv",
                                      "posted-timer-interrupts",
                                      "clocksource",
                                      "tsc",
                                      "high-resolution-timers",
                                      "timer-slack",
                                      "rt-throttling",
                                      "attach-helper",
                                      "ptrace",
                                      "tracing",
                                      "hvtimerd",
                                      "engine",
                                      "engine-cpu",
                                      "libvirt",
                                      "libvirt-group",
                                      "domains",
                                      NULL};

    write_intel(f);
    write_hvtimerd(f, 0, SCHED_FIFO, "0-7");
    write_file(f, "/etc/passwd", "hvtimer:x:998:998::/:/usr/sbin/nologin\n");
    write_file(f, "/etc/group", "libvirt:x:123:someone,hvtimer\n");
    services_add_domain(set_libvirt(f, NULL), "win2003", "<domain type='kvm'/>");
    assert_subjects(f, all, FINDING_OK);
    assert_finding(f, "kvm", FINDING_OK, "kvm_intel");
    assert_finding(f, "preemption-timer", FINDING_OK, "MSR 0x48d");
    assert_finding(f, "preemption-timer-rate", FINDING_OK, "78000000 Hz");
}

static void test_switched_off(struct fake *f, G_GNUC_UNUSED gconstpointer data)
{
    write_intel(f);
    write_file(f, TIMER, "N\n");
    assert_finding(f, "preemption-timer", FINDING_WARN, "switched off");
    assert_finding(f, "preemption-timer", FINDING_WARN, "preemption_timer=1");
    /* The CPU's word is not to be had. */
    remove_path(f, MSR);
    write_cpu(f, "GenuineIntel", XEON, FLAGS_VMX, NULL);
    assert_finding(f, "preemption-timer", FINDING_WARN, "or the CPU has none");
}

/* Of the two words for the controls, the one that counts. */
static void test_absent(struct fake *f, G_GNUC_UNUSED gconstpointer data)
{
    write_intel(f);
    write_file(f, TIMER, "N\n");
    write_msr(f, 0x48D, PIN_NO_TIMER);
    assert_finding(f, "preemption-timer", FINDING_INFO, "has none (MSR 0x48d)");
    assert_no_finding(f, "preemption-timer-rate");
    write_msr(f, 0x480, BASIC);
    assert_finding(f, "preemption-timer", FINDING_WARN, "present (MSR 0x481), but switched off");
    write_msr(f, 0x481, PIN_NO_TIMER);
    write_msr(f, 0x48D, TRUE_PIN);
    assert_finding(f, "preemption-timer", FINDING_INFO, "has none (MSR 0x481)");
    write_file(f, TIMER, "Y\n");
    assert_finding(f, "preemption-timer", FINDING_WARN, "unknown");
}

static void test_errata(struct fake *f, G_GNUC_UNUSED gconstpointer data)
{
    /* Signatures as CPUID has them: of Intel's specification updates, by way of Linux. */
    static const uint32_t wrong[] = {0x206E6, 0x20652, 0x20655, 0x106E5, 0x106A0,
                                     0x106A1, 0x106A4, 0x106A5, 0x306A8};
    static const uint32_t right[] = {0x206E5, 0x20651, 0x20654, 0x106E4, 0x106A2, 0x106A3,
                                     0x306A9, 0x306A7, 0x206C2, 0x50657, 0x10FE5};

    write_intel(f);
    for (size_t i = 0; i < G_N_ELEMENTS(wrong) + G_N_ELEMENTS(right); i++) {
        gboolean bad = i < G_N_ELEMENTS(wrong);
        uint32_t s = bad ? wrong[i] : right[i - G_N_ELEMENTS(wrong)];
        uint32_t family = s >> 8 & 0xF, model = (s >> 12 & 0xF0) | (s >> 4 & 0xF);

        write_cpu(f, "GenuineIntel", family, model, s & 0xF, FLAGS_VMX, VMX_FLAGS);
        write_file(f, TIMER, "N\n");
        assert_finding(f, "preemption-timer", FINDING_WARN, bad ? "erratum" : "switched off");
        /* An old kernel, which uses it all the same. */
        write_file(f, TIMER, "Y\n");
        assert_finding(f, "preemption-timer", bad ? FINDING_WARN : FINDING_OK,
                       bad ? "preemption_timer=0" : "uses it");
    }
}

/* Without root, or without the module msr. */
static void test_no_msr(struct fake *f, G_GNUC_UNUSED gconstpointer data)
{
    write_intel(f);
    remove_path(f, MSR);
    assert_finding(f, "preemption-timer", FINDING_OK, "present (/proc/cpuinfo)");
    assert_finding(f, "preemption-timer-rate", FINDING_INFO, "unknown: can't open " MSR);
    assert_finding(f, "preemption-timer-rate", FINDING_INFO, "modprobe msr");
    write_file(f, TIMER, "N\n");
    write_cpu(f, "GenuineIntel", XEON, FLAGS_VMX, "vnmi invvpid");
    assert_finding(f, "preemption-timer", FINDING_INFO, "has none (/proc/cpuinfo)");
    write_file(f, TIMER, "Y\n");
    write_cpu(f, "GenuineIntel", XEON, FLAGS_VMX, NULL);
    assert_finding(f, "preemption-timer", FINDING_OK, "kvm_intel uses it");
    write_cpu(f, "GenuineIntel", XEON, FLAGS_VMX, "");
    assert_finding(f, "preemption-timer", FINDING_OK, "kvm_intel uses it");
    remove_path(f, TIMER);
    assert_finding(f, "preemption-timer", FINDING_WARN, "unknown: can't read " TIMER);
}

static void test_rate(struct fake *f, G_GNUC_UNUSED gconstpointer data)
{
    const uint32_t no_crystal[4] = {2, 250, 0, 0}, base[4] = {3000, 4000, 100, 0};

    write_intel(f);
    write_msr(f, 0x485, MISC(7));
    assert_finding(f, "preemption-timer-rate", FINDING_OK, "19500000 Hz");
    /* The crystal is not told, the base rate is. */
    memcpy(leaf_15, no_crystal, sizeof(leaf_15));
    memcpy(leaf_16, base, sizeof(leaf_16));
    assert_finding(f, "preemption-timer-rate", FINDING_OK, "23437500 Hz");
    /* Nor is that: a part of the TSC's, whatever cpuinfo's MHz are. */
    memset(leaf_16, 0, sizeof(leaf_16));
    assert_finding(f, "preemption-timer-rate", FINDING_OK, "divided by 128");
    memset(leaf_15, 0, sizeof(leaf_15));
    assert_finding(f, "preemption-timer-rate", FINDING_OK, "does not tell, divided by 128");
    leaf_15[1] = 250; /* to 0 */
    leaf_15[2] = 24000000;
    assert_finding(f, "preemption-timer-rate", FINDING_OK, "does not tell, divided by 128");
    /* It may be too fast for KVM; it is not if KVM uses it. */
    write_msr(f, 0x485, MISC(3));
    assert_finding(f, "preemption-timer-rate", FINDING_OK, "divided by 8");
    write_file(f, TIMER, "N\n");
    assert_finding(f, "preemption-timer-rate", FINDING_INFO, "divided by 8");
}

/* KVM uses 429496729 Hz, and no more. */
static void test_too_fast(struct fake *f, G_GNUC_UNUSED gconstpointer data)
{
    const uint32_t most[4] = {1, 1, UINT32_MAX / 10, 0}, more[4] = {1, 1, UINT32_MAX / 10 + 1, 0};

    write_intel(f);
    write_file(f, TIMER, "N\n");
    write_msr(f, 0x485, MISC(0));
    memcpy(leaf_15, most, sizeof(leaf_15));
    assert_finding(f, "preemption-timer-rate", FINDING_OK, "429496729 Hz");
    assert_finding(f, "preemption-timer", FINDING_WARN, "switched off");
    memcpy(leaf_15, more, sizeof(leaf_15));
    assert_finding(f, "preemption-timer-rate", FINDING_WARN, "429496730 Hz");
    assert_finding(f, "preemption-timer", FINDING_WARN, "too fast");
}

static void test_apic(struct fake *f, G_GNUC_UNUSED gconstpointer data)
{
    write_intel(f);
    write_file(f, APICV, "N\n");
    assert_finding(f, "apicv", FINDING_OK, "off");
    assert_no_finding(f, "avic");
    remove_path(f, APICV);
    assert_finding(f, "apicv", FINDING_INFO, "unknown");
    /* An int, in spite of its type's name, which takes a bool; but not always. */
    write_file(f, POSTED, "1\n");
    assert_finding(f, "posted-timer-interrupts", FINDING_INFO, "on");
    write_file(f, POSTED, "Y\n");
    assert_finding(f, "posted-timer-interrupts", FINDING_INFO, "on");
    write_file(f, POSTED, "N\n");
    assert_finding(f, "posted-timer-interrupts", FINDING_OK, "off");
    write_file(f, POSTED, "-1\n");
    assert_finding(f, "posted-timer-interrupts", FINDING_INFO, "not decided yet");
    remove_path(f, POSTED);
    assert_finding(f, "posted-timer-interrupts", FINDING_INFO, "unknown");
}

static void test_minimum(struct fake *f, G_GNUC_UNUSED gconstpointer data)
{
    write_intel(f);
    write_file(f, PERIOD, "0\n");
    assert_finding(f, "minimum-period", FINDING_OK, "0 us");
    write_file(f, PERIOD, "976\n");
    assert_finding(f, "minimum-period", FINDING_OK, "976 us");
    write_file(f, PERIOD, "977\n");
    assert_finding(f, "minimum-period", FINDING_WARN, "977 us");
    write_file(f, PERIOD, "-200\n");
    assert_finding(f, "minimum-period", FINDING_INFO, "unknown: " PERIOD " holds '-200'");
    remove_path(f, PERIOD);
    assert_finding(f, "minimum-period", FINDING_INFO, "unknown");
}

/* ---- others ---- */

static void test_amd(struct fake *f, G_GNUC_UNUSED gconstpointer data)
{
    write_amd(f, "Y\n");
    assert_finding(f, "kvm", FINDING_OK, "kvm_amd");
    assert_finding(f, "preemption-timer", FINDING_INFO, "AMD");
    assert_finding(f, "avic", FINDING_WARN, "avic=0");
    assert_no_finding(f, "apicv");
    assert_no_finding(f, "preemption-timer-rate");
    write_file(f, AVIC, "N\n");
    assert_finding(f, "avic", FINDING_OK, "off");
    remove_path(f, AVIC);
    assert_finding(f, "avic", FINDING_INFO, "unknown");
}

static void test_module(struct fake *f, G_GNUC_UNUSED gconstpointer data)
{
    /* Both built in: the CPU's. */
    write_amd(f, "N\n");
    write_file(f, TIMER, "Y\n");
    assert_finding(f, "kvm", FINDING_OK, "kvm_amd");
    assert_no_finding(f, "apicv");
    /* Another, as neither can be it. */
    write_file(f, MODULE "kvm_pvm/parameters/nothing", "N\n");
    write_file(f, MODULE "kvm/version", "1\n");
    assert_finding(f, "kvm", FINDING_OK, "kvm_amd");
    write_cpu(f, "AuthenticAMD", 25, 1, 1, FLAGS_NEITHER, NULL);
    assert_finding(f, "kvm", FINDING_OK, "kvm_pvm");
    assert_finding(f, "preemption-timer", FINDING_INFO, "kvm_pvm");
    assert_finding(f, "minimum-period", FINDING_OK, "200 us");
    assert_no_finding(f, "avic");
}

static void test_no_kvm(struct fake *f, G_GNUC_UNUSED gconstpointer data)
{
    static const char *const of_kvm[] = {"preemption-timer",
                                         "preemption-timer-rate",
                                         "minimum-period",
                                         "apicv",
                                         "avic",
                                         "posted-timer-interrupts",
                                         "tracing"};

    assert_finding(f, "kvm", FINDING_FAIL, "no KVM module"); /* an empty root */
    write_cpu(f, "GenuineIntel", XEON, FLAGS_VMX, VMX_FLAGS);
    write_file(f, MODULE "kvm/parameters/halt_poll_ns", "200000\n");
    for (size_t i = 0; i < G_N_ELEMENTS(of_kvm); i++) {
        assert_no_finding(f, of_kvm[i]);
    }
    assert_finding(f, "kvm", FINDING_FAIL, "modprobe kvm_intel");
    write_cpu(f, "AuthenticAMD", 25, 1, 1, FLAGS_SVM, NULL);
    assert_finding(f, "kvm", FINDING_FAIL, "modprobe kvm_amd");
    write_cpu(f, "AuthenticAMD", 25, 1, 1, FLAGS_NEITHER, NULL);
    assert_finding(f, "kvm", FINDING_FAIL, "firmware");
    /* systemd makes it before there is a KVM. */
    write_file(f, DEVICE, "");
    assert_finding(f, "kvm", FINDING_FAIL, "no KVM module");
}

static void test_device(struct fake *f, G_GNUC_UNUSED gconstpointer data)
{
    g_autofree char *device = g_strconcat(f->root, DEVICE, NULL);
    gboolean root = geteuid() == 0;

    write_intel(f);
    g_assert_cmpint(g_chmod(device, 0), ==, 0);
    g_assert_true(!root || seteuid(NOBODY) == 0);
    assert_finding(f, "kvm", FINDING_WARN, "usermod");
    g_assert_true(!root || seteuid(0) == 0);
    remove_path(f, DEVICE);
    assert_finding(f, "kvm", FINDING_FAIL, "container");
}

/* ---- nonsense ---- */

static const char *const files[] = {TIMER, APICV, PERIOD, POSTED, CPU, MSR};

static void assert_unknown(struct fake *f, const char *file)
{
    static const struct {
        const char *file, *subject;
        enum finding_level level;
    } rows[] = {{TIMER, "preemption-timer", FINDING_WARN},
                {APICV, "apicv", FINDING_INFO},
                {PERIOD, "minimum-period", FINDING_INFO},
                {POSTED, "posted-timer-interrupts", FINDING_INFO},
                {MSR, "preemption-timer-rate", FINDING_INFO}};

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        if (g_str_equal(file, rows[i].file)) {
            assert_finding(f, rows[i].subject, rows[i].level, "unknown: ");
            return;
        }
    }
    assert_finding(f, "preemption-timer", FINDING_OK, "MSR"); /* the CPU's word, not cpuinfo's */
}

static void test_nonsense(struct fake *f, G_GNUC_UNUSED gconstpointer data)
{
    g_autofree char *long_line = g_strnfill(100000, '9');
    const char *const contents[] = {
        "",       "\n", "y", "yes\n", "2\n", "\033[31mY", "\xff\xfe", "Y Y", "0x200000000000000000",
        long_line};

    for (size_t i = 0; i < G_N_ELEMENTS(files); i++) {
        write_intel(f);
        for (size_t j = 0; j < G_N_ELEMENTS(contents); j++) {
            /* It has that many microseconds. */
            if (!g_str_equal(files[i], PERIOD) || !g_str_equal(contents[j], "2\n")) {
                write_file(f, files[i], contents[j]);
                assert_unknown(f, files[i]);
            }
        }
        remove_path(f, files[i]);
        assert_unknown(f, files[i]);
        g_autofree char *path = g_strconcat(f->root, files[i], NULL);
        g_assert_cmpint(g_mkdir(path, 0755), ==, 0);
        assert_unknown(f, files[i]);
        remove_path(f, files[i]);
    }
}

/* It ends within a register that is read. */
static void test_msr_short(struct fake *f, G_GNUC_UNUSED gconstpointer data)
{
    g_autofree char *path = g_strconcat(f->root, MSR, NULL);

    write_intel(f);
    write_msr(f, 0x480, BASIC);
    g_assert_cmpint(truncate(path, (off_t)0x485 * f->host.msr_bytes + 1), ==, 0);
    assert_finding(f, "preemption-timer", FINDING_OK, "/proc/cpuinfo");
    assert_finding(f, "preemption-timer-rate", FINDING_INFO, "unknown: can't read MSR 0x485");
}

/* Words that no CPU has: cpuinfo's is taken. */
static void test_msr_nonsense(struct fake *f, G_GNUC_UNUSED gconstpointer data)
{
    static const uint64_t values[] = {0,
                                      UINT64_MAX,
                                      0x7F,
                                      UINT64_C(0x7F) << 32 | 0x80,
                                      UINT64_C(0x60) << 32,
                                      UINT64_C(0x1007F) << 32};

    write_intel(f);
    for (size_t i = 0; i < G_N_ELEMENTS(values); i++) {
        write_msr(f, 0x48D, values[i]);
        assert_finding(f, "preemption-timer", FINDING_OK, "/proc/cpuinfo");
        assert_finding(f, "preemption-timer-rate", FINDING_INFO, "unknown: MSR 0x48d holds");
    }
}

/* Whatever a file holds, there is a finding, and it is sound. */
static void test_random(struct fake *f, G_GNUC_UNUSED gconstpointer data)
{
    static const char *const all[] = {TIMER,
                                      APICV,
                                      PERIOD,
                                      POSTED,
                                      CPU,
                                      MSR,
                                      RELEASE,
                                      SOURCE,
                                      RUNTIME,
                                      RTPERIOD,
                                      YAMA,
                                      LOCKDOWN,
                                      ONLINE,
                                      ISOLATED,
                                      CONFIG,
                                      "/etc/passwd",
                                      "/etc/group",
                                      DAEMON "status",
                                      DAEMON "cgroup",
                                      DAEMON "task/4713/comm",
                                      DAEMON "task/4713/stat",
                                      DAEMON "task/4713/status"};

    write_intel(f);
    write_hvtimerd(f, 998, SCHED_FIFO, "0-7");
    set_libvirt(f, NULL);
    write_file(f, CONFIG, "{\"engine\": {\"cpu\": 3, \"priority\": 50}}");
    write_file(f, "/etc/passwd", "hvtimer:x:998:998::/:/usr/sbin/nologin\n");
    write_file(f, "/etc/group", "libvirt:x:123:someone,hvtimer\n");
    for (unsigned i = 0; i < 1000; i++) {
        size_t file = (size_t)g_test_rand_int_range(0, G_N_ELEMENTS(all));
        g_autofree char *path = g_strconcat(f->root, all[file], NULL);
        g_autofree char *right = NULL, *wrong = NULL;
        gsize length, kept;

        g_assert_true(g_file_get_contents(path, &right, &length, NULL));
        wrong = g_memdup2(right, length + 1);
        for (gint32 n = g_test_rand_int_range(1, 8); n > 0; n--) {
            wrong[g_test_rand_int_range(0, (gint32)length)] = (char)g_test_rand_int();
        }
        kept = (gsize)g_test_rand_int_range(0, (gint32)length + 1);
        write_bytes(f, all[file], wrong, kept);
        g_autoptr(GPtrArray) findings = verify_fake(f);
        g_assert_nonnull(find(findings, "kvm"));
        write_bytes(f, all[file], right, length);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add_verify_test("intel/everything", test_intel);
    add_verify_test("intel/switched-off", test_switched_off);
    add_verify_test("intel/absent", test_absent);
    add_verify_test("intel/errata", test_errata);
    add_verify_test("intel/no-msr", test_no_msr);
    add_verify_test("intel/rate", test_rate);
    add_verify_test("intel/too-fast", test_too_fast);
    add_verify_test("intel/apic", test_apic);
    add_verify_test("intel/minimum-period", test_minimum);
    add_verify_test("amd", test_amd);
    add_verify_test("module", test_module);
    add_verify_test("no-kvm", test_no_kvm);
    add_verify_test("device", test_device);
    add_verify_test("nonsense/files", test_nonsense);
    add_verify_test("nonsense/msr", test_msr_nonsense);
    add_verify_test("nonsense/short-msr", test_msr_short);
    add_verify_test("nonsense/random", test_random);
    add_host_tests();
    add_attach_tests();
    add_service_tests();
    add_program_tests();
    return g_test_run();
}
