/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Partitions over D-Bus: see ctl-client.h. */
#include "hvapi/ctl-client.h"

#include "common/bus-address.h"
#include "common/statistics.h"
#include "common/status.h"
#include "hvapi/ctl-agent.h"
#include <inttypes.h>

#define BUS_NAME            "org.hvtimer1"
#define ROOT_PATH           "/org/hvtimer1"
#define PARTITION_INTERFACE "org.hvtimer1.Partition"

/* Each reading is asked for: nothing is loaded or followed behind the scenes, where an error would
 * pass unseen. */
#define PROXY_FLAGS \
    (G_DBUS_PROXY_FLAGS_DO_NOT_LOAD_PROPERTIES | G_DBUS_PROXY_FLAGS_DO_NOT_CONNECT_SIGNALS)

void ctl_partition_free(CtlPartition *p)
{
    if (p != NULL) {
        g_clear_object(&p->manager);
        g_clear_object(&p->proxy);
        g_free(p);
    }
}

static HvtDbusManager *open_manager(const char *bus, GError **error)
{
    g_autoptr(GDBusConnection) connection = bus_open(bus, error);
    int timeout;

    if (connection == NULL) {
        return NULL;
    }
    timeout = ctl_agent_start(connection, bus);
    HvtDbusManager *manager =
        hvt_dbus_manager_proxy_new_sync(connection, PROXY_FLAGS, BUS_NAME, ROOT_PATH, NULL, error);
    if (manager != NULL) {
        g_dbus_proxy_set_default_timeout(G_DBUS_PROXY(manager), timeout);
    }
    return manager;
}

/* A call to the daemon that no generated code is for. */
static GVariant *call(GDBusProxy *proxy, const char *interface, const char *method,
                      GVariant *parameters, const char *reply_type, GError **error)
{
    return g_dbus_connection_call_sync(
        g_dbus_proxy_get_connection(proxy), g_dbus_proxy_get_name(proxy),
        g_dbus_proxy_get_object_path(proxy), interface, method, parameters,
        G_VARIANT_TYPE(reply_type), G_DBUS_CALL_FLAGS_NONE, g_dbus_proxy_get_default_timeout(proxy),
        NULL, error);
}

static CtlPartition *partition_new(HvtDbusManager *manager, uint64_t id, GError **error)
{
    g_autoptr(CtlPartition) p = g_new0(CtlPartition, 1);
    g_autofree char *path = g_strdup_printf(ROOT_PATH "/partition/%" PRIu64, id);
    /* Ids hold for one life of the daemon: it is the one that was asked for them. */
    g_autofree char *owner = g_dbus_proxy_get_name_owner(G_DBUS_PROXY(manager));

    p->id = id;
    p->manager = g_object_ref(manager);
    p->proxy = hvt_dbus_partition_proxy_new_sync(g_dbus_proxy_get_connection(G_DBUS_PROXY(manager)),
                                                 PROXY_FLAGS, owner, path, NULL, error);
    if (p->proxy == NULL) {
        return NULL;
    }
    g_dbus_proxy_set_default_timeout(G_DBUS_PROXY(p->proxy),
                                     g_dbus_proxy_get_default_timeout(G_DBUS_PROXY(manager)));
    return g_steal_pointer(&p);
}

CtlPartition *ctl_partition_find(const char *bus, const char *domain, GError **error)
{
    g_autoptr(HvtDbusManager) manager = open_manager(bus, error);
    uint64_t id;

    if (manager == NULL ||
        !hvt_dbus_manager_call_lookup_partition_sync(manager, domain, &id, NULL, error)) {
        return NULL;
    }
    return partition_new(manager, id, error);
}

gboolean ctl_property_from_name(const char *name, HV_PARTITION_PROPERTY_CODE *ret_code,
                                GError **error)
{
    if (g_str_equal(name, "EmulatedTimerPeriod")) {
        *ret_code = HvPartitionPropertyEmulatedTimerPeriod;
        return TRUE;
    }
    if (g_str_equal(name, "EmulatedTimerControl")) {
        *ret_code = HvPartitionPropertyEmulatedTimerControl;
        return TRUE;
    }
    g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                "'%s' is not a property; give EmulatedTimerPeriod or EmulatedTimerControl", name);
    return FALSE;
}

gboolean ctl_partition_get(CtlPartition *p, HV_PARTITION_PROPERTY_CODE code, uint64_t *ret_value,
                           GError **error)
{
    return hvt_dbus_manager_call_get_partition_property_sync(p->manager, p->id, code, ret_value,
                                                             NULL, error);
}

gboolean ctl_partition_set(CtlPartition *p, HV_PARTITION_PROPERTY_CODE code, uint64_t value,
                           GError **error)
{
    return hvt_dbus_manager_call_set_partition_property_sync(p->manager, p->id, code, value, NULL,
                                                             error);
}

/* @what the daemon should have told, and has not. */
static gboolean refuse_version(GError **error, const char *what)
{
    g_set_error(error, HV_STATUS_ERROR, HV_STATUS_OPERATION_DENIED,
                "hvtimerd does not tell a partition's %s: it is of another version than "
                "hvtimerctl; restart it",
                what);
    return FALSE;
}

static gboolean read_properties(CtlPartition *p, GError **error)
{
    GDBusProxy *proxy = G_DBUS_PROXY(p->proxy);
    g_autoptr(GVariant) reply = call(proxy, "org.freedesktop.DBus.Properties", "GetAll",
                                     g_variant_new("(s)", PARTITION_INTERFACE), "(a{sv})", error);
    g_autoptr(GVariantIter) properties = NULL;
    const char *name;
    GVariant *value;

    if (reply == NULL) {
        return FALSE;
    }
    g_variant_get(reply, "(a{sv})", &properties);
    while (g_variant_iter_loop(properties, "{&sv}", &name, &value)) {
        g_dbus_proxy_set_cached_property(proxy, name, value);
    }
    for (GDBusPropertyInfo **info = hvt_dbus_partition_interface_info()->properties; *info != NULL;
         info++) {
        g_autoptr(GVariant) cached = g_dbus_proxy_get_cached_property(proxy, (*info)->name);

        if (cached == NULL && !g_str_equal((*info)->name, "Supervision")) {
            return refuse_version(error, (*info)->name);
        }
    }
    return TRUE;
}

static gboolean read_policy(CtlPartition *p, GError **error)
{
    GVariant *policy = hvt_dbus_partition_get_policy(p->proxy);

    if (!g_variant_lookup(policy, "policy", "&s", &p->policy.mode) ||
        !g_variant_lookup(policy, "threshold", "u", &p->policy.threshold) ||
        !g_variant_lookup(policy, "slew", "u", &p->policy.slew) ||
        !g_variant_lookup(policy, "limit_ms", "u", &p->policy.limit_ms) ||
        !g_variant_lookup(policy, "on_resume", "&s", &p->policy.on_resume)) {
        return refuse_version(error, "whole policy");
    }
    return TRUE;
}

/* A daemon that knows of no supervision does not tell, and that is no error. */
static void read_supervision(CtlPartition *p)
{
    GVariant *supervision = hvt_dbus_partition_get_supervision(p->proxy);
    const char *timer = "none";

    if (supervision != NULL) {
        (void)g_variant_lookup(supervision, "timer", "&s", &timer);
    }
    p->supervision = g_str_equal(timer, "none") ? NULL : supervision;
}

static gboolean read_statistics(CtlPartition *p, GError **error)
{
    g_autoptr(GVariant) statistics = NULL;
    const char *missing;

    if (!hvt_dbus_partition_call_get_statistics_sync(p->proxy, &statistics, NULL, error)) {
        return FALSE;
    }
    missing = statistics_read(statistics, &p->statistics);
    return missing == NULL || refuse_version(error, missing);
}

gboolean ctl_partition_read(CtlPartition *p, GError **error)
{
    /* The base timer is found anew with the statistics, so they come first. */
    if (!read_statistics(p, error) || !read_properties(p, error) || !read_policy(p, error)) {
        return FALSE;
    }
    read_supervision(p);
    return TRUE;
}

static gint compare_ids(gconstpointer a, gconstpointer b)
{
    const uint64_t *first = a, *second = b;

    return (*first > *second) - (*first < *second);
}

/* The ids of all partitions, in order: an array of uint64_t. */
static GArray *list_ids(HvtDbusManager *manager, GError **error)
{
    g_autoptr(GVariant) reply = call(G_DBUS_PROXY(manager), "org.freedesktop.DBus.ObjectManager",
                                     "GetManagedObjects", NULL, "(a{oa{sa{sv}}})", error);
    g_autoptr(GVariantIter) objects = NULL;
    GArray *ids;
    GVariant *interfaces;

    if (reply == NULL) {
        return NULL;
    }
    ids = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    g_variant_get(reply, "(a{oa{sa{sv}}})", &objects);
    while (g_variant_iter_loop(objects, "{o@a{sa{sv}}}", NULL, &interfaces)) {
        g_autoptr(GVariant) partition =
            g_variant_lookup_value(interfaces, PARTITION_INTERFACE, G_VARIANT_TYPE_VARDICT);
        uint64_t id;

        if (partition != NULL && g_variant_lookup(partition, "Id", "t", &id)) {
            g_array_append_val(ids, id);
        }
    }
    g_array_sort(ids, compare_ids);
    return ids;
}

/* It has ended since its id was heard of. */
static gboolean is_gone(const GError *error)
{
    return g_error_matches(error, HV_STATUS_ERROR, HV_STATUS_INVALID_PARTITION_ID) ||
           g_error_matches(error, G_DBUS_ERROR, G_DBUS_ERROR_UNKNOWN_OBJECT) ||
           g_error_matches(error, G_DBUS_ERROR, G_DBUS_ERROR_UNKNOWN_METHOD);
}

GPtrArray *ctl_partitions_read_all(const char *bus, GError **error)
{
    g_autoptr(GPtrArray) partitions =
        g_ptr_array_new_with_free_func((GDestroyNotify)ctl_partition_free);
    g_autoptr(HvtDbusManager) manager = open_manager(bus, error);
    g_autoptr(GArray) ids = manager != NULL ? list_ids(manager, error) : NULL;

    if (ids == NULL) {
        return NULL;
    }
    for (guint i = 0; i < ids->len; i++) {
        g_autoptr(GError) local_error = NULL;
        g_autoptr(CtlPartition) p =
            partition_new(manager, g_array_index(ids, uint64_t, i), &local_error);

        if (p != NULL && ctl_partition_read(p, &local_error)) {
            g_ptr_array_add(partitions, g_steal_pointer(&p));
        } else if (!is_gone(local_error)) {
            g_propagate_error(error, g_steal_pointer(&local_error));
            return NULL;
        }
    }
    return g_steal_pointer(&partitions);
}

gboolean ctl_attach_process(const char *bus, uint32_t pid, const char *name, uint64_t *ret_id,
                            GError **error)
{
    g_autoptr(HvtDbusManager) manager = open_manager(bus, error);

    return manager != NULL &&
           hvt_dbus_manager_call_attach_process_sync(manager, pid, name, ret_id, NULL, error);
}
