/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whether a request makes sense, whatever the process. */
#pragma once

#include "daemon/attach/failure.h"

bool request_check(const struct attach_request *request, struct failure *failure);
