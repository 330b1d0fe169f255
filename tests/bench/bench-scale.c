/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How the cost of ticks grows with their number. The engine alone, with partitions whose ticks are
 * raised and acknowledged through an eventfd, as those of a borrowed pin are: CPU time of a tick
 * beside that of a bare eventfd write, wake-ups, ticks lost, at 1 to 4000 partitions. The same for
 * supervised ones, which are only looked at. And the memory that hvtimerd takes for each.
 */
#include "tests/bench/figures.h"
#include "tests/bench/scale-memory.h"
#include "tests/bench/scale-run.h"

#include <math.h>
#include <stdlib.h>

/* For each thread. */
#define TICKS_PER_S_MOST 1100000u

static int only;
static gboolean only_supervised;
static const unsigned partitions[] = {1, 10, 100, 1000, 4000};
/* As it is configured: a wake-up for each deadline, the default, and a second thread. */
static const struct scale_run engines[] = {
    {.threads = 1, .window_us = 0},
    {.threads = 1, .window_us = 50},
    {.threads = 2, .window_us = 50},
};
static const unsigned rates[] = {64, 1024, 2000};

/* ---- the paced ones ---- */

static void paced_row(struct figures_table *table, const struct scale_run *run)
{
    figures_number(table, run->partitions, 0);
    figures_number(table, run->hz, 0);
    figures_number(table, run->threads, 0);
    figures_number(table, run->window_us, 0);
    figures_number(table, (double)run->due / run->seconds, 0);
    figures_number(table, run->cpu_share * 100, 1);
    figures_number(table, run->tick_ns / run->write_ns, 2);
    figures_number(table, (double)run->wakeups / (double)run->taken, 3);
    figures_number(table, (double)run->late_p50_ns / 1e3, 0);
    figures_number(table, (double)run->late_p99_ns / 1e3, 0);
    figures_number(table, (double)run->lost, 0);
    figures_number(table, (double)run->backlog, 0);
}

static void bars(struct figures *f, const struct scale_run *run)
{
    g_autofree char *what = g_strdup_printf("%u partitions x %u Hz, %u threads, window %u us",
                                            run->partitions, run->hz, run->threads, run->window_us);
    g_autofree char *lost = g_strdup_printf("ticks lost, %s", what);
    g_autofree char *cost = g_strdup_printf("CPU per tick in bare eventfd writes, %s", what);

    if (run->partitions == 1000 && run->hz == 1024) {
        figures_bar(f, cost, run->tick_ns / run->write_ns, 3);
    }
    figures_bar(f, lost, (double)run->lost, 0);
}

/* What a thread can't do at all is no cost. */
static gboolean is_tried(const struct figures *f, const struct scale_run *run)
{
    if (only != 0) {
        return run->partitions == (unsigned)only && run->hz == 1024;
    }
    if (figures_quick(f)) {
        return run->hz == 1024 && run->partitions <= 1000 &&
               (run->threads == 1 || run->partitions == 1000);
    }
    return (double)run->partitions * run->hz <= TICKS_PER_S_MOST * (double)run->threads;
}

static void paced(struct figures *f, double seconds)
{
    struct figures_table *table = figures_add_table(
        f, "scale", "Paced partitions: each tick is an eventfd write, and an EOI that is heard",
        "partitions", "Hz", "threads", "window us", "ticks/s", "CPU %", "CPU/tick (eventfd writes)",
        "wake-ups/tick", "late p50 us", "late p99 us", "lost", "backlog", NULL);

    for (guint r = 0; r < G_N_ELEMENTS(rates); r++) {
        for (guint i = 0; i < G_N_ELEMENTS(partitions) * G_N_ELEMENTS(engines); i++) {
            const struct scale_run *engine = &engines[i % G_N_ELEMENTS(engines)];
            struct scale_run run = *engine;
            run.partitions = partitions[i / G_N_ELEMENTS(engines)];
            run.hz = rates[r];
            run.seconds = seconds;
            if (is_tried(f, &run)) {
                figures_say(f, "%u partitions at %u Hz, %u threads, window %u us", run.partitions,
                            run.hz, run.threads, run.window_us);
                scale_run_paced(&run);
                paced_row(table, &run);
                bars(f, &run);
            }
        }
    }
    figures_note(f, "more than %.1f million ticks a second for each thread are not tried",
                 TICKS_PER_S_MOST / 1e6);
}

/* ---- the supervised ones ---- */

static void supervised(struct figures *f, double seconds)
{
    struct figures_table *table = figures_add_table(
        f, "scale-supervised", "Supervised partitions at 1024 Hz, whose ticks come from elsewhere",
        "partitions", "CPU %", "wake-ups/s", "raised/s", "lost", NULL);

    for (guint i = 0; i < G_N_ELEMENTS(partitions); i++) {
        struct scale_run run = {.partitions = partitions[i], .hz = 1024, .seconds = seconds};
        if ((figures_quick(f) || only_supervised) && partitions[i] != 1000) {
            continue;
        }
        figures_say(f, "%u supervised partitions", partitions[i]);
        scale_run_supervised(&run);
        figures_number(table, partitions[i], 0);
        figures_number(table, run.cpu_share * 100, 2);
        figures_number(table, (double)run.wakeups / run.seconds, 0);
        figures_number(table, (double)run.injected / run.seconds, 0);
        figures_number(table, (double)run.lost, 0);
        if (partitions[i] == 1000) {
            figures_bar(f, "1000 supervised partitions, % of one CPU", run.cpu_share * 100, 2);
        }
    }
}

/* ---- memory ---- */

static void memory(struct figures *f)
{
    struct figures_table *table =
        figures_add_table(f, "scale-memory", "Memory of hvtimerd, with partitions of the model",
                          "partitions", "RSS KiB", "bar KiB", NULL);

    for (guint i = 0; i < G_N_ELEMENTS(partitions); i++) {
        if ((figures_quick(f) || only_supervised) && partitions[i] != 1000) {
            continue;
        }
        figures_say(f, "hvtimerd with %u partitions", partitions[i]);
        double kib = scale_memory_kib(partitions[i]);
        double bar = 32 * 1024 + 4.0 * partitions[i];
        g_autofree char *what =
            g_strdup_printf("RSS with %u partitions, of 32 MiB + 4 KiB each", partitions[i]);
        figures_number(table, partitions[i], 0);
        figures_number(table, kib, 0);
        figures_number(table, bar, 0);
        figures_bar(f, what, kib / bar, 1);
    }
}

static const GOptionEntry options[] = {
    {"partitions", 0, 0, G_OPTION_ARG_INT, &only, "Only so many of them, paced, at 1024 Hz", "N"},
    {"supervised", 0, 0, G_OPTION_ARG_NONE, &only_supervised, "Only the supervised ones", NULL},
    G_OPTION_ENTRY_NULL,
};

int main(int argc, char **argv)
{
    struct figures *f =
        figures_new("scale", "what partitions cost, from 1 to 4000", options, argc, argv);
    double seconds = figures_quick(f) ? 1 : 3;

    if (!only_supervised) {
        paced(f, seconds);
    }
    if (only == 0) {
        supervised(f, seconds);
    }
    if (only == 0 && !only_supervised) {
        memory(f);
    }
    return figures_finish(f);
}
