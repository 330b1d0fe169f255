/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Hyper-V's rules for the two properties of one partition. Pure: no clock, no I/O.
 *
 * A change is made in two steps, because what it asks for may fail on the way: partition_set()
 * checks it and says what it would take; when that is done, partition_commit() makes it so.
 * A change that is not committed has not happened.
 */
#pragma once

#include "common/period.h"
#include <hvapi/hvgdk.h>
#include <stdbool.h>

/* The shortest and longest period accepted, in units of 100 ns, both included. */
struct partition_limits {
    uint64_t period_min;
    uint64_t period_max;
};

struct partition {
    struct period period; /* numerator 0: none */
    uint64_t control;     /* HV_EMULATED_TIMER_CONTROL */
    bool wide_mda;        /* ticks go by MSI: a 32-bit destination is accepted */
    bool routed;          /* `route` is in force */
    uint64_t route;       /* the Control bits last brought into force, Enabled left out */
};

/* What a change takes, and what the properties will be. */
struct partition_change {
    struct period period;
    uint64_t control;
    bool route;    /* bring the destination in `control` into force, before all else */
    bool unrouted; /* what was in force is no more */
    bool start;    /* start the timer anew with `period`, now */
    bool stop;     /* stop the timer */
};

/* Both properties zero. */
void partition_init(struct partition *p, bool wide_mda);

/* The timer runs: enabled, with a period. */
bool partition_runs(const struct partition *p);

/* SUCCESS or UNKNOWN_PROPERTY. */
HV_STATUS partition_get(const struct partition *p, uint32_t code, uint64_t *ret_value);

/* SUCCESS, UNKNOWN_PROPERTY, INVALID_PARAMETER, PROPERTY_VALUE_OUT_OF_RANGE. */
HV_STATUS partition_set(const struct partition *p, const struct partition_limits *limits,
                        uint32_t code, uint64_t value, struct partition_change *ret_change);

/* Both properties in one step, the period exact; Enabled is set in @control as it stands there. */
HV_STATUS partition_set_both(const struct partition *p, const struct partition_limits *limits,
                             struct period period, uint64_t control,
                             struct partition_change *ret_change);

/* A guest reset: the route is gone. Clears Enabled, or with @keep makes the route anew. */
void partition_reset(const struct partition *p, bool keep, struct partition_change *ret_change);

void partition_commit(struct partition *p, const struct partition_change *change);
