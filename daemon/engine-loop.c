/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The engine's real-time thread: it sleeps until the earliest deadline, a command or an
 * acknowledgement that a tick waits for, and serves what is due. Plain C: from its first round to
 * its last it allocates nothing, takes no lock and logs nothing.
 */
#include "daemon/engine-private.h"

#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Deadlines served before commands and acknowledgements get their turn, so that an overload of
 * ticks can't shut them out. */
#define ROUND      4096
#define CACHE_LINE 64
/* A sleep that is longer is made in two, if the kernel may make it longer still. */
#define SLACK_NOTICED_NS 1000000
#define NS_PER_S         UINT64_C(1000000000)

/* ---- what others see ---- */

/* The ring has room for the two events of every timer that must arrive; of the others, which
 * only inform, one that finds it half full is left out. */
bool engine_tell(struct engine_thread *e, struct engine_timer *t, enum engine_event kind)
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

static void inject(struct engine_timer *t, uint64_t now)
{
    uint64_t ready = ticker_injection_time(&t->now.ticker);

    ticker_injected(&t->now.ticker, now);
    t->acked = false;
    lateness_count(&t->lateness, now > ready ? now - ready : 0);
}

/* A tick that waits for so long is raised once more. One that is pending merges with it; but a KVM
 * that lost its way to the vCPU, or its EOI on the way back, would stop the guest's ticks for ever.
 */
static void nudge(struct engine_thread *e, struct engine_timer *t, uint64_t now)
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
static uint64_t wait_for_acknowledgement(struct engine_thread *e, struct engine_timer *t,
                                         uint64_t now, uint64_t when)
{
    const struct ticker *ticker = &t->now.ticker;
    uint64_t patience_ends = ticker->unanswered_ns + t->patience_ns;
    uint64_t earliest = ticker_earliest_injection(ticker);

    if (now < earliest && ticker->running && ticker->policy.mode != TICKER_OBSERVE) {
        return when < earliest ? when : earliest; /* it has until then, and mostly comes */
    }
    if (engine_acks_await(e, t)) {
        return now; /* it has just come */
    }
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
static uint64_t act_held(struct engine_thread *e, struct engine_timer *t)
{
    t->now.unwatched = true;
    if (t->now.ticker.counts.in_flight > 0) {
        uint64_t now = engine_clock();
        if (engine_acks_await(e, t)) {
            return now;
        }
        return t->in_epoll ? TICKER_NEVER : now + t->now.ticker.min_interval_ns;
    }
    if (!t->held_told) {
        t->held_told = true;
        engine_tell(e, t, ENGINE_HELD);
    }
    return TICKER_NEVER;
}

/* Does what can be done now; returns when to look again. */
static uint64_t act(struct engine_thread *e, struct engine_timer *t, uint64_t now)
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

static void tell_what_was_noticed(struct engine_thread *e, struct engine_timer *t, uint64_t skipped,
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
static uint64_t pace(struct engine_thread *e, struct engine_timer *t, uint64_t now)
{
    uint64_t skipped = t->now.ticker.counts.skipped;
    bool feedback_lost = t->now.ticker.feedback_lost;

    engine_acks_take(e, t, now);
    ticker_advance(&t->now.ticker, now);
    tell_what_was_noticed(e, t, skipped, feedback_lost);
    return act(e, t, now);
}

static void serve(struct engine_thread *e, struct engine_timer *t)
{
    ticks_slot_begin(t->slot);
    deadlines_set(&e->deadlines, t->slot_number,
                  t->supervisor != NULL ? engine_supervise(e, t) : pace(e, t, engine_clock()));
    ticks_slot_write(t->slot, &t->now);
}

/* ---- commands ---- */

static void add(struct engine_thread *e, struct engine_timer *t)
{
    const struct injector *injector = t->injector;

    if (t->now.ticker.counts.in_flight == 0 && injector->ops->acknowledged != NULL &&
        injector->started_ns == 0) {
        injector->ops->acknowledged(t->injector, engine_clock()); /* an earlier daemon's */
    }
    if (t->supervisor == NULL) {
        engine_acks_add(e, t);
    }
    e->by_slot[t->slot_number] = (struct by_slot){t, t->supervisor};
    deadlines_add(&e->deadlines, t->slot_number, TICKER_NEVER);
}

static void remove_timer(struct engine_thread *e, struct engine_timer *t)
{
    engine_acks_remove(e, t);
    deadlines_remove(&e->deadlines, t->slot_number);
    engine_tell(e, t, ENGINE_REMOVED); /* the last that is done with it */
}

static void release(struct engine_thread *e, struct engine_timer *t, unsigned unseen, uint64_t now)
{
    t->held = t->held_told = false;
    if (unseen > 0) {
        /* An EOI by the old route may have come just before it was changed. */
        engine_acks_take(e, t, now);
        ticker_assume_taken(&t->now.ticker);
    }
    ticker_unblocked(&t->now.ticker, now);
}

static void obey_paced(struct engine_thread *e, struct engine_timer *t, const struct command *c,
                       uint64_t now)
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
        release(e, t, c->unseen, now);
        break;
    default:
        break;
    }
}

static void obey(struct engine_thread *e, const struct command *c)
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
            obey_paced(e, t, c, now);
        }
        break;
    }
    serve(e, t);
}

static void obey_commands(struct engine_thread *e)
{
    uint32_t index;

    while (ring_read_index(&e->command_ring, &index)) {
        obey(e, &e->commands[index]);
        ring_consume(&e->command_ring);
    }
}

/* ---- the loop ---- */

static void prefetch(const void *memory, unsigned size)
{
    for (unsigned i = 0; i < size; i += CACHE_LINE) {
        __builtin_prefetch((const char *)memory + i, 1);
    }
}

/* A thousand supervised ones are looked at one after the other, and none since long: while one is,
 * what the next one needs comes into the cache. */
static void prefetch_next(const struct engine_thread *e)
{
    uint32_t next = deadlines_second(&e->deadlines);

    if (next != DEADLINES_NONE && e->by_slot[next].supervisor != NULL) {
        prefetch(e->by_slot[next].timer, offsetof(struct engine_timer, thread));
        prefetch(ticks_file_slot(e->ticks, next), sizeof(struct ticks_slot));
        prefetch(e->by_slot[next].supervisor, offsetof(struct supervisor, phase));
    }
}

static void serve_what_is_due(struct engine_thread *e)
{
    uint64_t now = 0;

    for (unsigned n = 0; n < ROUND && e->deadlines.size > 0; n++) {
        const struct deadline *first = e->deadlines.heap;
        if (first->ns > now && first->ns > (now = engine_clock())) {
            break;
        }
        prefetch_next(e);
        serve(e, e->by_slot[first->number].timer);
    }
}

static bool catches_up(const struct by_slot *timer)
{
    return timer->supervisor != NULL ? timer->supervisor->catching_up
                                     : timer->timer->now.ticker.catching_up;
}

/* One that has the next while to itself is not kept waiting, nor is one that catches up: each delay
 * would make that slower. */
static uint64_t next_wakeup(const struct engine_thread *e)
{
    const struct deadlines *d = &e->deadlines;
    uint32_t second = deadlines_second(d);

    if (d->size == 0 || d->heap[0].ns == TICKER_NEVER) {
        return TICKER_NEVER;
    }
    uint64_t first = d->heap[0].ns;
    bool shared = second != DEADLINES_NONE &&
                  d->heap[d->places[second]].ns - first <= e->window_ns &&
                  !catches_up(&e->by_slot[d->heap[0].number]) && !catches_up(&e->by_slot[second]);
    return shared ? first + e->window_ns : first;
}

/* Commands come last: one of them may remove a timer that an event in @events points to. */
static void wake_up(struct engine_thread *e, const struct epoll_event *events, int n)
{
    bool commands = false;

    for (int i = 0; i < n; i++) {
        if (events[i].data.ptr == &e->command_fd) {
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
static void answer(struct engine_thread *e)
{
    uint64_t pinged = atomic_load_explicit(&e->pinged_ns, memory_order_relaxed);

    if (pinged != atomic_load_explicit(&e->answered_ns, memory_order_relaxed)) {
        atomic_store_explicit(&e->answer_ns, engine_clock() - pinged, memory_order_relaxed);
        atomic_store_explicit(&e->answered_ns, pinged, memory_order_release);
    }
}

int engine_sleep(int epoll_fd, struct epoll_event *events, int n, const struct timespec *timeout)
{
    return (int)syscall(SYS_epoll_pwait2, epoll_fd, events, n, timeout, NULL, 0);
}

/* Until the next deadline, or something comes before. The timeout of the call itself wakes a
 * real-time thread up sooner than a timerfd does, and at less cost. To an ordinary one's the kernel
 * adds 0.5 % at most, which is left out at first. */
static int sleep_until_next(struct engine_thread *e, struct epoll_event *events, int n)
{
    uint64_t deadline = next_wakeup(e), now = engine_clock();
    uint64_t left = deadline > now ? deadline - now : 0;

    if (e->ordinary && left > SLACK_NOTICED_NS) {
        left -= left / 128;
    }
    struct timespec timeout = {(time_t)(left / NS_PER_S), (long)(left % NS_PER_S)};
    n = engine_sleep(e->epoll_fd, events, n, deadline != TICKER_NEVER ? &timeout : NULL);
    if (n == 0 && left > 0 && (now = engine_clock()) >= deadline) {
        lateness_count(&e->wakeups, now - deadline);
    }
    return n;
}

static void forgo_slack(struct engine_thread *e)
{
    struct sched_param param;
    int policy = SCHED_OTHER;

    pthread_getschedparam(pthread_self(), &policy, &param);
    e->ordinary = policy == SCHED_OTHER;
    prctl(PR_SET_TIMERSLACK, 1); /* ns; 0 would be the default */
}

void *engine_loop(void *data)
{
    struct engine_thread *e = data;
    struct epoll_event events[64];

    forgo_slack(e);
    while (!atomic_load_explicit(&e->quit, memory_order_acquire)) {
        int n = sleep_until_next(e, events, 64);
        wake_up(e, events, n);
        serve_what_is_due(e);
        answer(e);
    }
    obey_commands(e);
    return NULL;
}
