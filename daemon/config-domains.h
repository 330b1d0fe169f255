/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the configuration says of guests: "policy", with which every one starts, and "domains",
 * the timers, their own or ours, and the policies of single ones. For config.c.
 */
#pragma once

#include "daemon/config-keys.h"

/* Of a policy, into struct ticker_policy. */
extern const struct config_table config_policy_table;

/* Of struct config_domain; empty. (transfer full) */
GArray *config_domains_new(void);

/* Appends the entries to the array. */
gboolean config_read_domains(const struct config_key *key, const char *where, json_object *value,
                             void *field, GError **error);
