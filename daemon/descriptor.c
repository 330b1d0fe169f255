/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Checks on descriptors that others hand in: see descriptor.h. */
#include "daemon/descriptor.h"

#include <gio/gio.h>
#include <glib-unix.h>

static gboolean check(int fd, const char *link, const char *what, GError **error)
{
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);
    g_autofree char *target = g_file_read_link(path, NULL);

    if (target == NULL || !g_str_equal(target, link)) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT, "%s was expected, not %s", what,
                    target != NULL ? target : "a closed one");
        return FALSE;
    }
    return TRUE;
}

gboolean descriptor_prepare_eventfd(int fd, GError **error)
{
    return check(fd, "anon_inode:[eventfd]", "an eventfd", error) &&
           g_unix_set_fd_nonblocking(fd, TRUE, error);
}

gboolean descriptor_check_perf_event(int fd, GError **error)
{
    return check(fd, "anon_inode:[perf_event]", "a perf event", error);
}
