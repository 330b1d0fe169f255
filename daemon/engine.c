/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The engine as the main loop sees it: its life, commands to it, events from it, its figures. */
#include "daemon/engine-private.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>

/* How long the engine may leave a full queue of commands unread before it counts as dead. */
#define DEAD_AFTER_US (2 * G_USEC_PER_SEC)

uint64_t engine_clock(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* ---- commands ---- */

static void post(struct engine_timer *timer, const struct command *command)
{
    struct engine_thread *e = timer->thread;
    gint64 deadline = g_get_monotonic_time() + DEAD_AFTER_US;

    while (ring_room(&e->command_ring) == 0) {
        if (g_get_monotonic_time() > deadline) {
            g_error("the engine does not answer"); /* aborts; the service manager restarts us */
        }
        sched_yield();
    }
    e->commands[ring_write_index(&e->command_ring)] = *command;
    ring_publish(&e->command_ring);
    eventfd_write(e->command_fd, 1);
}

static void post_simple(struct engine_timer *timer, enum command_kind kind)
{
    post(timer, &(struct command){.kind = kind, .timer = timer});
}

static struct supervisor *new_supervisor(const struct engine_timer *timer,
                                         const struct ticker_policy *policy,
                                         const struct engine_past *past)
{
    struct supervisor *s = g_new(struct supervisor, 1);
    const struct injector *injector = timer->injector;
    uint64_t now = engine_clock();

    supervisor_init(s, injector->clock, policy, injector->traced, now);
    if (past != NULL) {
        supervisor_resume(s, &timer->now.ticker.counts, past->period);
    }
    if (injector->started_ns != 0) {
        supervisor_start(s, injector->clock, injector->length, injector->started_ns, now, 0);
        if (past != NULL && past->since_ns != 0) {
            supervisor_owe(s, past->since_ns);
        }
    } else if (injector->length != 0) {
        supervisor_set_rate(s, now, injector->length, LEARNED_STATE);
    }
    return s;
}

/* The one that has the fewest. */
static struct engine_thread *choose_thread(struct engine *engine)
{
    struct engine_thread *chosen = engine->threads[0];

    for (unsigned i = 1; i < engine->n_threads; i++) {
        if (engine->threads[i]->timers < chosen->timers) {
            chosen = engine->threads[i];
        }
    }
    chosen->timers++;
    return chosen;
}

struct engine_timer *engine_add(struct engine *engine, struct injector *injector,
                                const struct ticker_policy *policy, const struct engine_past *past,
                                engine_event_func event, gpointer user_data)
{
    if (engine->timers == engine->capacity) {
        return NULL;
    }
    struct engine_timer *timer = g_new0(struct engine_timer, 1);
    timer->injector = injector;
    timer->thread = choose_thread(engine);
    timer->event = event;
    timer->user_data = user_data;
    timer->patience_ns = ENGINE_PATIENCE_NS;
    ticker_init(&timer->now.ticker, policy, injector->ops->acknowledged != NULL,
                injector->feedback_timeout_ns);
    if (past != NULL) {
        timer->now.ticker.counts = past->counts;
        timer->now.ticker.unanswered_ns = engine_clock();
        if (!injector->tick_in_flight) {
            ticker_assume_taken(&timer->now.ticker);
        }
    }
    if (injector->clock != NULL) {
        timer->supervisor = new_supervisor(timer, policy, past);
    }
    timer->started_ns = injector->started_ns;
    timer->slot_number = engine->free_slots[engine->next_slot];
    engine->next_slot = (engine->next_slot + 1) % engine->capacity;
    engine->timers++;
    timer->slot = ticks_file_slot(engine->ticks, timer->slot_number);
    ticks_slot_write(timer->slot, &timer->now);
    post_simple(timer, COMMAND_ADD);
    return timer;
}

void engine_remove(struct engine_timer *timer)
{
    post_simple(timer, COMMAND_REMOVE);
}

void engine_start(struct engine_timer *timer, uint64_t now, struct period period)
{
    post(timer,
         &(struct command){.kind = COMMAND_START, .timer = timer, .now = now, .period = period});
}

void engine_stop(struct engine_timer *timer)
{
    post_simple(timer, COMMAND_STOP);
}

void engine_freeze(struct engine_timer *timer)
{
    post_simple(timer, COMMAND_FREEZE);
}

void engine_thaw(struct engine_timer *timer)
{
    post_simple(timer, COMMAND_THAW);
}

void engine_guest_reset(struct engine_timer *timer)
{
    post_simple(timer, COMMAND_GUEST_RESET);
}

void engine_reset_backlog(struct engine_timer *timer)
{
    post_simple(timer, COMMAND_RESET_BACKLOG);
}

void engine_set_policy(struct engine_timer *timer, const struct ticker_policy *policy)
{
    post(timer, &(struct command){.kind = COMMAND_SET_POLICY, .timer = timer, .policy = *policy});
}

void engine_hold(struct engine_timer *timer)
{
    post_simple(timer, COMMAND_HOLD);
}

void engine_release(struct engine_timer *timer, unsigned unseen)
{
    const struct injector *injector = timer->injector;
    struct command command = {.kind = COMMAND_RELEASE, .timer = timer, .unseen = unseen};

    if (injector->started_ns != timer->started_ns) {
        timer->started_ns = injector->started_ns;
        command.restarted = true;
        command.clock = *injector->clock;
        command.length = injector->length;
        command.started_ns = injector->started_ns;
    }
    post(timer, &command);
}

unsigned engine_slot(const struct engine_timer *timer)
{
    return timer->slot_number;
}

unsigned engine_timers(const struct engine *engine)
{
    return engine->timers;
}

void engine_ping(struct engine *engine)
{
    for (unsigned i = 0; i < engine->n_threads; i++) {
        engine_thread_ping(engine->threads[i]);
    }
}

static uint64_t answer_ns(struct engine_thread *e)
{
    uint64_t answered = atomic_load_explicit(&e->answered_ns, memory_order_acquire);

    return answered != 0 && answered == atomic_load_explicit(&e->pinged_ns, memory_order_relaxed)
               ? atomic_load_explicit(&e->answer_ns, memory_order_relaxed)
               : ENGINE_NO_ANSWER;
}

uint64_t engine_answer_ns(struct engine *engine)
{
    uint64_t slowest = 0;

    for (unsigned i = 0; i < engine->n_threads; i++) {
        slowest = MAX(slowest, answer_ns(engine->threads[i]));
    }
    return slowest;
}

/* ---- figures ---- */

void engine_read_wakeups(struct engine *engine, struct lateness_reading *ret_reading)
{
    struct lateness all = {0};

    for (unsigned i = 0; i < engine->n_threads; i++) {
        lateness_add(&all, &engine->threads[i]->wakeups);
    }
    lateness_read(&all, ret_reading);
}

void engine_read(struct engine_timer *timer, struct engine_reading *ret_reading)
{
    struct published published;
    uint64_t now;

    if (!ticks_slot_read(timer->slot, engine_clock, &published, &now)) {
        g_error("the engine does not answer"); /* aborts; the service manager restarts us */
    }
    /* A timer that waits for the guest is not looked at as its ticks fall due: do it here, on the
     * copy. Otherwise the engine will, and must not be anticipated. */
    if (published.unwatched) {
        ticker_advance(&published.ticker, now);
    }
    ret_reading->ticks = published.ticker.counts;
    ret_reading->behind_ns = ticker_behind_ns(&published.ticker.counts, published.ticker.period);
    ret_reading->closed_loop = published.ticker.closed_loop;
    ret_reading->began_ns = published.ticker.next_ns > published.ticker.step_ns
                                ? published.ticker.next_ns - published.ticker.step_ns
                                : 0;
    ret_reading->period = published.ticker.period;
    ret_reading->learned = (enum supervisor_learned)published.learned;
    ret_reading->polls = published.polls != 0;
    lateness_read(&timer->lateness, &ret_reading->lateness);
}

/* ---- events ---- */

static void dispatch(struct engine_thread *e, const struct event *event)
{
    struct engine_timer *timer = event->timer;
    struct engine *engine = e->engine;

    timer->event(event->kind, timer->user_data);
    if (event->kind == ENGINE_REMOVED) {
        unsigned end = engine->next_slot + engine->capacity - engine->timers;
        engine->free_slots[end % engine->capacity] = timer->slot_number;
        engine->timers--;
        e->timers--;
        g_free(timer->supervisor);
        g_free(timer);
    }
}

void engine_drain_events(struct engine_thread *e)
{
    uint32_t index;

    while (ring_read_index(&e->event_ring, &index)) {
        struct event event = e->events[index];
        ring_consume(&e->event_ring);
        dispatch(e, &event);
    }
}

/* ---- life ---- */

/* Only what is touched is locked (MCL_ONFAULT): the stacks of GLib's threads are large. */
static void lock_memory(void)
{
    if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0) {
        g_warning("memory can't be locked (%s), so ticks may be late when the host swaps: "
                  "grant CAP_IPC_LOCK or raise LimitMEMLOCK",
                  g_strerror(errno));
    }
}

static gboolean start_threads(struct engine *engine, const struct engine_config *config,
                              GError **error)
{
    unsigned n = CLAMP(config->threads, 1, ENGINE_THREADS_MAX);

    for (unsigned i = 0; i < n; i++) {
        int cpu = config->cpu >= 0 ? config->cpu + (int)i : -1;
        engine->threads[i] = engine_thread_new(engine, config, cpu, error);
        if (engine->threads[i] == NULL) {
            return FALSE;
        }
        engine->n_threads++;
    }
    return TRUE;
}

struct engine *engine_new(const struct engine_config *config, GError **error)
{
    struct engine *engine = g_new0(struct engine, 1);

    engine->capacity = config->timers;
    engine->free_slots = g_new(unsigned, config->timers);
    for (unsigned i = 0; i < config->timers; i++) {
        engine->free_slots[i] = i;
    }
    engine->ticks = ticks_file_new(config->ticks_file, config->timers, error);
    if (engine->ticks != NULL && config->lock_memory) {
        lock_memory();
    }
    if (engine->ticks == NULL || !start_threads(engine, config, error)) {
        engine_free(engine);
        return NULL;
    }
    return engine;
}

static void remove_all(struct engine_thread *e)
{
    engine_drain_events(e);
    for (unsigned i = 0; i < e->deadlines.size; i++) {
        struct engine_timer *timer = e->by_slot[e->deadlines.heap[i].number].timer;
        dispatch(e, &(struct event){ENGINE_REMOVED, timer});
    }
}

void engine_free(struct engine *engine)
{
    if (engine == NULL) {
        return;
    }
    for (unsigned i = 0; i < engine->n_threads; i++) {
        engine_thread_join(engine->threads[i]);
        remove_all(engine->threads[i]);
        engine_thread_free(engine->threads[i]);
    }
    g_clear_pointer(&engine->ticks, ticks_file_free);
    g_free(engine->free_slots);
    g_free(engine);
}
