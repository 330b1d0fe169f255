/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What all tests share. */
#pragma once

#include <glib.h>

/* What the machine truly lacks. With HVTIMER_TEST_NO_SKIP in the environment, as on a machine that
 * has it all, a skip is a failure. Return from the test after it. */
void test_skip(const char *reason);

/* Runs the default main context until @done is true; fails the test after @seconds. */
#define test_wait_until(seconds, done)                                                  \
    G_STMT_START                                                                        \
    {                                                                                   \
        gint64 deadline_ = g_get_monotonic_time() + (gint64)((seconds)*G_USEC_PER_SEC); \
        while (!(done)) {                                                               \
            g_assert_cmpint(g_get_monotonic_time(), <, deadline_);                      \
            test_iterate();                                                             \
        }                                                                               \
    }                                                                                   \
    G_STMT_END

/* Dispatches what is ready in the default main context, or waits a millisecond for it. */
void test_iterate(void);
