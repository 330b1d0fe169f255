/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Supervision: a timer that the guest has anyway is watched and, if asked for, helped. What may be
 * asked for, and the words for it. A plain value.
 */
#pragma once

#include <glib.h>

/* A timer that the guest may count by. */
enum base_timer {
    BASE_TIMER_NONE,
    BASE_TIMER_RTC, /* the RTC's periodic interrupt, GSI 8 */
    BASE_TIMER_PIT, /* the PIT's channel 0, GSI 0 */
};

enum supervision_mode {
    SUPERVISION_OFF,
    SUPERVISION_OBSERVE, /* counts what the guest loses */
    SUPERVISION_SLEW,    /* and makes it up, as the policy says */
};

struct supervision {
    enum base_timer timer; /* NONE if, and only if, the mode is OFF */
    enum supervision_mode mode;
    gboolean force; /* make up even where the VMM does it too */
};

#define SUPERVISION_NONE                                   \
    {                                                      \
        .timer = BASE_TIMER_NONE, .mode = SUPERVISION_OFF, \
    }

gboolean supervision_equal(const struct supervision *a, const struct supervision *b);

/* "rtc", "pit"; BASE_TIMER_NONE: "none". */
const char *base_timer_name(enum base_timer timer);
/* FALSE, and nothing changed: not "rtc" or "pit". */
gboolean base_timer_from_name(const char *name, enum base_timer *ret_timer);

/* "off", "observe", "slew". */
const char *supervision_mode_name(enum supervision_mode mode);
gboolean supervision_mode_from_name(const char *name, enum supervision_mode *ret_mode);
