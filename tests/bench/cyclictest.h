/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cyclictest (rt-tests), which everybody knows: how late a real-time thread wakes up here. */
#pragma once

#include <glib.h>

/* Runs it on @cpu with SCHED_FIFO @priority, each @interval_us, for @seconds, and adds the
 * latenesses, in whole us, to @samples. FALSE with @error: it is not there, or does not run. */
gboolean cyclictest_run(int cpu, int priority, unsigned interval_us, unsigned seconds,
                        GArray *samples, GError **error);
