/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A simulated host and guest around one ticker: see sim.h. */
#include "tests/sim/sim.h"

#include <glib.h>
#include <string.h>

#define NEVER UINT64_MAX

__extension__ typedef unsigned __int128 u128;

/* splitmix64 */
uint64_t sim_random(struct sim *sim)
{
    uint64_t z = sim->random += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

uint64_t sim_random_range(struct sim *sim, uint64_t min, uint64_t max)
{
    g_assert_cmpuint(min, <=, max);
    return min + sim_random(sim) % (max - min + 1);
}

uint64_t sim_random_scale(struct sim *sim, uint64_t min, uint64_t max)
{
    uint64_t limit = min;

    while (limit < max && sim_random(sim) % 4 != 0) {
        limit = MIN(max, limit * 3);
    }
    return sim_random_range(sim, min, limit);
}

uint64_t sim_min_interval(const struct sim *sim)
{
    u128 num = (u128)sim->params.period.numerator * 100;
    u128 den = (u128)sim->params.period.denominator * (100 + sim->params.policy.slew);

    return (uint64_t)((num + den - 1) / den);
}

uint64_t sim_limit(const struct sim *sim)
{
    u128 limit_ns = (u128)sim->params.policy.limit_ms * 1000000;
    u128 ticks = limit_ns * sim->params.period.denominator / sim->params.period.numerator;

    if (sim->params.policy.mode == TICKER_LAZY || ticks < 1) {
        return 1;
    }
    return MIN(ticks, NEVER);
}

/* How many periods have passed since the start. */
static uint64_t periods_elapsed(const struct sim *sim)
{
    u128 parts = (u128)(sim->now - sim->start_ns) * sim->params.period.denominator;

    return (uint64_t)(parts / sim->params.period.numerator);
}

static void check(struct sim *sim)
{
    const struct ticker_counts *c = &sim->t.counts;

    g_assert_cmpuint(c->due, ==, c->acknowledged + c->in_flight + c->backlog + c->skipped);
    g_assert_cmpuint(c->in_flight, <=, 1);
    g_assert_cmpuint(c->backlog, <=, sim_limit(sim));
    g_assert_cmpuint(c->injected, <=, c->due);
    g_assert_cmpuint(c->due, >=, sim->seen.due);
    g_assert_cmpuint(c->injected, >=, sim->seen.injected);
    g_assert_cmpuint(c->acknowledged, >=, sim->seen.acknowledged);
    g_assert_cmpuint(c->skipped, >=, sim->seen.skipped);
    if (sim->t.running) {
        g_assert_cmpuint(c->due, ==, sim->due_base + periods_elapsed(sim));
    } else {
        g_assert_cmpuint(c->due, ==, sim->due_base);
        g_assert_cmpuint(c->backlog, ==, 0);
    }
    sim->seen = *c;
}

static void check_injection(struct sim *sim)
{
    uint64_t interval = sim->now - sim->last_injection_ns;

    g_assert_true(sim->t.running);
    g_assert_cmpint(sim->params.policy.mode, !=, TICKER_OBSERVE);
    g_assert_cmpuint(sim->t.counts.in_flight, ==, 0);
    g_assert_cmpuint(sim->t.counts.backlog, >, 0);
    g_assert_cmpuint(ticker_injection_time(&sim->t), <=, sim->now);
    if (sim->injections > 0) {
        g_assert_cmpuint(interval, >=, sim_min_interval(sim));
    }
    if (sim->params.policy.mode == TICKER_LAZY) {
        g_assert_cmpuint(sim->t.counts.due, >, sim->due_at_injection);
    }
    sim->last_injection_ns = sim->now;
    sim->due_at_injection = sim->t.counts.due;
    sim->injections++;
}

/* What the driver does whenever it wakes. */
static void serve(struct sim *sim)
{
    ticker_acknowledge(&sim->t, model_apic_collect(&sim->apic, sim->now), sim->now);
    ticker_advance(&sim->t, sim->now);
    check(sim);
    while (ticker_next(&sim->t, sim->now, &sim->when) == TICKER_INJECT) {
        check_injection(sim);
        model_apic_raise(&sim->apic, sim->now);
        ticker_injected(&sim->t, sim->now);
        check(sim);
    }
    g_assert_cmpuint(sim->when, >, sim->now);
    if (!sim->merges_allowed) {
        g_assert_cmpuint(sim->apic.merged, ==, 0);
    }
}

/* When the guest will next send an EOI, as things are. */
static uint64_t next_eoi(const struct model_apic *apic)
{
    if (apic->in_service || apic->acknowledged > 0) { /* or has sent, and nobody was awake yet */
        return apic->service_end_ns;
    }
    if (!apic->pending) {
        return NEVER;
    }
    return MAX(MAX(apic->pending_ns, apic->unavailable_until), apic->service_end_ns) +
           apic->handler_ns;
}

static void plan_outage(struct sim *sim)
{
    bool burst = sim_random(sim) % 3 == 0;
    uint64_t gap = burst ? sim->params.outage_gap_ns / 20 : sim->params.outage_gap_ns * 2;

    sim->next_outage_ns = NEVER;
    if (sim->params.outage_max_ns != 0) {
        sim->next_outage_ns = sim->now + sim_random_range(sim, 1, gap + 1);
    }
}

static void plan_suspend(struct sim *sim)
{
    sim->next_suspend_ns = NEVER;
    if (sim->params.suspend_max_ns != 0) {
        sim->next_suspend_ns = sim->now + sim_random_range(sim, 1, sim->params.suspend_gap_ns * 2);
    }
}

static void outage(struct sim *sim)
{
    uint64_t until;

    sim->now = MAX(sim->now, sim->next_outage_ns);
    model_apic_advance(&sim->apic, sim->now);
    until = sim->now + sim_random_scale(sim, 10000, sim->params.outage_max_ns);
    sim->apic.unavailable_until = MAX(sim->apic.unavailable_until, until);
    plan_outage(sim);
    sim->next_outage_ns += sim->apic.unavailable_until - sim->now;
}

/* Nothing happens in between, whoever asks. */
static void stand_still(struct sim *sim, uint64_t until)
{
    struct ticker_counts before = sim->t.counts;
    uint64_t when;

    for (unsigned i = 0; i < 3; i++) {
        uint64_t now = sim_random_range(sim, sim->now, until);

        ticker_advance(&sim->t, now);
        g_assert_cmpint(ticker_next(&sim->t, now, &when), !=, TICKER_INJECT);
        g_assert_cmpmem(&before, sizeof before, &sim->t.counts, sizeof sim->t.counts);
        sim->now = now;
    }
    sim->now = until;
}

static void suspend(struct sim *sim)
{
    uint64_t length = sim_random_scale(sim, 1000000, sim->params.suspend_max_ns);

    sim->now = MAX(sim->now, sim->next_suspend_ns);
    serve(sim);
    ticker_freeze(&sim->t, sim->now);
    if (sim->apic.in_service) {
        sim->apic.service_end_ns += length; /* its handler stands still, too */
    }
    sim->apic.unavailable_until = MAX(sim->apic.unavailable_until, sim->now + length);
    stand_still(sim, sim->now + length);
    ticker_thaw(&sim->t, sim->now);
    if (!sim->params.policy.catch_up_suspends) {
        sim->start_ns += length;
        sim->last_injection_ns += length;
    }
    plan_suspend(sim);
    serve(sim);
}

/* The next thing that happens, unless it is after @until. */
static bool step(struct sim *sim, uint64_t until)
{
    uint64_t wake = MIN(sim->when, next_eoi(&sim->apic)), late = 0;

    if (sim->params.late_max_ns != 0 && sim_random(sim) % 2) {
        late = sim_random_range(sim, 0, sim->params.late_max_ns);
    }
    wake = wake > NEVER - late ? NEVER : wake + late;
    if (MIN(wake, MIN(sim->next_outage_ns, sim->next_suspend_ns)) > until) {
        return false;
    }
    if (sim->next_outage_ns <= wake && sim->next_outage_ns <= sim->next_suspend_ns) {
        outage(sim);
    } else if (sim->next_suspend_ns <= wake) {
        suspend(sim);
    } else {
        sim->now = MAX(sim->now, wake);
        serve(sim);
    }
    return true;
}

void sim_run(struct sim *sim, uint64_t duration_ns)
{
    uint64_t until = sim->now + duration_ns;

    while (step(sim, until)) {
    }
    sim->now = MAX(sim->now, until);
    serve(sim);
}

void sim_calm_down(struct sim *sim)
{
    model_apic_advance(&sim->apic, sim->now);
    sim->apic.unavailable_until = sim->now;
    sim->apic.handler_ns = MIN(sim->apic.handler_ns, sim_min_interval(sim) / 2);
    sim->params.late_max_ns = 0;
    sim->params.outage_max_ns = 0;
    sim->params.suspend_max_ns = 0;
    plan_outage(sim);
    plan_suspend(sim);
}

void sim_drain(struct sim *sim)
{
    const struct ticker_counts *c = &sim->t.counts;
    uint64_t period_ns = sim->params.period.numerator / sim->params.period.denominator + 1;
    uint64_t until;

    if (sim->apic.in_service && sim->apic.service_end_ns > sim->now) {
        sim_run(sim, sim->apic.service_end_ns - sim->now); /* still as long as it used to take */
    }
    serve(sim);
    /* Per period, slew/100 ticks are made up; 1 % for rounding, and what was under way. */
    until = sim->now + 5 * period_ns +
            (uint64_t)((u128)(c->backlog + 3) * period_ns * 101 / sim->params.policy.slew);
    while (c->backlog + c->in_flight > 0) {
        g_assert_true(step(sim, until));
    }
}

void sim_init(struct sim *sim, uint64_t seed, const struct sim_params *params)
{
    memset(sim, 0, sizeof *sim);
    sim->random = seed;
    sim->params = *params;
    sim->merges_allowed = !params->closed_loop || params->feedback_timeout_ns != 0;
    sim->now = sim->began_ns = sim_random(sim) >> 20;
    g_assert_null(ticker_policy_problem(&params->policy));
    ticker_init(&sim->t, &params->policy, params->closed_loop, params->feedback_timeout_ns);
    model_apic_init(&sim->apic, params->handler_ns);
    plan_outage(sim);
    plan_suspend(sim);
    sim_start(sim, params->period);
}

/* @backlog in ticks of the new period, rounded down. */
static uint64_t restated(const struct sim *sim, struct period period)
{
    u128 num = (u128)sim->t.counts.backlog * sim->params.period.numerator;
    u128 den = (u128)sim->params.period.denominator * period.numerator;

    return (uint64_t)(num / den * period.denominator + num % den * period.denominator / den);
}

void sim_start(struct sim *sim, struct period period)
{
    struct ticker_counts before;
    uint64_t expected, backlog;

    serve(sim);
    before = sim->t.counts;
    expected = restated(sim, period);
    ticker_start(&sim->t, sim->now, period);
    backlog = sim->t.counts.due - (before.due - before.backlog); /* the limit apart */
    g_assert_cmpuint(backlog - expected, <=, 1); /* one more, where a nanosecond is missing */
    sim->due_base = sim->t.counts.due;
    sim->start_ns = sim->now;
    sim->params.period = period;
    sim->seen.due = 0; /* may step back here, and only here */
    sim->due_at_injection = 0;
    serve(sim);
}

void sim_stop(struct sim *sim)
{
    serve(sim);
    ticker_stop(&sim->t, sim->now);
    sim->due_base = sim->t.counts.due;
    serve(sim);
}

void sim_set_policy(struct sim *sim, const struct ticker_policy *policy)
{
    serve(sim);
    ticker_set_policy(&sim->t, policy, sim->now);
    sim->params.policy = *policy;
    sim->due_at_injection = 0; /* what was to be made up before may still be late once */
    serve(sim);
}

void sim_reset_backlog(struct sim *sim)
{
    serve(sim);
    ticker_reset_backlog(&sim->t, sim->now);
    g_assert_cmpuint(sim->t.counts.backlog, ==, 0);
    serve(sim);
}

void sim_assume_taken(struct sim *sim)
{
    sim->merges_allowed = true;
    ticker_assume_taken(&sim->t);
    g_assert_cmpuint(sim->t.counts.in_flight, ==, 0);
    serve(sim);
}

void sim_guest_reset(struct sim *sim)
{
    uint64_t handler_ns = sim->apic.handler_ns;

    serve(sim);
    ticker_guest_reset(&sim->t, sim->now);
    g_assert_cmpuint(sim->t.counts.backlog + sim->t.counts.in_flight, ==, 0);
    model_apic_init(&sim->apic, handler_ns);
    serve(sim);
}
