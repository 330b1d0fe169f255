/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which timer is due first: a heap of four children a node, so that a node's are a cache line, and
 * of numbers, so that no timer is touched but the one that is served.
 */
#pragma once

#include <stdint.h>

struct deadline {
    uint64_t ns;
    uint32_t number; /* whose it is: below the capacity */
};

struct deadlines {
    struct deadline *heap; /* heap[0] is due first */
    uint32_t *places;      /* of each number, in `heap` */
    unsigned size;
};

/* All but these two: no allocation. */
void deadlines_init(struct deadlines *d, unsigned capacity);
void deadlines_clear(struct deadlines *d);

/* @number has none yet. */
void deadlines_add(struct deadlines *d, uint32_t number, uint64_t ns);
/* @number has one. */
void deadlines_set(struct deadlines *d, uint32_t number, uint64_t ns);
void deadlines_remove(struct deadlines *d, uint32_t number);

/* Whose is the second one? */
uint32_t deadlines_second(const struct deadlines *d);
#define DEADLINES_NONE UINT32_MAX
