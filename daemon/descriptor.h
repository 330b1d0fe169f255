/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Checks on descriptors that others hand in: they are not trusted to be what they should be. */
#pragma once

#include <glib.h>

/* @fd is an eventfd, and is made non-blocking, because the engine must never wait on it.
 * Errors: G_IO_ERROR_INVALID_ARGUMENT. */
gboolean descriptor_prepare_eventfd(int fd, GError **error);

/* @fd is a perf event. Errors: G_IO_ERROR_INVALID_ARGUMENT. */
gboolean descriptor_check_perf_event(int fd, GError **error);
