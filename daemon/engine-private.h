/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the two halves of the engine share: engine.c, called by the main loop, and engine-loop.c,
 * the real-time thread.
 */
#pragma once

#include "daemon/engine.h"
#include "daemon/ring.h"
#include <pthread.h>

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
    bool unseen;                 /* RELEASE */
};

struct event {
    enum engine_event kind;
    struct engine_timer *timer;
};

/* What is published of a timer: a sequence lock, all of whose words are atomic. */
struct published {
    struct ticker ticker;
    uint64_t deadline;  /* when the engine will look at it again */
    uint64_t unwatched; /* not 0: ticks may fall due before it does */
};
#define PUBLISHED_WORDS (sizeof(struct published) / sizeof(uint64_t))
_Static_assert(sizeof(struct published) % sizeof(uint64_t) == 0, "copied word by word");

struct engine_timer {
    /* The engine thread's own. */
    struct published now;
    struct injector *injector;
    unsigned heap_index;
    bool in_epoll;
    bool ack_awaited; /* the next acknowledgement wakes the engine */
    bool held;
    bool held_told;
    bool skipping_told;
    uint64_t patience_ns; /* how long a tick may wait before ENGINE_UNANSWERED, the next time */

    /* Written by the engine thread, read by any. */
    _Atomic uint32_t sequence;
    _Atomic uint64_t words[PUBLISHED_WORDS];
    struct lateness lateness;

    /* The main loop's. */
    struct engine *engine;
    engine_event_func event;
    gpointer user_data;
};

#define COMMANDS 1024u

struct engine {
    /* Constant while the thread runs. */
    pthread_t thread;
    int epoll_fd, timer_fd, command_fd, event_fd;
    unsigned capacity;
    struct engine_timer **heap; /* by deadline; capacity entries */
    struct command commands[COMMANDS];
    struct event *events;

    struct ring command_ring, event_ring;
    _Atomic uint64_t heartbeat;
    _Atomic bool quit;

    /* The engine thread's own. */
    unsigned heap_size;
    uint64_t armed; /* what timer_fd is set to */

    /* The main loop's. */
    unsigned timers;
    guint event_source;
};

/* The thread: @data is the engine. When it ends, every command has been obeyed. */
void *engine_loop(void *data);

/* Shows readers the timer as it is now. For the engine thread, once the timer is added. */
void engine_publish(struct engine_timer *t);
