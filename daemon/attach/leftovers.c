/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Eventfds left in a VMM: see leftovers.h. */
#include "daemon/attach/leftovers.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* As many as one look closes. */
#define MOST 64u

static bool is_leftover(int directory, const char *name)
{
    char info[512];
    uint64_t count;
    int fd = openat(directory, name, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, info, sizeof(info) - 1) : -1;

    if (fd >= 0) {
        close(fd);
    }
    info[got > 0 ? got : 0] = '\0';
    const char *line = strstr(info, "\neventfd-count:");
    return line != NULL && sscanf(line, "\neventfd-count: %" SCNx64, &count) == 1 &&
           count >> 16 == LEFTOVERS_MARK;
}

static unsigned find(const struct target *target, int ret_fds[MOST])
{
    int fd = openat(target->proc, "fdinfo", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *entry;
    unsigned count = 0;

    while (directory != NULL && count < MOST && (entry = readdir(directory)) != NULL) {
        if (is_leftover(dirfd(directory), entry->d_name)) {
            ret_fds[count++] = atoi(entry->d_name);
        }
    }
    if (directory != NULL) {
        closedir(directory);
    }
    return count;
}

bool leftovers_close(struct worker *worker, struct failure *failure)
{
    int fds[MOST];
    long ignored;
    unsigned count = worker->own_descriptors ? 0 : find(worker->target, fds);

    for (unsigned i = 0; i < count; i++) {
        if (!worker_call(worker, SYS_close, (uint64_t)fds[i], 0, 0, &ignored, failure)) {
            return false;
        }
    }
    return true;
}
