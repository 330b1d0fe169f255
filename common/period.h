/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An exact period: numerator / denominator nanoseconds, so that 1/1024 s (1953125/2 ns) is no
 * rounded number. Plain C, without allocation: the engine uses it too.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct period {
    uint64_t numerator;   /* ns; 0: no timer */
    uint64_t denominator; /* never 0 */
};

/* HV_EMULATED_TIMER_PERIOD's unit. */
#define PERIOD_UNIT_NS 100u
/* What a period may be at all: both parts of a reduced ratio stay below 2^62. */
#define PERIOD_PART_LIMIT (UINT64_C(1) << 62)

/* From units of 100 ns. @units must be below PERIOD_PART_LIMIT / 100. */
struct period period_from_units(uint64_t units);

/* To units of 100 ns, the nearest; never 0 for a period that is not 0. */
uint64_t period_to_units(struct period period);

/* Reduced to lowest terms; false if a part is then not below PERIOD_PART_LIMIT, or the denominator
 * is 0. */
bool period_make(uint64_t numerator, uint64_t denominator, struct period *ret_period);

double period_ns(struct period period);

bool period_equal(struct period a, struct period b);
