/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* hvtimerctl monitor as programs read it: with the real hvtimerd, and with one whose figures and
 * properties the test says. */
#include "common/hvtimer-dbus.h"
#include "tests/support/fixture.h"
#include "tests/support/test.h"
#include <hvapi/hvapi.h>
#include <json-c/json.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#define PATIENCE_SECONDS 20

static const char config[] = "{\"models\": [\"m0\", \"m1\"], \"engine\": {\"priority\": 0}}";

typedef struct json_object Json;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Json, json_object_put)

/* ---- the one that is tested ---- */

struct monitor {
    GSubprocess *process;
    GDataInputStream *output;
    GPtrArray *lines;
    guint next; /* the first line that was not looked at */
    gboolean ended;
};

static void die_with_parent(G_GNUC_UNUSED gpointer user_data)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static void read_line(struct monitor *monitor);

static void on_line(G_GNUC_UNUSED GObject *source, GAsyncResult *result, gpointer user_data)
{
    struct monitor *monitor = user_data;
    char *line = g_data_input_stream_read_line_finish(monitor->output, result, NULL, NULL);

    if (line == NULL) {
        monitor->ended = TRUE;
        return;
    }
    g_ptr_array_add(monitor->lines, line);
    read_line(monitor);
}

static void read_line(struct monitor *monitor)
{
    g_data_input_stream_read_line_async(monitor->output, G_PRIORITY_DEFAULT, NULL, on_line,
                                        monitor);
}

static char *find_program(void)
{
    const char *directory = g_getenv("HVTIMER_BUILDDIR");

    return g_build_filename(directory != NULL ? directory : ".", "hvapi/hvtimerctl", NULL);
}

/* @options: as for a shell. */
static void monitor_up(struct monitor *monitor, const char *options)
{
    g_autofree char *program = find_program();
    g_autofree char *line = g_strdup_printf("%s monitor -i 0.1 %s", program, options);
    g_autoptr(GSubprocessLauncher) launcher =
        g_subprocess_launcher_new(G_SUBPROCESS_FLAGS_STDOUT_PIPE);
    g_autoptr(GError) error = NULL;
    g_auto(GStrv) argv = NULL;

    g_assert_true(g_shell_parse_argv(line, NULL, &argv, NULL));
    g_subprocess_launcher_set_child_setup(launcher, die_with_parent, NULL, NULL);
    *monitor = (struct monitor){.lines = g_ptr_array_new_with_free_func(g_free)};
    monitor->process = g_subprocess_launcher_spawnv(launcher, (const char *const *)argv, &error);
    g_assert_no_error(error);
    monitor->output = g_data_input_stream_new(g_subprocess_get_stdout_pipe(monitor->process));
    read_line(monitor);
}

/* Sends it @signal, 0 for none. Returns its exit status. */
static int monitor_down(struct monitor *monitor, int signal)
{
    if (signal != 0) {
        g_subprocess_send_signal(monitor->process, signal);
    }
    test_wait_until(PATIENCE_SECONDS, monitor->ended);
    g_assert_true(g_subprocess_wait(monitor->process, NULL, NULL));
    g_assert_true(g_subprocess_get_if_exited(monitor->process));
    int status = g_subprocess_get_exit_status(monitor->process);
    g_object_unref(monitor->output);
    g_object_unref(monitor->process);
    g_ptr_array_unref(monitor->lines);
    return status;
}

/* The next line that matches @pattern, a regular expression; those before it are passed over. */
static const char *next_line(struct monitor *monitor, const char *pattern)
{
    gint64 deadline = g_get_monotonic_time() + PATIENCE_SECONDS * G_USEC_PER_SEC;

    for (;;) {
        while (monitor->next < monitor->lines->len) {
            const char *line = monitor->lines->pdata[monitor->next++];

            if (g_regex_match_simple(pattern, line, 0, 0)) {
                return line;
            }
        }
        if (g_get_monotonic_time() > deadline || monitor->ended) {
            g_ptr_array_add(monitor->lines, NULL);
            g_autofree char *all = g_strjoinv("\n", (char **)monitor->lines->pdata);
            g_error("no line like '%s' has come in time, but:\n%s", pattern, all);
        }
        test_iterate();
    }
}

/* The next event @event of partition @name ("": any, or none). (transfer full) */
static Json *next_event(struct monitor *monitor, const char *event, const char *name)
{
    g_autofree char *pattern =
        g_strdup_printf("\"event\":\"%s\".*%s%s", event, *name != '\0' ? "\"name\":\"" : "", name);
    Json *object = json_tokener_parse(next_line(monitor, pattern));

    g_assert_nonnull(object);
    return object;
}

static const char *text(Json *object, const char *key)
{
    Json *value;

    g_assert_true(json_object_object_get_ex(object, key, &value));
    return json_object_get_string(value);
}

static gint64 number(Json *object, const char *key)
{
    Json *value;

    g_assert_true(json_object_object_get_ex(object, key, &value));
    return json_object_get_int64(value);
}

/* ---- with the real hvtimerd ---- */

static void up(struct fixture *f)
{
    HV_PARTITION_ID id;

    f->quiet = TRUE;
    fixture_up(f, config);
    test_wait_until(10, hvapi_lookup_partition("m1", &id) == HV_STATUS_SUCCESS);
}

static void hold(struct fixture *f, guint64 microseconds)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GVariant) reply = g_dbus_connection_call_sync(
        f->connection, "org.hvtimer1", "/org/hvtimer1/partition/1", "org.hvtimer1.Model", "Hold",
        g_variant_new("(t)", microseconds), NULL, G_DBUS_CALL_FLAGS_NONE, -1, NULL, &error);

    g_assert_no_error(error);
}

static int ctl(struct fixture *f, const char *arguments)
{
    return fixture_run(f, NULL, "hvtimerctl %s", arguments);
}

static void assert_time(const char *time)
{
    g_autoptr(GDateTime) parsed = g_date_time_new_from_iso8601(time, NULL);
    g_autoptr(GDateTime) now = g_date_time_new_now_local();

    g_assert_nonnull(parsed);
    g_assert_cmpint(ABS(g_date_time_difference(now, parsed)), <, 60 * G_TIME_SPAN_SECOND);
    g_assert_true(g_regex_match_simple("^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{3}"
                                       "[+-]\\d\\d:\\d\\d$",
                                       time, 0, 0));
}

/* The life of a timer. */
static void test_json(void)
{
    struct fixture f = {0};
    struct monitor m;

    up(&f);
    monitor_up(&m, "--json");
    g_autoptr(Json) daemon = next_event(&m, "daemon", "");
    g_assert_cmpstr(text(daemon, "change"), ==, "appeared");
    assert_time(text(daemon, "time"));
    g_autoptr(Json) present = next_event(&m, "present", "m0");
    g_assert_cmpint(number(present, "id"), ==, 1);
    g_assert_cmpstr(text(present, "uuid"), ==, "");
    g_assert_cmpstr(text(present, "state"), ==, "running");
    g_assert_cmpstr(text(present, "source"), ==, "model");
    g_assert_cmpstr(text(present, "enabled"), ==, "false");
    json_object_put(next_event(&m, "present", "m1"));

    g_assert_cmpint(ctl(&f, "enable m0 --period 976.5625us --vector 0x50"), ==, 0);
    g_autoptr(Json) timer = next_event(&m, "timer", "m0");
    g_assert_cmpstr(text(timer, "enabled"), ==, "true");
    g_assert_cmpint(number(timer, "emulated_timer_period"), ==, 9766);
    g_assert_cmpstr(text(timer, "emulated_timer_control"), ==, "0x0000000000001050");
    g_assert_cmpstr(text(timer, "period_ns"), ==, "976562.5");

    hold(&f, 60 * G_USEC_PER_SEC);
    g_autoptr(Json) began = next_event(&m, "backlog", "m0");
    g_assert_cmpstr(text(began, "change"), ==, "began");
    g_assert_cmpint(number(began, "backlog"), >, 1);
    g_assert_cmpint(number(began, "clock_behind_us"), >, 1000);
    g_assert_cmpint(ctl(&f, "reset-backlog m0"), ==, 0);
    g_autoptr(Json) lost = next_event(&m, "ticks-lost", "m0");
    g_assert_cmpint(number(lost, "lost"), >, 0);
    g_assert_cmpint(number(lost, "skipped"), >=, number(lost, "lost"));

    g_assert_cmpint(ctl(&f, "policy m0 --slew 50"), ==, 0);
    g_autoptr(Json) policy = next_event(&m, "policy", "m0");
    Json *words;
    g_assert_true(json_object_object_get_ex(policy, "policy", &words));
    g_assert_cmpint(number(words, "slew"), ==, 50);
    g_assert_cmpstr(text(words, "name"), ==, "catchup");
    g_assert_cmpint(ctl(&f, "disable m0"), ==, 0);
    g_autoptr(Json) off = next_event(&m, "timer", "m0");
    g_assert_cmpstr(text(off, "enabled"), ==, "false");
    g_assert_cmpint(monitor_down(&m, SIGTERM), ==, 0);
    fixture_down(&f);
}

static int set_route(G_GNUC_UNUSED uint64_t control, G_GNUC_UNUSED void *opaque)
{
    return 0;
}

/* One that comes, stands still, and goes. */
static void test_partition(void)
{
    int tick = eventfd(0, EFD_CLOEXEC);
    const hvapi_vmm_config vmm = {.name = "old Windows",
                                  .uuid = "4dea22b3-1d52-d8f3-2516-782e98ab3fa0",
                                  .tick_fd = tick,
                                  .ack_fd = -1,
                                  .set_route = set_route};
    struct fixture f = {0};
    struct monitor all, one, by_uuid;
    hvapi_vmm *handle;
    HV_PARTITION_ID id;

    up(&f);
    monitor_up(&all, "");
    monitor_up(&one, "--domain 'old Windows'");
    monitor_up(&by_uuid, "--json --domain 4DEA22B3-1d52-d8f3-2516-782e98ab3fa0");
    next_line(&all, "^\\S+ m1 present state=running source=model pid=0 injector=model "
                    "enabled=false period_ns=0$");
    next_line(&one, " - daemon change=appeared$");
    json_object_put(next_event(&by_uuid, "daemon", ""));
    g_assert_cmpuint(hvapi_vmm_hand_over(&vmm, &handle, &id), ==, HV_STATUS_SUCCESS);
    next_line(&all, "^\\S+ \"old Windows\" partition-added state=(shutoff|running) source=vmm ");
    g_assert_cmpint(ctl(&f, "enable m0 --period 10ms --vector 0x50"), ==, 0);
    next_line(&all, "^\\S+ m0 timer enabled=true period_ns=10000000 ");
    g_assert_cmpuint(hvapi_vmm_set_running(handle, FALSE), ==, HV_STATUS_SUCCESS);
    next_line(&all, "^\\S+ \"old Windows\" state state=paused$");
    hvapi_vmm_take_back(handle);
    next_line(&all, "^\\S+ \"old Windows\" partition-removed$");
    next_line(&one, "^\\S+ \"old Windows\" partition-removed$");
    json_object_put(next_event(&by_uuid, "partition-removed", "old Windows"));
    for (guint i = 1; i < one.lines->len; i++) {
        g_assert_nonnull(strstr(one.lines->pdata[i], "\"old Windows\""));
        g_assert_nonnull(strstr(by_uuid.lines->pdata[i], "\"old Windows\""));
    }
    g_assert_cmpint(monitor_down(&all, SIGINT), ==, 0);
    g_assert_cmpint(monitor_down(&one, SIGTERM), ==, 0);
    g_assert_cmpint(monitor_down(&by_uuid, SIGHUP), ==, 0);
    close(tick);
    fixture_down(&f);
}

/* It goes away, and comes back with what it has. */
static void test_restart(void)
{
    struct fixture f = {0};
    struct monitor m;

    up(&f);
    monitor_up(&m, "");
    next_line(&m, " m1 present ");
    fixture_kill_daemon(&f);
    next_line(&m, " - daemon change=vanished$");
    fixture_start_daemon(&f);
    next_line(&m, " - daemon change=appeared$");
    guint from = m.next;
    next_line(&m, " m0 (present|partition-added) ");
    m.next = from; /* those that come now have no order */
    next_line(&m, " m1 (present|partition-added) ");
    g_assert_cmpint(fixture_stop_daemon(&f), ==, 0);
    next_line(&m, " - daemon change=vanished$");
    g_assert_cmpint(monitor_down(&m, SIGTERM), ==, 0);
    /* It can come first, too. */
    monitor_up(&m, "");
    next_line(&m, " - daemon change=vanished$");
    fixture_start_daemon(&f);
    next_line(&m, " - daemon change=appeared$");
    g_assert_cmpint(monitor_down(&m, SIGTERM), ==, 0);
    fixture_down(&f);
}

/* Nobody reads any more: it ends by itself, without an event. A full disk is an error. */
static void test_output(void)
{
    g_autofree char *output = NULL;
    struct fixture f = {0};

    up(&f);
    g_autofree char *program = find_program();
    g_assert_cmpint(fixture_run(&f, &output,
                                "bash -c '\"$0\" monitor | head -n 3; echo ${PIPESTATUS[0]}' %s",
                                program),
                    ==, 0);
    g_assert_true(g_regex_match_simple(" daemon .*\\n.* m0 present .*\\n.* m1 present .*\\n0\\n$",
                                       output, 0, 0)); /* and that is all there was to be told */
    g_clear_pointer(&output, g_free);
    g_assert_cmpint(fixture_run(&f, &output, "bash -c '\"$0\" monitor >/dev/full' %s", program), ==,
                    1);
    g_assert_nonnull(strstr(output, "can't write the output"));
    fixture_down(&f);
}

/* ---- with one of the test's own ---- */

struct fake {
    GDBusObjectManagerServer *manager;
    HvtDbusPartition *partition;
    guint name;
    guint64 skipped, backlog, behind_ns;
    guint asked;
    gboolean refuses;
};

static gboolean on_get_statistics(HvtDbusPartition *partition, GDBusMethodInvocation *invocation,
                                  gpointer user_data)
{
    struct fake *fake = user_data;

    fake->asked++;
    if (fake->refuses) {
        g_dbus_method_invocation_return_dbus_error(invocation, "org.hvtimer1.Error.AccessDenied",
                                                   "you may not read");
        return TRUE;
    }
    GVariantBuilder builder = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("a{st}"));
    g_variant_builder_add(&builder, "{st}", "skipped", fake->skipped);
    g_variant_builder_add(&builder, "{st}", "backlog", fake->backlog);
    g_variant_builder_add(&builder, "{st}", "clock_behind_ns", fake->behind_ns);
    hvt_dbus_partition_complete_get_statistics(partition, invocation,
                                               g_variant_builder_end(&builder));
    return TRUE;
}

static void fake_up(struct fake *fake, struct fixture *f)
{
    g_autoptr(GDBusObjectSkeleton) object = g_dbus_object_skeleton_new("/org/hvtimer1/partition/4");

    *fake = (struct fake){.partition = hvt_dbus_partition_skeleton_new()};
    g_object_set(fake->partition, "id", (guint64)4, "name", "vm", "state", "running", "injector",
                 "lapic", "accounting", "closed-loop", "base-timer", "hrtimer", NULL);
    g_signal_connect(fake->partition, "handle-get-statistics", G_CALLBACK(on_get_statistics), fake);
    g_dbus_object_skeleton_add_interface(object, G_DBUS_INTERFACE_SKELETON(fake->partition));
    fake->manager = g_dbus_object_manager_server_new("/org/hvtimer1");
    g_dbus_object_manager_server_export(fake->manager, object);
    g_dbus_object_manager_server_set_connection(fake->manager, f->connection);
    fake->name = g_bus_own_name_on_connection(f->connection, "org.hvtimer1",
                                              G_BUS_NAME_OWNER_FLAGS_NONE, NULL, NULL, NULL, NULL);
}

static void fake_down(struct fake *fake)
{
    g_bus_unown_name(fake->name);
    g_object_unref(fake->manager);
    g_object_unref(fake->partition);
}

/* It has read the figures once more, all of them as they are now. */
static void wait_for_reading(struct fake *fake)
{
    guint asked = fake->asked;

    test_wait_until(PATIENCE_SECONDS, fake->asked >= asked + 2);
}

static void test_figures(void)
{
    struct fixture f = {0};
    struct monitor m;
    struct fake fake;

    up(&f);
    g_assert_cmpint(fixture_stop_daemon(&f), ==, 0);
    fake_up(&fake, &f);
    fake.skipped = 1000; /* lost before anybody looked: no event */
    monitor_up(&m, "");
    next_line(&m, " vm present ");
    wait_for_reading(&fake);
    fake.skipped = 1007;
    fake.behind_ns = 6835937;
    next_line(&m, " vm ticks-lost lost=7 skipped=1007 clock_behind_us=6835.937$");
    fake.backlog = 1; /* one that is due just now: no event */
    wait_for_reading(&fake);
    fake.backlog = 50;
    next_line(&m, " vm backlog change=began backlog=50 ");
    fake.backlog = 20;
    wait_for_reading(&fake);
    fake.backlog = 1;
    next_line(&m, " vm backlog change=cleared backlog=1 ");
    fake.skipped = fake.backlog = 0; /* counted anew */
    wait_for_reading(&fake);
    fake.skipped = 3;
    next_line(&m, " vm ticks-lost lost=3 skipped=3 ");
    g_assert_cmpuint(m.lines->len, ==, 2 + 4); /* and nothing else */
    fake.refuses = TRUE;
    g_assert_cmpint(monitor_down(&m, 0), ==, 5);
    fake_down(&fake);
    fixture_down(&f);
}

static void set_supervision(struct fake *fake, const char *learned)
{
    GVariantBuilder builder = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE_VARDICT);

    g_variant_builder_add(&builder, "{sv}", "timer", g_variant_new_string("rtc"));
    g_variant_builder_add(&builder, "{sv}", "mode", g_variant_new_string("slew"));
    g_variant_builder_add(&builder, "{sv}", "force", g_variant_new_boolean(FALSE));
    g_variant_builder_add(&builder, "{sv}", "learned", g_variant_new_string(learned));
    hvt_dbus_partition_set_supervision(fake->partition, g_variant_builder_end(&builder));
}

static void test_properties(void)
{
    struct fixture f = {0};
    struct monitor m, json;
    struct fake fake;

    up(&f);
    g_assert_cmpint(fixture_stop_daemon(&f), ==, 0);
    fake_up(&fake, &f);
    monitor_up(&m, "");
    monitor_up(&json, "--json");
    next_line(&m, " vm present ");
    json_object_put(next_event(&json, "present", "vm"));
    g_object_set(fake.partition, "base-timer", "vmx-preemption-timer", "base-timer-source", "trace",
                 NULL);
    next_line(&m, " vm injector injector=lapic accounting=closed-loop "
                  "base_timer=vmx-preemption-timer base_timer_source=trace$");
    g_object_set(fake.partition, "accounting", "open-loop", NULL);
    next_line(&m, " vm injector injector=lapic accounting=open-loop ");
    set_supervision(&fake, "trace");
    next_line(&m, " vm supervision timer=rtc mode=slew force=false learned=trace$");
    g_object_set(fake.partition, "problem", "period \"x\"\nis no period", NULL);
    next_line(&m, " vm problem problem=\"period \\\\\"x\\\\\"\\\\nis no period\"$");
    g_autoptr(Json) problem = next_event(&json, "problem", "vm");
    g_assert_cmpstr(text(problem, "problem"), ==, "period \"x\"\nis no period");
    g_object_set(fake.partition, "problem", "", "state", "shutoff", NULL);
    next_line(&m, " vm state state=shutoff$");
    next_line(&m, " vm problem problem=\"\"$"); /* put right */
    g_assert_cmpuint(m.lines->len, ==, 2 + 6);
    g_assert_cmpint(monitor_down(&m, SIGTERM), ==, 0);
    g_assert_cmpint(monitor_down(&json, SIGTERM), ==, 0);
    fake_down(&fake);
    fixture_down(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/monitor/json", test_json);
    g_test_add_func("/monitor/partition", test_partition);
    g_test_add_func("/monitor/restart", test_restart);
    g_test_add_func("/monitor/output", test_output);
    g_test_add_func("/monitor/figures", test_figures);
    g_test_add_func("/monitor/properties", test_properties);
    return g_test_run();
}
