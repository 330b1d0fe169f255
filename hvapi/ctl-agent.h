/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Asking for a password: where polkit wants an administrator's, the user in the terminal gives it
 * there.
 */
#pragma once

#include <gio/gio.h>

/* Calls over @connection may be answered after somebody was asked for a password: on the terminal,
 * if this runs in one. @bus: the one that it was opened for, as for bus_open(). Returns how many
 * milliseconds to wait for a reply: -1 for the default, more where somebody may have to type first.
 */
int ctl_agent_start(GDBusConnection *connection, const char *bus);
