/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What makes a stop short: see haste.h. */
#include "daemon/attach/haste.h"

#include <sched.h>

static const struct sched_param helpers_priority = {.sched_priority = 1};
static const struct sched_param workers_priority = {.sched_priority = 2};

static bool worker_goes_first;

static bool move_both(pid_t worker, int cpu)
{
    cpu_set_t there;

    CPU_ZERO(&there);
    CPU_SET((size_t)cpu, &there);
    return sched_setaffinity(worker, sizeof(there), &there) == 0 &&
           sched_setaffinity(0, sizeof(there), &there) == 0;
}

/* Where the helper is; or, if the VMM is confined to others, on one of its CPUs. */
static bool share_cpu(pid_t worker)
{
    cpu_set_t allowed;
    bool done = move_both(worker, sched_getcpu());

    if (done || sched_getaffinity(worker, sizeof(allowed), &allowed) != 0) {
        return done;
    }
    for (int cpu = 0; cpu < CPU_SETSIZE && !done; cpu++) {
        done = CPU_ISSET((size_t)cpu, &allowed) && move_both(worker, cpu);
    }
    return done;
}

void haste_prepare(pid_t worker)
{
    bool shared = share_cpu(worker);

    worker_goes_first = sched_setscheduler(worker, SCHED_FIFO, &workers_priority) == 0 && shared;
}

void haste_begin(void)
{
    sched_setscheduler(0, SCHED_FIFO, &helpers_priority);
}

bool haste_worker_goes_first(void)
{
    return worker_goes_first;
}
