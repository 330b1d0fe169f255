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

struct lateness {
    _Atomic uint32_t buckets[LATENESS_BUCKETS];
    _Atomic uint64_t max_ns;
};

struct lateness_reading {
    uint64_t p50_ns; /* upper bounds of their buckets, an eighth above the value at most */
    uint64_t p99_ns;
    uint64_t max_ns; /* exact */
};

void lateness_count(struct lateness *lateness, uint64_t ns);

void lateness_read(struct lateness *lateness, struct lateness_reading *ret_reading);
