/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is done to the guests of a soak, and to hvtimerd, all of it at random. */
#pragma once

#include "tests/bench/soak.h"

/* One disturbance of guests, however long that takes: three seconds at most. */
void soak_disturb(struct soak *soak);

/* hvtimerd is killed, or stopped, maybe more than once, with the guests disturbed meanwhile. Serves
 * again when it returns. */
void soak_restart(struct soak *soak);

/* Everything is as it was at first: periods, rates, policies. */
void soak_calm(struct soak *soak);
