/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hvtimerd on D-Bus: the name org.hvtimer1, the Manager, and one object per partition. What the
 * calls mean is said in conf/org.hvtimer1.xml.
 */
#pragma once

#include "daemon/manager.h"
#include "daemon/sources/libvirt.h"
#include "daemon/sources/processes.h"
#include "daemon/sources/vmm.h"
#include <gio/gio.h>

struct bus;

/* Whom calls are handed on to. */
struct bus_sources {
    struct vmm_source *vmms;
    struct process_source *processes;
    struct libvirt_source *libvirt; /* NULL: no libvirt */
};

/* @error: NULL when the name is ours and calls are served; otherwise the name is had by another, or
 * the bus is gone, and nothing is served any more. */
typedef void (*bus_state_func)(const GError *error, gpointer user_data);

/* Becomes the manager's observer. @sources must outlive it, and may be filled in later. @polkit: as
 * for bus_access_new(). Errors: of GIO. */
struct bus *bus_new(GDBusConnection *connection, gboolean polkit, struct manager *manager,
                    const struct bus_sources *sources, bus_state_func state, gpointer user_data,
                    GError **error);
void bus_free(struct bus *bus);
