/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The catch-up arithmetic of a supervised timer: see supervisor.h. */
#include "daemon/base-timer/supervisor-private.h"

#include <string.h>

typedef supervisor_u128 u128;

/* A tick is missing, and not only late, if it was owed for one to two of these, or of one and a
 * half periods: QEMU's main loop, when it has been kept from running, raises what it is late with
 * in one go, and then no more. */
#define SPAN_NS (SUPERVISOR_WAKE_NS * 4 / 5) /* a look may come late, and the next one in time */
/* Ticks that stay away for so long, if nothing tells why, were turned off by the guest. */
#define SILENCE_NS UINT64_C(1000000000)
/* A guest that turns them off for so long does not count by them any more. */
#define OFF_NS UINT64_C(1000000000)
/* No timer has a longer period. */
#define LENGTH_MAX_S 3600
/* No debt is larger, so that it and its multiples stay within their types. */
#define DEBT_MAX (INT64_MAX / 4000)
/* How late the news of a suspend may be. */
#define SUSPEND_TOLD_NS UINT64_C(200000000)
/* How long the phase of a rate that was told from acknowledgements is adjusted. */
#define CALIBRATION_NS UINT64_C(1000000000)
/* Register C counts as polled if it is read without PF at every other of so many ticks. */
#define POLLED_OF 32

void supervisor_init(struct supervisor *s, const struct supervisor_clock *clock,
                     const struct ticker_policy *policy, bool traced, uint64_t now)
{
    memset(s, 0, sizeof *s);
    s->policy = *policy;
    s->clock = *clock;
    s->traced = traced;
    s->epoch_ns = s->now_ns = s->off_ns = s->answered_ns = s->span_ns = now;
    rate_guess_init(&s->guess, now, 0);
    median_init(&s->phase);
    speed_init(&s->speed);
}

/* Ticks of the timer's own, as far as can be known: ours are taken too, but for a few. */
static uint64_t own_ticks(const struct supervisor *s)
{
    return s->counts.acknowledged - s->counts.injected;
}

void supervisor_resume(struct supervisor *s, const struct ticker_counts *counts,
                       struct period period)
{
    uint64_t missing = counts->in_flight + counts->backlog;

    s->counts = *counts;
    s->guess.taken = own_ticks(s);
    s->taken_at_pulse = counts->acknowledged;
    u128 length =
        ((u128)period.numerator * s->clock.hz / period.denominator + NS_PER_S / 2) / NS_PER_S;
    if (length > 0 && length <= LENGTH_MAX_S * s->clock.hz) {
        s->last_length = (uint64_t)length;
        s->owed = s->owed_at_last = s->owed_at_look = (int64_t)(missing * s->last_length);
    } else { /* how much time that is, nobody knows */
        s->counts.skipped += missing;
        s->counts.in_flight = s->counts.backlog = 0;
    }
}

/* ---- time ---- */

/* Accounts for the time up to @now. Events may be told of a little late: time does not go back. */
static void account(struct supervisor *s, uint64_t now)
{
    if (now <= s->now_ns) {
        return;
    }
    s->now_ns = now;
    uint64_t seconds = (now - s->epoch_ns) / NS_PER_S;
    uint64_t counts =
        (uint64_t)((u128)(now - s->epoch_ns - seconds * NS_PER_S) * s->clock.hz / NS_PER_S);
    uint64_t passed = seconds * s->clock.hz + counts - s->elapsed;

    s->epoch_ns += seconds * NS_PER_S;
    s->elapsed = counts;
    if (s->length == 0) {
        return;
    }
    /* Of the PIT's ticks nothing tells that they are handled. */
    s->own_late = s->clock.powers_of_two && (s->own_late || s->since_tick + passed >= s->length);
    s->since_tick = (s->since_tick + passed) % supervisor_own_length(s);
    if (!s->frozen || s->policy.catch_up_suspends) {
        s->owed += (int64_t)passed;
        s->line -= (int64_t)(passed * s->policy.slew);
    }
}

/* ---- debt ---- */

/* Whole ticks of what is owed. */
static uint64_t ticks_owed(const struct supervisor *s, int64_t owed)
{
    uint64_t length = s->last_length;

    return owed > 0 && length != 0 ? (uint64_t)owed / length : 0;
}

static void skip(struct supervisor *s, uint64_t ticks)
{
    int64_t counts = (int64_t)(ticks * s->last_length);

    s->counts.skipped += ticks;
    s->counts.lost_ns += supervisor_ns(s, (uint64_t)counts);
    s->owed -= counts;
    s->owed_at_last -= counts;
    s->owed_at_look -= counts;
    s->least[0] -= counts;
    s->least[1] -= counts;
    s->line -= counts * 100;
}

static void give_up(struct supervisor *s)
{
    skip(s, ticks_owed(s, s->owed));
    s->catching_up = false;
}

/* The guest's clock was set: nothing of what was lost matters any more. */
static void begin_anew(struct supervisor *s)
{
    give_up(s);
    s->counts.lost_ns = 0;
}

static void count(struct supervisor *s)
{
    uint64_t ticks = ticks_owed(s, s->owed);

    s->counts.in_flight = ticks > 0;
    s->counts.backlog = ticks - s->counts.in_flight;
    s->counts.due = s->counts.acknowledged + ticks + s->counts.skipped;
}

/* The guest has taken a tick of @length. */
static void take(struct supervisor *s, uint64_t length)
{
    s->counts.acknowledged++;
    s->counted += length;
    if (s->frozen && !s->policy.catch_up_suspends) {
        return; /* it runs again, before that was told: so much time has passed for it */
    }
    s->owed -= (int64_t)length;
    /* Of a quiet one that was up to a whole rest ago: it owed no more then than at the look before.
     */
    s->owed_at_last = s->clock.quiet ? min_i64(s->owed, s->owed_at_look) : s->owed;
}

static void forget_least(struct supervisor *s)
{
    s->least[0] = s->least[1] = min_i64(s->owed, 0);
    s->span_ns = s->now_ns;
}

/* The least that was owed in the span before and in this one. */
static int64_t lasting_debt(struct supervisor *s)
{
    uint64_t span = max_u64(SPAN_NS, supervisor_ns(s, s->length) * 3 / 2);

    s->least[1] = min_i64(s->least[1], s->owed);
    if (s->now_ns - s->span_ns >= span) {
        s->span_ns = s->now_ns;
        s->least[0] = s->least[1];
        s->least[1] = s->owed;
    }
    return min_i64(s->least[0], s->least[1]);
}

/* ---- the rate ---- */

/* When the timer's next tick comes: QEMU's RTC counts on from the last one, but is never late. */
static void set_phase(struct supervisor *s, uint64_t length)
{
    if (s->length == 0 || s->clock.restarts || s->since_tick >= length) {
        s->since_tick = 0;
    }
}

void supervisor_set_rate(struct supervisor *s, uint64_t now, uint64_t length,
                         enum supervisor_learned learned)
{
    account(s, now);
    s->learned = learned;
    if (length == 0) {
        s->off_ns = s->length != 0 ? s->now_ns : s->off_ns;
        s->length = 0;
        return;
    }
    if (s->length == 0 && s->now_ns - s->off_ns >= OFF_NS) {
        give_up(s);
    }
    length = length < s->clock.shortest ? s->clock.shortest : length;
    set_phase(s, length);
    median_init(&s->phase);
    if (s->length == 0) {
        forget_least(s);
    }
    s->length = s->last_length = length;
}

/* How many of @taken were ticks of a period that began at @start? At most as many as came since. */
static uint64_t taken_since(const struct supervisor_clock *clock, uint64_t length, uint64_t start,
                            uint64_t now, uint64_t taken)
{
    uint64_t passed = (uint64_t)((u128)(now - start) * clock->hz / NS_PER_S);

    return min_u64(taken, passed / length);
}

void supervisor_start(struct supervisor *s, const struct supervisor_clock *clock, uint64_t length,
                      uint64_t start, uint64_t now, uint64_t taken)
{
    uint64_t ours = taken_since(clock, length, start, now, taken);

    account(s, start);
    s->counts.acknowledged += taken - ours;
    s->owed -= (int64_t)((taken - ours) * s->last_length);
    u128 missing = (u128)ticks_owed(s, s->owed) * s->last_length;

    s->owed = s->owed_at_last = s->owed_at_look = (int64_t)(missing * clock->hz / s->clock.hz);
    s->clock = *clock;
    s->length = s->last_length = length;
    s->learned = LEARNED_STATE;
    s->epoch_ns = s->now_ns = start;
    s->elapsed = s->since_tick = 0;
    s->catching_up = false;
    s->slot_ns = 0;
    speed_init(&s->speed); /* it has counted by another clock */
    s->counted = 0;
    forget_least(s);
    s->unattributed = ours;
}

void supervisor_owe(struct supervisor *s, uint64_t since)
{
    if (since < s->now_ns) {
        s->owed += (int64_t)min_u64((uint64_t)((u128)(s->now_ns - since) * s->clock.hz / NS_PER_S),
                                    DEBT_MAX);
        s->owed_at_last = s->owed_at_look = s->owed;
    }
}

uint64_t supervisor_period_began(const struct supervisor *s)
{
    uint64_t part = s->owed > 0 && s->last_length != 0 ? (uint64_t)s->owed % s->last_length : 0;

    return s->now_ns - supervisor_ns(s, part);
}

static void restart_guess(struct supervisor *s)
{
    rate_guess_init(&s->guess, s->now_ns, own_ticks(s));
    median_init(&s->interval);
    s->handled_ns = 0;
}

/* Is it worth while to look at how many ticks are taken? */
static bool guesses(const struct supervisor *s)
{
    return s->clock.powers_of_two && !s->frozen &&
           (s->learned == LEARNED_NOT ||
            (s->learned == LEARNED_ACKNOWLEDGEMENTS && (!s->traced || s->doubtful)));
}

/* @hz: 0: none yet. A faster one may be the timer's own catching up, as long as there is a debt. */
static void take_guess(struct supervisor *s, uint32_t hz)
{
    uint64_t length = hz != 0 ? s->clock.hz / hz : 0;

    s->doubtful = s->doubtful && length != s->length;
    if (length == 0 || (s->learned != LEARNED_NOT &&
                        (length == s->length || (length < s->length && s->owed > 0)))) {
        return;
    }
    if (s->learned != LEARNED_NOT) {
        s->owed = s->owed_at_last = s->owed_at_look =
            min_i64(s->owed, 0); /* it was counted by the wrong rate */
    }
    supervisor_set_rate(s, s->now_ns, length, LEARNED_ACKNOWLEDGEMENTS);
    s->doubtful = false;
    s->calibrated_ns = s->now_ns + CALIBRATION_NS;
    forget_least(s);
}

/* Ticks are never taken before they are due: while it is not known well when that is, an early one
 * tells. */
static void calibrate(struct supervisor *s)
{
    if (s->now_ns < s->calibrated_ns && s->owed < 0) {
        s->owed = s->owed_at_last = s->owed_at_look = 0;
        s->since_tick = 0;
    }
}

/* ---- what is seen ---- */

/* Without a trace nothing tells a guest that does not run from one that has turned its timer off:
 * after a long silence what was due meanwhile is given up, not replayed. */
static void end_silence(struct supervisor *s)
{
    if (!s->traced && s->learned == LEARNED_ACKNOWLEDGEMENTS &&
        s->now_ns - s->answered_ns >= SILENCE_NS) {
        give_up(s);
    }
}

void supervisor_acknowledge(struct supervisor *s, uint64_t n)
{
    uint32_t i = 0;

    for (; i < s->handled_n && n > 0; i++, n--) {
        take(s, s->handled[i]);
    }
    s->handled_n -= i;
    memmove(s->handled, s->handled + i, s->handled_n * sizeof s->handled[0]);
    s->unattributed += n;
}

/* A tick of the timer's own was handled: they come in this phase. A count of lateness is less than
 * any guest needs, and does no harm. */
static void adjust_phase(struct supervisor *s)
{
    int64_t since = (int64_t)s->since_tick, length = s->length, later;

    if (median_feed(&s->phase, since > length / 2 ? since - length : since, &later)) {
        s->since_tick = (uint64_t)(since + length - later) % s->length;
    }
}

/* Some ticks are lost, some are late; most come a period after the one before. */
static void learn_from_interval(struct supervisor *s)
{
    uint64_t last = s->handled_ns;
    int64_t ns;

    s->handled_ns = s->now_ns;
    if (last != 0 && median_feed(&s->interval, (int64_t)(s->now_ns - last), &ns)) {
        take_guess(s, rate_guess_interval(&s->guess, (uint64_t)ns));
    }
}

/* Of a guest that reads register C more than once for a tick the last ones are kept. */
static void keep_handled(struct supervisor *s)
{
    if (s->handled_n == HANDLED_MAX) {
        memmove(s->handled, s->handled + 1, (HANDLED_MAX - 1) * sizeof s->handled[0]);
        s->handled_n--;
    }
    s->handled[s->handled_n++] = s->length;
}

/* While none of the ticks is ours, one read with PF is enough for each. */
static void count_polls(struct supervisor *s, bool pending)
{
    if (s->now_ns - s->pulsed_ns < PULSE_PATIENCE_NS) {
        return;
    }
    s->polled += !pending;
    s->polled_of += pending;
    if (s->polled_of >= POLLED_OF) {
        s->polls = s->polled >= s->polled_of / 2;
        s->polled = s->polled_of = 0;
    }
}

static void handled(struct supervisor *s, bool pending)
{
    if (pending && guesses(s)) {
        learn_from_interval(s);
    }
    if (s->length == 0) {
        return;
    }
    count_polls(s, pending);
    if (pending) {
        s->own_late = false;
        adjust_phase(s);
    }
    if (s->unattributed > 0) {
        s->unattributed--;
        take(s, s->length);
        calibrate(s);
    } else {
        keep_handled(s);
    }
}

void supervisor_event(struct supervisor *s, const struct base_event *event)
{
    account(s, event->time_ns);
    switch (event->kind) {
    case BASE_EVENT_RATE:
        supervisor_set_rate(s, event->time_ns, event->length, LEARNED_TRACE);
        break;
    case BASE_EVENT_HANDLED:
        handled(s, event->pending);
        break;
    case BASE_EVENT_CLOCK_SET:
        begin_anew(s);
        break;
    case BASE_EVENT_NONE:
        break;
    }
}

void supervisor_events_lost(struct supervisor *s)
{
    if (s->clock.powers_of_two) {
        s->learned = s->length != 0 ? LEARNED_ACKNOWLEDGEMENTS : LEARNED_NOT;
        s->doubtful = true;
        restart_guess(s);
    }
    s->handled_n = 0;
}

static void attribute_the_rest(struct supervisor *s)
{
    if (s->unattributed > 0) {
        end_silence(s);
        s->answered_ns = s->now_ns;
    }
    for (; s->unattributed > 0; s->unattributed--) {
        take(s, s->length);
    }
    calibrate(s);
}

static void limit(struct supervisor *s)
{
    u128 limit = (u128)s->policy.limit_ms * s->clock.hz / 1000;
    uint64_t most = max_u64(limit < DEBT_MAX ? (uint64_t)limit : DEBT_MAX, s->last_length);

    if (s->owed > 0 && (uint64_t)s->owed > most) {
        uint64_t ticks = ((uint64_t)s->owed - most) / s->last_length;
        s->over_limit += ticks;
        skip(s, ticks);
    }
}

void supervisor_advance(struct supervisor *s, uint64_t now)
{
    account(s, now);
    attribute_the_rest(s);
    speed_sample(&s->speed, s->now_ns, s->counted);
    if (guesses(s) && !s->traced) {
        take_guess(s, rate_guess_feed(&s->guess, s->now_ns, own_ticks(s)));
    }
    if (s->last_length != 0) {
        limit(s);
    }
    uint64_t missing = ticks_owed(s, lasting_debt(s));
    if (s->policy.mode == TICKER_LAZY) {
        skip(s, missing);
        missing = 0;
    }
    if (!s->catching_up && missing >= s->policy.threshold) {
        s->catching_up = true;
        s->line = supervisor_due_debt(s) * 100;
    } else if (missing == 0) {
        s->catching_up = false;
    }
    s->owed_at_look = s->owed;
    count(s);
}

/* ---- changes ---- */

/* It is told a little late: what passed since the last tick, but for one more, was not the guest's
 * time any more. */
void supervisor_freeze(struct supervisor *s, uint64_t now)
{
    account(s, now);
    int64_t late = s->owed - s->owed_at_last - (int64_t)s->length;
    int64_t most = (int64_t)(SUSPEND_TOLD_NS * s->clock.hz / NS_PER_S);

    if (!s->frozen && !s->policy.catch_up_suspends && late > 0) {
        s->owed -= min_i64(late, most);
        count(s);
    }
    s->frozen = true;
}

void supervisor_thaw(struct supervisor *s, uint64_t now)
{
    if (s->frozen) {
        account(s, now);
        s->frozen = false;
        s->answered_ns = s->now_ns;
        restart_guess(s);
        forget_least(s);
    }
}

void supervisor_set_policy(struct supervisor *s, const struct ticker_policy *policy, uint64_t now)
{
    account(s, now);
    if (s->policy.mode == TICKER_OBSERVE && policy->mode != TICKER_OBSERVE) {
        give_up(s); /* what was only observed is not replayed */
    }
    s->policy = *policy;
    count(s);
}

void supervisor_reset_backlog(struct supervisor *s, uint64_t now)
{
    account(s, now);
    begin_anew(s);
    count(s);
}

void supervisor_guest_reset(struct supervisor *s, uint64_t now)
{
    account(s, now);
    begin_anew(s);
    s->handled_n = 0;
    s->polls = false;
    s->polled = s->polled_of = 0;
    s->length = 0;
    s->off_ns = s->now_ns;
    s->learned = s->traced ? LEARNED_TRACE : LEARNED_NOT;
    restart_guess(s);
    count(s);
}

struct period supervisor_period(const struct supervisor *s)
{
    struct period period = {.numerator = 0, .denominator = 1};

    if (s->last_length != 0) {
        u128 ns = (u128)s->last_length * NS_PER_S;
        uint64_t divisor = ns > UINT64_MAX ? NS_PER_S : 1; /* such clocks count parts of a ns */
        period_make((uint64_t)(ns / divisor), s->clock.hz / divisor, &period);
    }
    return period;
}

enum supervisor_learned supervisor_learned(const struct supervisor *s)
{
    return s->now_ns < s->calibrated_ns && s->learned == LEARNED_ACKNOWLEDGEMENTS ? LEARNED_NOT
                                                                                  : s->learned;
}
