/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Finding a trace event of KVM's: see trace-event.h. Its file "format" says where its fields are.
 */
#include "daemon/attach/trace-event.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define VALUE_MAX 8u /* bytes of a field */

bool trace_event_fail(struct failure *failure, int code, const char *what)
{
    switch (code) {
    case EACCES:
    case EPERM:
        return fail(failure, ATTACH_NOT_PERMITTED,
                    "%s: %s; hvtimer-attach needs root's rights for it (CAP_PERFMON, and "
                    "CAP_SYS_ADMIN where tracefs is not mounted), and a kernel without lockdown",
                    what, strerror(code));
    case EMFILE:
    case ENFILE:
    case ENOMEM:
        return fail(failure, ATTACH_NO_RESOURCES,
                    "%s: %s; raise hvtimer-attach's limit of open files (LimitNOFILE)", what,
                    strerror(code));
    case EINTR: /* only at the deadline is anything interrupted */
        return fail(failure, ATTACH_TIMED_OUT, "%s took too long: try again", what);
    default:
        return fail(failure, ATTACH_NO_EVENT,
                    "%s: %s; it takes the kvm module, and a kernel with perf events and trace "
                    "events (CONFIG_PERF_EVENTS, CONFIG_FTRACE)",
                    what, strerror(code));
    }
}

/* ---- what its files say ---- */

/* All of a small file; @buffer becomes a string. False with errno. */
static bool read_file(int directory, const char *event, const char *file, char *buffer, size_t size)
{
    char path[80];
    size_t length = 0;
    ssize_t got = -1;

    snprintf(path, sizeof(path), "events/kvm/%s/%s", event, file);
    int fd = openat(directory, path, O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && (got = read(fd, buffer + length, size - 1 - length)) > 0) {
        length += (size_t)got;
    }
    buffer[length] = '\0';
    int code = errno;
    if (fd >= 0) {
        close(fd);
    }
    errno = code;
    return got == 0;
}

/* A line as "field:unsigned int port;	offset:12;	size:4;	signed:0;": the type may be several
 * words. */
static void read_field(const char *line, const char *const *fields, unsigned n_fields,
                       struct attach_place *places)
{
    const char *end = strchr(line, ';');
    const char *space = end != NULL ? memrchr(line, ' ', (size_t)(end - line)) : NULL;
    struct attach_place place;
    char name[32];

    if (space == NULL ||
        sscanf(space, " %31[a-z_]; offset:%u; size:%u;", name, &place.offset, &place.size) != 3) {
        return;
    }
    for (unsigned i = 0; i < n_fields; i++) {
        if (strcmp(name, fields[i]) == 0 && place.size >= 1 && place.size <= VALUE_MAX) {
            places[i] = place;
        }
    }
}

/* False with errno. */
static bool read_event(int tracing, const char *name, const char *const *fields, unsigned n_fields,
                       uint64_t *ret_id, struct attach_place *ret_places)
{
    char id[32], format[4096];

    memset(ret_places, 0, n_fields * sizeof(*ret_places));
    if (!read_file(tracing, name, "id", id, sizeof(id)) ||
        !read_file(tracing, name, "format", format, sizeof(format))) {
        return false;
    }
    *ret_id = strtoull(id, NULL, 10);
    for (const char *line = format; (line = strstr(line, "field:")) != NULL; line++) {
        read_field(line, fields, n_fields, ret_places);
    }
    for (unsigned i = 0; i < n_fields; i++) {
        if (ret_places[i].size == 0) {
            errno = EPROTO; /* such as kvm_pio before Linux 3.17, which had no val */
            return false;
        }
    }
    return true;
}

/* ---- where they are ---- */

/* The tracing directory of a host where nobody has mounted it: a mount at no place, seen by nobody
 * and gone with its descriptor. -1 with errno. */
static int mount_tracing(void)
{
    int fs = (int)syscall(SYS_fsopen, "tracefs", FSOPEN_CLOEXEC);
    int fd = -1, code;

    if (fs < 0) {
        return -1;
    }
    if (syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0) {
        fd = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC,
                          MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    }
    code = errno;
    close(fs);
    errno = code;
    return fd;
}

bool trace_event_find(const char *name, const char *const *fields, unsigned n_fields,
                      uint64_t *ret_id, struct attach_place *ret_places, struct failure *failure)
{
    static const char *const places[] = {"/sys/kernel/tracing", "/sys/kernel/debug/tracing", NULL};
    char what[80];
    int code = 0;

    for (unsigned i = 0; i < sizeof(places) / sizeof(*places); i++) {
        int tracing =
            places[i] != NULL ? open(places[i], O_PATH | O_DIRECTORY | O_CLOEXEC) : mount_tracing();
        bool found =
            tracing >= 0 && read_event(tracing, name, fields, n_fields, ret_id, ret_places);
        code = errno;
        if (tracing >= 0) {
            close(tracing);
        }
        if (found) {
            return true;
        }
    }
    snprintf(what, sizeof(what), "the kernel's trace event %s", name);
    return trace_event_fail(failure, code, what);
}
