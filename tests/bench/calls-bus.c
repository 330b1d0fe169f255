/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Round trips of property calls by libhvapi, and of pings, in turns; their order within a round is
 * drawn by lot, so that what a call leaves to be done behind its reply falls on all of them alike.
 */
#include "tests/bench/calls.h"

#include "tests/bench/samples.h"
#include "tests/support/fixture.h"
#include <hvapi/hvapi.h>
#include <math.h>
#include <time.h>

/* A model's name, as its configuration wants it: short, so that thousands fit in. */
#define MODEL "m%u"

/* In units of 100 ns. It ticks meanwhile, slowly. */
#define PERIOD  UINT64_C(100000)
#define CONTROL UINT64_C(0x1050)

/* A property call may cost half a ping more than a ping: there is a thread more on its way, as GIO
 * answers pings before the daemon's main loop sees them. */
#define SET_LIMIT 1.5

struct bus_bench {
    struct figures *figures;
    struct figures_table *table;
    struct fixture fixture;
    HV_PARTITION_ID id;
    unsigned round;
    HV_STATUS status; /* the first that was no success */
};

/* ---- the calls ---- */

static void ping(struct bus_bench *bench, const char *name, const char *path)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GVariant) reply = g_dbus_connection_call_sync(
        bench->fixture.connection, name, path, "org.freedesktop.DBus.Peer", "Ping", NULL,
        G_VARIANT_TYPE_UNIT, G_DBUS_CALL_FLAGS_NONE, -1, NULL, &error);

    g_assert_no_error(error);
}

static void ping_daemon(struct bus_bench *bench)
{
    ping(bench, "org.hvtimer1", "/org/hvtimer1");
}

static void ping_bus(struct bus_bench *bench)
{
    ping(bench, "org.freedesktop.DBus", "/org/freedesktop/DBus");
}

static void keep_status(struct bus_bench *bench, HV_STATUS status)
{
    if (bench->status == HV_STATUS_SUCCESS) {
        bench->status = status;
    }
}

static void get_period(struct bus_bench *bench)
{
    HV_PARTITION_PROPERTY value;

    keep_status(bench,
                HvGetPartitionProperty(bench->id, HvPartitionPropertyEmulatedTimerPeriod, &value));
}

static void set_period(struct bus_bench *bench)
{
    keep_status(bench, HvSetPartitionProperty(bench->id, HvPartitionPropertyEmulatedTimerPeriod,
                                              PERIOD + bench->round % 2));
}

static void set_control(struct bus_bench *bench)
{
    keep_status(bench, HvSetPartitionProperty(bench->id, HvPartitionPropertyEmulatedTimerControl,
                                              CONTROL + bench->round % 2));
}

enum { PING, PING_BUS, GET_PERIOD, SET_PERIOD, SET_CONTROL, N_CALLS };

static const struct {
    const char *name;
    void (*call)(struct bus_bench *bench);
} calls[N_CALLS] = {
    [PING] = {"Ping of hvtimerd", ping_daemon},
    [PING_BUS] = {"Ping of the bus", ping_bus},
    [GET_PERIOD] = {"HvGetPartitionProperty, period", get_period},
    [SET_PERIOD] = {"HvSetPartitionProperty, period", set_period},
    [SET_CONTROL] = {"HvSetPartitionProperty, control", set_control},
};

/* ---- */

static double now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void measure(struct bus_bench *bench, unsigned call, GArray *times)
{
    double begun = now_us();

    calls[call].call(bench);
    double took = now_us() - begun;
    g_array_append_val(times, took);
}

static void shuffle(GRand *rand, unsigned *order, unsigned n)
{
    for (unsigned i = n - 1; i > 0; i--) {
        unsigned j = (unsigned)g_rand_int_range(rand, 0, (gint32)i + 1);
        unsigned other = order[i];
        order[i] = order[j];
        order[j] = other;
    }
}

static void in_turns(struct bus_bench *bench, unsigned rounds, double seconds, GArray **times)
{
    unsigned order[N_CALLS];
    double deadline = now_us() + seconds * 1e6;
    GRand *rand = g_rand_new_with_seed(1);

    for (unsigned i = 0; i < N_CALLS; i++) {
        order[i] = i;
    }
    for (unsigned round = 0; round < rounds && now_us() < deadline; round++) {
        bench->round = round;
        shuffle(rand, order, N_CALLS);
        for (unsigned i = 0; i < N_CALLS; i++) {
            measure(bench, order[i], times[order[i]]);
        }
    }
    g_rand_free(rand);
}

/* Returns the median. */
static double add_row(struct bus_bench *bench, const char *name, unsigned partitions, GArray *times,
                      double ping)
{
    samples_sort(times);
    double p50 = samples_percentile(times, 0.5);
    figures_text(bench->table, name);
    figures_number(bench->table, partitions, 0);
    figures_number(bench->table, times->len, 0);
    figures_number(bench->table, p50, 1);
    figures_number(bench->table, samples_percentile(times, 0.99), 1);
    figures_number(bench->table, p50 / (ping > 0 ? ping : p50), 2);
    return p50;
}

/* ---- the daemon ---- */

static char *config_of(unsigned partitions)
{
    GString *config = g_string_new(NULL);

    g_string_printf(config, "{\"limits\": {\"partitions\": %u}, \"models\": [", partitions);
    for (unsigned i = 0; i < partitions; i++) {
        g_string_append_printf(config, "%s\"" MODEL "\"", i > 0 ? "," : "", i);
    }
    g_string_append(config, "]}");
    return g_string_free(config, FALSE);
}

/* Its last model ticks. */
static void up(struct bus_bench *bench, unsigned partitions)
{
    g_autofree char *config = config_of(partitions);
    g_autofree char *last = g_strdup_printf(MODEL, partitions - 1);

    bench->fixture.quiet = TRUE;
    fixture_up(&bench->fixture, config);
    keep_status(bench, hvapi_lookup_partition(last, &bench->id));
    set_period(bench);
    set_control(bench);
}

static void measure_with(struct bus_bench *bench, unsigned partitions)
{
    gboolean quick = figures_quick(bench->figures);
    unsigned rounds = quick ? 500 : 5000;
    GArray *times[N_CALLS];
    GArray *alone = g_array_new(FALSE, FALSE, sizeof(double));

    figures_say(bench->figures, "calls, partitions: %u", partitions);
    up(bench, partitions);
    for (unsigned i = 0; i < N_CALLS; i++) {
        times[i] = g_array_new(FALSE, FALSE, sizeof(double));
        measure(bench, i, times[i]); /* connects, and is not counted */
        g_array_set_size(times[i], 0);
    }
    for (unsigned i = 0; i < rounds / 2; i++) {
        measure(bench, PING, alone);
    }
    in_turns(bench, rounds, quick ? 2 : 12, times);
    double reference = add_row(bench, calls[PING].name, partitions, times[PING], 0);
    add_row(bench, "Ping of hvtimerd, nothing else", partitions, alone, reference);
    for (unsigned i = PING + 1; i < N_CALLS; i++) {
        double p50 = add_row(bench, calls[i].name, partitions, times[i], reference);
        if (i == SET_PERIOD) {
            g_autofree char *what = g_strdup_printf(
                "setting the period, of a ping's time (p50), partitions: %u", partitions);
            figures_bar(bench->figures, what,
                        bench->status == HV_STATUS_SUCCESS ? p50 / reference : NAN, SET_LIMIT);
        }
    }
    if (bench->status != HV_STATUS_SUCCESS) {
        figures_note(bench->figures,
                     "A call failed, with %s: the figures are not those of calls "
                     "that work.",
                     hvapi_status_name(bench->status));
    }
    for (unsigned i = 0; i < N_CALLS; i++) {
        g_array_unref(times[i]);
    }
    g_array_unref(alone);
    fixture_down(&bench->fixture);
}

void calls_measure_bus(struct figures *figures)
{
    static const unsigned partitions[] = {1, 1000};
    struct bus_bench bench = {.figures = figures};

    bench.table = figures_add_table(figures, "calls", "Round trips, in turns", "call", "partitions",
                                    "count", "p50 us", "p99 us", "x ping", NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(partitions); i++) {
        measure_with(&bench, partitions[i]);
    }
}
