/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where in its period a timer's ticks come, told from when the guest handles them: by the median of
 * a few, as one that was held back tells nothing. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define PHASE_OF 15 /* odd */

struct phase {
    int32_t seen[PHASE_OF]; /* counts after the tick was thought to be due; sorted */
    uint32_t n;
};

void phase_init(struct phase *phase);

/* One was handled @since counts after it was thought to be due, @length after the one before. True:
 * ticks come *ret_later counts later than was thought (negative: earlier), their handling included.
 */
bool phase_feed(struct phase *phase, uint64_t since, uint32_t length, int32_t *ret_later);
