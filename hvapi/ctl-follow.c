/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Partitions followed live: see ctl-follow.h. */
#include "hvapi/ctl-follow.h"

#include "common/bus-address.h"
#include "common/statistics.h"
#include "common/status.h"

#define BUS_NAME            "org.hvtimer1"
#define ROOT_PATH           "/org/hvtimer1"
#define PARTITION_INTERFACE "org.hvtimer1.Partition"
#define MANAGER_INTERFACE   "org.freedesktop.DBus.ObjectManager"

/* hvtimerd answers within a few milliseconds; the bus asks polkit for whom it does not know. */
#define CALL_TIMEOUT_MS 5000
#define RECONNECT_MS    1000

/* Faster is a load on hvtimerd, slower is no live view. */
#define INTERVAL_MIN 0.1
#define INTERVAL_MAX 3600.0

struct follow {
    const struct follow_events *events;
    gpointer user_data;
    char *bus;

    GDBusConnection *connection; /* NULL: lost */
    GCancellable *reconnecting;  /* cancelled: the end */
    guint reconnect_source;
    gulong closed_handler;
    guint watch;

    /* One life of the daemon. */
    char *owner; /* NULL: it is not there */
    GCancellable *life;
    guint subscriptions[3];
    GHashTable *partitions; /* object path -> struct followed */
    gboolean loaded;        /* it has told which there are */
    guint unanswered;       /* GetStatistics, and the first GetManagedObjects */

    gboolean told; /* events->daemon was called, with: */
    gboolean told_here;
};

gboolean follow_check_interval(double seconds, GError **error)
{
    if (seconds >= INTERVAL_MIN && seconds <= INTERVAL_MAX) { /* not so a NaN */
        return TRUE;
    }
    g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                "--interval %g: give seconds, from %g to %g", seconds, INTERVAL_MIN, INTERVAL_MAX);
    return FALSE;
}

/* ---- one partition ---- */

static void followed_free(gpointer data)
{
    struct followed *p = data;

    g_hash_table_unref(p->properties);
    g_free(p);
}

GVariant *followed_value(const struct followed *p, const char *property)
{
    return g_hash_table_lookup(p->properties, property);
}

static GVariant *value_of_type(const struct followed *p, const char *property,
                               const GVariantType *type)
{
    GVariant *value = followed_value(p, property);

    return value != NULL && g_variant_is_of_type(value, type) ? value : NULL;
}

const char *followed_text(const struct followed *p, const char *property)
{
    GVariant *value = value_of_type(p, property, G_VARIANT_TYPE_STRING);

    return value != NULL ? g_variant_get_string(value, NULL) : "";
}

guint64 followed_number(const struct followed *p, const char *property)
{
    GVariant *value = value_of_type(p, property, G_VARIANT_TYPE_UINT64);
    GVariant *small = value_of_type(p, property, G_VARIANT_TYPE_UINT32);

    if (value != NULL) {
        return g_variant_get_uint64(value);
    }
    return small != NULL ? g_variant_get_uint32(small) : 0;
}

double followed_double(const struct followed *p, const char *property)
{
    GVariant *value = value_of_type(p, property, G_VARIANT_TYPE_DOUBLE);

    return value != NULL ? g_variant_get_double(value) : 0;
}

gboolean followed_enabled(const struct followed *p)
{
    return (followed_number(p, "EmulatedTimerControl") & HV_EMULATED_TIMER_CONTROL_ENABLED) != 0;
}

/* Takes @values over, an a{sv}. Returns: the names of those that are others now. */
static GPtrArray *update_properties(struct followed *p, GVariant *values)
{
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    GVariantIter iter;
    const char *name;
    GVariant *value;

    g_variant_iter_init(&iter, values);
    while (g_variant_iter_next(&iter, "{&sv}", &name, &value)) {
        GVariant *old = followed_value(p, name);

        if (old == NULL || !g_variant_equal(old, value)) {
            g_ptr_array_add(names, g_strdup(name));
        }
        g_hash_table_replace(p->properties, g_strdup(name), value);
    }
    return names;
}

/* ---- telling ---- */

static void tell_daemon(Follow *follow, gboolean here)
{
    if (follow->told && follow->told_here == here) {
        return;
    }
    follow->told = TRUE;
    follow->told_here = here;
    if (follow->events->daemon != NULL) {
        follow->events->daemon(here, follow->user_data);
    }
}

static gboolean is_any_of(const GError *error, GQuark domain, const int *codes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (g_error_matches(error, domain, codes[i])) {
            return TRUE;
        }
    }
    return FALSE;
}

/* The partition has ended, or hvtimerd has: that is told otherwise. */
static gboolean is_of_an_end(const GError *error)
{
    static const int codes[] = {G_DBUS_ERROR_UNKNOWN_OBJECT,  G_DBUS_ERROR_UNKNOWN_METHOD,
                                G_DBUS_ERROR_SERVICE_UNKNOWN, G_DBUS_ERROR_NAME_HAS_NO_OWNER,
                                G_DBUS_ERROR_NO_REPLY,        G_DBUS_ERROR_DISCONNECTED};

    return is_any_of(error, G_DBUS_ERROR, codes, G_N_ELEMENTS(codes)) ||
           g_error_matches(error, HV_STATUS_ERROR, HV_STATUS_INVALID_PARTITION_ID) ||
           g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CLOSED);
}

static void tell_failure(Follow *follow, const GError *error)
{
    if (!is_of_an_end(error) && follow->events->failed != NULL) {
        follow->events->failed(error, follow->user_data);
    }
}

static void answered(Follow *follow)
{
    follow->unanswered--;
    if (follow->unanswered == 0 && follow->events->settled != NULL) {
        follow->events->settled(follow->user_data);
    }
}

/* ---- figures ---- */

struct question {
    Follow *follow; /* not to be touched when cancelled */
    char *path;
};

static void take_reading(Follow *follow, struct followed *p, GVariant *reply)
{
    g_autoptr(GVariant) dict = g_variant_get_child_value(reply, 0);
    hvapi_statistics before = p->statistics;
    gboolean first = !p->read;

    (void)statistics_read(dict, &p->statistics);
    p->read_at = g_get_monotonic_time();
    p->read = TRUE;
    if (follow->events->read != NULL) {
        follow->events->read(p, first ? NULL : &before, follow->user_data);
    }
}

static void on_statistics(GObject *source, GAsyncResult *result, gpointer user_data)
{
    struct question *question = user_data;
    g_autofree struct question *owned = question;
    g_autofree char *path = question->path;
    g_autoptr(GError) error = NULL;
    g_autoptr(GVariant) reply =
        g_dbus_connection_call_finish(G_DBUS_CONNECTION(source), result, &error);
    Follow *follow = question->follow;

    if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CANCELLED)) {
        return;
    }
    struct followed *p = g_hash_table_lookup(follow->partitions, path);
    if (reply != NULL && p != NULL) {
        take_reading(follow, p, reply);
    } else if (reply == NULL) {
        tell_failure(follow, error);
    }
    answered(follow);
}

static void ask(Follow *follow, const char *path)
{
    struct question *question = g_new0(struct question, 1);

    question->follow = follow;
    question->path = g_strdup(path);
    follow->unanswered++;
    g_dbus_connection_call(follow->connection, follow->owner, path, PARTITION_INTERFACE,
                           "GetStatistics", NULL, G_VARIANT_TYPE("(a{st})"), G_DBUS_CALL_FLAGS_NONE,
                           CALL_TIMEOUT_MS, follow->life, on_statistics, question);
}

static void load(Follow *follow);

gboolean follow_read(Follow *follow)
{
    GHashTableIter iter;
    gpointer path;

    if (follow->owner == NULL || follow->unanswered != 0) {
        return FALSE;
    }
    if (!follow->loaded) {
        load(follow); /* it has failed once */
        return TRUE;
    }
    follow->unanswered++; /* until all are asked: without partitions, too, it settles */
    g_hash_table_iter_init(&iter, follow->partitions);
    while (g_hash_table_iter_next(&iter, &path, NULL)) {
        ask(follow, path);
    }
    answered(follow);
    return TRUE;
}

/* ---- which there are ---- */

static gint compare_ids(gconstpointer a, gconstpointer b)
{
    const struct followed *first = *(const struct followed *const *)a;
    const struct followed *second = *(const struct followed *const *)b;

    return (first->id > second->id) - (first->id < second->id);
}

GPtrArray *follow_partitions(Follow *follow)
{
    GPtrArray *array = g_ptr_array_new();
    GHashTableIter iter;
    gpointer p;

    g_hash_table_iter_init(&iter, follow->partitions);
    while (g_hash_table_iter_next(&iter, NULL, &p)) {
        g_ptr_array_add(array, p);
    }
    g_ptr_array_sort(array, compare_ids);
    return array;
}

/* A partition if @interfaces, an a{sa{sv}}, say so. One that is known already stays. */
static struct followed *add_partition(Follow *follow, const char *path, GVariant *interfaces)
{
    g_autoptr(GVariant) properties =
        g_variant_lookup_value(interfaces, PARTITION_INTERFACE, G_VARIANT_TYPE_VARDICT);

    if (properties == NULL || g_hash_table_contains(follow->partitions, path)) {
        return NULL;
    }
    struct followed *p = g_new0(struct followed, 1);
    p->properties =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_variant_unref);
    g_ptr_array_unref(update_properties(p, properties));
    p->id = followed_number(p, "Id");
    g_hash_table_insert(follow->partitions, g_strdup(path), p);
    return p;
}

static void tell_found(Follow *follow, const struct followed *p, gboolean is_new)
{
    if (follow->events->found != NULL) {
        follow->events->found(p, is_new, follow->user_data);
    }
}

static void on_added(G_GNUC_UNUSED GDBusConnection *connection, G_GNUC_UNUSED const char *sender,
                     G_GNUC_UNUSED const char *manager, G_GNUC_UNUSED const char *interface,
                     G_GNUC_UNUSED const char *signal, GVariant *parameters, gpointer user_data)
{
    Follow *follow = user_data;
    g_autoptr(GVariant) interfaces = NULL;
    const char *path;

    g_variant_get(parameters, "(&o@a{sa{sv}})", &path, &interfaces);
    struct followed *p = add_partition(follow, path, interfaces);
    if (p != NULL) {
        p->read = TRUE; /* it begins with nothing due */
        p->read_at = g_get_monotonic_time();
        tell_found(follow, p, TRUE);
    }
}

static void on_removed(G_GNUC_UNUSED GDBusConnection *connection, G_GNUC_UNUSED const char *sender,
                       G_GNUC_UNUSED const char *manager, G_GNUC_UNUSED const char *interface,
                       G_GNUC_UNUSED const char *signal, GVariant *parameters, gpointer user_data)
{
    Follow *follow = user_data;
    g_autofree const char **interfaces = NULL;
    const char *path;
    gpointer p;

    g_variant_get(parameters, "(&o^a&s)", &path, &interfaces);
    if (g_strv_contains(interfaces, PARTITION_INTERFACE) &&
        (p = g_hash_table_lookup(follow->partitions, path)) != NULL) {
        if (follow->events->ended != NULL) {
            follow->events->ended(p, follow->user_data);
        }
        g_hash_table_remove(follow->partitions, path);
    }
}

static void on_changed(G_GNUC_UNUSED GDBusConnection *connection, G_GNUC_UNUSED const char *sender,
                       const char *path, G_GNUC_UNUSED const char *interface,
                       G_GNUC_UNUSED const char *signal, GVariant *parameters, gpointer user_data)
{
    Follow *follow = user_data;
    struct followed *p = g_hash_table_lookup(follow->partitions, path);
    g_autoptr(GVariant) values = NULL;

    if (p == NULL) {
        return; /* GetManagedObjects, asked later than this was sent, is still to answer */
    }
    g_variant_get(parameters, "(&s@a{sv}@as)", NULL, &values, NULL);
    g_autoptr(GPtrArray) names = update_properties(p, values);
    if (names->len != 0 && follow->events->changed != NULL) {
        g_ptr_array_add(names, NULL);
        follow->events->changed(p, (const char *const *)names->pdata, follow->user_data);
    }
}

static void take_objects(Follow *follow, GVariant *reply)
{
    g_autoptr(GVariantIter) objects = NULL;
    g_autoptr(GPtrArray) found = NULL;
    const char *path;
    GVariant *interfaces;

    g_variant_get(reply, "(a{oa{sa{sv}}})", &objects);
    found = g_ptr_array_new();
    while (g_variant_iter_loop(objects, "{&o@a{sa{sv}}}", &path, &interfaces)) {
        struct followed *p = add_partition(follow, path, interfaces);

        if (p != NULL) {
            g_ptr_array_add(found, p);
        }
    }
    g_ptr_array_sort(found, compare_ids);
    for (guint i = 0; i < found->len; i++) {
        tell_found(follow, found->pdata[i], FALSE);
    }
}

static void on_objects(GObject *source, GAsyncResult *result, gpointer user_data)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GVariant) reply =
        g_dbus_connection_call_finish(G_DBUS_CONNECTION(source), result, &error);
    Follow *follow = user_data;

    if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CANCELLED)) {
        return; /* of another life of the daemon, or nobody follows any more */
    }
    follow->unanswered--;
    if (reply == NULL) {
        tell_failure(follow, error);
        return;
    }
    follow->loaded = TRUE;
    take_objects(follow, reply);
    follow_read(follow);
}

static void load(Follow *follow)
{
    follow->unanswered++;
    g_dbus_connection_call(follow->connection, follow->owner, ROOT_PATH, MANAGER_INTERFACE,
                           "GetManagedObjects", NULL, G_VARIANT_TYPE("(a{oa{sa{sv}}})"),
                           G_DBUS_CALL_FLAGS_NONE, CALL_TIMEOUT_MS, follow->life, on_objects,
                           follow);
}

/* ---- the daemon, and the bus ---- */

static void end_life(Follow *follow)
{
    if (follow->life != NULL) {
        g_cancellable_cancel(follow->life);
        g_clear_object(&follow->life);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(follow->subscriptions); i++) {
        if (follow->subscriptions[i] != 0) {
            g_dbus_connection_signal_unsubscribe(follow->connection, follow->subscriptions[i]);
            follow->subscriptions[i] = 0;
        }
    }
    g_hash_table_remove_all(follow->partitions);
    g_clear_pointer(&follow->owner, g_free);
    follow->loaded = FALSE;
    follow->unanswered = 0;
}

static guint subscribe(Follow *follow, const char *interface, const char *member, const char *path,
                       const char *argument, GDBusSignalCallback callback)
{
    return g_dbus_connection_signal_subscribe(follow->connection, follow->owner, interface, member,
                                              path, argument, G_DBUS_SIGNAL_FLAGS_NONE, callback,
                                              follow, NULL);
}

static void on_appeared(G_GNUC_UNUSED GDBusConnection *connection, G_GNUC_UNUSED const char *name,
                        const char *owner, gpointer user_data)
{
    Follow *follow = user_data;

    end_life(follow);
    follow->owner = g_strdup(owner);
    follow->life = g_cancellable_new();
    follow->subscriptions[0] =
        subscribe(follow, MANAGER_INTERFACE, "InterfacesAdded", ROOT_PATH, NULL, on_added);
    follow->subscriptions[1] =
        subscribe(follow, MANAGER_INTERFACE, "InterfacesRemoved", ROOT_PATH, NULL, on_removed);
    follow->subscriptions[2] =
        subscribe(follow, "org.freedesktop.DBus.Properties", "PropertiesChanged", NULL,
                  PARTITION_INTERFACE, on_changed);
    tell_daemon(follow, TRUE);
    load(follow);
}

static void on_vanished(G_GNUC_UNUSED GDBusConnection *connection, G_GNUC_UNUSED const char *name,
                        gpointer user_data)
{
    Follow *follow = user_data;

    end_life(follow);
    tell_daemon(follow, FALSE);
}

static void schedule_reconnect(Follow *follow);

static void disconnect(Follow *follow)
{
    end_life(follow);
    g_clear_handle_id(&follow->watch, g_bus_unwatch_name);
    if (follow->connection != NULL) {
        g_clear_signal_handler(&follow->closed_handler, follow->connection);
        g_clear_object(&follow->connection);
    }
}

static void on_closed(G_GNUC_UNUSED GDBusConnection *connection,
                      G_GNUC_UNUSED gboolean remote_peer_vanished, G_GNUC_UNUSED GError *error,
                      gpointer user_data)
{
    Follow *follow = user_data;

    disconnect(follow);
    tell_daemon(follow, FALSE);
    schedule_reconnect(follow);
}

/* @connection: (transfer full) */
static void use_connection(Follow *follow, GDBusConnection *connection)
{
    follow->connection = connection;
    follow->closed_handler = g_signal_connect(connection, "closed", G_CALLBACK(on_closed), follow);
    follow->watch =
        g_bus_watch_name_on_connection(connection, BUS_NAME, G_BUS_NAME_WATCHER_FLAGS_NONE,
                                       on_appeared, on_vanished, follow, NULL);
}

static void open_in_thread(GTask *task, G_GNUC_UNUSED gpointer source, gpointer bus,
                           G_GNUC_UNUSED GCancellable *cancellable)
{
    GError *error = NULL;
    GDBusConnection *connection = bus_open(bus, &error);

    if (connection != NULL) {
        g_task_return_pointer(task, connection, g_object_unref);
    } else {
        g_task_return_error(task, error);
    }
}

static void on_opened(G_GNUC_UNUSED GObject *source, GAsyncResult *result, gpointer user_data)
{
    g_autoptr(GError) error = NULL;
    GDBusConnection *connection = g_task_propagate_pointer(G_TASK(result), &error);

    if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CANCELLED)) {
        return; /* and nobody follows any more */
    }
    if (connection != NULL) {
        use_connection(user_data, connection);
    } else {
        schedule_reconnect(user_data);
    }
}

static gboolean on_reconnect_time(gpointer user_data)
{
    Follow *follow = user_data;
    g_autoptr(GTask) task = g_task_new(NULL, follow->reconnecting, on_opened, follow);

    follow->reconnect_source = 0;
    g_task_set_task_data(task, g_strdup(follow->bus), g_free);
    g_task_run_in_thread(task, open_in_thread); /* opening a bus waits for it */
    return G_SOURCE_REMOVE;
}

static void schedule_reconnect(Follow *follow)
{
    follow->reconnect_source = g_timeout_add(RECONNECT_MS, on_reconnect_time, follow);
}

Follow *follow_new(const char *bus, const struct follow_events *events, gpointer user_data,
                   GError **error)
{
    GDBusConnection *connection = bus_open(bus, error);

    if (connection == NULL) {
        return NULL;
    }
    Follow *follow = g_new0(Follow, 1);
    follow->events = events;
    follow->user_data = user_data;
    follow->bus = g_strdup(bus);
    follow->reconnecting = g_cancellable_new();
    follow->partitions = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, followed_free);
    use_connection(follow, connection);
    return follow;
}

void follow_free(Follow *follow)
{
    if (follow == NULL) {
        return;
    }
    g_cancellable_cancel(follow->reconnecting);
    g_clear_object(&follow->reconnecting);
    g_clear_handle_id(&follow->reconnect_source, g_source_remove);
    disconnect(follow);
    g_hash_table_unref(follow->partitions);
    g_free(follow->bus);
    g_free(follow);
}
