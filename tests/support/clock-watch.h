/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The clocks of guests beside the host's: a thread reads them every few milliseconds, and what it
 * has read is judged afterwards. It goes by the times at which it has really read, so that it may
 * be late itself.
 *
 * A clock that goes up by a tick at a time is behind by up to a tick between two of them. So where
 * its error over a while is asked for, it is the least of all that were seen.
 */
#pragma once

#include "tests/guest/clock-guest.h"
#include <glib.h>

struct clock_watch; /* the thread */
struct clock_trace; /* of one guest */

struct clock_watch *clock_watch_new(void);
/* With all its traces. */
void clock_watch_free(struct clock_watch *watch);

/* @clock is read from now on. @hz: its counts per second. (transfer none) */
struct clock_trace *clock_watch_add(struct clock_watch *watch, volatile struct clock_guest *clock,
                                    guint hz);
/* Not any more when this returns: its memory goes away. */
void clock_watch_pause(struct clock_trace *trace);
/* The same guest at another place. */
void clock_watch_go_on(struct clock_trace *trace, volatile struct clock_guest *clock);

/* CLOCK_MONOTONIC, as all times here. */
gint64 clock_now_ns(void);

/* By how much the guest's clock has gone on more than the host's since the trace began, in seconds;
 * the most of it that was seen between two times. NAN: nothing was read. */
double clock_trace_gain(struct clock_trace *trace, gint64 from_ns, gint64 to_ns);

/* The guest's clock, in counts, as read first at @time_ns or later. */
gint64 clock_trace_read(struct clock_trace *trace, gint64 time_ns);

/* In seconds, but for @peak. */
struct clock_report {
    double behind; /* in the last second; below 0: ahead */
    double ahead;  /* the most at any moment */
    /* The most by which the clock went on in any 100 ms, or a little more, by the time that took:
     * from a tick to a tick, so that it does not matter how long one is. */
    double peak;
    double recovery; /* since the end of the last outage; INFINITY: it is still behind */
};

/* @reference: clock_trace_gain() when all was well. @outage_end_ns: within the interval.
 * @tolerance: behind by that much it is taken for recovered. */
struct clock_report clock_trace_report(struct clock_trace *trace, double reference, gint64 from_ns,
                                       gint64 outage_end_ns, gint64 to_ns, double tolerance);
