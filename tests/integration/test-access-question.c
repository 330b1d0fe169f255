/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the daemon asks polkit, and what it makes of the answers: the test is polkit. */
#include "tests/integration/test-access.h"

#include "tests/support/test.h"
#include <string.h>

#define PATIENCE_SECONDS 20

static const char polkit_xml[] =
    "<node><interface name='org.freedesktop.PolicyKit1.Authority'>"
    "<method name='CheckAuthorization'><arg type='(sa{sv})' direction='in'/>"
    "<arg type='s' direction='in'/><arg type='a{ss}' direction='in'/>"
    "<arg type='u' direction='in'/><arg type='s' direction='in'/>"
    "<arg type='(bba{ss})' direction='out'/></method>"
    "<method name='CancelCheckAuthorization'><arg type='s' direction='in'/></method>"
    "<signal name='Changed'/></interface></node>";

/* A polkit that does not answer before it is told to. */
struct polkit {
    struct rig rig;
    GDBusNodeInfo *info;
    guint object, name;
    gboolean is_there;
    GQueue questions; /* GDBusMethodInvocation */
    char *called_off; /* the last one */
};

/* ---- polkit ---- */

static void on_call(G_GNUC_UNUSED GDBusConnection *connection, G_GNUC_UNUSED const char *sender,
                    G_GNUC_UNUSED const char *path, G_GNUC_UNUSED const char *interface,
                    const char *method, GVariant *parameters, GDBusMethodInvocation *invocation,
                    gpointer user_data)
{
    struct polkit *polkit = user_data;

    if (g_str_equal(method, "CheckAuthorization")) {
        g_queue_push_tail(&polkit->questions, invocation);
        return;
    }
    g_free(polkit->called_off);
    g_variant_get(parameters, "(s)", &polkit->called_off);
    g_dbus_method_invocation_return_value(invocation, NULL);
}

static void on_name(G_GNUC_UNUSED GDBusConnection *connection, G_GNUC_UNUSED const char *name,
                    gpointer user_data)
{
    ((struct polkit *)user_data)->is_there = TRUE;
}

static void polkit_up(struct polkit *polkit)
{
    static const GDBusInterfaceVTable vtable = {.method_call = on_call};
    g_autoptr(GError) error = NULL;

    *polkit = (struct polkit){0};
    rig_up(&polkit->rig, TRUE);
    GDBusConnection *connection = polkit->rig.fixture.connection;
    g_queue_init(&polkit->questions);
    polkit->info = g_dbus_node_info_new_for_xml(polkit_xml, &error);
    g_assert_no_error(error);
    polkit->object = g_dbus_connection_register_object(
        connection, "/org/freedesktop/PolicyKit1/Authority", polkit->info->interfaces[0], &vtable,
        polkit, NULL, &error);
    g_assert_no_error(error);
    polkit->name =
        g_bus_own_name_on_connection(connection, "org.freedesktop.PolicyKit1",
                                     G_BUS_NAME_OWNER_FLAGS_NONE, on_name, NULL, polkit, NULL);
    test_wait_until(PATIENCE_SECONDS, polkit->is_there);
}

static void polkit_down(struct polkit *polkit)
{
    g_assert_true(g_queue_is_empty(&polkit->questions));
    g_bus_unown_name(polkit->name);
    g_dbus_connection_unregister_object(polkit->rig.fixture.connection, polkit->object);
    g_dbus_node_info_unref(polkit->info);
    g_free(polkit->called_off);
    rig_down(&polkit->rig);
}

/* Waits for a question, which must be this one. (transfer full) */
static GDBusMethodInvocation *await_question(struct polkit *polkit, GDBusConnection *asker,
                                             const char *action, const char *partition,
                                             guint32 flags, char **ret_cancellation)
{
    const char *kind, *name, *asked, *about, *cancellation;
    guint32 asked_flags;

    test_wait_until(PATIENCE_SECONDS, !g_queue_is_empty(&polkit->questions));
    GDBusMethodInvocation *question = g_queue_pop_head(&polkit->questions);
    g_autoptr(GVariant) subject = NULL, details = NULL;
    g_variant_get(g_dbus_method_invocation_get_parameters(question), "((&s@a{sv})&s@a{ss}u&s)",
                  &kind, &subject, &asked, &details, &asked_flags, &cancellation);
    g_assert_cmpstr(kind, ==, "system-bus-name");
    g_assert_true(g_variant_lookup(subject, "name", "&s", &name));
    g_assert_cmpstr(name, ==, g_dbus_connection_get_unique_name(asker));
    g_assert_cmpstr(asked, ==, action);
    g_assert_true(g_variant_lookup(details, "partition", "&s", &about));
    g_assert_cmpstr(about, ==, partition);
    g_assert_cmpuint(asked_flags, ==, flags);
    if (ret_cancellation != NULL) {
        *ret_cancellation = g_strdup(cancellation);
    }
    return question;
}

static void answer(GDBusMethodInvocation *question, gboolean granted, gboolean challenge)
{
    g_dbus_method_invocation_return_value(
        question, g_variant_new_parsed("((%b, %b, @a{ss} {}),)", granted, challenge));
}

/* ---- calls ---- */

struct call {
    gboolean done;
    GVariant *reply;
    GError *error;
};

static void on_reply(GObject *object, GAsyncResult *result, gpointer user_data)
{
    struct call *call = user_data;

    call->reply = g_dbus_connection_call_finish(G_DBUS_CONNECTION(object), result, &call->error);
    call->done = TRUE;
}

static void clear(struct call *call)
{
    g_clear_pointer(&call->reply, g_variant_unref);
    g_clear_error(&call->error);
    call->done = FALSE;
}

static void start(struct call *call, GDBusConnection *connection, const char *path,
                  const char *interface, const char *method, GVariant *parameters,
                  GDBusCallFlags flags)
{
    g_dbus_connection_call(connection, "org.hvtimer1", path, interface, method, parameters, NULL,
                           flags, -1, NULL, on_reply, call);
}

static void start_set(struct call *call, GDBusConnection *connection, guint64 period,
                      GDBusCallFlags flags)
{
    start(call, connection, "/org/hvtimer1/partition/1", "org.freedesktop.DBus.Properties", "Set",
          g_variant_new("(ssv)", "org.hvtimer1.Partition", "EmulatedTimerPeriod",
                        g_variant_new_uint64(period)),
          flags);
}

/* By its id, with the Manager. */
static void start_get(struct call *call, GDBusConnection *connection)
{
    start(call, connection, "/org/hvtimer1", "org.hvtimer1.Manager", "GetPartitionProperty",
          g_variant_new("(tu)", (guint64)1, 0x30000), G_DBUS_CALL_FLAGS_NONE);
}

static guint64 await_value(struct call *call)
{
    guint64 value;

    test_wait_until(PATIENCE_SECONDS, call->done);
    g_assert_no_error(call->error);
    g_variant_get(call->reply, "(t)", &value);
    clear(call);
    return value;
}

static void await_error(struct call *call, const char *name, const char *why)
{
    test_wait_until(PATIENCE_SECONDS, call->done);
    g_assert_nonnull(call->error);
    g_autofree char *is = g_dbus_error_get_remote_error(call->error);
    g_assert_cmpstr(is, ==, name);
    g_assert_nonnull(strstr(call->error->message, why));
    clear(call);
}

static void assert_period(struct polkit *polkit, guint64 period)
{
    g_autofree char *output = NULL;

    fixture_run(&polkit->rig.fixture, &output, "hvtimerctl get m0 EmulatedTimerPeriod");
    g_assert_cmpuint(g_ascii_strtoull(output, NULL, 10), ==, period);
}

/* ---- tests ---- */

#define DENIED "org.hvtimer1.Error.AccessDenied"

/* A value that is read after one was written is that one, however long polkit thinks. What may be
 * read is asked once, until polkit says that things have changed. */
static void test_order(void)
{
    struct polkit polkit;
    struct call set = {0}, get = {0};
    g_autoptr(GError) error = NULL;

    polkit_up(&polkit);
    g_autoptr(GDBusConnection) other = rig_connect(&polkit.rig, OTHER);
    start_set(&set, other, 20000, G_DBUS_CALL_FLAGS_NONE);
    start_get(&get, other);
    GDBusMethodInvocation *question =
        await_question(&polkit, other, "org.hvtimer1.manage", "m0", 0, NULL);
    assert_period(&polkit, 0); /* others are not kept waiting; this one is */
    g_assert_true(g_queue_is_empty(&polkit.questions));
    answer(question, TRUE, FALSE);
    answer(await_question(&polkit, other, "org.hvtimer1.monitor", "m0", 0, NULL), TRUE, FALSE);
    g_assert_cmpuint(await_value(&get), ==, 20000);
    g_assert_true(set.done);
    g_assert_no_error(set.error);
    clear(&set);

    start_get(&get, other);
    g_assert_cmpuint(await_value(&get), ==, 20000);
    start_set(&set, other, 30000, G_DBUS_CALL_FLAGS_NONE);
    answer(await_question(&polkit, other, "org.hvtimer1.manage", "m0", 0, NULL), FALSE, FALSE);
    await_error(&set, DENIED, "polkit does not grant it");

    g_dbus_connection_emit_signal(polkit.rig.fixture.connection, NULL,
                                  "/org/freedesktop/PolicyKit1/Authority",
                                  "org.freedesktop.PolicyKit1.Authority", "Changed", NULL, &error);
    g_assert_no_error(error);
    assert_period(&polkit, 20000); /* its answer comes behind the signal */
    start_get(&get, other);
    answer(await_question(&polkit, other, "org.hvtimer1.monitor", "m0", 0, NULL), FALSE, TRUE);
    await_error(&get, DENIED, "administrator's password");
    polkit_down(&polkit);
}

/* A password is asked for only if the caller can have it typed, and no more once it has gone. */
static void test_caller_leaves(void)
{
    struct polkit polkit;
    struct call set = {0};
    g_autofree char *cancellation = NULL;

    polkit_up(&polkit);
    g_autoptr(GDBusConnection) other = rig_connect(&polkit.rig, OTHER);
    start_set(&set, other, 20000, G_DBUS_CALL_FLAGS_ALLOW_INTERACTIVE_AUTHORIZATION);
    GDBusMethodInvocation *question =
        await_question(&polkit, other, "org.hvtimer1.manage", "m0", 1, &cancellation);
    g_assert_cmpstr(cancellation, !=, "");
    g_dbus_connection_close_sync(other, NULL, NULL);
    test_wait_until(PATIENCE_SECONDS, set.done);
    clear(&set);
    test_wait_until(PATIENCE_SECONDS, polkit.called_off != NULL);
    g_assert_cmpstr(polkit.called_off, ==, cancellation);
    answer(question, TRUE, FALSE); /* too late */
    assert_period(&polkit, 0);
    polkit_down(&polkit);
}

/* Root, and who is the daemon, need no polkit. */
static void test_not_asked(void)
{
    struct polkit polkit;

    polkit_up(&polkit);
    rig_done(&polkit.rig, "root", "hvtimerctl set m0 EmulatedTimerPeriod 20000");
    rig_done(&polkit.rig, DAEMON, "hvtimerctl set m0 EmulatedTimerPeriod 30000");
    assert_period(&polkit, 30000);
    test_iterate();
    polkit_down(&polkit); /* which finds no question */
}

static void test_partition_ends(void)
{
    struct polkit polkit;
    struct call by_path = {0}, by_id = {0};

    polkit_up(&polkit);
    g_autoptr(GDBusConnection) other = rig_connect(&polkit.rig, OTHER);
    g_autoptr(GDBusConnection) another = rig_connect(&polkit.rig, OTHER);
    start_set(&by_path, other, 20000, G_DBUS_CALL_FLAGS_NONE);
    GDBusMethodInvocation *first =
        await_question(&polkit, other, "org.hvtimer1.manage", "m0", 0, NULL);
    start_get(&by_id, another);
    GDBusMethodInvocation *second =
        await_question(&polkit, another, "org.hvtimer1.monitor", "m0", 0, NULL);
    fixture_reconfigure(&polkit.rig.fixture,
                        "{\"models\": [\"m1\"], \"engine\": {\"priority\": 0}}");
    test_wait_until(PATIENCE_SECONDS,
                    fixture_run(&polkit.rig.fixture, NULL, "hvtimerctl status m0") == 3);
    answer(first, TRUE, FALSE);
    await_error(&by_path, "org.hvtimer1.Error.InvalidPartitionId", "ended");
    answer(second, TRUE, FALSE);
    await_error(&by_id, "org.hvtimer1.Error.InvalidPartitionId", "ended");
    polkit_down(&polkit);
}

static void test_polkit_errs(void)
{
    struct polkit polkit;
    struct call set = {0};

    polkit_up(&polkit);
    g_autoptr(GDBusConnection) other = rig_connect(&polkit.rig, MEMBER);
    start_set(&set, other, 20000, G_DBUS_CALL_FLAGS_NONE);
    g_dbus_method_invocation_return_error_literal(
        await_question(&polkit, other, "org.hvtimer1.manage", "m0", 0, NULL), G_DBUS_ERROR,
        G_DBUS_ERROR_FAILED, "out of order");
    await_error(&set, DENIED, "out of order"); /* the group is of no use where there is a polkit */
    assert_period(&polkit, 0);
    polkit_down(&polkit);
}

/* One that asks and asks is told to wait, and does no harm. */
static void test_flood(void)
{
    struct polkit polkit;
    struct call calls[400] = {0};
    guint limited = 0;

    polkit_up(&polkit);
    g_autoptr(GDBusConnection) other = rig_connect(&polkit.rig, OTHER);
    for (size_t i = 0; i < G_N_ELEMENTS(calls); i++) {
        start_get(&calls[i], other);
    }
    GDBusMethodInvocation *question =
        await_question(&polkit, other, "org.hvtimer1.monitor", "m0", 0, NULL);
    test_wait_until(PATIENCE_SECONDS, calls[G_N_ELEMENTS(calls) - 1].done);
    answer(question, TRUE, FALSE);
    for (size_t i = 0; i < G_N_ELEMENTS(calls); i++) {
        test_wait_until(PATIENCE_SECONDS, calls[i].done);
        limited += g_error_matches(calls[i].error, G_DBUS_ERROR, G_DBUS_ERROR_LIMITS_EXCEEDED);
        g_assert_true(calls[i].reply != NULL ||
                      calls[i].error->code == G_DBUS_ERROR_LIMITS_EXCEEDED);
        clear(&calls[i]);
    }
    g_assert_cmpuint(limited, ==, G_N_ELEMENTS(calls) - 256);
    polkit_down(&polkit);
}

/* Nor does one whose calls are large: while polkit is asked they would all be in locked memory. */
static void test_large(void)
{
    struct polkit polkit;
    struct call get = {0}, large = {0};
    g_autofree char *name = g_strnfill(8 * 1024 * 1024, 'x');

    polkit_up(&polkit);
    g_autoptr(GDBusConnection) other = rig_connect(&polkit.rig, OTHER);
    start_get(&get, other);
    GDBusMethodInvocation *question =
        await_question(&polkit, other, "org.hvtimer1.monitor", "m0", 0, NULL);
    start(&large, other, "/org/hvtimer1", "org.hvtimer1.Manager", "LookupPartition",
          g_variant_new("(s)", name), G_DBUS_CALL_FLAGS_NONE);
    await_error(&large, "org.freedesktop.DBus.Error.LimitsExceeded", "4096 bytes");
    answer(question, TRUE, FALSE);
    await_value(&get);
    polkit_down(&polkit);
}

/* Who keeps password prompts open gets no more of them, and all that takes none. */
static void test_passwords(void)
{
    struct call calls[9] = {0};
    g_autoptr(GPtrArray) others = g_ptr_array_new_with_free_func(g_object_unref);
    g_autoptr(GPtrArray) questions = g_ptr_array_new();
    struct polkit polkit;

    polkit_up(&polkit);
    for (guint i = 0; i < G_N_ELEMENTS(calls); i++) {
        g_ptr_array_add(others, rig_connect(&polkit.rig, OTHER));
        start_set(&calls[i], others->pdata[i], 20000,
                  G_DBUS_CALL_FLAGS_ALLOW_INTERACTIVE_AUTHORIZATION);
        g_ptr_array_add(questions, await_question(&polkit, others->pdata[i], "org.hvtimer1.manage",
                                                  "m0", i < 8, NULL));
    }
    for (guint i = 0; i < G_N_ELEMENTS(calls); i++) {
        answer(questions->pdata[i], TRUE, FALSE);
        test_wait_until(PATIENCE_SECONDS, calls[i].done);
        g_assert_no_error(calls[i].error);
        clear(&calls[i]);
    }
    polkit_down(&polkit);
}

/* It does not wait for polkit to end, and who waited is told. */
static void test_daemon_ends(void)
{
    struct polkit polkit;
    struct call set = {0};

    polkit_up(&polkit);
    g_autoptr(GDBusConnection) other = rig_connect(&polkit.rig, OTHER);
    start_set(&set, other, 20000, G_DBUS_CALL_FLAGS_NONE);
    GDBusMethodInvocation *question =
        await_question(&polkit, other, "org.hvtimer1.manage", "m0", 0, NULL);
    g_assert_cmpint(fixture_stop_daemon(&polkit.rig.fixture), ==, 0);
    test_wait_until(PATIENCE_SECONDS, set.done);
    g_assert_nonnull(set.error);
    clear(&set);
    answer(question, TRUE, FALSE);
    polkit_down(&polkit);
}

void add_question_tests(void)
{
    g_test_add_func("/access/question/not-asked", test_not_asked);
    g_test_add_func("/access/question/order", test_order);
    g_test_add_func("/access/question/caller-leaves", test_caller_leaves);
    g_test_add_func("/access/question/partition-ends", test_partition_ends);
    g_test_add_func("/access/question/polkit-errs", test_polkit_errs);
    g_test_add_func("/access/question/flood", test_flood);
    g_test_add_func("/access/question/large", test_large);
    g_test_add_func("/access/question/passwords", test_passwords);
    g_test_add_func("/access/question/daemon-ends", test_daemon_ends);
}
