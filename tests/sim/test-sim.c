/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Hours of guest time and more than a million ticks in random schedules: periods, policies,
 * unavailable vCPUs, late drivers, suspends. What must hold at every step is asserted in sim.c;
 * here it is what must have come of it at the end.
 */
#include "tests/sim/sim.h"

#include <glib.h>

#define MS(n)       ((uint64_t)(n)*1000000)
#define N_SCHEDULES 150u /* of each kind */

enum kind {
    MADE_UP,   /* catch-up, no outage over the limit: nothing is lost */
    LIMITED,   /* catch-up with a limit that is reached */
    LAZY,      /* one late tick, missed ones skipped */
    OBSERVE,   /* nothing is injected */
    OPEN_LOOP, /* no acknowledgements to be had */
    DISTURBED, /* catch-up, changed from outside all the time */
    N_KINDS,
};

static const char *const kind_names[N_KINDS] = {"made-up", "limited",   "lazy",
                                                "observe", "open-loop", "disturbed"};

/* Over all schedules. */
struct totals {
    unsigned kinds;
    uint64_t schedules;
    uint64_t due;
    uint64_t guest_ns;
};

struct test {
    enum kind kind;
    struct totals *totals;
};

static uint64_t random_seed(void)
{
    return (uint64_t)(uint32_t)g_test_rand_int() << 32 | (uint32_t)g_test_rand_int();
}

static uint64_t random_up_to(uint64_t max)
{
    return random_seed() % (max + 1);
}

/* 100 us to 20 ms in units of 100 ns; or 1/64 to 1/8192 s; or just any ratio. */
static struct period random_period(void)
{
    struct period period;

    switch (random_up_to(2)) {
    case 0:
        return period_from_units(1000 + random_up_to(199000));
    case 1:
        g_assert_true(period_make(1000000000, UINT64_C(64) << random_up_to(7), &period));
        return period;
    default:
        g_assert_true(period_make(1000000000, 50 + random_up_to(9950), &period));
        return period;
    }
}

static struct ticker_policy random_policy(enum kind kind)
{
    static const uint32_t slews[] = {5, 10, 33, 50, 100, 101, 300, 700};

    return (struct ticker_policy){
        .mode = kind == LAZY      ? TICKER_LAZY
                : kind == OBSERVE ? TICKER_OBSERVE
                                  : TICKER_CATCHUP,
        .threshold = 1 + (random_up_to(1) ? 0 : (uint32_t)random_up_to(20)),
        .slew = slews[random_up_to(G_N_ELEMENTS(slews) - 1)],
        .limit_ms = kind == MADE_UP || kind == OPEN_LOOP ? 3600000 : (uint32_t)random_up_to(5000),
        .catch_up_suspends = random_up_to(1),
    };
}

/* Outages of minutes where the period is long enough for them not to take a minute to test. */
static struct sim_params random_params(enum kind kind)
{
    struct ticker_policy policy = random_policy(kind);
    struct period period = random_period();
    uint64_t period_ns = period.numerator / period.denominator;
    uint64_t longest = MIN(MS(180000), period_ns * 40 * MAX(25, policy.slew));
    const uint64_t handlers[] = {1000, period_ns / 10, period_ns / 2, period_ns * 3 / 2};
    const uint64_t late[] = {0, 20000, period_ns / 10, period_ns * 3};

    return (struct sim_params){
        .policy = policy,
        .period = period,
        .closed_loop = kind != OPEN_LOOP,
        .feedback_timeout_ns = kind == DISTURBED && random_up_to(1) ? MS(200) : 0,
        .handler_ns = handlers[random_up_to(3)],
        .late_max_ns = late[random_up_to(3)],
        .outage_max_ns = random_up_to(7) == 0 ? 0
                         : random_up_to(1)    ? longest
                                              : period_ns * 5,
        .outage_gap_ns = period_ns * (2 + random_up_to(300)),
        .suspend_max_ns = random_up_to(2) ? 0 : longest,
        .suspend_gap_ns = period_ns * 2000,
    };
}

/* What is left once the guest and the driver keep up again. */
static void check_end(struct sim *sim, enum kind kind)
{
    struct ticker_policy policy = sim->params.policy;
    const struct ticker_counts *c = &sim->t.counts;

    if (kind == OBSERVE) {
        g_assert_cmpuint(c->injected, ==, 0);
        g_assert_cmpuint(c->due, ==, c->backlog + c->skipped);
        return;
    }
    policy.threshold = 1; /* below it a backlog stays */
    sim_calm_down(sim);
    sim_set_policy(sim, &policy);
    sim_drain(sim);
    g_assert_cmpuint(c->backlog, ==, 0);
    g_assert_cmpuint(c->in_flight, ==, 0);
    if (kind == DISTURBED) {
        return;
    }
    g_assert_cmpuint(c->acknowledged + c->skipped, ==, c->due);
    g_assert_cmpuint(c->injected, ==, c->acknowledged);
    if (kind == MADE_UP || kind == OPEN_LOOP) {
        g_assert_cmpuint(c->skipped, ==, 0);
    }
    if (kind == OPEN_LOOP) {
        g_assert_cmpuint(sim->apic.taken + sim->apic.merged + sim->apic.pending, ==, c->due);
    } else {
        g_assert_cmpuint(sim->apic.taken, ==, c->acknowledged);
    }
}

static void disturb(struct sim *sim)
{
    struct ticker_policy policy = random_policy(DISTURBED);

    switch (random_up_to(6)) {
    case 0:
        policy.mode = (enum ticker_mode)random_up_to(2);
        sim_set_policy(sim, &policy);
        break;
    case 1:
        sim_reset_backlog(sim);
        break;
    case 2:
        sim_start(sim, random_period());
        break;
    case 3:
        sim_stop(sim);
        sim_run(sim, random_up_to(MS(100)));
        sim_start(sim, sim->params.period);
        break;
    case 4:
        sim_assume_taken(sim);
        break;
    case 5:
        sim_guest_reset(sim);
        break;
    default:
        break;
    }
}

static void run_schedule(struct sim *sim, enum kind kind)
{
    struct sim_params params = random_params(kind);
    uint64_t period_ns = params.period.numerator / params.period.denominator;

    sim_init(sim, random_seed(), &params);
    if (kind != DISTURBED) {
        sim_run(sim, period_ns * 10000);
    } else {
        for (unsigned i = 0; i < 200; i++) {
            sim_run(sim, random_up_to(period_ns * 100));
            disturb(sim);
        }
        params.policy.mode = TICKER_CATCHUP;
        sim_set_policy(sim, &params.policy);
    }
    check_end(sim, kind);
}

static void test_schedules(gconstpointer data)
{
    const struct test *test = data;
    struct totals *totals = test->totals;
    uint64_t due = 0, guest_ns = 0;

    for (unsigned i = 0; i < N_SCHEDULES; i++) {
        struct sim sim;

        run_schedule(&sim, test->kind);
        due += sim.t.counts.due;
        guest_ns += sim.now - sim.began_ns;
    }
    g_test_message("%s: %" G_GUINT64_FORMAT " ticks in %.1f hours of guest time",
                   kind_names[test->kind], due, (double)guest_ns / 3.6e12);
    totals->kinds++;
    totals->schedules += N_SCHEDULES;
    totals->due += due;
    totals->guest_ns += guest_ns;
}

/* The schedules were worth their name, if they have all been run. */
static void test_totals(gconstpointer data)
{
    const struct totals *totals = data;

    g_test_message("%" G_GUINT64_FORMAT " schedules: %" G_GUINT64_FORMAT
                   " ticks in %.1f hours of guest time",
                   totals->schedules, totals->due, (double)totals->guest_ns / 3.6e12);
    if (totals->kinds == N_KINDS) {
        g_assert_cmpuint(totals->due, >=, 1000000);
        g_assert_cmpuint(totals->guest_ns, >=, 2 * MS(3600000));
    } else {
        g_test_skip("not all kinds of schedules were run");
    }
}

int main(int argc, char **argv)
{
    struct totals totals = {.kinds = 0};
    struct test tests[N_KINDS];

    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < N_KINDS; i++) {
        char *path = g_strdup_printf("/sim/%s", kind_names[i]);

        tests[i] = (struct test){.kind = (enum kind)i, .totals = &totals};
        g_test_add_data_func(path, &tests[i], test_schedules);
        g_free(path);
    }
    g_test_add_data_func("/sim/totals", &totals, test_totals);
    return g_test_run();
}
