/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What may be asked for of a timer that the guest has: see supervision.h. */
#include "daemon/base-timer/supervision.h"

static const char *const timer_names[] = {
    [BASE_TIMER_NONE] = "none",
    [BASE_TIMER_RTC] = "rtc",
    [BASE_TIMER_PIT] = "pit",
};

static const char *const mode_names[] = {
    [SUPERVISION_OFF] = "off",
    [SUPERVISION_OBSERVE] = "observe",
    [SUPERVISION_SLEW] = "slew",
};

gboolean supervision_equal(const struct supervision *a, const struct supervision *b)
{
    return a->timer == b->timer && a->mode == b->mode && !a->force == !b->force;
}

const char *base_timer_name(enum base_timer timer)
{
    return timer_names[timer];
}

gboolean base_timer_from_name(const char *name, enum base_timer *ret_timer)
{
    for (unsigned i = BASE_TIMER_RTC; i < G_N_ELEMENTS(timer_names); i++) {
        if (g_str_equal(name, timer_names[i])) {
            *ret_timer = (enum base_timer)i;
            return TRUE;
        }
    }
    return FALSE;
}

const char *supervision_mode_name(enum supervision_mode mode)
{
    return mode_names[mode];
}

gboolean supervision_mode_from_name(const char *name, enum supervision_mode *ret_mode)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(mode_names); i++) {
        if (g_str_equal(name, mode_names[i])) {
            *ret_mode = (enum supervision_mode)i;
            return TRUE;
        }
    }
    return FALSE;
}
