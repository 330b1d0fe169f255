/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The real-time threads that raise ticks, and what the main loop asks of it.
 *
 * All calls are the main loop's, but for engine_read(), which any thread may make. None waits
 * for the engine: commands go through a bounded queue and take effect within microseconds, in
 * their order; events come back through the GLib main context that was the default one at
 * engine_new().
 */
#pragma once

#include "daemon/injector.h"
#include "daemon/lateness.h"
#include "daemon/ticker.h"
#include <glib.h>

struct engine;
struct engine_timer;

#define ENGINE_THREADS_MAX 16u

struct engine_config {
    int priority;           /* SCHED_FIFO, 1 to 99; 0: ordinary scheduling */
    int cpu;                /* -1: any; else the first thread's, and the next ones' one after it */
    unsigned threads;       /* 1 to ENGINE_THREADS_MAX; 0 is 1: each has its own timers */
    unsigned window_us;     /* a wake-up may be late by so much, to serve several timers at once */
    gboolean lock_memory;   /* mlockall() for the whole process */
    unsigned timers;        /* most at a time */
    const char *ticks_file; /* where figures are published; NULL: nowhere that outlives us */
};

enum engine_event {
    ENGINE_HELD,       /* as engine_hold() asked: no tick is in flight */
    ENGINE_SKIPPED,    /* ticks were given up: the limit was reached (once an outage) */
    ENGINE_UNANSWERED, /* a tick has been in flight for ENGINE_PATIENCE_NS, twice, four times that;
                          or a leased timer's own ticks stay away for so long */
    ENGINE_FEEDBACK_LOST, /* no acknowledgement came: open loop from here on */
    ENGINE_TAKEN_BACK,    /* told by the injector: the guest uses the leased timer itself */
    ENGINE_FOUND, /* of a supervised timer: the base timer is another than it was (once a second at
                     most) */
    ENGINE_REMOVED, /* as engine_remove() asked: the timer is no more */
};

/* How long a tick may be in flight before it is raised again, and somebody should look whether its
 * way still exists. */
#define ENGINE_PATIENCE_NS UINT64_C(2000000000)

typedef void (*engine_event_func)(enum engine_event event, gpointer user_data);

struct engine_reading {
    struct ticker_counts ticks; /* one consistent snapshot, as of now */
    uint64_t behind_ns;         /* what a clock that counts them is behind: ticker_behind_ns() */
    struct lateness_reading lateness;
    bool closed_loop;
    uint64_t began_ns; /* the period that is under way; 0: not known */
    /* Of a supervised timer. */
    struct period period; /* the one in force; numerator 0: none, or not known */
    enum supervisor_learned learned;
    bool polls; /* the guest ignores ticks that are made up */
};

/* Starts the threads. What is not allowed (real-time priority, a CPU, locked memory) is warned
 * about, with the remedy, and done without. Errors: G_IO_ERROR. (transfer full) */
struct engine *engine_new(const struct engine_config *config, GError **error);

/* Ends the threads, and with them every timer: each gets its ENGINE_REMOVED from here. */
void engine_free(struct engine *engine);

/* Which slot of the ticks file it publishes in. */
unsigned engine_slot(const struct engine_timer *timer);

/* How many timers it has, those that are being removed included. */
unsigned engine_timers(const struct engine *engine);

/* Has every loop go round, and notes when it has: an engine that does not, hangs. One at a time. */
void engine_ping(struct engine *engine);
/* How long that took the slowest after the last engine_ping(), in nanoseconds; ENGINE_NO_ANSWER: it
 * has not yet, or was never asked. */
uint64_t engine_answer_ns(struct engine *engine);
#define ENGINE_NO_ANSWER UINT64_MAX

/* How late the loops woke up for a deadline, each time that one slept until it. */
void engine_read_wakeups(struct engine *engine, struct lateness_reading *ret_reading);

/* Nanoseconds of the clock that the engine runs by, CLOCK_MONOTONIC. */
uint64_t engine_clock(void);

/* What a timer goes on counting from. A tick in flight is taken to be acknowledged, and the backlog
 * is kept. */
struct engine_past {
    struct ticker_counts counts;
    struct period period; /* that they were counted in; numerator 0: not known */
    uint64_t since_ns; /* a leased timer's ticks were due from then on already; 0: they weren't */
};

/* A timer: stopped; or, if the injector is supervised, under supervision from here on, or from when
 * the lease was made. @past: (nullable). NULL
 * if there are as many timers as there may be. The injector belongs to the engine until
 * ENGINE_REMOVED. */
struct engine_timer *engine_add(struct engine *engine, struct injector *injector,
                                const struct ticker_policy *policy, const struct engine_past *past,
                                engine_event_func event, gpointer user_data);

/* Ends the timer; nothing else may be asked of it. ENGINE_REMOVED is its last event. */
void engine_remove(struct engine_timer *timer);

/* The first tick is due one period after @now (engine_clock()). See ticker_start(). */
void engine_start(struct engine_timer *timer, uint64_t now, struct period period);
void engine_stop(struct engine_timer *timer);
void engine_freeze(struct engine_timer *timer);
void engine_thaw(struct engine_timer *timer);
void engine_guest_reset(struct engine_timer *timer);
void engine_reset_backlog(struct engine_timer *timer);
void engine_set_policy(struct engine_timer *timer, const struct ticker_policy *policy);

/* No tick is raised from here on, and none is lost: what becomes due waits. ENGINE_HELD tells when
 * none is in flight any more, which may take for ever. */
void engine_hold(struct engine_timer *timer);
/* Ticks go on; those of a leased timer as its injector has set it up now. @unseen: ticks whose EOIs
 * won't be seen; of a paced timer, the one that is in flight. */
void engine_release(struct engine_timer *timer, unsigned unseen);

void engine_read(struct engine_timer *timer, struct engine_reading *ret_reading);
