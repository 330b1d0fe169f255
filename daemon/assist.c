/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a guest is configured to have, and how its values are read from text: see assist.h. */
#include "daemon/assist.h"

#include "common/values.h"
#include "daemon/policy-names.h"
#include <string.h>

/* Below 16 a vector is not deliverable. */
#define VECTOR_MIN 16

static const HV_EMULATED_TIMER_CONTROL vector_bits = {.Vector = 0xFF};
static const HV_EMULATED_TIMER_CONTROL delivery_bits = {.DeliveryMode = 7};
static const HV_EMULATED_TIMER_CONTROL enabled_bits = {.Enabled = 1};
/* In both layouts. */
static const HV_EMULATED_TIMER_CONTROL destination_bits = {
    .LogicalDestinationMode = 1, .Reserved2 = 0xFFFFFF, .Mda = 0xFF};

void assist_apply_policy(const struct assist *assist, struct ticker_policy *policy)
{
    if (assist->policy_given & ASSIST_POLICY_MODE) {
        policy->mode = assist->policy.mode;
    }
    if (assist->policy_given & ASSIST_POLICY_THRESHOLD) {
        policy->threshold = assist->policy.threshold;
    }
    if (assist->policy_given & ASSIST_POLICY_SLEW) {
        policy->slew = assist->policy.slew;
    }
    if (assist->policy_given & ASSIST_POLICY_LIMIT) {
        policy->limit_ms = assist->policy.limit_ms;
    }
    if (assist->policy_given & ASSIST_POLICY_ON_RESUME) {
        policy->catch_up_suspends = assist->policy.catch_up_suspends;
    }
}

/* The layouts have two forms for a destination up to 255. */
static gboolean control_equal(uint64_t a, uint64_t b)
{
    return (uint32_t)a == (uint32_t)b &&
           value_control_destination(a) == value_control_destination(b);
}

static gboolean timer_equal(const struct assist *a, const struct assist *b)
{
    return period_equal(a->period, b->period) && control_equal(a->control, b->control) &&
           g_str_equal(a->injector, b->injector);
}

static gboolean policy_equal(const struct assist *a, const struct assist *b)
{
    struct ticker_policy x = TICKER_POLICY_DEFAULT, y = TICKER_POLICY_DEFAULT;

    assist_apply_policy(a, &x);
    assist_apply_policy(b, &y);
    return x.mode == y.mode && x.threshold == y.threshold && x.slew == y.slew &&
           x.limit_ms == y.limit_ms && x.catch_up_suspends == y.catch_up_suspends;
}

/* Where there is none, nothing is forced. */
static gboolean same_supervision(const struct supervision *a, const struct supervision *b)
{
    return supervision_equal(a, b) || (a->mode == SUPERVISION_OFF && b->mode == SUPERVISION_OFF);
}

gboolean assist_equal(const struct assist *a, const struct assist *b)
{
    return !a->timer == !b->timer && (!a->timer || timer_equal(a, b)) &&
           same_supervision(&a->supervision, &b->supervision) &&
           a->policy_given == b->policy_given && policy_equal(a, b);
}

const char *assist_timer_lacks(const struct assist *assist)
{
    if (assist->period.numerator == 0) {
        return "period";
    }
    return (assist->control & vector_bits.AsUINT64) == 0 ? "vector" : NULL;
}

const char *assist_supervise(struct assist *assist, const struct supervision *supervision)
{
    if (supervision->mode == SUPERVISION_OFF) {
        return NULL;
    }
    if (assist->supervision.mode != SUPERVISION_OFF) {
        return "both rtc and pit, but a partition has one timer; remove one of them, or set its "
               "mode to off";
    }
    assist->supervision = *supervision;
    return NULL;
}

const char *assist_conflict(const struct assist *assist)
{
    if (!assist->timer || (assist->control & enabled_bits.AsUINT64) == 0) {
        return NULL;
    }
    switch (assist->supervision.timer) {
    case BASE_TIMER_RTC:
        return "both an enabled timer and rtc, but a partition has one timer; remove one of them, "
               "disable the timer, or set the mode of rtc to off";
    case BASE_TIMER_PIT:
        return "both an enabled timer and pit, but a partition has one timer; remove one of them, "
               "disable the timer, or set the mode of pit to off";
    case BASE_TIMER_NONE:
        break;
    }
    return NULL;
}

const struct assist_value *assist_find_value(const struct assist_value *values, const char *name)
{
    for (; values->name != NULL; values++) {
        if (g_str_equal(values->name, name)) {
            return values;
        }
    }
    return NULL;
}

/* ---- the values of a timer ---- */

/* @wanted: what would have been right. Returns: FALSE. */
static gboolean refuse(GError **error, const char *where, const char *text, const char *wanted)
{
    g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, "%s can't be '%s'; give %s", where,
                text, wanted);
    return FALSE;
}

static void replace_bits(struct assist *assist, HV_EMULATED_TIMER_CONTROL mask, uint64_t bits)
{
    assist->control = (assist->control & ~mask.AsUINT64) | bits;
}

static gboolean set_period(struct assist *assist, const char *where, const char *text,
                           GError **error)
{
    if (!value_parse_period(text, &assist->period, error)) {
        g_prefix_error(error, "%s: ", where);
        return FALSE;
    }
    return TRUE;
}

static gboolean set_vector(struct assist *assist, const char *where, const char *text,
                           GError **error)
{
    uint64_t bits;

    if (!value_parse_number(where, text, VECTOR_MIN, UINT8_MAX, &bits, error)) {
        return FALSE;
    }
    replace_bits(assist, vector_bits, bits);
    return TRUE;
}

static gboolean set_destination(struct assist *assist, const char *where, const char *text,
                                GError **error)
{
    uint64_t bits;

    if (!value_parse_destination(text, &bits, error)) {
        g_prefix_error(error, "%s: ", where);
        return FALSE;
    }
    replace_bits(assist, destination_bits, bits);
    return TRUE;
}

static gboolean set_delivery(struct assist *assist, const char *where, const char *text,
                             GError **error)
{
    uint64_t bits;

    if (!value_parse_delivery(text, &bits, error)) {
        g_prefix_error(error, "%s: ", where);
        return FALSE;
    }
    replace_bits(assist, delivery_bits, bits);
    return TRUE;
}

static gboolean set_injector(struct assist *assist, const char *where, const char *text,
                             GError **error)
{
    static const char *const injectors[] = {"auto", "msi", "pin", "lapic", "model", NULL};

    if (!g_strv_contains(injectors, text)) {
        return refuse(error, where, text, "auto, msi, pin, lapic or model");
    }
    g_strlcpy(assist->injector, text, sizeof assist->injector);
    return TRUE;
}

static gboolean read_yes(const char *where, const char *text, gboolean *ret_yes, GError **error)
{
    gboolean yes = g_str_equal(text, "yes");

    if (!yes && !g_str_equal(text, "no")) {
        return refuse(error, where, text, "yes or no");
    }
    *ret_yes = yes;
    return TRUE;
}

static gboolean set_enabled(struct assist *assist, const char *where, const char *text,
                            GError **error)
{
    gboolean enabled;

    if (!read_yes(where, text, &enabled, error)) {
        return FALSE;
    }
    replace_bits(assist, enabled_bits, enabled ? enabled_bits.AsUINT64 : 0);
    return TRUE;
}

const struct assist_value assist_timer_values[] = {
    {"period", set_period},
    {"vector", set_vector},
    {"destination", set_destination},
    {"delivery", set_delivery},
    {"injector", set_injector},
    {"enabled", set_enabled},
    {NULL, NULL},
};

/* ---- the values of a supervision ---- */

static gboolean set_mode(struct assist *assist, const char *where, const char *text, GError **error)
{
    if (!supervision_mode_from_name(text, &assist->supervision.mode)) {
        return refuse(error, where, text, "slew, observe or off");
    }
    return TRUE;
}

static gboolean set_force(struct assist *assist, const char *where, const char *text,
                          GError **error)
{
    return read_yes(where, text, &assist->supervision.force, error);
}

const struct assist_value assist_supervision_values[] = {
    {"mode", set_mode},
    {"force", set_force},
    {NULL, NULL},
};

/* ---- the values of a policy ---- */

static gboolean set_policy(struct assist *assist, const char *where, const char *text,
                           GError **error)
{
    if (!policy_mode_from_name(text, &assist->policy.mode)) {
        return refuse(error, where, text, "catchup, lazy or observe");
    }
    assist->policy_given |= ASSIST_POLICY_MODE;
    return TRUE;
}

static gboolean read_number(const char *where, const char *text, uint32_t min, uint32_t max,
                            uint32_t *ret_number, GError **error)
{
    uint64_t number;

    if (!value_parse_number(where, text, min, max, &number, error)) {
        return FALSE;
    }
    *ret_number = (uint32_t)number;
    return TRUE;
}

static gboolean set_threshold(struct assist *assist, const char *where, const char *text,
                              GError **error)
{
    if (!read_number(where, text, 1, UINT32_MAX, &assist->policy.threshold, error)) {
        return FALSE;
    }
    assist->policy_given |= ASSIST_POLICY_THRESHOLD;
    return TRUE;
}

static gboolean set_slew(struct assist *assist, const char *where, const char *text, GError **error)
{
    if (!read_number(where, text, TICKER_SLEW_MIN, TICKER_SLEW_MAX, &assist->policy.slew, error)) {
        return FALSE;
    }
    assist->policy_given |= ASSIST_POLICY_SLEW;
    return TRUE;
}

static gboolean set_limit(struct assist *assist, const char *where, const char *text,
                          GError **error)
{
    if (!read_number(where, text, 0, UINT32_MAX, &assist->policy.limit_ms, error)) {
        return FALSE;
    }
    assist->policy_given |= ASSIST_POLICY_LIMIT;
    return TRUE;
}

static gboolean set_on_resume(struct assist *assist, const char *where, const char *text,
                              GError **error)
{
    if (!policy_on_resume_from_name(text, &assist->policy.catch_up_suspends)) {
        return refuse(error, where, text, "freeze or catchup");
    }
    assist->policy_given |= ASSIST_POLICY_ON_RESUME;
    return TRUE;
}

const struct assist_value assist_policy_values[] = {
    {"policy", set_policy}, {"threshold", set_threshold}, {"slew", set_slew},
    {"limit", set_limit},   {"on-resume", set_on_resume}, {NULL, NULL},
};
