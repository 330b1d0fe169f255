/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A trace event of KVM's, as this kernel has it: its number, and where its fields are. */
#pragma once

#include "daemon/attach/failure.h"

/* @name: as "kvm_pio". @fields: the @n_fields that it must have, each of 8 bytes at most; @places
 * are theirs. Looks into the tracing directory where it is mounted, and where it isn't, into one
 * that nobody else sees: nothing is mounted that others could see. */
bool trace_event_find(const char *name, const char *const *fields, unsigned n_fields,
                      uint64_t *ret_id, struct attach_place *ret_places, struct failure *failure);

/* What the kernel has refused, with errno @code, and what to do about it. Returns false. */
bool trace_event_fail(struct failure *failure, int code, const char *what);
