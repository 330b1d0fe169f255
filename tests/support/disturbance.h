/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What keeps a guest from running: its process is stopped, or others have its CPU.
 *
 * Whoever uses this has called libvirt_guard(): should the program end in the midst of it, all that
 * it had started is killed, stopped or not.
 */
#pragma once

#include <glib.h>
#include <sys/types.h>

/* Stops the processes for @ms, and lets them go on. */
void disturb_stop(const pid_t *pids, guint n_pids, gint64 ms);

/* Stops them for @stop_ms in every @interval_ms, for @seconds. */
void disturb_stop_often(const pid_t *pids, guint n_pids, gint64 stop_ms, gint64 interval_ms,
                        double seconds);

/* A CPU that this process may use: the last one. */
int disturb_cpu(void);

/* All threads that the process has now run on @cpu only. */
void disturb_pin(pid_t pid, int cpu);

/* A thread that has all of @cpu, with SCHED_FIFO, for @busy_ms in every @interval_ms. Less than
 * what the kernel leaves to real-time threads, sched_rt_runtime_us, which would otherwise decide.
 * NULL, with @ret_why, in words: it may not. */
struct hog;
struct hog *hog_start(int cpu, gint64 busy_ms, gint64 interval_ms, const char **ret_why);
/* Returns the time that it had, in seconds. */
double hog_stop(struct hog *hog);
