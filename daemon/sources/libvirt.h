/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Partitions of libvirt's QEMU/KVM domains: one for each domain, running or not. What a domain is
 * to have is read from its metadata (the element `assist`) and the host's drop-ins, when it starts
 * and when that is changed. The connection is opened again when it is lost; what ticks, ticks on
 * meanwhile. Main loop only; the connection's calls are waited for.
 */
#pragma once

#include "daemon/assist.h"
#include "daemon/config.h"
#include "daemon/manager.h"
#include "daemon/state.h"

struct libvirt_source;

/* @uri: a connection. @config and @state must outlive it. */
struct libvirt_source *libvirt_source_new(struct manager *manager, const struct config *config,
                                          const struct state *state, const char *uri);
void libvirt_source_free(struct libvirt_source *source);

/* The drop-ins were read anew: domains without metadata follow them. */
void libvirt_source_configure(struct libvirt_source *source);

/* What may be written of a domain's metadata. */
enum libvirt_where {
    LIBVIRT_LIVE = 1 << 0,   /* of the running domain */
    LIBVIRT_CONFIG = 1 << 1, /* of its persistent definition */
};

/* Changes the `assist` element of @guest's domain; @change gets what it says now, and returns NULL,
 * or why that can't be changed so, to be put behind "it would have ". Errors: OBJECT_IN_USE for
 * that; OPERATION_DENIED (no libvirt domain; libvirt refuses), INVALID_PARTITION_STATE (not
 * connected). */
typedef const char *(*libvirt_change_func)(struct assist *assist, gpointer user_data);
gboolean libvirt_source_write(struct libvirt_source *source, struct guest *guest,
                              enum libvirt_where where, libvirt_change_func change,
                              gpointer user_data, GError **error);
