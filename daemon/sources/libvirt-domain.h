/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One libvirt domain as a partition: its process, and what its metadata or a drop-in configure. */
#pragma once

#include "daemon/sources/libvirt.h"
#include <libvirt/libvirt.h>

struct domain;

/* What all domains share. */
struct domain_context {
    struct manager *manager;
    const struct config *config;
    const struct state *state;
};

/* NULL, with a warning, if a partition has its name or UUID already. */
struct domain *domain_new(const struct domain_context *context, const char *name, const char *uuid);
/* @data: a struct domain. Ends the partition. */
void domain_free(gpointer data);

/* Brings the partition in line with the domain's state. */
void domain_follow(struct domain *domain, virDomainPtr handle);

/* Somebody has set its clock. */
void domain_clock_was_set(struct domain *domain);
void domain_was_reset(struct domain *domain);

/* The persistent definition is there, or was edited: if what it says of the assist has changed,
 * that holds for the running domain too. */
void domain_read_definition(struct domain *domain, virDomainPtr handle);

/* The running domain's metadata has changed. */
void domain_read_metadata(struct domain *domain, virDomainPtr handle);

/* The drop-ins were read anew. */
void domain_configure(struct domain *domain);

/* @flag: VIR_DOMAIN_AFFECT_LIVE or _CONFIG. @base: (nullable): what holds where there is no element
 * yet. Errors: OPERATION_DENIED. */
gboolean domain_write_metadata(virDomainPtr handle, unsigned flag, const struct assist *base,
                               libvirt_change_func change, gpointer user_data, GError **error);
