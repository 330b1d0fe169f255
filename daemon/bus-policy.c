/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A policy as it crosses the bus: see bus-policy.h. */
#include "daemon/bus-policy.h"

#include "common/status.h"
#include "daemon/policy-names.h"

GVariant *bus_policy_to_variant(const struct ticker_policy *policy)
{
    GVariantBuilder builder = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE_VARDICT);

    g_variant_builder_add(&builder, "{sv}", "policy",
                          g_variant_new_string(policy_mode_name(policy->mode)));
    g_variant_builder_add(&builder, "{sv}", "threshold", g_variant_new_uint32(policy->threshold));
    g_variant_builder_add(&builder, "{sv}", "slew", g_variant_new_uint32(policy->slew));
    g_variant_builder_add(&builder, "{sv}", "limit_ms", g_variant_new_uint32(policy->limit_ms));
    g_variant_builder_add(&builder, "{sv}", "on_resume",
                          g_variant_new_string(policy_on_resume_name(policy->catch_up_suspends)));
    return g_variant_builder_end(&builder);
}

static gboolean apply_text(const char *key, GVariant *value, struct ticker_policy *policy)
{
    const char *text = g_variant_get_string(value, NULL);

    if (g_str_equal(key, "policy")) {
        return policy_mode_from_name(text, &policy->mode);
    }
    return g_str_equal(key, "on_resume") &&
           policy_on_resume_from_name(text, &policy->catch_up_suspends);
}

static gboolean apply_number(const char *key, GVariant *value, struct ticker_policy *policy)
{
    uint32_t *number = g_str_equal(key, "threshold")  ? &policy->threshold
                       : g_str_equal(key, "slew")     ? &policy->slew
                       : g_str_equal(key, "limit_ms") ? &policy->limit_ms
                                                      : NULL;

    if (number != NULL) {
        *number = g_variant_get_uint32(value);
    }
    return number != NULL;
}

gboolean bus_policy_apply(GVariant *changes, struct ticker_policy *policy, GError **error)
{
    struct ticker_policy changed = *policy;
    GVariantIter iter;
    const char *key;
    GVariant *value;

    g_variant_iter_init(&iter, changes);
    while (g_variant_iter_loop(&iter, "{&sv}", &key, &value)) {
        gboolean known = g_variant_is_of_type(value, G_VARIANT_TYPE_STRING)
                             ? apply_text(key, value, &changed)
                         : g_variant_is_of_type(value, G_VARIANT_TYPE_UINT32)
                             ? apply_number(key, value, &changed)
                             : FALSE;
        if (!known) {
            g_autofree char *text = g_variant_print(value, TRUE);
            g_set_error(error, HV_STATUS_ERROR, HV_STATUS_INVALID_PARAMETER,
                        "the policy has no \"%s\" that could be %s: policy is \"catchup\", "
                        "\"lazy\" or \"observe\", on_resume \"freeze\" or \"catchup\", threshold, "
                        "slew and limit_ms are uint32",
                        key, text);
            g_variant_unref(value);
            return FALSE;
        }
    }
    *policy = changed;
    return TRUE;
}
