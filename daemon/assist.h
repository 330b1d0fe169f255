/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a guest is configured to have: a timer, or supervision of one of its own, and in what its
 * policy differs from the daemon's. It comes from the metadata of a libvirt domain, as the XML
 * element that conf/assist.rng describes, or from the host's configuration ("domains" in
 * hvtimerd.json). A plain value: copy it by assignment.
 */
#pragma once

#include "common/period.h"
#include "daemon/base-timer/supervision.h"
#include "daemon/ticker.h"
#include <glib.h>
#include <hvapi/hvgdk.h>

#define ASSIST_NAMESPACE "urn:hvtimer:domain:1.0"
#define ASSIST_XML_MAX   (64 * 1024) /* bytes */

/* Which fields of a policy are given. */
enum assist_policy_field {
    ASSIST_POLICY_MODE = 1 << 0,
    ASSIST_POLICY_THRESHOLD = 1 << 1,
    ASSIST_POLICY_SLEW = 1 << 2,
    ASSIST_POLICY_LIMIT = 1 << 3,
    ASSIST_POLICY_ON_RESUME = 1 << 4,
};

struct assist {
    gboolean timer; /* one is configured; without, the next three don't count */
    struct period period;
    uint64_t control;  /* HV_EMULATED_TIMER_CONTROL, with Enabled as configured */
    char injector[16]; /* "auto", "msi", "pin", "lapic", "model" */
    struct supervision supervision;
    unsigned policy_given;
    struct ticker_policy policy; /* only the fields in policy_given count */
};

/* Nothing configured; and what holds of a timer before its values are set. */
#define ASSIST_NONE                                                                          \
    {                                                                                        \
        .period = {.numerator = 0, .denominator = 1},                                        \
        .control = HV_EMULATED_TIMER_CONTROL_ENABLED, .injector = "auto",                    \
        .supervision = SUPERVISION_NONE, .policy_given = 0, .policy = TICKER_POLICY_DEFAULT, \
    }

/* Overrides in @policy what is given. */
void assist_apply_policy(const struct assist *assist, struct ticker_policy *policy);

/* They mean the same: what does not count may differ. */
gboolean assist_equal(const struct assist *a, const struct assist *b);

/* A value by its name, and how to set it from text. @where says in errors where the text stands.
 * Errors: G_OPTION_ERROR_BAD_VALUE; the assist then is as before. */
struct assist_value {
    const char *name;
    gboolean (*set)(struct assist *assist, const char *where, const char *text, GError **error);
};

/* period, vector, destination, delivery, injector, enabled; mode, force, to which the timer is to
 * be added; and policy, threshold, slew, limit, on-resume. A row without a name ends each. */
extern const struct assist_value assist_timer_values[];
extern const struct assist_value assist_supervision_values[];
extern const struct assist_value assist_policy_values[];

/* NULL if there is none of that name. */
const struct assist_value *assist_find_value(const struct assist_value *values, const char *name);

/* NULL, or the name of a value that a timer needs and that was not set. */
const char *assist_timer_lacks(const struct assist *assist);

/* Adds @supervision, the timer of which is named; if its mode is off, there is nothing to add.
 * Returns: NULL, or why that can't be, to be put behind the name of the whole and "has ". */
const char *assist_supervise(struct assist *assist, const struct supervision *supervision);

/* NULL, or why there can't be both the timer and the supervision, to be put as above. A timer that
 * is not enabled is in nobody's way. */
const char *assist_conflict(const struct assist *assist);

/* From the element, in the namespace above with any prefix, or in none, as libvirt hands it out.
 * @length: of @xml in bytes; no NUL needs to follow.
 * Errors: G_MARKUP_ERROR, and G_OPTION_ERROR_BAD_VALUE for a value of an attribute. */
gboolean assist_parse_xml(const char *xml, gsize length, struct assist *ret_assist, GError **error);

/* The element, in the namespace above. Read again it gives an equal assist, if @assist holds what
 * can be read at all: a period that is not 0, a vector from 16 on, a fixed or lowest delivery, a
 * policy without a ticker_policy_problem(), no assist_conflict(). (transfer full) */
char *assist_to_xml(const struct assist *assist);
