/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* hvtimerd as a service: what the service manager is told, its options, and how it ends. */
#include "tests/support/fixture.h"
#include "tests/support/test.h"
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static const char config[] = "{\"engine\": {\"priority\": 0}}";

struct notifications {
    char *directory, *path;
    int socket;
    GString *heard;
};

static void listen_to(struct notifications *n)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    g_autoptr(GError) error = NULL;

    n->directory = g_dir_make_tmp("hvtimer-notify-XXXXXX", &error);
    g_assert_no_error(error);
    n->path = g_build_filename(n->directory, "socket", NULL);
    g_strlcpy(address.sun_path, n->path, sizeof address.sun_path);
    n->socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    g_assert_cmpint(bind(n->socket, (struct sockaddr *)&address, sizeof address), ==, 0);
    n->heard = g_string_new("");
    g_setenv("NOTIFY_SOCKET", n->path, TRUE);
    g_setenv("WATCHDOG_USEC", "300000", TRUE);
}

static void stop_listening(struct notifications *n)
{
    g_unsetenv("NOTIFY_SOCKET");
    g_unsetenv("WATCHDOG_USEC");
    close(n->socket);
    g_unlink(n->path);
    g_rmdir(n->directory);
    g_free(n->path);
    g_free(n->directory);
    g_string_free(n->heard, TRUE);
}

/* @words have been said; what was heard up to now is then forgotten. */
static gboolean heard(struct notifications *n, const char *words)
{
    char text[4096];
    ssize_t length;

    while ((length = recv(n->socket, text, sizeof text, 0)) > 0) {
        g_string_append_len(n->heard, text, length);
        g_string_append_c(n->heard, '\n');
    }
    gboolean found = strstr(n->heard->str, words) != NULL;
    if (found) {
        g_string_truncate(n->heard, 0);
    }
    return found;
}

static void test_notify(void)
{
    struct notifications n;
    struct fixture f = {0};

    listen_to(&n);
    fixture_up(&f, config);
    test_wait_until(10, heard(&n, "READY=1"));
    test_wait_until(10, heard(&n, "WATCHDOG=1"));
    test_wait_until(10, heard(&n, "WATCHDOG=1")); /* again and again */
    fixture_reconfigure(&f, config);
    test_wait_until(10, heard(&n, "RELOADING=1"));
    g_assert_cmpint(fixture_stop_daemon(&f), ==, 0);
    test_wait_until(10, heard(&n, "STOPPING=1"));
    stop_listening(&n);
    fixture_down(&f);
}

/* It runs no more: all that it says it has said. */
static gboolean is_stopped(GSubprocess *process)
{
    g_autofree char *path = g_strdup_printf("/proc/%s/stat", g_subprocess_get_identifier(process));
    g_autofree char *stat = NULL;

    g_assert_true(g_file_get_contents(path, &stat, NULL, NULL));
    return strrchr(stat, ')')[2] == 'T';
}

/* An engine that hangs, or a daemon that does: the watchdog is not fed. */
static void test_watchdog_starves(void)
{
    struct notifications n;
    struct fixture f = {0};

    listen_to(&n);
    fixture_up(&f, config);
    test_wait_until(10, heard(&n, "WATCHDOG=1"));
    g_subprocess_send_signal(f.daemon, SIGSTOP);
    test_wait_until(10, is_stopped(f.daemon));
    heard(&n, "WATCHDOG=1"); /* what was under way */
    g_string_truncate(n.heard, 0);
    g_usleep(600000);
    g_assert_false(heard(&n, "WATCHDOG=1"));
    g_subprocess_send_signal(f.daemon, SIGCONT);
    test_wait_until(10, heard(&n, "WATCHDOG=1"));
    stop_listening(&n);
    fixture_down(&f);
}

/* SIGINT ends it like SIGTERM. */
static void test_interrupt(void)
{
    struct fixture f = {0};

    fixture_up(&f, config);
    g_subprocess_send_signal(f.daemon, SIGINT);
    g_assert_true(g_subprocess_wait_check(f.daemon, NULL, NULL));
    g_clear_object(&f.daemon);
    fixture_down(&f);
}

/* A second daemon with the same state, or on the same bus, says why it can't be, and ends. */
static void test_second(void)
{
    g_autofree char *same_state = NULL, *same_name = NULL;
    g_autoptr(GError) error = NULL;
    struct fixture f = {0};

    fixture_up(&f, config);
    g_assert_cmpint(fixture_run(&f, &same_state, "hvtimerd --config %s --libvirt none", f.config),
                    ==, 1);
    g_assert_nonnull(strstr(same_state, "state_directory"));
    g_autofree char *other = g_build_filename(f.directory, "other.json", NULL);
    g_autofree char *text = g_strdup_printf("{\"state_directory\": \"%s/other\"}", f.directory);
    g_assert_true(g_file_set_contents(other, text, -1, &error));
    g_assert_cmpint(fixture_run(&f, &same_name, "hvtimerd --config %s --libvirt none", other), ==,
                    1);
    g_assert_nonnull(strstr(same_name, "org.hvtimer1"));
    fixture_down(&f);
}

static void test_options(void)
{
    g_autofree char *version = NULL, *broken = NULL, *option = NULL;
    g_autoptr(GError) error = NULL;
    struct fixture f = {0};

    fixture_up(&f, config);
    g_assert_cmpint(fixture_run(&f, &version, "hvtimerd --version"), ==, 0);
    g_assert_nonnull(strstr(version, "hvtimerd "));
    g_assert_cmpint(fixture_run(&f, NULL, "hvtimerd --config %s --check-config", f.config), ==, 0);
    g_assert_cmpint(fixture_run(&f, &option, "hvtimerd --frobnicate"), ==, 2);
    g_assert_nonnull(strstr(option, "--frobnicate"));
    g_assert_true(g_file_set_contents(f.config, "{\"engine\": {\"prio\": 1}}", -1, &error));
    g_assert_cmpint(fixture_run(&f, &broken, "hvtimerd --config %s --check-config", f.config), ==,
                    1);
    g_assert_nonnull(strstr(broken, "engine.prio"));
    g_assert_cmpint(fixture_run(&f, NULL, "hvtimerd --config /nowhere.json --check-config"), ==, 1);
    fixture_down(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/service/notify", test_notify);
    g_test_add_func("/service/watchdog-starves", test_watchdog_starves);
    g_test_add_func("/service/interrupt", test_interrupt);
    g_test_add_func("/service/second", test_second);
    g_test_add_func("/service/options", test_options);
    return g_test_run();
}
