/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the two halves of the engine share: engine.c, called by the main loop, and engine-loop.c,
 * the real-time thread.
 */
#pragma once

#include "daemon/deadlines.h"
#include "daemon/engine.h"
#include "daemon/ring.h"
#include "daemon/ticks-file.h"
#include <pthread.h>
#include <sys/epoll.h>
#include <time.h>

enum command_kind {
    COMMAND_ADD,
    COMMAND_REMOVE,
    COMMAND_START,
    COMMAND_STOP,
    COMMAND_FREEZE,
    COMMAND_THAW,
    COMMAND_GUEST_RESET,
    COMMAND_RESET_BACKLOG,
    COMMAND_SET_POLICY,
    COMMAND_HOLD,
    COMMAND_RELEASE,
};

struct command {
    enum command_kind kind;
    struct engine_timer *timer;
    uint64_t now;                /* START */
    struct period period;        /* START */
    struct ticker_policy policy; /* SET_POLICY */
    unsigned unseen;             /* RELEASE */
    /* RELEASE: a leased timer was set up anew. */
    bool restarted;
    struct supervisor_clock clock;
    uint64_t length, started_ns;
};

struct event {
    enum engine_event kind;
    struct engine_timer *timer;
};

struct engine_timer {
    /* The engine thread's own; what every tick needs comes first. */
    struct injector *injector;
    struct supervisor *supervisor; /* NULL: paced */
    struct ticks_slot *slot;       /* written by the engine thread, read by any */
    bool in_epoll;
    bool ack_awaited; /* the next acknowledgement wakes the engine */
    bool acked;       /* an acknowledgement was heard, of the tick in flight */
    bool ack_needed;  /* a tick could go, but for it */
    bool held;
    bool held_told;
    bool skipping_told;
    bool found_polls;
    uint32_t slot_number;
    uint64_t heard;       /* edges, since its count of acknowledgements was read */
    uint64_t patience_ns; /* how long a tick may wait before ENGINE_UNANSWERED, the next time */
    struct published now;
    uint64_t found_ns;     /* when ENGINE_FOUND was last told, */
    uint32_t found_length; /* and of what */
    enum supervisor_learned found_learned;
    /* Of a supervised one: its own ticks, counted from here. */
    uint64_t own_since_ns;
    uint64_t own_before;

    /* The main loop's. */
    struct engine_thread *thread;
    uint64_t started_ns; /* of the injector, as the engine was told */
    engine_event_func event;
    gpointer user_data;

    /* Written by the engine thread, read by any. */
    struct lateness lateness;
};

struct by_slot {
    struct engine_timer *timer;
    struct supervisor *supervisor; /* as the timer has it */
};

#define COMMANDS 1024u

/* Each has timers of its own, and knows of no other. */
struct engine_thread {
    /* Constant while the thread runs. */
    struct engine *engine;
    pthread_t thread;
    int epoll_fd, ack_epoll_fd, command_fd, event_fd;
    unsigned capacity;
    uint64_t window_ns; /* by so much a wake-up may be late, to serve several timers */
    struct ticks_file *ticks;
    struct command commands[COMMANDS];
    struct event *events;

    struct ring command_ring, event_ring;
    _Atomic uint64_t pinged_ns;   /* when engine_ping() was; 0: never */
    _Atomic uint64_t answered_ns; /* of which of these `answer_ns` is */
    _Atomic uint64_t answer_ns;
    struct lateness wakeups;
    _Atomic bool quit;

    /* The engine thread's own. */
    struct deadlines deadlines; /* by the number of the timer's slot, */
    struct by_slot *by_slot;
    bool ordinary; /* not of real-time priority */

    /* The main loop's. */
    unsigned timers;
    guint event_source;
};

/* The main loop's. */
struct engine {
    struct engine_thread *threads[ENGINE_THREADS_MAX];
    unsigned n_threads; /* that run */
    unsigned capacity, timers;
    /* A ring: capacity - timers of them, from next_slot on. The one that is freed last is used
     * last: what the next daemon reads of it may be told of an earlier owner. */
    unsigned *free_slots;
    unsigned next_slot;
    struct ticks_file *ticks;
};

/* ---- engine-thread.c: its life, main loop ---- */

/* Starts one on @cpu (-1: any), as engine_new() does. NULL with @error. */
struct engine_thread *engine_thread_new(struct engine *engine, const struct engine_config *config,
                                        int cpu, GError **error);
/* Has its loop go round. */
void engine_thread_ping(struct engine_thread *e);
/* Ends it; its events are still to be dispatched. */
void engine_thread_join(struct engine_thread *e);
void engine_thread_free(struct engine_thread *e);

/* ---- engine.c, main loop ---- */

/* All events that wait; those of one thread. */
void engine_drain_events(struct engine_thread *e);

/* Engine thread: an event for the main loop; false: it has to wait, as there are too many. */
bool engine_tell(struct engine_thread *e, struct engine_timer *t, enum engine_event kind);
/* Engine thread: looks at a supervised timer; returns when to look again. */
uint64_t engine_supervise(struct engine_thread *e, struct engine_timer *t);
/* Engine thread: the last look. */
void engine_end_supervised(struct engine_timer *t);
/* Engine thread: a command that means something to the supervisor. */
void engine_obey_supervised(struct engine_timer *t, const struct command *c);

/* ---- engine-acks.c ---- */

/* Engine thread: of a paced timer. */
void engine_acks_add(struct engine_thread *e, struct engine_timer *t);
void engine_acks_remove(struct engine_thread *e, struct engine_timer *t);
/* Tells the ticker if the tick in flight was taken. */
void engine_acks_take(struct engine_thread *e, struct engine_timer *t, uint64_t now);
/* The next acknowledgement wakes the engine up, if the injector has a descriptor; TRUE: no need, it
 * has just come. */
bool engine_acks_await(struct engine_thread *e, struct engine_timer *t);

/* epoll_pwait2(), by number: a C library before 2.35 has no function for it. @timeout: NULL: none.
 */
int engine_sleep(int epoll_fd, struct epoll_event *events, int n, const struct timespec *timeout);

/* The thread: @data is its struct engine_thread. When it ends, every command has been obeyed. */
void *engine_loop(void *data);
