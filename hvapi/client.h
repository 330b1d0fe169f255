/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the library's calls share: the connection to the daemon, and errors as HV_STATUS. */
#pragma once

#include <gio/gio.h>
#include <hvapi/hvgdk.h>

#define CLIENT_BUS_NAME  "org.hvtimer1"
#define CLIENT_ROOT_PATH "/org/hvtimer1"

/* Calls a method of the daemon's on the process's shared connection, which is opened anew when it
 * was lost. By the well-known name and not by a proxy, which would need a main loop to notice that
 * the daemon was restarted. Parameters are floating; NULL with an error of any domain. */
GVariant *client_call(const char *path, const char *interface, const char *method,
                      GVariant *parameters, const char *reply_type, GError **error);

/* The status that an error stands for; its text becomes hvapi_last_error(). */
HV_STATUS client_fail(const GError *error);
/* The same for an error that the library finds itself. */
HV_STATUS client_fail_with(HV_STATUS status, const char *text);
