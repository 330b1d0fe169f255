/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The catch-up arithmetic of one timer: see ticker.h. */
#include "daemon/ticker.h"

#include <stddef.h>
#include <string.h>

/* Products of a time and a part of a ratio need more than 64 bits. */
__extension__ typedef unsigned __int128 u128;

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

const char *ticker_policy_problem(const struct ticker_policy *policy)
{
    if (policy->mode != TICKER_CATCHUP && policy->mode != TICKER_LAZY &&
        policy->mode != TICKER_OBSERVE) {
        return "policy is not one of catchup, lazy, observe";
    }
    if (policy->threshold < 1) {
        return "threshold must be at least 1 tick";
    }
    if (policy->slew < TICKER_SLEW_MIN || policy->slew > TICKER_SLEW_MAX) {
        return "slew must be 5 to 700 percent";
    }
    return NULL;
}

/* Everything that follows from period and policy. Intervals are rounded up and ticks down, so
 * that rounding never makes the guest run faster or longer than was asked for. */
static void derive(struct ticker *t)
{
    uint64_t num = t->period.numerator, den = t->period.denominator;

    if (num == 0) {
        return;
    }
    t->step_ns = num / den;
    t->step_part = num % den;

    u128 whole = (u128)den * (100 + t->policy.slew);
    t->min_interval_ns = (uint64_t)(((u128)num * 100 + whole - 1) / whole);

    u128 limit = (u128)t->policy.limit_ms * 1000000 * den / num;
    t->limit_ticks = limit < 1 ? 1 : limit > UINT32_MAX ? UINT32_MAX : (uint64_t)limit;
    /* One of a full backlog is delivered, and what is left must be able to start the catch-up. */
    t->threshold_ticks = min_u64(t->policy.threshold, max_u64(t->limit_ticks - 1, 1));
}

void ticker_init(struct ticker *t, const struct ticker_policy *policy, bool closed_loop,
                 uint64_t feedback_timeout_ns)
{
    memset(t, 0, sizeof *t);
    t->policy = *policy;
    t->period.denominator = 1;
    t->closed_loop = closed_loop;
    t->feedback_timeout_ns = feedback_timeout_ns;
}

uint64_t ticker_behind_ns(const struct ticker_counts *counts, struct period period)
{
    return counts->lost_ns + (uint64_t)((u128)counts->backlog * period.numerator /
                                        (period.denominator != 0 ? period.denominator : 1));
}

/* Exactly, however many pieces it comes in. */
static void lose(struct ticker *t, uint64_t ticks)
{
    u128 parts = (u128)ticks * t->period.numerator + t->lost_part;

    t->counts.lost_ns += (uint64_t)(parts / t->period.denominator);
    t->lost_part = (uint64_t)(parts % t->period.denominator);
}

static void skip(struct ticker *t, uint64_t ticks)
{
    t->counts.backlog -= ticks;
    t->counts.skipped += ticks;
    lose(t, ticks);
    if (t->counts.backlog == 0) {
        t->catching_up = false;
        t->slot = false;
    }
}

/* The most that may wait to be delivered: a lazy timer holds one late tick. */
static void skip_what_is_over(struct ticker *t)
{
    uint64_t most = t->policy.mode == TICKER_LAZY ? 1 : t->limit_ticks;

    if (t->counts.backlog > most) {
        skip(t, t->counts.backlog - most);
    }
}

/* Ticks whose exact due time is not after @now; the next one is known to be among them. */
static uint64_t count_due(const struct ticker *t, uint64_t now)
{
    if (now - t->next_ns < t->step_ns) {
        return 1; /* the ordinary case, without a division */
    }
    u128 parts = (u128)(now - t->next_ns) * t->period.denominator - t->next_part;
    return 1 + (uint64_t)(parts / t->period.numerator);
}

/* Moves the next due time on by @n periods, exactly. */
static void move_on(struct ticker *t, uint64_t n)
{
    if (n == 1) {
        t->next_ns += t->step_ns;
        t->next_part += t->step_part;
        if (t->next_part >= t->period.denominator) {
            t->next_part -= t->period.denominator;
            t->next_ns++;
        }
        return;
    }
    u128 parts = (u128)t->period.numerator * n + t->next_part;
    t->next_ns += (uint64_t)(parts / t->period.denominator);
    t->next_part = (uint64_t)(parts % t->period.denominator);
}

/* The first nanosecond at which the next tick may be delivered: never before its due time. */
static uint64_t next_due(const struct ticker *t)
{
    return t->next_ns + (t->next_part != 0);
}

/* @backlog ticks of @from are how many of @to? A nanosecond more at most is taken for the time. */
static uint64_t restate(uint64_t backlog, struct period from, struct period to)
{
    u128 ns = ((u128)backlog * from.numerator + from.denominator - 1) / from.denominator;

    return (uint64_t)(ns * to.denominator / to.numerator);
}

void ticker_start(struct ticker *t, uint64_t now, struct period period)
{
    ticker_advance(t, now);
    if (t->counts.backlog > 0 && t->period.numerator != 0 && !period_equal(t->period, period)) {
        uint64_t restated = restate(t->counts.backlog, t->period, period);
        t->counts.due += restated - t->counts.backlog;
        t->counts.backlog = restated;
    }
    t->period = period;
    t->lost_part = 0;
    derive(t);
    skip_what_is_over(t);
    t->catching_up = t->catching_up && t->counts.backlog > 0;
    t->slot = false;
    t->running = true;
    t->schedule_frozen_ns = now;
    t->next_ns = now;
    t->next_part = 0;
    move_on(t, 1);
}

void ticker_stop(struct ticker *t, uint64_t now)
{
    ticker_advance(t, now);
    skip(t, t->counts.backlog);
    t->counts.lost_ns = 0;
    t->running = false;
}

/* An EOI that never comes would hold the timer up for ever, on a platform that does not report
 * them. Once one has come, the platform does, and a silent guest is only busy. */
static bool feedback_doubtful(const struct ticker *t)
{
    return t->counts.in_flight > 0 && t->feedback_timeout_ns != 0 && !t->ever_acked;
}

static void lose_feedback(struct ticker *t)
{
    t->ready_ns = t->unanswered_ns + t->feedback_timeout_ns;
    t->closed_loop = false;
    t->feedback_lost = true;
    ticker_assume_taken(t);
}

void ticker_advance(struct ticker *t, uint64_t now)
{
    if (t->frozen) {
        return;
    }
    if (feedback_doubtful(t) && now - t->unanswered_ns >= t->feedback_timeout_ns) {
        lose_feedback(t);
    }
    if (!t->running || now < next_due(t)) {
        return;
    }
    if (!t->slot) {
        t->slot = true;
        t->ready_ns = max_u64(t->ready_ns, next_due(t));
    }
    uint64_t n = count_due(t, now);
    t->counts.due += n;
    t->counts.backlog += n;
    move_on(t, n);
    skip_what_is_over(t);
}

void ticker_acknowledge(struct ticker *t, uint64_t n, uint64_t from)
{
    if (n == 0) {
        return;
    }
    t->ever_acked = true;
    if (t->feedback_lost) {
        t->feedback_lost = false;
        t->closed_loop = true;
        return; /* its tick was assumed to be taken */
    }
    if (t->counts.in_flight == 0) {
        return;
    }
    t->counts.in_flight = 0;
    t->counts.acknowledged++;
    if (t->counts.backlog > 0) {
        t->ready_ns = max_u64(t->ready_ns, from);
    }
}

void ticker_unblocked(struct ticker *t, uint64_t now)
{
    t->ready_ns = now;
}

uint64_t ticker_earliest_injection(const struct ticker *t)
{
    return t->counts.injected == 0 ? 0 : t->last_injection_ns + t->min_interval_ns;
}

enum ticker_action ticker_next(const struct ticker *t, uint64_t now, uint64_t *ret_when)
{
    *ret_when = TICKER_NEVER;
    if (t->frozen) {
        return TICKER_IDLE;
    }
    if (t->counts.in_flight > 0 && (!t->running || t->counts.backlog > 0)) {
        if (feedback_doubtful(t)) {
            *ret_when = t->unanswered_ns + t->feedback_timeout_ns;
        }
        return TICKER_WAIT_ACK;
    }
    if (!t->running || t->policy.mode == TICKER_OBSERVE) {
        return TICKER_IDLE;
    }
    if (t->counts.backlog > 0 && (t->slot || t->catching_up)) {
        if (now >= ticker_earliest_injection(t)) {
            return TICKER_INJECT;
        }
        *ret_when = ticker_earliest_injection(t);
        return TICKER_WAIT_UNTIL;
    }
    *ret_when = next_due(t);
    return TICKER_WAIT_UNTIL;
}

uint64_t ticker_injection_time(const struct ticker *t)
{
    return max_u64(t->ready_ns, ticker_earliest_injection(t));
}

void ticker_injected(struct ticker *t, uint64_t now)
{
    t->counts.injected++;
    t->counts.backlog--;
    if (t->closed_loop) {
        t->counts.in_flight = 1;
    } else {
        t->counts.acknowledged++;
    }
    t->last_injection_ns = t->unanswered_ns = now;
    t->slot = false;
    if (t->counts.backlog == 0) {
        t->catching_up = false;
    } else if (t->counts.backlog >= t->threshold_ticks) {
        t->catching_up = true;
    }
}

void ticker_freeze(struct ticker *t, uint64_t now)
{
    if (!t->frozen) {
        ticker_advance(t, now);
        t->frozen = true;
        t->frozen_ns = t->schedule_frozen_ns = now;
    }
}

void ticker_thaw(struct ticker *t, uint64_t now)
{
    if (!t->frozen) {
        return;
    }
    uint64_t stood_still = now - t->frozen_ns;
    t->frozen = false;
    t->unanswered_ns += stood_still;
    if (t->policy.catch_up_suspends) {
        ticker_advance(t, now);
        ticker_unblocked(t, now); /* none of these could have gone before */
        return;
    }
    t->next_ns += now - t->schedule_frozen_ns;
    t->ready_ns += stood_still;
    t->last_injection_ns += stood_still;
}

void ticker_set_policy(struct ticker *t, const struct ticker_policy *policy, uint64_t now)
{
    ticker_advance(t, now);
    if (t->policy.mode == TICKER_OBSERVE && policy->mode != TICKER_OBSERVE) {
        skip(t, t->counts.backlog);
    }
    t->policy = *policy;
    derive(t);
    if (t->running) {
        skip_what_is_over(t);
    }
    t->catching_up =
        t->counts.backlog > 0 && (t->catching_up || t->counts.backlog >= t->threshold_ticks);
}

void ticker_reset_backlog(struct ticker *t, uint64_t now)
{
    ticker_advance(t, now);
    skip(t, t->counts.backlog);
    t->counts.lost_ns = 0;
}

void ticker_assume_taken(struct ticker *t)
{
    t->counts.acknowledged += t->counts.in_flight;
    t->counts.in_flight = 0;
    t->ever_acked = false;
}

void ticker_guest_reset(struct ticker *t, uint64_t now)
{
    ticker_advance(t, now);
    skip(t, t->counts.backlog);
    t->counts.skipped += t->counts.in_flight;
    t->counts.in_flight = 0;
    t->counts.lost_ns = 0;
}
