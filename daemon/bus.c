/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* hvtimerd on D-Bus: see bus.h. */
#include "daemon/bus.h"

#include "common/hvtimer-dbus.h"
#include "common/status.h"
#include "daemon/bus-access.h"
#include "daemon/bus-objects.h"
#include "daemon/bus-partition.h"
#include "daemon/metrics.h"
#include <gio/gunixfdlist.h>
#include <unistd.h>

#define BUS_NAME  "org.hvtimer1"
#define ROOT_PATH "/org/hvtimer1"

struct bus {
    GDBusConnection *connection;
    struct manager *manager;
    const struct bus_sources *sources;
    bus_state_func state;
    gpointer user_data;
    GCancellable *ended;
    struct bus_access *access;
    HvtDbusManager *root;
    struct bus_objects *objects;
    guint name;
};

/* ---- the Manager's methods ---- */

static gboolean on_lookup_partition(HvtDbusManager *root, GDBusMethodInvocation *invocation,
                                    const char *domain, gpointer user_data)
{
    struct bus *bus = user_data;
    g_autoptr(GError) error = NULL;
    struct guest *guest = manager_lookup(bus->manager, domain, &error);

    if (guest == NULL) {
        g_dbus_method_invocation_return_gerror(invocation, error);
    } else {
        hvt_dbus_manager_complete_lookup_partition(root, invocation, guest_identity(guest)->id);
    }
    return TRUE;
}

static gboolean on_get_property(HvtDbusManager *root, GDBusMethodInvocation *invocation, guint64 id,
                                guint32 code, gpointer user_data)
{
    struct bus *bus = user_data;
    g_autoptr(GError) error = NULL;
    struct guest *guest = manager_find(bus->manager, id, &error);
    uint64_t value;

    if (guest == NULL) {
        g_dbus_method_invocation_return_gerror(invocation, error);
    } else if (partition_get(guest_partition(guest), code, &value) != HV_STATUS_SUCCESS) {
        g_dbus_method_invocation_return_error(
            invocation, HV_STATUS_ERROR, HV_STATUS_UNKNOWN_PROPERTY,
            "there is no property 0x%x; 0x30000 is EmulatedTimerPeriod, 0x30001 "
            "EmulatedTimerControl",
            code);
    } else {
        hvt_dbus_manager_complete_get_partition_property(root, invocation, value);
    }
    return TRUE;
}

static gboolean on_set_property(G_GNUC_UNUSED HvtDbusManager *root,
                                GDBusMethodInvocation *invocation, guint64 id, guint32 code,
                                guint64 value, gpointer user_data)
{
    struct bus *bus = user_data;
    g_autoptr(GError) error = NULL;
    struct guest *guest = manager_find(bus->manager, id, &error);

    if (guest == NULL) {
        g_dbus_method_invocation_return_gerror(invocation, error);
    } else {
        guest_set_property(guest, code, value, bus_complete, invocation);
    }
    return TRUE;
}

/* An AttachVmm that waits for the bus to say which process it came from. */
struct attach_call {
    struct bus *bus;
    GDBusMethodInvocation *invocation;
    int fds[2]; /* tick, acknowledgements; -1: none */
};

static void close_descriptors(int *fds)
{
    for (int i = 0; i < 2; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
}

static void on_pid_known(GObject *object, GAsyncResult *result, gpointer user_data)
{
    g_autofree struct attach_call *call = user_data;
    GVariant *parameters = g_dbus_method_invocation_get_parameters(call->invocation);
    g_autoptr(GError) error = NULL;
    g_autoptr(GVariant) reply =
        g_dbus_connection_call_finish(G_DBUS_CONNECTION(object), result, &error);
    if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CANCELLED)) {
        close_descriptors(call->fds);
        return; /* the bus is no more */
    }
    struct vmm_offer offer = {.sender = g_dbus_method_invocation_get_sender(call->invocation),
                              .tick_fd = call->fds[0],
                              .ack_fd = call->fds[1]};

    if (reply != NULL) { /* otherwise it is gone already; the watch on its name will see to it */
        g_variant_get(reply, "(u)", &offer.pid);
    }
    g_clear_error(&error);
    g_variant_get(parameters, "(&s&st&oah)", &offer.name, &offer.uuid, &offer.wanted_id,
                  &offer.path, NULL);
    struct guest *guest = vmm_source_attach(call->bus->sources->vmms, &offer, &error);
    if (guest == NULL) {
        g_dbus_method_invocation_return_gerror(call->invocation, error);
    } else {
        hvt_dbus_manager_complete_attach_vmm(call->bus->root, call->invocation, NULL,
                                             guest_identity(guest)->id);
    }
}

/* One or two descriptors, in the order of @handles. */
static gboolean take_descriptors(GUnixFDList *fd_list, GVariant *handles, int *ret_fds,
                                 GError **error)
{
    gsize n = g_variant_n_children(handles);

    if (n < 1 || n > 2) {
        g_set_error_literal(error, HV_STATUS_ERROR, HV_STATUS_INVALID_PARAMETER,
                            "one or two descriptors are expected: the tick's eventfd, and the "
                            "listener's resamplefd");
        return FALSE;
    }
    ret_fds[0] = ret_fds[1] = -1;
    for (gsize i = 0; i < n; i++) {
        gint32 handle, sent = fd_list != NULL ? g_unix_fd_list_get_length(fd_list) : 0;
        g_variant_get_child(handles, i, "h", &handle);
        /* Neither the bus nor GIO has looked at it. */
        ret_fds[i] = handle >= 0 && handle < sent ? g_unix_fd_list_get(fd_list, handle, NULL) : -1;
        if (ret_fds[i] < 0) {
            g_set_error_literal(error, HV_STATUS_ERROR, HV_STATUS_INVALID_PARAMETER,
                                "a descriptor was announced but not sent");
            if (i == 1) {
                close(ret_fds[0]);
            }
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean on_attach_vmm(G_GNUC_UNUSED HvtDbusManager *root, GDBusMethodInvocation *invocation,
                              GUnixFDList *fd_list, G_GNUC_UNUSED const char *name,
                              G_GNUC_UNUSED const char *uuid, G_GNUC_UNUSED guint64 wanted_id,
                              G_GNUC_UNUSED const char *path, GVariant *handles, gpointer user_data)
{
    struct bus *bus = user_data;
    g_autofree struct attach_call *call = g_new0(struct attach_call, 1);
    g_autoptr(GError) error = NULL;

    if (!take_descriptors(fd_list, handles, call->fds, &error)) {
        g_dbus_method_invocation_return_gerror(invocation, error);
        return TRUE;
    }
    call->bus = bus;
    call->invocation = invocation;
    g_dbus_connection_call(bus->connection, "org.freedesktop.DBus", "/org/freedesktop/DBus",
                           "org.freedesktop.DBus", "GetConnectionUnixProcessID",
                           g_variant_new("(s)", g_dbus_method_invocation_get_sender(invocation)),
                           G_VARIANT_TYPE("(u)"), G_DBUS_CALL_FLAGS_NONE, -1, bus->ended,
                           on_pid_known, g_steal_pointer(&call));
    return TRUE;
}

static void on_process_attached(struct guest *guest, const GError *error, gpointer user_data)
{
    GDBusMethodInvocation *invocation = user_data;

    if (guest == NULL) {
        g_dbus_method_invocation_return_gerror(invocation, error);
    } else {
        g_dbus_method_invocation_return_value(invocation,
                                              g_variant_new("(t)", guest_identity(guest)->id));
    }
}

static gboolean on_attach_process(G_GNUC_UNUSED HvtDbusManager *root,
                                  GDBusMethodInvocation *invocation, guint32 pid, const char *name,
                                  gpointer user_data)
{
    struct bus *bus = user_data;

    process_source_attach(bus->sources->processes, (pid_t)MIN(pid, G_MAXINT), name,
                          on_process_attached, invocation);
    return TRUE;
}

static void detach(struct bus *bus, uint64_t id, const char *sender, GError **error)
{
    struct guest *guest = manager_find(bus->manager, id, error);

    if (guest == NULL) {
        return;
    }
    if (!g_str_equal(guest_identity(guest)->source, "vmm")) {
        process_source_detach(bus->sources->processes, guest, error);
    } else if (vmm_source_find(bus->sources->vmms, id, sender, error) != NULL) {
        vmm_source_detach(bus->sources->vmms, guest);
    }
}

static gboolean on_detach(G_GNUC_UNUSED HvtDbusManager *root, GDBusMethodInvocation *invocation,
                          guint64 id, gpointer user_data)
{
    g_autoptr(GError) error = NULL;

    detach(user_data, id, g_dbus_method_invocation_get_sender(invocation), &error);
    bus_complete(error, invocation);
    return TRUE;
}

static gboolean on_get_metrics(HvtDbusManager *root, GDBusMethodInvocation *invocation,
                               gpointer user_data)
{
    struct bus *bus = user_data;
    g_autofree char *text = metrics_read(bus->manager, METRICS_OPENMETRICS);

    hvt_dbus_manager_complete_get_metrics(root, invocation, text);
    return TRUE;
}

/* ---- one object per partition ---- */

static GDBusObjectSkeleton *find_object(struct bus *bus, struct guest *guest)
{
    g_autofree char *path = bus_partition_path(guest_identity(guest)->id);

    return bus_objects_find(bus->objects, path);
}

static void on_added(struct guest *guest, gpointer user_data)
{
    struct bus *bus = user_data;
    g_autoptr(GDBusObjectSkeleton) object = bus_partition_new(guest, bus->sources, bus->access);

    bus_objects_add(bus->objects, object);
}

static void on_changed(struct guest *guest, gpointer user_data)
{
    GDBusObjectSkeleton *object = find_object(user_data, guest);

    if (object != NULL) {
        bus_partition_update(object);
    }
}

static void on_removed(struct guest *guest, gpointer user_data)
{
    struct bus *bus = user_data;
    GDBusObjectSkeleton *object = find_object(bus, guest);

    if (object != NULL) {
        bus_partition_end(object);
        bus_objects_remove(bus->objects, object);
    }
}

/* ---- life ---- */

static void on_name_acquired(G_GNUC_UNUSED GDBusConnection *connection,
                             G_GNUC_UNUSED const char *name, gpointer user_data)
{
    struct bus *bus = user_data;

    bus->state(NULL, bus->user_data);
}

static void on_name_lost(GDBusConnection *connection, G_GNUC_UNUSED const char *name,
                         gpointer user_data)
{
    struct bus *bus = user_data;
    gboolean closed = connection == NULL || g_dbus_connection_is_closed(connection);
    g_autoptr(GError) error =
        closed ? g_error_new_literal(G_IO_ERROR, G_IO_ERROR_CLOSED, "the bus has gone away")
               : g_error_new_literal(G_IO_ERROR, G_IO_ERROR_EXISTS,
                                     "the name " BUS_NAME " can't be had on this bus: another "
                                     "hvtimerd runs, or the bus's policy does not allow it");

    bus->state(error, bus->user_data);
}

static void connect_methods(struct bus *bus)
{
    g_signal_connect(bus->root, "handle-lookup-partition", G_CALLBACK(on_lookup_partition), bus);
    g_signal_connect(bus->root, "handle-get-partition-property", G_CALLBACK(on_get_property), bus);
    g_signal_connect(bus->root, "handle-set-partition-property", G_CALLBACK(on_set_property), bus);
    g_signal_connect(bus->root, "handle-attach-vmm", G_CALLBACK(on_attach_vmm), bus);
    g_signal_connect(bus->root, "handle-attach-process", G_CALLBACK(on_attach_process), bus);
    g_signal_connect(bus->root, "handle-detach", G_CALLBACK(on_detach), bus);
    g_signal_connect(bus->root, "handle-get-metrics", G_CALLBACK(on_get_metrics), bus);
}

/* The objects at ROOT_PATH. */
static gboolean export_root(struct bus *bus, GError **error)
{
    bus->root = bus_access_new_skeleton(bus->access, HVT_DBUS_TYPE_MANAGER_SKELETON);
    hvt_dbus_manager_set_version(bus->root, PACKAGE_VERSION);
    connect_methods(bus);
    if (!g_dbus_interface_skeleton_export(G_DBUS_INTERFACE_SKELETON(bus->root), bus->connection,
                                          ROOT_PATH, error)) {
        g_clear_object(&bus->root);
        return FALSE;
    }
    bus->objects = bus_objects_new(bus->connection, bus->access, ROOT_PATH, error);
    return bus->objects != NULL;
}

struct bus *bus_new(GDBusConnection *connection, gboolean polkit, struct manager *manager,
                    const struct bus_sources *sources, bus_state_func state, gpointer user_data,
                    GError **error)
{
    struct bus *bus = g_new0(struct bus, 1);

    bus->connection = g_object_ref(connection);
    bus->manager = manager;
    bus->sources = sources;
    bus->state = state;
    bus->user_data = user_data;
    bus->ended = g_cancellable_new();
    bus->access = bus_access_new(connection, manager, polkit);
    if (!export_root(bus, error)) {
        bus_free(bus);
        return NULL;
    }
    manager_add_observer(manager,
                         &(struct manager_observer){on_added, on_changed, on_removed, bus});
    bus->name =
        g_bus_own_name_on_connection(connection, BUS_NAME, G_BUS_NAME_OWNER_FLAGS_DO_NOT_QUEUE,
                                     on_name_acquired, on_name_lost, bus, NULL);
    return bus;
}

void bus_free(struct bus *bus)
{
    if (bus == NULL) {
        return;
    }
    manager_remove_observer(bus->manager, bus);
    g_cancellable_cancel(bus->ended);
    g_object_unref(bus->ended);
    g_clear_handle_id(&bus->name, g_bus_unown_name);
    bus_objects_free(bus->objects);
    if (bus->root != NULL) {
        g_dbus_interface_skeleton_unexport(G_DBUS_INTERFACE_SKELETON(bus->root));
        g_object_unref(bus->root);
    }
    bus_access_free(bus->access);
    g_object_unref(bus->connection);
    g_free(bus);
}
