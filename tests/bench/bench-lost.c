/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Ticks that guests lose when they don't get to run, and who makes them up: hvtimer, QEMU, KVM or
 * nobody. The guests run at the same time, side by side, and are disturbed all at once: by stops,
 * by somebody else who has their CPU, by too many who want one. For each of them: how many ticks it
 * lacks in the end, by the host's clock; the most that it ran at in any 100 ms; how long after the
 * disturbance it was right again. For hvtimer's the sums in the end, too: what was due by
 * hvtimerd's own statistics, by the host's clock, and what the guest has counted.
 *
 *     bench-lost [--stops SECONDS] [--stop SECONDS] [--guest NAME] [--quick] [--output DIRECTORY]
 */
#include "tests/bench/lost.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define KIND_DEFAULT "IOAPIC 1024 Hz"
/* What is asked for is twice the speed; a tenth more is what 100 ms can tell. */
#define SPEED_MAX 2.2
/* Of a tick: what a reading may be off by. A guest that changes its rate may be right to a part of
 * a slow tick. */
#define SLACK     0.1
#define SECOND_NS (1000 * (gint64)1000000)

/* Up to a disturbance, and at least that long behind it. */
#define REFERENCE_MS       1500
#define QUICK_REFERENCE_MS 400
#define REST_MS            5000
#define QUICK_REST_MS      1050
#define RIGHT_S            25
/* The report's last second is one in which they were right. */
#define AFTER_MS 200

#define STEP_NS     (20 * (gint64)1000000)
#define BEFORE_NS   (200 * (gint64)1000000)
#define DRAWN_STEPS 250

static double stops_seconds, stop_seconds;
static char *only;
static const GOptionEntry options[] = {
    {"stops", 0, 0, G_OPTION_ARG_DOUBLE, &stops_seconds,
     "Stop them 150 ms in every 500 ms for so long (default: 20)", "SECONDS"},
    {"stop", 0, 0, G_OPTION_ARG_DOUBLE, &stop_seconds, "Then once for so long (default: 3)",
     "SECONDS"},
    {"guest", 0, 0, G_OPTION_ARG_STRING, &only,
     "What RTC guests are, such as \"PIC 64 Hz\" (default: " KIND_DEFAULT ")", "NAME"},
    G_OPTION_ENTRY_NULL,
};

struct tables {
    struct figures_table *lost, *drawn, *time;
};

/* The worst of hvtimer's. */
struct worst {
    double value;
    const char *title;
};

static void consider(struct worst *worst, double value, const char *title)
{
    if (isnan(value) || (!isnan(worst->value) && value > worst->value)) {
        *worst = (struct worst){value, title};
    }
}

static void add_bar(struct lost *lost, const char *what, const struct worst *worst, double limit)
{
    g_autofree char *text =
        worst->title == NULL ? g_strdup(what) : g_strdup_printf("%s: %s", what, worst->title);

    figures_bar(lost->figures, text, worst->value, limit);
}

static double beyond(double ticks, double tolerance)
{
    return isnan(ticks) ? NAN : MAX(0, fabs(ticks) - tolerance); /* fmax() would hide it */
}

/* ---- A disturbance ---- */

struct run {
    const struct lost_disturbance *what;
    gint64 from, outage_end, to;
    double references[LOST_GUESTS_MAX];
};

static gboolean is_hvtimers(const struct lost_guest *guest)
{
    return guest->who != LOST_OTHERS;
}

static gboolean all_right(struct lost *lost, const struct run *run)
{
    gint64 now = clock_now_ns();

    for (guint i = 0; i < lost->n; i++) {
        const struct lost_guest *guest = &lost->guests[i];
        if (is_hvtimers(guest) && guest->is_measured &&
            !(clock_trace_gain(guest->trace, now - SECOND_NS / 10, now) >=
              run->references[i] - LOST_RIGHT_TICKS * guest->tick)) {
            return FALSE;
        }
    }
    return TRUE;
}

static void await_right(struct lost *lost, const struct run *run, double seconds)
{
    gint64 end = clock_now_ns() + (gint64)(seconds * (double)SECOND_NS);

    while (!all_right(lost, run) && clock_now_ns() < end) {
        sleep_ms(20);
    }
}

static gboolean disturb(struct lost *lost, struct run *run)
{
    gboolean quick = figures_quick(lost->figures);
    double seconds = quick ? run->what->quick_seconds : run->what->seconds;
    gint64 reference_ms = quick ? QUICK_REFERENCE_MS : REFERENCE_MS;

    figures_say(lost->figures, "%s, for %g s", run->what->name, seconds);
    sleep_ms(reference_ms);
    run->from = clock_now_ns();
    for (guint i = 0; i < lost->n; i++) {
        if (lost->guests[i].is_measured) {
            run->references[i] = clock_trace_gain(lost->guests[i].trace,
                                                  run->from - reference_ms * 1000000, run->from);
        }
    }
    run->outage_end = run->what->disturb(lost, seconds);
    if (run->outage_end == 0) {
        return FALSE;
    }
    sleep_ms(quick ? QUICK_REST_MS : REST_MS);
    await_right(lost, run, RIGHT_S);
    sleep_ms(AFTER_MS);
    run->to = clock_now_ns();
    return TRUE;
}

/* ---- Its figures ---- */

/* Whole ones. */
static double ticks_lost(double behind, double tick)
{
    double ticks = behind / tick;

    return trunc(ticks + (ticks > 0 ? SLACK : -SLACK)) + 0.0; /* not -0 */
}

static void add_row(struct lost *lost, struct tables *tables, const struct run *run, guint i,
                    const struct clock_report *report)
{
    const struct lost_guest *guest = &lost->guests[i];
    gboolean measured = guest->is_measured && run->to != 0;
    double ticks = measured ? ticks_lost(report->behind, guest->tick) : NAN;

    figures_text(tables->lost, run->what->name);
    figures_text(tables->lost, guest->title);
    figures_number(tables->lost,
                   measured ? (double)(run->to - run->from) / (double)SECOND_NS / guest->tick : NAN,
                   0);
    figures_number(tables->lost, ticks, 0);
    figures_number(tables->lost, measured ? report->peak : NAN, 2);
    figures_number(tables->lost, measured && isfinite(report->recovery) ? report->recovery : NAN,
                   2);
    figures_text(tables->drawn, run->what->name);
    figures_text(tables->drawn, guest->title);
    figures_number(tables->drawn, i, 0);
    figures_number(tables->drawn, ticks, 0);
}

static void report(struct lost *lost, struct tables *tables, const struct run *run)
{
    struct worst most = {0}, fastest = {0};

    for (guint i = 0; i < lost->n; i++) {
        const struct lost_guest *guest = &lost->guests[i];
        struct clock_report found = {.behind = NAN, .peak = NAN};
        if (guest->is_measured && run->to != 0) {
            found = clock_trace_report(guest->trace, run->references[i], run->from, run->outage_end,
                                       run->to, LOST_RIGHT_TICKS * guest->tick);
        }
        add_row(lost, tables, run, i, &found);
        if (is_hvtimers(guest)) {
            consider(&most, beyond(ticks_lost(found.behind, guest->tick), guest->tolerance),
                     guest->title);
            consider(&fastest, found.peak, guest->title);
        }
    }
    g_autofree char *lost_bar = g_strdup_printf(
        "%s: ticks that hvtimer's worst guest lost or gained, beyond the %d of a reading",
        run->what->name, LOST_RIGHT_TICKS);
    g_autofree char *speed_bar =
        g_strdup_printf("%s: speed of hvtimer's fastest guest", run->what->name);
    add_bar(lost, lost_bar, &most, 0);
    add_bar(lost, speed_bar, &fastest, SPEED_MAX);
}

static void add_error(struct lost *lost, struct figures_table *table, const struct run *run,
                      const char *name, gint64 time)
{
    for (guint i = 0; i < lost->n; i++) {
        const struct lost_guest *guest = &lost->guests[i];
        if (g_str_equal(guest->name, name)) {
            double gain =
                guest->is_measured ? clock_trace_gain(guest->trace, time, time + STEP_NS) : NAN;
            figures_number(table, (gain - run->references[i]) * 1e3, 2);
        }
    }
}

/* The clocks through the first seconds of the stalls. */
static void draw_time(struct lost *lost, struct figures_table *table, const struct run *run)
{
    for (guint step = 0; step < DRAWN_STEPS; step++) {
        gint64 time = run->from - BEFORE_NS + step * STEP_NS;
        if (time + STEP_NS > run->to) {
            return;
        }
        figures_number(table, (double)(time - run->from) / (double)SECOND_NS, 2);
        add_error(lost, table, run, "none", time);
        add_error(lost, table, run, "slew", time);
        add_error(lost, table, run, "rtc", time);
    }
}

/* ---- The sums in the end ---- */

/* All of hvtimer's guests, when all is well. */
struct opening {
    struct lost_ledger ledgers[LOST_GUESTS_MAX];
    double gains[LOST_GUESTS_MAX]; /* of their clocks */
};

/* The gain is of the time before all guests are stopped, for the ledgers. */
static void take_opening(struct lost *lost, struct opening *ret_opening)
{
    gint64 now = clock_now_ns();

    *ret_opening = (struct opening){0};
    for (guint i = 0; i < lost->n; i++) {
        if (lost->guests[i].is_measured) {
            ret_opening->gains[i] = clock_trace_gain(lost->guests[i].trace, now - SECOND_NS, now);
        }
    }
    lost_guests_read(lost, ret_opening->ledgers);
}

static void report_sums(struct lost *lost, const struct opening *then)
{
    struct figures_table *table = figures_add_table(
        lost->figures, "lost-sums", "From first to last, all disturbances together", "who",
        "due (hvtimerd)", "counted (guest)", "skipped", "lost (hvtimerd)", "lost (host's clock)",
        NULL);
    struct worst worst = {0};
    struct opening now;

    take_opening(lost, &now);
    for (guint i = 0; i < lost->n; i++) {
        const struct lost_guest *guest = &lost->guests[i];
        if (!is_hvtimers(guest) || !guest->is_measured) {
            continue;
        }
        double due = now.ledgers[i].due - then->ledgers[i].due;
        double counted = (double)(guint32)(now.ledgers[i].counted - then->ledgers[i].counted);
        double hosts = ticks_lost(then->gains[i] - now.gains[i], guest->tick);
        figures_text(table, guest->title);
        figures_number(table, due, 0);
        figures_number(table, counted, 0);
        figures_number(table, (double)(now.ledgers[i].skipped - then->ledgers[i].skipped), 0);
        figures_number(table, due - counted, 0);
        figures_number(table, hosts, 0);
        consider(&worst, beyond(due - counted, guest->tolerance), guest->title);
        consider(&worst, beyond(hosts, guest->tolerance), guest->title);
    }
    g_autofree char *what = g_strdup_printf("all together: ticks that hvtimer's worst guest lost "
                                            "or gained, by hvtimerd's statistics or the host's "
                                            "clock, beyond the %d of a reading",
                                            LOST_RIGHT_TICKS);
    add_bar(lost, what, &worst, 0);
}

/* ---- All of it ---- */

static void measure(struct lost *lost)
{
    gboolean quick = figures_quick(lost->figures);
    struct opening first;
    struct tables tables = {
        .lost = figures_add_table(lost->figures, "lost",
                                  "Lost: + behind, - ahead; speed: the most in any 100 ms; "
                                  "recovery: -: not while it was watched",
                                  "disturbance", "who", "ticks due", "lost in the end",
                                  "peak speed", "recovery s", NULL),
        .drawn = figures_add_table(lost->figures, "lost-drawn", "", "disturbance", "who", "place",
                                   "lost", NULL),
        .time = figures_add_table(lost->figures, "lost-time", "", "s", "QEMU RTC none",
                                  "QEMU RTC slew", "hvtimer rtc", NULL),
    };
    figures_hide(tables.drawn);
    figures_hide(tables.time);
    if (!quick) {
        sleep_ms(REFERENCE_MS);
        take_opening(lost, &first);
        sleep_ms(REFERENCE_MS);
    }
    for (const struct lost_disturbance *what = lost_disturbances; what->name != NULL; what++) {
        struct run run = {.what = what};
        if ((quick && !what->quick) || what->seconds <= 0) {
            continue;
        }
        disturb(lost, &run);
        report(lost, &tables, &run);
        if (what == &lost_disturbances[LOST_STALLS]) {
            draw_time(lost, tables.time, &run);
        }
    }
    if (!quick) {
        report_sums(lost, &first);
    }
}

static const struct clock_kind *find_kind(void)
{
    for (const struct clock_kind *kind = clock_kinds; kind->name != NULL; kind++) {
        if (g_str_equal(kind->name, only != NULL ? only : KIND_DEFAULT)) {
            return kind;
        }
    }
    g_printerr("bench-lost: there is no guest \"%s\"; these are:\n", only);
    for (const struct clock_kind *kind = clock_kinds; kind->name != NULL; kind++) {
        g_printerr("    %s\n", kind->name);
    }
    exit(2);
}

int main(int argc, char **argv)
{
    if (argc == 3 && g_str_equal(argv[1], LOST_VMM_ARGUMENT)) {
        return lost_vmm_main(argv[2]);
    }
    libvirt_guard();
    stops_seconds = lost_disturbances[LOST_STALLS].seconds;
    stop_seconds = lost_disturbances[LOST_STOP].seconds;
    struct lost lost = {
        .figures =
            figures_new("lost", "ticks that are lost, and who makes them up", options, argc, argv),
        .kind = find_kind(),
        .fixture = {.libvirt = LIBVIRT_URI, .quiet = g_getenv("BENCH_LOST_LOUD") == NULL},
    };
    lost_disturbances[LOST_STALLS].seconds = stops_seconds;
    lost_disturbances[LOST_STOP].seconds = stop_seconds;
    if (libvirt_missing() != NULL) {
        figures_note(lost.figures, "not measured: %s", libvirt_missing());
        figures_bar(lost.figures, "ticks that hvtimer's worst guest lost or gained", NAN, 0);
        return figures_finish(lost.figures);
    }
    figures_say(lost.figures, "starting the guests");
    libvirt_up(&lost.libvirt);
    fixture_up(&lost.fixture, "{}");
    lost_guests_up(&lost);
    measure(&lost);
    lost_guests_down(&lost);
    fixture_down(&lost.fixture);
    libvirt_down(&lost.libvirt);
    return figures_finish(lost.figures);
}
