/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A rate told from acknowledgements: see rate-guess.h. */
#include "daemon/base-timer/rate-guess.h"

#define SPAN_MIN_NS UINT64_C(250000000)
#define SPAN_MAX_NS UINT64_C(4000000000)
#define TICKS_MIN   8 /* so that one more or less is no doubling */
#define TICKS_LEAST 4 /* of the slowest rates, within the longest span */
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

/* The power of two that @ticks in @ns are, within a tenth and one and a half; 0: none. */
static uint32_t nearest(uint64_t ticks, uint64_t ns)
{
    for (uint32_t hz = HZ_MIN; hz <= HZ_MAX; hz *= 2) {
        /* In tenths of a tick. */
        uint64_t expected = hz * ns / 100000000, seen = ticks * 10;
        uint64_t off = seen > expected ? seen - expected : expected - seen;
        if (off <= expected / 10 + 15) {
            return hz;
        }
    }
    return 0;
}

uint32_t rate_guess_feed(struct rate_guess *g, uint64_t now, uint64_t taken)
{
    uint64_t ns = now - g->since_ns, ticks = taken - g->taken;

    if (ns < SPAN_MIN_NS || (ticks < TICKS_MIN && ns < SPAN_MAX_NS)) {
        return g->spans >= SPANS ? g->hz : 0;
    }
    uint32_t hz = ticks >= TICKS_LEAST ? nearest(ticks, ns) : 0;
    if (hz == 0 || hz != g->hz) {
        g->hz = hz;
        g->spans = 0;
        g->first_ns = g->since_ns;
    }
    g->spans += hz != 0;
    start_span(g, now, taken);
    return g->spans >= SPANS ? g->hz : 0;
}
