/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Partitions of cooperating VMMs, which hand their KVM VM over (libhvapi): descriptors in, and an
 * object org.hvtimer1.Vmm of theirs that is asked to make the route. Such a partition is its
 * VMM's own: it ends when that leaves the bus.
 */
#pragma once

#include "daemon/manager.h"
#include "daemon/state.h"
#include <gio/gio.h>

struct vmm_source;

/* @state must outlive it. */
struct vmm_source *vmm_source_new(struct manager *manager, const struct state *state,
                                  GDBusConnection *connection);
void vmm_source_free(struct vmm_source *source);

struct vmm_offer {
    const char *sender; /* the VMM's unique name on the bus */
    const char *path;   /* its org.hvtimer1.Vmm */
    const char *name;
    const char *uuid; /* "": none */
    uint64_t wanted_id;
    uint32_t pid;
    int tick_fd; /* taken, in every case */
    int ack_fd;  /* taken; -1: none */
};

/* Errors, of HV_STATUS_ERROR: INVALID_PARAMETER, and those of manager_add(). */
struct guest *vmm_source_attach(struct vmm_source *source, const struct vmm_offer *offer,
                                GError **error);

/* The partition @id if it is @sender's; else ACCESS_DENIED or INVALID_PARTITION_ID. */
struct guest *vmm_source_find(struct vmm_source *source, uint64_t id, const char *sender,
                              GError **error);

void vmm_source_detach(struct vmm_source *source, struct guest *guest);
