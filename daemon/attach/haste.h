/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What makes the moment short that a VMM stands still. Where it is not permitted, it is done
 * without.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/* Before: helper and @worker share one CPU, so that they take turns without waking one another
 * across CPUs, and the worker goes before ordinary threads, and before the helper. */
void haste_prepare(pid_t worker);

/* Once all threads of the VMM stand still, the helper too goes before ordinary threads. Not
 * earlier: it would be in the way of a thread that is to stop on the same CPU. */
void haste_begin(void);

/* Was all of haste_prepare() permitted? Then, once the worker is let run, the helper does nothing
 * before the worker sleeps or stops: not even die. */
bool haste_worker_goes_first(void);
