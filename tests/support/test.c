/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What all tests share: see test.h. */
#include "tests/support/test.h"

void test_skip(const char *reason)
{
    if (g_getenv("HVTIMER_TEST_NO_SKIP") != NULL) {
        g_test_fail_printf("would be skipped: %s", reason);
    } else {
        g_test_skip(reason);
    }
}

static gboolean nothing(G_GNUC_UNUSED gpointer user_data)
{
    return G_SOURCE_REMOVE;
}

void test_iterate(void)
{
    guint source = g_timeout_add(1, nothing, NULL);

    g_main_context_iteration(NULL, TRUE);
    GSource *left = g_main_context_find_source_by_id(NULL, source);
    if (left != NULL) {
        g_source_destroy(left);
    }
}
