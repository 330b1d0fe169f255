/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The one table of statuses: number, name, D-Bus error name.
 */
#include "common/status.h"

static const struct {
    HV_STATUS status;
    const char *name;
    const char *dbus_error;
} statuses[] = {
    {HV_STATUS_SUCCESS, "SUCCESS", NULL},
    {HV_STATUS_INVALID_PARAMETER, "INVALID_PARAMETER", "org.hvtimer1.Error.InvalidParameter"},
    {HV_STATUS_ACCESS_DENIED, "ACCESS_DENIED", "org.hvtimer1.Error.AccessDenied"},
    {HV_STATUS_INVALID_PARTITION_STATE, "INVALID_PARTITION_STATE",
     "org.hvtimer1.Error.InvalidPartitionState"},
    {HV_STATUS_OPERATION_DENIED, "OPERATION_DENIED", "org.hvtimer1.Error.OperationDenied"},
    {HV_STATUS_UNKNOWN_PROPERTY, "UNKNOWN_PROPERTY", "org.hvtimer1.Error.UnknownProperty"},
    {HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE, "PROPERTY_VALUE_OUT_OF_RANGE",
     "org.hvtimer1.Error.PropertyValueOutOfRange"},
    {HV_STATUS_INSUFFICIENT_MEMORY, "INSUFFICIENT_MEMORY", "org.hvtimer1.Error.InsufficientMemory"},
    {HV_STATUS_INVALID_PARTITION_ID, "INVALID_PARTITION_ID",
     "org.hvtimer1.Error.InvalidPartitionId"},
    {HV_STATUS_OBJECT_IN_USE, "OBJECT_IN_USE", "org.hvtimer1.Error.ObjectInUse"},
};

GQuark hv_status_error_quark(void)
{
    static gsize quark;

    if (g_once_init_enter(&quark)) {
        GQuark domain = g_quark_from_string("hv-status-error");

        /* Not g_dbus_error_register_error_domain(): a program and the libhvapi it loads may each
         * hold a copy of this file, and that would warn at the second registration. */
        for (size_t i = 0; i < G_N_ELEMENTS(statuses); i++) {
            if (statuses[i].dbus_error != NULL) {
                g_dbus_error_register_error(domain, statuses[i].status, statuses[i].dbus_error);
            }
        }
        g_once_init_leave(&quark, domain);
    }
    return (GQuark)quark;
}

const char *hv_status_name(HV_STATUS status)
{
    for (size_t i = 0; i < G_N_ELEMENTS(statuses); i++) {
        if (statuses[i].status == status) {
            return statuses[i].name;
        }
    }
    return "UNKNOWN";
}

HV_STATUS hv_status_from_error(const GError *error)
{
    if (error->domain == HV_STATUS_ERROR) {
        return (HV_STATUS)error->code;
    }
    if (g_error_matches(error, G_DBUS_ERROR, G_DBUS_ERROR_ACCESS_DENIED)) {
        return HV_STATUS_ACCESS_DENIED;
    }
    return HV_STATUS_OPERATION_DENIED;
}
