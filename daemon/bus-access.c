/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who may read, and who may change: see bus-access.h. */
#include "daemon/bus-access.h"

#include "common/status.h"
#include "daemon/bus-polkit.h"
#include <errno.h>
#include <grp.h>
#include <string.h>
#include <unistd.h>

/* Who may do all where there is no polkit; by its rule in conf/60-hvtimer.rules also where there
 * is one. */
#define GROUP "libvirt"

/* How many calls of one caller may wait, and how large each may be: a name is the longest thing
 * that any of them has. The bus bounds only how many want a reply, and it lets 32 MiB through. */
#define CALLS_MAX  256
#define CALL_BYTES 4096

/* For how many passwords of one user polkit may wait at a time. The bus bounds how many replies the
 * daemon awaits (128, max_replies_per_connection), and is not to be kept from other calls. */
#define PASSWORDS_MAX 8

/* Of how many partitions it is kept that a caller may read them. */
#define MONITORED_MAX 1024

struct bus_access {
    GDBusConnection *connection;
    struct manager *manager;
    gboolean polkit;
    guint changes;       /* of what polkit says; 0: not watched */
    GHashTable *callers; /* unique name (the caller's own) -> struct caller (owned) */
};

/* A connection to the bus, from its first call to its end. */
struct caller {
    struct bus_access *access;
    char *name;
    guint watch; /* of its end */
    GCancellable *gone;
    gboolean identified; /* uid and in_group are known */
    uid_t uid;
    gboolean in_group;
    GQueue calls;          /* struct call (owned), in their order */
    gboolean asking;       /* polkit is asked about the first one */
    gboolean interactive;  /* and may ask for a password */
    GHashTable *monitored; /* the partitions that polkit lets it read, as a set of names */
};

struct call {
    GDBusInterfaceSkeleton *skeleton;
    GDBusMethodInvocation *invocation; /* given away once it is answered */
    enum bus_right right;
    char *partition; /* the name that polkit was told; "": none; NULL: it was not asked */
};

/* ---- what takes which right ---- */

enum bus_right bus_access_right(const char *interface, const char *method)
{
    static const char *const reading[][2] = {
        {"org.freedesktop.DBus.ObjectManager", "GetManagedObjects"},
        {"org.freedesktop.DBus.Properties", "Get"},
        {"org.freedesktop.DBus.Properties", "GetAll"},
        {"org.hvtimer1.Manager", "GetMetrics"},
        {"org.hvtimer1.Manager", "GetPartitionProperty"},
        {"org.hvtimer1.Manager", "LookupPartition"},
        {"org.hvtimer1.Model", "CountTaken"},
        {"org.hvtimer1.Partition", "GetStatistics"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(reading); i++) {
        if (g_str_equal(reading[i][0], interface) && g_str_equal(reading[i][1], method)) {
            return BUS_RIGHT_MONITOR;
        }
    }
    return BUS_RIGHT_MANAGE;
}

static const struct {
    const char *action, *what;
} rights[] = {
    [BUS_RIGHT_MONITOR] = {"org.hvtimer1.monitor", "look at partitions"},
    [BUS_RIGHT_MANAGE] = {"org.hvtimer1.manage", "change partitions"},
};

/* ---- calls that are allowed ---- */

/* What the class that @skeleton's was derived from does with a call: see guarded_type(). */
static const GDBusInterfaceVTable *plain_vtable(GDBusInterfaceSkeleton *skeleton)
{
    gpointer parent = g_type_class_peek_parent(G_OBJECT_GET_CLASS(skeleton));

    return G_DBUS_INTERFACE_SKELETON_CLASS(parent)->get_vtable(skeleton);
}

static void get_property(GDBusInterfaceSkeleton *skeleton, GDBusMethodInvocation *invocation)
{
    g_autoptr(GError) error = NULL;
    const char *interface, *name;

    g_variant_get(g_dbus_method_invocation_get_parameters(invocation), "(&s&s)", &interface, &name);
    g_autoptr(GVariant) value = plain_vtable(skeleton)->get_property(
        g_dbus_method_invocation_get_connection(invocation),
        g_dbus_method_invocation_get_sender(invocation),
        g_dbus_method_invocation_get_object_path(invocation), interface, name, &error, skeleton);
    if (value == NULL) {
        g_dbus_method_invocation_return_gerror(invocation, error);
    } else {
        g_variant_take_ref(value);
        g_dbus_method_invocation_return_value(invocation, g_variant_new("(v)", value));
    }
}

static void get_all_properties(GDBusInterfaceSkeleton *skeleton, GDBusMethodInvocation *invocation)
{
    g_autoptr(GVariant) properties = g_dbus_interface_skeleton_get_properties(skeleton);

    g_dbus_method_invocation_return_value(invocation, g_variant_new("(@a{sv})", properties));
}

static void call_method(GDBusInterfaceSkeleton *skeleton, GDBusMethodInvocation *invocation)
{
    plain_vtable(skeleton)->method_call(g_dbus_method_invocation_get_connection(invocation),
                                        g_dbus_method_invocation_get_sender(invocation),
                                        g_dbus_method_invocation_get_object_path(invocation),
                                        g_dbus_method_invocation_get_interface_name(invocation),
                                        g_dbus_method_invocation_get_method_name(invocation),
                                        g_dbus_method_invocation_get_parameters(invocation),
                                        invocation, skeleton);
}

/* Takes @call's invocation, as all that answer it do. */
static void serve(struct call *call)
{
    GDBusMethodInvocation *invocation = g_steal_pointer(&call->invocation);
    gboolean properties = g_str_equal(g_dbus_method_invocation_get_interface_name(invocation),
                                      "org.freedesktop.DBus.Properties");
    const char *method = g_dbus_method_invocation_get_method_name(invocation);

    if (properties && g_str_equal(method, "Get")) {
        get_property(call->skeleton, invocation);
    } else if (properties && g_str_equal(method, "GetAll")) {
        get_all_properties(call->skeleton, invocation);
    } else {
        call_method(call->skeleton, invocation); /* and Set, which has to be answered later */
    }
}

static void refuse(struct caller *caller, struct call *call, const char *reason)
{
    GDBusMethodInvocation *invocation = g_steal_pointer(&call->invocation);

    g_dbus_method_invocation_return_error(
        invocation, HV_STATUS_ERROR, HV_STATUS_ACCESS_DENIED,
        "user %u may not %s (%s): that takes the right %s, and %s; become root, join the "
        "group " GROUP " and log in anew, or have the administrator grant it",
        (unsigned)caller->uid, rights[call->right].what,
        g_dbus_method_invocation_get_method_name(invocation), rights[call->right].action, reason);
}

static void answer_gone(struct call *call)
{
    g_dbus_method_invocation_return_error_literal(g_steal_pointer(&call->invocation),
                                                  HV_STATUS_ERROR, HV_STATUS_INVALID_PARTITION_ID,
                                                  "the partition has ended");
}

static void call_free(struct call *call)
{
    if (call->invocation != NULL) {
        g_dbus_method_invocation_return_error_literal(call->invocation, G_DBUS_ERROR,
                                                      G_DBUS_ERROR_DISCONNECTED, "hvtimerd ends");
    }
    g_object_unref(call->skeleton);
    g_free(call->partition);
    g_free(call);
}

/* ---- which partition a call is about ---- */

static struct guest *guest_of_path(struct bus_access *access, const char *path)
{
    const char *last = strrchr(path, '/');
    guint64 id;

    return g_ascii_string_to_unsigned(last + 1, 10, 1, G_MAXUINT64, &id, NULL)
               ? manager_find(access->manager, id, NULL)
               : NULL;
}

/* Those of the Manager name it by their first argument, if they do. */
static struct guest *guest_of_argument(struct bus_access *access, GVariant *parameters)
{
    g_autoptr(GVariant) first =
        g_variant_n_children(parameters) > 0 ? g_variant_get_child_value(parameters, 0) : NULL;

    if (first != NULL && g_variant_is_of_type(first, G_VARIANT_TYPE_UINT64)) {
        return manager_find(access->manager, g_variant_get_uint64(first), NULL);
    }
    if (first != NULL && g_variant_is_of_type(first, G_VARIANT_TYPE_STRING)) {
        return manager_lookup(access->manager, g_variant_get_string(first, NULL), NULL);
    }
    return NULL;
}

static const char *partition_of(struct bus_access *access, const struct call *call)
{
    struct guest *guest =
        guest_of_path(access, g_dbus_method_invocation_get_object_path(call->invocation));

    if (guest == NULL) {
        guest =
            guest_of_argument(access, g_dbus_method_invocation_get_parameters(call->invocation));
    }
    return guest != NULL ? guest_identity(guest)->name : "";
}

/* ---- decisions ---- */

/* It was allowed; but while polkit was asked, the partition may have ended. */
static void grant(struct caller *caller, struct call *call)
{
    if (!g_dbus_interface_skeleton_has_connection(call->skeleton, caller->access->connection) ||
        (call->partition != NULL &&
         !g_str_equal(call->partition, partition_of(caller->access, call)))) {
        answer_gone(call);
    } else {
        serve(call);
    }
}

static void decide_by_group(struct caller *caller, struct call *call)
{
    if (caller->in_group) {
        grant(caller, call);
    } else {
        refuse(caller, call,
               "where there is no polkit, root and the members of the group " GROUP " have it");
    }
}

static void advance(struct caller *caller);

static void on_answer(enum bus_polkit_answer answer, const char *reason, gpointer user_data)
{
    struct caller *caller = user_data;
    struct call *call = g_queue_pop_head(&caller->calls);

    caller->asking = FALSE;
    if (answer == BUS_POLKIT_GRANTED) {
        if (call->right == BUS_RIGHT_MONITOR &&
            g_hash_table_size(caller->monitored) < MONITORED_MAX) {
            g_hash_table_add(caller->monitored, g_strdup(call->partition));
        }
        grant(caller, call);
    } else if (answer == BUS_POLKIT_REFUSED) {
        refuse(caller, call, reason);
    } else {
        decide_by_group(caller, call);
    }
    call_free(call);
    advance(caller);
}

static gboolean may_ask_for_password(struct caller *caller, struct call *call)
{
    GDBusMessage *message = g_dbus_method_invocation_get_message(call->invocation);
    unsigned waiting = 0;
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, caller->access->callers);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const struct caller *other = value;
        waiting += other->uid == caller->uid && other->asking && other->interactive;
    }
    return waiting < PASSWORDS_MAX && (g_dbus_message_get_flags(message) &
                                       G_DBUS_MESSAGE_FLAGS_ALLOW_INTERACTIVE_AUTHORIZATION) != 0;
}

static void ask_polkit(struct caller *caller, struct call *call)
{
    struct bus_polkit_question question = {.sender = caller->name,
                                           .action = rights[call->right].action,
                                           .partition = call->partition,
                                           .interactive = may_ask_for_password(caller, call)};

    caller->asking = TRUE;
    caller->interactive = question.interactive;
    bus_polkit_ask(caller->access->connection, &question, caller->gone, on_answer, caller);
}

/* FALSE: polkit has to be asked. */
static gboolean decide_now(struct caller *caller, struct call *call)
{
    if (caller->uid == 0 || caller->uid == geteuid()) {
        grant(caller, call);
        return TRUE;
    }
    if (!caller->access->polkit) {
        decide_by_group(caller, call);
        return TRUE;
    }
    call->partition = g_strdup(partition_of(caller->access, call));
    if (call->right == BUS_RIGHT_MONITOR &&
        g_hash_table_contains(caller->monitored, call->partition)) {
        grant(caller, call);
        return TRUE;
    }
    return FALSE;
}

/* One after the other: a value that is read after one was written is to be the one written. */
static void advance(struct caller *caller)
{
    struct call *call;

    while (caller->identified && !caller->asking &&
           (call = g_queue_peek_head(&caller->calls)) != NULL) {
        if (!decide_now(caller, call)) {
            ask_polkit(caller, call);
            return;
        }
        call_free(g_queue_pop_head(&caller->calls));
    }
}

/* ---- who calls ---- */

/* Whether the group @name is one of @ids. */
static gboolean is_group_among(const char *name, const guint32 *ids, gsize n)
{
    struct group entry, *group;
    int error;

    for (size_t size = 4096;; size *= 4) { /* as many bytes as it takes to name its members */
        g_autofree char *buffer = g_malloc(size);
        error = getgrnam_r(name, &entry, buffer, size, &group);
        if (error != ERANGE) {
            break;
        }
    }
    for (gsize i = 0; error == 0 && group != NULL && i < n; i++) {
        if (ids[i] == entry.gr_gid) {
            return TRUE;
        }
    }
    return FALSE;
}

/* Ends @caller. */
static void refuse_unknown(struct caller *caller)
{
    struct call *call;

    while ((call = g_queue_pop_head(&caller->calls)) != NULL) {
        g_dbus_method_invocation_return_error_literal(
            g_steal_pointer(&call->invocation), HV_STATUS_ERROR, HV_STATUS_ACCESS_DENIED,
            "the bus does not tell which user asks for this");
        call_free(call);
    }
    g_hash_table_remove(caller->access->callers, caller->name);
}

static void on_credentials(GObject *object, GAsyncResult *result, gpointer user_data)
{
    struct caller *caller = user_data;
    g_autoptr(GError) error = NULL;
    g_autoptr(GVariant) credentials = NULL, groups = NULL;
    g_autoptr(GVariant) reply =
        g_dbus_connection_call_finish(G_DBUS_CONNECTION(object), result, &error);

    if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CANCELLED)) {
        return; /* the caller, or all of this, is no more */
    }
    if (reply != NULL) {
        g_variant_get(reply, "(@a{sv})", &credentials);
    }
    if (credentials == NULL || !g_variant_lookup(credentials, "UnixUserID", "u", &caller->uid)) {
        refuse_unknown(caller); /* as a rule it has left */
        return;
    }
    groups = g_variant_lookup_value(credentials, "UnixGroupIDs", G_VARIANT_TYPE("au"));
    if (groups != NULL) {
        gsize n;
        const guint32 *ids = g_variant_get_fixed_array(groups, &n, sizeof *ids);
        caller->in_group = is_group_among(GROUP, ids, n);
    }
    caller->identified = TRUE;
    advance(caller);
}

static void on_caller_gone(G_GNUC_UNUSED GDBusConnection *connection,
                           G_GNUC_UNUSED const char *sender, G_GNUC_UNUSED const char *path,
                           G_GNUC_UNUSED const char *interface, G_GNUC_UNUSED const char *signal,
                           GVariant *parameters, gpointer user_data)
{
    struct caller *caller = user_data;
    const char *new_owner;

    g_variant_get(parameters, "(&s&s&s)", NULL, NULL, &new_owner);
    if (*new_owner == '\0') {
        g_hash_table_remove(caller->access->callers, caller->name);
    }
}

/* The watch comes first: a caller that leaves between the two has no credentials any more. */
static void identify(struct caller *caller)
{
    GDBusConnection *connection = caller->access->connection;

    caller->watch = g_dbus_connection_signal_subscribe(
        connection, "org.freedesktop.DBus", "org.freedesktop.DBus", "NameOwnerChanged",
        "/org/freedesktop/DBus", caller->name, G_DBUS_SIGNAL_FLAGS_NONE, on_caller_gone, caller,
        NULL);
    g_dbus_connection_call(connection, "org.freedesktop.DBus", "/org/freedesktop/DBus",
                           "org.freedesktop.DBus", "GetConnectionCredentials",
                           g_variant_new("(s)", caller->name), G_VARIANT_TYPE("(a{sv})"),
                           G_DBUS_CALL_FLAGS_NONE, -1, caller->gone, on_credentials, caller);
}

static struct caller *caller_new(struct bus_access *access, const char *name)
{
    struct caller *caller = g_new0(struct caller, 1);

    caller->access = access;
    caller->name = g_strdup(name);
    caller->gone = g_cancellable_new();
    g_queue_init(&caller->calls);
    caller->monitored = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_hash_table_insert(access->callers, caller->name, caller);
    identify(caller);
    return caller;
}

static void caller_free(gpointer data)
{
    struct caller *caller = data;

    g_cancellable_cancel(caller->gone);
    g_object_unref(caller->gone);
    g_dbus_connection_signal_unsubscribe(caller->access->connection, caller->watch);
    g_queue_clear_full(&caller->calls, (GDestroyNotify)call_free);
    g_hash_table_unref(caller->monitored);
    g_free(caller->name);
    g_free(caller);
}

static void on_polkit_changed(G_GNUC_UNUSED GDBusConnection *connection,
                              G_GNUC_UNUSED const char *sender, G_GNUC_UNUSED const char *path,
                              G_GNUC_UNUSED const char *interface, G_GNUC_UNUSED const char *signal,
                              G_GNUC_UNUSED GVariant *parameters, gpointer user_data)
{
    struct bus_access *access = user_data;
    GHashTableIter iter;
    gpointer caller;

    g_hash_table_iter_init(&iter, access->callers);
    while (g_hash_table_iter_next(&iter, NULL, &caller)) {
        g_hash_table_remove_all(((struct caller *)caller)->monitored);
    }
}

struct bus_access *bus_access_new(GDBusConnection *connection, struct manager *manager,
                                  gboolean polkit)
{
    struct bus_access *access = g_new0(struct bus_access, 1);

    access->connection = g_object_ref(connection);
    access->manager = manager;
    access->polkit = polkit;
    access->callers = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, caller_free);
    if (polkit) {
        access->changes = bus_polkit_watch(connection, on_polkit_changed, access);
    }
    return access;
}

void bus_access_free(struct bus_access *access)
{
    if (access == NULL) {
        return;
    }
    g_hash_table_unref(access->callers);
    if (access->changes != 0) {
        g_dbus_connection_signal_unsubscribe(access->connection, access->changes);
    }
    g_object_unref(access->connection);
    g_free(access);
}

/* ---- the gate ---- */

static GQuark access_quark(void)
{
    return g_quark_from_static_string("hvtimer-bus-access");
}

static void on_call(G_GNUC_UNUSED GDBusConnection *connection, const char *sender,
                    G_GNUC_UNUSED const char *path, const char *interface, const char *method,
                    GVariant *parameters, GDBusMethodInvocation *invocation, gpointer skeleton)
{
    struct bus_access *access = g_object_get_qdata(skeleton, access_quark());
    struct caller *caller = g_hash_table_lookup(access->callers, sender);

    if (g_variant_get_size(parameters) > CALL_BYTES) {
        g_dbus_method_invocation_return_error(invocation, G_DBUS_ERROR,
                                              G_DBUS_ERROR_LIMITS_EXCEEDED,
                                              "a call may have %d bytes of arguments", CALL_BYTES);
        return;
    }
    if (caller == NULL) {
        caller = caller_new(access, sender);
    }
    if (g_queue_get_length(&caller->calls) >= CALLS_MAX) {
        g_dbus_method_invocation_return_error_literal(invocation, G_DBUS_ERROR,
                                                      G_DBUS_ERROR_LIMITS_EXCEEDED,
                                                      "too many calls wait; await their replies");
        return;
    }
    struct call *call = g_new(struct call, 1);
    *call = (struct call){.skeleton = g_object_ref(skeleton),
                          .invocation = invocation,
                          .right = bus_access_right(interface, method)};
    g_queue_push_tail(&caller->calls, call);
    advance(caller);
}

/* Without functions for properties, GIO hands the calls for those on to on_call(), too. */
static GDBusInterfaceVTable *guarded_vtable(G_GNUC_UNUSED GDBusInterfaceSkeleton *skeleton)
{
    static GDBusInterfaceVTable vtable = {.method_call = on_call};

    return &vtable;
}

static void guard_class(gpointer class, G_GNUC_UNUSED gpointer data)
{
    G_DBUS_INTERFACE_SKELETON_CLASS(class)->get_vtable = guarded_vtable;
}

/* A class derived from @type, whose calls come to on_call() first. */
static GType guarded_type(GType type)
{
    g_autofree char *name = g_strconcat(g_type_name(type), "Guarded", NULL);
    GType guarded = g_type_from_name(name);
    GTypeQuery query;

    if (guarded == 0) {
        g_type_query(type, &query);
        guarded = g_type_register_static_simple(type, name, query.class_size, guard_class,
                                                query.instance_size, NULL, 0);
    }
    return guarded;
}

gpointer bus_access_new_skeleton(struct bus_access *access, GType type)
{
    gpointer skeleton = g_object_new(guarded_type(type), NULL);

    g_object_set_qdata(skeleton, access_quark(), access);
    return skeleton;
}
