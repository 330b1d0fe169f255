/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Weeks of guest time in minutes: a ticker whose period never changes, one whose period and policy
 * do, and a supervisor beside an RTC; with outages, suspends and all that is changed at random.
 * What must hold at every step is asserted in sim.c and clock-sim.c; here it is what has come of it
 * in the end: no drift, nothing lost, and the guest's own count, or clock, is right.
 *
 *     weeks [--weeks N] [--seed N]
 *
 * The three go on at the same time, in a thread each. Ends with a table; whatever is wrong ends it
 * at once, with what was compared.
 */
#include "tests/sim/clock-sim.h"
#include "tests/sim/sim.h"

#include <glib.h>
#include <math.h>
#include <stdlib.h>

#define MS(n)       ((uint64_t)(n)*1000000)
#define SECOND      MS(1000)
#define WEEK_S      (7 * 24 * 3600.0)
#define SAY_S       10
#define LENGTH_1024 32u /* of an RTC's period, in 1/32768 s */
#define LENGTH_64   512u

static double weeks = 4;
static int seed = -1;
static const GOptionEntry options[] = {
    {"weeks", 0, 0, G_OPTION_ARG_DOUBLE, &weeks, "For so much guest time (default: 4)", "N"},
    {"seed", 0, 0, G_OPTION_ARG_INT, &seed, "What happens in it (default: another each time)", "N"},
    G_OPTION_ENTRY_NULL,
};

/* One of the three, and what came of it. */
struct part {
    const char *name;
    void (*run)(struct part *part);
    GThread *thread;
    GRand *rand;
    gint64 took_us;
    gint passed_s; /* atomic: of guest time, so far */
    struct ticker_counts counts;
    guint64 taken; /* by the guest's own count */
    guint changes; /* of anything */
    char *verdict;
};

static double random_scale(struct part *part, double least, double most)
{
    return least * pow(most / least, g_rand_double(part->rand));
}

static void note(struct part *part, double seconds)
{
    g_atomic_int_set(&part->passed_s, (gint)seconds);
}

/* ---- A ticker ---- */

__extension__ typedef unsigned __int128 u128;

/* The last tick that became due did so exactly k periods after the start, and the next one will be
 * one period after that. */
static void check_drift(const struct sim *sim)
{
    const struct period *p = &sim->params.period;
    uint64_t k = sim->t.counts.due - sim->due_base;
    u128 next = (u128)(k + 1) * p->numerator;

    g_assert_cmpuint(sim->t.next_ns, ==, sim->start_ns + (uint64_t)(next / p->denominator));
    g_assert_cmpuint(sim->t.next_part, ==, (uint64_t)(next % p->denominator));
    g_assert_true((u128)k * p->numerator <= (u128)(sim->now - sim->start_ns) * p->denominator);
    g_assert_true(next > (u128)(sim->now - sim->start_ns) * p->denominator);
}

static struct ticker_policy random_policy(struct part *part, gboolean loses)
{
    return (struct ticker_policy){
        .mode = !loses || g_rand_double(part->rand) < 0.6 ? TICKER_CATCHUP
                : g_rand_boolean(part->rand)              ? TICKER_LAZY
                                                          : TICKER_OBSERVE,
        .threshold = (uint32_t)random_scale(part, 1, 50),
        .slew = (uint32_t)random_scale(part, 50, TICKER_SLEW_MAX),
        .limit_ms = loses ? (uint32_t)random_scale(part, 10, 600000) : 3600000,
        .catch_up_suspends = g_rand_boolean(part->rand),
    };
}

static struct period random_period(struct part *part)
{
    struct period period;

    /* 64 to 1024 Hz, or any from 1 to 20 ms. */
    if (g_rand_boolean(part->rand)) {
        g_assert_true(
            period_make(SECOND, UINT64_C(64) << g_rand_int_range(part->rand, 0, 5), &period));
        return period;
    }
    return period_from_units((uint64_t)random_scale(part, 10000, 200000));
}

static void begin_ticker(struct part *part, struct sim *sim, struct period period)
{
    struct sim_params params = {.policy = TICKER_POLICY_DEFAULT,
                                .period = period,
                                .closed_loop = true,
                                .handler_ns = 20000,
                                .late_max_ns = 200000,
                                .outage_max_ns = 20 * SECOND,
                                .outage_gap_ns = 3 * SECOND,
                                .suspend_max_ns = 600 * SECOND,
                                .suspend_gap_ns = 1800 * SECOND};

    params.policy.limit_ms = 3600000;
    sim_init(sim, (uint64_t)g_rand_int(part->rand) << 32 | g_rand_int(part->rand), &params);
}

static void end_ticker(struct part *part, struct sim *sim)
{
    struct ticker_policy policy = TICKER_POLICY_DEFAULT;
    const struct ticker_counts *c = &sim->t.counts;

    check_drift(sim);
    sim_calm_down(sim);
    sim_set_policy(sim, &policy);
    sim_drain(sim);
    g_assert_cmpuint(c->backlog + c->in_flight, ==, 0);
    g_assert_cmpuint(c->acknowledged + c->skipped, ==, c->due);
    g_assert_cmpuint(sim->apic.taken, ==, c->acknowledged);
    g_assert_cmpuint(sim->apic.merged, ==, 0);
    check_drift(sim);
    part->counts = *c;
    part->taken = sim->apic.taken;
}

static double passed(const struct sim *sim)
{
    return (double)(sim->now - sim->began_ns) / 1e9;
}

/* Weeks of 1/1024 s, which is no whole number of nanoseconds. */
static void run_steady(struct part *part)
{
    struct period period;
    struct sim sim;

    g_assert_true(period_make(SECOND, 1024, &period));
    begin_ticker(part, &sim, period);
    while (passed(&sim) < weeks * WEEK_S) {
        struct ticker_policy policy = random_policy(part, FALSE);
        sim_run(&sim, (uint64_t)(random_scale(part, 1, 3600) * 1e9));
        sim_set_policy(&sim, &policy);
        check_drift(&sim);
        part->changes++;
        note(part, passed(&sim));
    }
    end_ticker(part, &sim);
    g_assert_cmpuint(part->counts.skipped, ==, 0);
    part->verdict = g_strdup("all that were due, each at its time");
}

static void run_changing(struct part *part)
{
    struct sim sim;

    begin_ticker(part, &sim, random_period(part));
    while (passed(&sim) < weeks * WEEK_S) {
        sim_run(&sim, (uint64_t)(random_scale(part, 1, 3600) * 1e9));
        check_drift(&sim);
        if (g_rand_boolean(part->rand)) {
            sim_start(&sim, random_period(part));
        } else {
            struct ticker_policy policy = random_policy(part, TRUE);
            sim_set_policy(&sim, &policy);
        }
        part->changes++;
        note(part, passed(&sim));
    }
    end_ticker(part, &sim);
    part->verdict = g_strdup("acknowledged, or skipped as the policies say");
}

/* ---- A supervisor ---- */

#define RIGHT_TICKS    2
#define CATCH_UP_TIMES 10
/* The RTC itself holds a tick or two at each end of a suspend. */
#define SUSPEND_TICKS 5
/* Its clock in 100 ms, by the speed asked for: a tick more or less makes some difference. */
#define SPEED_SLACK 1.25

struct rtc {
    struct clock_sim sim;
    struct part *part;
    uint32_t slew;      /* the fastest one since the last check */
    double stood_still; /* counts */
};

/* What is kept of the past grows, and is of no use here. */
static void go_on(struct rtc *rtc, double seconds)
{
    g_array_set_size(rtc->sim.history, 0);
    clock_sim_run(&rtc->sim, seconds);
}

/* What the guest's clock is behind and the supervisor does not know of, in counts; between two
 * ticks, of which one may know already and not the other. */
static double unknown(struct rtc *rtc)
{
    while (rtc->sim.in_handler || rtc->sim.pending) {
        clock_sim_run(&rtc->sim, CLOCK_SIM_STEP_NS / 1e9);
    }
    clock_sim_look(&rtc->sim);
    return clock_sim_behind(&rtc->sim) - (double)rtc->sim.supervisor.owed;
}

static void check_right(struct rtc *rtc)
{
    double behind = clock_sim_behind(&rtc->sim) - rtc->stood_still;

    g_assert_cmpfloat(fabs(behind), <=, RIGHT_TICKS * (double)LENGTH_64);
    g_assert_cmpfloat(rtc->sim.peak, <=, (1 + rtc->slew / 100.0) * SPEED_SLACK);
    g_assert_cmpuint(rtc->sim.supervisor.counts.skipped, ==, 0);
    rtc->sim.peak = 0;
    rtc->slew = rtc->sim.supervisor.policy.slew;
}

/* Nothing of what was lost is still to be made up. The speed asked for may be more than there is.
 */
static void catch_up(struct rtc *rtc)
{
    const struct supervisor *s = &rtc->sim.supervisor;
    double needed = s->owed > 0 ? (double)s->owed / 32768 * 100 / s->policy.slew : 0;

    for (int i = 0; i == 0 || (i < CATCH_UP_TIMES && s->counts.backlog > 0); i++) {
        go_on(rtc, needed + 5);
    }
    g_assert_cmpuint(s->counts.backlog, <=, 1);
}

/* A suspend of which the time is not made up. */
static void suspend(struct rtc *rtc)
{
    double seconds = random_scale(rtc->part, 0.05, 300);
    gboolean made_up = rtc->sim.supervisor.policy.catch_up_suspends;

    catch_up(rtc);
    double before = unknown(rtc);
    clock_sim_stop(&rtc->sim, 0.03); /* it is told late */
    clock_sim_look(&rtc->sim);
    supervisor_freeze(&rtc->sim.supervisor, rtc->sim.now);
    clock_sim_stop(&rtc->sim, seconds);
    go_on(rtc, 0.05); /* and so is this */
    clock_sim_look(&rtc->sim);
    supervisor_thaw(&rtc->sim.supervisor, rtc->sim.now);
    if (!made_up) {
        catch_up(rtc);
        double lost = unknown(rtc) - before;
        g_assert_cmpfloat(fabs(lost - (seconds + 0.03) * 32768), <=,
                          SUSPEND_TICKS * (double)rtc->sim.length);
        rtc->stood_still += lost;
    }
}

static void change_rate(struct rtc *rtc)
{
    static const guint32 lengths[] = {LENGTH_64, LENGTH_64, LENGTH_1024, 64, 256};

    clock_sim_program(&rtc->sim,
                      lengths[g_rand_int_range(rtc->part->rand, 0, G_N_ELEMENTS(lengths))]);
    rtc->part->changes++;
}

static void change_policy(struct rtc *rtc)
{
    struct ticker_policy policy = TICKER_POLICY_DEFAULT;

    policy.slew = (uint32_t)random_scale(rtc->part, 50, 400);
    policy.limit_ms = 3600000;
    policy.catch_up_suspends = g_rand_boolean(rtc->part->rand);
    clock_sim_look(&rtc->sim);
    supervisor_set_policy(&rtc->sim.supervisor, &policy, rtc->sim.now);
    rtc->slew = MAX(rtc->slew, policy.slew);
    rtc->part->changes++;
}

static void happen(struct rtc *rtc)
{
    switch (g_rand_int_range(rtc->part->rand, 0, 8)) {
    case 0:
        suspend(rtc);
        break;
    case 1:
        change_policy(rtc);
        break;
    case 2:
    case 3:
        change_rate(rtc);
        break;
    default:
        clock_sim_stop(&rtc->sim, random_scale(rtc->part, 0.001, 20));
        break;
    }
}

static void run_rtc(struct part *part)
{
    struct clock_sim_options o = {.seed = g_rand_int(part->rand),
                                  .policy = TICKER_POLICY_DEFAULT,
                                  .traced = TRUE,
                                  .length = LENGTH_64,
                                  .late_us = 300};
    struct rtc rtc = {.part = part, .slew = o.policy.slew};
    double worst = 0;

    o.policy.limit_ms = 3600000;
    clock_sim_up(&rtc.sim, &o);
    clock_sim_run(&rtc.sim, 1);
    clock_sim_settle(&rtc.sim);
    uint64_t began = rtc.sim.now;
    for (guint i = 1; (double)(rtc.sim.now - began) / 1e9 < weeks * WEEK_S; i++) {
        go_on(&rtc, random_scale(part, 0.1, 600));
        happen(&rtc);
        if (i % 20 == 0) {
            catch_up(&rtc);
            check_right(&rtc);
            worst = fmax(worst, fabs(clock_sim_behind(&rtc.sim) - rtc.stood_still));
        }
        note(part, (double)(rtc.sim.now - began) / 1e9);
    }
    catch_up(&rtc);
    check_right(&rtc);
    part->counts = rtc.sim.supervisor.counts;
    part->taken = part->counts.acknowledged; /* by its own count: see its clock */
    part->verdict = g_strdup_printf(
        "its clock is right to %.1f ms, and was to %.1f ms at any check",
        fabs(clock_sim_behind(&rtc.sim) - rtc.stood_still) / 32.768, worst / 32.768);
    clock_sim_down(&rtc.sim);
}

/* ---- All of them ---- */

static struct part parts[] = {
    {.name = "ticker, 1024 Hz", .run = run_steady},
    {.name = "ticker, changing", .run = run_changing},
    {.name = "supervisor, RTC", .run = run_rtc},
};

static gpointer run_part(gpointer data)
{
    struct part *part = data;
    gint64 begun = g_get_monotonic_time();

    part->run(part);
    part->took_us = g_get_monotonic_time() - begun;
    return NULL;
}

static gboolean is_done(void)
{
    for (guint i = 0; i < G_N_ELEMENTS(parts); i++) {
        if (g_atomic_int_get(&parts[i].passed_s) < weeks * WEEK_S) {
            return FALSE;
        }
    }
    return TRUE;
}

static void tell(void)
{
    gint64 begun = g_get_monotonic_time(), next = begun + SAY_S * G_USEC_PER_SEC;

    while (!is_done()) {
        g_usleep(100000);
        if (g_get_monotonic_time() < next) {
            continue;
        }
        g_printerr("%5d s ", (int)((next - begun) / G_USEC_PER_SEC));
        for (guint i = 0; i < G_N_ELEMENTS(parts); i++) {
            g_printerr("  %s: %.2f weeks", parts[i].name,
                       g_atomic_int_get(&parts[i].passed_s) / WEEK_S);
        }
        g_printerr("\n");
        next += SAY_S * G_USEC_PER_SEC;
    }
}

static void print_summary(double minutes)
{
    double sum = 0;

    g_print("%-17s %6s %12s %12s %10s %9s %11s\n", "", "weeks", "due", "taken", "skipped",
            "changes", "weeks/min");
    for (guint i = 0; i < G_N_ELEMENTS(parts); i++) {
        const struct part *part = &parts[i];
        double done = part->passed_s / WEEK_S;
        g_print("%-17s %6.2f %12" G_GUINT64_FORMAT " %12" G_GUINT64_FORMAT " %10" G_GUINT64_FORMAT
                " %9u %11.1f\n  %s\n",
                part->name, done, part->counts.due, part->taken, part->counts.skipped,
                part->changes, done / ((double)part->took_us / 6e7), part->verdict);
        sum += done;
    }
    g_print("%.1f weeks of guest time in %.1f minutes; seed %d: nothing was wrong\n", sum, minutes,
            seed);
}

static void read_options(int argc, char **argv)
{
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_autoptr(GError) error = NULL;

    g_option_context_add_main_entries(context, options, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error)) {
        g_printerr("weeks: %s\n", error->message);
    } else if (argc > 1) {
        g_printerr("weeks: \"%s\" is not an option\n", argv[1]);
    } else if (!(weeks > 0 && weeks <= 1000) || seed < -1) {
        g_printerr("weeks: --weeks must be more than 0 (and at most 1000), --seed 0 or more\n");
    } else {
        return;
    }
    exit(2);
}

int main(int argc, char **argv)
{
    read_options(argc, argv);
    seed = seed >= 0 ? seed : (int)(g_random_int() >> 1);
    g_printerr("weeks: %g of them, seed %d\n", weeks, seed);
    gint64 begun = g_get_monotonic_time();
    for (guint i = 0; i < G_N_ELEMENTS(parts); i++) {
        parts[i].rand = g_rand_new_with_seed((guint32)seed + i);
        parts[i].thread = g_thread_new(parts[i].name, run_part, &parts[i]);
    }
    tell();
    for (guint i = 0; i < G_N_ELEMENTS(parts); i++) {
        g_thread_join(parts[i].thread);
    }
    print_summary((double)(g_get_monotonic_time() - begun) / 6e7);
    for (guint i = 0; i < G_N_ELEMENTS(parts); i++) {
        g_rand_free(parts[i].rand);
        g_free(parts[i].verdict);
    }
    return EXIT_SUCCESS;
}
