/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hvtimerd on D-Bus: the name org.hvtimer1, the Manager, and one object per partition. What the
 * calls mean is said in conf/org.hvtimer1.xml.
 */
#pragma once

#include "daemon/manager.h"
#include "daemon/sources/vmm.h"
#include <gio/gio.h>

struct bus;

/* @error: NULL when the name is ours and calls are served; otherwise the name is had by another, or
 * the bus is gone, and nothing is served any more. */
typedef void (*bus_state_func)(const GError *error, gpointer user_data);

/* Becomes the manager's observer. Errors: of GIO. */
struct bus *bus_new(GDBusConnection *connection, struct manager *manager,
                    struct vmm_source *vmm_source, bus_state_func state, gpointer user_data,
                    GError **error);
void bus_free(struct bus *bus);
