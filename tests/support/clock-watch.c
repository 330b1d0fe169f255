/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The clocks of guests beside the host's: see clock-watch.h. */
#include "tests/support/clock-watch.h"

#include <math.h>
#include <pthread.h>
#include <time.h>

#define INTERVAL_NS 2000000
#define WINDOW_NS   (100 * 1000 * 1000)
#define SECOND_NS   (1000 * 1000 * 1000)

/* A reading that took longer is not to be trusted: somebody else ran in its midst. */
#define READING_NS_MAX 50000
#define READINGS_MAX   3

struct sample {
    gint64 time_ns;
    gint64 counts; /* since the trace began */
};

struct clock_trace {
    struct clock_watch *watch;
    volatile struct clock_guest *clock; /* NULL: pausing */
    guint hz;
    guint32 last; /* as read */
    gint64 counts;
    GArray *samples; /* struct sample */
};

struct clock_watch {
    GMutex lock; /* of all that follows, and of the traces */
    GPtrArray *traces;
    gboolean quit;
    GThread *thread;
};

gint64 clock_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * (gint64)SECOND_NS + now.tv_nsec;
}

/* ---- The thread ---- */

static void read_clock(struct clock_trace *trace)
{
    gint64 before = 0, after = 0;
    guint32 value = 0;

    for (int i = 0; i < READINGS_MAX; i++) {
        before = clock_now_ns();
        value = trace->clock->time;
        after = clock_now_ns();
        if (after - before < READING_NS_MAX) {
            struct sample sample = {before + (after - before) / 2, 0};
            trace->counts += (gint32)(value - trace->last);
            trace->last = value;
            sample.counts = trace->counts;
            g_array_append_val(trace->samples, sample);
            return;
        }
    }
}

static void sleep_until(gint64 time_ns)
{
    struct timespec until = {time_ns / SECOND_NS, time_ns % SECOND_NS};

    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

static gpointer watch_clocks(gpointer data)
{
    struct clock_watch *watch = data;
    struct sched_param param = {.sched_priority = 1};
    gboolean quit = FALSE;

    /* Where it may not have that, it is late more often, and that is all. */
    pthread_setschedparam(pthread_self(), SCHED_FIFO, &param);
    while (!quit) {
        sleep_until(clock_now_ns() + INTERVAL_NS);
        g_mutex_lock(&watch->lock);
        for (guint i = 0; i < watch->traces->len; i++) {
            struct clock_trace *trace = watch->traces->pdata[i];
            if (trace->clock != NULL) {
                read_clock(trace);
            }
        }
        quit = watch->quit;
        g_mutex_unlock(&watch->lock);
    }
    return NULL;
}

static void free_trace(gpointer data)
{
    struct clock_trace *trace = data;

    g_array_unref(trace->samples);
    g_free(trace);
}

struct clock_watch *clock_watch_new(void)
{
    struct clock_watch *watch = g_new0(struct clock_watch, 1);

    g_mutex_init(&watch->lock);
    watch->traces = g_ptr_array_new_with_free_func(free_trace);
    watch->thread = g_thread_new("clocks", watch_clocks, watch);
    return watch;
}

void clock_watch_free(struct clock_watch *watch)
{
    g_mutex_lock(&watch->lock);
    watch->quit = TRUE;
    g_mutex_unlock(&watch->lock);
    g_thread_join(watch->thread);
    g_ptr_array_unref(watch->traces);
    g_mutex_clear(&watch->lock);
    g_free(watch);
}

struct clock_trace *clock_watch_add(struct clock_watch *watch, volatile struct clock_guest *clock,
                                    guint hz)
{
    struct clock_trace *trace = g_new0(struct clock_trace, 1);

    *trace = (struct clock_trace){.watch = watch, .hz = hz, .clock = clock, .last = clock->time};
    trace->samples = g_array_new(FALSE, FALSE, sizeof(struct sample));
    g_mutex_lock(&watch->lock);
    g_ptr_array_add(watch->traces, trace);
    g_mutex_unlock(&watch->lock);
    return trace;
}

void clock_watch_pause(struct clock_trace *trace)
{
    g_mutex_lock(&trace->watch->lock);
    trace->clock = NULL;
    g_mutex_unlock(&trace->watch->lock);
}

void clock_watch_go_on(struct clock_trace *trace, volatile struct clock_guest *clock)
{
    g_mutex_lock(&trace->watch->lock);
    trace->clock = clock;
    g_mutex_unlock(&trace->watch->lock);
}

/* ---- What it has read ---- */

static const struct sample *at(const struct clock_trace *trace, guint i)
{
    return &g_array_index(trace->samples, struct sample, i);
}

/* The first sample at @time_ns or later; may be behind the last one. */
static guint find(const struct clock_trace *trace, gint64 time_ns)
{
    guint from = 0, to = trace->samples->len;

    while (from < to) {
        guint middle = from + (to - from) / 2;
        if (at(trace, middle)->time_ns < time_ns) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    return from;
}

static double gain_at(const struct clock_trace *trace, guint i)
{
    return (double)at(trace, i)->counts / trace->hz -
           (double)(at(trace, i)->time_ns - at(trace, 0)->time_ns) / SECOND_NS;
}

static double gain_between(const struct clock_trace *trace, guint from, guint to)
{
    double most = NAN;

    for (guint i = from; i < to; i++) {
        most = fmax(most, gain_at(trace, i));
    }
    return most;
}

/* Has it moved since the sample before? Then that was a moment ago. */
static gboolean has_ticked(const struct clock_trace *trace, guint i)
{
    return i > 0 && at(trace, i)->counts != at(trace, i - 1)->counts;
}

static double peak_between(const struct clock_trace *trace, guint from, guint to)
{
    double most = 0;

    for (guint i = from, end = from; i < to; i++) {
        if (!has_ticked(trace, i)) {
            continue;
        }
        while (end < to && (at(trace, end)->time_ns - at(trace, i)->time_ns < WINDOW_NS ||
                            !has_ticked(trace, end))) {
            end++;
        }
        if (end == to) {
            break;
        }
        double counted = (double)(at(trace, end)->counts - at(trace, i)->counts) / trace->hz;
        double taken = (double)(at(trace, end)->time_ns - at(trace, i)->time_ns) / SECOND_NS;
        most = fmax(most, counted / taken);
    }
    return most;
}

static double recovery_between(const struct clock_trace *trace, guint from, guint to, double least)
{
    for (guint i = from; i < to; i++) {
        if (gain_at(trace, i) >= least) {
            return (double)(at(trace, i)->time_ns - at(trace, from)->time_ns) / SECOND_NS;
        }
    }
    return INFINITY;
}

double clock_trace_gain(struct clock_trace *trace, gint64 from_ns, gint64 to_ns)
{
    g_mutex_lock(&trace->watch->lock);
    double gain = gain_between(trace, find(trace, from_ns), find(trace, to_ns));
    g_mutex_unlock(&trace->watch->lock);
    return gain;
}

gint64 clock_trace_read(struct clock_trace *trace, gint64 time_ns)
{
    g_mutex_lock(&trace->watch->lock);
    guint i = find(trace, time_ns);
    g_assert_cmpuint(i, <, trace->samples->len);
    gint64 counts = at(trace, i)->counts;
    g_mutex_unlock(&trace->watch->lock);
    return counts;
}

struct clock_report clock_trace_report(struct clock_trace *trace, double reference, gint64 from_ns,
                                       gint64 outage_end_ns, gint64 to_ns, double tolerance)
{
    g_mutex_lock(&trace->watch->lock);
    guint from = find(trace, from_ns), to = find(trace, to_ns);
    struct clock_report report = {
        .behind = reference - gain_between(trace, find(trace, to_ns - SECOND_NS), to),
        .ahead = gain_between(trace, from, to) - reference,
        .peak = peak_between(trace, from, to),
        .recovery = recovery_between(trace, find(trace, outage_end_ns), to, reference - tolerance),
    };
    g_mutex_unlock(&trace->watch->lock);
    return report;
}
