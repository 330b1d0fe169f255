/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* hvtimer-attach behind a socket: see helper-socket.h. */
#include "tests/support/helper-socket.h"

#include <errno.h>
#include <gio/gio.h>
#include <glib/gstdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct helper_socket {
    char *path, *helper;
    int listener;
    GThread *thread;
};

/* Ours is closed by then: when the helper ends, so does the connection. */
static void serve(const struct helper_socket *socket, int connection)
{
    g_autoptr(GSubprocessLauncher) launcher = g_subprocess_launcher_new(G_SUBPROCESS_FLAGS_NONE);
    g_autoptr(GError) error = NULL;

    g_subprocess_launcher_take_stdin_fd(launcher, connection);
    g_autoptr(GSubprocess) helper =
        g_subprocess_launcher_spawn(launcher, &error, socket->helper, NULL);
    g_assert_no_error(error);
    g_subprocess_launcher_close(launcher);
    g_subprocess_wait(helper, NULL, NULL);
}

static gpointer listen_on(gpointer data)
{
    const struct helper_socket *socket = data;
    int connection;

    while ((connection = accept4(socket->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0 ||
           errno == EINTR) {
        if (connection >= 0) {
            serve(socket, connection);
        }
    }
    return NULL;
}

struct helper_socket *helper_socket_new(const char *path, const char *helper, uid_t user)
{
    struct helper_socket *new = g_new0(struct helper_socket, 1);
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    new->path = g_strdup(path);
    new->helper = g_strdup(helper);
    g_assert_cmpuint(g_strlcpy(address.sun_path, path, sizeof address.sun_path), <,
                     sizeof address.sun_path);
    new->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    g_assert_cmpint(bind(new->listener, (struct sockaddr *)&address, sizeof address), ==, 0);
    g_assert_cmpint(chmod(path, 0600), ==, 0);
    g_assert_cmpint(chown(path, user, (gid_t)-1), ==, 0);
    g_assert_cmpint(listen(new->listener, 64), ==, 0);
    new->thread = g_thread_new("helper-socket", listen_on, new);
    return new;
}

void helper_socket_free(struct helper_socket *socket)
{
    if (socket == NULL) {
        return;
    }
    shutdown(socket->listener, SHUT_RDWR); /* accept() returns */
    g_thread_join(socket->thread);
    close(socket->listener);
    g_unlink(socket->path);
    g_free(socket->path);
    g_free(socket->helper);
    g_free(socket);
}
