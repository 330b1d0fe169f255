/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The partitions' objects on the bus: see bus-objects.h. */
#include "daemon/bus-objects.h"

#include "common/hvtimer-dbus.h"

typedef GList Interfaces; /* of GDBusInterfaceSkeleton */

static void free_interfaces(Interfaces *interfaces)
{
    g_list_free_full(interfaces, g_object_unref);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Interfaces, free_interfaces)

struct bus_objects {
    GDBusConnection *connection;
    HvtDbusObjectManager *root;
    GHashTable *objects; /* path (the object's own) -> GDBusObjectSkeleton (a reference) */
};

static const char *path_of(GDBusObjectSkeleton *object)
{
    return g_dbus_object_get_object_path(G_DBUS_OBJECT(object));
}

static const char *interface_name(gpointer skeleton)
{
    return g_dbus_interface_skeleton_get_info(skeleton)->name;
}

/* Its interfaces with their properties, as bytes: as a tree they take ten times as much, and there
 * may be thousands. (transfer full) */
static GVariant *describe(GDBusObjectSkeleton *object)
{
    GVariantBuilder builder = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("a{sa{sv}}"));
    g_autoptr(Interfaces) interfaces = g_dbus_object_get_interfaces(G_DBUS_OBJECT(object));

    for (Interfaces *i = interfaces; i != NULL; i = i->next) {
        g_autoptr(GVariant) properties = g_dbus_interface_skeleton_get_properties(i->data);

        g_variant_builder_add(&builder, "{s@a{sv}}", interface_name(i->data), properties);
    }
    GVariant *description = g_variant_ref_sink(g_variant_builder_end(&builder));
    (void)g_variant_get_data(description);
    return description;
}

static gboolean on_get_managed_objects(HvtDbusObjectManager *root,
                                       GDBusMethodInvocation *invocation,
                                       struct bus_objects *objects)
{
    GVariantBuilder builder = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("a{oa{sa{sv}}}"));
    GHashTableIter iter;
    gpointer path, object;

    g_hash_table_iter_init(&iter, objects->objects);
    while (g_hash_table_iter_next(&iter, &path, &object)) {
        g_autoptr(GVariant) description = describe(object);

        g_variant_builder_add(&builder, "{o@a{sa{sv}}}", path, description);
    }
    hvt_dbus_object_manager_complete_get_managed_objects(root, invocation,
                                                         g_variant_builder_end(&builder));
    return TRUE;
}

static void unexport(gpointer skeleton)
{
    if (g_dbus_interface_skeleton_get_connection(skeleton) != NULL) {
        g_dbus_interface_skeleton_unexport(skeleton);
    }
}

static void unexport_object(GDBusObjectSkeleton *object)
{
    g_autoptr(Interfaces) interfaces = g_dbus_object_get_interfaces(G_DBUS_OBJECT(object));

    for (Interfaces *i = interfaces; i != NULL; i = i->next) {
        unexport(i->data);
    }
}

void bus_objects_add(struct bus_objects *objects, GDBusObjectSkeleton *object)
{
    g_autoptr(Interfaces) interfaces = g_dbus_object_get_interfaces(G_DBUS_OBJECT(object));

    for (Interfaces *i = interfaces; i != NULL; i = i->next) {
        g_autoptr(GError) error = NULL;

        if (!g_dbus_interface_skeleton_export(i->data, objects->connection, path_of(object),
                                              &error)) {
            g_warning("%s at %s: %s", interface_name(i->data), path_of(object), error->message);
        }
    }
    g_autoptr(GVariant) description = describe(object);
    g_hash_table_replace(objects->objects, (gpointer)path_of(object), g_object_ref(object));
    hvt_dbus_object_manager_emit_interfaces_added(objects->root, path_of(object), description);
}

GDBusObjectSkeleton *bus_objects_find(struct bus_objects *objects, const char *path)
{
    return g_hash_table_lookup(objects->objects, path);
}

void bus_objects_remove(struct bus_objects *objects, GDBusObjectSkeleton *object)
{
    g_autoptr(Interfaces) interfaces = g_dbus_object_get_interfaces(G_DBUS_OBJECT(object));
    g_autoptr(GPtrArray) names = g_ptr_array_new();

    for (Interfaces *i = interfaces; i != NULL; i = i->next) {
        g_ptr_array_add(names, (gpointer)interface_name(i->data));
    }
    g_ptr_array_add(names, NULL);
    unexport_object(object);
    hvt_dbus_object_manager_emit_interfaces_removed(objects->root, path_of(object),
                                                    (const char *const *)names->pdata);
    g_hash_table_remove(objects->objects, path_of(object));
}

struct bus_objects *bus_objects_new(GDBusConnection *connection, struct bus_access *access,
                                    const char *path, GError **error)
{
    struct bus_objects *objects = g_new0(struct bus_objects, 1);

    objects->connection = g_object_ref(connection);
    objects->root = bus_access_new_skeleton(access, HVT_DBUS_TYPE_OBJECT_MANAGER_SKELETON);
    objects->objects = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, g_object_unref);
    g_signal_connect(objects->root, "handle-get-managed-objects",
                     G_CALLBACK(on_get_managed_objects), objects);
    if (!g_dbus_interface_skeleton_export(G_DBUS_INTERFACE_SKELETON(objects->root), connection,
                                          path, error)) {
        bus_objects_free(objects);
        return NULL;
    }
    return objects;
}

void bus_objects_free(struct bus_objects *objects)
{
    GHashTableIter iter;
    gpointer object;

    if (objects == NULL) {
        return;
    }
    g_hash_table_iter_init(&iter, objects->objects);
    while (g_hash_table_iter_next(&iter, NULL, &object)) {
        unexport_object(object);
    }
    unexport(objects->root);
    g_hash_table_unref(objects->objects);
    g_object_unref(objects->root);
    g_object_unref(objects->connection);
    g_free(objects);
}
