/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The rig of test-rtc itself: guests that nobody helps, or that QEMU helps, lose and gain what they
 * should. Where this fails, test-rtc has nothing to say about hvtimer.
 */
#include "tests/integration/test-rtc.h"

#define STOP_SECONDS 2

static struct machine_options with_policy(const struct clock_kind *kind, const char *policy)
{
    struct machine_options options = clock_machine_options(kind, NULL);

    options.rtc_policy = policy;
    return options;
}

/* Stopped for a while, all that have no help are behind by that, and a little more on a busy
 * machine; QEMU helps those that use the IOAPIC, at once, and not those that use the PICs. */
static void test_peers(void)
{
    static const struct {
        guint kind;
        const char *policy;
        gboolean helped;
    } rows[] = {{1, NULL, FALSE}, {1, "catchup", TRUE}, {4, NULL, FALSE}, {4, "catchup", FALSE}};
    struct rig rig;

    rig_up(&rig);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        const struct clock_kind *kind = &clock_kinds[rows[i].kind];
        struct machine_options options = with_policy(kind, rows[i].policy);
        rig_add(&rig, kind, &options);
    }
    take_references(&rig);
    stop_all(&rig, STOP_SECONDS * 1000);
    gint64 end = clock_now_ns();
    sleep_ms(2000);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        struct clock_report report = guest_report(&rig.guests[i], end);
        g_test_message("%s, %s: behind by %.3f s; top speed %.1f", rig.guests[i].kind.name,
                       rows[i].policy != NULL ? rows[i].policy : "no policy", report.behind,
                       report.peak);
        g_assert_cmpfloat(report.behind, <, rows[i].helped ? 0.01 : STOP_SECONDS + 2);
        g_assert_cmpfloat(report.behind, >, rows[i].helped ? -0.01 : STOP_SECONDS - 0.2);
        g_assert_cmpfloat(report.peak, <, rows[i].helped ? 100 : 1.5);
        g_assert_cmpfloat(report.peak, >, rows[i].helped ? 3 : 0.1);
    }
    rig_down(&rig);
}

/* The guest changes its rate, of its own accord or asked to, and its clock goes on. */
static void test_rates(void)
{
    struct rig rig;

    rig_up(&rig);
    struct guest *toggling = rig_add(&rig, &clock_kinds[2], NULL);
    struct guest *asked = rig_add(&rig, &clock_kinds[0], NULL);
    volatile struct clock_guest *clock = machine_clock(&asked->clock.machine);
    g_assert_cmpuint(clock->increment, ==, CLOCK_TICK_64);
    clock_machine_ask(&asked->clock, CLOCK_RATE_1024);
    await(5, clock->asked == 0, "the guest has changed its rate");
    g_assert_cmpuint(clock->increment, ==, CLOCK_TICK_1024);
    g_assert_cmpuint(clock->changes, ==, 1);
    guint ticks = clock->ticks;
    gint64 start = g_get_monotonic_time();
    await(10, clock->ticks > ticks + 1024, "1024 ticks");
    g_assert_cmpint(g_get_monotonic_time() - start, >, 900000);
    await(10, machine_clock(&toggling->clock.machine)->changes > 9, "changes of rate");
    rig_down(&rig);
}

/* Guests that look at PF, one of them until it is clear, count what others count. */
static void test_pf(void)
{
    static const guint ways[] = {DOMAIN_GUEST_CLOCK_PF, DOMAIN_GUEST_CLOCK_POLL};
    struct rig rig;

    rig_up(&rig);
    for (size_t i = 0; i < G_N_ELEMENTS(ways); i++) {
        struct machine_options options = with_policy(&clock_kinds[0], NULL);
        options.clock |= ways[i];
        rig_add(&rig, &clock_kinds[0], &options);
    }
    take_references(&rig);
    sleep_ms(1500);
    for (guint i = 0; i < rig.n; i++) {
        struct clock_report report = guest_report(&rig.guests[i], rig.guests[i].since_ns);
        g_assert_cmpfloat(report.behind, <, 0.5); /* it may lose ticks on a busy machine */
        g_assert_cmpfloat(report.ahead, <, 0.02);
    }
    rig_down(&rig);
}

void add_peers_tests(void)
{
    g_test_add_func("/rtc/rig/peers", test_peers);
    g_test_add_func("/rtc/rig/rates", test_rates);
    g_test_add_func("/rtc/rig/pf", test_pf);
}
