/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A bus of the test's own and the real hvtimerd on it: see fixture.h. */
#include "tests/support/fixture.h"

#include "common/bus-address.h"
#include "tests/support/helper-socket.h"
#include "tests/support/test.h"
#include <glib/gstdio.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

/* Generous: a machine under sanitizers and load still starts a process within that. */
#define PATIENCE_SECONDS 20

static char *build_path(const char *name)
{
    const char *directory = g_getenv("HVTIMER_BUILDDIR");

    return g_build_filename(directory != NULL ? directory : ".", name, NULL);
}

static void on_appeared(G_GNUC_UNUSED GDBusConnection *connection, G_GNUC_UNUSED const char *name,
                        G_GNUC_UNUSED const char *owner, gpointer user_data)
{
    ((struct fixture *)user_data)->served = TRUE;
}

static void on_vanished(G_GNUC_UNUSED GDBusConnection *connection, G_GNUC_UNUSED const char *name,
                        gpointer user_data)
{
    ((struct fixture *)user_data)->served = FALSE;
}

static void write_config(struct fixture *fixture, const char *config)
{
    g_autoptr(GError) error = NULL;

    g_file_set_contents(fixture->config, config, -1, &error);
    g_assert_no_error(error);
}

/* (transfer full) */
static char *attach_helper(struct fixture *fixture)
{
    g_autofree char *program = build_path("daemon/attach/hvtimer-attach");
    g_autofree char *absolute = g_canonicalize_filename(program, NULL);

    if (!fixture->unprivileged) {
        return g_steal_pointer(&absolute);
    }
    char *path = g_build_filename(fixture->directory, "attach.sock", NULL);
    fixture->helpers = helper_socket_new(path, absolute, FIXTURE_USER);
    return path;
}

/* What the tests need of every daemon: its own state, and the build tree's helper. */
static void write_drop_in(struct fixture *fixture)
{
    g_autofree char *directory = g_build_filename(fixture->directory, "hvtimerd.d", NULL);
    g_autofree char *path = g_build_filename(directory, "tests.json", NULL);
    g_autofree char *helper = attach_helper(fixture);
    g_autofree char *text =
        g_strdup_printf("{\"state_directory\": \"%s/state\", \"attach_helper\": \"%s\"}",
                        fixture->directory, helper);
    g_autoptr(GError) error = NULL;

    g_assert_cmpint(g_mkdir(directory, 0700), ==, 0);
    g_file_set_contents(path, text, -1, &error);
    g_assert_no_error(error);
}

/* A directory and all that is in it, two levels deep. */
static void remove_tree(const char *directory)
{
    g_autoptr(GDir) dir = g_dir_open(directory, 0, NULL);
    const char *name;

    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *path = g_build_filename(directory, name, NULL);
        if (g_file_test(path, G_FILE_TEST_IS_DIR)) {
            remove_tree(path);
        } else {
            g_unlink(path);
        }
    }
    g_rmdir(directory);
}

static void give(const char *directory, const char *name)
{
    g_autofree char *path = g_build_filename(directory, name, NULL);

    g_assert_cmpint(chown(path, FIXTURE_USER, FIXTURE_USER), ==, 0);
}

/* All that the daemon needs is in the fixture's directory, which is its user's: that user may not
 * even see the build tree. The bus takes connections of everybody. */
static void make_unprivileged(struct fixture *fixture)
{
    static const char config[] = "<busconfig><type>session</type>"
                                 "<listen>unix:tmpdir=/tmp</listen><policy context='default'>"
                                 "<allow user='*'/><allow own='*'/>"
                                 "<allow send_destination='*' eavesdrop='true'/>"
                                 "<allow eavesdrop='true'/></policy></busconfig>";
    g_autofree char *built = build_path("daemon/hvtimerd");
    g_autofree char *copy = g_build_filename(fixture->directory, "hvtimerd", NULL);
    g_autofree char *bus = g_build_filename(fixture->directory, "bus.conf", NULL);
    g_autoptr(GFile) from = g_file_new_for_path(built), to = g_file_new_for_path(copy);
    g_autoptr(GError) error = NULL;

    g_file_copy(from, to, G_FILE_COPY_NONE, NULL, NULL, NULL, &error);
    g_assert_no_error(error);
    g_file_set_contents(bus, config, -1, &error);
    g_assert_no_error(error);
    give(fixture->directory, "hvtimerd.d/tests.json");
    give(fixture->directory, "hvtimerd.d");
    give(fixture->directory, "hvtimerd.json");
    give(fixture->directory, "hvtimerd");
    give(fixture->directory, "");
}

/* A test that aborts takes them along. */
static void die_with_parent(G_GNUC_UNUSED gpointer user_data)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static GSubprocess *spawn(const char *const *argv, GSubprocessFlags flags)
{
    g_autoptr(GSubprocessLauncher) launcher = g_subprocess_launcher_new(flags);
    g_autoptr(GError) error = NULL;

    g_subprocess_launcher_set_child_setup(launcher, die_with_parent, NULL, NULL);
    GSubprocess *process = g_subprocess_launcher_spawnv(launcher, argv, &error);
    g_assert_no_error(error);
    return process;
}

/* Not GTestDBus, which changes the environment of a process with threads. */
static void start_bus(struct fixture *fixture)
{
    const char *program = g_getenv("DBUS_DAEMON");
    g_autofree char *listen = g_strdup_printf("--address=unix:dir=%s", fixture->directory);
    g_autofree char *config =
        fixture->bus_config != NULL ? g_strconcat("--config-file=", fixture->bus_config, NULL)
        : fixture->unprivileged
            ? g_strconcat("--config-file=", fixture->directory, "/bus.conf", NULL)
            : g_strdup("--session");
    const char *argv[] = {program != NULL ? program : "dbus-daemon",
                          config,
                          "--nofork",
                          "--nopidfile",
                          "--print-address",
                          listen,
                          NULL};
    g_autoptr(GError) error = NULL;

    fixture->bus = spawn(argv, G_SUBPROCESS_FLAGS_STDOUT_PIPE);
    g_autoptr(GDataInputStream) output =
        g_data_input_stream_new(g_subprocess_get_stdout_pipe(fixture->bus));
    fixture->address = g_data_input_stream_read_line(output, NULL, NULL, &error);
    g_assert_no_error(error);
    g_assert_nonnull(fixture->address);
}

/* As the unit has it: two limits, and nothing else that a user has not. */
static const char *const limits[] = {"prlimit", "--rtprio=99", "--memlock=unlimited", NULL};
static const char *const no_privileges[] = {"setpriv",
                                            "--reuid=" G_STRINGIFY(FIXTURE_USER),
                                            "--regid=" G_STRINGIFY(FIXTURE_USER),
                                            "--clear-groups",
                                            "--bounding-set=-all",
                                            "--inh-caps=-all",
                                            "--no-new-privs",
                                            "--pdeathsig=KILL",
                                            NULL};

static gboolean may_raise_limits(void)
{
    const char *const argv[] = {limits[0], limits[1], limits[2], "true", NULL};
    g_autoptr(GSubprocess) process = spawn(argv, G_SUBPROCESS_FLAGS_STDERR_SILENCE);

    return g_subprocess_wait_check(process, NULL, NULL);
}

void fixture_up(struct fixture *fixture, const char *config)
{
    g_autoptr(GError) error = NULL;

    *fixture = (struct fixture){.quiet = fixture->quiet,
                                .libvirt = fixture->libvirt,
                                .bus_config = fixture->bus_config,
                                .unprivileged = fixture->unprivileged};
    fixture->directory = g_dir_make_tmp("hvtimer-XXXXXX", &error);
    g_assert_no_error(error);
    fixture->config = g_build_filename(fixture->directory, "hvtimerd.json", NULL);
    write_config(fixture, config);
    write_drop_in(fixture);
    if (fixture->unprivileged) {
        make_unprivileged(fixture);
        fixture->limits = may_raise_limits();
    }
    start_bus(fixture);
    g_setenv(BUS_ENVIRONMENT, fixture->address, TRUE);
    fixture->connection = bus_open(NULL, &error);
    g_assert_no_error(error);
    fixture->watch = g_bus_watch_name_on_connection(fixture->connection, "org.hvtimer1",
                                                    G_BUS_NAME_WATCHER_FLAGS_NONE, on_appeared,
                                                    on_vanished, fixture, NULL);
    fixture_start_daemon(fixture);
}

void fixture_start_daemon(struct fixture *fixture)
{
    g_autofree char *program = fixture->unprivileged
                                   ? g_build_filename(fixture->directory, "hvtimerd", NULL)
                                   : build_path("daemon/hvtimerd");
    const char *arguments[] = {program,
                               "--config",
                               fixture->config,
                               "--bus",
                               fixture->address,
                               "--libvirt",
                               fixture->libvirt != NULL ? fixture->libvirt : "none",
                               NULL};
    g_autoptr(GStrvBuilder) line = g_strv_builder_new();

    if (fixture->limits) {
        g_strv_builder_addv(line, (const char **)limits);
    }
    if (fixture->unprivileged) {
        g_strv_builder_addv(line, (const char **)no_privileges);
    }
    g_strv_builder_addv(line, arguments);
    g_auto(GStrv) argv = g_strv_builder_end(line);
    fixture->daemon =
        spawn((const char *const *)argv,
              fixture->quiet ? G_SUBPROCESS_FLAGS_STDERR_SILENCE : G_SUBPROCESS_FLAGS_NONE);
    test_wait_until(PATIENCE_SECONDS, fixture->served);
}

void fixture_kill_daemon(struct fixture *fixture)
{
    g_subprocess_send_signal(fixture->daemon, SIGKILL);
    g_assert_true(g_subprocess_wait(fixture->daemon, NULL, NULL));
    g_clear_object(&fixture->daemon);
    test_wait_until(PATIENCE_SECONDS, !fixture->served);
}

int fixture_stop_daemon(struct fixture *fixture)
{
    g_subprocess_send_signal(fixture->daemon, SIGTERM);
    g_assert_true(g_subprocess_wait(fixture->daemon, NULL, NULL));
    g_assert_true(g_subprocess_get_if_exited(fixture->daemon));
    int status = g_subprocess_get_exit_status(fixture->daemon);
    g_clear_object(&fixture->daemon);
    test_wait_until(PATIENCE_SECONDS, !fixture->served);
    return status;
}

void fixture_reconfigure(struct fixture *fixture, const char *config)
{
    write_config(fixture, config);
    g_subprocess_send_signal(fixture->daemon, SIGHUP);
}

void fixture_down(struct fixture *fixture)
{
    if (fixture->daemon != NULL) {
        g_assert_cmpint(fixture_stop_daemon(fixture), ==, 0);
    }
    g_bus_unwatch_name(fixture->watch);
    g_dbus_connection_close_sync(fixture->connection, NULL, NULL);
    g_clear_object(&fixture->connection);
    g_subprocess_force_exit(fixture->bus);
    g_subprocess_wait(fixture->bus, NULL, NULL);
    g_clear_object(&fixture->bus);
    g_free(fixture->address);
    helper_socket_free(fixture->helpers);
    remove_tree(fixture->directory);
    g_free(fixture->config);
    g_free(fixture->directory);
}

int fixture_run(struct fixture *fixture, char **ret_output, const char *command, ...)
{
    g_autoptr(GError) error = NULL;
    g_auto(GStrv) argv = NULL;
    g_autofree char *output = NULL;
    va_list arguments;

    va_start(arguments, command);
    g_autofree char *line = g_strdup_vprintf(command, arguments);
    va_end(arguments);
    g_assert_true(g_shell_parse_argv(line, NULL, &argv, &error));
    if (g_str_equal(argv[0], "hvtimerctl") || g_str_equal(argv[0], "hvtimerd")) {
        const char *directory = g_str_equal(argv[0], "hvtimerd") ? "daemon" : "hvapi";
        g_autofree char *program = g_build_filename(directory, argv[0], NULL);
        g_free(argv[0]);
        argv[0] = build_path(program);
    }
    g_autoptr(GSubprocess) process =
        g_subprocess_newv((const char *const *)argv,
                          G_SUBPROCESS_FLAGS_STDOUT_PIPE | G_SUBPROCESS_FLAGS_STDERR_MERGE, &error);
    g_assert_no_error(error);
    g_subprocess_communicate_utf8(process, NULL, NULL, &output, NULL, &error);
    g_assert_no_error(error);
    if (!fixture->quiet) {
        g_test_message("%s -> %d: %s", line, g_subprocess_get_exit_status(process), output);
    }
    if (ret_output != NULL) {
        *ret_output = g_steal_pointer(&output);
    }
    return g_subprocess_get_exit_status(process);
}
