/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A histogram of latenesses: see lateness.h. */
#include "daemon/lateness.h"

/* The end of a bucket. A doubling apart where a tick is not badly late. */
#define BELOW_POWER(n) ((UINT64_C(1) << (n)) - 1)
const uint64_t lateness_bounds_ns[LATENESS_BOUNDS] = {
    BELOW_POWER(10), BELOW_POWER(11), BELOW_POWER(12), BELOW_POWER(13), BELOW_POWER(14),
    BELOW_POWER(15), BELOW_POWER(16), BELOW_POWER(17), BELOW_POWER(18), BELOW_POWER(19),
    BELOW_POWER(20), BELOW_POWER(21), BELOW_POWER(22), BELOW_POWER(23), BELOW_POWER(24),
    BELOW_POWER(26), BELOW_POWER(28), BELOW_POWER(30),
};

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
static void add(_Atomic uint64_t *figure, uint64_t n)
{
    atomic_store_explicit(figure, atomic_load_explicit(figure, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

void lateness_count(struct lateness *lateness, uint64_t ns)
{
    add(&lateness->buckets[bucket_of(ns)], 1);
    add(&lateness->sum_ns, ns);
    if (ns > atomic_load_explicit(&lateness->max_ns, memory_order_relaxed)) {
        atomic_store_explicit(&lateness->max_ns, ns, memory_order_relaxed);
    }
}

void lateness_add(struct lateness *lateness, const struct lateness *from)
{
    uint64_t max = atomic_load_explicit(&from->max_ns, memory_order_relaxed);

    for (unsigned i = 0; i < LATENESS_BUCKETS; i++) {
        add(&lateness->buckets[i], atomic_load_explicit(&from->buckets[i], memory_order_relaxed));
    }
    add(&lateness->sum_ns, atomic_load_explicit(&from->sum_ns, memory_order_relaxed));
    if (max > atomic_load_explicit(&lateness->max_ns, memory_order_relaxed)) {
        atomic_store_explicit(&lateness->max_ns, max, memory_order_relaxed);
    }
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t percentile(const uint64_t *buckets, uint64_t total, unsigned percent)
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

static void read_bounds(const uint64_t *buckets, struct lateness_reading *reading)
{
    uint64_t seen = 0;

    for (unsigned i = 0, bound = 0; i < LATENESS_BUCKETS && bound < LATENESS_BOUNDS; i++) {
        seen += buckets[i];
        if (upper_bound(i) == lateness_bounds_ns[bound]) {
            reading->at_most[bound++] = seen;
        }
    }
}

void lateness_read(struct lateness *lateness, struct lateness_reading *ret_reading)
{
    uint64_t buckets[LATENESS_BUCKETS];
    uint64_t total = 0;

    for (unsigned i = 0; i < LATENESS_BUCKETS; i++) {
        buckets[i] = atomic_load_explicit(&lateness->buckets[i], memory_order_relaxed);
        total += buckets[i];
    }
    *ret_reading = (struct lateness_reading){
        .count = total,
        .sum_ns = atomic_load_explicit(&lateness->sum_ns, memory_order_relaxed),
    };
    read_bounds(buckets, ret_reading);
    if (total > 0) {
        uint64_t max = atomic_load_explicit(&lateness->max_ns, memory_order_relaxed);
        ret_reading->p50_ns = smaller(percentile(buckets, total, 50), max);
        ret_reading->p99_ns = smaller(percentile(buckets, total, 99), max);
        ret_reading->max_ns = max;
    }
}
