/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The life of one of the engine's threads, as the main loop starts and ends it. */
#include "daemon/engine-private.h"

#include <errno.h>
#include <gio/gio.h>
#include <glib-unix.h>
#include <limits.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* The loop needs a few KiB; the default of 8 MiB would all be locked. */
#define STACK_SIZE (256 * 1024)

void engine_thread_ping(struct engine_thread *e)
{
    atomic_store_explicit(&e->pinged_ns, engine_clock(), memory_order_relaxed);
    eventfd_write(e->command_fd, 1);
}

static gboolean on_events(gint fd, G_GNUC_UNUSED GIOCondition condition, gpointer user_data)
{
    eventfd_t ignored;

    eventfd_read(fd, &ignored);
    engine_drain_events(user_data);
    return G_SOURCE_CONTINUE;
}

static int create_thread(struct engine_thread *e, int priority, int cpu)
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
static int start_thread(struct engine_thread *e, int priority, int cpu)
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

static gboolean watch(struct engine_thread *e, int *fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = fd};

    return *fd >= 0 && epoll_ctl(e->epoll_fd, EPOLL_CTL_ADD, *fd, &event) == 0;
}

static gboolean can_sleep(struct engine_thread *e)
{
    struct epoll_event event;
    const struct timespec none = {0};

    return engine_sleep(e->epoll_fd, &event, 1, &none) >= 0;
}

static gboolean open_descriptors(struct engine_thread *e)
{
    e->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    e->ack_epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    e->command_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    e->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return e->epoll_fd >= 0 && e->ack_epoll_fd >= 0 && e->event_fd >= 0 &&
           watch(e, &e->command_fd, EPOLLIN) && can_sleep(e);
}

void engine_thread_free(struct engine_thread *e)
{
    int fds[] = {e->epoll_fd, e->ack_epoll_fd, e->command_fd, e->event_fd};

    for (unsigned i = 0; i < G_N_ELEMENTS(fds); i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    g_free(e->events);
    g_free(e->by_slot);
    deadlines_clear(&e->deadlines);
    g_free(e);
}

static uint32_t power_of_two_from(uint32_t n)
{
    return n <= 1 ? 1 : 1u << (32 - __builtin_clz(n - 1));
}

static gboolean run(struct engine_thread *e, int priority, int cpu, GError **error)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the main loop's */
    int result = start_thread(e, priority, cpu);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (result != 0) {
        g_set_error(error, G_IO_ERROR, (gint)g_io_error_from_errno(result),
                    "the engine's thread can't be started: %s", g_strerror(result));
        return FALSE;
    }
    pthread_setname_np(e->thread, "hvt-engine");
    return TRUE;
}

struct engine_thread *engine_thread_new(struct engine *engine, const struct engine_config *config,
                                        int cpu, GError **error)
{
    struct engine_thread *e = g_new0(struct engine_thread, 1);

    e->engine = engine;
    e->capacity = config->timers;
    e->window_ns = config->window_us * UINT64_C(1000);
    e->ticks = engine->ticks;
    deadlines_init(&e->deadlines, config->timers);
    e->by_slot = g_new0(struct by_slot, config->timers);
    e->command_ring.size = COMMANDS;
    e->event_ring.size = power_of_two_from(4 * config->timers);
    e->events = g_new0(struct event, e->event_ring.size);
    e->epoll_fd = e->ack_epoll_fd = e->command_fd = e->event_fd = -1;
    if (!open_descriptors(e)) {
        g_set_error(error, G_IO_ERROR, (gint)g_io_error_from_errno(errno),
                    "the engine's descriptors can't be opened, which takes Linux 5.11: %s",
                    g_strerror(errno));
        engine_thread_free(e);
        return NULL;
    }
    if (!run(e, config->priority, cpu, error)) {
        engine_thread_free(e);
        return NULL;
    }
    e->event_source = g_unix_fd_add(e->event_fd, G_IO_IN, on_events, e);
    return e;
}

void engine_thread_join(struct engine_thread *e)
{
    atomic_store_explicit(&e->quit, true, memory_order_release);
    engine_thread_ping(e);
    pthread_join(e->thread, NULL);
    g_source_remove(e->event_source);
}
