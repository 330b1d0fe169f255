/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The memory of hvtimerd with many partitions. */
#pragma once

/* Its resident set in KiB with so many ticking partitions of the model, when all have been asked
 * for their figures once. */
double scale_memory_kib(unsigned partitions);
