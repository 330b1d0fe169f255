/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A rate told from acknowledgements: see rate-guess.h. */
#include "daemon/base-timer/rate-guess.h"

#define NS_PER_S    UINT64_C(1000000000)
#define SPAN_MIN_NS UINT64_C(250000000)
#define SPAN_MAX_NS UINT64_C(4000000000)
#define TICKS_MIN   16 /* so that one more or less is no doubling */
#define TICKS_LEAST 4  /* of the slowest rates, within the longest span */
#define SPANS       3
#define HZ_MIN      2
#define HZ_MAX      8192

static void start_span(struct rate_guess *g, uint64_t now, uint64_t taken)
{
    g->since_ns = now;
    g->taken = taken;
}

void rate_guess_init(struct rate_guess *g, uint64_t now, uint64_t taken)
{
    *g = (struct rate_guess){0};
    start_span(g, now, taken);
}

/* The power of two that @ticks in @ns are, if up to a third is lost; 0: none. */
static uint32_t nearest(uint64_t ticks, uint64_t ns)
{
    for (uint32_t hz = HZ_MIN; hz <= HZ_MAX; hz *= 2) {
        /* In tenths of a tick; one and a half more or less are the ends of the span. */
        uint64_t expected = hz * ns / 100000000, seen = ticks * 10;
        if (seen <= expected * 11 / 10 + 15 && seen + 15 >= expected * 2 / 3) {
            return hz;
        }
    }
    return 0;
}

static uint32_t agree(struct rate_guess *g, uint32_t hz)
{
    if (hz == 0 || hz != g->hz) {
        g->hz = hz;
        g->spans = 0;
    }
    g->spans += hz != 0;
    return g->spans >= SPANS ? g->hz : 0;
}

uint32_t rate_guess_feed(struct rate_guess *g, uint64_t now, uint64_t taken)
{
    uint64_t ns = now - g->since_ns, ticks = taken - g->taken;

    if (ns < SPAN_MIN_NS || (ticks < TICKS_MIN && ns < SPAN_MAX_NS)) {
        return g->spans >= SPANS ? g->hz : 0;
    }
    start_span(g, now, taken);
    return agree(g, ticks >= TICKS_LEAST ? nearest(ticks, ns) : 0);
}

uint32_t rate_guess_interval(struct rate_guess *g, uint64_t ns)
{
    for (uint32_t hz = HZ_MIN; hz <= HZ_MAX; hz *= 2) {
        uint64_t period = NS_PER_S / hz;
        if (ns >= period * 3 / 4 && ns <= period * 5 / 4) {
            return agree(g, hz);
        }
    }
    return agree(g, 0);
}
