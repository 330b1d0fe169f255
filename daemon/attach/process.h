/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Processes by number and by what is said on their command line. */
#pragma once

#include <glib.h>
#include <stdint.h>
#include <sys/types.h>

/* When @pid was started, in the kernel's own unit: together with the number it names one process
 * for ever. Errors: HV_STATUS_ERROR, INVALID_PARTITION_ID. */
gboolean process_start_time(pid_t pid, uint64_t *ret_start_time, GError **error);

/* The QEMU process that has @uuid as an argument, or as the value of an option. 0 with
 * INVALID_PARTITION_ID if there is none, with INVALID_PARTITION_STATE if there are several. Reads
 * all of /proc. */
pid_t process_find_qemu(const char *uuid, GError **error);
