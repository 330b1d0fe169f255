/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Indices of a bounded queue with one writer and one reader thread, without locks. The entries
 * are an array of the caller's, of a power of two.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct ring {
    _Atomic uint32_t written;
    _Atomic uint32_t read;
    uint32_t size; /* a power of two */
};

/* Writer: entries that may be written now. */
static inline uint32_t ring_room(struct ring *ring)
{
    return ring->size - (atomic_load_explicit(&ring->written, memory_order_relaxed) -
                         atomic_load_explicit(&ring->read, memory_order_acquire));
}

/* Writer, with room: where the next entry goes; ring_publish() hands it over. */
static inline uint32_t ring_write_index(struct ring *ring)
{
    return atomic_load_explicit(&ring->written, memory_order_relaxed) & (ring->size - 1);
}

static inline void ring_publish(struct ring *ring)
{
    atomic_store_explicit(&ring->written,
                          atomic_load_explicit(&ring->written, memory_order_relaxed) + 1,
                          memory_order_release);
}

/* Reader: is there an entry, and where? ring_consume() gives its place back. */
static inline bool ring_read_index(struct ring *ring, uint32_t *ret_index)
{
    uint32_t read = atomic_load_explicit(&ring->read, memory_order_relaxed);

    *ret_index = read & (ring->size - 1);
    return read != atomic_load_explicit(&ring->written, memory_order_acquire);
}

static inline void ring_consume(struct ring *ring)
{
    atomic_store_explicit(&ring->read, atomic_load_explicit(&ring->read, memory_order_relaxed) + 1,
                          memory_order_release);
}
