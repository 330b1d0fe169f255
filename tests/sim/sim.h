/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A simulated host and guest around one ticker: a clock, a software local APIC whose vCPU is not
 * always available, a driver that wakes late, suspends. All of it random, from a seed. At every
 * step what must always hold is held against figures worked out independently.
 */
#pragma once

#include "daemon/injectors/model-apic.h"
#include "daemon/ticker.h"

struct sim_params {
    struct ticker_policy policy;
    struct period period;
    bool closed_loop;
    uint64_t feedback_timeout_ns;
    uint64_t handler_ns;     /* how long the guest takes over one tick */
    uint64_t late_max_ns;    /* how late the driver wakes at most; 0: never */
    uint64_t outage_max_ns;  /* the vCPU's longest unavailability; 0: none */
    uint64_t outage_gap_ns;  /* between two of them, on average */
    uint64_t suspend_max_ns; /* 0: none */
    uint64_t suspend_gap_ns;
};

struct sim {
    struct sim_params params;
    struct ticker t;
    struct model_apic apic;
    uint64_t random;
    uint64_t now;
    uint64_t began_ns;
    uint64_t when; /* the ticker's next deadline */
    uint64_t next_outage_ns;
    uint64_t next_suspend_ns;

    /* What ought to be. */
    struct ticker_counts seen;  /* at the last look */
    uint64_t due_base;          /* due when it was last started, */
    uint64_t start_ns;          /* and when that was; suspended time moves it on */
    uint64_t last_injection_ns; /* likewise */
    uint64_t due_at_injection;
    uint64_t injections;
    bool merges_allowed; /* ticks may meet a pending one: in open loop, and after a reset */
};

uint64_t sim_random(struct sim *sim); /* 64 bits */
uint64_t sim_random_range(struct sim *sim, uint64_t min, uint64_t max);
/* From @min to @max, each order of magnitude as likely as the others. */
uint64_t sim_random_scale(struct sim *sim, uint64_t min, uint64_t max);

/* Starts the ticker at a random time. */
void sim_init(struct sim *sim, uint64_t seed, const struct sim_params *params);

/* Goes on for @duration_ns. */
void sim_run(struct sim *sim, uint64_t duration_ns);

/* From now on the vCPU is available, handles a tick in no time, and the driver is punctual. */
void sim_calm_down(struct sim *sim);

/* Until nothing is in flight or to be made up; asserts that this takes no longer than the
 * policy's pace allows. */
void sim_drain(struct sim *sim);

/* Changes from outside, at the present time. */
void sim_start(struct sim *sim, struct period period);
void sim_stop(struct sim *sim);
void sim_set_policy(struct sim *sim, const struct ticker_policy *policy);
void sim_reset_backlog(struct sim *sim);
void sim_assume_taken(struct sim *sim);
void sim_guest_reset(struct sim *sim);

/* Of the present period and policy, worked out independently. */
uint64_t sim_min_interval(const struct sim *sim);
uint64_t sim_limit(const struct sim *sim);
