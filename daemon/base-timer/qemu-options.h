/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Does the VMM make up a timer's lost ticks itself? What the command line of a QEMU says: two that
 * correct the same timer add up. Files of options (-readconfig) are not looked into; libvirt gives
 * QEMU none.
 */
#pragma once

#include "daemon/base-timer/supervision.h"
#include <sys/types.h>

/* RTC: QEMU makes up only if asked to (-rtc driftfix=slew, lost_tick_policy=slew). PIT: KVM does,
 * for any VMM, unless told not to (lost_tick_policy=discard). @cmdline: as /proc/PID/cmdline has
 * it, with the program's name first; a NUL behind the last argument may be missing. Pure. */
gboolean qemu_options_make_up(const char *cmdline, gsize length, enum base_timer timer);

/* The same of process @pid, as of now. A VMM that is not QEMU: its PIT is taken to be as KVM makes
 * it, with lost ticks made up; of its RTC nothing is known: INVALID_PARTITION_STATE. Other errors,
 * of HV_STATUS_ERROR too: INVALID_PARTITION_ID (no such process), ACCESS_DENIED. */
gboolean qemu_makes_up(pid_t pid, enum base_timer timer, gboolean *ret_makes_up, GError **error);
