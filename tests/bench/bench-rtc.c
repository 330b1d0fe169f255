/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Guests that keep time by counting RTC ticks, and who makes up what they lose: nobody (QEMU's
 * driftfix=none), QEMU (driftfix=slew), or hvtimer. The three run at the same time and are stopped
 * together, first often, then once for long. Prints for each how many ticks its clock has lost in
 * the end, the most that it ran at in any 100 ms, and how long after the last stop it was right
 * again. Exits with 1 if hvtimer misses its bars: none lost, and no more than twice the speed, with
 * a tenth for what 100 ms can tell.
 *
 *     bench-rtc [--stops SECONDS] [--stop SECONDS] [--guest NAME]
 */
#include "tests/support/clock-machine.h"
#include "tests/support/disturbance.h"
#include "tests/support/fixture.h"

#include <math.h>
#include <stdlib.h>

#define STOP_MS      150
#define INTERVAL_MS  500
#define REFERENCE_NS (1500 * 1000 * 1000)
#define SPEED_MAX    2.2
#define RIGHT_TICKS  2
/* Of a tick: what a reading may be off by. A guest that changes its rate may be right to a part of
 * a slow tick. */
#define SLACK 0.1

#define NO_PARTITION 3 /* exit status of hvtimerctl */

enum { NOBODY, QEMU, HVTIMER, CORRECTORS };
static const char *const correctors[] = {"none", "slew", "hvtimer"};

static double stops_seconds = 20, stop_seconds = 3;
static char *only;
static const GOptionEntry options[] = {
    {"stops", 0, 0, G_OPTION_ARG_DOUBLE, &stops_seconds,
     "Stop them 150 ms in every 500 ms for so long (default: 20)", "SECONDS"},
    {"stop", 0, 0, G_OPTION_ARG_DOUBLE, &stop_seconds, "Then once for so long (default: 3)",
     "SECONDS"},
    {"guest", 0, 0, G_OPTION_ARG_STRING, &only, "Only this one, such as \"PIC 64 Hz\"", "NAME"},
    G_OPTION_ENTRY_NULL,
};

static struct libvirt libvirt;
static struct fixture fixture;
static gboolean hvtimer_can;
static GString *missed;

struct run {
    const struct clock_kind *kind;
    struct clock_machine machines[CORRECTORS];
    struct clock_watch *watch;
    guint n; /* how many of them run */
};

static void sleep_seconds(double seconds)
{
    g_usleep((gulong)(seconds * G_USEC_PER_SEC));
}

/* ---- The guests ---- */

static void boot(struct run *run, const struct clock_kind *kind)
{
    *run = (struct run){.kind = kind, .watch = clock_watch_new(), .n = hvtimer_can ? 3 : 2};
    for (guint i = 0; i < run->n; i++) {
        struct machine_options o = clock_machine_options(kind, correctors[i]);
        o.rtc_policy = i == QEMU ? "catchup" : NULL;
        machine_define(&run->machines[i].machine, &libvirt, &o);
        machine_boot(&run->machines[i].machine);
        clock_machine_watch(&run->machines[i], run->watch, kind);
    }
}

static void take_down(struct run *run)
{
    clock_watch_free(run->watch);
    for (guint i = 0; i < run->n; i++) {
        machine_down(&run->machines[i].machine);
    }
}

/* Until it exits with 0 and says something else than @not_yet, for 10 s. */
static void insist(const char *command, const char *not_yet)
{
    g_autofree char *said = NULL;
    gint64 end = g_get_monotonic_time() + 10 * G_USEC_PER_SEC;
    int status;

    for (;;) {
        status = fixture_run(&fixture, &said, "hvtimerctl %s", command);
        if (status == 0 && !g_str_equal(said, not_yet)) {
            return;
        }
        if (g_get_monotonic_time() > end) {
            g_error("hvtimerctl %s: exit status %d: %s", command, status, said);
        }
        g_clear_pointer(&said, g_free);
        g_usleep(50000);
    }
}

/* Its partition may take a moment to be there, and to be told that it runs; then the rate is to be
 * found out. */
static void have_hvtimer_slew(void)
{
    insist("rtc hvtimer slew", "-");
    insist("get hvtimer EmulatedTimerPeriod", "0\n");
}

/* hvtimerctl knows the verb: its usage error is another one then. */
static gboolean knows_rtc(void)
{
    return fixture_run(&fixture, NULL, "hvtimerctl rtc nobody slew") == NO_PARTITION;
}

/* ---- A table ---- */

/* Whole ones. */
static int ticks_lost(const struct clock_report *report, double tick)
{
    double ticks = report->behind / tick;

    return (int)(ticks + (ticks > 0 ? SLACK : -SLACK));
}

static void print_cell(const struct clock_report *report, double tick)
{
    g_autofree char *recovery =
        isinf(report->recovery) ? g_strdup("never") : g_strdup_printf("%.2f s", report->recovery);

    g_print("  %6d %6.2f %8s", ticks_lost(report, tick), report->peak, recovery);
}

static void judge(const struct run *run, const char *what, const struct clock_report *report)
{
    if (ticks_lost(report, run->machines[HVTIMER].tick) > 0 || report->peak > SPEED_MAX) {
        g_string_append_printf(missed, "%s%s, %s", missed->len > 0 ? "; " : "", run->kind->name,
                               what);
    }
}

static void print_row(struct run *run, const char *what, const double *references, gint64 from,
                      gint64 outage_end)
{
    gint64 now = clock_now_ns();

    g_print("%-16s %-12s", run->kind->name, what);
    for (guint i = 0; i < run->n; i++) {
        struct clock_machine *m = &run->machines[i];
        struct clock_report report = clock_trace_report(m->trace, references[i], from, outage_end,
                                                        now, RIGHT_TICKS * m->tick);
        print_cell(&report, m->tick);
        if (i == HVTIMER) {
            judge(run, what, &report);
        }
    }
    g_print("%s\n", run->n <= HVTIMER ? "  not available" : "");
}

static void print_head(void)
{
    g_print("%-29s", "");
    for (guint i = 0; i < CORRECTORS; i++) {
        g_print("  %-22s", correctors[i]);
    }
    g_print("\n%-16s %-12s", "guest", "stopped");
    for (guint i = 0; i < CORRECTORS; i++) {
        g_print("  %6s %6s %8s", "lost", "speed", "right in");
    }
    g_print("\n");
}

/* ---- What is done to them ---- */

static void disturb(struct run *run, gboolean often)
{
    g_autofree char *once = g_strdup_printf("%g s once", stop_seconds);
    g_autofree char *all = g_strdup_printf("%d/%d ms", STOP_MS, INTERVAL_MS);
    double references[CORRECTORS];
    pid_t pids[CORRECTORS];
    gint64 from = clock_now_ns();

    for (guint i = 0; i < run->n; i++) {
        pids[i] = run->machines[i].machine.pid;
        references[i] = clock_trace_gain(run->machines[i].trace, from - REFERENCE_NS, from);
    }
    if (often) {
        disturb_stop_often(pids, run->n, STOP_MS, INTERVAL_MS, stops_seconds);
    } else {
        disturb_stop(pids, run->n, (gint64)(stop_seconds * 1000));
    }
    /* Behind the last stop its own pause. */
    gint64 end = clock_now_ns() - (often ? (INTERVAL_MS - STOP_MS) * (gint64)1000000 : 0);
    sleep_seconds(often ? 4 : 2 * stop_seconds + 3);
    print_row(run, often ? all : once, references, from, end);
}

static void measure(const struct clock_kind *kind)
{
    struct run run;

    boot(&run, kind);
    if (hvtimer_can) {
        have_hvtimer_slew();
    }
    sleep_seconds(3);
    if (stops_seconds > 0) {
        disturb(&run, TRUE);
    }
    if (stop_seconds > 0) {
        disturb(&run, FALSE);
    }
    take_down(&run);
}

static void measure_all(void)
{
    print_head();
    for (const struct clock_kind *kind = clock_kinds; kind->name != NULL; kind++) {
        if (only == NULL || g_str_equal(only, kind->name)) {
            measure(kind);
        }
    }
    g_print(
        "lost: ticks of the slower rate, gained if below 0; speed: of the guest's clock, the most\n"
        "in any 100 ms; right in: after the last stop, to two ticks\n");
    g_print("hvtimer's bars (0 lost, speed at most %.1f): %s\n", SPEED_MAX,
            !hvtimer_can       ? "not available"
            : missed->len == 0 ? "all met"
                               : missed->str);
}

int main(int argc, char **argv)
{
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_autoptr(GError) error = NULL;

    libvirt_guard();
    g_option_context_add_main_entries(context, options, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error)) {
        g_printerr("bench-rtc: %s\n", error->message);
        return 2;
    }
    if (libvirt_missing() != NULL) {
        g_print("bench-rtc: not measured: %s\n", libvirt_missing());
        return EXIT_SUCCESS;
    }
    missed = g_string_new(NULL);
    libvirt_up(&libvirt);
    fixture = (struct fixture){.libvirt = LIBVIRT_URI, .quiet = g_getenv("BENCH_RTC_LOUD") == NULL};
    fixture_up(&fixture, "{}");
    hvtimer_can = knows_rtc();
    measure_all();
    fixture_down(&fixture);
    libvirt_down(&libvirt);
    return missed->len == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
