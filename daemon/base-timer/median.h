/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The median of a few values, one after the other: those that are far off tell nothing. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define MEDIAN_OF 15 /* odd */

struct median {
    int64_t seen[MEDIAN_OF]; /* sorted */
    uint32_t n;
};

void median_init(struct median *median);

/* True, with the median, at every MEDIAN_OF-th value; then it begins anew. */
bool median_feed(struct median *median, int64_t value, int64_t *ret_median);
