/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A guest that keeps time by counting RTC interrupts, the RTC that raises them as QEMU's does, and
 * a supervisor, in simulated time. Each may be kept from running.
 */
#pragma once

#include "daemon/base-timer/supervisor.h"
#include <glib.h>

#define CLOCK_SIM_STEP_NS UINT64_C(10000)

struct clock_sim_options {
    guint32 seed;
    struct ticker_policy policy;
    gboolean traced;
    guint32 length;   /* of the period that the guest programs, in 1/32768 s */
    guint32 other;    /* the one that it toggles with; 0: it does not */
    unsigned toggle;  /* after that many ticks, in the handler */
    unsigned late_us; /* how late the supervisor's thread gets to run, at most */
    gboolean polls;   /* it reads register C until PF is clear, and counts what PF tells */
    gboolean running; /* it ticks already when the supervisor starts */
};

struct clock_sim {
    struct clock_sim_options options;
    GRand *rand;
    uint64_t now;
    struct supervisor supervisor;
    uint64_t wake;  /* when the supervisor is looked at again */
    GQueue *events; /* of struct base_event, to be told */

    /* The RTC. */
    guint32 length;
    uint64_t next_tick;   /* in counts */
    unsigned rtc_late_us; /* how late its main loop gets to run, at most */
    uint64_t rtc_runs;    /* when it runs again */
    gboolean pf, line;

    /* The guest. */
    gboolean pending, in_handler;
    uint64_t handler_ends;
    unsigned until_toggle;
    uint64_t clock; /* what it has counted, in 1/32768 s */
    guint64 unseen; /* EOIs that the supervisor has not read */

    /* Who is kept from running. */
    gboolean rtc_stopped, guest_stopped;

    /* What came of it. */
    double begun; /* what its clock was behind at first, in counts */
    double most_ahead;
    double peak;     /* guest time in any 100 ms, by real time */
    GArray *history; /* of guint64: its clock, once a millisecond */
};

void clock_sim_up(struct clock_sim *sim, const struct clock_sim_options *options);
void clock_sim_down(struct clock_sim *sim);

/* Goes on for so long. Checks the identity at every look. */
void clock_sim_run(struct clock_sim *sim, double seconds);
/* The guest programs another rate; 0: it turns periodic interrupts off. */
void clock_sim_program(struct clock_sim *sim, guint32 length);
/* Looks at the supervisor, as the engine does before it obeys a command. */
void clock_sim_look(struct clock_sim *sim);
/* The guest and the RTC stand still for so long, as with SIGSTOP. */
void clock_sim_stop(struct clock_sim *sim, double seconds);
/* From here on errors and speeds count. */
void clock_sim_settle(struct clock_sim *sim);
/* What the guest's clock is behind since clock_sim_settle(), in counts. */
double clock_sim_behind(const struct clock_sim *sim);
