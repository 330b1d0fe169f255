/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The timers' deadlines: see deadlines.h. */
#include "daemon/deadlines.h"

#include <glib.h>

#define CHILDREN 4u

void deadlines_init(struct deadlines *d, unsigned capacity)
{
    d->heap = g_new0(struct deadline, capacity);
    d->places = g_new0(uint32_t, capacity);
    d->size = 0;
}

void deadlines_clear(struct deadlines *d)
{
    g_clear_pointer(&d->heap, g_free);
    g_clear_pointer(&d->places, g_free);
}

static void place(struct deadlines *d, struct deadline deadline, unsigned i)
{
    d->heap[i] = deadline;
    d->places[deadline.number] = i;
}

/* The place @i is free: @deadline goes there or above. */
static void rise(struct deadlines *d, struct deadline deadline, unsigned i)
{
    while (i > 0 && d->heap[(i - 1) / CHILDREN].ns > deadline.ns) {
        place(d, d->heap[(i - 1) / CHILDREN], i);
        i = (i - 1) / CHILDREN;
    }
    place(d, deadline, i);
}

static unsigned first_child(const struct deadlines *d, unsigned i)
{
    unsigned first = CHILDREN * i + 1, first_of_all = first;

    for (unsigned child = first + 1; child < first + CHILDREN && child < d->size; child++) {
        first_of_all = d->heap[child].ns < d->heap[first_of_all].ns ? child : first_of_all;
    }
    return first_of_all;
}

/* The place @i is free: @deadline goes there or below. */
static void sink(struct deadlines *d, struct deadline deadline, unsigned i)
{
    while (CHILDREN * i + 1 < d->size) {
        unsigned child = first_child(d, i);
        if (d->heap[child].ns >= deadline.ns) {
            break;
        }
        place(d, d->heap[child], i);
        i = child;
    }
    place(d, deadline, i);
}

void deadlines_add(struct deadlines *d, uint32_t number, uint64_t ns)
{
    rise(d, (struct deadline){ns, number}, d->size++);
}

void deadlines_set(struct deadlines *d, uint32_t number, uint64_t ns)
{
    unsigned i = d->places[number];

    if (ns > d->heap[i].ns) {
        sink(d, (struct deadline){ns, number}, i);
    } else {
        rise(d, (struct deadline){ns, number}, i);
    }
}

void deadlines_remove(struct deadlines *d, uint32_t number)
{
    unsigned i = d->places[number];
    struct deadline last = d->heap[--d->size];

    if (i != d->size) {
        sink(d, last, i);
        rise(d, last, d->places[last.number]);
    }
}

uint32_t deadlines_second(const struct deadlines *d)
{
    return d->size > 1 ? d->heap[first_child(d, 0)].number : DEADLINES_NONE;
}
