/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Perf events of KVM's trace events, which hvtimer-attach has opened for us (ATTACH_TRACE): taking
 * them over, their rings, closing them. None of it needs a privilege; a ring needs locked memory
 * (RLIMIT_MEMLOCK, beyond what the kernel grants each user: kernel.perf_event_mlock_kb). Main loop.
 *
 * Errors, here and for those who use it: HV_STATUS_ERROR: INSUFFICIENT_MEMORY where the kernel
 * gives no more locked memory, OPERATION_DENIED; each with what to do about it.
 */
#pragma once

#include "daemon/attach/client.h"
#include <linux/perf_event.h>

/* The longest raw data that are understood; most events of KVM's have 30 bytes or so. */
#define KVM_EVENT_RAW_MAX 128u

/* How many whole rows of @row events there are. */
unsigned kvm_event_rows(const struct attach_result *opened, unsigned row);
/* The @at-th of all of them, to be closed with kvm_event_close(). (transfer full) */
int kvm_event_take(struct attach_result *opened, unsigned at);

void kvm_event_enable(int fd);

/* Its ring: a struct perf_event_mmap_page in a page of its own, and behind it @size bytes, a power
 * of two of pages. All of it is there: no page faults later on. */
struct perf_event_mmap_page *kvm_event_map(int fd, size_t size, GError **error);
void kvm_event_unmap(struct perf_event_mmap_page *page, size_t size); /* NULL is fine */

/* The records of @fd go to the ring of @ring_fd, an event of the same thread that is mapped. */
gboolean kvm_event_redirect(int fd, int ring_fd, GError **error);

/* Closes an event, soon, in a thread, one after the other: the kernel may wait a tenth of a second
 * until nobody is in it any more. */
void kvm_event_close(int fd);
/* All that were not taken, where nobody wants them any more. NULL is fine. */
void kvm_event_close_all(struct attach_result *opened);
