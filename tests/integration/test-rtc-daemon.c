/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A hvtimerd that is killed, and what a timer leaves to the next one. */
#include "tests/integration/test-rtc.h"

static const struct clock_kind *const ioapic_1024 = &clock_kinds[1];
static const struct clock_kind *const pic_64 = &clock_kinds[3];

/* Its successor watches the same guests, counts on from the same figures, and makes up what is lost
 * from then on. */
static void test_killed(void)
{
    struct rig rig;

    rig_up(&rig);
    struct guest *ioapic = rig_add(&rig, ioapic_1024, NULL);
    struct guest *pic = rig_add(&rig, pic_64, NULL);
    supervise_all(&rig, "slew");
    guint64 before = statistics(ioapic).acknowledged;
    g_autofree char *control = status_text(&rig, ioapic, "emulated_timer_control");

    fixture_kill_daemon(&rig.fixture);
    fixture_start_daemon(&rig.fixture);
    await_supervision(&rig, ioapic, "slew");
    await_supervision(&rig, pic, "slew");
    g_assert_cmpuint(statistics(ioapic).acknowledged, >=, before);
    await(10, status_is(&rig, ioapic, "emulated_timer_control", control), "the vector is read");
    await(10, status_is(&rig, pic, "supervision.routing", "pic"), "the routing is read");
    await(30, statistics(ioapic).backlog + statistics(pic).backlog == 0, "caught up");
    take_references(&rig);
    stop_all(&rig, 500);
    await_right(&rig, 20);
    assert_all_right(&rig);
    rig_down(&rig);
}

/* What was only observed is not the business of the timer that comes next. */
static void test_next_timer(void)
{
    struct rig rig;

    rig_up(&rig);
    struct guest *guest = rig_add(&rig, ioapic_1024, NULL);
    supervise(&rig, guest, "observe");
    stop_all(&rig, 2000);
    await(10, statistics(guest).backlog > 1000, "the loss is seen");
    g_free(ctl(&rig, FAILED, "enable %s --period 10ms --vector 0x50", guest_name(guest)));
    g_free(ctl(&rig, DONE, "rtc %s off", guest_name(guest)));
    hvapi_statistics s = statistics(guest);
    g_assert_cmpuint(s.backlog + s.in_flight, ==, 0);
    g_assert_cmpuint(s.skipped, >, 1000);
    g_free(ctl(&rig, DONE, "enable %s --period 10ms --vector 0x50", guest_name(guest)));
    guint64 injected = statistics(guest).injected;
    gint64 begun = g_get_monotonic_time();
    await(20, machine_count(&guest->clock.machine, 0x50) >= 50, "it ticks");
    guint64 most =
        (guint64)(g_get_monotonic_time() - begun) / 10000 * 2 + 20; /* caught up, at most */
    g_assert_cmpuint(statistics(guest).injected - injected, <=, most);
    g_free(ctl(&rig, FAILED, "rtc %s slew", guest_name(guest)));
    rig_down(&rig);
}

void add_daemon_tests(void)
{
    g_test_add_func("/rtc/daemon/killed", test_killed);
    g_test_add_func("/rtc/daemon/next-timer", test_next_timer);
}
