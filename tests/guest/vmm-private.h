/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The inside of a Vmm, for the files that make it up.
 */
#pragma once

#include "tests/guest/tick.h"
#include "tests/guest/vmm.h"
#include <linux/kvm.h>
#include <pthread.h>

struct vmm_cpu {
    Vmm *vmm;
    guint index;
    int fd;
    struct kvm_run *run;
    struct guest_page *page;

    /* vmm_start() to vmm_stop(). */
    pthread_t thread;
    gboolean started; /* @thread is to be joined */

    /* Under vmm->lock. */
    gboolean in_loop;  /* the thread runs the vCPU, or will: it heeds hold_until */
    gboolean away;     /* the thread is out of the guest, held */
    gint64 hold_until; /* monotonic time */
};

struct Vmm {
    int vm_fd;
    guint8 *memory;
    size_t run_size; /* of the mapping of a struct kvm_run */
    guint n_cpus;
    struct vmm_cpu cpus[VMM_MAX_CPUS];

    int tick_fd;
    int listener_fd; /* the resample irqfd: registered and never written */
    int ack_fd;

    struct hvapi_vmm *handed_over;

    GMutex lock;
    GCond changed; /* any of what follows, or of a vCPU's part under the lock */
    gboolean stopping;
    char *failure; /* the first one; not replaced */
};

/* An ioctl on one of KVM's descriptors; the error names it. Returns its result, or -1. */
#define vmm_ioctl(fd, request, argument, error) \
    vmm_named_ioctl(fd, request, #request, (unsigned long)(argument), error)
int vmm_named_ioctl(int fd, unsigned long request, const char *name, unsigned long argument,
                    GError **error);

/* As g_set_error(), from errno: "@what: reason". */
void vmm_set_error_from_errno(GError **error, const char *what);
