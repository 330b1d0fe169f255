/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Statuses as errors: their names, and their way over the bus and back.
 */
#include "common/status.h"

static const struct {
    HV_STATUS status;
    const char *name;
    const char *dbus_error;
} rows[] = {
    {0x5, "INVALID_PARAMETER", "org.hvtimer1.Error.InvalidParameter"},
    {0x6, "ACCESS_DENIED", "org.hvtimer1.Error.AccessDenied"},
    {0x7, "INVALID_PARTITION_STATE", "org.hvtimer1.Error.InvalidPartitionState"},
    {0x8, "OPERATION_DENIED", "org.hvtimer1.Error.OperationDenied"},
    {0x9, "UNKNOWN_PROPERTY", "org.hvtimer1.Error.UnknownProperty"},
    {0xA, "PROPERTY_VALUE_OUT_OF_RANGE", "org.hvtimer1.Error.PropertyValueOutOfRange"},
    {0xB, "INSUFFICIENT_MEMORY", "org.hvtimer1.Error.InsufficientMemory"},
    {0xD, "INVALID_PARTITION_ID", "org.hvtimer1.Error.InvalidPartitionId"},
    {0x19, "OBJECT_IN_USE", "org.hvtimer1.Error.ObjectInUse"},
};

static void test_names(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_assert_cmpstr(hv_status_name(rows[i].status), ==, rows[i].name);
    }
    g_assert_cmpstr(hv_status_name(0), ==, "SUCCESS");
    g_assert_cmpstr(hv_status_name(1), ==, "UNKNOWN");
    g_assert_cmpstr(hv_status_name(0xFFFF), ==, "UNKNOWN");
}

static void test_to_the_bus(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GError) error = g_error_new_literal(HV_STATUS_ERROR, rows[i].status, "why");
        g_autofree char *name = g_dbus_error_encode_gerror(error);

        g_assert_cmpstr(name, ==, rows[i].dbus_error);
    }
}

static void test_from_the_bus(void)
{
    (void)HV_STATUS_ERROR;
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GError) error = g_dbus_error_new_for_dbus_error(rows[i].dbus_error, "why");

        g_assert_error(error, HV_STATUS_ERROR, rows[i].status);
        g_assert_cmphex(hv_status_from_error(error), ==, rows[i].status);
    }
}

static void test_other_errors(void)
{
    static const struct {
        const char *dbus_error;
        HV_STATUS status;
    } others[] = {
        {"org.freedesktop.DBus.Error.AccessDenied", HV_STATUS_ACCESS_DENIED},
        {"org.freedesktop.DBus.Error.ServiceUnknown", HV_STATUS_OPERATION_DENIED},
        {"org.freedesktop.DBus.Error.NoReply", HV_STATUS_OPERATION_DENIED},
        {"org.example.Error", HV_STATUS_OPERATION_DENIED},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(others); i++) {
        g_autoptr(GError) error = g_dbus_error_new_for_dbus_error(others[i].dbus_error, "why");

        g_assert_cmphex(hv_status_from_error(error), ==, others[i].status);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/status/names", test_names);
    g_test_add_func("/status/to-the-bus", test_to_the_bus);
    g_test_add_func("/status/from-the-bus", test_from_the_bus);
    g_test_add_func("/status/other-errors", test_other_errors);
    return g_test_run();
}
