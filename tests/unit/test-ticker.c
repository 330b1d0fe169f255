/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The catch-up arithmetic in small scenarios whose numbers are worked out by hand and written
 * down: what is due when, and how what was missed is made up under each policy. The period is
 * 1 ms unless said otherwise. Changes while it runs are in tests/sim/test-changes.c.
 */
#include "tests/sim/rig.h"

#include <string.h>

static void test_first_tick(void)
{
    struct rig rig;
    uint64_t when;

    rig_init_default(&rig);
    assert_counts(&rig, 0, 0, 0, 0, 0);
    g_assert_cmpint(ticker_next(&rig.t, T(0), &when), ==, TICKER_WAIT_UNTIL);
    g_assert_cmpuint(when, ==, T(1000));

    ticker_advance(&rig.t, T(1000) - 1);
    assert_counts(&rig, 0, 0, 0, 0, 0);
    g_assert_cmpint(ticker_next(&rig.t, T(1000) - 1, &when), ==, TICKER_WAIT_UNTIL);
    g_assert_cmpuint(when, ==, T(1000));

    ticker_advance(&rig.t, T(1000));
    assert_counts(&rig, 1, 0, 0, 1, 0);
    g_assert_cmpint(ticker_next(&rig.t, T(1000), &when), ==, TICKER_INJECT);
    g_assert_cmpuint(ticker_injection_time(&rig.t), ==, T(1000));
    ticker_injected(&rig.t, T(1000));
    assert_counts(&rig, 1, 0, 1, 0, 0);
    g_assert_cmpuint(rig.t.counts.injected, ==, 1);

    /* A second one has to wait for the acknowledgement, however much is due. */
    ticker_advance(&rig.t, T(5500));
    assert_counts(&rig, 5, 0, 1, 4, 0);
    g_assert_cmpint(ticker_next(&rig.t, T(5500), &when), ==, TICKER_WAIT_ACK);
    ticker_acknowledge(&rig.t, 1, T(5500));
    assert_counts(&rig, 5, 1, 0, 4, 0);
    g_assert_cmpint(ticker_next(&rig.t, T(5500), &when), ==, TICKER_INJECT);
}

static void test_on_time(void)
{
    struct rig rig;

    rig_init_default(&rig);
    rig_run(&rig, T(200000));
    assert_counts(&rig, 200, 200, 0, 0, 0);
    g_assert_cmpuint(rig.t.counts.injected, ==, 200);
    assert_log(&rig, 200, 1000, 1000000);
}

/* The one who drives it is late: that is seen, and shifts no later tick. */
static void test_late_driver(void)
{
    struct rig rig;

    rig_init_default(&rig);
    rig.now = T(1300);
    g_assert_cmpuint(rig_step(&rig), ==, T(2000));
    g_assert_cmpuint(rig.n_log, ==, 1);
    ticker_advance(&rig.t, T(2100));
    g_assert_cmpuint(ticker_injection_time(&rig.t), ==, T(2000));
    rig.now = T(2100);
    g_assert_cmpuint(rig_step(&rig), ==, T(3000));
    assert_counts(&rig, 2, 2, 0, 0, 0);
}

/* Who drives is not late where pacing or a tick in flight holds the next one back. */
static void test_injection_time(void)
{
    struct rig rig;

    rig_init_default(&rig);
    rig_hold(&rig, T(11200));
    ticker_acknowledge(&rig.t, 1, T(11200));
    g_assert_cmpuint(ticker_injection_time(&rig.t), ==, T(11200));
    ticker_advance(&rig.t, T(11250));
    g_assert_cmpuint(ticker_injection_time(&rig.t), ==, T(11200));
    rig_run(&rig, T(11200));
    g_assert_cmpuint(rig.n_log, ==, 1);
    ticker_advance(&rig.t, T(11820));
    g_assert_cmpuint(ticker_injection_time(&rig.t), ==, T(11700));
}

/* 10 ms held, made up from 11 ms on, two for one: 10 missed, and 8 more become due meanwhile. */
static void test_catch_up(void)
{
    struct rig rig;

    rig_init_default(&rig);
    rig_hold(&rig, T(11000));
    assert_counts(&rig, 11, 0, 1, 10, 0);
    rig_run(&rig, T(19499));
    assert_counts(&rig, 19, 18, 0, 1, 0);
    rig_run(&rig, T(19500));
    assert_counts(&rig, 19, 19, 0, 0, 0);
    assert_log(&rig, 18, 11000, 500000);

    /* And as before from here on. */
    rig.n_log = 0;
    rig_run(&rig, T(25999));
    assert_log(&rig, 6, 20000, 1000000);
    assert_counts(&rig, 25, 25, 0, 0, 0);
}

static void test_slew(gconstpointer data)
{
    /* 1 ms and 1/1024 s, divided by 1 + slew/100, rounded up to the next nanosecond */
    static const struct {
        uint32_t slew;
        uint64_t interval_ns, interval_1024_ns;
    } rows[] = {{5, 952381, 930060}, {100, 500000, 488282}, {700, 125000, 122071}};
    unsigned i = GPOINTER_TO_UINT(data);
    struct rig rig;

    rig_init(&rig, policy_of(TICKER_CATCHUP, 1, rows[i].slew, 60000), ms(1));
    rig_hold(&rig, T(101000));
    rig_run(&rig, T(101000) + 10 * rows[i].interval_ns);
    assert_log(&rig, 11, 101000, rows[i].interval_ns);

    rig_init(&rig, policy_of(TICKER_CATCHUP, 1, rows[i].slew, 60000), per_second(1024));
    rig_hold(&rig, T(101000));
    rig_run(&rig, T(101000) + 10 * rows[i].interval_1024_ns);
    assert_log(&rig, 11, 101000, rows[i].interval_1024_ns);
}

/* A backlog of 4 is kept, and one tick injected per due time, the missed one at once. */
static void test_below_threshold(void)
{
    struct rig rig;

    rig_init(&rig, policy_of(TICKER_CATCHUP, 5, 100, 60000), ms(1));
    rig_hold(&rig, T(5200));
    assert_counts(&rig, 5, 0, 1, 4, 0);
    rig_run(&rig, T(5200));
    assert_counts(&rig, 5, 2, 0, 3, 0);
    assert_log(&rig, 1, 5200, 0);
    rig.n_log = 0;
    rig_run(&rig, T(105999));
    assert_log(&rig, 100, 6000, 1000000);
    assert_counts(&rig, 105, 102, 0, 3, 0);
}

/* Above it, it begins, and goes on until all is made up. */
static void test_above_threshold(void)
{
    struct rig rig;

    rig_init(&rig, policy_of(TICKER_CATCHUP, 5, 100, 60000), ms(1));
    rig_hold(&rig, T(7000));
    assert_counts(&rig, 7, 0, 1, 6, 0);
    rig_run(&rig, T(11500));
    assert_log(&rig, 10, 7000, 500000);
    assert_counts(&rig, 11, 11, 0, 0, 0);
}

static void test_limit(void)
{
    struct rig rig;

    rig_init(&rig, policy_of(TICKER_CATCHUP, 1, 100, 10), ms(1));
    rig_hold(&rig, T(11000));
    assert_counts(&rig, 11, 0, 1, 10, 0);
    rig_hold(&rig, T(12000));
    assert_counts(&rig, 12, 0, 1, 10, 1);
    rig_hold(&rig, T(101000));
    assert_counts(&rig, 101, 0, 1, 10, 90);
    rig_run(&rig, T(109500)); /* 10 of them, and 8 that become due meanwhile */
    assert_log(&rig, 18, 101000, 500000);
    assert_counts(&rig, 109, 19, 0, 0, 90);

    /* Shorter than the period: one tick can always be made up. */
    rig_init(&rig, policy_of(TICKER_CATCHUP, 1, 100, 1), ms(20));
    rig_hold(&rig, T(200000));
    assert_counts(&rig, 10, 0, 1, 1, 8);
}

/* How far a clock that counts the ticks is behind: what is made up is not, what was given up stays
 * until the clock is set. */
static void test_clock_behind(void)
{
    struct rig rig;

    rig_init(&rig, policy_of(TICKER_CATCHUP, 1, 100, 10), ms(1));
    g_assert_cmpuint(ticker_behind_ns(&rig.t.counts, rig.t.period), ==, 0);
    rig_hold(&rig, T(101000)); /* backlog 10, skipped 90 */
    g_assert_cmpuint(ticker_behind_ns(&rig.t.counts, rig.t.period), ==, 100000000);
    rig_run(&rig, T(109500));
    g_assert_cmpuint(ticker_behind_ns(&rig.t.counts, rig.t.period), ==, 90000000);
    ticker_start(&rig.t, T(109500), ms(2)); /* at another rate it is the same time */
    g_assert_cmpuint(ticker_behind_ns(&rig.t.counts, rig.t.period), ==, 90000000);
    ticker_reset_backlog(&rig.t, T(109600));
    g_assert_cmpuint(ticker_behind_ns(&rig.t.counts, rig.t.period), ==, 0);
    g_assert_cmpuint(rig.t.counts.skipped, ==, 90);

    rig_hold(&rig, T(150000));
    ticker_stop(&rig.t, T(150000));
    g_assert_cmpuint(ticker_behind_ns(&rig.t.counts, rig.t.period), ==, 0);
}

/* The limit as the last tick before a very long outage saw it: no overflow, all accounted for. */
static void test_very_long_outage(void)
{
    struct rig rig;

    rig_init(&rig, policy_of(TICKER_CATCHUP, 1, 100, UINT32_MAX), ms(1));
    rig_hold(&rig, T(1000));
    ticker_advance(&rig.t, T(HOUR * 24 * 365 * 20));
    g_assert_cmpuint(rig.t.counts.due, ==, UINT64_C(630720000000));
    g_assert_cmpuint(rig.t.counts.backlog, ==, UINT32_MAX);
    rig_check(&rig);
}

static void test_lazy(void)
{
    struct rig rig;

    rig_init(&rig, policy_of(TICKER_LAZY, 1, 100, 60000), ms(1));
    rig_run(&rig, T(3000));
    assert_log(&rig, 3, 1000, 1000000);
    rig_hold(&rig, T(14200));
    rig_run(&rig, T(14200)); /* number 14, late, once; 5 to 13 are gone */
    assert_log(&rig, 1, 14200, 0);
    assert_counts(&rig, 14, 5, 0, 0, 9);
    rig.n_log = 0;
    rig_run(&rig, T(20999));
    assert_log(&rig, 6, 15000, 1000000);
    assert_counts(&rig, 20, 11, 0, 0, 9);
}

static void test_observe(void)
{
    struct rig rig;
    uint64_t when;

    rig_init(&rig, policy_of(TICKER_OBSERVE, 1, 100, 10), ms(1));
    rig_run(&rig, T(5500));
    assert_counts(&rig, 5, 0, 0, 5, 0);
    rig_run(&rig, T(25500));
    assert_counts(&rig, 25, 0, 0, 10, 15);
    g_assert_cmpuint(rig.n_log, ==, 0);
    g_assert_cmpuint(rig.t.counts.injected, ==, 0);
    g_assert_cmpint(ticker_next(&rig.t, T(25500), &when), !=, TICKER_INJECT);
}

static void test_spurious_acknowledgements(void)
{
    struct rig rig;

    rig_init_default(&rig);
    ticker_acknowledge(&rig.t, 3, T(500));
    assert_counts(&rig, 0, 0, 0, 0, 0);
    rig_hold(&rig, T(1200));
    ticker_acknowledge(&rig.t, 0, T(1300));
    assert_counts(&rig, 1, 0, 1, 0, 0);
    ticker_acknowledge(&rig.t, 5, T(1300));
    assert_counts(&rig, 1, 1, 0, 0, 0);
    ticker_acknowledge(&rig.t, UINT64_MAX, T(1400));
    assert_counts(&rig, 1, 1, 0, 0, 0);
    rig.now = T(1400);
    rig_run(&rig, T(5999));
    assert_counts(&rig, 5, 5, 0, 0, 0);
    g_assert_cmpuint(rig.t.counts.injected, ==, 5);
}

/* Nobody says what the guest takes: what was raised counts, and only own delays are made up. */
static void test_open_loop(void)
{
    struct rig rig;

    rig_init_feedback(&rig, false, 0);
    rig.held = true;
    rig_run(&rig, T(10500));
    assert_log(&rig, 10, 1000, 1000000);
    g_assert_cmpuint(rig.t.counts.backlog, ==, 0);

    rig.n_log = 0;
    rig.now = T(20000); /* asleep for 9 ticks; the 10th is on time */
    rig_run(&rig, T(28500));
    assert_log(&rig, 18, 20000, 500000);
    g_assert_cmpuint(rig.t.counts.backlog, ==, 0);
    g_assert_cmpuint(rig.t.counts.injected, ==, 28);
    g_assert_cmpuint(rig.t.counts.due, ==, 28);
}

/* The first acknowledgement does not come within 10 ms: on without, until one comes. */
static void test_feedback_timeout(void)
{
    struct rig rig;
    uint64_t when;

    rig_init_feedback(&rig, true, 10000000);
    rig.held = true;
    rig_run(&rig, T(10999));
    g_assert_cmpuint(rig.n_log, ==, 1);
    g_assert_cmpint(ticker_next(&rig.t, T(10999), &when), ==, TICKER_WAIT_ACK);
    g_assert_cmpuint(when, ==, T(11000)); /* and it says when to look again */
    g_assert_false(rig.t.feedback_lost);

    rig.n_log = 0;
    rig_run(&rig, T(19500));
    g_assert_true(rig.t.feedback_lost);
    assert_log(&rig, 18, 11000, 500000);
    g_assert_cmpuint(rig.t.counts.backlog, ==, 0);
    g_assert_cmpuint(rig.t.counts.injected, ==, 19);

    ticker_acknowledge(&rig.t, 1, T(19600));
    g_assert_false(rig.t.feedback_lost);
    rig_check(&rig);
    g_assert_cmpuint(rig.t.counts.acknowledged, <=, 19);
    rig.now = T(19600);
    rig.n_log = 0;
    rig_run(&rig, T(60500)); /* closed loop again: one at 20 ms, and no more */
    assert_log(&rig, 1, 20000, 0);
    g_assert_cmpuint(rig.t.counts.in_flight, ==, 1);
    g_assert_cmpuint(rig.t.counts.backlog, ==, 40);
}

/* Waiting for an acknowledgement that never comes is no lateness either. */
static void test_injection_time_without_feedback(void)
{
    struct rig rig;

    rig_init_feedback(&rig, true, 10000000);
    rig.held = true;
    rig_run(&rig, T(10999));
    ticker_advance(&rig.t, T(11000));
    g_assert_true(rig.t.feedback_lost);
    g_assert_cmpuint(ticker_injection_time(&rig.t), ==, T(11000));
}

/* An acknowledgement was seen: a guest that takes none for hours is held, not deaf. */
static void test_feedback_is_not_lost_later(void)
{
    struct rig rig;

    rig_init_feedback(&rig, true, 10000000);
    rig_run(&rig, T(5500));
    rig.n_log = 0;
    rig.held = true;
    rig_run(&rig, T(6000));
    ticker_advance(&rig.t, T(HOUR));
    rig.now = T(HOUR);
    rig_step(&rig);
    g_assert_cmpuint(rig.n_log, ==, 1);
    g_assert_false(rig.t.feedback_lost);
    assert_counts(&rig, 3600000, 5, 1, 60000, 3539994);
}

static void test_policy_problems(void)
{
    static const struct {
        enum ticker_mode mode;
        uint32_t threshold, slew;
        bool good;
    } rows[] = {
        {TICKER_CATCHUP, 1, 100, true},
        {TICKER_LAZY, 1, 100, true},
        {TICKER_OBSERVE, 1, 100, true},
        {TICKER_CATCHUP, UINT32_MAX, 100, true},
        {TICKER_CATCHUP, 1, 5, true},
        {TICKER_CATCHUP, 1, 700, true},
        {TICKER_CATCHUP, 0, 100, false},
        {TICKER_CATCHUP, 1, 4, false},
        {TICKER_CATCHUP, 1, 701, false},
        {TICKER_CATCHUP, 1, 0, false},
        {3, 1, 100, false},
        {TICKER_CATCHUP, 1, UINT32_MAX, false},
        {-1, 1, 100, false},
        {TICKER_LAZY, 0, 100, false},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        struct ticker_policy policy =
            policy_of(rows[i].mode, rows[i].threshold, rows[i].slew, 60000);
        const char *problem = ticker_policy_problem(&policy);

        g_assert_true((problem == NULL) == rows[i].good);
        g_assert_true(problem == NULL || strlen(problem) > 5);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ticker/first-tick", test_first_tick);
    g_test_add_func("/ticker/on-time", test_on_time);
    g_test_add_func("/ticker/late-driver", test_late_driver);
    g_test_add_func("/ticker/injection-time", test_injection_time);
    g_test_add_func("/ticker/catch-up", test_catch_up);
    g_test_add_data_func("/ticker/slew/5", GUINT_TO_POINTER(0), test_slew);
    g_test_add_data_func("/ticker/slew/100", GUINT_TO_POINTER(1), test_slew);
    g_test_add_data_func("/ticker/slew/700", GUINT_TO_POINTER(2), test_slew);
    g_test_add_func("/ticker/threshold/below", test_below_threshold);
    g_test_add_func("/ticker/threshold/above", test_above_threshold);
    g_test_add_func("/ticker/limit", test_limit);
    g_test_add_func("/ticker/clock-behind", test_clock_behind);
    g_test_add_func("/ticker/very-long-outage", test_very_long_outage);
    g_test_add_func("/ticker/lazy", test_lazy);
    g_test_add_func("/ticker/observe", test_observe);
    g_test_add_func("/ticker/spurious", test_spurious_acknowledgements);
    g_test_add_func("/ticker/open-loop", test_open_loop);
    g_test_add_func("/ticker/feedback/timeout", test_feedback_timeout);
    g_test_add_func("/ticker/feedback/injection-time", test_injection_time_without_feedback);
    g_test_add_func("/ticker/feedback/held", test_feedback_is_not_lost_later);
    g_test_add_func("/ticker/policy-problems", test_policy_problems);
    return g_test_run();
}
