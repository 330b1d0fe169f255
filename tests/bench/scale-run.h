/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One run of the engine with many partitions. Their ticks are raised and acknowledged through one
 * eventfd each, in place of a guest: a write a tick, and a read, are what a borrowed pin takes.
 */
#pragma once

#include <glib.h>
#include <stdint.h>

struct scale_run {
    unsigned partitions, hz;
    unsigned threads, window_us; /* of the engine; 0 threads: 1 */
    double seconds;
    /* What was found. */
    uint64_t due, taken, lost, backlog; /* all partitions' */
    uint64_t injected, wakeups;
    double cpu_share;                  /* of one CPU: the engine's threads together */
    double tick_ns;                    /* CPU time of it for each tick that was raised */
    double write_ns;                   /* that of a bare eventfd write, in the same run */
    uint64_t late_p50_ns, late_p99_ns; /* of ticks: the middle partition's, and the worst one's */
};

void scale_run_paced(struct scale_run *run);
/* With a base timer that never loses a tick: what looking costs. */
void scale_run_supervised(struct scale_run *run);
