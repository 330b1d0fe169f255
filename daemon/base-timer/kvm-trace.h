/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The guest's accesses to a few I/O ports, as KVM's trace event kvm_pio shows them: a perf event
 * for each thread of the VMM, filtered in the kernel. Without BPF, and without anything in the VMM.
 */
#pragma once

#include "daemon/base-timer/ports.h"
#include <glib.h>
#include <sys/types.h>

struct kvm_trace;

/* Accesses of the KVM process @pid to @ports (up to 4 of them) from now on. Needs the kernel's
 * tracing directory and CAP_PERFMON, or root. Main loop. Errors: HV_STATUS_ERROR: ACCESS_DENIED,
 * OPERATION_DENIED where the kernel has no such event, INVALID_PARTITION_ID if there is no such
 * process; each with what to do about it. (transfer full) */
struct kvm_trace *kvm_trace_new(pid_t pid, const uint16_t *ports, unsigned n_ports, GError **error);
void kvm_trace_free(struct kvm_trace *trace);

/* The oldest access that was not yet read, up to @until_ns (CLOCK_MONOTONIC); false: there is none.
 * Any one thread, a real-time one too: reads memory only, in bounded time. */
bool kvm_trace_next(struct kvm_trace *trace, uint64_t until_ns, struct port_access *ret_access);
/* Some were lost since the last call: the reader was away for too long. The same thread. */
bool kvm_trace_lost(struct kvm_trace *trace);
