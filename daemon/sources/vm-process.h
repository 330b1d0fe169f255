/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A running process of an unmodified KVM VMM, as a guest's way to ticks: attaches when the timer is
 * to run, and tells when the process ends. Main loop only.
 */
#pragma once

#include "daemon/config.h"
#include "daemon/guest.h"
#include <sys/types.h>

/* The process has ended; the guest is off. */
typedef void (*vm_process_ended_func)(struct guest *guest, gpointer user_data);

/* Starts @guest with process @pid; the guest turns off when it ends. @config must outlive it.
 * @ended: (nullable). Errors: INVALID_PARTITION_ID if there is no such process. */
gboolean vm_process_start(struct guest *guest, pid_t pid, const struct config *config,
                          vm_process_ended_func ended, gpointer user_data, GError **error);
