/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is changed on a ticker while it runs, in small scenarios whose numbers are worked out by
 * hand: policy, period, stop and start, suspend and resume, route, guest reset.
 */
#include "tests/sim/rig.h"

/* What was only watched is not replayed to a guest that never missed it. */
static void test_observe_to_catchup(void)
{
    struct ticker_policy catchup = policy_of(TICKER_CATCHUP, 1, 100, 60000);
    struct rig rig;

    rig_init(&rig, policy_of(TICKER_OBSERVE, 1, 100, 60000), ms(1));
    rig_run(&rig, T(30500));
    assert_counts(&rig, 30, 0, 0, 30, 0);
    ticker_set_policy(&rig.t, &catchup, T(30500));
    assert_counts(&rig, 30, 0, 0, 0, 30);
    rig_run(&rig, T(40999));
    assert_log(&rig, 10, 31000, 1000000);
    assert_counts(&rig, 40, 10, 0, 0, 30);
}

static void test_new_policy(void)
{
    struct ticker_policy faster = policy_of(TICKER_CATCHUP, 1, 300, 20);
    struct rig rig;

    rig_init_default(&rig);
    rig_hold(&rig, T(101000));
    assert_counts(&rig, 101, 0, 1, 100, 0);
    ticker_set_policy(&rig.t, &faster, T(101000));
    ticker_advance(&rig.t, T(101000));
    assert_counts(&rig, 101, 0, 1, 20, 80); /* the limit holds from now on */
    rig_run(&rig, T(103000));
    assert_log(&rig, 9, 101000, 250000); /* and so does the pace */
}

/* To say again what holds already changes nothing in a catch-up that goes on. */
static void test_same_policy_again(void)
{
    struct ticker_policy policy = policy_of(TICKER_CATCHUP, 5, 100, 60000);
    struct rig rig;

    rig_init(&rig, policy, ms(1));
    rig_hold(&rig, T(11000));
    rig_run(&rig, T(17000));
    g_assert_cmpuint(rig.t.counts.backlog, ==, 3);
    ticker_set_policy(&rig.t, &policy, T(17000));
    rig_run(&rig, T(20000));
    assert_counts(&rig, 20, 20, 0, 0, 0);
}

/* Suspended from 5.3 to 105.3 ms: every tick after that comes 100 ms later. */
static void test_suspend(void)
{
    struct rig rig;
    uint64_t when;

    rig_init_default(&rig);
    rig_run(&rig, T(5300));
    ticker_freeze(&rig.t, T(5300));
    ticker_advance(&rig.t, T(60000));
    g_assert_cmpint(ticker_next(&rig.t, T(60000), &when), ==, TICKER_IDLE);
    assert_counts(&rig, 5, 5, 0, 0, 0);
    ticker_thaw(&rig.t, T(105300));
    rig.now = T(105300);
    rig.n_log = 0;
    rig_run(&rig, T(110999));
    assert_log(&rig, 5, 106000, 1000000);
    assert_counts(&rig, 10, 10, 0, 0, 0);
}

/* What was missed before a suspend is made up after it, a tick in flight taken after it. */
static void test_suspend_with_a_backlog(void)
{
    struct rig rig;

    rig_init_default(&rig);
    rig_hold(&rig, T(4300));
    ticker_freeze(&rig.t, T(4300));
    ticker_thaw(&rig.t, T(104300));
    assert_counts(&rig, 4, 0, 1, 3, 0);
    rig.now = T(104300);
    rig_run(&rig, T(104300));
    g_assert_cmpuint(rig.n_log, ==, 1);
    rig_run(&rig, T(110500));
    assert_counts(&rig, 10, 10, 0, 0, 0);
}

static void test_suspend_made_up(void)
{
    struct ticker_policy policy = policy_of(TICKER_CATCHUP, 1, 100, 60);
    struct rig rig;
    uint64_t when;

    policy.catch_up_suspends = true;
    rig_init(&rig, policy, ms(1));
    rig_run(&rig, T(5300));
    ticker_freeze(&rig.t, T(5300));
    ticker_advance(&rig.t, T(30000));
    g_assert_cmpint(ticker_next(&rig.t, T(30000), &when), ==, TICKER_IDLE);
    ticker_thaw(&rig.t, T(55300));
    ticker_advance(&rig.t, T(55300));
    assert_counts(&rig, 55, 5, 0, 50, 0);
    rig.now = T(55300);
    rig.n_log = 0;
    rig_run(&rig, T(60300));
    assert_log(&rig, 11, 55300, 500000);

    /* Up to the limit, no further. */
    ticker_freeze(&rig.t, T(60300));
    ticker_thaw(&rig.t, T(1060300));
    ticker_advance(&rig.t, T(1060300));
    assert_counts(&rig, 1060, 16, 0, 60, 984);
}

/* While the guest is suspended nobody could have injected anything, and so nobody was late. */
static void test_injection_time_after_a_suspend(void)
{
    struct ticker_policy policy = TICKER_POLICY_DEFAULT;
    struct rig rig;

    policy.catch_up_suspends = true;
    rig_init(&rig, policy, ms(1));
    rig_run(&rig, T(5300));
    ticker_freeze(&rig.t, T(5300));
    ticker_thaw(&rig.t, T(55300));
    ticker_advance(&rig.t, T(55300));
    g_assert_cmpuint(ticker_injection_time(&rig.t), ==, T(55300));
}

/* A limit of 10 ticks leaves a threshold of 10 nothing to start at: it starts below. */
static void test_threshold_above_limit(void)
{
    struct ticker_policy policy = policy_of(TICKER_CATCHUP, 10, 100, 10);
    struct rig rig;

    rig_init(&rig, policy, ms(1));
    rig_hold(&rig, T(100000));
    rig_run(&rig, T(150000));
    g_assert_cmpuint(rig.t.counts.backlog, ==, 0);
}

/* What on_resume says at the resume holds, also for a timer started in the suspend. */
static void test_on_resume_changed_while_suspended(void)
{
    struct ticker_policy catchup = TICKER_POLICY_DEFAULT, freeze = TICKER_POLICY_DEFAULT;
    struct rig rig;

    catchup.catch_up_suspends = true;
    rig_init(&rig, freeze, ms(1));
    rig_run(&rig, T(5300));
    ticker_freeze(&rig.t, T(5300));
    ticker_start(&rig.t, T(50000), ms(1));
    ticker_set_policy(&rig.t, &catchup, T(51000));
    ticker_thaw(&rig.t, T(60000));
    g_assert_cmpuint(rig.t.counts.due, ==, 15);

    rig_init(&rig, catchup, ms(1));
    rig_run(&rig, T(5300));
    ticker_freeze(&rig.t, T(5300));
    ticker_start(&rig.t, T(50000), ms(1));
    ticker_set_policy(&rig.t, &freeze, T(51000));
    ticker_thaw(&rig.t, T(60000));
    ticker_advance(&rig.t, T(60999));
    g_assert_cmpuint(rig.t.counts.due, ==, 5);
    ticker_advance(&rig.t, T(61000));
    g_assert_cmpuint(rig.t.counts.due, ==, 6);
}

/* Started in the middle of a suspend: nothing is due from before the start. */
static void test_start_while_suspended(gconstpointer data)
{
    struct ticker_policy policy = TICKER_POLICY_DEFAULT;
    struct rig rig;

    policy.catch_up_suspends = GPOINTER_TO_INT(data);
    rig_init(&rig, policy, ms(1));
    rig_run(&rig, T(5300));
    ticker_freeze(&rig.t, T(5300));
    ticker_start(&rig.t, T(50000), ms(1));
    ticker_thaw(&rig.t, T(60000));
    rig.now = T(60000);
    ticker_advance(&rig.t, rig.now);
    g_assert_cmpuint(rig.t.counts.due, ==, policy.catch_up_suspends ? 15 : 5);
    rig_run(&rig, T(61000));
    g_assert_cmpuint(rig.t.counts.due, ==, policy.catch_up_suspends ? 16 : 6);
}

/* A suspended guest acknowledges nothing: that time does not count against it. */
static void test_feedback_across_a_suspend(gconstpointer data)
{
    struct ticker_policy policy = TICKER_POLICY_DEFAULT;
    struct rig rig;

    policy.catch_up_suspends = GPOINTER_TO_INT(data);
    rig_init_feedback(&rig, true, 10000000);
    ticker_set_policy(&rig.t, &policy, T(0));
    rig.held = true;
    rig_run(&rig, T(1500));
    ticker_freeze(&rig.t, T(1500));
    ticker_thaw(&rig.t, T(101500));
    rig.now = T(101500);
    rig_run(&rig, T(110000));
    g_assert_false(rig.t.feedback_lost);
    g_assert_cmpuint(rig.t.counts.injected, ==, 1);
    rig_run(&rig, T(111000));
    g_assert_true(rig.t.feedback_lost);
}

static void test_reset_backlog(void)
{
    struct rig rig;

    rig_init_default(&rig);
    rig_hold(&rig, T(50200));
    assert_counts(&rig, 50, 0, 1, 49, 0);
    ticker_reset_backlog(&rig.t, T(50200));
    assert_counts(&rig, 50, 0, 1, 0, 49);
    rig_run(&rig, T(55999));
    assert_log(&rig, 5, 51000, 1000000);
    assert_counts(&rig, 55, 6, 0, 0, 49);
}

static void test_stop(void)
{
    struct rig rig;
    uint64_t when;

    rig_init_default(&rig);
    rig_hold(&rig, T(7200));
    ticker_stop(&rig.t, T(9500));
    assert_counts(&rig, 9, 0, 1, 0, 8);
    ticker_advance(&rig.t, T(20000));
    g_assert_cmpint(ticker_next(&rig.t, T(20000), &when), !=, TICKER_INJECT);
    ticker_acknowledge(&rig.t, 1, T(20000));
    assert_counts(&rig, 9, 1, 0, 0, 8);
    ticker_advance(&rig.t, T(HOUR));
    g_assert_cmpint(ticker_next(&rig.t, T(HOUR), &when), ==, TICKER_IDLE);
    g_assert_cmpuint(when, ==, TICKER_NEVER);
    assert_counts(&rig, 9, 1, 0, 0, 8);

    /* And anew: a full period, the counts go on. */
    rig.now = T(HOUR) + 300;
    ticker_start(&rig.t, rig.now, ms(1));
    g_assert_cmpuint(rig_step(&rig), ==, rig.now + 1000000);
    rig_run(&rig, T(HOUR + 2001));
    assert_counts(&rig, 11, 3, 0, 0, 8);
}

/* A backlog is an amount of time. */
static void test_restart_restates_the_backlog(void)
{
    struct rig rig;

    rig_init_default(&rig);
    rig_hold(&rig, T(101000));
    assert_counts(&rig, 101, 0, 1, 100, 0);
    ticker_start(&rig.t, T(101000), ms(10));
    assert_counts(&rig, 11, 0, 1, 10, 0);
    ticker_start(&rig.t, T(101000), ms(1));
    assert_counts(&rig, 101, 0, 1, 100, 0);
    ticker_start(&rig.t, T(101000), ms(30));
    assert_counts(&rig, 4, 0, 1, 3, 0); /* rounded down */
    ticker_start(&rig.t, T(101000), ms(100));
    assert_counts(&rig, 1, 0, 1, 0, 0);

    rig_init(&rig, policy_of(TICKER_CATCHUP, 1, 100, 60000), ms(10));
    rig_hold(&rig, T(55500));
    assert_counts(&rig, 5, 0, 1, 4, 0);
    ticker_start(&rig.t, T(55500), ms(1));
    assert_counts(&rig, 41, 0, 1, 40, 0);
    rig_run(&rig, T(56499));
    g_assert_cmpuint(rig.t.counts.due, ==, 41);
    rig_run(&rig, T(155500)); /* 100 of the new length, and all made up */
    assert_counts(&rig, 141, 141, 0, 0, 0);
}

/* The pending tick is removed, the new one is a full period away. */
static void test_restart_puts_the_next_tick_off(void)
{
    struct rig rig;

    rig_init_default(&rig);
    rig_run(&rig, T(5900));
    ticker_start(&rig.t, T(5900), ms(1));
    rig.n_log = 0;
    rig_run(&rig, T(9000));
    assert_log(&rig, 3, 6900, 1000000);
    assert_counts(&rig, 8, 8, 0, 0, 0);
}

static void test_restart_keeps_to_the_limit(void)
{
    struct rig rig;

    rig_init(&rig, policy_of(TICKER_CATCHUP, 1, 100, 5), ms(20));
    rig_hold(&rig, T(100000));
    assert_counts(&rig, 5, 0, 1, 1, 3);
    ticker_start(&rig.t, T(100000), ms(1));
    ticker_advance(&rig.t, T(100000));
    assert_counts(&rig, 24, 0, 1, 5, 18); /* 20 ms of backlog, of which 5 may be made up */
}

static void test_assume_taken(void)
{
    struct rig rig;

    rig_init_default(&rig);
    ticker_assume_taken(&rig.t);
    assert_counts(&rig, 0, 0, 0, 0, 0);
    rig_hold(&rig, T(3200));
    ticker_assume_taken(&rig.t);
    assert_counts(&rig, 3, 1, 0, 2, 0);
    ticker_acknowledge(&rig.t, 1, T(3200)); /* seen after all: not counted twice */
    assert_counts(&rig, 3, 1, 0, 2, 0);
    rig_run(&rig, T(9999));
    assert_counts(&rig, 9, 9, 0, 0, 0);
    g_assert_cmpuint(rig.t.counts.injected, ==, 9);
}

static void test_guest_reset(void)
{
    struct rig rig;

    rig_init_default(&rig);
    rig_hold(&rig, T(7200));
    assert_counts(&rig, 7, 0, 1, 6, 0);
    ticker_guest_reset(&rig.t, T(7200));
    assert_counts(&rig, 7, 0, 0, 0, 7);
    ticker_acknowledge(&rig.t, 1, T(7300)); /* of the life before */
    assert_counts(&rig, 7, 0, 0, 0, 7);
    rig.now = T(7300);
    rig_run(&rig, T(9999));
    assert_log(&rig, 2, 8000, 1000000);
    assert_counts(&rig, 9, 2, 0, 0, 7);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/changes/threshold-above-limit", test_threshold_above_limit);
    g_test_add_func("/changes/on-resume-changed-while-suspended",
                    test_on_resume_changed_while_suspended);
    g_test_add_func("/changes/observe-to-catchup", test_observe_to_catchup);
    g_test_add_func("/changes/policy", test_new_policy);
    g_test_add_func("/changes/same-policy", test_same_policy_again);
    g_test_add_func("/changes/suspend", test_suspend);
    g_test_add_func("/changes/suspend-backlog", test_suspend_with_a_backlog);
    g_test_add_func("/changes/suspend-made-up", test_suspend_made_up);
    g_test_add_func("/changes/suspend-injection-time", test_injection_time_after_a_suspend);
    g_test_add_data_func("/changes/start-while-suspended/freeze", GINT_TO_POINTER(0),
                         test_start_while_suspended);
    g_test_add_data_func("/changes/start-while-suspended/catchup", GINT_TO_POINTER(1),
                         test_start_while_suspended);
    g_test_add_data_func("/changes/feedback-across-suspend/freeze", GINT_TO_POINTER(0),
                         test_feedback_across_a_suspend);
    g_test_add_data_func("/changes/feedback-across-suspend/catchup", GINT_TO_POINTER(1),
                         test_feedback_across_a_suspend);
    g_test_add_func("/changes/reset-backlog", test_reset_backlog);
    g_test_add_func("/changes/stop", test_stop);
    g_test_add_func("/changes/restart/backlog", test_restart_restates_the_backlog);
    g_test_add_func("/changes/restart/next-tick", test_restart_puts_the_next_tick_off);
    g_test_add_func("/changes/restart/limit", test_restart_keeps_to_the_limit);
    g_test_add_func("/changes/assume-taken", test_assume_taken);
    g_test_add_func("/changes/guest-reset", test_guest_reset);
    return g_test_run();
}
