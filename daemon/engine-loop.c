/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The engine's real-time thread: it sleeps until the earliest deadline, a command or an
 * acknowledgement that a tick waits for, and serves what is due. Plain C: from its first round to
 * its last it allocates nothing, takes no lock and logs nothing.
 */
#include "daemon/engine-private.h"

#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* Deadlines served before commands and acknowledgements get their turn, so that an overload of
 * ticks can't shut them out. */
#define ROUND 4096

/* ---- deadlines: a binary heap, the earliest on top ---- */

static void heap_place(struct engine *e, struct engine_timer *t, unsigned i)
{
    e->heap[i] = t;
    t->heap_index = i;
}

static void heap_up(struct engine *e, struct engine_timer *t)
{
    unsigned i = t->heap_index;

    while (i > 0 && e->heap[(i - 1) / 2]->now.deadline > t->now.deadline) {
        heap_place(e, e->heap[(i - 1) / 2], i);
        i = (i - 1) / 2;
    }
    heap_place(e, t, i);
}

static void heap_down(struct engine *e, struct engine_timer *t)
{
    unsigned i = t->heap_index;

    for (;;) {
        unsigned child = 2 * i + 1;
        if (child >= e->heap_size) {
            break;
        }
        if (child + 1 < e->heap_size &&
            e->heap[child + 1]->now.deadline < e->heap[child]->now.deadline) {
            child++;
        }
        if (e->heap[child]->now.deadline >= t->now.deadline) {
            break;
        }
        heap_place(e, e->heap[child], i);
        i = child;
    }
    heap_place(e, t, i);
}

static void heap_set_deadline(struct engine *e, struct engine_timer *t, uint64_t deadline)
{
    bool later = deadline > t->now.deadline;

    t->now.deadline = deadline;
    if (later) {
        heap_down(e, t);
    } else {
        heap_up(e, t);
    }
}

static void heap_remove(struct engine *e, struct engine_timer *t)
{
    struct engine_timer *last = e->heap[--e->heap_size];

    if (last != t) {
        heap_place(e, last, t->heap_index);
        heap_up(e, last);
        heap_down(e, last);
    }
}

/* ---- what others see ---- */

/* The ring has room for the two events of every timer that must arrive; of the others, which
 * only inform, one that finds it half full is left out. */
bool engine_tell(struct engine *e, struct engine_timer *t, enum engine_event kind)
{
    bool must = kind == ENGINE_HELD || kind == ENGINE_REMOVED;

    if (!must && ring_room(&e->event_ring) < e->event_ring.size / 2) {
        return false;
    }
    e->events[ring_write_index(&e->event_ring)] = (struct event){kind, t};
    ring_publish(&e->event_ring);
    eventfd_write(e->event_fd, 1);
    return true;
}

/* ---- one timer ---- */

static void take_acknowledgements(struct engine_timer *t, uint64_t now)
{
    struct injector *injector = t->injector;

    if (injector->ops->acknowledged != NULL &&
        (t->now.ticker.counts.in_flight > 0 || t->now.ticker.feedback_lost)) {
        ticker_acknowledge(&t->now.ticker, injector->ops->acknowledged(injector, now), now);
    }
}

/* Only a tick that waits for an EOI is worth a wake-up; others are read when the next is due. */
static void await_acknowledgement(struct engine *e, struct engine_timer *t)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.ptr = t};

    if (t->in_epoll && !t->ack_awaited) {
        epoll_ctl(e->epoll_fd, EPOLL_CTL_MOD, t->injector->ack_fd, &event);
        t->ack_awaited = true;
    }
}

static void inject(struct engine_timer *t, uint64_t now)
{
    uint64_t ready = ticker_injection_time(&t->now.ticker);

    ticker_injected(&t->now.ticker, now);
    lateness_count(&t->lateness, now > ready ? now - ready : 0);
}

/* A tick that waits for so long is raised once more. One that is pending merges with it; but a KVM
 * that lost its way to the vCPU, or its EOI on the way back, would stop the guest's ticks for ever.
 */
static void nudge(struct engine *e, struct engine_timer *t, uint64_t now)
{
    if (t->injector->ops->inject(t->injector, now)) {
        t->now.ticker.counts.injected++;
    }
    uint64_t times = t->patience_ns / ENGINE_PATIENCE_NS;
    t->patience_ns += ENGINE_PATIENCE_NS;
    if ((times & (times - 1)) == 0) {
        engine_tell(e, t, ENGINE_UNANSWERED);
    }
}

/* Returns when to look again, if no acknowledgement comes before. */
static uint64_t wait_for_acknowledgement(struct engine *e, struct engine_timer *t, uint64_t now,
                                         uint64_t when)
{
    const struct ticker *ticker = &t->now.ticker;
    uint64_t patience_ends = ticker->unanswered_ns + t->patience_ns;

    await_acknowledgement(e, t);
    if (!t->in_epoll && ticker->min_interval_ns != 0) {
        return now + ticker->min_interval_ns;
    }
    if (!ticker->running || ticker->policy.mode == TICKER_OBSERVE) {
        return when; /* it is only to be counted */
    }
    if (now >= patience_ends) {
        nudge(e, t, now);
        patience_ends = ticker->unanswered_ns + t->patience_ns;
    }
    return when < patience_ends ? when : patience_ends;
}

/* Held back, for a change of the route: waits until none is in flight. */
static uint64_t act_held(struct engine *e, struct engine_timer *t)
{
    t->now.unwatched = true;
    if (t->now.ticker.counts.in_flight > 0) {
        await_acknowledgement(e, t);
        return t->in_epoll ? TICKER_NEVER : engine_clock() + t->now.ticker.min_interval_ns;
    }
    if (!t->held_told) {
        t->held_told = true;
        engine_tell(e, t, ENGINE_HELD);
    }
    return TICKER_NEVER;
}

/* Does what can be done now; returns when to look again. */
static uint64_t act(struct engine *e, struct engine_timer *t, uint64_t now)
{
    struct ticker *ticker = &t->now.ticker;
    uint64_t when;

    if (t->held) {
        return act_held(e, t);
    }
    enum ticker_action action = ticker_next(ticker, now, &when);
    if (action == TICKER_INJECT) {
        if (!t->injector->ops->inject(t->injector, now)) {
            return now + ticker->min_interval_ns;
        }
        inject(t, now);
        action = ticker_next(ticker, now, &when);
    }
    t->now.unwatched = action == TICKER_WAIT_ACK || action == TICKER_IDLE;
    return action == TICKER_WAIT_ACK ? wait_for_acknowledgement(e, t, now, when) : when;
}

static void tell_what_was_noticed(struct engine *e, struct engine_timer *t, uint64_t skipped,
                                  bool feedback_lost)
{
    const struct ticker *ticker = &t->now.ticker;

    if (ticker->counts.backlog == 0) {
        t->skipping_told = false;
    }
    if (ticker->counts.skipped > skipped && ticker->policy.mode == TICKER_CATCHUP &&
        !t->skipping_told) {
        t->skipping_told = true;
        engine_tell(e, t, ENGINE_SKIPPED);
    }
    if (ticker->counts.in_flight == 0) {
        t->patience_ns = ENGINE_PATIENCE_NS;
    }
    if (ticker->feedback_lost && !feedback_lost) {
        engine_tell(e, t, ENGINE_FEEDBACK_LOST);
    }
}

/* Returns when to look again. */
static uint64_t pace(struct engine *e, struct engine_timer *t, uint64_t now)
{
    uint64_t skipped = t->now.ticker.counts.skipped;
    bool feedback_lost = t->now.ticker.feedback_lost;

    take_acknowledgements(t, now);
    ticker_advance(&t->now.ticker, now);
    tell_what_was_noticed(e, t, skipped, feedback_lost);
    return act(e, t, now);
}

static void serve(struct engine *e, struct engine_timer *t)
{
    ticks_slot_begin(t->slot);
    uint64_t now = engine_clock();

    heap_set_deadline(e, t, t->supervisor != NULL ? engine_supervise(e, t) : pace(e, t, now));
    ticks_slot_write(t->slot, &t->now);
}

/* ---- commands ---- */

static void add(struct engine *e, struct engine_timer *t)
{
    struct epoll_event event = {.events = 0, .data.ptr = t};

    t->in_epoll = t->supervisor == NULL && t->injector->ack_fd >= 0 &&
                  epoll_ctl(e->epoll_fd, EPOLL_CTL_ADD, t->injector->ack_fd, &event) == 0;
    if (t->now.ticker.counts.in_flight == 0 && t->injector->ops->acknowledged != NULL &&
        t->injector->started_ns == 0) {
        t->injector->ops->acknowledged(t->injector, engine_clock()); /* an earlier daemon's */
    }
    t->heap_index = e->heap_size++;
    heap_up(e, t);
}

static void remove_timer(struct engine *e, struct engine_timer *t)
{
    if (t->in_epoll) {
        epoll_ctl(e->epoll_fd, EPOLL_CTL_DEL, t->injector->ack_fd, NULL);
    }
    heap_remove(e, t);
    engine_tell(e, t, ENGINE_REMOVED); /* the last that is done with it */
}

static void release(struct engine_timer *t, unsigned unseen, uint64_t now)
{
    t->held = t->held_told = false;
    if (unseen > 0) {
        /* An EOI by the old route may have come just before it was changed. */
        take_acknowledgements(t, now);
        ticker_assume_taken(&t->now.ticker);
    }
    ticker_unblocked(&t->now.ticker, now);
}

static void obey_paced(struct engine_timer *t, const struct command *c, uint64_t now)
{
    switch (c->kind) {
    case COMMAND_START:
        ticker_start(&t->now.ticker, c->now, c->period);
        break;
    case COMMAND_STOP:
        ticker_stop(&t->now.ticker, now);
        break;
    case COMMAND_FREEZE:
        ticker_freeze(&t->now.ticker, now);
        break;
    case COMMAND_THAW:
        ticker_thaw(&t->now.ticker, now);
        break;
    case COMMAND_GUEST_RESET:
        ticker_guest_reset(&t->now.ticker, now);
        break;
    case COMMAND_RESET_BACKLOG:
        ticker_reset_backlog(&t->now.ticker, now);
        break;
    case COMMAND_SET_POLICY:
        ticker_set_policy(&t->now.ticker, &c->policy, now);
        break;
    case COMMAND_RELEASE:
        release(t, c->unseen, now);
        break;
    default:
        break;
    }
}

static void obey(struct engine *e, const struct command *c)
{
    struct engine_timer *t = c->timer;

    ticks_slot_begin(t->slot);
    uint64_t now = engine_clock();

    switch (c->kind) {
    case COMMAND_ADD:
        add(e, t);
        break;
    case COMMAND_REMOVE:
        if (t->supervisor != NULL) {
            engine_end_supervised(t);
        }
        ticks_slot_write(t->slot, &t->now);
        remove_timer(e, t);
        return;
    case COMMAND_HOLD:
        t->held = true;
        break;
    default:
        if (t->supervisor != NULL) {
            engine_obey_supervised(t, c);
        } else {
            obey_paced(t, c, now);
        }
        break;
    }
    serve(e, t);
}

static void obey_commands(struct engine *e)
{
    uint32_t index;

    while (ring_read_index(&e->command_ring, &index)) {
        obey(e, &e->commands[index]);
        ring_consume(&e->command_ring);
    }
}

/* ---- the loop ---- */

static void serve_what_is_due(struct engine *e)
{
    for (unsigned n = 0; n < ROUND && e->heap_size > 0; n++) {
        if (e->heap[0]->now.deadline > engine_clock()) {
            break;
        }
        serve(e, e->heap[0]);
    }
}

static void arm(struct engine *e)
{
    uint64_t deadline = e->heap_size > 0 ? e->heap[0]->now.deadline : TICKER_NEVER;

    if (deadline == e->armed) {
        return;
    }
    e->armed = deadline;
    struct itimerspec when = {{0, 0}, {0, 0}}; /* all zeros disarm it */
    if (deadline != TICKER_NEVER) {
        when.it_value.tv_sec = (time_t)(deadline / 1000000000);
        when.it_value.tv_nsec = (long)(deadline % 1000000000);
    }
    timerfd_settime(e->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

/* Commands come last: one of them may remove a timer that an event in @events points to. */
static void wake_up(struct engine *e, const struct epoll_event *events, int n)
{
    bool commands = false;

    for (int i = 0; i < n; i++) {
        if (events[i].data.ptr == &e->timer_fd) {
            uint64_t now = engine_clock();
            lateness_count(&e->wakeups, now > e->armed ? now - e->armed : 0);
            e->armed = TICKER_NEVER; /* it has fired: as good as disarmed */
        } else if (events[i].data.ptr == &e->command_fd) {
            eventfd_t ignored;
            commands = eventfd_read(e->command_fd, &ignored) == 0;
        } else {
            struct engine_timer *t = events[i].data.ptr;
            t->ack_awaited = false;
            serve(e, t);
        }
    }
    if (commands) {
        obey_commands(e);
    }
}

/* Once a round, so that what kept this one busy is part of the answer. */
static void answer(struct engine *e)
{
    uint64_t pinged = atomic_load_explicit(&e->pinged_ns, memory_order_relaxed);

    if (pinged != atomic_load_explicit(&e->answered_ns, memory_order_relaxed)) {
        atomic_store_explicit(&e->answer_ns, engine_clock() - pinged, memory_order_relaxed);
        atomic_store_explicit(&e->answered_ns, pinged, memory_order_release);
    }
}

void *engine_loop(void *data)
{
    struct engine *e = data;
    struct epoll_event events[64];

    while (!atomic_load_explicit(&e->quit, memory_order_acquire)) {
        int n = epoll_wait(e->epoll_fd, events, 64, -1);
        wake_up(e, events, n);
        serve_what_is_due(e);
        arm(e);
        answer(e);
    }
    obey_commands(e);
    return NULL;
}
