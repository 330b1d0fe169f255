/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Eventfds that a helper was killed over before it could see to it that they are closed (worker.h:
 * only on kernels where the worker shares the VMM's descriptors). Such a one still has the
 * count that it was made with, which marks it.
 */
#pragma once

#include "daemon/attach/worker.h"

/* Upper 16 of an eventfd's first 32 bits; those of a VMM count a few events, not two billion. */
#define LEFTOVERS_MARK UINT64_C(0x6876)

bool leftovers_close(struct worker *worker, struct failure *failure);
