/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How late the engine wakes up, its ticks are raised, handled by a real guest, and acknowledged:
 * with few partitions and many, on CPUs that are idle and busy; beside cyclictest on the same CPU,
 * at the same priority, in turns of seconds, and beside the RTC that QEMU gives the same guest.
 */
#include "daemon/engine-private.h"
#include "daemon/injectors/model.h"
#include "tests/bench/cyclictest.h"
#include "tests/bench/figures.h"
#include "tests/bench/lateness-guest.h"
#include "tests/bench/load.h"
#include "tests/bench/samples.h"
#include "tests/support/libvirt.h"
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#define HZ          1024u
#define INTERVAL_US 977u
#define PRIORITY    50
#define CPU         0
#define SEED        5u
/* As configured by default. */
#define WINDOW_US 50u
#define BAR       1.3
/* Of the curves that are drawn. */
#define CURVE_POINTS 100u

enum { CYCLICTEST, WAKEUP, TICK, HANDLER, EOI, RTC_HANDLER, RTC_EOI, MEASURED };
static const char *const names[MEASURED] = {"cyclictest",
                                            "engine wake-up",
                                            "tick raised",
                                            "guest: handler",
                                            "guest: EOI",
                                            "guest: QEMU's RTC, handler",
                                            "guest: QEMU's RTC, EOI"};

static const unsigned partitions[] = {1, 100, 1000};

struct setting {
    unsigned partitions;
    gboolean loaded;
    unsigned turns, seconds;
};

/* What one setting has shown: samples, where there are any; what the engine has are histograms,
 * whose figures are one for each turn. */
struct found {
    GArray *samples[MEASURED];
    GArray *p50[MEASURED], *p99[MEASURED], *max[MEASURED];
    double count[MEASURED];
    double at_most[MEASURED][LATENESS_BOUNDS]; /* the engine's, of all turns */
    unsigned missing[STAMPED];
};

static struct figures *figures;
static struct figures_table *table, *curves;
static struct lateness_guest *guest; /* NULL: there is none */

/* ---- the engine's turn ---- */

struct partition_run {
    struct engine_timer *timer;
    struct injector *injector;
};

static void on_event(enum engine_event event, gpointer user_data)
{
    struct partition_run *run = user_data;
    gboolean own = guest != NULL && run->injector == lateness_guest_injector(guest);

    if (event == ENGINE_REMOVED && !own) {
        run->injector->ops->free(run->injector);
    }
}

static struct engine *start_engine(struct partition_run *runs, unsigned n)
{
    static const struct ticker_policy policy = TICKER_POLICY_DEFAULT;
    struct engine_config config = {
        .priority = PRIORITY, .cpu = CPU, .window_us = WINDOW_US, .lock_memory = TRUE, .timers = n};
    struct period period = {1953125, 2};
    g_autoptr(GRand) random = g_rand_new_with_seed(SEED);
    g_autoptr(GError) error = NULL;
    struct engine *engine = engine_new(&config, &error);

    if (engine == NULL) {
        g_error("%s", error->message);
    }
    for (unsigned i = 0; i < n; i++) {
        gboolean own = i == 0 && guest != NULL;
        runs[i].injector = own ? lateness_guest_injector(guest) : injector_model_new();
        runs[i].timer = engine_add(engine, runs[i].injector, &policy, NULL, on_event, &runs[i]);
        engine_start(runs[i].timer, engine_clock() + (uint64_t)g_rand_int_range(random, 0, 976562),
                     period);
    }
    return engine;
}

static void keep(struct found *found, unsigned what, const struct lateness_reading *reading)
{
    samples_add(found->p50[what], (double)reading->p50_ns / 1000);
    samples_add(found->p99[what], (double)reading->p99_ns / 1000);
    samples_add(found->max[what], (double)reading->max_ns / 1000);
    found->count[what] += (double)reading->count;
    for (unsigned i = 0; i < LATENESS_BOUNDS; i++) {
        found->at_most[what][i] += (double)reading->at_most[i];
    }
}

static void read_engine(struct engine *engine, const struct partition_run *runs, unsigned n,
                        struct found *found)
{
    struct lateness_reading reading;
    struct lateness all = {0};

    engine_read_wakeups(engine, &reading);
    keep(found, WAKEUP, &reading);
    for (unsigned i = 0; i < n; i++) {
        lateness_add(&all, &runs[i].timer->lateness);
    }
    lateness_read(&all, &reading);
    keep(found, TICK, &reading);
}

static void engine_turn(const struct setting *setting, struct found *found)
{
    g_autofree struct partition_run *runs = g_new0(struct partition_run, setting->partitions);
    struct engine *engine = start_engine(runs, setting->partitions);

    if (guest != NULL) {
        lateness_guest_start(guest);
    }
    g_usleep(setting->seconds * G_USEC_PER_SEC);
    if (guest != NULL) {
        lateness_guest_stop(guest, HZ, &found->samples[HANDLER], found->missing);
    }
    read_engine(engine, runs, setting->partitions, found);
    engine_free(engine);
}

/* ---- cyclictest's turn ---- */

static void cyclictest_turn(const struct setting *setting, struct found *found)
{
    g_autoptr(GArray) samples = samples_new();
    g_autoptr(GError) error = NULL;
    static gboolean told;

    if (!cyclictest_run(CPU, PRIORITY, INTERVAL_US, setting->seconds, samples, &error)) {
        if (!told) {
            figures_note(figures, "no cyclictest, so nothing to compare with: %s", error->message);
        }
        told = TRUE;
        return;
    }
    samples_sort(samples);
    samples_add(found->p50[CYCLICTEST], samples_percentile(samples, 0.5));
    samples_add(found->p99[CYCLICTEST], samples_percentile(samples, 0.99));
    samples_add(found->max[CYCLICTEST], samples_percentile(samples, 1));
    found->count[CYCLICTEST] += samples->len;
    g_array_append_vals(found->samples[CYCLICTEST], samples->data, samples->len);
}

/* ---- what came of it ---- */

static double median(GArray *values)
{
    samples_sort(values);
    return samples_percentile(values, 0.5);
}

static double maximum(GArray *values)
{
    samples_sort(values);
    return samples_percentile(values, 1);
}

/* Of each turn, and of those the one in the middle: a turn in which the host was elsewhere is not
 * the rule. */
static double show(const struct setting *setting, struct found *found, unsigned what)
{
    gboolean stamped = what >= HANDLER;
    GArray *samples = found->samples[what];

    if (stamped) {
        samples_sort(samples);
        found->count[what] = samples->len;
    }
    double p99 = stamped ? samples_percentile(samples, 0.99) : median(found->p99[what]);
    figures_number(table, setting->partitions, 0);
    figures_text(table, setting->loaded ? "busy" : "idle");
    figures_text(table, names[what]);
    figures_number(table, found->count[what], 0);
    figures_number(table, stamped ? samples_percentile(samples, 0.5) : median(found->p50[what]), 0);
    figures_number(table, p99, 0);
    figures_number(table, stamped ? samples_percentile(samples, 1) : maximum(found->max[what]), 0);
    figures_number(table, stamped ? found->missing[what - HANDLER] : NAN, 0);
    return p99;
}

static void draw_point(const char *curve, double us, double part)
{
    figures_text(curves, curve);
    figures_number(curves, us, 1);
    figures_number(curves, part * 100, 1);
}

/* Of the engine's histograms: up to the bound that none is later than. */
static void draw_bounds(const char *curve, const double *at_most, double count)
{
    for (unsigned i = 0; i < LATENESS_BOUNDS && count > 0; i++) {
        draw_point(curve, (double)lateness_bounds_ns[i] / 1000, at_most[i] / count);
        if (at_most[i] >= count) {
            break;
        }
    }
}

static void draw(const struct setting *setting, struct found *found, unsigned what)
{
    GArray *samples = found->samples[what];
    g_autofree char *curve = g_strdup_printf("%s, %u %s", names[what], setting->partitions,
                                             setting->loaded ? "busy" : "idle");

    samples_sort(samples);
    for (unsigned i = 1; i <= CURVE_POINTS && samples->len > 0; i++) {
        double part = i == CURVE_POINTS ? 0.999 : (double)i / CURVE_POINTS;
        draw_point(curve, MAX(samples_percentile(samples, part), 1), part);
    }
    if (what == WAKEUP || what == TICK) {
        draw_bounds(curve, found->at_most[what], found->count[what]);
    }
}

static void tell(const struct setting *setting, struct found *found)
{
    g_autofree char *bar =
        g_strdup_printf("p99 of the engine's wake-ups beside cyclictest's, %u partitions, %s",
                        setting->partitions, setting->loaded ? "busy" : "idle");
    double p99[MEASURED];

    for (unsigned what = 0; what < MEASURED; what++) {
        if (what < HANDLER || guest != NULL) {
            p99[what] = show(setting, found, what);
            draw(setting, found, what);
        }
    }
    figures_bar(figures, bar, p99[WAKEUP] / p99[CYCLICTEST], BAR);
}

static void run(const struct setting *setting)
{
    struct found found = {0};
    struct load *load = setting->loaded ? load_start() : NULL;

    figures_say(figures, "%u partitions, %s", setting->partitions,
                setting->loaded ? "every CPU busy" : "idle");
    for (unsigned i = 0; i < MEASURED; i++) {
        found.samples[i] = samples_new();
        found.p50[i] = samples_new();
        found.p99[i] = samples_new();
        found.max[i] = samples_new();
    }
    for (unsigned turn = 0; turn < setting->turns; turn++) {
        cyclictest_turn(setting, &found);
        engine_turn(setting, &found);
    }
    load_stop(load);
    tell(setting, &found);
    for (unsigned i = 0; i < MEASURED; i++) {
        g_array_unref(found.samples[i]);
        g_array_unref(found.p50[i]);
        g_array_unref(found.p99[i]);
        g_array_unref(found.max[i]);
    }
}

static void have_guest(void)
{
    g_autoptr(GError) error = NULL;

    if (libvirt_missing() != NULL) {
        figures_note(figures, "no guest: %s", libvirt_missing());
        return;
    }
    guest = lateness_guest_new(CPU, &error);
    if (guest == NULL) {
        figures_note(figures, "no guest: %s", error->message);
    }
}

int main(int argc, char **argv)
{
    figures = figures_new("lateness", "how late ticks are, beside cyclictest", NULL, argc, argv);
    gboolean quick = figures_quick(figures);
    /* cyclictest keeps CPUs out of deep sleep as long as it runs: equal terms for all. */
    int latency = open("/dev/cpu_dma_latency", O_WRONLY | O_CLOEXEC);
    const gint32 none = 0;

    if (latency >= 0 && write(latency, &none, sizeof none) < 0) {
        figures_note(figures, "CPUs may sleep more deeply than under cyclictest");
    }
    table = figures_add_table(figures, "lateness", "How late, at 1024 Hz", "partitions", "CPUs",
                              "what", "count", "p50 us", "p99 us", "max us", "missing", NULL);
    curves = figures_add_table(figures, "lateness-curves", "How many were not later", "curve", "us",
                               "%", NULL);
    figures_hide(curves);
    figures_note(figures,
                 "guest: by how much later than the one that was earliest; the others: later "
                 "than due, wake-ups than they were asked for");
    figures_note(figures,
                 "guest: what is late by more than a period counts as the next period's, and its "
                 "own as missing, unless it was made up");
    libvirt_guard();
    have_guest();
    for (unsigned i = 0; i < G_N_ELEMENTS(partitions) * 2; i++) {
        struct setting setting = {.partitions = partitions[i / 2],
                                  .loaded = i % 2 == 1,
                                  .turns = quick ? 1 : 5,
                                  .seconds = quick ? 1 : 2};
        if (!quick || setting.partitions != 100) {
            run(&setting);
        }
    }
    if (guest != NULL) {
        lateness_guest_free(guest);
    }
    return figures_finish(figures);
}
