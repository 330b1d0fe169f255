/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Domains with tickpolicy catchup, where QEMU makes up what is lost: two would make it up twice. */
#include "tests/integration/test-rtc.h"

static const struct clock_kind *const ioapic_64 = &clock_kinds[0];
static const struct clock_kind *const ioapic_1024 = &clock_kinds[1];

/* One guest of @kind, asked to be slewed. */
static struct guest *begin(struct rig *rig, const struct clock_kind *kind, const char *catchup)
{
    struct machine_options options = clock_machine_options(kind, NULL);

    options.rtc_policy = "catchup";
    options.rtc_catchup = catchup;
    rig_up(rig);
    struct guest *guest = rig_add(rig, kind, &options);
    await(10, status_is(rig, guest, "state", "running"), "hvtimerd sees the guest");
    g_free(ctl(rig, DONE, "rtc %s slew", guest_name(guest)));
    await_supervision(rig, guest, "observe");
    return guest;
}

static void test_observed(void)
{
    struct rig rig;

    struct guest *guest = begin(&rig, ioapic_1024, NULL);
    g_assert_true(status_is(&rig, guest, "supervision.mode", "slew"));
    g_assert_false(status_is(&rig, guest, "problem", ""));
    take_references(&rig);
    stop_all(&rig, 500);
    sleep_ms(1500);
    struct clock_report report = guest_report(guest, guest->since_ns);
    g_test_message("behind by %.2f ms, was ahead by %.2f ms", report.behind * 1e3,
                   report.ahead * 1e3);
    g_assert_cmpfloat(report.ahead, <, 0.003);
    g_assert_cmpfloat(report.behind, <, 0.003);
    g_assert_cmpuint(statistics(guest).injected, ==, 0);

    g_free(ctl(&rig, DONE, "rtc %s slew --force", guest_name(guest)));
    await_supervision(&rig, guest, "slew");
    g_assert_true(status_is(&rig, guest, "problem", ""));
    rig_down(&rig);
}

/* libvirt's own element for it, in ticks, percent and milliseconds. */
static void test_element(void)
{
    struct rig rig;

    struct guest *guest = begin(&rig, ioapic_64, "threshold='3' slew='50' limit='10000'");
    g_assert_cmpfloat(status_number(&rig, guest, "policy.threshold"), ==, 3);
    g_assert_cmpfloat(status_number(&rig, guest, "policy.slew"), ==, 50);
    g_assert_cmpfloat(status_number(&rig, guest, "policy.limit_ms"), ==, 10000);
    rig_down(&rig);
}

/* QEMU would replay the time of the suspend at some twenty times the speed. */
static void test_suspend(void)
{
    struct rig rig;

    struct guest *guest = begin(&rig, ioapic_64, NULL);
    take_references(&rig);
    gint64 suspending = clock_now_ns();
    machine_suspend(&guest->clock.machine);
    sleep_ms(4000);
    machine_resume(&guest->clock.machine);
    double suspended = (double)(clock_now_ns() - suspending) / 1e9;
    sleep_ms(1500);
    struct clock_report report = guest_report(guest, guest->since_ns);
    g_test_message("suspended for %.2f s, of which it replayed %.2f s", suspended,
                   suspended - report.behind);
    /* At the very worst what it counted since hvtimerd last made it forget. */
    g_assert_cmpfloat(suspended - report.behind, <, 2);
    rig_down(&rig);
}

void add_catchup_tests(void)
{
    g_test_add_func("/rtc/catchup/observed", test_observed);
    g_test_add_func("/rtc/catchup/element", test_element);
    g_test_add_func("/rtc/catchup/suspend", test_suspend);
}
