/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The words for a policy: see policy-names.h. */
#include "daemon/policy-names.h"

static const char *const mode_names[] = {
    [TICKER_CATCHUP] = "catchup",
    [TICKER_LAZY] = "lazy",
    [TICKER_OBSERVE] = "observe",
};

const char *policy_mode_name(enum ticker_mode mode)
{
    return mode_names[mode];
}

gboolean policy_mode_from_name(const char *name, enum ticker_mode *ret_mode)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(mode_names); i++) {
        if (g_str_equal(name, mode_names[i])) {
            *ret_mode = (enum ticker_mode)i;
            return TRUE;
        }
    }
    return FALSE;
}

const char *policy_on_resume_name(bool catch_up_suspends)
{
    return catch_up_suspends ? "catchup" : "freeze";
}

gboolean policy_on_resume_from_name(const char *name, bool *ret_catch_up_suspends)
{
    gboolean catchup = g_str_equal(name, "catchup");

    if (!catchup && !g_str_equal(name, "freeze")) {
        return FALSE;
    }
    *ret_catch_up_suspends = catchup;
    return TRUE;
}
