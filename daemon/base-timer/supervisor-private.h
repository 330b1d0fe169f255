/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the two halves of a supervisor share: supervisor.c, what is owed, and supervisor-pace.c,
 * when to raise a tick on top.
 */
#pragma once

#include "daemon/base-timer/supervisor.h"

#define NS_PER_S UINT64_C(1000000000)

__extension__ typedef unsigned __int128 supervisor_u128;

/* A pulse that was not followed by any tick met a guest that does not run. */
#define PULSE_PATIENCE_NS UINT64_C(100000000)

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static inline int64_t max_i64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static inline int64_t min_i64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t supervisor_ns(const struct supervisor *s, uint64_t counts)
{
    return (uint64_t)((supervisor_u128)counts * NS_PER_S / s->clock.hz);
}

/* How far apart the timer's own ticks are. */
static inline uint64_t supervisor_own_length(const struct supervisor *s)
{
    return s->clock.own_length != 0 ? s->clock.own_length : s->length;
}

/* What is owed without the part of the tick that is not due yet, so that no change of the rate
 * moves it. */
static inline int64_t supervisor_due_debt(const struct supervisor *s)
{
    return s->owed - (int64_t)s->since_tick;
}
