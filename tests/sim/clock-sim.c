/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A guest's clock in simulated time: see clock-sim.h. */
#include "tests/sim/clock-sim.h"

#include <string.h>

#define READ_C_NS  UINT64_C(30000) /* from the start of the handler */
#define HANDLER_NS UINT64_C(70000)
#define WINDOW_MS  100
#define START_NS   UINT64_C(5000000000)

static const struct supervisor_clock rtc = {.hz = 32768, .shortest = 4, .powers_of_two = true};

static double counts(uint64_t ns)
{
    return (double)ns * 32768 / 1e9;
}

static void tell(struct clock_sim *sim, struct base_event event)
{
    event.time_ns = sim->now;
    if (sim->options.traced) {
        g_queue_push_tail(sim->events, g_memdup2(&event, sizeof event));
    }
}

/* ---- the RTC, as QEMU has it ---- */

void clock_sim_program(struct clock_sim *sim, guint32 length)
{
    uint64_t now = (uint64_t)counts(sim->now);
    uint64_t lost = sim->length != 0 ? now - (sim->next_tick - sim->length) : 0;

    sim->next_tick = now + length - MIN(lost, length);
    sim->length = length;
    tell(sim, (struct base_event){.kind = BASE_EVENT_RATE, .length = length});
}

static void run_rtc(struct clock_sim *sim)
{
    if (sim->now < sim->rtc_runs) {
        return;
    }
    if (sim->rtc_late_us != 0) {
        sim->rtc_runs =
            sim->now + g_rand_int_range(sim->rand, 0, (gint32)sim->rtc_late_us) * 1000ull;
    }
    while (sim->length != 0 && !sim->rtc_stopped && counts(sim->now) >= (double)sim->next_tick) {
        sim->pf = TRUE;
        sim->pending = sim->pending || !sim->line;
        sim->line = TRUE;
        sim->next_tick += sim->length;
    }
}

/* ---- the guest ---- */

static void toggle(struct clock_sim *sim)
{
    const struct clock_sim_options *o = &sim->options;

    if (o->other != 0 && --sim->until_toggle == 0) {
        sim->until_toggle = o->toggle;
        clock_sim_program(sim, sim->length == o->length ? o->other : o->length);
    }
}

static void read_c(struct clock_sim *sim)
{
    gboolean pf = sim->pf;

    sim->pf = sim->line = FALSE;
    tell(sim, (struct base_event){.kind = BASE_EVENT_HANDLED, .pending = pf});
    if (sim->options.polls && pf) {
        sim->clock += sim->length;
        tell(sim, (struct base_event){.kind = BASE_EVENT_HANDLED, .pending = FALSE});
    } else if (!sim->options.polls) {
        sim->clock += sim->length;
    }
}

static void run_guest(struct clock_sim *sim)
{
    if (sim->guest_stopped) {
        sim->handler_ends += sim->in_handler ? CLOCK_SIM_STEP_NS : 0;
        return;
    }
    if (sim->in_handler && sim->now >= sim->handler_ends) {
        sim->in_handler = FALSE;
        sim->unseen++;
    }
    if (!sim->in_handler && sim->pending) {
        sim->pending = FALSE;
        sim->in_handler = TRUE;
        sim->handler_ends = sim->now + HANDLER_NS;
    }
    if (sim->in_handler && sim->now == sim->handler_ends - HANDLER_NS + READ_C_NS) {
        read_c(sim);
        toggle(sim);
    }
}

/* ---- the supervisor ---- */

static void check_identity(const struct clock_sim *sim)
{
    const struct ticker_counts *c = &sim->supervisor.counts;

    g_assert_cmpuint(c->due, ==, c->acknowledged + c->in_flight + c->backlog + c->skipped);
    g_assert_cmpuint(c->in_flight, <=, 1);
}

static void run_supervisor(struct clock_sim *sim)
{
    struct supervisor *s = &sim->supervisor;
    uint64_t when;

    if (sim->now < sim->wake) {
        return;
    }
    supervisor_acknowledge(s, sim->unseen);
    sim->unseen = 0;
    for (struct base_event *e; (e = g_queue_pop_head(sim->events)) != NULL; g_free(e)) {
        supervisor_event(s, e);
    }
    supervisor_advance(s, sim->now);
    check_identity(sim);
    if (supervisor_next(s, sim->now, &when) == TICKER_INJECT) {
        sim->pending = sim->pending || !sim->line;
        sim->line = FALSE;
        supervisor_injected(s, sim->now);
    }
    sim->wake = when + g_rand_int_range(sim->rand, 0, (gint32)sim->options.late_us + 1) * 1000ull;
}

/* ---- what came of it ---- */

double clock_sim_behind(const struct clock_sim *sim)
{
    return counts(sim->now - START_NS) - (double)sim->clock - sim->begun;
}

void clock_sim_settle(struct clock_sim *sim)
{
    sim->begun = 0;
    sim->begun = clock_sim_behind(sim);
    sim->most_ahead = sim->peak = 0;
    g_array_set_size(sim->history, 0);
}

static void measure(struct clock_sim *sim)
{
    GArray *h = sim->history;

    sim->most_ahead = MAX(sim->most_ahead, -clock_sim_behind(sim));
    if (sim->now % 1000000 != 0) {
        return;
    }
    g_array_append_val(h, sim->clock);
    if (h->len > WINDOW_MS) {
        guint64 passed = sim->clock - g_array_index(h, guint64, h->len - 1 - WINDOW_MS);
        sim->peak = MAX(sim->peak, (double)passed / (32768 * WINDOW_MS / 1000.0));
    }
}

/* ---- time ---- */

static uint64_t rtc_acts(const struct clock_sim *sim)
{
    if (sim->rtc_late_us != 0) {
        return sim->rtc_runs;
    }
    if (sim->length == 0 || sim->rtc_stopped) {
        return UINT64_MAX;
    }
    /* Not after it is due, however that is rounded. */
    return MAX(sim->rtc_runs, (uint64_t)((double)sim->next_tick * 1e9 / 32768) - CLOCK_SIM_STEP_NS);
}

static uint64_t guest_acts(const struct clock_sim *sim)
{
    uint64_t reads_c = sim->handler_ends - HANDLER_NS + READ_C_NS;

    if (sim->guest_stopped) {
        return UINT64_MAX;
    }
    if (!sim->in_handler) {
        return sim->pending ? sim->now : UINT64_MAX;
    }
    return reads_c > sim->now ? reads_c : sim->handler_ends;
}

/* To the next step at which there is anything to do, or to be measured, up to the first one that is
 * not before @end. */
static void go_on(struct clock_sim *sim, uint64_t end)
{
    uint64_t acts = MIN(MIN(rtc_acts(sim), guest_acts(sim)), sim->wake);
    uint64_t next = MIN(MIN(acts, end), (sim->now / 1000000 + 1) * 1000000);
    uint64_t passed = next > sim->now ? next - sim->now : 1;
    uint64_t steps = (passed + CLOCK_SIM_STEP_NS - 1) / CLOCK_SIM_STEP_NS;

    if (sim->guest_stopped && sim->in_handler) {
        sim->handler_ends += (steps - 1) * CLOCK_SIM_STEP_NS; /* as run_guest() for one step */
    }
    sim->now += steps * CLOCK_SIM_STEP_NS;
}

void clock_sim_run(struct clock_sim *sim, double seconds)
{
    uint64_t end = sim->now + (uint64_t)(seconds * 1e9);

    while (sim->now < end) {
        run_rtc(sim);
        run_guest(sim);
        run_supervisor(sim);
        measure(sim);
        go_on(sim, end);
    }
}

void clock_sim_look(struct clock_sim *sim)
{
    sim->wake = sim->now;
    run_supervisor(sim);
}

void clock_sim_stop(struct clock_sim *sim, double seconds)
{
    sim->rtc_stopped = sim->guest_stopped = TRUE;
    clock_sim_run(sim, seconds);
    sim->rtc_stopped = sim->guest_stopped = FALSE;
}

void clock_sim_up(struct clock_sim *sim, const struct clock_sim_options *options)
{
    memset(sim, 0, sizeof *sim);
    sim->options = *options;
    sim->rand = g_rand_new_with_seed(options->seed);
    sim->events = g_queue_new();
    sim->history = g_array_new(FALSE, FALSE, sizeof(guint64));
    sim->now = START_NS;
    sim->until_toggle = options->toggle;
    if (options->running) {
        clock_sim_program(sim, options->length);
        g_queue_clear_full(sim->events, g_free);
    }
    supervisor_init(&sim->supervisor, &rtc, &options->policy, options->traced, sim->now);
    if (!options->running) {
        clock_sim_run(sim, 0.1);
        clock_sim_program(sim, options->length);
    }
}

void clock_sim_down(struct clock_sim *sim)
{
    g_queue_free_full(sim->events, g_free);
    g_array_unref(sim->history);
    g_rand_free(sim->rand);
}
