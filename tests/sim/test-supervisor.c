/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The clock of a guest that counts RTC ticks, under a supervisor, in simulated time. */
#include "tests/sim/clock-sim.h"

#define HZ_1024 32u /* lengths of a period, in 1/32768 s */
#define HZ_64   512u

static struct clock_sim_options options(guint32 length)
{
    return (struct clock_sim_options){.seed = (guint32)g_test_rand_int(),
                                      .policy = TICKER_POLICY_DEFAULT,
                                      .traced = TRUE,
                                      .length = length,
                                      .late_us = 300};
}

/* What users are promised: the clock is right in the end, was never ahead, never raced. */
static void check_clock_with(const struct clock_sim *sim, guint32 tick, double slack)
{
    g_test_message("behind %.2f ticks, at most %.2f ahead, peak %.3f, %" G_GUINT64_FORMAT
                   " topped up",
                   clock_sim_behind(sim) / tick, sim->most_ahead / tick, sim->peak,
                   sim->supervisor.counts.injected);
    g_assert_cmpfloat(ABS(clock_sim_behind(sim)), <=, 2 * tick);
    g_assert_cmpfloat(sim->most_ahead, <=, 2 * tick);
    /* A window that holds ticks of two lengths is a little less or more than either makes. */
    g_assert_cmpfloat(sim->peak, <=,
                      (1 + sim->options.policy.slew / 100.0) * 1.1 +
                          (sim->options.other != 0 ? 0.05 : 0) + slack);
}

static void check_clock(const struct clock_sim *sim, guint32 tick)
{
    check_clock_with(sim, tick, 0);
}

/* Up, ticking, and with the rate known. */
static void begin(struct clock_sim *sim, const struct clock_sim_options *o)
{
    clock_sim_up(sim, o);
    clock_sim_run(sim, o->running ? 4 : 1);
    clock_sim_settle(sim);
}

static void stalls_with(const struct clock_sim_options *o, unsigned rtc_late_us)
{
    guint32 longest = MAX(o->length, o->other);
    struct clock_sim sim;
    /* A tick that comes late falls into the next window. */
    double slack = rtc_late_us != 0 ? longest / 3276.8 : 0;

    begin(&sim, o);
    sim.rtc_late_us = rtc_late_us;
    for (int i = 0; i < 40; i++) {
        clock_sim_stop(&sim, 0.15);
        clock_sim_run(&sim, 0.35);
    }
    sim.rtc_late_us = 0; /* or else some would be late now */
    clock_sim_run(&sim, 3);
    check_clock_with(&sim, longest, slack);
    g_assert_cmpuint(sim.supervisor.counts.skipped, ==, 0);
    sim.rtc_late_us = rtc_late_us;
    clock_sim_stop(&sim, 3);
    /* Of two rates in turn, top-ups are of either: what they give is less than the speed asked. */
    clock_sim_run(&sim, (o->other != 0 ? 7 : 3.5) * 100 / o->policy.slew + 1);
    sim.rtc_late_us = 0;
    clock_sim_run(&sim, 1);
    check_clock_with(&sim, longest, slack);
    clock_sim_down(&sim);
}

static void stalls(const struct clock_sim_options *o)
{
    stalls_with(o, 0);
}

static void test_stalls(gconstpointer data)
{
    struct clock_sim_options o = options(GPOINTER_TO_UINT(data));

    stalls(&o);
    o.running = TRUE; /* the rate is told from acknowledgements */
    stalls(&o);
}

/* On a busy host QEMU's ticks come up to 12 ms late. */
static void test_jitter(gconstpointer data)
{
    struct clock_sim_options o = options(GPOINTER_TO_UINT(data));

    stalls_with(&o, 12000);
}

static void test_toggling(gconstpointer data)
{
    struct clock_sim_options o = options(HZ_64);

    o.other = HZ_1024;
    o.toggle = GPOINTER_TO_UINT(data);
    stalls(&o);
}

static void test_speeds(gconstpointer data)
{
    struct clock_sim_options o = options(HZ_1024);

    o.policy.slew = GPOINTER_TO_UINT(data);
    stalls(&o);
}

/* A slow one takes its time, and does not go over its speed either. */
static void test_slow(void)
{
    struct clock_sim_options o = options(HZ_1024);
    struct clock_sim sim;

    o.policy.slew = 5;
    begin(&sim, &o);
    clock_sim_stop(&sim, 1);
    clock_sim_run(&sim, 10);
    g_assert_cmpfloat(clock_sim_behind(&sim), >, 0.4 * 32768);
    g_assert_cmpfloat(sim.peak, <=, 1.05 * 1.1);
    clock_sim_run(&sim, 11);
    g_assert_cmpfloat(clock_sim_behind(&sim), <=, 2 * HZ_1024);
    clock_sim_down(&sim);
}

/* QEMU's main loop is kept from running, the guest is not: what comes late comes by itself. */
static void test_late_rtc(void)
{
    struct clock_sim_options o = options(HZ_1024);
    struct clock_sim sim;

    begin(&sim, &o);
    for (int i = 0; i < 200; i++) {
        sim.rtc_stopped = TRUE;
        clock_sim_run(&sim, g_test_rand_double_range(0, 0.06));
        sim.rtc_stopped = FALSE;
        clock_sim_run(&sim, 0.1);
    }
    clock_sim_run(&sim, 2);
    check_clock(&sim, HZ_1024);
    clock_sim_down(&sim);
}

static uint64_t behind_ns(struct clock_sim *sim)
{
    clock_sim_look(sim);
    return ticker_behind_ns(&sim->supervisor.counts, supervisor_period(&sim->supervisor));
}

/* What is told of the guest's clock is so, to three ticks. */
static void assert_behind_is_known(struct clock_sim *sim)
{
    double told_s = (double)behind_ns(sim) / 1e9;

    g_test_message("behind %.3f s, told %.3f s", clock_sim_behind(sim) / 32768, told_s);
    g_assert_cmpfloat(ABS(told_s - clock_sim_behind(sim) / 32768), <=,
                      3.0 * (double)sim->options.length / 32768);
}

/* The losses that are told are those of the guest. */
static void test_observe(void)
{
    struct clock_sim_options o = options(HZ_1024);
    struct clock_sim sim;

    o.policy.mode = TICKER_OBSERVE;
    o.policy.limit_ms = 1000;
    begin(&sim, &o);
    uint64_t ahead = sim.supervisor.counts.backlog;
    for (int i = 0; i < 600; i++) {
        clock_sim_run(&sim, g_test_rand_double_range(0, 0.2));
        clock_sim_stop(&sim, g_test_rand_double_range(0, 0.02));
    }
    clock_sim_run(&sim, 1);
    const struct ticker_counts *c = &sim.supervisor.counts;
    double lost = clock_sim_behind(&sim) / HZ_1024;
    g_assert_cmpuint(c->injected, ==, 0);
    g_assert_cmpfloat(lost, >, 1500);
    g_assert_cmpfloat(ABS((double)(c->backlog + c->skipped + c->in_flight - ahead) - lost), <,
                      2); /* a tick is cut off at each end */
    g_assert_cmpuint(c->backlog + c->in_flight, <=, 1025);
    assert_behind_is_known(&sim);
    clock_sim_down(&sim);
}

static uint64_t told(struct clock_sim *sim)
{
    clock_sim_look(sim);
    return sim->supervisor.counts.backlog + sim->supervisor.counts.skipped +
           sim->supervisor.counts.in_flight;
}

/* An hour of a guest that loses some of every second: told to the tick. */
static void test_hour(void)
{
    struct clock_sim_options o = options(HZ_1024);
    struct clock_sim sim;

    o.policy.mode = TICKER_OBSERVE;
    begin(&sim, &o);
    uint64_t before = told(&sim);
    while (sim.now < UINT64_C(3600000000000)) {
        clock_sim_run(&sim, g_test_rand_double_range(0, 2));
        clock_sim_stop(&sim, g_test_rand_double_range(0, 0.2));
    }
    clock_sim_run(&sim, 1);
    uint64_t lost = told(&sim) - before;
    g_test_message("lost %.1f, told %" G_GUINT64_FORMAT, clock_sim_behind(&sim) / HZ_1024, lost);
    g_assert_cmpuint(lost, >, 100000);
    g_assert_cmpfloat(ABS((double)lost - clock_sim_behind(&sim) / HZ_1024), <=, 1);
    clock_sim_down(&sim);
}

/* What is only observed is not replayed once slewing is switched on. */
static void test_observe_then_slew(void)
{
    struct clock_sim_options o = options(HZ_1024);
    struct ticker_policy slew = TICKER_POLICY_DEFAULT;
    struct clock_sim sim;

    o.policy.mode = TICKER_OBSERVE;
    begin(&sim, &o);
    clock_sim_stop(&sim, 1);
    clock_sim_run(&sim, 1);
    clock_sim_look(&sim);
    supervisor_set_policy(&sim.supervisor, &slew, sim.now);
    clock_sim_settle(&sim);
    clock_sim_run(&sim, 2);
    g_assert_cmpfloat(ABS(clock_sim_behind(&sim)), <=, HZ_1024);
    g_assert_cmpuint(sim.supervisor.counts.injected, ==, 0);
    clock_sim_stop(&sim, 1);
    clock_sim_run(&sim, 2);
    check_clock(&sim, HZ_1024);
    clock_sim_down(&sim);
}

static void test_limit(void)
{
    struct clock_sim_options o = options(HZ_64);
    struct clock_sim sim;

    o.policy.limit_ms = 500; /* 32 ticks */
    begin(&sim, &o);
    clock_sim_stop(&sim, 10);
    clock_sim_run(&sim, 3);
    g_assert_cmpfloat(clock_sim_behind(&sim) / HZ_64, >=, 640 - 32 - 3);
    g_assert_cmpfloat(clock_sim_behind(&sim) / HZ_64, <=, 640 - 32 + 3);
    g_assert_cmpuint(sim.supervisor.counts.skipped, >=, 640 - 32 - 3);
    assert_behind_is_known(&sim);
    supervisor_reset_backlog(&sim.supervisor, sim.now);
    g_assert_cmpuint(behind_ns(&sim), ==, 0); /* its clock was set */
    clock_sim_down(&sim);
}

static void test_threshold(void)
{
    struct clock_sim_options o = options(HZ_1024);
    struct clock_sim sim;

    o.policy.threshold = 100;
    begin(&sim, &o);
    clock_sim_stop(&sim, 0.05);
    clock_sim_run(&sim, 1);
    g_assert_cmpuint(sim.supervisor.counts.injected, ==, 0);
    clock_sim_stop(&sim, 0.1);
    clock_sim_run(&sim, 2);
    check_clock(&sim, HZ_1024);
    clock_sim_down(&sim);
}

static void test_reset_backlog(void)
{
    struct clock_sim_options o = options(HZ_1024);
    struct clock_sim sim;

    begin(&sim, &o);
    clock_sim_stop(&sim, 2);
    clock_sim_look(&sim);
    supervisor_reset_backlog(&sim.supervisor, sim.now);
    g_assert_cmpuint(sim.supervisor.counts.backlog, ==, 0);
    clock_sim_run(&sim, 2);
    g_assert_cmpfloat(clock_sim_behind(&sim) / HZ_1024, >=, 2045);
    clock_sim_down(&sim);
}

/* Somebody, as a guest agent, has set the guest's clock right. */
static void test_clock_set(void)
{
    struct clock_sim_options o = options(HZ_1024);
    struct base_event set = {.kind = BASE_EVENT_CLOCK_SET};
    struct clock_sim sim;

    begin(&sim, &o);
    clock_sim_stop(&sim, 2);
    clock_sim_run(&sim, 0.2);
    clock_sim_look(&sim);
    g_assert_cmpuint(sim.supervisor.counts.backlog, >, 1000);
    set.time_ns = sim.now;
    supervisor_event(&sim.supervisor, &set);
    clock_sim_settle(&sim);
    clock_sim_run(&sim, 2);
    check_clock(&sim, HZ_1024);
    g_assert_cmpuint(sim.supervisor.counts.skipped, >, 1000);
    clock_sim_down(&sim);
}

/* A suspended guest is not late, unless it is to be. */
static void suspend(gboolean catch_up)
{
    struct clock_sim_options o = options(HZ_1024);
    struct clock_sim sim;

    o.policy.catch_up_suspends = catch_up;
    begin(&sim, &o);
    for (int i = 0; i < 3; i++) {
        clock_sim_stop(&sim, 0.03); /* it is told late */
        clock_sim_look(&sim);
        supervisor_freeze(&sim.supervisor, sim.now);
        clock_sim_stop(&sim, 0.97);
        clock_sim_run(&sim, 0.05); /* and so is this */
        clock_sim_look(&sim);
        supervisor_thaw(&sim.supervisor, sim.now);
        clock_sim_run(&sim, 2);
    }
    /* The RTC itself holds a tick or two at each end of a suspend. */
    g_assert_cmpfloat(ABS(clock_sim_behind(&sim) / HZ_1024 - (catch_up ? 0 : 3 * 1024)), <=, 6);
    g_assert_cmpfloat(sim.peak, <=, 2.2);
    clock_sim_down(&sim);
}

static void test_suspend(void)
{
    suspend(FALSE);
    suspend(TRUE);
}

/* Polls register C until PF is clear: a tick of ours would mean nothing to it. */
static void test_polls(void)
{
    struct clock_sim_options o = options(HZ_1024);
    struct clock_sim sim;

    o.polls = TRUE;
    begin(&sim, &o);
    g_assert_true(sim.supervisor.polls);
    clock_sim_stop(&sim, 1);
    clock_sim_run(&sim, 2);
    g_assert_cmpuint(sim.supervisor.counts.injected, ==, 0);
    clock_sim_down(&sim);

    o.polls = FALSE;
    begin(&sim, &o);
    clock_sim_stop(&sim, 1);
    clock_sim_run(&sim, 3);
    g_assert_false(sim.supervisor.polls);
    clock_sim_down(&sim);
}

/* Turned off for a while by a guest: nothing was due meanwhile. With a trace that is known; without
 * it, a long silence counts as that. */
static void off(gboolean traced)
{
    struct clock_sim_options o = options(HZ_1024);
    struct clock_sim sim;

    o.traced = traced;
    o.running = TRUE;
    begin(&sim, &o);
    clock_sim_program(&sim, 0);
    clock_sim_run(&sim, 5);
    clock_sim_program(&sim, HZ_1024);
    clock_sim_settle(&sim);
    clock_sim_run(&sim, 3);
    g_assert_cmpfloat(sim.most_ahead, <=, 2 * HZ_1024);
    g_assert_cmpuint(sim.supervisor.counts.injected, <=, 1);
    clock_sim_down(&sim);
}

static void test_off(void)
{
    off(TRUE);
    off(FALSE);
}

/* Without a trace another rate is seen by its ticks. */
static void test_guessed_rates(void)
{
    struct clock_sim_options o = options(HZ_64);
    struct clock_sim sim;

    o.traced = FALSE;
    o.running = TRUE;
    o.policy.mode = TICKER_OBSERVE;
    begin(&sim, &o);
    for (guint32 length = 4; length <= 8192; length *= 2) { /* 8192 Hz to 4 Hz */
        clock_sim_program(&sim, length);
        clock_sim_run(&sim, 15);
        g_assert_cmpuint(sim.supervisor.length, ==, length);
        g_assert_cmpint(sim.supervisor.learned, ==, LEARNED_ACKNOWLEDGEMENTS);
    }
    clock_sim_down(&sim);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/supervisor/stalls/1024", GUINT_TO_POINTER(HZ_1024), test_stalls);
    g_test_add_data_func("/supervisor/stalls/64", GUINT_TO_POINTER(HZ_64), test_stalls);
    g_test_add_data_func("/supervisor/jitter/1024", GUINT_TO_POINTER(HZ_1024), test_jitter);
    g_test_add_data_func("/supervisor/jitter/64", GUINT_TO_POINTER(HZ_64), test_jitter);
    g_test_add_data_func("/supervisor/toggling/1", GUINT_TO_POINTER(1), test_toggling);
    g_test_add_data_func("/supervisor/toggling/7", GUINT_TO_POINTER(7), test_toggling);
    g_test_add_data_func("/supervisor/toggling/100", GUINT_TO_POINTER(100), test_toggling);
    g_test_add_data_func("/supervisor/speeds/50", GUINT_TO_POINTER(50), test_speeds);
    g_test_add_data_func("/supervisor/speeds/150", GUINT_TO_POINTER(150), test_speeds);
    g_test_add_data_func("/supervisor/speeds/700", GUINT_TO_POINTER(700), test_speeds);
    g_test_add_func("/supervisor/slow", test_slow);
    g_test_add_func("/supervisor/late-rtc", test_late_rtc);
    g_test_add_func("/supervisor/observe", test_observe);
    g_test_add_func("/supervisor/observe/hour", test_hour);
    g_test_add_func("/supervisor/clock-set", test_clock_set);
    g_test_add_func("/supervisor/observe-then-slew", test_observe_then_slew);
    g_test_add_func("/supervisor/limit", test_limit);
    g_test_add_func("/supervisor/threshold", test_threshold);
    g_test_add_func("/supervisor/reset-backlog", test_reset_backlog);
    g_test_add_func("/supervisor/suspend", test_suspend);
    g_test_add_func("/supervisor/polls", test_polls);
    g_test_add_func("/supervisor/off", test_off);
    g_test_add_func("/supervisor/guessed-rates", test_guessed_rates);
    return g_test_run();
}
