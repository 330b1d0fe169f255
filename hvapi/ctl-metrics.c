/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verb metrics: what hvtimerd would tell a scraper. */
#include "hvapi/ctl.h"

#include "common/bus-address.h"
#include "common/hvtimer-dbus.h"
#include "common/status.h"
#include <stdio.h>

static char *get_metrics(const char *bus, GError **error)
{
    g_autoptr(GDBusConnection) connection = bus_open(bus, error);
    g_autoptr(HvtDbusManager) manager = NULL;
    g_autoptr(GError) local_error = NULL;
    char *text = NULL;

    if (connection == NULL) {
        return NULL;
    }
    manager = hvt_dbus_manager_proxy_new_sync(connection,
                                              G_DBUS_PROXY_FLAGS_DO_NOT_LOAD_PROPERTIES |
                                                  G_DBUS_PROXY_FLAGS_DO_NOT_CONNECT_SIGNALS,
                                              "org.hvtimer1", "/org/hvtimer1", NULL, error);
    if (manager == NULL ||
        hvt_dbus_manager_call_get_metrics_sync(manager, &text, NULL, &local_error)) {
        return text;
    }
    if (g_error_matches(local_error, G_DBUS_ERROR, G_DBUS_ERROR_UNKNOWN_METHOD)) {
        g_set_error_literal(error, HV_STATUS_ERROR, HV_STATUS_OPERATION_DENIED,
                            "this hvtimerd knows no metrics: it is older than hvtimerctl; restart "
                            "it, or install the version that hvtimerctl is of");
    } else {
        g_propagate_error(error, g_steal_pointer(&local_error));
    }
    return NULL;
}

gboolean ctl_metrics(struct ctl *ctl, GError **error)
{
    g_auto(GStrv) arguments = ctl_parse(ctl, NULL, error);
    g_autofree char *text = NULL;

    if (arguments == NULL) {
        return FALSE;
    }
    if (ctl->json) {
        g_set_error_literal(error, G_OPTION_ERROR, G_OPTION_ERROR_FAILED,
                            "metrics prints OpenMetrics, and no JSON: leave --json out, or see "
                            "list --json");
        return FALSE;
    }
    text = get_metrics(ctl->bus, error);
    if (text == NULL) {
        return FALSE;
    }
    fputs(text, stdout);
    return TRUE;
}
