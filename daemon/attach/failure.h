/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Why a request was not done, kept until it is answered. The first failure is the one told. */
#pragma once

#include "daemon/attach/protocol.h"
#include <stdbool.h>

struct failure {
    enum attach_status status; /* ATTACH_OK: none */
    char reason[ATTACH_REASON_MAX];
};

/* Returns false, for the caller to return. */
bool fail(struct failure *failure, enum attach_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
