/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The partition property calls, over D-Bus: see hvapi.h. */
#include <hvapi/hvapi.h>

#include "common/statistics.h"
#include "hvapi/client.h"

#define MANAGER "org.hvtimer1.Manager"

static GVariant *call_manager(const char *method, GVariant *parameters, const char *reply_type,
                              HV_STATUS *ret_status)
{
    g_autoptr(GError) error = NULL;

    GVariant *reply =
        client_call(CLIENT_ROOT_PATH, MANAGER, method, parameters, reply_type, &error);
    *ret_status = reply != NULL ? HV_STATUS_SUCCESS : client_fail(error);
    return reply;
}

HV_STATUS HvGetPartitionProperty(HV_PARTITION_ID PartitionId,
                                 HV_PARTITION_PROPERTY_CODE PropertyCode,
                                 PHV_PARTITION_PROPERTY PropertyValue)
{
    HV_STATUS status;

    if (PropertyValue == NULL) {
        return client_fail_with(HV_STATUS_INVALID_PARAMETER, "PropertyValue is NULL");
    }
    g_autoptr(GVariant) reply =
        call_manager("GetPartitionProperty",
                     g_variant_new("(tu)", PartitionId, (guint32)PropertyCode), "(t)", &status);
    if (reply != NULL) {
        g_variant_get(reply, "(t)", PropertyValue);
    }
    return status;
}

HV_STATUS HvSetPartitionProperty(HV_PARTITION_ID PartitionId,
                                 HV_PARTITION_PROPERTY_CODE PropertyCode,
                                 HV_PARTITION_PROPERTY PropertyValue)
{
    HV_STATUS status;
    g_autoptr(GVariant) reply = call_manager(
        "SetPartitionProperty",
        g_variant_new("(tut)", PartitionId, (guint32)PropertyCode, PropertyValue), "()", &status);

    return status;
}

/* The smallest id above @previous among the objects that the daemon manages; 0: none. */
static HV_PARTITION_ID next_id(GVariant *objects, HV_PARTITION_ID previous)
{
    HV_PARTITION_ID next = HV_PARTITION_ID_INVALID, id;
    GVariantIter iter;
    GVariant *interfaces;

    g_variant_iter_init(&iter, objects);
    while (g_variant_iter_loop(&iter, "{o@a{sa{sv}}}", NULL, &interfaces)) {
        g_autoptr(GVariant) partition =
            g_variant_lookup_value(interfaces, "org.hvtimer1.Partition", G_VARIANT_TYPE_VARDICT);
        if (partition != NULL && g_variant_lookup(partition, "Id", "t", &id) && id > previous &&
            (next == HV_PARTITION_ID_INVALID || id < next)) {
            next = id;
        }
    }
    return next;
}

HV_STATUS HvGetNextChildPartition(HV_PARTITION_ID ParentId, HV_PARTITION_ID PreviousChildId,
                                  PHV_PARTITION_ID NextChildId)
{
    g_autoptr(GError) error = NULL;

    if (NextChildId == NULL) {
        return client_fail_with(HV_STATUS_INVALID_PARAMETER, "NextChildId is NULL");
    }
    if (ParentId != HV_PARTITION_ID_SELF) {
        return client_fail_with(HV_STATUS_INVALID_PARTITION_ID,
                                "only HV_PARTITION_ID_SELF, the host, has children");
    }
    g_autoptr(GVariant) reply =
        client_call(CLIENT_ROOT_PATH, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects",
                    g_variant_new("()"), "(a{oa{sa{sv}}})", &error);
    if (reply == NULL) {
        return client_fail(error);
    }
    g_autoptr(GVariant) objects = g_variant_get_child_value(reply, 0);
    *NextChildId = next_id(objects, PreviousChildId);
    return HV_STATUS_SUCCESS;
}

HV_STATUS hvapi_lookup_partition(const char *domain, HV_PARTITION_ID *ret_id)
{
    HV_STATUS status;

    if (domain == NULL || ret_id == NULL || !g_utf8_validate(domain, -1, NULL)) {
        return client_fail_with(HV_STATUS_INVALID_PARAMETER,
                                "the domain is NULL or no UTF-8, or there is no place for its id");
    }
    g_autoptr(GVariant) reply =
        call_manager("LookupPartition", g_variant_new("(s)", domain), "(t)", &status);
    if (reply != NULL) {
        g_variant_get(reply, "(t)", ret_id);
    }
    return status;
}

HV_STATUS hvapi_get_statistics(HV_PARTITION_ID id, hvapi_statistics *ret_statistics)
{
    g_autofree char *path = g_strdup_printf(CLIENT_ROOT_PATH "/partition/%" G_GUINT64_FORMAT, id);
    g_autoptr(GError) error = NULL;

    if (ret_statistics == NULL) {
        return client_fail_with(HV_STATUS_INVALID_PARAMETER, "ret_statistics is NULL");
    }
    g_autoptr(GVariant) reply = client_call(path, "org.hvtimer1.Partition", "GetStatistics",
                                            g_variant_new("()"), "(a{st})", &error);
    if (reply == NULL) {
        /* No such object is no such partition. */
        if (g_error_matches(error, G_DBUS_ERROR, G_DBUS_ERROR_UNKNOWN_METHOD) ||
            g_error_matches(error, G_DBUS_ERROR, G_DBUS_ERROR_UNKNOWN_OBJECT) ||
            g_error_matches(error, G_DBUS_ERROR, G_DBUS_ERROR_UNKNOWN_INTERFACE)) {
            g_autofree char *text = g_strdup_printf("there is no partition %" G_GUINT64_FORMAT, id);
            return client_fail_with(HV_STATUS_INVALID_PARTITION_ID, text);
        }
        return client_fail(error);
    }
    g_autoptr(GVariant) dict = g_variant_get_child_value(reply, 0);
    (void)statistics_read(dict, ret_statistics);
    return HV_STATUS_SUCCESS;
}
