/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A histogram of latenesses: see lateness.h. */
#include "daemon/lateness.h"

/* Bucket 0 to 7: that many ns; then 8 to a doubling. */
static unsigned bucket_of(uint64_t ns)
{
    if (ns < 8) {
        return (unsigned)ns;
    }
    unsigned log2 = 63 - (unsigned)__builtin_clzll(ns);
    unsigned bucket = (log2 - 2) * 8 + ((ns >> (log2 - 3)) & 7);

    return bucket < LATENESS_BUCKETS ? bucket : LATENESS_BUCKETS - 1;
}

static uint64_t upper_bound(unsigned bucket)
{
    if (bucket < 8) {
        return bucket;
    }
    return ((uint64_t)(8 + bucket % 8 + 1) << (bucket / 8 - 1)) - 1;
}

/* One writer, so a load and a store do; an atomic addition would cost a bus lock. */
void lateness_count(struct lateness *lateness, uint64_t ns)
{
    _Atomic uint32_t *bucket = &lateness->buckets[bucket_of(ns)];

    atomic_store_explicit(bucket, atomic_load_explicit(bucket, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    if (ns > atomic_load_explicit(&lateness->max_ns, memory_order_relaxed)) {
        atomic_store_explicit(&lateness->max_ns, ns, memory_order_relaxed);
    }
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t percentile(const uint32_t *buckets, uint64_t total, unsigned percent)
{
    uint64_t rank = (total * percent + 99) / 100, seen = 0;

    for (unsigned i = 0; i < LATENESS_BUCKETS; i++) {
        seen += buckets[i];
        if (seen >= rank) {
            return upper_bound(i);
        }
    }
    return 0;
}

void lateness_read(struct lateness *lateness, struct lateness_reading *ret_reading)
{
    uint32_t buckets[LATENESS_BUCKETS];
    uint64_t total = 0;

    for (unsigned i = 0; i < LATENESS_BUCKETS; i++) {
        buckets[i] = atomic_load_explicit(&lateness->buckets[i], memory_order_relaxed);
        total += buckets[i];
    }
    *ret_reading = (struct lateness_reading){0};
    if (total > 0) {
        uint64_t max = atomic_load_explicit(&lateness->max_ns, memory_order_relaxed);
        ret_reading->p50_ns = smaller(percentile(buckets, total, 50), max);
        ret_reading->p99_ns = smaller(percentile(buckets, total, 99), max);
        ret_reading->max_ns = max;
    }
}
