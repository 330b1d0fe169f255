/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The heap of deadlines beside an array that is searched from end to end. */
#include "daemon/deadlines.h"

#include <glib.h>

#define CAPACITY 200u
#define STEPS    200000u
#define NONE     UINT64_MAX

static uint64_t expected[CAPACITY]; /* NONE: it has no deadline */

static uint64_t least_but(uint32_t number)
{
    uint64_t least = NONE;

    for (uint32_t i = 0; i < CAPACITY; i++) {
        least = i != number ? MIN(least, expected[i]) : least;
    }
    return least;
}

static void assert_first(const struct deadlines *d)
{
    uint32_t second = deadlines_second(d);

    if (d->size == 0) {
        g_assert_cmpuint(least_but(CAPACITY), ==, NONE);
        return;
    }
    g_assert_cmpuint(d->heap[0].ns, ==, least_but(CAPACITY));
    g_assert_cmpuint(d->heap[0].ns, ==, expected[d->heap[0].number]);
    if (second == DEADLINES_NONE) {
        g_assert_cmpuint(d->size, ==, 1);
        return;
    }
    g_assert_cmpuint(expected[second], ==, least_but(d->heap[0].number));
    g_assert_cmpuint(d->heap[d->places[second]].ns, ==, expected[second]);
}

static void step(struct deadlines *d, GRand *random)
{
    uint32_t number = g_rand_int_range(random, 0, CAPACITY);
    uint64_t ns = g_rand_int_range(random, 0, 1000); /* so that some are equal */

    if (expected[number] == NONE) {
        deadlines_add(d, number, ns);
    } else if (g_rand_int_range(random, 0, 4) == 0) {
        deadlines_remove(d, number);
        ns = NONE;
    } else {
        deadlines_set(d, number, ns);
    }
    expected[number] = ns;
}

static void test_random(void)
{
    guint32 seed = (guint32)g_test_rand_int();
    g_autoptr(GRand) random = g_rand_new_with_seed(seed);
    struct deadlines d;

    g_test_message("seed %u", seed);
    for (uint32_t i = 0; i < CAPACITY; i++) {
        expected[i] = NONE;
    }
    deadlines_init(&d, CAPACITY);
    for (unsigned i = 0; i < STEPS; i++) {
        step(&d, random);
        assert_first(&d);
    }
    deadlines_clear(&d);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/deadlines/random", test_random);
    return g_test_run();
}
