/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Figures against the clock: see timing.h. */
#include "tests/support/timing.h"

/* A reading that took longer could hide as much time lost. */
#define QUICK_US 5000

struct timing timing_before(double period_us, guint64 due)
{
    gint64 now = g_get_monotonic_time();

    return (struct timing){.period_us = period_us, .due = due, .called = now, .returned = now};
}

void timing_after(struct timing *timing)
{
    timing->returned = g_get_monotonic_time();
}

gboolean timing_keeps(const struct timing *timing, guint64 due, gint64 before, gint64 after)
{
    double ticks = (double)due - (double)timing->due;

    /* The clock is read in whole microseconds. */
    g_assert_cmpfloat(ticks * timing->period_us, <=, (double)(after - timing->called + 1));
    return after - before <= QUICK_US &&
           (ticks + 1) * timing->period_us > (double)(before - timing->returned);
}
