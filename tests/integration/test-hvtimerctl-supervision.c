/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * rtc and pit of hvtimerctl, and what it shows of them. Without a VM there is no timer to
 * supervise: a stand-in for hvtimerd says what each test wants, and notes what it is asked.
 */
#include "common/hvtimer-dbus.h"
#include "common/status.h"
#include "tests/integration/test-hvtimerctl.h"
#include "tests/support/test.h"
#include <string.h>

struct stand_in {
    struct fixture fixture;
    const char *properties; /* a{sv}, as text; others are "" or 0 */
    gboolean refuses;       /* Supervise */
    GString *asked;         /* the arguments of each Supervise */
    GDBusInterfaceInfo partition;
    guint objects[2];
};

static GVariant *all_zero_statistics(void)
{
    static const char *const keys[] = {
        "due",     "injected",        "acknowledged",    "in_flight",       "backlog",
        "skipped", "clock_behind_ns", "lateness_p50_ns", "lateness_p99_ns", "lateness_max_ns"};
    g_auto(GVariantBuilder) builder = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("a{st}"));

    for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
        g_variant_builder_add(&builder, "{st}", keys[i], (guint64)0);
    }
    return g_variant_new("(a{st})", &builder);
}

static void on_call(G_GNUC_UNUSED GDBusConnection *connection, G_GNUC_UNUSED const char *sender,
                    G_GNUC_UNUSED const char *path, G_GNUC_UNUSED const char *interface,
                    const char *method, GVariant *parameters, GDBusMethodInvocation *invocation,
                    gpointer user_data)
{
    struct stand_in *s = user_data;

    if (g_str_equal(method, "LookupPartition")) {
        g_dbus_method_invocation_return_value(invocation, g_variant_new("(t)", (guint64)7));
    } else if (g_str_equal(method, "GetStatistics")) {
        g_dbus_method_invocation_return_value(invocation, all_zero_statistics());
    } else if (g_str_equal(method, "Supervise") && s->refuses) {
        g_dbus_method_invocation_return_error(
            invocation, HV_STATUS_ERROR, HV_STATUS_OPERATION_DENIED, "not in \033[2Jthis house");
    } else {
        g_assert_cmpstr(method, ==, "Supervise");
        g_variant_print_string(parameters, s->asked, FALSE);
        g_dbus_method_invocation_return_value(invocation, NULL);
    }
}

static GVariant *on_get(G_GNUC_UNUSED GDBusConnection *connection, G_GNUC_UNUSED const char *sender,
                        G_GNUC_UNUSED const char *path, G_GNUC_UNUSED const char *interface,
                        const char *name, G_GNUC_UNUSED GError **error, gpointer user_data)
{
    static const char policy[] = "{'policy': <'catchup'>, 'threshold': <uint32 1>, 'slew': "
                                 "<uint32 100>, 'limit_ms': <uint32 5>, 'on_resume': <'freeze'>}";
    const struct stand_in *s = user_data;
    GDBusPropertyInfo *info =
        g_dbus_interface_info_lookup_property(hvt_dbus_partition_interface_info(), name);
    g_autoptr(GVariant) given = g_variant_new_parsed(s->properties);
    GVariant *value = g_variant_lookup_value(given, name, NULL);

    if (value != NULL) {
        return value;
    }
    if (g_str_equal(name, "Policy")) {
        return g_variant_new_parsed(policy);
    }
    return g_variant_new_parsed(g_str_equal(info->signature, "s")   ? "''"
                                : g_str_equal(info->signature, "d") ? "0.0"
                                : g_str_equal(info->signature, "u") ? "uint32 0"
                                : g_str_equal(info->signature, "t") ? "uint64 0"
                                                                    : "@a{sv} {}");
}

/* Without what a daemon had not that knew of no supervision. */
static void forget_supervision(GDBusInterfaceInfo *info)
{
    static GDBusPropertyInfo *properties[32];
    static GDBusMethodInfo *methods[32];
    size_t n = 0;

    for (size_t i = 0; info->properties[i] != NULL; i++) {
        if (!g_str_equal(info->properties[i]->name, "Supervision")) {
            g_assert_cmpuint(n, <, G_N_ELEMENTS(properties) - 1);
            properties[n++] = info->properties[i];
        }
    }
    n = 0;
    for (size_t i = 0; info->methods[i] != NULL; i++) {
        if (!g_str_equal(info->methods[i]->name, "Supervise")) {
            g_assert_cmpuint(n, <, G_N_ELEMENTS(methods) - 1);
            methods[n++] = info->methods[i];
        }
    }
    info->properties = properties;
    info->methods = methods;
}

static void stand_in_up(struct stand_in *s, gboolean old)
{
    static const GDBusInterfaceVTable vtable = {.method_call = on_call, .get_property = on_get};
    g_autoptr(GError) error = NULL;

    up(&s->fixture);
    g_assert_cmpint(fixture_stop_daemon(&s->fixture), ==, 0);
    s->asked = g_string_new(NULL);
    s->partition = *hvt_dbus_partition_interface_info();
    s->partition.ref_count = -1; /* it is not GLib's to free */
    if (old) {
        forget_supervision(&s->partition);
    }

    GDBusConnection *connection = s->fixture.connection;

    s->objects[0] = g_dbus_connection_register_object(
        connection, "/org/hvtimer1", hvt_dbus_manager_interface_info(), &vtable, s, NULL, &error);
    g_assert_no_error(error);
    s->objects[1] = g_dbus_connection_register_object(connection, "/org/hvtimer1/partition/7",
                                                      &s->partition, &vtable, s, NULL, &error);
    g_assert_no_error(error);

    g_autoptr(GVariant) reply = g_dbus_connection_call_sync(
        connection, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus",
        "RequestName", g_variant_new("(su)", "org.hvtimer1", 4u /* do not queue */), NULL,
        G_DBUS_CALL_FLAGS_NONE, -1, NULL, &error);

    g_assert_no_error(error);
    test_wait_until(10, s->fixture.served);
}

static void stand_in_down(struct stand_in *s)
{
    for (size_t i = 0; i < G_N_ELEMENTS(s->objects); i++) {
        g_dbus_connection_unregister_object(s->fixture.connection, s->objects[i]);
    }
    g_string_free(s->asked, TRUE);
    fixture_down(&s->fixture);
}

static void on_ended(GObject *process, GAsyncResult *result, gpointer user_data)
{
    char **output = user_data;
    g_autoptr(GError) error = NULL;

    g_subprocess_communicate_utf8_finish(G_SUBPROCESS(process), result, output, NULL, &error);
    g_assert_no_error(error);
}

/* As fixture_run(); meanwhile it is answered. */
static int ask(char **ret_output, const char *command)
{
    const char *directory = g_getenv("HVTIMER_BUILDDIR");
    g_autofree char *program =
        g_build_filename(directory != NULL ? directory : ".", "hvapi", "hvtimerctl", NULL);
    g_autofree char *line = g_strdup_printf("%s %s", program, command);
    g_autofree char *output = NULL;
    g_auto(GStrv) argv = NULL;
    g_autoptr(GError) error = NULL;

    g_assert_true(g_shell_parse_argv(line, NULL, &argv, &error));

    g_autoptr(GSubprocess) process =
        g_subprocess_newv((const char *const *)argv,
                          G_SUBPROCESS_FLAGS_STDOUT_PIPE | G_SUBPROCESS_FLAGS_STDERR_MERGE, &error);

    g_assert_no_error(error);
    g_subprocess_communicate_utf8_async(process, NULL, NULL, on_ended, &output);
    test_wait_until(20, output != NULL);
    g_test_message("%s -> %d: %s", command, g_subprocess_get_exit_status(process), output);
    *ret_output = g_steal_pointer(&output);
    return g_subprocess_get_exit_status(process);
}

/* What is asked for is what the daemon is asked. */
static void test_supervise(void)
{
    static const char *const rows[][2] = {
        {"rtc guest slew", "('rtc', 'slew', false, 1)"},
        {"rtc guest observe --live", "('rtc', 'observe', false, 1)"},
        {"rtc guest slew --force --config", "('rtc', 'slew', true, 2)"},
        {"rtc --config guest off --live", "('rtc', 'off', false, 3)"},
        {"pit guest slew --force", "('pit', 'slew', true, 1)"},
        {"pit guest observe --config", "('pit', 'observe', false, 2)"},
        {"pit guest off", "('pit', 'off', false, 1)"},
    };
    struct stand_in s = {.properties = "@a{sv} {}"};

    stand_in_up(&s, FALSE);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *output = NULL;

        g_string_truncate(s.asked, 0);
        g_assert_cmpint(ask(&output, rows[i][0]), ==, DONE);
        g_assert_cmpstr(output, ==, "");
        g_assert_cmpstr(s.asked->str, ==, rows[i][1]);
    }
    s.refuses = TRUE;

    g_autofree char *refusal = NULL;

    g_assert_cmpint(ask(&refusal, "rtc guest slew"), ==, UNSUPPORTED);
    g_assert_nonnull(strstr(refusal, "not in ?[2Jthis house"));
    stand_in_down(&s);
}

/* With --json, what it has led to. */
static void test_supervise_json(void)
{
    struct stand_in s = {
        .properties =
            "{'Injector': <'rtc'>, 'BaseTimer': <'qemu-rtc'>, 'PeriodNs': <15625000.0>,"
            " 'Supervision': <{'timer': <'rtc'>, 'mode': <'slew'>, 'force': <true>, 'effective':"
            " <'observe'>, 'learned': <'trace'>, 'routing': <'ioapic'>, 'colour': <'red'>}>}"};
    g_autofree char *output = NULL;

    stand_in_up(&s, FALSE);
    g_assert_cmpint(ask(&output, "--json rtc guest slew --force"), ==, DONE);
    g_autoptr(Json) status = json_tokener_parse(output);
    g_assert_nonnull(status);
    assert_text(status, "injector", "rtc");
    assert_text(status, "base_timer", "qemu-rtc");
    g_assert_cmpstr(
        json_object_to_json_string_ext(member(status, "supervision"), JSON_C_TO_STRING_PLAIN), ==,
        "{\"timer\":\"rtc\",\"mode\":\"slew\",\"force\":true,\"effective\":\"observe\","
        "\"learned\":\"trace\",\"routing\":\"ioapic\"}");
    stand_in_down(&s);
}

/* "" if there is no such object. */
static char *supervision_json(void)
{
    g_autofree char *output = NULL;

    g_assert_cmpint(ask(&output, "status guest --json"), ==, DONE);
    g_autoptr(Json) status = json_tokener_parse(output);
    g_assert_nonnull(status);
    return g_strdup(
        has_member(status, "supervision")
            ? json_object_to_json_string_ext(member(status, "supervision"), JSON_C_TO_STRING_PLAIN)
            : "");
}

/* The lines of the status from that of the timer to that of the policy, each gap one blank. */
static char *supervision_text(void)
{
    g_autofree char *output = NULL;
    g_autoptr(GRegex) gap = g_regex_new(" +", 0, 0, NULL);

    g_assert_cmpint(ask(&output, "status guest"), ==, DONE);

    char *begin = strstr(output, "\nEmulatedTimerControl");
    char *end = strstr(output, "\nPolicy");

    g_assert_true(begin != NULL && end > begin);
    begin = strchr(begin + 1, '\n');
    return g_regex_replace_literal(gap, begin, end - begin, 0, " ", 0, NULL);
}

/* What is left out, or the daemon has not told, is left out. */
static void test_supervision_shown(void)
{
    static const struct {
        const char *properties, *json, *text;
    } rows[] = {
        {"{'PeriodNs': <15625000.0>, 'Supervision': <{'timer': <'rtc'>, 'mode': <'slew'>, 'force':"
         " <false>, 'effective': <'slew'>, 'learned': <'trace'>, 'routing': <'ioapic'>}>}",
         "{\"timer\":\"rtc\",\"mode\":\"slew\",\"force\":false,\"effective\":\"slew\","
         "\"learned\":\"trace\",\"routing\":\"ioapic\"}",
         "\nRTC slew, 64 Hz known from trace, by the IOAPIC"},
        {"{'PeriodNs': <54925415.97>, 'Supervision': <{'timer': <'pit'>, 'mode': <'slew'>, 'force':"
         " <true>, 'effective': <'observe'>, 'learned': <'acknowledgements'>, 'routing':"
         " <'pic'>}>}",
         "{\"timer\":\"pit\",\"mode\":\"slew\",\"force\":true,\"effective\":\"observe\","
         "\"learned\":\"acknowledgements\",\"routing\":\"pic\"}",
         "\nPIT slew by force, 18.2065 Hz known from acknowledgements, by the PIC"
         "\n in force observe"},
        {"{'Supervision': <{'timer': <'rtc'>, 'mode': <'observe'>, 'force': <false>, 'effective':"
         " <'observe'>, 'learned': <'no'>, 'routing': <'unknown'>}>}",
         "{\"timer\":\"rtc\",\"mode\":\"observe\",\"force\":false,\"effective\":\"observe\","
         "\"learned\":\"no\",\"routing\":\"unknown\"}",
         "\nRTC observe, rate not known yet, by a route not known"},
        {"{'Supervision': <{'timer': <'rtc'>, 'mode': <'slew'>, 'learned': <'trace'>, 'routing':"
         " <'none'>}>}",
         "{\"timer\":\"rtc\",\"mode\":\"slew\",\"learned\":\"trace\",\"routing\":\"none\"}",
         "\nRTC slew, off in the guest, known from trace, masked by the guest"},
        {"{'Supervision': <{'timer': <'rtc'>, 'mode': <'slew'>, 'force': <uint32 5>}>}",
         "{\"timer\":\"rtc\",\"mode\":\"slew\"}", "\nRTC slew"},
        {"{'Supervision': <{'timer': <'none'>, 'mode': <'off'>, 'force': <false>, 'effective':"
         " <'off'>, 'learned': <'no'>, 'routing': <'unknown'>}>}",
         "", ""},
        {"{'Supervision': <@a{sv} {}>}", "", ""},
        {"{'Supervision': <{'timer': <uint32 5>}>}", "", ""},
    };
    struct stand_in s = {0};

    stand_in_up(&s, FALSE);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        s.properties = rows[i].properties;

        g_autofree char *json = supervision_json();
        g_autofree char *text = supervision_text();

        g_assert_cmpstr(json, ==, rows[i].json);
        g_assert_cmpstr(text, ==, rows[i].text);
    }
    stand_in_down(&s);
}

/* Who names a guest, or its process, has no say over the terminal: the escapes are ESC, and CSI as
 * one character, which JSON may hold as it is. */
static void test_hostile_text(void)
{
    struct stand_in s = {.properties = "{'Name': <'a\\u001b[31mb\\u009bc'>,"
                                       " 'Problem': <'two\\nlines'>}"};
    g_autofree char *output = NULL;

    stand_in_up(&s, FALSE);
    g_assert_cmpint(ask(&output, "status guest"), ==, DONE);
    g_assert_nonnull(strstr(output, " a?[31mb?c\n"));
    g_assert_nonnull(strstr(output, " two lines\n"));
    stand_in_down(&s);
}

/* A daemon that knows of no supervision is shown as ever, and does none. */
static void test_old_daemon(void)
{
    struct stand_in s = {.properties = "@a{sv} {}"};

    stand_in_up(&s, TRUE);

    g_autofree char *json = supervision_json();
    g_autofree char *text = supervision_text();
    g_autofree char *refusal = NULL;

    g_assert_cmpstr(json, ==, "");
    g_assert_cmpstr(text, ==, "");
    g_assert_cmpint(ask(&refusal, "rtc guest slew"), ==, UNSUPPORTED);
    g_assert_nonnull(strstr(refusal, "Supervise"));
    stand_in_down(&s);
}

void add_supervision_tests(void)
{
    g_test_add_func("/hvtimerctl/supervise", test_supervise);
    g_test_add_func("/hvtimerctl/supervise/json", test_supervise_json);
    g_test_add_func("/hvtimerctl/supervision-shown", test_supervision_shown);
    g_test_add_func("/hvtimerctl/hostile-text", test_hostile_text);
    g_test_add_func("/hvtimerctl/old-daemon", test_old_daemon);
}
