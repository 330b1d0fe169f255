/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A periodic timer's rate, if it can only be a power of two (the RTC: 2 to 8192 Hz): told from how
 * many of its ticks are taken in a span of time, of which a guest may lose a third, or from the
 * intervals between them, where these are known. Three in a row must agree. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct rate_guess {
    uint64_t since_ns; /* the span under way */
    uint64_t taken;    /* at its begin */
    uint32_t hz;       /* what the last spans agree on; 0: nothing */
    unsigned spans;    /* how many do */
};

void rate_guess_init(struct rate_guess *g, uint64_t now, uint64_t taken);

/* The two don't mix. @taken: ticks, ever. Returns the rate in Hz once it is known, 0 before; and
 * goes on, so that a change shows. */
uint32_t rate_guess_feed(struct rate_guess *g, uint64_t now, uint64_t taken);
/* @ns: what most ticks come apart. */
uint32_t rate_guess_interval(struct rate_guess *g, uint64_t ns);
