/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * No drift, ever: due times far from the start, for periods that are no whole nanoseconds; and
 * that a copy comes to the same figures as the ticker it was taken of.
 */
#include "tests/sim/rig.h"

__extension__ typedef unsigned __int128 u128;

static uint64_t random_u32(void)
{
    return (uint32_t)g_test_rand_int();
}

/* 10^9 periods of 1/1024 s are 976562.5 s, and the next one 1953125/2 ns after that. */
static void test_no_drift_in_one_jump(void)
{
    uint64_t start = random_u32() << 20 | random_u32() >> 12;
    struct ticker_policy policy = TICKER_POLICY_DEFAULT;
    struct ticker t;
    uint64_t when;

    ticker_init(&t, &policy, true, 0);
    ticker_start(&t, start, per_second(1024));
    ticker_advance(&t, start + UINT64_C(976562500000000) - 1);
    g_assert_cmpuint(t.counts.due, ==, 999999999);
    ticker_advance(&t, start + UINT64_C(976562500000000));
    g_assert_cmpuint(t.counts.due, ==, 1000000000);
    g_assert_cmpuint(t.counts.backlog, ==, 61440); /* 60 s */
    g_assert_cmpuint(t.counts.skipped, ==, 999938560);
    g_assert_cmpuint(t.next_ns, ==, start + UINT64_C(976562500976562));
    g_assert_cmpuint(t.next_part, ==, 1);

    /* Never early: half a nanosecond before it is due it is not due. */
    ticker_reset_backlog(&t, start + UINT64_C(976562500000000));
    g_assert_cmpint(ticker_next(&t, start + UINT64_C(976562500000000), &when), ==,
                    TICKER_WAIT_UNTIL);
    g_assert_cmpuint(when, ==, start + UINT64_C(976562500976563));
    ticker_advance(&t, when - 1);
    g_assert_cmpuint(t.counts.due, ==, 1000000000);
    ticker_advance(&t, when);
    g_assert_cmpuint(t.counts.due, ==, 1000000001);
}

/* 10^7 of them, one by one: 9765.625 s. */
static void test_no_drift_in_single_steps(void)
{
    struct ticker_policy policy = TICKER_POLICY_DEFAULT;
    uint64_t start = random_u32(), now = start;
    struct ticker t;

    ticker_init(&t, &policy, true, 0);
    ticker_start(&t, start, per_second(1024));
    for (unsigned i = 1; i <= 10000000; i++) {
        uint64_t when;

        if (ticker_next(&t, now, &when) != TICKER_WAIT_UNTIL) {
            g_error("tick %u is not waited for", i);
        }
        now = when;
        ticker_advance(&t, now);
        if (t.counts.due != i || ticker_next(&t, now, &when) != TICKER_INJECT) {
            g_error("tick %u is not due at its time", i);
        }
        ticker_injected(&t, now);
        ticker_acknowledge(&t, 1, now);
    }
    g_assert_cmpuint(now, ==, start + UINT64_C(9765625000000));
    g_assert_cmpuint(t.counts.acknowledged, ==, 10000000);
    g_assert_cmpuint(t.next_ns, ==, start + UINT64_C(9765625976562));
    g_assert_cmpuint(t.next_part, ==, 1);
}

/* Periods that are no round numbers, at any distance: the due time is exact, and never early. */
static void test_odd_periods(void)
{
    for (unsigned i = 0; i < 100000; i++) {
        struct ticker_policy policy = policy_of(TICKER_OBSERVE, 1, 100, 60000);
        uint64_t start = random_u32() << 16, n, when, jump;
        struct period period;
        struct ticker t;
        u128 next;

        g_assert_true(period_make((uint64_t)g_test_rand_int_range(1000000, G_MAXINT32) << 10,
                                  (uint64_t)g_test_rand_int_range(1, 100000), &period));
        jump = random_u32() << g_test_rand_int_range(0, 28);
        n = (uint64_t)((u128)jump * period.denominator / period.numerator);
        next = (u128)(n + 1) * period.numerator;
        when = start + (uint64_t)((next + period.denominator - 1) / period.denominator);

        ticker_init(&t, &policy, true, 0);
        ticker_start(&t, start, period);
        ticker_advance(&t, start + (jump / 3)); /* in two steps */
        ticker_advance(&t, start + jump);
        g_assert_cmpuint(t.counts.due, ==, n);
        g_assert_cmpuint(t.next_ns, ==, start + (uint64_t)(next / period.denominator));
        g_assert_cmpuint(t.next_part, ==, (uint64_t)(next % period.denominator));
        ticker_advance(&t, when - 1);
        g_assert_cmpuint(t.counts.due, ==, n);
        ticker_advance(&t, when);
        g_assert_cmpuint(t.counts.due, ==, n + 1);
    }
}

/* Figures as of later are read from a copy: it comes to where the ticker itself will come. */
static void test_copy(void)
{
    for (unsigned i = 0; i < 1000; i++) {
        struct ticker_policy policy = policy_of(g_test_rand_int_range(0, 3), 1, 100, 1000);
        uint64_t later = T(g_test_rand_int_range(100000, 100000000));
        struct rig rig;
        struct ticker copy;

        rig_init(&rig, policy, per_second((uint64_t)g_test_rand_int_range(10, 8192)));
        rig_hold(&rig, T(g_test_rand_int_range(0, 100000)));
        copy = rig.t;
        rig.held = true;
        while (rig.now < later) {
            rig.now += (uint64_t)g_test_rand_int_range(1, 10000000);
            rig.now = MIN(later, rig.now);
            ticker_advance(&rig.t, rig.now);
        }
        ticker_advance(&copy, later);
        g_assert_cmpmem(&copy.counts, sizeof copy.counts, &rig.t.counts, sizeof rig.t.counts);
        g_assert_cmpuint(copy.next_ns, ==, rig.t.next_ns);
        g_assert_cmpuint(copy.next_part, ==, rig.t.next_part);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/drift/jump", test_no_drift_in_one_jump);
    g_test_add_func("/drift/steps", test_no_drift_in_single_steps);
    g_test_add_func("/drift/odd-periods", test_odd_periods);
    g_test_add_func("/drift/copy", test_copy);
    return g_test_run();
}
