/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whatever keeps a guest from running, its clock is right again soon, and never races. */
#include "tests/integration/test-rtc.h"

#include <math.h>

/* A quarter of the time for which a guest may be stopped that often is enough to catch up. */
#define STOP_MS     150
#define INTERVAL_MS 500

#define ALL 0x3f /* of clock_kinds */

/* One change of rate to almost each tick. */
static const struct clock_kind restless = {.name = "IOAPIC restless",
                                           .rate = CLOCK_RATE_64,
                                           .ticks = 1,
                                           .other_rate = CLOCK_RATE_1024,
                                           .other_ticks = 2};

static struct guest *add(struct rig *rig, const struct clock_kind *kind)
{
    struct machine_options options = clock_machine_options(kind, NULL);

    options.metadata = RTC_METADATA("slew");
    return rig_add(rig, kind, &options);
}

/* A bit for each of clock_kinds. */
static void add_kinds(struct rig *rig, guint kinds)
{
    for (guint i = 0; clock_kinds[i].name != NULL; i++) {
        if ((kinds >> i & 1) != 0) {
            add(rig, &clock_kinds[i]);
        }
    }
}

static void settle(struct rig *rig)
{
    for (guint i = 0; i < rig->n; i++) {
        struct guest *guest = &rig->guests[i];
        await_supervision(rig, guest, guest->observed ? "observe" : "slew");
    }
    sleep_ms(1000);
    for (guint i = 0; i < rig->n; i++) { /* a busy host takes ticks from the start on */
        const struct guest *guest = &rig->guests[i];
        await(30, guest->observed || statistics(guest).backlog == 0, "%s has caught up",
              guest_name(guest));
    }
    take_references(rig);
}

/* ---- Outages ---- */

/* A minute; an hour takes an hour: HVTIMER_TEST_RTC_SECONDS=3600. */
static double observed_seconds(void)
{
    const char *text = g_getenv("HVTIMER_TEST_RTC_SECONDS");

    return text != NULL ? g_ascii_strtod(text, NULL) : 60;
}

/* One of which the losses are only counted. Its firmware takes a while, so hvtimerd is there when
 * it programs its RTC: its rate is known from the first tick on. */
static struct guest *add_observed(struct rig *rig)
{
    struct machine_options options = clock_machine_options(&clock_kinds[1], NULL);

    options.metadata = RTC_METADATA("observe");
    options.bios = TRUE;
    struct guest *guest = rig_add(rig, &clock_kinds[1], &options);
    guest->observed = TRUE;
    return guest;
}

/* All kinds at once; beside them, one that is observed counts what it loses all the time. */
static void test_outages(void)
{
    struct rig rig;

    rig_up(&rig);
    struct guest *observed = add_observed(&rig);
    add_kinds(&rig, ALL);
    machine_wait_ready(&observed->clock.machine);
    settle(&rig);
    g_assert_true(status_is(&rig, observed, "supervision.learned", "trace"));
    struct ledger first = read_ledger(observed);
    gint64 end = g_get_monotonic_time() + (gint64)(observed_seconds() * G_USEC_PER_SEC);

    stop_all_often(&rig, STOP_MS, INTERVAL_MS, 20);
    await_right(&rig, 15);
    assert_all_right(&rig);

    take_references(&rig);
    stop_all(&rig, 3000);
    await_right(&rig, 15);
    assert_all_right(&rig);

    take_references(&rig);
    stop_all_often(&rig, STOP_MS, INTERVAL_MS,
                   (double)(end - g_get_monotonic_time()) / G_USEC_PER_SEC);
    await_right(&rig, 15);
    assert_all_right(&rig);
    struct ledger last = read_ledger(observed);
    g_assert_cmpuint(statistics(observed).injected, ==, 0);
    assert_ledgers_agree(&first, &last);
    rig_down(&rig);
}

/* Its CPU is somebody else's for half of the time. */
static void test_starved(void)
{
    const char *why;
    struct rig rig;

    rig_up(&rig);
    add_kinds(&rig, 1 << 1 | 1 << 3);
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
    sleep_ms(4000);
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

    rig_up(&rig);
    add_kinds(&rig, 1 << 0 | 1 << 3);
    /* That one gains with nobody's help, again and again. */
    add(&rig, &restless)->ahead_max = INFINITY;
    settle(&rig);
    for (guint i = 0; i < 12; i++) {
        for (guint g = 0; g < 2; g++) {
            clock_machine_ask(&rig.guests[g].clock, rates[i % G_N_ELEMENTS(rates)]);
        }
        stop_all(&rig, STOP_MS);
        sleep_ms(INTERVAL_MS - STOP_MS);
    }
    for (guint g = 0; g < 2; g++) {
        g_assert_cmpuint(machine_clock(&rig.guests[g].clock.machine)->changes, >=, 11);
    }
    await_right(&rig, 10);
    assert_all_right(&rig);
    rig_down(&rig);
}

void add_slew_tests(void)
{
    g_test_add_func("/rtc/slew/outages", test_outages);
    g_test_add_func("/rtc/slew/starved", test_starved);
    g_test_add_func("/rtc/slew/rates", test_rates);
}
