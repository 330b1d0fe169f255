/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whatever keeps a guest from running, its clock is right again soon, and never races. */
#include "tests/integration/test-rtc.h"

/* A quarter of the time for which a guest may be stopped that often is enough to catch up. */
#define STOP_MS     150
#define INTERVAL_MS 500

/* One change of rate to almost each tick. */
static const struct clock_kind restless = {.name = "IOAPIC restless",
                                           .rate = CLOCK_RATE_64,
                                           .ticks = 1,
                                           .other_rate = CLOCK_RATE_1024,
                                           .other_ticks = 2,
                                           .tick = CLOCK_TICK_1024};

static void add(struct rig *rig, const struct clock_kind *kind)
{
    struct machine_options options = clock_machine_options(kind, NULL);

    options.metadata = RTC_METADATA("slew");
    rig_add(rig, kind, &options);
}

static void up(struct rig *rig, guint kinds)
{
    rig_up(rig);
    for (guint i = 0; clock_kinds[i].name != NULL; i++) {
        if ((kinds >> i & 1) != 0) {
            add(rig, &clock_kinds[i]);
        }
    }
}

static void settle(struct rig *rig)
{
    for (guint i = 0; i < rig->n; i++) {
        await_supervision(rig, &rig->guests[i], "slew");
    }
    sleep_ms(1000);
    take_references(rig);
}

#define ALL 0x3f

static void test_stops(void)
{
    struct rig rig;

    up(&rig, ALL);
    settle(&rig);
    stop_all_often(&rig, STOP_MS, INTERVAL_MS, 20);
    await_right(&rig, 10);
    assert_all_right(&rig);
    rig_down(&rig);
}

static void test_stop_once(void)
{
    struct rig rig;

    up(&rig, ALL);
    settle(&rig);
    stop_all(&rig, 3000);
    await_right(&rig, 15);
    assert_all_right(&rig);
    rig_down(&rig);
}

/* Its CPU is somebody else's for half of the time. */
static void test_starved(void)
{
    const char *why;
    struct rig rig;

    up(&rig, 1 << 1 | 1 << 3);
    for (guint i = 0; i < rig.n; i++) {
        disturb_pin(rig.guests[i].clock.machine.pid, disturb_cpu());
    }
    settle(&rig);
    struct hog *hog = hog_start(disturb_cpu(), 100, 200, &why);
    if (hog == NULL) {
        rig_down(&rig);
        test_skip(why);
        return;
    }
    sleep_ms(6000);
    g_test_message("others had its CPU for %.1f s", hog_stop(hog));
    await_right(&rig, 15);
    assert_all_right(&rig);
    rig_down(&rig);
}

/* Each stop ends with a tick at which the guest programs another rate: what it owes then is of the
 * old one. */
static void test_rates(void)
{
    static const guint rates[] = {CLOCK_RATE_1024, CLOCK_RATE_64, 8, CLOCK_RATE_64};
    struct rig rig;

    up(&rig, 1 << 0 | 1 << 3);
    add(&rig, &restless);
    settle(&rig);
    for (guint i = 0; i < 20; i++) {
        for (guint g = 0; g < 2; g++) {
            clock_machine_ask(&rig.guests[g].clock, rates[i % G_N_ELEMENTS(rates)]);
        }
        stop_all(&rig, STOP_MS);
        sleep_ms(INTERVAL_MS - STOP_MS);
    }
    for (guint g = 0; g < 2; g++) {
        g_assert_cmpuint(machine_clock(&rig.guests[g].clock.machine)->changes, >=, 18);
    }
    await_right(&rig, 10);
    assert_all_right(&rig);
    rig_down(&rig);
}

void add_slew_tests(void)
{
    g_test_add_func("/rtc/slew/stops", test_stops);
    g_test_add_func("/rtc/slew/stop-once", test_stop_once);
    g_test_add_func("/rtc/slew/starved", test_starved);
    g_test_add_func("/rtc/slew/rates", test_rates);
}
