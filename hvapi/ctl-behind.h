/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* When top and monitor call a partition behind. */
#pragma once

#include <hvapi/hvapi.h>
#include <stdbool.h>

/* A tick that falls due at the very moment of a reading is in its backlog: one is nothing. */
static inline bool statistics_are_behind(const hvapi_statistics *statistics)
{
    return statistics->backlog > 1;
}
