/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The catch-up arithmetic of a timer whose ticks come from elsewhere (QEMU's RTC, KVM's PIT, a
 * leased local APIC timer): what has become due, what the guest has taken, what is missing, and
 * when to raise a tick on top. Pure, as ticker.h is, whose words and policies are used.
 *
 * What is kept is a debt of time: the guest adds to its clock, for each tick that it takes, the
 * period in force; time goes on by itself. The difference is what its clock is behind, in counts of
 * the timer's own clock (1/32768 s for the RTC), so that it is exact, and means the same when the
 * guest changes the rate, be it a hundred times a second. Ticks are derived from it:
 *     due = acknowledged + in_flight + backlog + skipped
 * holds at every instant; a change of the rate restates the backlog, and `due` with it.
 *
 * How to drive one, whenever it is looked at:
 *     supervisor_acknowledge(s, n);
 *     supervisor_event(s, event) for each, in the order of time, none later than `now`;
 *     supervisor_advance(s, now);
 *     if (supervisor_next(s, now, &when) == TICKER_INJECT) { raise; supervisor_injected(s, now); }
 */
#pragma once

#include "daemon/base-timer/median.h"
#include "daemon/base-timer/ports.h"
#include "daemon/base-timer/rate-guess.h"
#include "daemon/base-timer/speed.h"
#include "daemon/ticker.h"

/* How often it wants to be looked at while nothing is to be made up: at the multiples of it, so
 * that one wake-up serves all. */
#define SUPERVISOR_WAKE_NS UINT64_C(25000000)
/* The same while nothing is missing, of a quiet one. */
#define SUPERVISOR_REST_NS (4 * SUPERVISOR_WAKE_NS)

enum supervisor_learned {
    LEARNED_NOT,              /* the rate is not known: nothing is due */
    LEARNED_TRACE,            /* from what the guest wrote to the timer */
    LEARNED_STATE,            /* from the timer's own state, as KVM has it, or was given it */
    LEARNED_ACKNOWLEDGEMENTS, /* from how many ticks it takes, as long as it wrote nothing */
};

/* Ticks between a look at the acknowledgements and one at the events, and more. */
#define HANDLED_MAX 16

/* Of one kind of timer. */
struct supervisor_clock {
    uint64_t hz;       /* what lengths are counts of; up to SUPERVISOR_HZ_MAX */
    uint32_t shortest; /* period that there is, in counts */
    /* The timer's own period, in counts, where it is a little longer than the one that is due, as
     * it can't have that exactly; 0: it is that one. */
    uint64_t own_length;
    bool restarts;      /* a new rate starts its period at once; if not, from the last tick on */
    bool quiet;         /* between two looks nothing is told of it but acknowledgements */
    bool powers_of_two; /* the only rates there are: they can be told from acknowledgements */
};
#define SUPERVISOR_HZ_MAX UINT64_C(10000000000000)

struct supervisor {
    struct ticker_counts counts; /* as of the last supervisor_advance() */
    struct ticker_policy policy;
    struct supervisor_clock clock;
    uint64_t length; /* of the period in force, in counts; 0: no ticks, or not known */
    enum supervisor_learned learned;
    bool traced;         /* supervisor_event() tells all that the guest does to the timer */
    bool frozen;         /* the guest is suspended */
    uint64_t over_limit; /* ticks skipped for the limit's sake */
    bool catching_up;    /* from the threshold until the debt is gone */
    bool polls;          /* the guest ignores ticks that the timer itself has not raised */

    /* The clock: counts since epoch_ns, which is moved on by whole seconds, so it stays exact. */
    uint64_t epoch_ns;
    uint64_t elapsed;
    uint64_t now_ns; /* up to where all is accounted for */

    int64_t owed;         /* what the guest's clock is behind; negative: ahead */
    int64_t owed_at_last; /* the same, when the last tick was taken */
    int64_t owed_at_look; /* the same, as of the last supervisor_advance() */
    uint64_t since_tick;  /* since the timer's own last tick was due */
    uint64_t handled_ns;  /* when the last one of its own was */
    bool own_late;        /* that one was not seen handled yet */
    uint64_t last_length; /* the last one that was not 0 */
    uint64_t off_ns;      /* since when there are no ticks */

    uint64_t unattributed; /* acknowledged, but it is not known yet of which length */
    uint32_t handled_n;
    uint64_t answered_ns; /* when the last acknowledgement was seen */

    /* The smallest debt of two spans of time: what lasts is missing, the rest is only late. */
    int64_t least[2];
    uint64_t span_ns; /* since when the second one goes on */

    /* Pacing: top-ups keep the debt above a line that falls at the policy's speed. */
    int64_t line;     /* in 1/100 counts */
    uint64_t counted; /* by the guest's clock, ever */
    uint64_t slot_ns;
    uint64_t pulsed_ns;
    uint64_t taken_at_pulse;

    /* Is register C polled? Reads of it without PF, and with it, while no tick is ours. */
    uint32_t polled, polled_of;

    bool doubtful;          /* something that told of the rate was lost */
    uint64_t calibrated_ns; /* until when its phase is adjusted */

    /* What not every look needs: kept apart, as there may be a thousand of them in the cache. */
    struct median phase; /* of how much later the timer's own ticks were handled */
    struct median interval;
    uint64_t handled[HANDLED_MAX]; /* lengths of ticks that were seen handled, not acknowledged */
    struct rate_guess guess;
    struct speed speed;
};

/* Nothing is known. @policy must be valid. */
void supervisor_init(struct supervisor *s, const struct supervisor_clock *clock,
                     const struct ticker_policy *policy, bool traced, uint64_t now);

/* Goes on from @counts, of an earlier supervisor at that period (nanoseconds; 0: none). */
void supervisor_resume(struct supervisor *s, const struct ticker_counts *counts,
                       struct period period);

/* The period in force is of @length counts, from now on; 0: there are no ticks. */
void supervisor_set_rate(struct supervisor *s, uint64_t now, uint64_t length,
                         enum supervisor_learned learned);

/* A timer that we have set up: at @start (not after @now) its first period has begun, of @length
 * counts of @clock. What was missing before is still missing. @taken: acknowledged since the last
 * look, some maybe before @start. */
void supervisor_start(struct supervisor *s, const struct supervisor_clock *clock, uint64_t length,
                      uint64_t start, uint64_t now, uint64_t taken);
/* After supervisor_start(): ticks were due from @since on already. */
void supervisor_owe(struct supervisor *s, uint64_t since);
/* When the period that is due next began, as of the last supervisor_advance(). */
uint64_t supervisor_period_began(const struct supervisor *s);

void supervisor_acknowledge(struct supervisor *s, uint64_t n);
void supervisor_event(struct supervisor *s, const struct base_event *event);
/* Events were lost: the rate may be another. */
void supervisor_events_lost(struct supervisor *s);
void supervisor_advance(struct supervisor *s, uint64_t now);
/* INJECT or WAIT_UNTIL. */
enum ticker_action supervisor_next(struct supervisor *s, uint64_t now, uint64_t *ret_when);
void supervisor_injected(struct supervisor *s, uint64_t now);

void supervisor_freeze(struct supervisor *s, uint64_t now);
void supervisor_thaw(struct supervisor *s, uint64_t now);
void supervisor_set_policy(struct supervisor *s, const struct ticker_policy *policy, uint64_t now);
void supervisor_reset_backlog(struct supervisor *s, uint64_t now);
/* The machine was reset: there are no ticks until the guest programs them. */
void supervisor_guest_reset(struct supervisor *s, uint64_t now);

/* How the rate is known; not at all, until its phase is. */
enum supervisor_learned supervisor_learned(const struct supervisor *s);

/* The period in force, or the last one that was; numerator 0: none is known. */
struct period supervisor_period(const struct supervisor *s);
