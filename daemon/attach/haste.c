/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What makes a stop short: see haste.h. */
#include "daemon/attach/haste.h"

#include <sched.h>

static const struct sched_param lowest_real_time = {.sched_priority = 1};

void haste_prepare(pid_t worker)
{
    cpu_set_t here;

    CPU_ZERO(&here);
    CPU_SET(sched_getcpu(), &here);
    if (sched_setaffinity(worker, sizeof(here), &here) == 0) {
        sched_setaffinity(0, sizeof(here), &here);
    }
    sched_setscheduler(worker, SCHED_FIFO, &lowest_real_time);
}

void haste_begin(void)
{
    sched_setscheduler(0, SCHED_FIFO, &lowest_real_time);
}
