/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Trace events of the kernel's, seen by perf_event_open(2) in the threads of one VMM: finding the
 * event, finding the threads, opening it there with a filter. What is done with the descriptors is
 * the caller's business. Main loop.
 *
 * Errors, here and for those who use it: HV_STATUS_ERROR: ACCESS_DENIED, OPERATION_DENIED where the
 * kernel has no such event, INSUFFICIENT_MEMORY where it gives no more descriptors or locked
 * memory, INVALID_PARTITION_ID if there is no such process; each with what to do about it.
 */
#pragma once

#include <glib.h>
#include <linux/perf_event.h>
#include <stdint.h>
#include <sys/types.h>

/* The longest raw data that are understood; most events of KVM's have 30 bytes or so. */
#define KVM_EVENT_RAW_MAX    128u
#define KVM_EVENT_FIELDS_MAX 8u

/* An event, as this kernel has it. */
struct kvm_event {
    uint64_t id;
    struct {
        uint32_t offset, size;
    } fields[KVM_EVENT_FIELDS_MAX]; /* in the order in which they were asked for */
    uint32_t raw_size;              /* up to the end of the last of them */
};

/* @name: as in the tracing directory, such as "kvm/kvm_pio". @fields: those that it must have, each
 * of 8 bytes at most. Mounts nothing that others could see. */
gboolean kvm_event_find(const char *name, const char *const *fields, unsigned n_fields,
                        struct kvm_event *ret_event, GError **error);

/* The threads of process @pid that run its vCPUs, pid_t: those that are named as QEMU names them,
 * "CPU 0/KVM" and so on, or, if none is, all that it has now. (transfer full) */
GArray *kvm_event_find_threads(pid_t pid, GError **error);

/* The one that runs vCPU @vcpu, by KVM's number (anon_inode:kvm-vcpu:3). The names have QEMU's,
 * which is another one where a socket has a number of cores that is no power of two, or cores of
 * threads; but both count up alike. Where it can't be told, those of all vCPUs. (transfer full) */
GArray *kvm_event_find_vcpu_threads(pid_t pid, unsigned vcpu, GError **error);

/* A perf event for @event in @thread, off until PERF_EVENT_IOC_ENABLE. @attr: how to sample; type,
 * size, config and disabled are filled in. TRUE with -1: the thread has ended. */
gboolean kvm_event_open(const struct kvm_event *event, pid_t thread,
                        const struct perf_event_attr *attr, const char *filter, int *ret_fd,
                        GError **error);

/* Its ring: a struct perf_event_mmap_page in a page of its own, and behind it @size bytes, a power
 * of two of pages. All of it is there: no page faults later on. */
struct perf_event_mmap_page *kvm_event_map(int fd, size_t size, GError **error);
void kvm_event_unmap(struct perf_event_mmap_page *page, size_t size); /* NULL is fine */

/* Closes an event, soon, in a thread, one after the other: the kernel may wait a tenth of a second
 * until nobody is in it any more. */
void kvm_event_close(int fd);

/* The records of @fd go to the ring of @ring_fd, an event of the same thread that is mapped. */
gboolean kvm_event_redirect(int fd, int ring_fd, GError **error);

/* For who finds that all threads of @pid have ended. */
void kvm_event_set_ended(GError **error, pid_t pid);
