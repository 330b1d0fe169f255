/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One partition's object on the bus. */
#pragma once

#include "daemon/bus-access.h"
#include "daemon/bus.h"
#include <gio/gio.h>

/* The path of partition @id. (transfer full) */
char *bus_partition_path(uint64_t id);

/* The object with all its interfaces, ready to be exported. It may be used after the guest has
 * ended only once bus_partition_end() was called. (transfer full) */
GDBusObjectSkeleton *bus_partition_new(struct guest *guest, const struct bus_sources *sources,
                                       struct bus_access *access);

/* Brings the properties in line with the guest's. */
void bus_partition_update(GDBusObjectSkeleton *object);

/* The guest ends: calls that still come are refused. */
void bus_partition_end(GDBusObjectSkeleton *object);

/* For guest_…() calls on behalf of a method without results: user_data is the invocation, which is
 * completed. */
void bus_complete(const GError *error, gpointer user_data);
