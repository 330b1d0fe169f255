/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A ticker driven exactly, for scenarios worked out by hand: see rig.h. */
#include "tests/sim/rig.h"

#include <string.h>

struct period ms(uint64_t n)
{
    return period_from_units(n * 10000);
}

struct period per_second(uint64_t hz)
{
    struct period period;

    g_assert_true(period_make(1000000000, hz, &period));
    return period;
}

struct ticker_policy policy_of(enum ticker_mode mode, uint32_t threshold, uint32_t slew,
                               uint32_t limit_ms)
{
    return (struct ticker_policy){
        .mode = mode, .threshold = threshold, .slew = slew, .limit_ms = limit_ms};
}

void rig_check(const struct rig *rig)
{
    const struct ticker_counts *c = &rig->t.counts;

    g_assert_cmpuint(c->due, ==, c->acknowledged + c->in_flight + c->backlog + c->skipped);
    g_assert_cmpuint(c->in_flight, <=, 1);
}

uint64_t rig_step(struct rig *rig)
{
    uint64_t when = 0;

    for (;;) {
        enum ticker_action action;

        ticker_acknowledge(&rig->t, !rig->held && rig->t.counts.in_flight ? 1 : 0, rig->now);
        ticker_advance(&rig->t, rig->now);
        rig_check(rig);
        action = ticker_next(&rig->t, rig->now, &when);
        if (action != TICKER_INJECT) {
            g_assert_cmpuint(when, >, rig->now);
            g_assert_true(action != TICKER_IDLE || when == TICKER_NEVER);
            return when;
        }
        g_assert_cmpuint(ticker_injection_time(&rig->t), <=, rig->now);
        ticker_injected(&rig->t, rig->now);
        rig_check(rig);
        rig->log_overflow = rig->n_log == G_N_ELEMENTS(rig->log_ns);
        if (!rig->log_overflow) {
            rig->log_ns[rig->n_log++] = rig->now;
        }
    }
}

void rig_run(struct rig *rig, uint64_t until)
{
    uint64_t when = rig_step(rig);

    while (when <= until) {
        rig->now = when;
        when = rig_step(rig);
    }
    rig->now = until;
    rig_step(rig);
}

void rig_hold(struct rig *rig, uint64_t until)
{
    rig->held = true;
    rig_run(rig, until);
    rig->held = false;
    rig->n_log = 0;
}

void rig_init(struct rig *rig, struct ticker_policy policy, struct period period)
{
    memset(rig, 0, sizeof *rig);
    g_assert_null(ticker_policy_problem(&policy));
    ticker_init(&rig->t, &policy, true, 0);
    rig->now = T(0);
    ticker_start(&rig->t, rig->now, period);
}

void rig_init_default(struct rig *rig)
{
    rig_init(rig, (struct ticker_policy)TICKER_POLICY_DEFAULT, ms(1));
}

void rig_init_feedback(struct rig *rig, bool closed_loop, uint64_t timeout_ns)
{
    struct ticker_policy policy = TICKER_POLICY_DEFAULT;

    rig_init_default(rig);
    ticker_init(&rig->t, &policy, closed_loop, timeout_ns);
    ticker_start(&rig->t, rig->now, ms(1));
}

void assert_log(const struct rig *rig, unsigned n, uint64_t first_us, uint64_t step_ns)
{
    g_assert_false(rig->log_overflow);
    g_assert_cmpuint(rig->n_log, ==, n);
    for (unsigned i = 0; i < n; i++) {
        g_assert_cmpuint(rig->log_ns[i], ==, T(first_us) + i * step_ns);
    }
}
