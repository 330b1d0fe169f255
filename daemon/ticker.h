/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The catch-up arithmetic of one timer. Pure: time and acknowledgements go in, actions come out;
 * it reads no clock, holds no lock and allocates nothing, so that hours of guest time can be
 * simulated in seconds, and a copy of it can be advanced to read figures as of now.
 *
 * Times are CLOCK_MONOTONIC nanoseconds and must not run backwards. At every instant
 *     due = acknowledged + in_flight + backlog + skipped.
 *
 * How to drive one, whenever something happened or its time has come:
 *     ticker_acknowledge(t, n, now);
 *     ticker_advance(t, now);
 *     while (ticker_next(t, now, &when) == TICKER_INJECT) { raise; ticker_injected(t, now); }
 */
#pragma once

#include "common/period.h"
#include <stdbool.h>
#include <stdint.h>

enum ticker_mode {
    TICKER_CATCHUP, /* missed ticks are made up, at a bounded rate */
    TICKER_LAZY,    /* a late tick is delivered once, missed ones are skipped */
    TICKER_OBSERVE, /* count, never inject */
};

struct ticker_policy {
    enum ticker_mode mode;
    uint32_t threshold;     /* backlog, once a tick was delivered, at which catch-up starts; 1… */
    uint32_t slew;          /* speed-up while catching up, in percent; TICKER_SLEW_MIN to _MAX */
    uint32_t limit_ms;      /* longest time to make up; what is beyond is skipped */
    bool catch_up_suspends; /* time spent suspended is made up too (on_resume "catchup") */
};

#define TICKER_SLEW_MIN 5u
#define TICKER_SLEW_MAX 700u
#define TICKER_POLICY_DEFAULT                                                  \
    {                                                                          \
        .mode = TICKER_CATCHUP, .threshold = 1, .slew = 100, .limit_ms = 60000 \
    }

struct ticker_counts {
    uint64_t due;          /* ticks whose time has come */
    uint64_t injected;     /* interrupts raised */
    uint64_t acknowledged; /* ticks that the guest has taken */
    uint64_t in_flight;    /* raised, not yet acknowledged: 0 or 1 */
    uint64_t backlog;      /* missed, to be made up */
    uint64_t skipped;      /* given up */
    /* The time that skipped ticks stood for, since the timer began or its backlog was reset: so far
     * a clock that counts the ticks stays behind. */
    uint64_t lost_ns;
};

/* How far a clock that counts these ticks is behind, as far as is known: what is yet to be made up,
 * and what never will be. @period: that of the backlog; numerator 0: not known. */
uint64_t ticker_behind_ns(const struct ticker_counts *counts, struct period period);

struct ticker {
    struct ticker_counts counts;
    struct ticker_policy policy;
    struct period period;

    bool running;       /* has a period and is enabled */
    bool frozen;        /* the guest is suspended */
    bool closed_loop;   /* acknowledgements are to be had */
    bool feedback_lost; /* they were to be had, but never came: open loop for now */
    bool ever_acked;    /* since the route was last made */
    bool catching_up;   /* from the threshold until the backlog is gone */
    bool slot;          /* a tick's own time has come and was not used yet */

    /* The next tick's exact due time: next_ns + next_part / period.denominator. */
    uint64_t next_ns;
    uint64_t next_part;

    uint64_t ready_ns; /* since when a tick of the backlog could go, pacing apart */
    uint64_t last_injection_ns;
    uint64_t frozen_ns;           /* since when it is frozen, */
    uint64_t schedule_frozen_ns;  /* and its schedule: later, if started meanwhile */
    uint64_t unanswered_ns;       /* since when the tick in flight waits, suspends left out */
    uint64_t feedback_timeout_ns; /* 0: wait for an acknowledgement for ever */

    uint64_t lost_part; /* of a nanosecond, what counts.lost_ns leaves out: / period.denominator */

    /* Derived from period and policy. */
    uint64_t step_ns; /* whole nanoseconds of the period, and what is left over */
    uint64_t step_part;
    uint64_t min_interval_ns; /* between two injections: period / (1 + slew/100), rounded up */
    uint64_t limit_ticks;     /* 1 and more */
    uint64_t threshold_ticks; /* what the limit leaves of the policy's */
};

enum ticker_action {
    TICKER_INJECT,     /* raise a tick now, then call ticker_injected() */
    TICKER_WAIT_UNTIL, /* nothing to do before *ret_when */
    TICKER_WAIT_ACK,   /* nothing to do before an acknowledgement, or *ret_when */
    TICKER_IDLE,       /* nothing to do before somebody changes something */
};

/* No deadline. */
#define TICKER_NEVER UINT64_MAX

/* Stopped, all counts 0. @policy must be valid: ticker_policy_problem() returns NULL.
 * @feedback_timeout_ns: how long the first acknowledgement may take before the ticker goes on
 * open loop, 0 for ever; of no interest where !@closed_loop. */
void ticker_init(struct ticker *t, const struct ticker_policy *policy, bool closed_loop,
                 uint64_t feedback_timeout_ns);

/* NULL, or what is wrong with it in words (static). */
const char *ticker_policy_problem(const struct ticker_policy *policy);

/* The first tick is due one period (not 0) after @now. On a running ticker: the pending tick is
 * removed and a new one inserted; a backlog is kept as time: it is restated in ticks of the new
 * length, rounded down but for a nanosecond, and `due` with it, so that here, and only here, `due`
 * may step back. */
void ticker_start(struct ticker *t, uint64_t now, struct period period);

/* No further tick is due; the backlog is given up. A tick in flight may yet be acknowledged. */
void ticker_stop(struct ticker *t, uint64_t now);

/* Counts what has become due up to @now, and skips what is over the limit. */
void ticker_advance(struct ticker *t, uint64_t now);

/* @n ticks were taken. More than are in flight are not ours, and not counted. @from: since when
 * that is known; a tick that waited for it could not have gone before. */
void ticker_acknowledge(struct ticker *t, uint64_t n, uint64_t from);

/* What to do at @now; call ticker_advance() first. @ret_when is always written. */
enum ticker_action ticker_next(const struct ticker *t, uint64_t now, uint64_t *ret_when);

/* Before that, pacing allows none. */
uint64_t ticker_earliest_injection(const struct ticker *t);

/* A tick was raised at @now, after TICKER_INJECT. */
void ticker_injected(struct ticker *t, uint64_t now);

/* From when on TICKER_INJECT could have been answered: the tick's own due time or, where pacing or
 * a tick in flight held it back, the end of that. The rest is the lateness of whoever drives. */
uint64_t ticker_injection_time(const struct ticker *t);

/* Up to @now something else than the driver's lateness kept the next tick back. */
void ticker_unblocked(struct ticker *t, uint64_t now);

/* Suspended, and on again: what lies between is not late (but see catch_up_suspends). */
void ticker_freeze(struct ticker *t, uint64_t now);
void ticker_thaw(struct ticker *t, uint64_t now);

/* A backlog that was only observed is given up, not replayed, when the mode changes. */
void ticker_set_policy(struct ticker *t, const struct ticker_policy *policy, uint64_t now);

/* Gives the backlog up: the guest's clock was set. */
void ticker_reset_backlog(struct ticker *t, uint64_t now);

/* The route is changed: a tick still in flight stays with the guest, which will take it, but its
 * EOI can't be seen any more. Counts it as taken. */
void ticker_assume_taken(struct ticker *t);

/* The guest was reset: a tick in flight is gone, and with it the backlog. */
void ticker_guest_reset(struct ticker *t, uint64_t now);
