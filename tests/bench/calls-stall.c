/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A real QEMU is attached to, and let go of, many times over: for how long it stood still, as
 * hvtimer-attach has measured it, from its first thread that stops to the last that goes on. This
 * is what `status` shows as attach_stall_us.
 */
#include "tests/bench/calls.h"

#include "daemon/injectors/lapic.h"
#include "tests/bench/load.h"
#include "tests/bench/samples.h"
#include "tests/integration/attach-run.h"
#include "tests/integration/qemu.h"
#include "tests/support/libvirt-machine.h"
#include <math.h>

#define VECTOR    0x50u
#define PERIOD_NS 1000000u

/* What a VM may stand still for. */
#define STALL_LIMIT_US 300.0

/* In a row; then it is no bad luck. */
#define FAILURES_MAX 5

struct series {
    const char *name, *load;
    GArray *came, *went; /* double, us */
    char *problem;       /* NULL: none */
};

/* ---- attaching ---- */

static void keep(GArray *stalls, const struct attach_result *result)
{
    double us = (double)result->stall_ns / 1000;

    g_array_append_val(stalls, us);
}

/* As the daemon's injectors ask for it. */
static gboolean come_and_go(const struct machine *machine, gboolean lease, struct series *series,
                            GError **error)
{
    struct attach_job borrow = {.kind = ATTACH_BORROW,
                                .pid = machine->pid,
                                .pin = ATTACH_PIN_ANY,
                                .edge = pin_edges_are_heard(),
                                .entry = VECTOR};

    if (lease) {
        borrow.period = (struct period){PERIOD_NS, 1};
    }
    g_autoptr(AttachResult) held = attach_run(&borrow, error);
    if (held == NULL) {
        return FALSE;
    }
    struct attach_job back = {.kind = ATTACH_RETURN,
                              .pid = machine->pid,
                              .pin = held->pin,
                              .entry = held->old_entry,
                              .expected = VECTOR,
                              .leased = held->leased,
                              .lease = held->lease};
    keep(series->came, held);
    g_autoptr(AttachResult) returned = attach_run(&back, error);
    if (returned != NULL) {
        keep(series->went, returned);
    }
    return returned != NULL;
}

static void run_series(const struct machine *machine, gboolean lease, unsigned count,
                       double seconds, struct series *series)
{
    gint64 deadline = g_get_monotonic_time() + (gint64)(seconds * G_USEC_PER_SEC);
    unsigned failures = 0;

    for (unsigned i = 0; i < count && g_get_monotonic_time() < deadline; i++) {
        g_autoptr(GError) error = NULL;

        if (come_and_go(machine, lease, series, &error)) {
            failures = 0;
        } else if (++failures == FAILURES_MAX) {
            series->problem = g_strdup(error->message);
            return;
        }
    }
}

/* ---- what came of it ---- */

struct stall_bench {
    struct figures *figures;
    struct figures_table *table, *plot;
};

static double show(const struct stall_bench *bench, const struct series *series, const char *which,
                   GArray *stalls)
{
    g_autofree char *what = g_strdup_printf("%s, %s", series->name, which);
    g_autofree char *curve = g_strdup_printf("%s, %s", what, series->load);

    samples_sort(stalls);
    figures_text(bench->table, what);
    figures_text(bench->table, series->load);
    figures_number(bench->table, stalls->len, 0);
    figures_number(bench->table, samples_percentile(stalls, 0.5), 0);
    figures_number(bench->table, samples_percentile(stalls, 0.9), 0);
    figures_number(bench->table, samples_percentile(stalls, 0.99), 0);
    figures_number(bench->table, samples_percentile(stalls, 1), 0);
    for (guint i = 0; i < stalls->len; i++) {
        figures_text(bench->plot, curve);
        figures_number(bench->plot, g_array_index(stalls, double, i), 1);
        figures_number(bench->plot, 100.0 * (i + 1) / stalls->len, 2);
    }
    return samples_percentile(stalls, 0.5);
}

static void measure(const struct stall_bench *bench, const struct machine *machine, gboolean lease,
                    gboolean busy)
{
    gboolean quick = figures_quick(bench->figures);
    struct series series = {.name = lease ? "lapic" : "pin",
                            .load = busy ? "every CPU busy" : "idle",
                            .came = g_array_new(FALSE, FALSE, sizeof(double)),
                            .went = g_array_new(FALSE, FALSE, sizeof(double))};
    struct load *load = NULL;
    double p50 = NAN;

    figures_say(bench->figures, "attaching, %s, %s", series.name, series.load);
    if (busy) {
        load = load_start();
    }
    if (machine != NULL) {
        run_series(machine, lease, quick ? 50 : 300, quick ? 1.5 : 12, &series);
    }
    load_stop(load);
    p50 = show(bench, &series, "attach", series.came);
    show(bench, &series, "return", series.went);
    if (series.problem != NULL) {
        figures_note(bench->figures, "%s, %s: ended early: %s", series.name, series.load,
                     series.problem);
    }
    if (!busy) {
        g_autofree char *what =
            g_strdup_printf("an attach's stall (p50, idle host), of 300 us: %s", series.name);
        figures_bar(bench->figures, what, p50 / STALL_LIMIT_US, 1);
    }
    g_free(series.problem);
    g_array_unref(series.came);
    g_array_unref(series.went);
}

void calls_measure_stalls(struct figures *figures)
{
    struct stall_bench bench = {.figures = figures};
    struct machine_options options = {.name = "bench-calls"};
    struct machine machine;
    const char *problem = qemu_problem();

    bench.table = figures_add_table(figures, "stall", "How long a VM stands still", "what", "load",
                                    "count", "p50 us", "p90 us", "p99 us", "max us", NULL);
    bench.plot =
        figures_add_table(figures, "stalls", "Stalls, cumulated", "series", "us", "percent", NULL);
    figures_hide(bench.plot);
    if (problem != NULL) {
        figures_note(figures, "No VM was attached to: %s", problem);
    } else {
        machine_spawn(&machine, &options);
    }
    for (int busy = FALSE; busy <= !figures_quick(figures); busy++) {
        for (int lease = FALSE; lease <= TRUE; lease++) {
            measure(&bench, problem == NULL ? &machine : NULL, lease, busy);
        }
    }
    if (problem == NULL) {
        machine_down(&machine);
    }
}
