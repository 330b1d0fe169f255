/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What each kind of request does. */
#pragma once

#include "daemon/attach/failure.h"

/* Hands over the reply with its descriptors, while what it tells can still be undone. False if the
 * receiver is gone. */
typedef bool (*request_answer_func)(const struct attach_reply *reply, const int fds[ATTACH_FDS],
                                    void *data);

/* Does all that is asked, or nothing, and answers once. */
void request_run(const struct attach_request *request, request_answer_func answer, void *data);
