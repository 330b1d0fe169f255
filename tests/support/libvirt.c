/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A libvirtd of the tests' own: see libvirt.h. */
#include "tests/support/libvirt.h"

#include "tests/support/test.h"
#include <errno.h>
#include <glib/gstdio.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* Its first start asks every emulator for its capabilities. */
#define PATIENCE_SECONDS 60

#define LOG "/var/log/libvirt/libvirtd.log"

/* Where libvirtd keeps all that it keeps. */
static const char *const directories[] = {
    "/run/libvirt", "/etc/libvirt", "/var/lib/libvirt", "/var/cache/libvirt", "/var/log/libvirt",
};

/* The daemon's own default is to ask polkit, which has no say here. */
static const char libvirtd_conf[] = "auth_unix_ro = \"none\"\n"
                                    "auth_unix_rw = \"none\"\n"
                                    "log_outputs = \"2:file:" LOG "\"\n";

/* QEMU as root: /dev/kvm may be root's only. Nothing that needs systemd, virtlogd or cgroups. */
static const char qemu_conf[] = "user = \"root\"\n"
                                "group = \"root\"\n"
                                "dynamic_ownership = 0\n"
                                "remember_owner = 0\n"
                                "security_driver = \"none\"\n"
                                "stdio_handler = \"file\"\n"
                                "cgroup_controllers = []\n";

void libvirt_fail(const char *function, const char *what, const char *why)
{
    g_error("%s: %s: %s", function, what, why);
}

const char *libvirt_missing(void)
{
    static const char *const programs[] = {"libvirtd", "virsh", "qemu-system-x86_64"};
    static char reason[80];

    if (geteuid() != 0) {
        return "a libvirtd of the test's own needs root";
    }
    for (size_t i = 0; i < G_N_ELEMENTS(programs); i++) {
        g_autofree char *path = g_find_program_in_path(programs[i]);
        if (path == NULL) {
            g_snprintf(reason, sizeof(reason), "%s is not installed", programs[i]);
            return reason;
        }
    }
    return access("/dev/kvm", R_OK | W_OK) == 0 ? NULL : "/dev/kvm is missing, or can't be used";
}

/* ---- The guard ---- */

static void kill_children(void)
{
    g_autofree char *path = g_strdup_printf("/proc/self/task/%d/children", getpid());
    g_autofree char *list = NULL;

    if (!g_file_get_contents(path, &list, NULL, NULL)) {
        return;
    }
    g_auto(GStrv) pids = g_strsplit(g_strstrip(list), " ", -1);
    for (char **pid = pids; *pid != NULL && **pid != '\0'; pid++) {
        kill((pid_t)atoi(*pid), SIGKILL);
    }
}

/* The children of those that are killed become our own, and are next. */
static void kill_descendants(void)
{
    do {
        kill_children();
    } while (waitpid(-1, NULL, 0) > 0 || errno == EINTR);
}

/* Until @test has ended, or somebody wants us to. Returns a status as of waitpid(). */
static int watch_over(pid_t test, const sigset_t *signals)
{
    int status;
    pid_t ended;

    for (;;) {
        int number = sigwaitinfo(signals, NULL);
        if (number > 0 && number != SIGCHLD) {
            return number;
        }
        while ((ended = waitpid(-1, &status, WNOHANG)) > 0) {
            if (ended == test) {
                return status;
            }
        }
    }
}

/* @parent: who may be killed with no chance to do anything, by a runner of tests. */
static void keep_watch(pid_t parent)
{
    sigset_t signals, before;

    prctl(PR_SET_PDEATHSIG, SIGTERM);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    if (getppid() != parent) {
        _exit(EXIT_FAILURE);
    }
    sigemptyset(&signals);
    sigaddset(&signals, SIGCHLD);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, &before);
    pid_t test = fork();
    g_assert_cmpint(test, >=, 0);
    if (test == 0) {
        sigprocmask(SIG_SETMASK, &before, NULL);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        return;
    }
    int status = watch_over(test, &signals);
    kill_descendants();
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

void libvirt_guard(void)
{
    pid_t self = getpid();
    pid_t watch = fork();
    int status;

    g_assert_cmpint(watch, >=, 0);
    if (watch == 0) {
        keep_watch(self);
        return;
    }
    while (waitpid(watch, &status, 0) < 0) {
        g_assert_cmpint(errno, ==, EINTR);
    }
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

/* ---- The namespace ---- */

static void must(gboolean done, const char *what, const char *path)
{
    if (!done) {
        g_error("%s %s: %s", what, path, g_strerror(errno));
    }
}

static void write_file(const char *path, const char *text)
{
    g_autoptr(GError) error = NULL;

    g_file_set_contents(path, text, -1, &error);
    g_assert_no_error(error);
}

/* A mount point that is missing is made, and left: it is the system's. */
static void enter_namespace(void)
{
    static gboolean entered;

    for (size_t i = 0; i < G_N_ELEMENTS(directories); i++) {
        must(g_mkdir_with_parents(directories[i], 0755) == 0, "mkdir", directories[i]);
    }
    if (!entered) {
        must(unshare(CLONE_NEWNS) == 0, "unshare", "mounts");
        must(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0, "make private", "/");
        entered = TRUE;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(directories); i++) {
        must(mount("hvtimer-test", directories[i], "tmpfs", 0, "mode=0755") == 0, "mount",
             directories[i]);
    }
    must(g_mkdir_with_parents(LIBVIRT_IMAGES, 0755) == 0, "mkdir", LIBVIRT_IMAGES);
    write_file("/etc/libvirt/libvirtd.conf", libvirtd_conf);
    write_file("/etc/libvirt/qemu.conf", qemu_conf);
}

/* MNT_DETACH: a QEMU that is just about to end may hold a file. */
static void leave_directories(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(directories); i++) {
        must(umount2(directories[i], MNT_DETACH) == 0, "umount", directories[i]);
    }
}

/* ---- The daemon ---- */

static void die_with_parent(G_GNUC_UNUSED gpointer user_data)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static gboolean is_up(struct libvirt *libvirt)
{
    libvirt->connection = virConnectOpen(LIBVIRT_URI);
    return libvirt->connection != NULL;
}

static void no_output(G_GNUC_UNUSED void *data, G_GNUC_UNUSED virErrorPtr error)
{
}

/* A daemon that finds domains running takes them up in the background. A query that asks QEMU
 * itself waits for that; an end in the midst of it would fail, for one. */
static void wait_for_domains(struct libvirt *libvirt)
{
    virDomainMemoryStatStruct ignored[VIR_DOMAIN_MEMORY_STAT_NR];
    virDomainPtr *domains = NULL;
    int count =
        virConnectListAllDomains(libvirt->connection, &domains, VIR_CONNECT_LIST_DOMAINS_ACTIVE);

    libvirt_assert(count >= 0);
    for (int i = 0; i < count; i++) {
        virDomainMemoryStats(domains[i], ignored, VIR_DOMAIN_MEMORY_STAT_NR, 0);
        virDomainFree(domains[i]);
    }
    free(domains);
}

void libvirt_start(struct libvirt *libvirt)
{
    const char *argv[] = {"libvirtd", "--pid-file", "/run/libvirt/hvtimer-test.pid", NULL};
    g_autoptr(GSubprocessLauncher) launcher = g_subprocess_launcher_new(
        G_SUBPROCESS_FLAGS_STDOUT_SILENCE | G_SUBPROCESS_FLAGS_STDERR_SILENCE);
    g_autoptr(GError) error = NULL;

    g_subprocess_launcher_set_child_setup(launcher, die_with_parent, NULL, NULL);
    libvirt->daemon = g_subprocess_launcher_spawnv(launcher, argv, &error);
    g_assert_no_error(error);
    virSetErrorFunc(NULL, no_output);
    gint64 deadline = g_get_monotonic_time() + PATIENCE_SECONDS * G_USEC_PER_SEC;
    while (!is_up(libvirt)) {
        g_autofree char *log = NULL;
        if (g_get_monotonic_time() > deadline) {
            g_file_get_contents(LOG, &log, NULL, NULL);
            g_error("libvirtd is not up: %s; it says: %s", virGetLastErrorMessage(),
                    log != NULL ? log : "nothing");
        }
        g_usleep(50000);
    }
    wait_for_domains(libvirt);
}

static void end(struct libvirt *libvirt, int number)
{
    virConnectClose(libvirt->connection);
    libvirt->connection = NULL;
    g_subprocess_send_signal(libvirt->daemon, number);
    g_assert_true(g_subprocess_wait(libvirt->daemon, NULL, NULL));
    g_clear_object(&libvirt->daemon);
}

void libvirt_kill(struct libvirt *libvirt)
{
    end(libvirt, SIGKILL);
}

void libvirt_up(struct libvirt *libvirt)
{
    *libvirt = (struct libvirt){0};
    enter_namespace();
    libvirt_start(libvirt);
}

void libvirt_down(struct libvirt *libvirt)
{
    virDomainPtr *domains = NULL;
    int count =
        virConnectListAllDomains(libvirt->connection, &domains, VIR_CONNECT_LIST_DOMAINS_ACTIVE);

    libvirt_assert(count >= 0);
    for (int i = 0; i < count; i++) {
        virDomainDestroy(domains[i]);
        virDomainFree(domains[i]);
    }
    free(domains);
    end(libvirt, SIGTERM);
    leave_directories();
}

/* ---- a program of tests ---- */

static void test_none(void)
{
    test_skip(libvirt_missing());
}

int libvirt_run_tests(int argc, char **argv, struct libvirt *libvirt, const char *name,
                      void (*add_tests)(void))
{
    libvirt_guard();
    g_test_init(&argc, &argv, NULL);
    if (libvirt_missing() != NULL) {
        g_test_add_func(name, test_none);
        return g_test_run();
    }
    libvirt_up(libvirt);
    add_tests();
    int status = g_test_run();
    libvirt_down(libvirt);
    return status;
}
