/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the kernel tells of a hvtimerd that runs, and of its engine's thread. Without a judgement.
 */
#pragma once

#include "hvapi/verify/host.h"

struct engine_facts {
    /* Of the process. */
    gboolean uid_known;
    guint32 uid;
    gboolean locked_known;
    guint64 locked_kb; /* of its memory */
    char *rt_group;    /* a cgroup that gets no real-time at all; NULL: none is known */
    /* Of the engine's thread. */
    gboolean thread_known;
    int policy; /* as SCHED_FIFO */
    int priority;
    char *cpus; /* that it may run on: "0-3" */
};

/* @pid: 0: nothing is known. To be cleared with engine_facts_clear(). */
void engine_facts_read(struct engine_facts *ret_facts, const struct host *host, guint32 pid);
void engine_facts_clear(struct engine_facts *facts);
