/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Why a request was not done: see failure.h. */
#include "daemon/attach/failure.h"

#include <stdarg.h>
#include <stdio.h>

bool fail(struct failure *failure, enum attach_status status, const char *format, ...)
{
    va_list arguments;

    if (failure->status == ATTACH_OK) {
        failure->status = status;
        va_start(arguments, format);
        vsnprintf(failure->reason, sizeof(failure->reason), format, arguments);
        va_end(arguments);
    }
    return false;
}
