/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The median of a few values: see median.h. */
#include "daemon/base-timer/median.h"

void median_init(struct median *median)
{
    median->n = 0;
}

bool median_feed(struct median *median, int64_t value, int64_t *ret_median)
{
    uint32_t i = median->n++;

    for (; i > 0 && median->seen[i - 1] > value; i--) {
        median->seen[i] = median->seen[i - 1];
    }
    median->seen[i] = value;
    if (median->n < MEDIAN_OF) {
        return false;
    }
    *ret_median = median->seen[MEDIAN_OF / 2];
    median->n = 0;
    return true;
}
