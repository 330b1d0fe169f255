/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who may do what where there is no polkit: root, and the group libvirt. */
#include "tests/integration/test-access.h"

#include "common/hvtimer-dbus.h"
#include "daemon/bus-access.h"
#include <hvapi/hvapi.h>
#include <string.h>

#define PARTITION "/org/hvtimer1/partition/"

/* ---- what takes which right ---- */

static gboolean is_reading(const char *interface, const char *method)
{
    static const char *const reading[] = {
        "org.freedesktop.DBus.ObjectManager.GetManagedObjects",
        "org.hvtimer1.Manager.GetMetrics",
        "org.hvtimer1.Manager.GetPartitionProperty",
        "org.hvtimer1.Manager.LookupPartition",
        "org.hvtimer1.Model.CountTaken",
        "org.hvtimer1.Partition.GetStatistics",
        NULL,
    };
    g_autofree char *name = g_strdup_printf("%s.%s", interface, method);

    return g_strv_contains(reading, name);
}

/* Whoever adds a method that only reads has to say so twice; all others are guarded from the start.
 */
static void test_rights(void)
{
    const GDBusInterfaceInfo *const interfaces[] = {
        hvt_dbus_manager_interface_info(), hvt_dbus_model_interface_info(),
        hvt_dbus_object_manager_interface_info(), hvt_dbus_partition_interface_info()};
    const char *properties = "org.freedesktop.DBus.Properties";

    for (size_t i = 0; i < G_N_ELEMENTS(interfaces); i++) {
        for (GDBusMethodInfo **method = interfaces[i]->methods; *method != NULL; method++) {
            g_test_message("%s.%s", interfaces[i]->name, (*method)->name);
            g_assert_cmpint(bus_access_right(interfaces[i]->name, (*method)->name), ==,
                            is_reading(interfaces[i]->name, (*method)->name) ? BUS_RIGHT_MONITOR
                                                                             : BUS_RIGHT_MANAGE);
        }
    }
    g_assert_cmpint(bus_access_right(properties, "Get"), ==, BUS_RIGHT_MONITOR);
    g_assert_cmpint(bus_access_right(properties, "GetAll"), ==, BUS_RIGHT_MONITOR);
    g_assert_cmpint(bus_access_right(properties, "Set"), ==, BUS_RIGHT_MANAGE);
    g_assert_cmpint(bus_access_right(properties, "Reset"), ==, BUS_RIGHT_MANAGE);
    g_assert_cmpint(bus_access_right("org.hvtimer1.Manager", "GetStatistics"), ==,
                    BUS_RIGHT_MANAGE);
}

/* ---- others ---- */

static void assert_call_refused(GDBusConnection *connection, const char *path,
                                const char *interface, const char *method, GVariant *parameters)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GVariant) reply =
        g_dbus_connection_call_sync(connection, "org.hvtimer1", path, interface, method, parameters,
                                    NULL, G_DBUS_CALL_FLAGS_NONE, -1, NULL, &error);

    g_assert_null(reply);
    g_autofree char *name = g_dbus_error_get_remote_error(error);
    g_assert_cmpstr(name, ==, "org.hvtimer1.Error.AccessDenied");
}

/* Whatever way a program goes. */
static void refuse_calls(struct rig *rig)
{
    g_autoptr(GDBusConnection) other = rig_connect(rig, OTHER);
    const char *root = "/org/hvtimer1", *manager = "org.hvtimer1.Manager";
    const char *first = PARTITION "1", *partition = "org.hvtimer1.Partition";
    const char *properties = "org.freedesktop.DBus.Properties";

    assert_call_refused(other, root, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects",
                        NULL);
    assert_call_refused(other, root, properties, "Get", g_variant_new("(ss)", manager, "Version"));
    assert_call_refused(other, root, manager, "LookupPartition", g_variant_new("(s)", "m0"));
    assert_call_refused(other, root, manager, "LookupPartition", g_variant_new("(s)", "none"));
    assert_call_refused(other, root, manager, "SetPartitionProperty",
                        g_variant_new("(tut)", (guint64)1, 0x30000, (guint64)20000));
    assert_call_refused(other, root, manager, "AttachVmm",
                        g_variant_new_parsed("('vm', '', uint64 0, objectpath '/', @ah [])"));
    assert_call_refused(other, root, manager, "AttachProcess", g_variant_new("(us)", 1u, ""));
    assert_call_refused(other, root, manager, "Detach", g_variant_new("(t)", (guint64)1));
    assert_call_refused(other, first, properties, "GetAll", g_variant_new("(s)", partition));
    assert_call_refused(other, first, properties, "Get", g_variant_new("(ss)", partition, "Name"));
    assert_call_refused(
        other, first, properties, "Set",
        g_variant_new("(ssv)", partition, "EmulatedTimerPeriod", g_variant_new_uint64(20000)));
    assert_call_refused(other, first, partition, "GetStatistics", NULL);
    assert_call_refused(other, first, partition, "SetRunning", g_variant_new("(b)", FALSE));
    assert_call_refused(other, first, partition, "GuestReset", NULL);
    assert_call_refused(other, first, "org.hvtimer1.Model", "Hold",
                        g_variant_new("(t)", (guint64)1));
    assert_call_refused(other, first, "org.hvtimer1.Model", "CountTaken", NULL);
    g_dbus_connection_close_sync(other, NULL, NULL);
}

static void refuse_verbs(struct rig *rig)
{
    static const char *const verbs[] = {
        "list",
        "--json list",
        "status m0",
        "status none", /* not even whether there is one */
        "get m0 EmulatedTimerPeriod",
        "set m0 EmulatedTimerPeriod 20000",
        "enable m0 --period 1ms --vector 0x50",
        "disable m0",
        "rtc m0 observe",
        "policy m0 --slew 50",
        "reset-backlog m0",
        "attach --pid 1",
        "detach m0",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(verbs); i++) {
        g_autofree char *command = g_strdup_printf("hvtimerctl %s", verbs[i]);

        rig_refused(rig, OTHER, "group libvirt", command);
    }
}

static void refuse_busctl(struct rig *rig)
{
    g_autofree char *busctl = g_find_program_in_path("busctl");

    if (busctl != NULL) {
        g_assert_cmpint(rig_run(rig, OTHER, NULL,
                                "busctl --address=%s set-property org.hvtimer1 " PARTITION "1 "
                                "org.hvtimer1.Partition EmulatedTimerPeriod t 20000",
                                rig->fixture.address),
                        !=, 0);
    }
}

/* Everything is refused to others, nothing of it has an effect, and others may do it. */
static void check_no_polkit(gboolean system)
{
    struct rig rig;

    rig_up(&rig, system);
    g_autofree char *before = rig_state(&rig, "m0");
    refuse_verbs(&rig);
    refuse_busctl(&rig);
    refuse_calls(&rig);
    g_autofree char *after = rig_state(&rig, "m0");
    g_assert_cmpstr(before, ==, after);

    rig_done(&rig, MEMBER, "hvtimerctl list");
    rig_done(&rig, MEMBER, "hvtimerctl status m0");
    rig_done(&rig, MEMBER, "hvtimerctl set m0 EmulatedTimerPeriod 20000");
    g_autofree char *by_member = rig_state(&rig, "m0");
    g_assert_nonnull(strstr(by_member, "\"emulated_timer_period\":20000"));
    rig_done(&rig, DAEMON, "hvtimerctl set m0 EmulatedTimerPeriod 25000");
    rig_done(&rig, "root", "hvtimerctl set m0 EmulatedTimerPeriod 30000");
    g_autofree char *by_root = rig_state(&rig, "m0");
    g_assert_nonnull(strstr(by_root, "\"emulated_timer_period\":30000"));
    rig_down(&rig);
}

static void test_some_bus(void)
{
    check_no_polkit(FALSE);
}

static void test_system_bus(void)
{
    check_no_polkit(TRUE);
}

/* The group is that of the process, as for libvirt's socket: who has left it may nothing. */
static void test_dropped_group(void)
{
    struct rig rig;

    rig_up(&rig, FALSE);
    g_assert_cmpint(fixture_run(&rig.fixture, NULL,
                                "setpriv --reuid=%s --regid=%s --clear-groups %s/bin/hvtimerctl "
                                "list",
                                MEMBER, MEMBER, rig.directory),
                    ==, NOT_ALLOWED);
    rig_down(&rig);
}

static void lookup(gpointer status)
{
    HV_PARTITION_ID id;

    *(HV_STATUS *)status = hvapi_lookup_partition("m0", &id);
}

/* The library says it in Hyper-V's words. It opens its connection when it is first called. */
static void test_library(void)
{
    HV_STATUS status = HV_STATUS_SUCCESS;
    struct rig rig;

    rig_up(&rig, FALSE);
    rig_as(OTHER, lookup, &status);
    g_assert_cmpuint(status, ==, HV_STATUS_ACCESS_DENIED);
    g_assert_nonnull(strstr(hvapi_last_error(), "org.hvtimer1.monitor"));
    g_assert_cmpuint(HvSetPartitionProperty(1, HvPartitionPropertyEmulatedTimerPeriod, 20000), ==,
                     HV_STATUS_ACCESS_DENIED);
    g_assert_nonnull(strstr(hvapi_last_error(), "org.hvtimer1.manage"));
    rig_down(&rig);
}

void add_group_tests(void)
{
    g_test_add_func("/access/rights", test_rights);
    g_test_add_func("/access/no-polkit/some-bus", test_some_bus);
    g_test_add_func("/access/no-polkit/system-bus", test_system_bus);
    g_test_add_func("/access/no-polkit/dropped-group", test_dropped_group);
    g_test_add_func("/access/no-polkit/library", test_library);
}
