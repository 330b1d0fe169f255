/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Checks on descriptors that others hand in: see descriptor.h. */
#include "daemon/descriptor.h"

#include <gio/gio.h>
#include <glib-unix.h>

gboolean descriptor_prepare_eventfd(int fd, GError **error)
{
    g_autofree char *link = g_strdup_printf("/proc/self/fd/%d", fd);
    g_autofree char *target = g_file_read_link(link, NULL);

    if (target == NULL || !g_str_equal(target, "anon_inode:[eventfd]")) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                    "an eventfd was expected, not %s", target != NULL ? target : "a closed one");
        return FALSE;
    }
    return g_unix_set_fd_nonblocking(fd, TRUE, error);
}
