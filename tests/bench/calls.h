/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The halves of bench-calls: each fills its tables, and sets its bars. */
#pragma once

#include "tests/bench/figures.h"

/* Round trips on the bus, of property calls and of pings. */
void calls_measure_bus(struct figures *figures);

/* For how long a VM stands still when hvtimer-attach comes, and goes. */
void calls_measure_stalls(struct figures *figures);
