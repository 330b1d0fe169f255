/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who may do what where polkit runs: the real one, with our actions and rule, and the test's rules.
 */
#include "tests/integration/test-access.h"

#include "tests/support/test.h"
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <unistd.h>

#define PATIENCE_SECONDS 20

/* Where polkit looks, and what of the test's directory it finds there. */
static const char *const mounts[][2] = {
    {"actions", "/usr/share/polkit-1/actions"},
    {"rules", "/usr/share/polkit-1/rules.d"},
    {"own-rules", "/etc/polkit-1/rules.d"},
    {"run", "/run/dbus"},
};

/* With whose password: root's, and nobody else's, so that it need not be asked which. */
static const char admin_rule[] =
    "polkit.addAdminRule(function (action, subject) { return ['unix-user:root']; });\n";

struct polkit {
    struct rig rig;
    GSubprocess *process;
    guint watch;
    gboolean is_there;
};

/* ---- polkit ---- */

static const char *find_polkitd(void)
{
    static const char *const programs[] = {"/usr/lib/polkit-1/polkitd",
                                           "/usr/libexec/polkit-1/polkitd", "/usr/libexec/polkitd"};

    for (size_t i = 0; i < G_N_ELEMENTS(programs); i++) {
        if (access(programs[i], X_OK) == 0) {
            return programs[i];
        }
    }
    return NULL;
}

static void write_file(struct polkit *polkit, const char *name, const char *text)
{
    g_autofree char *path = g_build_filename(polkit->rig.directory, name, NULL);
    g_autoptr(GError) error = NULL;

    g_file_set_contents_full(path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0644, &error);
    g_assert_no_error(error);
}

static void copy_file(struct polkit *polkit, const char *directory, const char *name)
{
    const char *source = g_getenv("HVTIMER_SRCDIR");
    g_autofree char *from = g_build_filename(source != NULL ? source : ".", "conf", name, NULL);
    g_autofree char *to = g_build_filename(directory, name, NULL);
    g_autofree char *text = NULL;
    g_autoptr(GError) error = NULL;

    g_file_get_contents(from, &text, NULL, &error);
    g_assert_no_error(error);
    write_file(polkit, to, text);
}

/* polkit's helper is set-user-ID, and knows but one place for the system's bus. */
static void link_bus(struct polkit *polkit)
{
    g_autofree char *link = g_build_filename(polkit->rig.directory, "run/system_bus_socket", NULL);
    g_auto(GStrv) parts = g_strsplit_set(polkit->rig.fixture.address, "=,", -1);

    g_assert_cmpstr(parts[0], ==, "unix:path");
    g_assert_cmpint(symlink(parts[1], link), ==, 0);
}

static void make_files(struct polkit *polkit)
{
    for (size_t i = 0; i < G_N_ELEMENTS(mounts); i++) {
        g_autofree char *path = g_build_filename(polkit->rig.directory, mounts[i][0], NULL);

        g_assert_cmpint(g_mkdir(path, 0755), ==, 0);
        g_assert_cmpint(g_mkdir_with_parents(mounts[i][1], 0755), ==, 0);
        if (mount(path, mounts[i][1], NULL, MS_BIND, NULL) != 0) {
            g_error("mount %s: %s", mounts[i][1], g_strerror(errno));
        }
    }
    copy_file(polkit, "actions", "org.hvtimer1.policy");
    copy_file(polkit, "rules", "60-hvtimer.rules");
    write_file(polkit, "rules/50-admin.rules", admin_rule);
    link_bus(polkit);
}

static void on_appeared(G_GNUC_UNUSED GDBusConnection *connection, G_GNUC_UNUSED const char *name,
                        G_GNUC_UNUSED const char *owner, gpointer user_data)
{
    ((struct polkit *)user_data)->is_there = TRUE;
}

static void die_with_parent(G_GNUC_UNUSED gpointer user_data)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static void polkit_up(struct polkit *polkit)
{
    const char *argv[] = {find_polkitd(), "--no-debug", NULL};
    g_autoptr(GError) error = NULL;

    *polkit = (struct polkit){0};
    rig_up(&polkit->rig, TRUE);
    make_files(polkit);
    /* It takes the environment as it is now. */
    g_autoptr(GSubprocessLauncher) launcher = g_subprocess_launcher_new(G_SUBPROCESS_FLAGS_NONE);
    GDBusConnection *connection = polkit->rig.fixture.connection;
    polkit->watch = g_bus_watch_name_on_connection(connection, "org.freedesktop.PolicyKit1",
                                                   G_BUS_NAME_WATCHER_FLAGS_NONE, on_appeared, NULL,
                                                   polkit, NULL);
    g_subprocess_launcher_set_child_setup(launcher, die_with_parent, NULL, NULL);
    polkit->process = g_subprocess_launcher_spawnv(launcher, argv, &error);
    g_assert_no_error(error);
    test_wait_until(PATIENCE_SECONDS, polkit->is_there);
}

static void polkit_down(struct polkit *polkit)
{
    g_bus_unwatch_name(polkit->watch);
    g_subprocess_force_exit(polkit->process);
    g_assert_true(g_subprocess_wait(polkit->process, NULL, NULL));
    g_object_unref(polkit->process);
    for (size_t i = 0; i < G_N_ELEMENTS(mounts); i++) {
        g_assert_cmpint(umount2(mounts[i][1], MNT_DETACH), ==, 0);
    }
    rig_down(&polkit->rig);
}

/* polkit goes by @rule soon; "": by none. */
static void set_rule(struct polkit *polkit, const char *rule)
{
    write_file(polkit, "own-rules/10-test.rules", rule);
}

/* ---- tests ---- */

#define SET "hvtimerctl set m0 EmulatedTimerPeriod "

/* Until polkit has read the rules. */
static void await_status(struct polkit *polkit, const char *user, int status, const char *command)
{
    test_wait_until(PATIENCE_SECONDS, rig_run(&polkit->rig, user, NULL, "%s", command) == status);
}

static void assert_period(struct polkit *polkit, const char *name, const char *period)
{
    g_autofree char *state = rig_state(&polkit->rig, name);
    g_autofree char *member = g_strdup_printf("\"emulated_timer_period\":%s,", period);

    g_assert_nonnull(strstr(state, member));
}

/* As installed: everybody may look, and the group libvirt may change. */
static void test_default(void)
{
    struct polkit polkit;

    polkit_up(&polkit);
    rig_done(&polkit.rig, OTHER, "hvtimerctl list");
    rig_done(&polkit.rig, OTHER, "hvtimerctl status m0");
    rig_done(&polkit.rig, OTHER, "hvtimerctl get m0 EmulatedTimerPeriod");
    g_autofree char *before = rig_state(&polkit.rig, "m0");
    rig_refused(&polkit.rig, OTHER, "org.hvtimer1.manage", SET "20000");
    rig_refused(&polkit.rig, OTHER, "administrator's password",
                "hvtimerctl enable m0 --period 1ms --vector 0x50");
    rig_refused(&polkit.rig, OTHER, "group libvirt", "hvtimerctl policy m0 --slew 50");
    g_assert_cmpint(rig_run(&polkit.rig, OTHER, NULL,
                            "busctl --address=%s set-property org.hvtimer1 "
                            "/org/hvtimer1/partition/1 org.hvtimer1.Partition "
                            "EmulatedTimerPeriod t 20000",
                            polkit.rig.fixture.address),
                    !=, 0);
    g_autofree char *after = rig_state(&polkit.rig, "m0");
    g_assert_cmpstr(before, ==, after);
    rig_done(&polkit.rig, MEMBER, SET "20000");
    assert_period(&polkit, "m0", "20000");
    rig_done(&polkit.rig, "root", SET "30000");
    assert_period(&polkit, "m0", "30000");
    polkit_down(&polkit);
}

static void test_granted_by_rule(void)
{
    struct polkit polkit;

    polkit_up(&polkit);
    set_rule(&polkit, "polkit.addRule(function (action, subject) {\n"
                      "    if (action.id == 'org.hvtimer1.manage' &&\n"
                      "        subject.user == '" OTHER "' &&\n"
                      "        action.lookup('partition') == 'm0')\n"
                      "        return polkit.Result.YES;\n"
                      "});\n");
    await_status(&polkit, OTHER, DONE, SET "20000");
    assert_period(&polkit, "m0", "20000");
    rig_refused(&polkit.rig, OTHER, "org.hvtimer1.manage",
                "hvtimerctl set m1 EmulatedTimerPeriod 20000");
    rig_refused(&polkit.rig, OTHER, "org.hvtimer1.manage", "hvtimerctl attach --pid 1");
    assert_period(&polkit, "m1", "0");
    set_rule(&polkit, "");
    await_status(&polkit, OTHER, NOT_ALLOWED, SET "20000");
    rig_refused(&polkit.rig, OTHER, "org.hvtimer1.manage", SET "30000");
    assert_period(&polkit, "m0", "20000");
    polkit_down(&polkit);
}

static void test_taken_by_rule(void)
{
    struct polkit polkit;

    polkit_up(&polkit);
    rig_done(&polkit.rig, OTHER, "hvtimerctl list");
    set_rule(&polkit, "polkit.addRule(function (action, subject) {\n"
                      "    if (action.id == 'org.hvtimer1.monitor' &&\n"
                      "        subject.user == '" OTHER "')\n"
                      "        return polkit.Result.NO;\n"
                      "});\n");
    await_status(&polkit, OTHER, NOT_ALLOWED, "hvtimerctl list");
    rig_refused(&polkit.rig, OTHER, "org.hvtimer1.monitor", "hvtimerctl --json list");
    rig_refused(&polkit.rig, OTHER, "org.hvtimer1.monitor", "hvtimerctl status m0");
    rig_refused(&polkit.rig, OTHER, "org.hvtimer1.monitor", "hvtimerctl status none");
    rig_done(&polkit.rig, MEMBER, "hvtimerctl list");
    polkit_down(&polkit);
}

/* ---- the password ---- */

/* Where PAM looks for what polkit asks of an administrator. */
static const char *find_pam(void)
{
    static const char *const files[] = {"/etc/pam.d/polkit-1", "/usr/lib/pam.d/polkit-1"};

    for (size_t i = 0; i < G_N_ELEMENTS(files); i++) {
        if (access(files[i], F_OK) == 0) {
            return files[i];
        }
    }
    return NULL;
}

/* PAM takes any password, or none: whoever is asked. */
static void set_password(struct polkit *polkit, gboolean good)
{
    g_autofree char *text = g_strdup_printf(
        "auth required pam_%s.so\naccount required pam_permit.so\n", good ? "permit" : "deny");
    g_autofree char *path = g_build_filename(polkit->rig.directory, "pam", NULL);

    write_file(polkit, "pam", text);
    if (mount(path, find_pam(), NULL, MS_BIND, NULL) != 0) {
        g_error("mount %s: %s", find_pam(), g_strerror(errno));
    }
}

/* In a terminal. Returns hvtimerctl's exit status. */
static int run_in_terminal(struct polkit *polkit, const char *command, char **ret_output)
{
    return rig_run(&polkit->rig, OTHER, ret_output,
                   "script --quiet --return --command '%s' /dev/null", command);
}

/* Who is at a terminal is asked for the password there, and it counts. */
static void test_password(void)
{
    g_autofree char *asked = NULL, *refused = NULL;
    struct polkit polkit;

    if (find_pam() == NULL) {
        test_skip("polkit has no PAM configuration");
        return;
    }
    polkit_up(&polkit);
    set_password(&polkit, FALSE);
    g_assert_cmpint(run_in_terminal(&polkit, SET "20000", &refused), ==, NOT_ALLOWED);
    g_assert_nonnull(strstr(refused, "AUTHENTICATING FOR org.hvtimer1.manage"));
    g_assert_nonnull(strstr(refused, "polkit does not grant it"));
    assert_period(&polkit, "m0", "0");
    g_assert_cmpint(umount2(find_pam(), MNT_DETACH), ==, 0);

    set_password(&polkit, TRUE);
    g_assert_cmpint(run_in_terminal(&polkit, SET "20000", &asked), ==, DONE);
    g_assert_nonnull(strstr(asked, "AUTHENTICATING FOR org.hvtimer1.manage"));
    assert_period(&polkit, "m0", "20000");
    g_assert_cmpint(umount2(find_pam(), MNT_DETACH), ==, 0);
    polkit_down(&polkit);
}

static void test_none(void)
{
    test_skip("polkitd is not installed");
}

void add_polkit_tests(void)
{
    if (find_polkitd() == NULL) {
        g_test_add_func("/access/polkit", test_none);
        return;
    }
    g_test_add_func("/access/polkit/default", test_default);
    g_test_add_func("/access/polkit/granted-by-rule", test_granted_by_rule);
    g_test_add_func("/access/polkit/taken-by-rule", test_taken_by_rule);
    g_test_add_func("/access/polkit/password", test_password);
}
