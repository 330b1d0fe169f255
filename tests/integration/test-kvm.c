/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Ticks in a real KVM guest: the test's own VMM hands its VM to the real daemon, and the guest
 * counts. What it has counted, what was acknowledged and what was due must agree, whatever came
 * between.
 */
#include "tests/guest/vmm.h"
#include "tests/support/fixture.h"
#include "tests/support/test.h"
#include "tests/support/timing.h"
#include <hvapi/hvapi.h>

#define VECTOR 0x50u

struct rig {
    struct fixture fixture;
    Vmm *vmm;
    uint64_t id;
    guint cpus;
};

static void assert_success(HV_STATUS status)
{
    if (status != HV_STATUS_SUCCESS) {
        g_error("%s: %s", hvapi_status_name(status), hvapi_last_error());
    }
}

/* FALSE: there is no KVM here, and the test was skipped. */
static gboolean rig_up(struct rig *rig, guint cpus, gboolean listener)
{
    g_autoptr(GError) error = NULL;

    if (vmm_kvm_missing() != NULL) {
        test_skip(vmm_kvm_missing());
        return FALSE;
    }
    *rig = (struct rig){.cpus = cpus};
    fixture_up(&rig->fixture, "{}");
    rig->vmm = vmm_new(cpus, &error);
    g_assert_no_error(error);
    g_assert_true(vmm_add_tick(rig->vmm, listener, &error));
    g_assert_true(vmm_start(rig->vmm, &error));
    g_assert_true(vmm_wait_ready(rig->vmm, 10 * G_USEC_PER_SEC, &error));
    g_assert_true(vmm_hand_over(rig->vmm, "guest", NULL, &rig->id, &error));
    g_assert_no_error(error);
    return TRUE;
}

static void rig_down(struct rig *rig)
{
    g_assert_cmpstr(vmm_failure(rig->vmm), ==, NULL);
    vmm_take_back(rig->vmm);
    g_clear_pointer(&rig->vmm, vmm_free);
    fixture_down(&rig->fixture);
}

static uint64_t taken(struct rig *rig)
{
    uint64_t total = 0;

    for (guint cpu = 0; cpu < rig->cpus; cpu++) {
        total += vmm_total(rig->vmm, cpu);
    }
    return total;
}

static hvapi_statistics statistics(struct rig *rig)
{
    hvapi_statistics s;

    assert_success(hvapi_get_statistics(rig->id, &s));
    g_assert_cmpuint(s.due, ==, s.acknowledged + s.in_flight + s.backlog + s.skipped);
    g_assert_cmpuint(s.in_flight, <=, 1);
    return s;
}

static void set(struct rig *rig, HV_PARTITION_PROPERTY_CODE code, uint64_t value)
{
    assert_success(HvSetPartitionProperty(rig->id, code, value));
}

static uint64_t control_to(guint vector, guint delivery, gboolean logical, guint destination)
{
    HV_EMULATED_TIMER_CONTROL control = {.AsUINT64 = 0};

    control.Vector = vector;
    control.DeliveryMode = delivery & 7;
    control.LogicalDestinationMode = logical != 0;
    control.Enabled = 1;
    control.Mda = destination & 0xff;
    return control.AsUINT64;
}

static void start(struct rig *rig, uint64_t units)
{
    set(rig, HvPartitionPropertyEmulatedTimerPeriod, units);
    set(rig, HvPartitionPropertyEmulatedTimerControl, control_to(VECTOR, 0, FALSE, 0));
}

static gboolean catches_up_within(struct rig *rig, int seconds)
{
    gint64 deadline = g_get_monotonic_time() + seconds * G_USEC_PER_SEC;

    while (statistics(rig).backlog != 0) {
        if (g_get_monotonic_time() > deadline) {
            return FALSE;
        }
        test_iterate();
    }
    return TRUE;
}

/* A machine that can't run a guest as often as its ticks come, let alone catch up, need not: what
 * is missing is then stated in, and made up by, ticks of a longer period. */
static void await_caught_up(struct rig *rig)
{
    if (catches_up_within(rig, 30)) {
        return;
    }
    g_test_message("this machine is too busy for the period: on with 10 ms");
    set(rig, HvPartitionPropertyEmulatedTimerPeriod, 100000);
    if (!catches_up_within(rig, 60)) {
        hvapi_statistics s = statistics(rig);
        g_error("not caught up: due %" G_GUINT64_FORMAT ", injected %" G_GUINT64_FORMAT
                ", acknowledged %" G_GUINT64_FORMAT ", in flight %" G_GUINT64_FORMAT
                ", backlog %" G_GUINT64_FORMAT ", counted %" G_GUINT64_FORMAT,
                s.due, s.injected, s.acknowledged, s.in_flight, s.backlog, taken(rig));
    }
}

/* Returns the last figures. The engine stops when it gets to it, not when the call returns. */
static hvapi_statistics stop(struct rig *rig)
{
    set(rig, HvPartitionPropertyEmulatedTimerPeriod, 0);
    test_wait_until_still(20, statistics(rig).due);
    test_wait_until(20, statistics(rig).in_flight == 0);
    return statistics(rig);
}

/* An acknowledgement may be ahead of the guest's count. */
static void assert_all_counted(struct rig *rig, const hvapi_statistics *last)
{
    test_wait_until(20, taken(rig) >= last->acknowledged);
    g_assert_cmpuint(taken(rig), ==, last->acknowledged);
}

/* Caught up: nothing was given up, and all that is due is taken, but for the one on its way. Then
 * stopped: what the guest has counted is what was acknowledged. */
static void assert_nothing_lost(struct rig *rig)
{
    await_caught_up(rig);
    g_assert_cmpuint(statistics(rig).skipped, ==, 0);
    hvapi_statistics s = stop(rig);
    assert_all_counted(rig, &s);
    g_test_message("due %" G_GUINT64_FORMAT ", acknowledged %" G_GUINT64_FORMAT
                   ", counted %" G_GUINT64_FORMAT
                   "; lateness p50 %.0f us, p99 %.0f us, max %.0f us",
                   s.due, s.acknowledged, taken(rig), (double)s.lateness_p50_ns / 1e3,
                   (double)s.lateness_p99_ns / 1e3, (double)s.lateness_max_ns / 1e3);
}

static void sleep_ms(gint64 ms)
{
    gint64 end = g_get_monotonic_time() + ms * 1000;

    while (g_get_monotonic_time() < end) {
        test_iterate();
    }
}

static gboolean keeps_time(struct rig *rig, const struct timing *timing)
{
    gint64 before = g_get_monotonic_time();
    uint64_t due = statistics(rig).due;

    return timing_keeps(timing, due, before, g_get_monotonic_time());
}

/* Ten seconds at a period: as many are due as periods fit in, and each is taken. */
static void test_period(gconstpointer data)
{
    const char *period = data;
    struct rig rig;

    if (!rig_up(&rig, 1, TRUE)) {
        return;
    }
    struct timing timing = timing_before(g_ascii_strtod(period, NULL), 0);
    g_assert_cmpint(fixture_run(&rig.fixture, NULL,
                                "hvtimerctl enable guest --period %s --vector "
                                "0x50",
                                period),
                    ==, 0);
    timing_after(&timing);
    sleep_ms(10000);
    test_wait_until(20, keeps_time(&rig, &timing));
    assert_nothing_lost(&rig);
    g_assert_cmpuint(taken(&rig), ==, vmm_count(rig.vmm, 0, VECTOR));
    rig_down(&rig);
}

/* The vCPU's thread is kept from running, or the guest keeps interrupts off. */
static void test_outages(void)
{
    static const gint64 outages_ms[] = {5, 20, 100, 500, 2000};
    struct rig rig;

    if (!rig_up(&rig, 1, TRUE)) {
        return;
    }
    start(&rig, 10000);
    for (guint i = 0; i < G_N_ELEMENTS(outages_ms); i++) {
        vmm_hold(rig.vmm, 0, outages_ms[i] * 1000);
        sleep_ms(outages_ms[i] + g_test_rand_int_range(1, 50));
    }
    vmm_set_mask(rig.vmm, 0, TRUE);
    test_wait_until(20, vmm_masked(rig.vmm, 0));
    test_wait_until(20, statistics(&rig).backlog > 200);
    vmm_set_mask(rig.vmm, 0, FALSE);
    assert_nothing_lost(&rig);
    rig_down(&rig);
}

/* lazy: the held vCPU's ticks are given up, and say so. */
static void test_lazy(void)
{
    struct rig rig;

    if (!rig_up(&rig, 1, TRUE)) {
        return;
    }
    g_assert_cmpint(fixture_run(&rig.fixture, NULL, "hvtimerctl policy guest --policy lazy"), ==,
                    0);
    start(&rig, 10000);
    sleep_ms(100);
    vmm_hold(rig.vmm, 0, -1);
    test_wait_until(20, statistics(&rig).skipped >= 400);
    vmm_release(rig.vmm, 0);
    await_caught_up(&rig);
    hvapi_statistics s = stop(&rig);
    assert_all_counted(&rig, &s);
    g_assert_cmpuint(taken(&rig) + s.skipped, ==, s.due);
    rig_down(&rig);
}

static void change_vectors(struct rig *rig)
{
    for (int i = 0; i < 30; i++) {
        guint vector = (guint)g_test_rand_int_range(0x30, 0xf0);
        guint before = vmm_count(rig->vmm, 0, vector);
        set(rig, HvPartitionPropertyEmulatedTimerControl, control_to(vector, 0, FALSE, 0));
        sleep_ms(g_test_rand_int_range(1, 40));
        if (g_test_rand_bit()) { /* or changed again before one has come */
            test_wait_until(20, vmm_count(rig->vmm, 0, vector) > before);
        }
    }
}

static void change_destinations(struct rig *rig)
{
    for (int i = 0; i < 30; i++) {
        gboolean logical = g_test_rand_bit() != 0;
        guint delivery = logical && g_test_rand_bit() ? 1 : 0;
        guint cpu = (guint)g_test_rand_int_range(0, 2);
        set(rig, HvPartitionPropertyEmulatedTimerControl,
            control_to(VECTOR, delivery, logical,
                       delivery == 1 ? 3
                       : logical     ? 1u << cpu
                                     : cpu));
        sleep_ms(g_test_rand_int_range(1, 40));
    }
}

/* Another vector or destination while it runs: no tick is lost, none comes twice. */
static void test_changes(void)
{
    struct rig rig;

    if (!rig_up(&rig, 2, TRUE)) {
        return;
    }
    start(&rig, 10000);
    change_vectors(&rig);
    change_destinations(&rig);
    assert_nothing_lost(&rig);
    g_assert_cmpuint(vmm_total(rig.vmm, 1), >, 0);
    rig_down(&rig);
}

/* A change while a tick waits for a vCPU that is away: the tick is taken all the same. */
static void test_change_while_held(void)
{
    struct rig rig;

    if (!rig_up(&rig, 1, TRUE)) {
        return;
    }
    start(&rig, 10000);
    sleep_ms(100);
    vmm_hold(rig.vmm, 0, -1);
    sleep_ms(50);
    set(&rig, HvPartitionPropertyEmulatedTimerControl, control_to(0x60, 0, FALSE, 0));
    test_wait_until(20, statistics(&rig).backlog > 500);
    vmm_release(rig.vmm, 0);
    assert_nothing_lost(&rig);
    g_assert_cmpuint(vmm_count(rig.vmm, 0, 0x60), >, 400);
    rig_down(&rig);
}

static void test_suspend(void)
{
    struct rig rig;

    if (!rig_up(&rig, 1, TRUE)) {
        return;
    }
    start(&rig, 10000);
    sleep_ms(100);
    assert_success(hvapi_vmm_set_running(vmm_handed_over(rig.vmm), 0));
    test_wait_until_still(20, statistics(&rig).due);
    uint64_t due = statistics(&rig).due;
    gint64 resumed = g_get_monotonic_time();
    assert_success(hvapi_vmm_set_running(vmm_handed_over(rig.vmm), 1));
    sleep_ms(100);
    uint64_t since = statistics(&rig).due - due;
    /* Of the first period a part had passed; of the time that stood still, none. */
    g_assert_cmpuint(since, <=, (uint64_t)(g_get_monotonic_time() - resumed + 1) / 1000 + 1);
    test_wait_until(20, statistics(&rig).due > due + 50);
    assert_nothing_lost(&rig);
    rig_down(&rig);
}

static void test_guest_reset(void)
{
    struct rig rig;
    uint64_t control;

    if (!rig_up(&rig, 1, TRUE)) {
        return;
    }
    start(&rig, 10000);
    sleep_ms(50);
    assert_success(hvapi_vmm_guest_reset(vmm_handed_over(rig.vmm)));
    assert_success(
        HvGetPartitionProperty(rig.id, HvPartitionPropertyEmulatedTimerControl, &control));
    g_assert_cmphex(control, ==, control_to(VECTOR, 0, FALSE, 0) & ~(uint64_t)0x1000);
    test_wait_until_still(20, taken(&rig));
    rig_down(&rig);
}

/* Without a listener: said so; and where the machine lets the guest run, its ticks come all the
 * same. */
static void test_open_loop(void)
{
    g_autofree char *status = NULL;
    struct rig rig;

    if (!rig_up(&rig, 1, FALSE)) {
        return;
    }
    start(&rig, 100000);
    test_wait_until(20, taken(&rig) >= 40);
    g_assert_cmpint(fixture_run(&rig.fixture, &status, "hvtimerctl --json status guest"), ==, 0);
    g_assert_nonnull(strstr(status, "open-loop"));
    hvapi_statistics s = stop(&rig);
    g_assert_cmpuint(s.in_flight, ==, 0);
    g_assert_cmpuint(taken(&rig), <=, s.injected); /* nobody sees those that merged */
    rig_down(&rig);
}

static gboolean is_back(struct rig *rig)
{
    HV_PARTITION_ID id;

    return hvapi_lookup_partition("guest", &id) == HV_STATUS_SUCCESS && id == rig->id;
}

/* The daemon is killed: the guest runs on. It comes back: the VM is handed over again. */
static void test_daemon_killed(void)
{
    struct rig rig;

    if (!rig_up(&rig, 1, TRUE)) {
        return;
    }
    start(&rig, 10000);
    sleep_ms(100);
    fixture_kill_daemon(&rig.fixture);
    uint64_t value = 0;
    g_assert_cmpuint(HvGetPartitionProperty(rig.id, HvPartitionPropertyEmulatedTimerPeriod, &value),
                     ==, HV_STATUS_OPERATION_DENIED);
    g_assert_cmpstr(vmm_failure(rig.vmm), ==, NULL);
    fixture_start_daemon(&rig.fixture);
    test_wait_until(10, is_back(&rig));
    uint64_t before = taken(&rig);
    start(&rig, 10000);
    test_wait_until(10, taken(&rig) > before + 50);
    rig_down(&rig);
}

static void test_take_back(void)
{
    struct rig rig;
    uint64_t value;

    if (!rig_up(&rig, 1, TRUE)) {
        return;
    }
    start(&rig, 10000);
    vmm_take_back(rig.vmm);
    g_assert_cmpuint(HvGetPartitionProperty(rig.id, HvPartitionPropertyEmulatedTimerPeriod, &value),
                     ==, HV_STATUS_INVALID_PARTITION_ID);
    rig_down(&rig);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/kvm/outages", test_outages);
    g_test_add_func("/kvm/lazy", test_lazy);
    g_test_add_func("/kvm/changes", test_changes);
    g_test_add_func("/kvm/change-while-held", test_change_while_held);
    g_test_add_func("/kvm/suspend", test_suspend);
    g_test_add_func("/kvm/guest-reset", test_guest_reset);
    g_test_add_func("/kvm/open-loop", test_open_loop);
    g_test_add_func("/kvm/daemon-killed", test_daemon_killed);
    g_test_add_func("/kvm/take-back", test_take_back);
    g_test_add_data_func("/kvm/500us", "500us", test_period);
    g_test_add_data_func("/kvm/976.5625us", "976.5625us", test_period);
    g_test_add_data_func("/kvm/10ms", "10000us", test_period);
    return g_test_run();
}
