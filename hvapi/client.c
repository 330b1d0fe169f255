/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the library's calls share: see client.h. */
#include "hvapi/client.h"

#include "common/bus-address.h"
#include "common/status.h"
#include <hvapi/hvapi.h>

/* Two things that a library of plain functions can keep nowhere else. */
static GMutex lock; /* guards shared_connection */
static GDBusConnection *shared_connection;
static _Thread_local char last_error[512];

const char *hvapi_last_error(void)
{
    return last_error;
}

const char *hvapi_status_name(HV_STATUS status)
{
    return hv_status_name(status);
}

HV_STATUS client_fail_with(HV_STATUS status, const char *text)
{
    g_strlcpy(last_error, text, sizeof last_error);
    return status;
}

HV_STATUS client_fail(const GError *error)
{
    g_autoptr(GError) stripped = g_error_copy(error);

    g_dbus_error_strip_remote_error(stripped);
    return client_fail_with(hv_status_from_error(error), stripped->message);
}

static GDBusConnection *get_connection(GError **error)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&lock);

    if (shared_connection != NULL && g_dbus_connection_is_closed(shared_connection)) {
        g_clear_object(&shared_connection);
    }
    if (shared_connection == NULL) {
        shared_connection = bus_open(NULL, error);
    }
    return shared_connection != NULL ? g_object_ref(shared_connection) : NULL;
}

GVariant *client_call(const char *path, const char *interface, const char *method,
                      GVariant *parameters, const char *reply_type, GError **error)
{
    g_autoptr(GVariant) sunk = g_variant_ref_sink(parameters);
    g_autoptr(GDBusConnection) connection = get_connection(error);

    if (connection == NULL) {
        return NULL;
    }
    return g_dbus_connection_call_sync(connection, CLIENT_BUS_NAME, path, interface, method, sunk,
                                       G_VARIANT_TYPE(reply_type), G_DBUS_CALL_FLAGS_NONE, -1, NULL,
                                       error);
}
