/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which bus to meet the daemon on, and a connection to it.
 */
#pragma once

#include <gio/gio.h>

#define BUS_ENVIRONMENT "HVTIMER_BUS_ADDRESS"

/* @which: "system", "session" or a D-Bus address; NULL: what the environment variable
 * HVTIMER_BUS_ADDRESS says, the system bus where it says nothing.
 *
 * The connection is the caller's own: no g_bus_get() in the same process shares it, and its end
 * does not end the process. HV_STATUS_ERROR is known to it. (transfer full) */
GDBusConnection *bus_open(const char *which, GError **error);

/* Is that one the system bus, by whatever name? */
gboolean bus_is_system(const char *which);
