/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hvtimerd with real guests under a real libvirt, for hours: ticks by a borrowed pin, by a leased
 * timer, RTCs slewed; the guests stopped, suspended, starved, their timers changed, hvtimerd killed
 * and started again, all at random. What must be true of the figures is so in every reading; in the
 * end nothing is missing, the clocks are right, and hvtimerd has not grown.
 *
 *     soak [--hours N] [--seed N]
 *
 * Says what goes on to stderr, every 10 s. The exit status is 0, or 1 if anything was wrong.
 */
#include "tests/bench/soak.h"

#include "tests/bench/soak-guests.h"
#include "tests/bench/soak-steps.h"
#include "tests/bench/soak-watch.h"
#include <math.h>
#include <stdlib.h>

#define SAY_S 10
/* Of disturbances. A chapter that is judged takes some ten seconds more. */
#define CHAPTER_S_MIN 10.0
#define CHAPTER_S_MAX 60.0
/* hvtimerd is not ended in the last part of a soak, so that it lives long enough to be seen grow.
 */
#define LAST_LIFE 0.5
#define RESTARTS  0.5 /* the chance of one after a chapter before that */
/* So many are told; more of the same would say no more. */
#define FAILURES_MAX 20

static double hours = 1;
static int seed = -1;
static const GOptionEntry options[] = {
    {"hours", 0, 0, G_OPTION_ARG_DOUBLE, &hours, "For so long, or a part of it (default: 1)", "N"},
    {"seed", 0, 0, G_OPTION_ARG_INT, &seed, "What is done to them (default: another each time)",
     "N"},
    G_OPTION_ENTRY_NULL,
};

const char *const soak_step_names[SOAK_STEPS] = {"stalls", "suspends", "starvations", "periods",
                                                 "rates",  "policies", "kills",       "stops"};

static gint64 begun_us, end_us;

/* ---- What is said ---- */

static double elapsed(void)
{
    return (double)(g_get_monotonic_time() - begun_us) / G_USEC_PER_SEC;
}

static void say(const char *format, va_list arguments)
{
    g_autofree char *text = g_strdup_vprintf(format, arguments);

    g_printerr("%7.1f s  %s\n", elapsed(), text);
}

void soak_say(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    say(format, arguments);
    va_end(arguments);
}

void soak_fail(struct soak *soak, const char *format, ...)
{
    va_list arguments;

    if (g_atomic_int_add((gint *)&soak->failures, 1) < FAILURES_MAX) {
        g_autofree char *marked = g_strconcat("FAILED: ", format, NULL);
        va_start(arguments, format);
        say(marked, arguments);
        va_end(arguments);
    }
}

static char *steps_text(const struct soak *soak)
{
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < SOAK_STEPS; i++) {
        g_string_append_printf(text, "%s%u %s", i > 0 ? ", " : "", soak->steps[i],
                               soak_step_names[i]);
    }
    return g_string_free(text, FALSE);
}

/* A thread's: whoever disturbs is busy. */
static gpointer tell(gpointer data)
{
    struct soak *soak = data;

    for (gint64 next = SAY_S;; next += SAY_S) {
        while (elapsed() < (double)next) {
            g_usleep(100000);
            if (g_atomic_int_get(&soak->told) != 0) {
                return NULL;
            }
        }
        hvapi_statistics sum = soak_watch_sum(soak->reader);
        g_autofree char *steps = steps_text(soak);
        soak_say("chapter %u: %" G_GUINT64_FORMAT " ticks due, %" G_GUINT64_FORMAT
                 " acknowledged, backlog %" G_GUINT64_FORMAT "; %s; %u failures",
                 soak->chapters, sum.due, sum.acknowledged, sum.backlog, steps,
                 (guint)g_atomic_int_get((gint *)&soak->failures));
    }
}

/* ---- Chance ---- */

double soak_random_scale(struct soak *soak, double least, double most)
{
    return least * pow(most / least, g_rand_double(soak->rand));
}

gboolean soak_chance(struct soak *soak, double probability)
{
    return g_rand_double(soak->rand) < probability;
}

/* ---- The soak ---- */

static double left(void)
{
    return (double)(end_us - g_get_monotonic_time()) / G_USEC_PER_SEC;
}

static void disturb_for(struct soak *soak, double seconds)
{
    double until = elapsed() + seconds;

    while (elapsed() < until && soak->failures < FAILURES_MAX) {
        soak_disturb(soak);
    }
    soak_calm(soak);
}

/* FALSE: it makes no sense to go on. */
static gboolean chapter(struct soak *soak)
{
    double seconds = CLAMP(3600 * hours / 20, CHAPTER_S_MIN, CHAPTER_S_MAX);

    soak->chapters++;
    soak_guests_begin(soak);
    disturb_for(soak, seconds * (0.5 + g_rand_double(soak->rand)));
    soak_guests_judge(soak);
    if (left() > LAST_LIFE * hours * 3600 && soak_chance(soak, RESTARTS)) {
        soak_restart(soak);
        soak_calm(soak);
        return soak_guests_await(soak);
    }
    return TRUE;
}

static void run(struct soak *soak)
{
    soak_guests_up(soak);
    if (soak_guests_enable(soak) && soak_guests_await(soak)) {
        soak_calm(soak);
        soak->reader = soak_watch_new(soak);
        soak_watch_go_on(soak->reader);
        GThread *teller = g_thread_new("teller", tell, soak);
        while (chapter(soak) && left() > 0 && soak->failures < FAILURES_MAX) {
        }
        soak_watch_pause(soak->reader);
        soak_guests_judge_end(soak);
        g_atomic_int_set(&soak->told, 1);
        g_thread_join(teller);
    }
}

/* ---- What came of it ---- */

static void print_guest(struct soak *soak, guint i)
{
    const struct soak_guest *guest = &soak->guests[i];
    hvapi_statistics s = asking_statistics(guest->name);

    g_print("%-14s %10" G_GUINT64_FORMAT " %10" G_GUINT64_FORMAT " %9" G_GUINT64_FORMAT
            " %8" G_GUINT64_FORMAT " %8" G_GUINT64_FORMAT " %+6d",
            guest->name, s.due, guest->taken, guest->kind != NULL ? s.injected : 0,
            soak_watch_backlog_most(soak->reader, i), guest->skipped, guest->worst_difference);
    if (guest->kind != NULL) {
        g_print("  %+6.2f %+6.2f", guest->worst_behind, guest->worst_ahead);
    }
    g_print("%s\n", guest->unjudged > 0 ? "  (not always seen)" : "");
}

static void print_summary(struct soak *soak)
{
    g_autofree char *steps = steps_text(soak);

    g_print("%-14s %10s %10s %9s %8s %8s %6s  %6s %6s\n", "guest", "due", "taken", "topped up",
            "backlog", "skipped", "differ", "behind", "ahead");
    for (guint i = 0; i < SOAK_GUESTS; i++) {
        print_guest(soak, i);
    }
    g_print(
        "taken: by the guest's own count, in the chapters; backlog: the most; differ: ticks that\n"
        "it counted but hvtimerd did not, the most in any chapter; behind, ahead: its clock at\n"
        "the end of a chapter, the most, in ticks of its slowest rate\n");
    soak_watch_judge(soak->reader);
    g_print("%u chapters in %.2f hours: %s; %" G_GUINT64_FORMAT " readings add up\n",
            soak->chapters, elapsed() / 3600, steps, soak_watch_readings(soak->reader));
    g_print("seed %d: %s\n", seed, soak->failures == 0 ? "nothing was wrong" : "FAILED, see above");
}

static void read_options(int argc, char **argv)
{
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_autoptr(GError) error = NULL;

    g_option_context_add_main_entries(context, options, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error)) {
        g_printerr("soak: %s\n", error->message);
    } else if (argc > 1) {
        g_printerr("soak: \"%s\" is not an option\n", argv[1]);
    } else if (!(hours > 0 && hours <= 10000) || seed < -1) {
        g_printerr("soak: --hours must be more than 0 (and at most 10000), --seed 0 or more\n");
    } else {
        return;
    }
    exit(2);
}

int main(int argc, char **argv)
{
    struct soak soak = {0};

    read_options(argc, argv);
    libvirt_guard();
    if (libvirt_missing() != NULL) {
        g_printerr("soak: can't be run here: %s\n", libvirt_missing());
        return EXIT_FAILURE;
    }
    seed = seed >= 0 ? seed : (int)(g_random_int() >> 1);
    g_printerr("soak: %g hours, seed %d\n", hours, seed);
    soak.rand = g_rand_new_with_seed((guint32)seed);
    soak.cpu = disturb_cpu();
    libvirt_up(&soak.libvirt);
    soak.fixture = (struct fixture){.libvirt = LIBVIRT_URI, .quiet = g_getenv("SOAK_LOUD") == NULL};
    fixture_up(&soak.fixture, "{}");
    begun_us = g_get_monotonic_time();
    end_us = begun_us + (gint64)(hours * 3600 * G_USEC_PER_SEC);
    run(&soak);
    if (soak.reader != NULL) {
        print_summary(&soak);
        soak_watch_free(soak.reader);
    }
    soak_guests_down(&soak);
    fixture_down(&soak.fixture);
    libvirt_down(&soak.libvirt);
    g_rand_free(soak.rand);
    return soak.failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
