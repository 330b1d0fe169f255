/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How fast a guest's clock has gone lately: what it counted over the last tenth of a second. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define SPEED_WINDOW_NS UINT64_C(100000000)
#define SPEED_SAMPLE_NS UINT64_C(2000000)
/* One more than fill the window. */
#define SPEED_SAMPLES 52

struct speed {
    struct {
        uint64_t ns;
        uint64_t counted;
    } samples[SPEED_SAMPLES]; /* a ring */
    uint32_t last, n;
};

void speed_init(struct speed *speed);

/* @counted: by the guest's clock, ever; in any unit. */
void speed_sample(struct speed *speed, uint64_t now, uint64_t counted);

/* What the clock may count from now on, so that it goes at most @percent of real time over the
 * window; @hz: counts per second of that time. */
int64_t speed_room(const struct speed *speed, uint64_t now, uint64_t counted, uint32_t percent,
                   uint64_t hz);
