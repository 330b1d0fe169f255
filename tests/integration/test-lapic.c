/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Injector "lapic" as a user has it: a daemon on a bus, and a QEMU with KVM that knows nothing of
 * it. HVTIMER_TEST_LAPIC_SECONDS: how long the longer ones tick (5).
 */
#include "daemon/attach/local-apic.h"
#include "tests/integration/qemu.h"
#include "tests/support/asking.h"
#include <hvapi/hvapi.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define NAME       "guest"
#define OWN_VECTOR 0x60u

struct rig {
    struct fixture fixture;
    struct qemu *qemu;
    struct qemu_guest_counts before; /* what the guest had counted at first */
};

/* One for all tests: it takes seconds to boot. */
static struct qemu *guest;

/* ---- */

static void poke(struct rig *rig, unsigned offset, uint32_t value);

static void start_guest(void)
{
    g_autofree char *file =
        g_build_filename(g_getenv("HVTIMER_BUILDDIR"), "tests/guest/qemu-ioapic.bin", NULL);

    if (guest == NULL) {
        guest = qemu_start(file, NULL);
    }
}

static gboolean rig_up(struct rig *rig)
{
    const char *problem = qemu_problem();

    if (problem != NULL) {
        test_skip(problem);
        return FALSE;
    }
    start_guest();
    *rig = (struct rig){.qemu = guest};
    poke(rig, LOCAL_APIC_LVTT, LOCAL_APIC_LVTT_MASKED); /* as at first */
    poke(rig, LOCAL_APIC_INITIAL, 0);
    memcpy(&rig->before, (void *)rig->qemu->counts, sizeof rig->before);
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

/* Interrupts of a vector that the guest has taken. */
static uint32_t taken_by(const struct rig *rig, unsigned vector)
{
    return rig->qemu->counts->vectors[vector] - rig->before.vectors[vector];
}

/* Ticks that the guest has taken. */
static uint32_t counted(const struct rig *rig)
{
    uint32_t sum = 0;

    for (unsigned i = QEMU_GUEST_VECTOR_FIRST; i < OWN_VECTOR; i++) {
        sum += taken_by(rig, i);
    }
    return sum;
}

static void enable(struct rig *rig, const char *options)
{
    g_free(ctl(rig, DONE, "enable " NAME " %s", options));
}

/* Ends it, and compares what the guest has counted with what was heard. @unheard: at most so many
 * more. */
static void disable_and_compare(struct rig *rig, unsigned unheard)
{
    g_free(ctl(rig, DONE, "disable " NAME));
    g_assert_true(qemu_rtc_goes_on(rig->qemu));
    uint64_t acknowledged = statistics().acknowledged;
    uint32_t taken = counted(rig);
    g_test_message("the guest has taken %u ticks, %" G_GUINT64_FORMAT " were heard of", taken,
                   acknowledged);
    g_assert_cmpuint(acknowledged, <=, taken + 1);
    g_assert_cmpuint(taken, <=, acknowledged + unheard);
    g_usleep(300000);
    g_assert_cmpuint(counted(rig), ==, taken);
}

static void await_right(unsigned seconds)
{
    hvapi_statistics s;

    await(seconds, (s = statistics(), s.acknowledged + 1 >= s.due - s.skipped),
          "everything that was due is taken");
    g_assert_cmpuint(s.skipped, ==, 0);
}

/* A register of the guest's local APIC gets another value, by the guest. */
static void poke(struct rig *rig, unsigned offset, uint32_t value)
{
    rig->qemu->counts->value = value;
    rig->qemu->counts->poke = offset;
    await(10, rig->qemu->counts->poke == 0, "the guest writes to its local APIC");
}

static void use_own_timer(struct rig *rig)
{
    poke(rig, LOCAL_APIC_LVTT, LOCAL_APIC_LVTT_PERIODIC | OWN_VECTOR);
    poke(rig, LOCAL_APIC_INITIAL, 5000000);
}

static void expect_own_timer(struct rig *rig)
{
    uint32_t before = taken_by(rig, OWN_VECTOR);

    await(30, taken_by(rig, OWN_VECTOR) - before >= 20, "its own timer ticks");
}

static double seconds_to_run(void)
{
    const char *text = g_getenv("HVTIMER_TEST_LAPIC_SECONDS");

    return text != NULL ? g_ascii_strtod(text, NULL) : 5;
}

/* ---- */

static void test_ticks(void)
{
    struct rig rig;

    if (!rig_up(&rig)) {
        return;
    }
    gint64 begun = g_get_monotonic_time();
    enable(&rig, "--period 1ms --vector 0x50 --injector lapic");
    g_assert_true(status_is(&rig, "injector", "lapic"));
    g_assert_true(status_is(&rig, "accounting", "closed-loop"));
    await(10, statistics().acknowledged >= 1000, "it ticks");
    g_assert_true(status_is(&rig, "base_timer", "hrtimer") ||
                  status_is(&rig, "base_timer", "vmx-preemption-timer"));
    g_assert_true(status_is(&rig, "base_timer_source", "trace") ||
                  status_is(&rig, "base_timer_source", "module"));
    uint32_t taken = taken_by(&rig, 0x50); /* never early */
    g_assert_cmpuint(taken, <=, (guint64)(g_get_monotonic_time() - begun) / 1000);
    await_right(10);
    disable_and_compare(&rig, 1);
    g_assert_true(status_is(&rig, "base_timer", "none"));
    rig_down(&rig);
}

/* What KVM's timer loses while the guest does not run is made up, and no tick comes twice. */
static void test_stalls(gconstpointer data)
{
    struct rig rig;

    if (!rig_up(&rig)) {
        return;
    }
    enable(&rig, data);
    gint64 until = g_get_monotonic_time() + (gint64)(seconds_to_run() * G_USEC_PER_SEC);
    while (g_get_monotonic_time() < until) {
        qemu_stop(rig.qemu);
        g_usleep(150000);
        qemu_continue(rig.qemu);
        g_usleep(350000);
    }
    await_right(20);
    qemu_stop(rig.qemu);
    g_usleep(2000000);
    qemu_continue(rig.qemu);
    await_right(30);
    g_assert_true(status_is(&rig, "injector", "lapic"));
    hvapi_statistics s = statistics();
    g_test_message("due %" G_GUINT64_FORMAT ", acknowledged %" G_GUINT64_FORMAT
                   ", of which %" G_GUINT64_FORMAT " topped up",
                   s.due, s.acknowledged, s.injected);
    disable_and_compare(&rig, 1);
    rig_down(&rig);
}

/* Another vector, another period, and back. */
static void test_changes(void)
{
    struct rig rig;

    if (!rig_up(&rig)) {
        return;
    }
    enable(&rig, "--period 1ms --vector 0x50 --injector lapic");
    await(10, taken_by(&rig, 0x50) >= 100, "ticks");
    g_free(ctl(&rig, DONE, "set " NAME " EmulatedTimerControl vector=0x51,enabled"));
    await(10, taken_by(&rig, 0x51) >= 100, "ticks by the other vector");
    await_right(10);
    g_free(ctl(&rig, DONE, "set " NAME " EmulatedTimerPeriod 100000"));
    uint32_t before = taken_by(&rig, 0x51);
    gint64 begun = g_get_monotonic_time();
    await(20, taken_by(&rig, 0x51) - before >= 20, "slower ticks");
    g_assert_cmpint(g_get_monotonic_time() - begun, >=, 150000); /* 20 of 10 ms, and some late */
    g_free(ctl(&rig, DONE, "set " NAME " EmulatedTimerPeriod 5000"));
    g_assert_true(status_is(&rig, "injector", "lapic"));
    await_right(10);
    /* At each change of the period, one that was under way. */
    disable_and_compare(&rig, 3);
    g_assert_cmpuint(taken_by(&rig, 0x50), <=, 1000);
    g_free(ctl(&rig, UNSUPPORTED,
               "enable " NAME " --period 1ms --vector 0x50 --destination physical:5 "
               "--injector lapic"));
    rig_down(&rig);
}

/* A change that no lease can have: by a pin, if any injector will do. */
static void test_not_to_be_leased(void)
{
    struct rig rig;

    if (!rig_up(&rig)) {
        return;
    }
    enable(&rig, "--period 1ms --vector 0x50");
    g_assert_true(status_is(&rig, "injector", "lapic"));
    await(10, statistics().acknowledged >= 100, "it ticks");
    g_free(ctl(&rig, DONE,
               "set " NAME " EmulatedTimerControl vector=0x51,destination=physical:255,enabled"));
    await(10, taken_by(&rig, 0x51) >= 100, "ticks by the other vector");
    await_right(10);
    disable_and_compare(&rig, 2);
    rig_down(&rig);
}

static guint64 voluntary_switches(const struct rig *rig)
{
    g_autofree char *path =
        g_strdup_printf("/proc/%s/task", g_subprocess_get_identifier(rig->fixture.daemon));
    g_autoptr(GDir) directory = g_dir_open(path, 0, NULL);
    const char *tid;
    guint64 sum = 0;

    while ((tid = g_dir_read_name(directory)) != NULL) {
        g_autofree char *file = g_build_filename(path, tid, "status", NULL);
        g_autofree char *text = NULL;
        if (g_file_get_contents(file, &text, NULL, NULL)) {
            sum += g_ascii_strtoull(strstr(text, "\nvoluntary_ctxt_switches:") + 26, NULL, 10);
        }
    }
    return sum;
}

/* No wake-up for a tick: a few dozen a second, and some for each tick that was lost. */
static void test_cost(void)
{
    double seconds = seconds_to_run();
    struct rig rig;

    if (!rig_up(&rig)) {
        return;
    }
    enable(&rig, "--period 1ms --vector 0x50 --injector lapic");
    await(10, statistics().acknowledged >= 1000, "it ticks");
    hvapi_statistics first = statistics();
    guint64 before = voluntary_switches(&rig);
    gint64 begun = g_get_monotonic_time();
    g_usleep((gulong)(seconds * G_USEC_PER_SEC));
    guint64 switches = voluntary_switches(&rig) - before;
    double passed = (double)(g_get_monotonic_time() - begun) / G_USEC_PER_SEC;
    hvapi_statistics last = statistics();
    guint64 ticks = last.acknowledged - first.acknowledged;
    guint64 made_up = last.injected - first.injected;
    g_test_message("%.1f s: %" G_GUINT64_FORMAT " ticks, %" G_GUINT64_FORMAT
                   " of them topped up; %" G_GUINT64_FORMAT " voluntary context switches, %.1f a "
                   "second; acknowledged = due - %" G_GUINT64_FORMAT,
                   passed, ticks, made_up, switches, (double)switches / passed,
                   last.due - last.acknowledged);
    g_assert_cmpfloat((double)switches, <=, passed * 50 + 5.0 * (double)made_up);
    await_right(10);
    disable_and_compare(&rig, 1);
    rig_down(&rig);
}

static void test_own_timer(void)
{
    struct rig rig;

    if (!rig_up(&rig)) {
        return;
    }
    use_own_timer(&rig);
    expect_own_timer(&rig);
    g_autofree char *refused =
        ctl(&rig, UNSUPPORTED, "enable " NAME " --period 1ms --vector 0x50 --injector lapic");
    g_assert_nonnull(strstr(refused, "uses it itself"));
    enable(&rig, "--period 1ms --vector 0x50");
    g_assert_true(status_is(&rig, "injector", "pin"));
    g_assert_true(status_is(&rig, "base_timer", "daemon"));
    await(10, statistics().acknowledged >= 500, "it ticks");
    expect_own_timer(&rig);
    disable_and_compare(&rig, 1);
    expect_own_timer(&rig);
    rig_down(&rig);
}

/* It gets its timer back at once, and ticks go on, none lost, none twice. */
static void test_begins_to_use_it(void)
{
    struct rig rig;

    if (!rig_up(&rig)) {
        return;
    }
    enable(&rig, "--period 1ms --vector 0x50 --injector lapic");
    await(10, statistics().acknowledged >= 500, "it ticks");
    use_own_timer(&rig);
    await(20, status_is(&rig, "injector", "pin"), "the lease is dropped");
    g_assert_true(status_is(&rig, "base_timer", "daemon"));
    g_autofree char *status = ctl(&rig, DONE, "status " NAME);
    g_assert_nonnull(strstr(status, "the guest uses its local APIC timer itself"));
    expect_own_timer(&rig);
    await(10, statistics().acknowledged >= 1500, "it ticks on");
    await_right(20);
    disable_and_compare(&rig, 2);
    expect_own_timer(&rig);
    rig_down(&rig);
}

/* Its timer is masked again, for whoever wants it. */
static void expect_unused_timer(struct rig *rig)
{
    enable(rig, "--period 1ms --vector 0x52 --injector lapic");
    g_assert_true(status_is(rig, "injector", "lapic"));
    g_free(ctl(rig, DONE, "disable " NAME));
}

/* The guest ticks on without a daemon, and the next one takes over. */
static void test_killed(void)
{
    struct rig rig;

    if (!rig_up(&rig)) {
        return;
    }
    enable(&rig, "--period 1ms --vector 0x50 --injector lapic");
    await(10, statistics().acknowledged >= 500, "it ticks");
    fixture_kill_daemon(&rig.fixture);
    uint32_t before = taken_by(&rig, 0x50);
    await(10, taken_by(&rig, 0x50) - before >= 200, "it ticks without a daemon");
    fixture_start_daemon(&rig.fixture);
    await(10, status_is(&rig, "injector", "lapic"), "leased again");
    uint64_t acknowledged = statistics().acknowledged;
    await(10, statistics().acknowledged - acknowledged >= 200, "it ticks on");
    await_right(10);
    g_free(ctl(&rig, DONE, "disable " NAME));
    g_assert_true(qemu_rtc_goes_on(rig.qemu));
    before = counted(&rig);
    g_usleep(300000);
    g_assert_cmpuint(counted(&rig), ==, before);
    expect_unused_timer(&rig);
    rig_down(&rig);
}

/* A daemon that ends gives back what it has. */
static void test_stopped(void)
{
    struct rig rig;

    if (!rig_up(&rig)) {
        return;
    }
    enable(&rig, "--period 1ms --vector 0x50 --injector lapic");
    await(10, statistics().acknowledged >= 200, "it ticks");
    g_assert_cmpint(fixture_stop_daemon(&rig.fixture), ==, 0);
    g_assert_true(qemu_rtc_goes_on(rig.qemu));
    uint32_t before = counted(&rig);
    g_usleep(300000);
    g_assert_cmpuint(counted(&rig), ==, before);
    fixture_start_daemon(&rig.fixture);
    rig_down(&rig);
}

/* With "observe" nothing ticks, so a leased timer must not. */
static void test_observe(void)
{
    struct rig rig;

    if (!rig_up(&rig)) {
        return;
    }
    enable(&rig, "--period 1ms --vector 0x50");
    await(10, statistics().acknowledged >= 200, "it ticks");
    g_free(ctl(&rig, DONE, "policy " NAME " --policy observe"));
    await(10, status_is(&rig, "injector", "pin"), "the lease is given back");
    g_assert_true(qemu_rtc_goes_on(rig.qemu));
    uint32_t before = counted(&rig);
    g_usleep(300000);
    g_assert_cmpuint(counted(&rig), ==, before);
    g_free(ctl(&rig, DONE, "disable " NAME));
    g_free(ctl(&rig, DONE, "policy " NAME " --policy catchup"));
    expect_unused_timer(&rig);
    rig_down(&rig);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/lapic/ticks", test_ticks);
    g_test_add_data_func("/lapic/stalls/1ms", "--period 1ms --vector 0x50 --injector lapic",
                         test_stalls);
    g_test_add_data_func("/lapic/stalls/1024Hz", "--period 976.5625us --vector 0x50", test_stalls);
    g_test_add_func("/lapic/changes", test_changes);
    g_test_add_func("/lapic/not-to-be-leased", test_not_to_be_leased);
    g_test_add_func("/lapic/cost", test_cost);
    g_test_add_func("/lapic/own-timer", test_own_timer);
    g_test_add_func("/lapic/begins-to-use-it", test_begins_to_use_it);
    g_test_add_func("/lapic/killed", test_killed);
    g_test_add_func("/lapic/stopped", test_stopped);
    g_test_add_func("/lapic/observe", test_observe);
    int status = g_test_run();
    g_clear_pointer(&guest, qemu_free);
    return status;
}
