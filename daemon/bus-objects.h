/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The partitions' objects on the bus, and org.freedesktop.DBus.ObjectManager, which lists them.
 * GIO has one, too, but a list of its is had by everybody: it can't be guarded (bus-access.h).
 */
#pragma once

#include "daemon/bus-access.h"
#include <gio/gio.h>

struct bus_objects;

/* @path: of the object manager. Errors: of GIO. */
struct bus_objects *bus_objects_new(GDBusConnection *connection, struct bus_access *access,
                                    const char *path, GError **error);
/* All objects are taken off the bus, without a word. */
void bus_objects_free(struct bus_objects *objects);

void bus_objects_add(struct bus_objects *objects, GDBusObjectSkeleton *object);
/* NULL: there is none at @path. (transfer none) */
GDBusObjectSkeleton *bus_objects_find(struct bus_objects *objects, const char *path);
void bus_objects_remove(struct bus_objects *objects, GDBusObjectSkeleton *object);
