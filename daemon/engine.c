/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The engine as the main loop sees it: its life, commands to it, events from it, its figures. */
#include "daemon/engine-private.h"

#include <errno.h>
#include <gio/gio.h>
#include <glib-unix.h>
#include <limits.h>
#include <sched.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

/* The loop needs a few KiB; the default of 8 MiB would all be locked. */
#define STACK_SIZE (256 * 1024)
/* How long the engine may leave a full queue of commands unread before it counts as dead. */
#define DEAD_AFTER_US (2 * G_USEC_PER_SEC)

uint64_t engine_clock(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* ---- commands ---- */

static void post(struct engine *e, const struct command *command)
{
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
    post(timer->engine, &(struct command){.kind = kind, .timer = timer});
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

struct engine_timer *engine_add(struct engine *engine, struct injector *injector,
                                const struct ticker_policy *policy, const struct engine_past *past,
                                engine_event_func event, gpointer user_data)
{
    if (engine->timers == engine->capacity) {
        return NULL;
    }
    struct engine_timer *timer = g_new0(struct engine_timer, 1);
    timer->injector = injector;
    timer->engine = engine;
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
    timer->slot_number = engine->free_slots[engine->capacity - ++engine->timers];
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
    post(timer->engine,
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
    post(timer->engine,
         &(struct command){.kind = COMMAND_SET_POLICY, .timer = timer, .policy = *policy});
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
    post(timer->engine, &command);
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
    atomic_store_explicit(&engine->pinged_ns, engine_clock(), memory_order_relaxed);
    eventfd_write(engine->command_fd, 1);
}

uint64_t engine_answer_ns(struct engine *engine)
{
    uint64_t answered = atomic_load_explicit(&engine->answered_ns, memory_order_acquire);

    return answered != 0 &&
                   answered == atomic_load_explicit(&engine->pinged_ns, memory_order_relaxed)
               ? atomic_load_explicit(&engine->answer_ns, memory_order_relaxed)
               : ENGINE_NO_ANSWER;
}

/* ---- figures ---- */

void engine_read_wakeups(struct engine *engine, struct lateness_reading *ret_reading)
{
    lateness_read(&engine->wakeups, ret_reading);
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

static void dispatch(struct engine *e, const struct event *event)
{
    struct engine_timer *timer = event->timer;

    timer->event(event->kind, timer->user_data);
    if (event->kind == ENGINE_REMOVED) {
        e->free_slots[e->capacity - e->timers--] = timer->slot_number;
        g_free(timer->supervisor);
        g_free(timer);
    }
}

static void drain_events(struct engine *e)
{
    uint32_t index;

    while (ring_read_index(&e->event_ring, &index)) {
        struct event event = e->events[index];
        ring_consume(&e->event_ring);
        dispatch(e, &event);
    }
}

static gboolean on_events(gint fd, G_GNUC_UNUSED GIOCondition condition, gpointer user_data)
{
    eventfd_t ignored;

    eventfd_read(fd, &ignored);
    drain_events(user_data);
    return G_SOURCE_CONTINUE;
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

static int create_thread(struct engine *e, int priority, int cpu)
{
    pthread_attr_t attr;
    struct sched_param param = {.sched_priority = priority};
    cpu_set_t cpus;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_SIZE);
    if (priority > 0) {
        pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);
        pthread_attr_setschedpolicy(&attr, SCHED_FIFO);
        pthread_attr_setschedparam(&attr, &param);
    }
    if (cpu >= 0) {
        CPU_ZERO(&cpus);
        CPU_SET((size_t)cpu, &cpus);
        pthread_attr_setaffinity_np(&attr, sizeof cpus, &cpus);
    }
    int result = pthread_create(&e->thread, &attr, engine_loop, e);
    pthread_attr_destroy(&attr);
    return result;
}

/* Tries what was asked for, then without the CPU, then without real-time priority. */
static int start_thread(struct engine *e, int priority, int cpu)
{
    int result = create_thread(e, priority, cpu);

    if (result == EINVAL && cpu >= 0) {
        g_warning("the engine can't run on CPU %d (not there, or not allowed): it runs on any; "
                  "set engine.cpu to a CPU of this host",
                  cpu);
        cpu = -1;
        result = create_thread(e, priority, cpu);
    }
    if (result == EPERM && priority > 0) {
        g_warning("SCHED_FIFO priority %d is not allowed, so ticks will be late when the host is "
                  "busy: grant CAP_SYS_NICE or raise LimitRTPRIO",
                  priority);
        result = create_thread(e, 0, cpu);
    }
    return result;
}

static gboolean watch(struct engine *e, int *fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = fd};

    return *fd >= 0 && epoll_ctl(e->epoll_fd, EPOLL_CTL_ADD, *fd, &event) == 0;
}

static gboolean open_descriptors(struct engine *e)
{
    e->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    e->ack_epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    e->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    e->command_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    e->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return e->epoll_fd >= 0 && e->ack_epoll_fd >= 0 && e->event_fd >= 0 &&
           watch(e, &e->timer_fd, EPOLLIN | EPOLLET) && /* never read: each expiry is an edge */
           watch(e, &e->command_fd, EPOLLIN);
}

static void free_engine(struct engine *e)
{
    int fds[] = {e->epoll_fd, e->ack_epoll_fd, e->timer_fd, e->command_fd, e->event_fd};

    for (unsigned i = 0; i < G_N_ELEMENTS(fds); i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    ticks_file_free(e->ticks);
    g_free(e->free_slots);
    g_free(e->events);
    g_free(e->by_slot);
    deadlines_clear(&e->deadlines);
    g_free(e);
}

static uint32_t power_of_two_from(uint32_t n)
{
    return n <= 1 ? 1 : 1u << (32 - __builtin_clz(n - 1));
}

struct engine *engine_new(const struct engine_config *config, GError **error)
{
    struct engine *e = g_new0(struct engine, 1);
    sigset_t all, before;

    e->capacity = config->timers;
    e->window_ns = config->window_us * UINT64_C(1000);
    deadlines_init(&e->deadlines, config->timers);
    e->by_slot = g_new0(struct by_slot, config->timers);
    e->command_ring.size = COMMANDS;
    e->event_ring.size = power_of_two_from(4 * config->timers);
    e->events = g_new0(struct event, e->event_ring.size);
    e->armed = TICKER_NEVER;
    e->free_slots = g_new(unsigned, config->timers);
    for (unsigned i = 0; i < config->timers; i++) {
        e->free_slots[i] = config->timers - 1 - i;
    }
    e->ticks = ticks_file_new(config->ticks_file, config->timers, error);
    e->epoll_fd = e->ack_epoll_fd = e->timer_fd = e->command_fd = e->event_fd = -1;
    if (e->ticks == NULL) {
        free_engine(e);
        return NULL;
    }
    if (!open_descriptors(e)) {
        g_set_error(error, G_IO_ERROR, (gint)g_io_error_from_errno(errno),
                    "the engine's descriptors can't be opened: %s", g_strerror(errno));
        free_engine(e);
        return NULL;
    }
    if (config->lock_memory) {
        lock_memory();
    }
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the main loop's */
    int result = start_thread(e, config->priority, config->cpu);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (result != 0) {
        g_set_error(error, G_IO_ERROR, (gint)g_io_error_from_errno(result),
                    "the engine's thread can't be started: %s", g_strerror(result));
        free_engine(e);
        return NULL;
    }
    pthread_setname_np(e->thread, "hvt-engine");
    e->event_source = g_unix_fd_add(e->event_fd, G_IO_IN, on_events, e);
    return e;
}

void engine_free(struct engine *engine)
{
    if (engine == NULL) {
        return;
    }
    atomic_store_explicit(&engine->quit, true, memory_order_release);
    engine_ping(engine);
    pthread_join(engine->thread, NULL);
    g_source_remove(engine->event_source);
    drain_events(engine);
    for (unsigned i = 0; i < engine->deadlines.size; i++) {
        struct engine_timer *timer = engine->by_slot[engine->deadlines.heap[i].number].timer;
        dispatch(engine, &(struct event){ENGINE_REMOVED, timer});
    }
    free_engine(engine);
}
