/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A policy as it crosses the bus: a{sv} with the keys policy, threshold, slew, limit_ms, on_resume.
 */
#pragma once

#include "daemon/ticker.h"
#include <glib.h>

/* (transfer floating) */
GVariant *bus_policy_to_variant(const struct ticker_policy *policy);

/* Changes what @changes names; on an error (HV_STATUS_ERROR, INVALID_PARAMETER) nothing. Ranges
 * are checked by ticker_policy_problem(). */
gboolean bus_policy_apply(GVariant *changes, struct ticker_policy *policy, GError **error);
