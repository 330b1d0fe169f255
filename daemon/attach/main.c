/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hvtimer-attach: the privileged helper of hvtimerd. Its life is one request: read it from the
 * socket that is standard input, do it within its deadline, reply, exit. It does nothing else and
 * takes no options. At its end the kernel lets go of whatever it still traces.
 */
#include "daemon/attach/deadline.h"
#include "daemon/attach/requests.h"
#include "daemon/attach/tracee.h"
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#define SPIN_NS 300000

static bool send_reply(const struct attach_reply *reply, const int fds[ATTACH_FDS], void *data)
{
    union {
        struct cmsghdr header;
        char buffer[CMSG_SPACE(ATTACH_FDS * sizeof(int))];
    } control = {0};
    struct iovec bytes = {(void *)(uintptr_t)reply, sizeof(*reply)};
    struct msghdr message = {.msg_iov = &bytes, .msg_iovlen = 1};

    (void)data;
    if (reply->fds > 0) {
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(reply->fds * sizeof(int));
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(reply->fds * sizeof(int));
        memcpy(CMSG_DATA(&control.header), fds, reply->fds * sizeof(int));
    }
    return sendmsg(STDIN_FILENO, &message, MSG_NOSIGNAL) == (ssize_t)sizeof(*reply);
}

/* Whoever asked may have given up before this was started. */
static bool is_awaited(void)
{
    struct pollfd reader = {.fd = STDIN_FILENO};

    return poll(&reader, 1, 0) == 0; /* else it is a hang-up: nothing but that is asked for */
}

int main(void)
{
    struct attach_request request;
    ssize_t got = recv(STDIN_FILENO, &request, sizeof(request), MSG_TRUNC);

    if (got != (ssize_t)sizeof(request)) {
        fputs("hvtimer-attach: this is started by hvtimerd, with a socket as standard input that a "
              "request of the same build can be read from\n",
              stderr);
        return 2;
    }
    if (!is_awaited()) {
        fputs("hvtimer-attach: nobody waits for the reply any more; nothing was done\n", stderr);
        return 1;
    }
    deadline_start(ATTACH_DEADLINE_MS);
    mlockall(MCL_CURRENT); /* no page fault while a guest stands still */
    tracee_set_spin(get_nprocs() > 1 ? SPIN_NS : 0);
    request_run(&request, send_reply, NULL);
    return 0;
}
