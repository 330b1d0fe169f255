/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How fast a guest's clock has gone lately: see speed.h. */
#include "daemon/base-timer/speed.h"

void speed_init(struct speed *speed)
{
    speed->last = speed->n = 0;
}

void speed_sample(struct speed *speed, uint64_t now, uint64_t counted)
{
    if (speed->n > 0 && now - speed->samples[speed->last].ns < SPEED_SAMPLE_NS) {
        return;
    }
    speed->last = speed->n > 0 ? (speed->last + 1) % SPEED_SAMPLES : 0;
    speed->n += speed->n < SPEED_SAMPLES;
    speed->samples[speed->last].ns = now;
    speed->samples[speed->last].counted = counted;
}

/* Since the youngest sample that is as old as the window, or else the oldest one. */
int64_t speed_room(const struct speed *speed, uint64_t now, uint64_t counted, uint32_t percent,
                   uint64_t hz)
{
    __extension__ typedef unsigned __int128 u128;
    uint32_t at = speed->last;

    for (uint32_t i = 1; i < speed->n && now - speed->samples[at].ns < SPEED_WINDOW_NS; i++) {
        at = (at + SPEED_SAMPLES - 1) % SPEED_SAMPLES;
    }
    if (speed->n == 0) {
        return 0;
    }
    uint64_t passed = (uint64_t)((u128)(now - speed->samples[at].ns) * hz / 1000000000);
    return (int64_t)(passed * percent / 100) - (int64_t)(counted - speed->samples[at].counted);
}
