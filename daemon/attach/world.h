/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* All threads of the VMM but the worker's two, stopped for a moment so that its vCPUs and devices
 * hold still. */
#pragma once

#include "daemon/attach/worker.h"

struct world {
    struct worker *worker;
    struct world_thread *threads;
    size_t count;
    uint64_t stopped_at; /* when the first vCPU was asked to; 0: none was */
    uint64_t stall_ns;
};

/* Traces them all, which they don't notice. */
bool world_open(struct world *world, struct worker *worker, struct failure *failure);

/* vCPUs last; those that sleep anyway first. On failure all run again, or will when the helper
 * ends. */
bool world_stop(struct world *world, struct failure *failure);

/* vCPUs first. They aren't traced any more. Tells the stall. */
void world_let_go(struct world *world);

void world_close(struct world *world);
