/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What KVM's counts of a vCPU's preemption timer say, in rows, and for any reader's pace. */
#include "daemon/base-timer/hv-timer.h"

#define MS UINT64_C(1000000)

/* What happened in the milliseconds before a reading, and what that reading is. */
struct row {
    uint64_t ms;
    uint64_t on, off;
    enum hv_timer_use use;
};

#define UNKNOWN  HV_TIMER_UNKNOWN
#define NOT_USED HV_TIMER_NOT_USED
#define USED     HV_TIMER_USED

static void play(const struct row *rows, unsigned n_rows)
{
    /* From any count: a second watcher's events don't begin at 0. */
    struct hv_timer_counts now = {.ns = 12345 * MS, .on = 1000000, .off = 3000000};
    struct hv_timer_verdict verdict;

    hv_timer_verdict_init(&verdict, &now);
    for (unsigned i = 0; i < n_rows; i++) {
        now.ns += rows[i].ms * MS;
        now.on += rows[i].on;
        now.off += rows[i].off;
        enum hv_timer_use use = hv_timer_verdict_feed(&verdict, &now);
        if (use != rows[i].use) {
            g_error("row %u: %d instead of %d", i, (int)use, (int)rows[i].use);
        }
    }
}
#define PLAY(...)                                 \
    do {                                          \
        const struct row rows_[] = {__VA_ARGS__}; \
        play(rows_, G_N_ELEMENTS(rows_));         \
    } while (0)

static void test_nothing(void)
{
    PLAY({0, 0, 0, UNKNOWN}, {10, 0, 0, UNKNOWN}, {5000, 0, 0, UNKNOWN}, {86400000, 0, 0, UNKNOWN});
}

/* A guest that never sleeps: each tick says "on". */
static void test_busy(void)
{
    PLAY({1, 1, 0, USED}, {999, 999, 0, USED}, {5000, 5000, 0, USED}, {3600000, 3600000, 0, USED});
}

/* An hrtimer: one "off", and then it is never told of again. */
static void test_hrtimer(void)
{
    PLAY({500, 0, 0, UNKNOWN}, {1, 0, 1, NOT_USED}, {5000, 0, 0, NOT_USED},
         {3600000, 0, 0, NOT_USED});
}

/* One that sleeps from tick to tick: they come by the hrtimer that stands in. */
static void test_sleeping(void)
{
    PLAY({1000, 1000, 1000, NOT_USED}, {1000, 1000, 1001, NOT_USED}, {1000, 1001, 1000, NOT_USED});
}

/* The bound: as many ticks by the preemption timer as sleeps. */
static void test_some_sleep(void)
{
    PLAY({2000, 200, 100, NOT_USED});
    PLAY({2000, 201, 100, USED});
    PLAY({2000, 1000, 24, USED});
}

/* A guest that is paused says nothing: it is as it was. */
static void test_paused(void)
{
    PLAY({2000, 2000, 0, USED}, {60000, 0, 0, USED}, {60000, 0, 0, USED}, {1000, 0, 1, NOT_USED},
         {60000, 0, 0, NOT_USED}, {1000, 1000, 0, USED});
}

/* What was long ago doesn't count, and what was just now does not alone. */
static void test_changes(void)
{
    PLAY({3600000, 3600000, 0, USED}, {1000, 1000, 1000, NOT_USED}, {1000, 1000, 0, USED});
    /* One that asks again at once: a single sleep is no reason. */
    PLAY({2000, 2000, 0, USED}, {1, 0, 1, USED}, {1, 1, 0, USED});
}

/* Whoever asks, and how often: within two seconds the answer is that of what goes on by now. */
static void test_pace(void)
{
    guint32 seed = (guint32)g_test_rand_int();
    g_autoptr(GRand) random = g_rand_new_with_seed(seed);

    g_test_message("seed %u", seed);
    for (unsigned i = 0; i < 200; i++) {
        struct hv_timer_counts now = {.ns = 1};
        struct hv_timer_verdict verdict;
        int longest = 1 << g_rand_int_range(random, 0, 12);
        hv_timer_verdict_init(&verdict, &now);
        for (unsigned phase = 0; phase < 4; phase++) {
            uint64_t changed = now.ns;
            while (now.ns - changed < 10000 * MS) {
                uint64_t ms = (uint64_t)g_rand_int_range(random, 1, longest + 1);
                now.ns += ms * MS;
                now.on += ms; /* 1000 Hz; each second phase, asleep all the time */
                now.off += phase % 2 == 0 ? 0 : ms;
                enum hv_timer_use use = hv_timer_verdict_feed(&verdict, &now);
                g_assert_cmpint(use, !=, UNKNOWN);
                if (now.ns - changed >= 2000 * MS + (uint64_t)longest * MS) {
                    g_assert_cmpint(use, ==, phase % 2 == 0 ? USED : NOT_USED);
                }
            }
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/hv-timer/nothing", test_nothing);
    g_test_add_func("/hv-timer/busy", test_busy);
    g_test_add_func("/hv-timer/hrtimer", test_hrtimer);
    g_test_add_func("/hv-timer/sleeping", test_sleeping);
    g_test_add_func("/hv-timer/some-sleep", test_some_sleep);
    g_test_add_func("/hv-timer/paused", test_paused);
    g_test_add_func("/hv-timer/changes", test_changes);
    g_test_add_func("/hv-timer/pace", test_pace);
    return g_test_run();
}
