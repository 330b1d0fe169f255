/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Opening a private connection to the bus that an option or the environment names.
 */
#include "common/bus-address.h"

#include "common/status.h"

static char *find_address(const char *which, GError **error)
{
    if (g_str_equal(which, "system")) {
        return g_dbus_address_get_for_bus_sync(G_BUS_TYPE_SYSTEM, NULL, error);
    }
    if (g_str_equal(which, "session")) {
        return g_dbus_address_get_for_bus_sync(G_BUS_TYPE_SESSION, NULL, error);
    }
    return g_strdup(which);
}

static GDBusConnection *connect_to(const char *which, GError **error)
{
    g_autofree char *address = find_address(which, error);

    if (address == NULL) {
        return NULL;
    }
    return g_dbus_connection_new_for_address_sync(
        address,
        G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT |
            G_DBUS_CONNECTION_FLAGS_MESSAGE_BUS_CONNECTION,
        NULL, NULL, error);
}

static const char *or_default(const char *which)
{
    if (which == NULL) {
        which = g_getenv(BUS_ENVIRONMENT);
    }
    return which == NULL || *which == '\0' ? "system" : which;
}

gboolean bus_is_system(const char *which)
{
    g_autofree char *address = find_address(or_default(which), NULL);
    g_autofree char *of_system = find_address("system", NULL);

    return address != NULL && g_strcmp0(address, of_system) == 0;
}

GDBusConnection *bus_open(const char *which, GError **error)
{
    g_autoptr(GError) cause = NULL;
    GDBusConnection *connection;

    which = or_default(which);
    /* Errors that come over the connection are to be read as statuses from the first on. */
    (void)HV_STATUS_ERROR;
    connection = connect_to(which, &cause);
    if (connection == NULL) {
        g_set_error(error, cause->domain, cause->code,
                    "can't connect to the bus '%s' (system, session or an address): %s; is it "
                    "running? --bus or " BUS_ENVIRONMENT " names another",
                    which, cause->message);
        return NULL;
    }
    g_dbus_connection_set_exit_on_close(connection, FALSE);
    return connection;
}
