/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A line that the VMM drives itself, for a timer that the guest has anyway: the RTC's GSI 8, the
 * PIT's GSI 0. EOIs are counted by a listener, and a tick is topped up by a pulse of a plain irqfd
 * beside it, which the guest can't tell from one of the timer's own. "rtc" and "pit".
 */
#pragma once

#include "daemon/attach/queue.h"
#include "daemon/base-timer/supervision.h"
#include "daemon/injector.h"

/* @injector: (transfer full): NULL with @error, of HV_STATUS_ERROR. */
typedef void (*injector_shared_line_func)(struct injector *injector, const GError *error,
                                          gpointer user_data);

/* What the guest tells its timer is traced; where that can't be had, which is warned of, the rate
 * is told from acknowledgements. @makes_up: see struct injector. Calls @done once, later. */
void injector_shared_line_open(struct attach_queue *queue, enum base_timer timer, gboolean makes_up,
                               injector_shared_line_func done, gpointer user_data);
