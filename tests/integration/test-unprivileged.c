/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hvtimerd as it is installed: a user without any capability, and hvtimer-attach, which is root,
 * behind a socket. All that the daemon does to a real QEMU works, traced as it is for root.
 */
#include "daemon/attach/local-apic.h"
#include "tests/integration/qemu.h"
#include "tests/support/asking.h"
#include <hvapi/hvapi.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define NAME "guest"

struct rig {
    struct fixture fixture;
    struct qemu *qemu;
};

/* One for all tests: it takes seconds to boot. */
static struct qemu *guest;

static gboolean rig_up(struct rig *rig)
{
    static const char *const arguments[] = {"-action", "reboot=reset", NULL};
    const char *problem = qemu_problem();

    if (problem != NULL) {
        test_skip(problem);
        return FALSE;
    }
    if (guest == NULL) {
        g_autofree char *file =
            g_build_filename(g_getenv("HVTIMER_BUILDDIR"), "tests/guest/qemu-ioapic.bin", NULL);
        guest = qemu_start(file, arguments);
    }
    *rig = (struct rig){.fixture.unprivileged = TRUE, .qemu = guest};
    fixture_up(&rig->fixture, "{}");
    g_assert_cmpint(fixture_run(&rig->fixture, NULL, "hvtimerctl attach --pid %d --name " NAME,
                                (int)rig->qemu->pid),
                    ==, DONE);
    return TRUE;
}

static void rig_down(struct rig *rig)
{
    g_assert_true(qemu_is_alive(rig->qemu));
    g_assert_true(qemu_rtc_goes_on(rig->qemu));
    fixture_down(&rig->fixture);
}

static char *ctl(struct rig *rig, int status, const char *command, ...) G_GNUC_PRINTF(3, 4);
static char *ctl(struct rig *rig, int status, const char *command, ...)
{
    va_list arguments;

    va_start(arguments, command);
    char *output = asking_ctl(&rig->fixture, status, command, arguments);
    va_end(arguments);
    return output;
}

static gboolean status_is(struct rig *rig, const char *path, const char *expected)
{
    return asking_is(&rig->fixture, NAME, path, expected);
}

static hvapi_statistics statistics(void)
{
    return asking_statistics(NAME);
}

static void await_right(unsigned seconds)
{
    hvapi_statistics s;

    await(seconds, (s = statistics(), s.acknowledged + 1 >= s.due - s.skipped),
          "everything that was due is taken");
    g_assert_cmpuint(s.skipped, ==, 0);
}

/* ---- who it is ---- */

static char *proc_path(const struct rig *rig, const char *file)
{
    return g_build_filename("/proc", g_subprocess_get_identifier(rig->fixture.daemon), file, NULL);
}

/* Of /proc/PID/status: what is behind @key, as "\nCapEff:". (transfer full) */
static char *status_of_daemon(const struct rig *rig, const char *key)
{
    g_autofree char *path = proc_path(rig, "status");
    g_autofree char *text = NULL;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    const char *found = strstr(text, key);
    g_assert_nonnull(found);
    found += strlen(key);
    return g_strstrip(g_strndup(found, strcspn(found, "\n")));
}

static void assert_status(const struct rig *rig, const char *key, const char *expected)
{
    g_autofree char *value = status_of_daemon(rig, key);

    g_assert_cmpstr(value, ==, expected);
}

static void assert_user(const struct rig *rig)
{
    static const char *const capabilities[] = {
        "\nCapInh:", "\nCapPrm:", "\nCapEff:", "\nCapBnd:", "\nCapAmb:"};

    assert_status(rig, "\nUid:", "65534\t65534\t65534\t65534");
    assert_status(rig, "\nGid:", "65534\t65534\t65534\t65534");
    assert_status(rig, "\nGroups:", "");
    assert_status(rig, "\nNoNewPrivs:", "1");
    for (unsigned i = 0; i < G_N_ELEMENTS(capabilities); i++) {
        assert_status(rig, capabilities[i], "0000000000000000");
    }
}

/* Its engine is real-time, and its memory is locked: by limits alone. */
static void assert_real_time(const struct rig *rig)
{
    g_autofree char *path = proc_path(rig, "task");
    g_autofree char *locked = status_of_daemon(rig, "\nVmLck:");
    g_autoptr(GDir) directory = g_dir_open(path, 0, NULL);
    unsigned real_time = 0;
    const char *tid;

    if (!rig->fixture.limits) {
        g_test_message("not looked at: limits can't be raised here, without CAP_SYS_RESOURCE");
        return;
    }
    while ((tid = g_dir_read_name(directory)) != NULL) {
        real_time += sched_getscheduler(atoi(tid)) == SCHED_FIFO;
    }
    g_assert_cmpuint(real_time, ==, 1);
    g_assert_cmpint(atoi(locked), >, 0);
}

/* Nothing of KVM's, and no file but its own. Standard streams are whoever's started the test.
 * Returns how many perf events there are. */
static unsigned assert_descriptors(const struct rig *rig)
{
    g_autofree char *path = proc_path(rig, "fd");
    g_autoptr(GDir) directory = g_dir_open(path, 0, NULL);
    unsigned events = 0;
    const char *fd;

    while ((fd = g_dir_read_name(directory)) != NULL) {
        g_autofree char *file = g_build_filename(path, fd, NULL);
        g_autofree char *link = g_file_read_link(file, NULL);
        struct stat info;

        if (link == NULL || atoi(fd) <= 2) {
            continue;
        }
        g_assert_null(strstr(link, "kvm"));
        events += g_str_equal(link, "anon_inode:[perf_event]");
        if (*link == '/' && stat(file, &info) == 0 && !S_ISCHR(info.st_mode)) {
            g_test_message("%s: %s", fd, link);
            g_assert_cmpuint(info.st_uid, ==, FIXTURE_USER);
        }
        g_assert_false(*link == '/' && S_ISCHR(info.st_mode) && !g_str_equal(link, "/dev/null"));
    }
    return events;
}

/* ---- */

/* What is no virtual machine is told by who may look. */
static void test_attach(void)
{
    struct rig rig;

    if (!rig_up(&rig)) {
        return;
    }
    assert_user(&rig);
    assert_real_time(&rig);
    g_assert_cmpuint(assert_descriptors(&rig), ==, 0);
    g_autofree char *again = ctl(&rig, FAILED, "attach --pid %d --name again", (int)rig.qemu->pid);
    g_assert_nonnull(strstr(again, "already"));
    g_autofree char *no_vmm = ctl(&rig, UNSUPPORTED, "attach --pid %d --name bus",
                                  atoi(g_subprocess_get_identifier(rig.fixture.bus)));
    g_assert_nonnull(strstr(no_vmm, "has no KVM guest"));
    g_autofree char *nobody = ctl(&rig, NO_PARTITION, "attach --pid %d", G_MAXINT32);
    g_assert_nonnull(strstr(nobody, "no process"));
    rig_down(&rig);
}

/* @options: of `enable`, for 1 ms. Returns with the timer running, and all right. */
static void enable(struct rig *rig, const char *injector)
{
    g_free(ctl(rig, DONE, "enable " NAME " --period 1ms --vector 0x50 --injector %s", injector));
    g_assert_true(status_is(rig, "injector", injector));
    await(20, statistics().acknowledged >= 500, "it ticks");
    await_right(20);
}

/* All that the guest has taken was heard of; one may be on its way. */
static void disable_and_compare(struct rig *rig, uint32_t before)
{
    g_free(ctl(rig, DONE, "disable " NAME));
    g_assert_true(qemu_rtc_goes_on(rig->qemu));
    uint64_t acknowledged = statistics().acknowledged;
    uint32_t taken = rig->qemu->counts->vectors[0x50] - before;
    g_assert_cmpuint(acknowledged, <=, taken + 1);
    g_assert_cmpuint(taken, <=, acknowledged + 2);
}

static void test_pin(void)
{
    struct rig rig;

    if (!rig_up(&rig)) {
        return;
    }
    uint32_t before = rig.qemu->counts->vectors[0x50];
    enable(&rig, "pin");
    g_assert_cmpuint(assert_descriptors(&rig), ==, 0);
    disable_and_compare(&rig, before);
    rig_down(&rig);
}

/* Leased, and watched: a guest that begins to use its timer gets it back. */
static void test_lapic(void)
{
    struct rig rig;

    if (!rig_up(&rig)) {
        return;
    }
    uint32_t before = rig.qemu->counts->vectors[0x50];
    enable(&rig, "lapic");
    await(10, status_is(&rig, "base_timer_source", "trace"), "what runs it is traced");
    g_assert_cmpuint(assert_descriptors(&rig), ==, 4); /* of the one vCPU's thread */
    assert_user(&rig);
    rig.qemu->counts->value = LOCAL_APIC_LVTT_MASKED;
    rig.qemu->counts->poke = LOCAL_APIC_LVTT;
    await(20, status_is(&rig, "injector", "pin"), "the lease is dropped");
    g_autofree char *status = ctl(&rig, DONE, "status " NAME);
    g_assert_nonnull(strstr(status, "the guest uses its local APIC timer itself"));
    await_right(20);
    disable_and_compare(&rig, before);
    rig_down(&rig);
}

/* The rate is known from what the guest tells its RTC, and what is lost is made up. */
static void test_rtc(void)
{
    struct rig rig;

    if (!rig_up(&rig)) {
        return;
    }
    g_free(ctl(&rig, DONE, "rtc " NAME " slew"));
    g_assert_cmpuint(assert_descriptors(&rig), ==, 1);
    qemu_reset(rig.qemu); /* it sets up its RTC */
    await(20, status_is(&rig, "supervision.learned", "trace"), "the rate is learned by the trace");
    await(20, status_is(&rig, "period_ns", "976562.5"), "1024 Hz");
    hvapi_statistics first = statistics();
    qemu_stop(rig.qemu);
    g_usleep(500000);
    qemu_continue(rig.qemu);
    await(20, statistics().injected - first.injected >= 400, "what was lost is made up");
    await_right(30);
    g_free(ctl(&rig, DONE, "rtc " NAME " off"));
    await(10, assert_descriptors(&rig) == 0, "the trace is closed");
    rig_down(&rig);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/unprivileged/attach", test_attach);
    g_test_add_func("/unprivileged/pin", test_pin);
    g_test_add_func("/unprivileged/lapic", test_lapic);
    g_test_add_func("/unprivileged/rtc", test_rtc);
    int status = g_test_run();
    g_clear_pointer(&guest, qemu_free);
    return status;
}
