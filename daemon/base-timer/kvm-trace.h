/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The guest's accesses to a few I/O ports, as KVM's trace event kvm_pio shows them: a perf event
 * for each thread of the VMM, filtered in the kernel. Without BPF, and without anything in the VMM.
 *
 * A write is seen, with its time, just before the device acts on it; a read as the guest gets its
 * value, that is after the VMM has answered. What has happened can be read at once: nothing waits
 * for a wakeup or for a buffer to fill. Some 2700 accesses of each thread are kept unread, then
 * further ones are lost: a guest that reads its RTC's register C at 1024 Hz makes 2048 a second.
 *
 * Accesses of more than a byte, and string instructions' of more than one, are not seen: no
 * operating system programs these timers so.
 */
#pragma once

#include "daemon/base-timer/ports.h"
#include <glib.h>
#include <sys/types.h>

struct kvm_trace;

/* Accesses of the KVM process @pid to @ports (up to 4 of them) from now on: those of its vCPU
 * threads as QEMU names them, "CPU 0/KVM" and so on, or, if no thread is named so, of all threads
 * that it has now. A vCPU that is added later is not seen. Needs CAP_PERFMON and access to the
 * kernel's tracing directory (mounted, or CAP_SYS_ADMIN to open it unmounted), or root. Takes
 * 132 KiB and a descriptor for each thread. Main loop. Errors: HV_STATUS_ERROR: ACCESS_DENIED,
 * OPERATION_DENIED where the kernel has no such event, INSUFFICIENT_MEMORY where it gives no more
 * descriptors or locked memory, INVALID_PARTITION_ID if there is no such process; each with what to
 * do about it. (transfer full) */
struct kvm_trace *kvm_trace_new(pid_t pid, const uint16_t *ports, unsigned n_ports, GError **error);
void kvm_trace_free(struct kvm_trace *trace);

/* The oldest access that was not yet read, up to @until_ns (CLOCK_MONOTONIC); false: there is none,
 * or some before it were lost, and kvm_trace_lost() is to be asked first. Times never go back.
 * Accesses of two threads come in the order in which one could know of the other; if they were
 * truly at once, in any order. Once the process has ended, what it had done until then. Any one
 * thread, a real-time one too: reads memory only, in bounded time. */
bool kvm_trace_next(struct kvm_trace *trace, uint64_t until_ns, struct port_access *ret_access);
/* To be asked whenever kvm_trace_next() has returned false. True, once: after all that it has
 * returned so far, accesses were lost, because the reader was away for too long: the registers may
 * be others than it told. It goes on with what came after them. The same thread. */
bool kvm_trace_lost(struct kvm_trace *trace);
