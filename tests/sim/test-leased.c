/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A leased timer under its supervisor, in simulated time: KVM's periodic timer, which loses ticks
 * while the vCPU doesn't run, and may be a little slower than asked for; a guest that counts; and
 * hours of it.
 */
#include "daemon/base-timer/supervisor.h"
#include "daemon/injectors/model-apic.h"
#include <glib.h>

#define NS_PER_S   UINT64_C(1000000000)
#define STARTED    UINT64_C(123456789)
#define HANDLER_NS 5000

struct sim {
    struct period period;
    uint64_t tick_ns; /* the timer's own period */
    struct supervisor supervisor;
    struct model_apic apic;
    uint64_t now, next_tick, wake;
    uint64_t looks;
    unsigned late_us; /* how late the supervisor gets to run, at most */
    int64_t most_ahead;
};

static void start(struct sim *sim, struct period period, uint64_t tick_ns)
{
    struct ticker_policy policy = TICKER_POLICY_DEFAULT;
    struct supervisor_clock clock = {.hz = NS_PER_S * period.denominator,
                                     .shortest = 1,
                                     .own_length = tick_ns * period.denominator,
                                     .restarts = TRUE,
                                     .quiet = TRUE};

    *sim = (struct sim){.period = period, .tick_ns = tick_ns, .now = STARTED, .late_us = 200};
    sim->next_tick = STARTED + tick_ns;
    sim->wake = STARTED + 3000000; /* the daemon hears of it later */
    model_apic_init(&sim->apic, HANDLER_NS);
    supervisor_init(&sim->supervisor, &clock, &policy, true, STARTED);
    supervisor_start(&sim->supervisor, &clock, period.numerator, STARTED, STARTED, 0);
}

static uint64_t due(const struct sim *sim)
{
    return (sim->now - STARTED) * sim->period.denominator / sim->period.numerator;
}

static void note_ahead(struct sim *sim)
{
    int64_t ahead = (int64_t)(sim->apic.taken - due(sim));

    sim->most_ahead = MAX(sim->most_ahead, ahead);
}

static void look(struct sim *sim)
{
    struct supervisor *s = &sim->supervisor;
    uint64_t when;

    supervisor_acknowledge(s, model_apic_collect(&sim->apic, sim->now));
    supervisor_advance(s, sim->now);
    const struct ticker_counts *c = &s->counts;
    g_assert_cmpuint(c->due, ==, c->acknowledged + c->in_flight + c->backlog + c->skipped);
    if (supervisor_next(s, sim->now, &when) == TICKER_INJECT) {
        model_apic_raise(&sim->apic, sim->now);
        supervisor_injected(s, sim->now);
    }
    sim->looks++;
    sim->wake = when + (uint64_t)g_test_rand_int_range(20, 20 + (gint)sim->late_us) * 1000;
}

static void run(struct sim *sim, double seconds)
{
    uint64_t until = sim->now + (uint64_t)(seconds * (double)NS_PER_S);

    while (sim->now < until) {
        sim->now = MIN(sim->next_tick, sim->wake);
        if (sim->now == sim->next_tick) {
            model_apic_raise(&sim->apic, sim->now);
            sim->next_tick += sim->tick_ns;
        } else {
            look(sim);
        }
        note_ahead(sim);
    }
}

/* The vCPU does not run: one tick stays pending, the others are lost. */
static void stall(struct sim *sim, double seconds)
{
    sim->apic.unavailable_until = sim->now + (uint64_t)(seconds * (double)NS_PER_S);
    run(sim, seconds);
}

static void check_right(struct sim *sim)
{
    run(sim, 0.1);
    g_test_message("due %" G_GUINT64_FORMAT ", taken %" G_GUINT64_FORMAT
                   ", topped up %" G_GUINT64_FORMAT ", at most %d ahead, %" G_GUINT64_FORMAT
                   " looks",
                   due(sim), sim->apic.taken, sim->supervisor.counts.injected, (int)sim->most_ahead,
                   sim->looks);
    g_assert_cmpuint(sim->apic.taken + 1, >=, due(sim));
    g_assert_cmpuint(sim->apic.taken, <=, due(sim) + 1);
    g_assert_cmpint(sim->most_ahead, <=, 1);
    g_assert_cmpuint(sim->supervisor.counts.skipped, ==, 0);
}

/* No tick is lost: the daemon sleeps, but for a few dozen looks a second. */
static void test_quiet(void)
{
    struct sim sim;

    start(&sim, (struct period){1000000, 1}, 1000000);
    run(&sim, 600);
    check_right(&sim);
    g_assert_cmpuint(sim.supervisor.counts.injected, ==, 0);
    g_assert_cmpuint(sim.looks, <=, 601 * 41);
}

/* 1/1024 s is 976562.5 ns, the timer's own 976563: what it falls behind is made up, tick by tick.
 */
static void test_remainder(void)
{
    struct sim sim;

    start(&sim, (struct period){1953125, 2}, 976563);
    run(&sim, 4 * 3600);
    check_right(&sim);
    /* One for some 1953125 ticks. */
    g_assert_cmpuint(sim.supervisor.counts.injected, >=, 6);
    g_assert_cmpuint(sim.supervisor.counts.injected, <=, 9);
}

#define SUSPENDS 50
#define PAUSE_NS (NS_PER_S / 2)

/* The guest stands still, and that is told a while later: what passed until then was not its time
 * either, though it is looked at so seldom. */
static void test_suspend(void)
{
    struct sim sim;
    uint64_t suspended = 0;

    start(&sim, (struct period){1000000, 1}, 1000000);
    for (int i = 0; i < SUSPENDS; i++) {
        run(&sim, g_test_rand_double_range(0.3, 0.7));
        uint64_t stopped = sim.now;
        sim.apic.unavailable_until = UINT64_MAX;
        run(&sim, g_test_rand_double_range(0.001, 0.15));
        look(&sim); /* as the engine does before it obeys */
        supervisor_freeze(&sim.supervisor, sim.now);
        sim.now += PAUSE_NS;
        sim.next_tick += PAUSE_NS;
        supervisor_thaw(&sim.supervisor, sim.now);
        sim.apic.unavailable_until = sim.wake = sim.now;
        suspended += sim.now - stopped;
    }
    run(&sim, 3);
    uint64_t expected = (sim.now - STARTED - suspended) / 1000000;
    g_test_message("%d suspends: taken %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT, SUSPENDS,
                   sim.apic.taken, expected);
    g_assert_cmpuint(sim.apic.taken, <=, expected + 3 * SUSPENDS);
    g_assert_cmpuint(sim.apic.taken + 3 * SUSPENDS, >=, expected);
}

static void test_stalls(gconstpointer data)
{
    const struct period *period = data;
    uint64_t tick_ns = (period->numerator + period->denominator - 1) / period->denominator;
    struct sim sim;

    start(&sim, *period, tick_ns);
    for (int i = 0; i < 120; i++) {
        stall(&sim, g_test_rand_double_range(0.001, 0.2));
        run(&sim, g_test_rand_double_range(0.2, 0.5));
    }
    stall(&sim, 3);
    run(&sim, 20);
    check_right(&sim);
}

/* Another period: what is missing is still missing, in time. */
static void test_another_period(void)
{
    struct supervisor_clock clock = {
        .hz = 3 * NS_PER_S, .shortest = 1, .restarts = TRUE, .quiet = TRUE};
    struct sim sim;

    start(&sim, (struct period){1000000, 1}, 1000000);
    run(&sim, 1);
    stall(&sim, 1);
    look(&sim);
    uint64_t missing = sim.supervisor.counts.backlog;
    g_assert_cmpuint(missing, >=, 990);
    /* 30 Hz, from now on: a thousand milliseconds are thirty of its ticks. */
    supervisor_start(&sim.supervisor, &clock, 100000000, sim.now, sim.now, 0);
    supervisor_advance(&sim.supervisor, sim.now);
    uint64_t left = sim.supervisor.counts.backlog + sim.supervisor.counts.in_flight;
    g_assert_cmpuint(left, >=, 29);
    g_assert_cmpuint(left, <=, 30);
}

/* What was acknowledged since the last look is of the old period and of the new one: of the new one
 * at most what came since. */
static void test_taken_meanwhile(void)
{
    struct supervisor_clock clock = {
        .hz = NS_PER_S, .shortest = 1, .restarts = TRUE, .quiet = TRUE};
    struct sim sim;

    start(&sim, (struct period){100000000, 1}, 100000000);
    run(&sim, 2.05);
    look(&sim);
    uint64_t acknowledged = sim.supervisor.counts.acknowledged;
    uint64_t now = sim.now + 15000000, began = now - 5500000;
    supervisor_start(&sim.supervisor, &clock, 1000000, began, now, 6);
    supervisor_advance(&sim.supervisor, now);
    g_assert_cmpuint(sim.supervisor.counts.acknowledged, ==, acknowledged + 6);
    g_assert_cmpuint(sim.supervisor.counts.backlog + sim.supervisor.counts.in_flight, ==, 0);
    supervisor_advance(&sim.supervisor, now + 2000000);
    g_assert_cmpuint(sim.supervisor.counts.backlog + sim.supervisor.counts.in_flight, ==, 2);
}

/* Due before the lease was made. */
static void test_owe(void)
{
    struct sim sim;

    start(&sim, (struct period){1000000, 1}, 1000000);
    supervisor_owe(&sim.supervisor, STARTED - 50000000);
    supervisor_advance(&sim.supervisor, STARTED);
    g_assert_cmpuint(sim.supervisor.counts.backlog + sim.supervisor.counts.in_flight, ==, 50);
    g_assert_cmpuint(supervisor_period_began(&sim.supervisor), ==, STARTED);
}

int main(int argc, char **argv)
{
    static const struct period periods[] = {
        {1000000, 1}, {1953125, 2}, {15625000, 1}, {100000000, 3}, {UINT64_C(200000), 1}};
    static const char *const names[] = {"1ms", "1024Hz", "64Hz", "30Hz", "200us"};

    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/leased/quiet", test_quiet);
    g_test_add_func("/leased/remainder", test_remainder);
    for (unsigned i = 0; i < G_N_ELEMENTS(periods); i++) {
        g_autofree char *name = g_strdup_printf("/leased/stalls/%s", names[i]);
        g_test_add_data_func(name, &periods[i], test_stalls);
    }
    g_test_add_func("/leased/suspend", test_suspend);
    g_test_add_func("/leased/another-period", test_another_period);
    g_test_add_func("/leased/taken-meanwhile", test_taken_meanwhile);
    g_test_add_func("/leased/owe", test_owe);
    return g_test_run();
}
