/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where in its period a timer's ticks come: see phase.h. */
#include "daemon/base-timer/phase.h"

void phase_init(struct phase *phase)
{
    phase->n = 0;
}

/* Counts after the tick before, or ahead of the next one, whichever is nearer. */
static int32_t nearest(uint64_t since, uint32_t length)
{
    return since > length / 2 ? (int32_t)since - (int32_t)length : (int32_t)since;
}

static void insert(struct phase *phase, int32_t value)
{
    uint32_t i = phase->n++;

    for (; i > 0 && phase->seen[i - 1] > value; i--) {
        phase->seen[i] = phase->seen[i - 1];
    }
    phase->seen[i] = value;
}

bool phase_feed(struct phase *phase, uint64_t since, uint32_t length, int32_t *ret_later)
{
    insert(phase, nearest(since, length));
    if (phase->n < PHASE_OF) {
        return false;
    }
    *ret_later = phase->seen[PHASE_OF / 2];
    phase->n = 0;
    return true;
}
