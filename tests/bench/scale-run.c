/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The engine with many partitions: see scale-run.h. */
#include "tests/bench/scale-run.h"

#include "daemon/engine-private.h"
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#define SEED       7u
#define SETTLE_US  300000u
#define WRITES     200000u
#define NS_PER_S   1000000000u
#define PRIORITY   50
#define ENGINE_CPU 0

/* In place of a guest that takes every tick at once. */
struct loop {
    struct injector injector;
    struct engine_timer *timer;
    struct supervisor_clock clock;
    int fd;
    struct period period; /* of a base timer, that started at injector.started_ns */
    uint64_t taken;       /* of its ticks */
};

/* ---- a paced one ---- */

static bool inject(struct injector *injector, G_GNUC_UNUSED uint64_t now)
{
    return eventfd_write(((struct loop *)injector)->fd, 1) == 0;
}

static uint64_t acknowledged(struct injector *injector, G_GNUC_UNUSED uint64_t now)
{
    eventfd_t taken;

    return eventfd_read(((struct loop *)injector)->fd, &taken) == 0 ? taken : 0;
}

static void free_loop(struct injector *injector)
{
    close(((struct loop *)injector)->fd);
}

static const struct injector_ops paced_ops = {
    .name = "loop",
    .base_timer = "daemon",
    .inject = inject,
    .acknowledged = acknowledged,
    .free = free_loop,
};

/* ---- a supervised one, whose timer never fails ---- */

static uint64_t acknowledged_by_itself(struct injector *injector, uint64_t now)
{
    struct loop *loop = (struct loop *)injector;
    uint64_t ticks =
        (now - injector->started_ns) * loop->period.denominator / loop->period.numerator;
    uint64_t n = ticks - loop->taken;

    loop->taken = ticks;
    return n + acknowledged(injector, now);
}

static const struct injector_ops supervised_ops = {
    .name = "loop",
    .base_timer = "daemon",
    .inject = inject,
    .acknowledged = acknowledged_by_itself,
    .free = free_loop,
};

/* ---- the run ---- */

static void on_event(enum engine_event event, gpointer user_data)
{
    struct loop *loop = user_data;

    if (event == ENGINE_REMOVED) {
        loop->injector.ops->free(&loop->injector);
    }
}

static void raise_limits(void)
{
    struct rlimit limit;

    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static struct engine *start_engine(const struct scale_run *run)
{
    struct engine_config config = {.priority = PRIORITY,
                                   .cpu = ENGINE_CPU,
                                   .threads = run->threads,
                                   .window_us = run->window_us,
                                   .lock_memory = TRUE,
                                   .timers = run->partitions};
    g_autoptr(GError) error = NULL;

    raise_limits();
    struct engine *engine = engine_new(&config, &error);
    if (engine == NULL) {
        g_printerr("the engine can't be started: %s\n", error->message);
        exit(EXIT_FAILURE);
    }
    return engine;
}

static struct period period_of(unsigned hz)
{
    unsigned a = NS_PER_S, b = hz;

    while (b != 0) { /* the greatest common divisor */
        unsigned rest = a % b;
        a = b;
        b = rest;
    }
    return (struct period){NS_PER_S / a, hz / a};
}

static void prepare(struct loop *loop, const struct injector_ops *ops)
{
    loop->injector.ops = ops;
    loop->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->fd < 0) {
        g_printerr("an eventfd can't be had: raise the limit of open files\n");
        exit(EXIT_FAILURE);
    }
    loop->injector.ack_fd = loop->fd;
}

static void start_paced(struct engine *engine, struct loop *loops, const struct scale_run *run)
{
    static const struct ticker_policy policy = TICKER_POLICY_DEFAULT;
    struct period period = period_of(run->hz);
    g_autoptr(GRand) random = g_rand_new_with_seed(SEED);

    for (unsigned i = 0; i < run->partitions; i++) {
        struct loop *loop = &loops[i];
        prepare(loop, &paced_ops);
        loop->timer = engine_add(engine, &loop->injector, &policy, NULL, on_event, loop);
        /* phases of their own */
        gint32 phase = g_rand_int_range(random, 0, (gint32)(NS_PER_S / run->hz));
        engine_start(loop->timer, engine_clock() + (uint64_t)phase, period);
    }
}

static void start_supervised(struct engine *engine, struct loop *loops, const struct scale_run *run)
{
    static const struct ticker_policy policy = TICKER_POLICY_DEFAULT;
    struct period period = period_of(run->hz);

    for (unsigned i = 0; i < run->partitions; i++) {
        struct loop *loop = &loops[i];
        prepare(loop, &supervised_ops);
        loop->period = period;
        loop->clock = (struct supervisor_clock){
            .hz = NS_PER_S * period.denominator, .shortest = 1, .restarts = true, .quiet = true};
        loop->injector.clock = &loop->clock;
        loop->injector.traced = true;
        loop->injector.length = period.numerator;
        loop->injector.started_ns = engine_clock();
        loop->timer = engine_add(engine, &loop->injector, &policy, NULL, on_event, loop);
    }
}

/* ---- what it took ---- */

struct snapshot {
    uint64_t due, taken, injected, skipped, backlog, wakeups;
    double cpu_s, time_s;
};

static double seconds_of(clockid_t clock)
{
    struct timespec ts;

    clock_gettime(clock, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static struct snapshot snapshot(struct engine *engine, const struct loop *loops, unsigned n)
{
    struct snapshot s = {0};
    struct lateness_reading wakeups;
    clockid_t clock;

    engine_read_wakeups(engine, &wakeups);
    s.wakeups = wakeups.count;
    for (unsigned i = 0; i < engine->n_threads; i++) {
        pthread_getcpuclockid(engine->threads[i]->thread, &clock);
        s.cpu_s += seconds_of(clock);
    }
    s.time_s = seconds_of(CLOCK_MONOTONIC);
    for (unsigned i = 0; i < n; i++) {
        struct engine_reading reading;
        engine_read(loops[i].timer, &reading);
        s.due += reading.ticks.due;
        s.taken += reading.ticks.acknowledged;
        s.skipped += reading.ticks.skipped;
        s.backlog += reading.ticks.backlog;
        s.injected += reading.ticks.injected;
    }
    return s;
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static void read_lateness(const struct loop *loops, struct scale_run *run)
{
    g_autofree uint64_t *middles = g_new(uint64_t, run->partitions);

    for (unsigned i = 0; i < run->partitions; i++) {
        struct engine_reading reading;
        engine_read(loops[i].timer, &reading);
        middles[i] = reading.lateness.p50_ns;
        run->late_p99_ns = MAX(run->late_p99_ns, reading.lateness.p99_ns);
    }
    qsort(middles, run->partitions, sizeof *middles, by_size);
    run->late_p50_ns = middles[run->partitions / 2];
}

static double eventfd_write_ns(void)
{
    int fd = eventfd(0, EFD_CLOEXEC);
    double before = seconds_of(CLOCK_THREAD_CPUTIME_ID);

    for (unsigned i = 0; i < WRITES; i++) {
        eventfd_write(fd, 1);
    }
    close(fd);
    return (seconds_of(CLOCK_THREAD_CPUTIME_ID) - before) / WRITES * 1e9;
}

/* Before and behind the run: a host that is shared changes its pace. */
static void measure(struct engine *engine, struct loop *loops, struct scale_run *run)
{
    run->write_ns = eventfd_write_ns() / 2;
    g_usleep(SETTLE_US);
    struct snapshot before = snapshot(engine, loops, run->partitions);
    g_usleep((gulong)(run->seconds * G_USEC_PER_SEC));
    struct snapshot after = snapshot(engine, loops, run->partitions);
    run->write_ns += eventfd_write_ns() / 2;

    run->seconds = after.time_s - before.time_s;
    run->injected = after.injected - before.injected;
    run->due = after.due - before.due;
    run->lost = after.skipped - before.skipped;
    run->backlog = after.backlog;
    run->wakeups = after.wakeups - before.wakeups;
    run->cpu_share = (after.cpu_s - before.cpu_s) / run->seconds;
    run->taken = after.taken - before.taken;
    run->tick_ns = run->taken > 0 ? (after.cpu_s - before.cpu_s) / (double)run->taken * 1e9 : 0;
    read_lateness(loops, run);
}

void scale_run_paced(struct scale_run *run)
{
    struct engine *engine = start_engine(run);
    g_autofree struct loop *loops = g_new0(struct loop, run->partitions);

    start_paced(engine, loops, run);
    measure(engine, loops, run);
    engine_free(engine);
}

void scale_run_supervised(struct scale_run *run)
{
    struct engine *engine = start_engine(run);
    g_autofree struct loop *loops = g_new0(struct loop, run->partitions);

    start_supervised(engine, loops, run);
    measure(engine, loops, run);
    engine_free(engine);
}
