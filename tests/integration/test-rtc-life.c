/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How slewing is asked for and what status says of it; a guest that is suspended, or saved. */
#include "tests/integration/test-rtc.h"

#include <string.h>

#define VECTOR_OF(control) ((control)&0xff)
#define ENABLED(control)   ((control) >> 12 & 1)

#define PERIOD_64   156250 /* of 100 ns */
#define PERIOD_1024 9766   /* 9765.625 */

static const struct clock_kind *const ioapic_64 = &clock_kinds[0];
static const struct clock_kind *const ioapic_1024 = &clock_kinds[1];
static const struct clock_kind *const pic_64 = &clock_kinds[3];

/* ---- What status says ---- */

static guint64 control_of(struct rig *rig, const struct guest *guest)
{
    g_autofree char *text = status_text(rig, guest, "emulated_timer_control");

    return g_ascii_strtoull(text, NULL, 16);
}

static void assert_properties(struct rig *rig, const struct guest *guest, double period,
                              guint vector)
{
    await(5, status_number(rig, guest, "emulated_timer_period") == period,
          "the period of %s is %.0f, not %.0f", guest_name(guest), period,
          status_number(rig, guest, "emulated_timer_period"));
    guint64 control = control_of(rig, guest);
    g_assert_cmphex(VECTOR_OF(control), ==, vector);
    g_assert_cmpuint(ENABLED(control), ==, 1);
}

/* Guests that run already: the rate is told from their ticks, until they program one. */
static void test_properties(void)
{
    struct rig rig;

    rig_up(&rig);
    struct guest *ioapic = rig_add(&rig, ioapic_64, NULL);
    struct guest *pic = rig_add(&rig, pic_64, NULL);
    sleep_ms(500);
    supervise_all(&rig, "slew");
    assert_properties(&rig, ioapic, PERIOD_64, DOMAIN_GUEST_RTC_VECTOR);
    assert_properties(&rig, pic, PERIOD_64, DOMAIN_GUEST_RTC_PIC_VECTOR);
    for (guint i = 0; i < rig.n; i++) {
        struct guest *guest = &rig.guests[i];
        g_assert_true(status_is(&rig, guest, "supervision.timer", "rtc"));
        g_assert_true(status_is(&rig, guest, "supervision.mode", "slew"));
        g_assert_true(status_is(&rig, guest, "supervision.learned", "acknowledgements"));
        g_assert_true(status_is(&rig, guest, "base_timer", "qemu-rtc"));
        g_assert_true(status_is(&rig, guest, "injector", "rtc"));
        g_assert_true(status_is(&rig, guest, "accounting", "closed-loop"));
        g_assert_true(status_is(&rig, guest, "problem", ""));
        clock_machine_ask(&guest->clock, CLOCK_RATE_1024);
    }
    g_assert_true(status_is(&rig, ioapic, "supervision.routing", "ioapic"));
    g_assert_true(status_is(&rig, pic, "supervision.routing", "pic"));
    assert_properties(&rig, ioapic, PERIOD_1024, DOMAIN_GUEST_RTC_VECTOR);
    assert_properties(&rig, pic, PERIOD_1024, DOMAIN_GUEST_RTC_PIC_VECTOR);
    g_assert_true(status_is(&rig, ioapic, "supervision.learned", "trace"));
    g_assert_true(status_is(&rig, pic, "supervision.learned", "trace"));

    g_free(ctl(&rig, DONE, "rtc %s off", guest_name(ioapic)));
    await(5, ENABLED(control_of(&rig, ioapic)) == 0, "off clears Enabled");
    guint before = machine_rtc(&ioapic->clock.machine);
    await(5, machine_rtc(&ioapic->clock.machine) > before + 100, "the guest's own ticks go on");
    rig_down(&rig);
}

/* ---- Guests that don't count what has no PF ---- */

/* Top-ups do nothing for it but cost time: there are no more of them, and status says why. */
static void test_poll(void)
{
    struct machine_options options = clock_machine_options(ioapic_64, NULL);
    struct rig rig;

    options.clock |= DOMAIN_GUEST_CLOCK_POLL;
    rig_up(&rig);
    struct guest *guest = rig_add(&rig, ioapic_64, &options);
    supervise(&rig, guest, "slew");
    stop_all_often(&rig, 150, 500, 2);
    await(10, !status_is(&rig, guest, "problem", ""), "status tells of the guest's PF");
    g_autofree char *problem = status_text(&rig, guest, "problem");
    g_test_message("%s", problem);
    guint64 injected = statistics(guest).injected;
    stop_all_often(&rig, 150, 500, 2);
    g_assert_cmpuint(statistics(guest).injected, ==, injected);
    rig_down(&rig);
}

/* ---- Suspended ---- */

/* Since the reference it was suspended, @n times, for @least to @most seconds in all, and its clock
 * did not go on then; nor has it lost or gained anything else. QEMU's RTC has its own time: a tick
 * that comes while the guest is suspended is there when it goes on, be it early. */
static void assert_right_but_for(const struct guest *guest, guint n, double least, double most)
{
    gint64 now = clock_now_ns();
    double gain = clock_trace_gain(guest->clock.trace, now - 1000000000, now) - guest->reference;

    g_test_message("%s: behind by %.2f ms, of which it was suspended for %.2f to %.2f ms",
                   guest_name(guest), -gain * 1e3, least * 1e3, most * 1e3);
    tell_figures(guest);
    g_assert_cmpfloat(-gain, >=, least - (2 + n) * guest->clock.tick);
    g_assert_cmpfloat(-gain, <=, most + 2 * guest->clock.tick);
}

/* For how long it was suspended, in seconds: from call to call. */
struct pause {
    double least, most;
    gint64 suspending, suspended;
};

static void suspend(struct guest *guest, struct pause *pause)
{
    pause->suspending = clock_now_ns();
    machine_suspend(&guest->clock.machine);
    pause->suspended = clock_now_ns();
}

static void resume(struct guest *guest, struct pause *pause)
{
    pause->least += (double)(clock_now_ns() - pause->suspended) / 1e9;
    machine_resume(&guest->clock.machine);
    pause->most += (double)(clock_now_ns() - pause->suspending) / 1e9;
}

static void suspend_all(struct rig *rig, struct pause *pauses, gint64 ms)
{
    for (guint i = 0; i < rig->n; i++) {
        suspend(&rig->guests[i], &pauses[i]);
    }
    sleep_ms(ms);
    for (guint i = 0; i < rig->n; i++) {
        resume(&rig->guests[i], &pauses[i]);
    }
    sleep_ms(100);
}

static void await_caught_up(struct guest *guest)
{
    await(20, statistics(guest).backlog == 0, "%s has caught up", guest_name(guest));
}

/* By default its time stands still; as one of them is to have it, it is an outage like others. */
static void test_suspend(void)
{
    static const gint64 pauses_ms[] = {1500, 30, 300, 100};
    struct pause pauses[3] = {0};
    struct rig rig;

    rig_up(&rig);
    rig_add(&rig, ioapic_1024, NULL);
    rig_add(&rig, pic_64, NULL);
    struct guest *catches_up = rig_add(&rig, ioapic_1024, NULL);
    supervise_all(&rig, "slew");
    g_free(ctl(&rig, DONE, "policy %s --on-resume catchup", guest_name(catches_up)));
    sleep_ms(500);
    take_references(&rig);
    for (size_t i = 0; i < G_N_ELEMENTS(pauses_ms); i++) {
        suspend_all(&rig, pauses, pauses_ms[i]);
    }
    stop_all(&rig, 300); /* they are helped as before */
    sleep_ms(300);
    for (guint i = 0; i < rig.n; i++) {
        await_caught_up(&rig.guests[i]);
    }
    sleep_ms(1200);
    for (guint i = 0; i < 2; i++) {
        assert_right_but_for(&rig.guests[i], G_N_ELEMENTS(pauses_ms), pauses[i].least,
                             pauses[i].most);
    }
    assert_right(catches_up);
    rig_down(&rig);
}

/* ---- Saved ---- */

static void save_and_restore(struct rig *rig, struct guest *guest, gint64 ms)
{
    struct machine *machine = &guest->clock.machine;

    clock_watch_pause(guest->clock.trace);
    machine_save(machine);
    await(10, status_is(rig, guest, "state", "shutoff"), "the partition is shut off");
    sleep_ms(ms);
    machine_boot(machine);
    clock_watch_go_on(guest->clock.trace, machine_clock(machine));
    g_assert_cmpuint(machine_boots(machine), ==, 1);
}

/* What its metadata say holds from its start on, with no word to hvtimerctl, and again when it is
 * restored. The time for which it was saved is not replayed. */
static void test_metadata(void)
{
    struct machine_options options = clock_machine_options(ioapic_1024, NULL);
    struct rig rig;

    options.metadata = RTC_METADATA("slew");
    rig_up(&rig);
    struct guest *guest = rig_add(&rig, ioapic_1024, &options);
    await_supervision(&rig, guest, "slew");
    assert_properties(&rig, guest, PERIOD_1024, DOMAIN_GUEST_RTC_VECTOR);
    take_references(&rig);
    stop_all(&rig, 500);
    await_right(&rig, 5);
    assert_right(guest);

    save_and_restore(&rig, guest, 1000);
    await_supervision(&rig, guest, "slew");
    sleep_ms(500);
    struct clock_report report = guest_report(guest, guest->since_ns);
    g_assert_cmpfloat(report.ahead, <=, 2 * guest->clock.tick);
    g_assert_cmpfloat(report.behind, >, 1.0);
    sleep_ms(1000);
    take_references(&rig);
    stop_all(&rig, 500);
    await_right(&rig, 5);
    assert_right(guest);
    rig_down(&rig);
}

void add_life_tests(void)
{
    g_test_add_func("/rtc/properties", test_properties);
    g_test_add_func("/rtc/metadata", test_metadata);
    g_test_add_func("/rtc/poll", test_poll);
    g_test_add_func("/rtc/suspend", test_suspend);
}
