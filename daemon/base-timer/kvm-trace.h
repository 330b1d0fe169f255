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

#include "daemon/attach/client.h"
#include "daemon/base-timer/ports.h"

struct kvm_trace;

/* What is to be asked of hvtimer-attach for it: accesses of its process to @ports, up to
 * ATTACH_PORTS of them: those of its vCPU threads as QEMU names them, "CPU 0/KVM" and so on, or, if
 * no thread is named so, of all threads that it has by then. A vCPU that is added later is not
 * seen. */
struct attach_job kvm_trace_job(const uint16_t *ports, unsigned n_ports);

/* From now on. @opened: what came of the request, of which it takes the descriptors; a descriptor
 * and 132 KiB of locked memory for each thread. Main loop. Errors as in kvm-event.h. (transfer
 * full) */
struct kvm_trace *kvm_trace_new(struct attach_result *opened, GError **error);
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
