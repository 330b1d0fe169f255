/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Figures against the clock. A test and what it tests may be kept from running at any moment, for a
 * good part of a second: how long a sleep was, and what a reading is worth, only the clock says,
 * read before and after. Times are g_get_monotonic_time()'s.
 */
#pragma once

#include <glib.h>

/* A timer's run, from the call that started it. */
struct timing {
    double period_us;
    guint64 due;             /* at that call */
    gint64 called, returned; /* when it was made, and when it had been */
};

/* Just before that call, and just after it. No tick may fall due between the reading of @due and
 * the call. */
struct timing timing_before(double period_us, guint64 due);
void timing_after(struct timing *timing);

/* Is @due, read between @before and @after, what the period gives? Fails the test if it is more: a
 * tick is never early. FALSE if it is less, as whoever counts may not have run just now, or if the
 * reading took too long to tell: to be asked again, until TRUE. A timer that is too slow, or loses
 * ticks, never gets there. */
gboolean timing_keeps(const struct timing *timing, guint64 due, gint64 before, gint64 after);
