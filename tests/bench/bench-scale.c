/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The engine alone: many model partitions at 1024 Hz on one CPU. Prints ticks due, taken and lost,
 * lateness, and the CPU time that a tick costs beside that of a bare eventfd write, measured in the
 * same run. Exits with 1 if a tick was lost.
 *
 *     bench-engine [PARTITIONS [SECONDS]]
 */
#include "daemon/engine.h"
#include "daemon/injectors/model.h"

#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

struct partition_run {
    struct engine_timer *timer;
    struct injector *model;
};

static void on_event(enum engine_event event, gpointer user_data)
{
    struct partition_run *run = user_data;

    if (event == ENGINE_REMOVED) {
        run->model->ops->free(run->model);
    }
}

static double cpu_seconds(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static double eventfd_write_ns(void)
{
    enum { WRITES = 1000000 };
    int fd = eventfd(0, EFD_CLOEXEC);
    double before = cpu_seconds();

    for (int i = 0; i < WRITES; i++) {
        eventfd_write(fd, 1);
    }
    close(fd);
    return (cpu_seconds() - before) / WRITES * 1e9;
}

static gboolean quit(gpointer loop)
{
    g_main_loop_quit(loop);
    return G_SOURCE_REMOVE;
}

static void wait_seconds(unsigned seconds)
{
    g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);

    g_timeout_add_seconds(seconds, quit, loop);
    g_main_loop_run(loop);
}

struct totals {
    uint64_t due, taken, left_out, late_p99_max_ns;
};

/* What is in the backlog or in flight at the stop was not taken, but not lost either. */
static void add_up(struct totals *totals, struct partition_run *run)
{
    struct engine_reading reading;

    engine_read(run->timer, &reading);
    totals->due += reading.ticks.due;
    totals->left_out += reading.ticks.backlog + reading.ticks.in_flight;
    totals->taken += injector_model_taken(run->model);
    totals->late_p99_max_ns = MAX(totals->late_p99_max_ns, reading.lateness.p99_ns);
}

static struct engine *start(struct partition_run *runs, unsigned n)
{
    static const struct ticker_policy policy = TICKER_POLICY_DEFAULT;
    struct engine_config config = {.priority = 50, .cpu = 0, .lock_memory = TRUE, .timers = n};
    struct period period = {1953125, 2}; /* 1/1024 s */
    g_autoptr(GError) error = NULL;
    struct engine *engine = engine_new(&config, &error);

    if (engine == NULL) {
        g_printerr("bench-engine: %s\n", error->message);
        exit(EXIT_FAILURE);
    }
    for (unsigned i = 0; i < n; i++) {
        runs[i].model = injector_model_new();
        runs[i].timer = engine_add(engine, runs[i].model, &policy, NULL, on_event, &runs[i]);
        engine_start(runs[i].timer, engine_clock(), period);
        g_usleep((gulong)g_random_int_range(0, 20)); /* phases of their own */
    }
    return engine;
}

int main(int argc, char **argv)
{
    unsigned n = argc > 1 ? (unsigned)atoi(argv[1]) : 1000;
    unsigned seconds = argc > 2 ? (unsigned)atoi(argv[2]) : 10;
    g_autofree struct partition_run *runs = g_new0(struct partition_run, n);
    struct totals totals = {0};
    double write_ns = eventfd_write_ns();
    double before = cpu_seconds();
    struct engine *engine = start(runs, n);

    wait_seconds(seconds);
    double used = cpu_seconds() - before;
    for (unsigned i = 0; i < n; i++) {
        add_up(&totals, &runs[i]);
    }
    uint64_t taken = totals.taken + totals.left_out;
    uint64_t lost = totals.due > taken ? totals.due - taken : 0;
    g_print("partitions         %u at 1024 Hz for %u s, on CPU 0\n", n, seconds);
    g_print("ticks due          %" G_GUINT64_FORMAT "\n", totals.due);
    g_print("ticks lost         %" G_GUINT64_FORMAT "\n", lost);
    g_print("lateness p99       %.0f us (the worst partition's)\n",
            (double)totals.late_p99_max_ns / 1e3);
    g_print("CPU                %.0f %% of one\n", used / seconds * 100);
    g_print("CPU per tick       %.0f ns\n", used / (double)totals.due * 1e9);
    g_print("an eventfd write   %.0f ns\n", write_ns);
    engine_free(engine);
    return lost == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
