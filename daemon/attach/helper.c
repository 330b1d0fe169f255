/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Getting an hvtimer-attach: see helper.h. */
#include "daemon/attach/helper.h"

#include "common/status.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int start(const char *path, GSubprocess **ret_process, GError **error)
{
    g_autoptr(GSubprocessLauncher) launcher = g_subprocess_launcher_new(G_SUBPROCESS_FLAGS_NONE);
    g_autoptr(GError) cause = NULL;
    int sockets[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) != 0) {
        g_set_error(error, HV_STATUS_ERROR, HV_STATUS_INSUFFICIENT_MEMORY, "no socket: %s",
                    g_strerror(errno));
        return -1;
    }
    g_subprocess_launcher_take_stdin_fd(launcher, sockets[1]);
    *ret_process = g_subprocess_launcher_spawn(launcher, &cause, path, NULL);
    if (*ret_process == NULL) {
        g_set_error(error, HV_STATUS_ERROR, HV_STATUS_OPERATION_DENIED,
                    "the attach helper could not be started: %s", cause->message);
        close(sockets[0]);
        return -1;
    }
    return sockets[0];
}

/* Never waits: a listener whose queue is full is to be asked again later. */
static int ask(const char *path, gboolean *ret_busy, GError **error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), code;

    g_strlcpy(address.sun_path, path, sizeof address.sun_path);
    if (fd >= 0 && strlen(path) < sizeof address.sun_path &&
        connect(fd, (struct sockaddr *)&address, sizeof address) == 0) {
        return fd;
    }
    code = strlen(path) < sizeof address.sun_path ? errno : ENAMETOOLONG;
    if (fd >= 0) {
        close(fd);
    }
    *ret_busy = code == EAGAIN;
    g_set_error(error, HV_STATUS_ERROR, HV_STATUS_OPERATION_DENIED,
                "hvtimer-attach can't be had by %s: %s; is hvtimer-attach.socket started "
                "(systemctl start hvtimer-attach.socket)?",
                path, g_strerror(code));
    return -1;
}

int helper_open(const char *path, GSubprocess **ret_process, gboolean *ret_busy, GError **error)
{
    struct stat status;

    *ret_process = NULL;
    *ret_busy = FALSE;
    /* One that isn't there is told by its name, which of the two it was to be. */
    if ((stat(path, &status) == 0 && S_ISSOCK(status.st_mode)) || g_str_has_suffix(path, ".sock")) {
        return ask(path, ret_busy, error);
    }
    return start(path, ret_process, error);
}
