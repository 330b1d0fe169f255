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

/* How long a figure must stand still before it is believed to: longer than a busy machine keeps a
 * thread from running. */
#define TEST_STILL_MS 500

/* Runs the default main context until @figure, read again and again, has had one value for
 * TEST_STILL_MS; fails the test after @seconds. */
#define test_wait_until_still(seconds, figure)                                    \
    G_STMT_START                                                                  \
    {                                                                             \
        guint64 last_, figure_ = (figure);                                        \
        gint64 since_ = g_get_monotonic_time(), now_;                             \
        gint64 deadline_ = since_ + (gint64)((seconds)*G_USEC_PER_SEC);           \
        do {                                                                      \
            test_iterate();                                                       \
            now_ = g_get_monotonic_time(); /* first: the reading may take long */ \
            g_assert_cmpint(now_, <, deadline_);                                  \
            last_ = figure_;                                                      \
            figure_ = (figure);                                                   \
            since_ = figure_ != last_ ? g_get_monotonic_time() : since_;          \
        } while (now_ - since_ < TEST_STILL_MS * 1000);                           \
    }                                                                             \
    G_STMT_END

/* Dispatches what is ready in the default main context, or waits a millisecond for it. */
void test_iterate(void);
