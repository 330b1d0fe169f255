/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A ticker, a driver that is never late and a guest that takes a tick at once unless it is held:
 * for scenarios whose numbers are worked out by hand. Times are microseconds after a start that
 * is no round number.
 */
#pragma once

#include "daemon/ticker.h"
#include <glib.h>

/* A time of the scenario, in microseconds, and an hour in the same. */
#define T(us) (UINT64_C(7000000123) + (uint64_t)(us)*1000)
#define HOUR  UINT64_C(3600000000)

struct rig {
    struct ticker t;
    uint64_t now;
    bool held;            /* the guest takes no tick */
    bool log_overflow;    /* more injections than the log holds */
    unsigned n_log;       /* injections since the log was last cleared */
    uint64_t log_ns[256]; /* when they were */
};

struct period ms(uint64_t n);

/* 1/@hz s, exactly. */
struct period per_second(uint64_t hz);

struct ticker_policy policy_of(enum ticker_mode mode, uint32_t threshold, uint32_t slew,
                               uint32_t limit_ms);

/* Closed loop, started at T(0). A feedback timeout of 0: it waits for ever. */
void rig_init(struct rig *rig, struct ticker_policy policy, struct period period);
void rig_init_default(struct rig *rig); /* the default policy, 1 ms */
void rig_init_feedback(struct rig *rig, bool closed_loop, uint64_t timeout_ns);

/* The identity, and no more than one in flight. */
void rig_check(const struct rig *rig);

/* Does what there is to do now; returns when there will be something next. */
uint64_t rig_step(struct rig *rig);

/* Up to and including @until, awake exactly when the ticker asks for it. */
void rig_run(struct rig *rig, uint64_t until);

/* As rig_run(), but the guest takes nothing. At @until it is let go, with the log cleared: what
 * it then takes at once, is seen by the next step. */
void rig_hold(struct rig *rig, uint64_t until);

/* Since the log was cleared: @n injections, the first at T(first_us), then every @step_ns. */
void assert_log(const struct rig *rig, unsigned n, uint64_t first_us, uint64_t step_ns);

#define assert_counts(rig, due_, acknowledged_, in_flight_, backlog_, skipped_) \
    do {                                                                        \
        rig_check(rig);                                                         \
        g_assert_cmpuint((rig)->t.counts.due, ==, due_);                        \
        g_assert_cmpuint((rig)->t.counts.acknowledged, ==, acknowledged_);      \
        g_assert_cmpuint((rig)->t.counts.in_flight, ==, in_flight_);            \
        g_assert_cmpuint((rig)->t.counts.backlog, ==, backlog_);                \
        g_assert_cmpuint((rig)->t.counts.skipped, ==, skipped_);                \
    } while (0)
