/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the product does, at one look: two guests at 1 ms, one with the policy "lazy" and one with
 * "catchup", lose their vCPU for a second; the plot shows how far each guest's idea of time is off.
 * Real daemon, real bus, real KVM; without KVM the model injector's guests. Exits with 0 only if
 * the catch-up guest has taken every tick.
 */
#include "tests/demo/guests.h"
#include "tests/demo/plot.h"
#include "tests/support/fixture.h"
#include "tests/support/test.h"
#include <hvapi/hvapi.h>
#include <stdlib.h>

#define PERIOD_UNITS   10000u /* 1 ms in units of 100 ns */
#define PERIOD_MS      1.0
#define CONTROL        0x0000000000001050ull /* vector 0x50, physical 0, enabled */
#define SHOW_MS        3000
#define SAMPLE_MS      50
#define RUN_MS         4000
#define HOLD_AT_MS     1000
#define HOLD_MS        1000
#define SETTLE_SECONDS 60

static const char *const policies[DEMO_GUESTS] = {"lazy", "catchup"};

static void must(HV_STATUS status, const char *what)
{
    if (status != HV_STATUS_SUCCESS) {
        g_printerr("demo: %s: %s: %s\n", what, hvapi_status_name(status), hvapi_last_error());
        exit(EXIT_FAILURE);
    }
}

static void sleep_ms(gint64 ms)
{
    gint64 end = g_get_monotonic_time() + ms * 1000;

    while (g_get_monotonic_time() < end) {
        test_iterate();
    }
}

static hvapi_statistics statistics(const struct demo_guests *guests, int i)
{
    hvapi_statistics s;

    must(hvapi_get_statistics(guests->ids[i], &s), "reading statistics");
    return s;
}

/* How far the guest's clock, which adds a period for each tick, is behind. */
static double error_ms(const struct demo_guests *guests, int i)
{
    double due = (double)statistics(guests, i).due;

    return (due - (double)demo_guest_taken(guests, i)) * PERIOD_MS;
}

static void enable(const struct demo_guests *guests, int i)
{
    must(HvSetPartitionProperty(guests->ids[i], HvPartitionPropertyEmulatedTimerPeriod,
                                PERIOD_UNITS),
         "setting EmulatedTimerPeriod");
    must(HvSetPartitionProperty(guests->ids[i], HvPartitionPropertyEmulatedTimerControl, CONTROL),
         "setting EmulatedTimerControl");
}

static void show_ticks(const struct demo_guests *guests)
{
    g_print("\n   %8s %10s %10s   %s\n", "seconds", "due", "taken", "lateness p50 / p99, us");
    for (int ms = 500; ms <= SHOW_MS; ms += 500) {
        sleep_ms(500);
        hvapi_statistics s = statistics(guests, 1);
        g_print("   %8.1f %10" G_GUINT64_FORMAT " %10" G_GUINT64_FORMAT "   %.0f / %.0f\n",
                ms / 1000.0, s.due, demo_guest_taken(guests, 1), (double)s.lateness_p50_ns / 1e3,
                (double)s.lateness_p99_ns / 1e3);
    }
}

static void run_outage(const struct demo_guests *guests, struct plot *plot)
{
    gint64 start = g_get_monotonic_time();
    gboolean held = FALSE;

    for (int n = 0; n * SAMPLE_MS < RUN_MS; n++) {
        sleep_ms(n * SAMPLE_MS - (g_get_monotonic_time() - start) / 1000);
        if (!held && n * SAMPLE_MS >= HOLD_AT_MS) {
            for (int i = 0; i < DEMO_GUESTS; i++) {
                demo_guest_hold(guests, i, HOLD_MS);
            }
            held = TRUE;
        }
        for (int i = 0; i < DEMO_GUESTS; i++) {
            plot_add(plot, i, n * SAMPLE_MS / 1000.0, error_ms(guests, i));
        }
    }
}

static gboolean caught_up(const struct demo_guests *guests, hvapi_statistics *ret)
{
    *ret = statistics(guests, 1);
    return ret->backlog == 0;
}

/* Caught up without giving a tick up; and, once stopped, what was acknowledged is what the guest
 * has counted. */
static gboolean verdict(const struct demo_guests *guests)
{
    hvapi_statistics before, after;

    test_wait_until(SETTLE_SECONDS, caught_up(guests, &before));
    must(HvSetPartitionProperty(guests->ids[1], HvPartitionPropertyEmulatedTimerPeriod, 0),
         "stopping");
    test_wait_until_still(SETTLE_SECONDS, statistics(guests, 1).due);
    test_wait_until(SETTLE_SECONDS, statistics(guests, 1).in_flight == 0);
    after = statistics(guests, 1);
    test_wait_until(SETTLE_SECONDS, demo_guest_taken(guests, 1) >= after.acknowledged);
    uint64_t taken = demo_guest_taken(guests, 1);
    g_print("\n   lazy:    the guest's clock stays %.0f ms behind\n", error_ms(guests, 0));
    g_print("   catchup: %" G_GUINT64_FORMAT " ticks due, %" G_GUINT64_FORMAT
            " taken or on their way, %" G_GUINT64_FORMAT " given up;\n"
            "            after the stop %" G_GUINT64_FORMAT " acknowledged, %" G_GUINT64_FORMAT
            " counted by the guest\n",
            before.due, before.acknowledged + before.in_flight, before.skipped, after.acknowledged,
            taken);
    return before.skipped == 0 && taken == after.acknowledged;
}

int main(void)
{
    struct demo_guests guests;
    struct fixture fixture = {.quiet = TRUE};
    struct plot plot = {.names = policies, .curves = DEMO_GUESTS};

    g_print("hvtimer: a daemon on a private bus, two guests, ticks at 1 ms\n");
    fixture_up(&fixture, DEMO_CONFIG);
    demo_guests_up(&guests, &fixture, policies);
    for (int i = 0; i < DEMO_GUESTS; i++) {
        enable(&guests, i);
    }
    show_ticks(&guests);
    g_print("\n   Now both vCPUs are held up for a second.\n");
    run_outage(&guests, &plot);
    plot_draw(&plot, "how far the guest's clock is behind, ms");
    gboolean ok = verdict(&guests);
    demo_guests_down(&guests);
    fixture_down(&fixture);
    g_print("\n%s\n", ok ? "Every tick was taken." : "FAILED: ticks are missing.");
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
