/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * KVM's trace events in the threads of a VMM, as perf events. The request says by numbers what is
 * wanted; which events those are and what is let through of them is written here, so that nothing
 * else can be had. Nothing is done to the VMM.
 */
#pragma once

#include "daemon/attach/target.h"

/* Can the request be understood? */
bool trace_check(const struct attach_request *request);

/* Opens them all, or none: `fds` and `fields` of @reply, and @fds. */
bool trace_open(const struct target *target, const struct attach_request *request,
                struct attach_reply *reply, int fds[ATTACH_FDS], struct failure *failure);
