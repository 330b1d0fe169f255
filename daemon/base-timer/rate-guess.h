/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A periodic timer's rate, told from how many of its ticks are taken, if it can only be a power of
 * two (the RTC: 2 to 8192 Hz): three spans of time in a row must agree. A guest that loses ticks
 * gives no agreement, or the same rate all the same, as it would have to lose half of them. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct rate_guess {
    uint64_t since_ns; /* the span under way */
    uint64_t taken;    /* at its begin */
    uint32_t hz;       /* what the last spans agree on; 0: nothing */
    unsigned spans;    /* how many do */
    uint64_t first_ns; /* when the first of these began */
};

void rate_guess_init(struct rate_guess *g, uint64_t now, uint64_t taken);

/* @taken: ticks, ever. Returns the rate in Hz once it is known, 0 before; and goes on, so that a
 * change shows. */
uint32_t rate_guess_feed(struct rate_guess *g, uint64_t now, uint64_t taken);
