/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who may do what: the bus, the users, and the daemon. See test-access.h. */
#include "tests/integration/test-access.h"

#include "tests/support/test.h"
#include <errno.h>
#include <glib/gstdio.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Ids that no distribution gives to anybody. */
static const struct {
    const char *name;
    uid_t id;
} users[] = {{DAEMON, 64701}, {MEMBER, 64702}, {OTHER, 64703}};
#define LIBVIRT_GID 64704
#define ANOTHER_GID 64705

static const char config[] = "{\"models\": [\"m0\", \"m1\"], \"engine\": {\"priority\": 0}}";

/* What a system's bus lets everybody do; root may be polkit, too. It listens where the fixture
 * says. */
static const char bus_rules[] =
    "<busconfig><listen>unix:tmpdir=/tmp</listen><auth>EXTERNAL</auth>\n"
    "<limit name='max_replies_per_connection'>1000</limit>\n"
    "<policy context='default'>\n"
    "  <allow user='*'/><deny own='*'/><deny send_type='method_call'/>\n"
    "  <allow send_type='signal'/>\n"
    "  <allow send_requested_reply='true' send_type='method_return'/>\n"
    "  <allow send_requested_reply='true' send_type='error'/>\n"
    "  <allow receive_type='method_call'/><allow receive_type='method_return'/>\n"
    "  <allow receive_type='error'/><allow receive_type='signal'/>\n"
    "  <allow send_destination='org.freedesktop.DBus'/>\n"
    "</policy>\n"
    "<policy user='root'><allow own='org.freedesktop.PolicyKit1'/></policy>\n"
    "<include>%s/conf/org.hvtimer1.conf</include>\n"
    "<include ignore_missing='yes'>"
    "/usr/share/dbus-1/system.d/org.freedesktop.PolicyKit1.conf</include>\n"
    "</busconfig>\n";

/* ---- users ---- */

static void must(gboolean done, const char *what)
{
    if (!done) {
        g_error("%s: %s", what, g_strerror(errno));
    }
}

/* @path shows @text from now on, to this process and what it starts. */
static void overlay(const char *path, const char *text)
{
    g_autofree char *file = g_build_filename(g_get_tmp_dir(), "hvtimer-overlay-XXXXXX", NULL);
    int fd = g_mkstemp_full(file, O_RDWR | O_CLOEXEC, 0644);

    must(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && fchmod(fd, 0644) == 0,
         file);
    close(fd);
    must(mount(file, path, NULL, MS_BIND, NULL) == 0, path);
    must(unlink(file) == 0, file); /* the mount keeps it */
}

/* The lines of @path but those that begin with one of our names, and "libvirt:". */
static GString *read_database(const char *path)
{
    GString *kept = g_string_new(NULL);
    g_autofree char *text = NULL;
    g_autoptr(GError) error = NULL;

    g_file_get_contents(path, &text, NULL, &error);
    g_assert_no_error(error);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line != NULL; line++) {
        if (**line != '\0' && !g_str_has_prefix(*line, DAEMON) &&
            !g_str_has_prefix(*line, "libvirt:")) {
            g_string_append_printf(kept, "%s\n", *line);
        }
    }
    return kept;
}

static void make_users(void)
{
    g_autoptr(GString) passwd = read_database("/etc/passwd");
    g_autoptr(GString) group = read_database("/etc/group");

    for (size_t i = 0; i < G_N_ELEMENTS(users); i++) {
        g_string_append_printf(passwd, "%s:x:%u:%u::/nonexistent:/bin/sh\n", users[i].name,
                               (unsigned)users[i].id, (unsigned)users[i].id);
        g_string_append_printf(group, "%s:x:%u:\n", users[i].name, (unsigned)users[i].id);
    }
    g_string_append_printf(group, "libvirt:x:%u:%s,%s\n", LIBVIRT_GID, DAEMON, MEMBER);
    g_string_append_printf(group, "hvtimer-test-group:x:%u:%s\n", ANOTHER_GID, OTHER);
    overlay("/etc/passwd", passwd->str);
    overlay("/etc/group", group->str);
}

/* Before there are threads: a mount namespace is a thread's. */
static void enter_namespace(void)
{
    must(unshare(CLONE_NEWNS) == 0, "a mount namespace");
    must(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0, "make / private");
    make_users();
}

/* ---- programs as other users ---- */

int rig_run(struct rig *rig, const char *user, char **ret_output, const char *command, ...)
{
    va_list arguments;

    va_start(arguments, command);
    g_autofree char *line = g_strdup_vprintf(command, arguments);
    va_end(arguments);
    return fixture_run(&rig->fixture, ret_output,
                       "env PATH='%s/bin:%s' setpriv --reuid=%s --regid=%s --init-groups %s",
                       rig->directory, g_getenv("PATH"), user, user, line);
}

void rig_refused(struct rig *rig, const char *user, const char *why, const char *command)
{
    g_autofree char *output = NULL;

    g_assert_cmpint(rig_run(rig, user, &output, "%s", command), ==, NOT_ALLOWED);
    if (strstr(output, why) == NULL) {
        g_error("'%s' as %s says nothing of '%s': %s", command, user, why, output);
    }
}

void rig_done(struct rig *rig, const char *user, const char *command)
{
    g_assert_cmpint(rig_run(rig, user, NULL, "%s", command), ==, DONE);
}

/* The system calls, as the C library's functions would change all threads. */
static void become(uid_t uid, gid_t gid, const gid_t *groups, int n)
{
    must(syscall(SYS_setgroups, (long)n, groups) == 0, "setgroups");
    must(syscall(SYS_setresgid, (long)-1, (long)gid, (long)-1) == 0, "setresgid");
    must(syscall(SYS_setresuid, (long)-1, (long)uid, (long)-1) == 0, "setresuid");
}

/* The other way round: root may do it all. */
static void become_root(void)
{
    must(syscall(SYS_setresuid, -1L, 0L, -1L) == 0, "setresuid");
    must(syscall(SYS_setresgid, -1L, 0L, -1L) == 0, "setresgid");
    must(syscall(SYS_setgroups, 0L, NULL) == 0, "setgroups");
}

void rig_as(const char *user, void (*call)(gpointer data), gpointer data)
{
    const struct passwd *entry = getpwnam(user);
    gid_t groups[16];
    int n = G_N_ELEMENTS(groups);

    g_assert_nonnull(entry);
    g_assert_cmpint(getgrouplist(user, entry->pw_gid, groups, &n), >, 0);
    become(entry->pw_uid, entry->pw_gid, groups, n);
    call(data);
    become_root();
}

struct connecting {
    const char *address;
    GDBusConnection *connection;
};

static void open_connection(gpointer data)
{
    struct connecting *connecting = data;
    g_autoptr(GError) error = NULL;

    connecting->connection =
        g_dbus_connection_new_for_address_sync(connecting->address,
                                               G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT |
                                                   G_DBUS_CONNECTION_FLAGS_MESSAGE_BUS_CONNECTION,
                                               NULL, NULL, &error);
    g_assert_no_error(error);
}

GDBusConnection *rig_connect(struct rig *rig, const char *user)
{
    struct connecting connecting = {.address = rig->fixture.address};

    rig_as(user, open_connection, &connecting);
    return connecting.connection;
}

char *rig_state(struct rig *rig, const char *name)
{
    char *output = NULL;

    g_assert_cmpint(fixture_run(&rig->fixture, &output, "hvtimerctl --json status %s", name), ==,
                    DONE);
    return output;
}

/* ---- the bus and the daemon ---- */

static const char *from_environment(const char *name, const char *otherwise)
{
    const char *value = g_getenv(name);

    return value != NULL ? value : otherwise;
}

/* Where the build tree is need not be open to others. */
static void copy_program(struct rig *rig, const char *program)
{
    g_autofree char *from =
        g_build_filename(from_environment("HVTIMER_BUILDDIR", "."), program, NULL);
    g_autofree char *name = g_path_get_basename(program);
    g_autofree char *to = g_build_filename(rig->directory, "bin", name, NULL);
    g_autoptr(GFile) source = g_file_new_for_path(from);
    g_autoptr(GFile) target = g_file_new_for_path(to);
    g_autoptr(GError) error = NULL;

    g_file_copy(source, target, G_FILE_COPY_NONE, NULL, NULL, NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpint(g_chmod(to, 0755), ==, 0);
}

static void make_directory(struct rig *rig)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *source =
        g_canonicalize_filename(from_environment("HVTIMER_SRCDIR", "."), NULL);
    g_autofree char *rules = g_strdup_printf(bus_rules, source);

    rig->directory = g_dir_make_tmp("hvtimer-access-XXXXXX", &error);
    g_assert_no_error(error);
    g_assert_cmpint(g_chmod(rig->directory, 0755), ==, 0);
    g_autofree char *bin = g_build_filename(rig->directory, "bin", NULL);
    g_assert_cmpint(g_mkdir(bin, 0755), ==, 0);
    copy_program(rig, "hvapi/hvtimerctl");
    copy_program(rig, "daemon/hvtimerd");
    rig->bus_config = g_build_filename(rig->directory, "bus.conf", NULL);
    g_file_set_contents(rig->bus_config, rules, -1, &error);
    g_assert_no_error(error);
}

static void die_with_parent(G_GNUC_UNUSED gpointer user_data)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* The daemon that was started as root ends, and one of its own user takes its place. */
static void restart_as_user(struct rig *rig)
{
    struct fixture *f = &rig->fixture;
    g_autofree char *program = g_build_filename(rig->directory, "bin", "hvtimerd", NULL);
    const char *argv[] = {"setpriv",
                          "--reuid=" DAEMON,
                          "--regid=" DAEMON,
                          "--init-groups",
                          "--pdeathsig=keep",
                          program,
                          "--config",
                          f->config,
                          "--bus",
                          f->address,
                          "--libvirt",
                          "none",
                          NULL};
    g_autoptr(GSubprocessLauncher) launcher = g_subprocess_launcher_new(G_SUBPROCESS_FLAGS_NONE);
    g_autoptr(GError) error = NULL;

    g_assert_cmpint(fixture_stop_daemon(f), ==, 0);
    g_assert_cmpint(fixture_run(f, NULL, "chown -R %s %s", DAEMON, f->directory), ==, 0);
    g_subprocess_launcher_set_child_setup(launcher, die_with_parent, NULL, NULL);
    f->daemon = g_subprocess_launcher_spawnv(launcher, argv, &error);
    g_assert_no_error(error);
    test_wait_until(20, f->served);
}

void rig_up(struct rig *rig, gboolean system)
{
    *rig = (struct rig){0};
    make_directory(rig);
    rig->fixture.bus_config = rig->bus_config;
    g_unsetenv("DBUS_SYSTEM_BUS_ADDRESS");
    fixture_up(&rig->fixture, config);
    g_assert_cmpint(g_chmod(rig->fixture.directory, 0755), ==, 0);
    if (system) {
        g_setenv("DBUS_SYSTEM_BUS_ADDRESS", rig->fixture.address, TRUE);
        restart_as_user(rig);
    }
    test_wait_until(10, fixture_run(&rig->fixture, NULL, "hvtimerctl status m1") == DONE);
}

void rig_down(struct rig *rig)
{
    g_autoptr(GError) error = NULL;
    const char *argv[] = {"rm", "-r", rig->directory, NULL};

    fixture_down(&rig->fixture);
    g_autoptr(GSubprocess) rm = g_subprocess_newv(argv, G_SUBPROCESS_FLAGS_NONE, &error);
    g_assert_no_error(error);
    g_assert_true(g_subprocess_wait_check(rm, NULL, NULL));
    g_free(rig->directory);
    g_free(rig->bus_config);
}

static void test_none(void)
{
    test_skip("other users than one's own can be had by root only");
}

int main(int argc, char **argv)
{
    gboolean root = geteuid() == 0;

    if (root) {
        enter_namespace();
    }
    g_test_init(&argc, &argv, NULL);
    if (!root) {
        g_test_add_func("/access/users", test_none);
        return g_test_run();
    }
    add_group_tests();
    add_question_tests();
    add_polkit_tests();
    return g_test_run();
}
