/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The one gate that every call on the bus passes: who may read, and who may change. Root and the
 * daemon's own user may do all. For the others polkit decides, with the actions of
 * conf/org.hvtimer1.policy; where there is no polkit, the group libvirt may do all, and others
 * nothing.
 *
 * Signals are no calls: what changes is broadcast to whoever listens, as polkit's default lets
 * everybody read anyway.
 */
#pragma once

#include "daemon/manager.h"
#include <gio/gio.h>

enum bus_right {
    BUS_RIGHT_MONITOR, /* org.hvtimer1.monitor */
    BUS_RIGHT_MANAGE,  /* org.hvtimer1.manage */
};

/* What a call takes. What is not known to be reading is not. */
enum bus_right bus_access_right(const char *interface, const char *method);

struct bus_access;

/* @polkit: the bus is the system's, where nobody else can have polkit's name. */
struct bus_access *bus_access_new(GDBusConnection *connection, struct manager *manager,
                                  gboolean polkit);
/* Calls that still wait are refused. No skeleton may be exported any more. */
void bus_access_free(struct bus_access *access);

/* A new object of @type, a class derived from GDBusInterfaceSkeleton. Its calls, and the reading
 * and writing of its properties, reach it only once they are allowed; those of one caller in their
 * order. (transfer full) */
gpointer bus_access_new_skeleton(struct bus_access *access, GType type);
