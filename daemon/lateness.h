/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A histogram of latenesses, eight buckets to each doubling. One thread counts, any thread reads,
 * without a lock.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

/* Up to 2^36 ns, 68 s; what is later is counted in the last one. */
#define LATENESS_BUCKETS (34 * 8)

/* At 1 kHz, 32 bits would be full after 50 days. */
struct lateness {
    _Atomic uint64_t sum_ns;
    _Atomic uint64_t max_ns;
    _Atomic uint64_t buckets[LATENESS_BUCKETS];
};

/* From 1 us to 1 s: each the last value of a bucket, so that how many were not later is exact. */
#define LATENESS_BOUNDS 18
extern const uint64_t lateness_bounds_ns[LATENESS_BOUNDS];

struct lateness_reading {
    uint64_t p50_ns; /* upper bounds of their buckets, an eighth above the value at most */
    uint64_t p99_ns;
    uint64_t max_ns;                   /* exact */
    uint64_t at_most[LATENESS_BOUNDS]; /* how many were not later than each bound */
    uint64_t count;                    /* all */
    uint64_t sum_ns;                   /* of all; one that is counted just now may be missing */
};

void lateness_count(struct lateness *lateness, uint64_t ns);

/* Adds those of @from. */
void lateness_add(struct lateness *lateness, const struct lateness *from);

void lateness_read(struct lateness *lateness, struct lateness_reading *ret_reading);
