/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What /proc tells of a VMM, and whether it can be attached to. Only reads: a process that is
 * refused here has not been touched. It isn't trusted: all that is read is bounded, and names that
 * it can choose (command, executable) decide nothing but what is safe for itself.
 */
#pragma once

#include "daemon/attach/failure.h"
#include <stddef.h>
#include <sys/types.h>

#define TARGET_THREADS_MAX 1024u
#define TARGET_VCPUS_MAX   1024u

struct target_vcpu {
    unsigned id; /* as KVM has it: its local APIC's first ID */
    int fd;      /* in there */
};

struct target {
    pid_t pid;
    int proc; /* /proc/PID, which stays that of this process even if the pid is used again */
    int pidfd;
    int vm_fd; /* in there: the one anon_inode:kvm-vm */
    struct target_vcpu *vcpus;
    unsigned n_vcpus;
    char name[64]; /* of the executable */
};

struct target_thread {
    pid_t tid;
    bool maybe_vcpu; /* is not known to be asleep outside of KVM */
    int score;       /* how well it is suited to be borrowed, 0: not at all */
};

enum target_use {
    TARGET_ATTACH, /* threads of it are to be stopped and borrowed */
    TARGET_LOOK,   /* nothing is done to it: any process with a KVM guest will do; of several
                      machines `vm_fd` is one, and the vCPUs are those of all */
};

/* Looks and checks. On failure as after target_close(). */
bool target_open(struct target *target, pid_t pid, uint64_t start_time, enum target_use use,
                 struct failure *failure);
void target_close(struct target *target);

/* Its threads as of now, at most TARGET_THREADS_MAX. */
bool target_threads(const struct target *target, struct target_thread *ret_threads,
                    size_t *ret_count, struct failure *failure);

/* Those of its threads as of now that run vCPUs: those named as QEMU names them, "CPU 0/KVM" and so
 * on, or, if none is, all. @vcpu: the one that runs that vCPU, by KVM's number
 * (anon_inode:kvm-vcpu:3); -1: of any. The names have QEMU's numbers, which are others where a
 * socket has a number of cores that is no power of two, or cores of threads; but both count up
 * alike. Where it can't be told, those of all vCPUs. Fails if there are more than @max. */
bool target_vcpu_threads(const struct target *target, int64_t vcpu, pid_t *ret_threads,
                         unsigned max, unsigned *ret_count, struct failure *failure);

/* Is it one of its threads (still)? */
bool target_has_thread(const struct target *target, pid_t tid);

/* Does a system call filter apply to the thread? One that can't be read has ended: true. */
bool target_is_filtered(const struct target *target, pid_t tid);

/* Who traces the thread; 0: nobody. */
pid_t target_tracer(const struct target *target, pid_t tid);

/* Its filter, if any, is known to allow what the helper does in it. */
bool target_filter_is_known(const struct target *target);

/* Is that descriptor of thread @tid what it was at target_open()? */
bool target_has_vm(const struct target *target, pid_t tid);
bool target_has_vcpu(const struct target *target, pid_t tid, const struct target_vcpu *vcpu);
/* NULL: there is none of that number. */
const struct target_vcpu *target_vcpu(const struct target *target, unsigned id);
/* The highest descriptor of the VM and its vCPUs. */
int target_last_fd(const struct target *target);

/* One readable and writable mapping spans [from, to). */
bool target_is_writable(const struct target *target, uint64_t from, uint64_t to);

bool target_read(const struct target *target, uint64_t address, void *buffer, size_t size);
bool target_write(const struct target *target, uint64_t address, const void *buffer, size_t size);
