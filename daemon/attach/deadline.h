/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The time that one request may take in all. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* From now on. Once it has passed, signals interrupt every system call that waits, again and
 * again, so that none is waited in for ever. */
void deadline_start(unsigned ms);
bool deadline_has_passed(void);

/* An earlier one for a while, and the first one again. */
void deadline_narrow(unsigned ms);
void deadline_widen(void);

/* CLOCK_MONOTONIC in ns. */
uint64_t deadline_clock(void);
