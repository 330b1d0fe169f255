/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A thread of our own in the VMM, for a millisecond, which makes the system calls; it goes away
 * by itself whatever happens to the helper.
 *
 * KVM takes ioctls from the VM's own address space only, so somebody in there has to make them.
 * One thread of the VMM, the host, is stopped while it sleeps in a system call, and borrowed for
 * one call: clone(), as a C library makes it for a thread. The worker that it creates does the
 * rest, with its own table of descriptors: what it opens was never in the VMM's, and is closed when
 * the worker ends.
 *
 * Death of the helper at any point does no harm, because before a thread is given other registers
 * than its own, what it needs to find back lies on the host's stack, below its red zone, where no
 * program keeps anything (frame.h): the worker's way out is exit(), the host's is to wait for the
 * end of the worker, whose memory is on that stack, and then to load the registers it had. A dead
 * tracer's threads run on, and take these ways. In detail:
 *  - before the host's registers are set: it was stopped, and goes on;
 *  - after that, before the worker is there: the host creates one, which ends at once;
 *  - at any time later: the worker finishes the one call that it is at, and ends. An irqfd made
 * goes with its eventfd. Of the IOAPIC see requests.c;
 *  - when the host has got its own registers and signal mask back, in this order reversed: it goes
 * on. All signals are blocked in the worker, and in the host while it waits.
 *
 * Kernels before 6.9 have no descriptor for a single thread, so the helper could not take copies
 * from the worker's own table. There the worker shares the VMM's, and closes what it opened on its
 * way out; a helper that is killed in the microseconds between eventfd2() and worker_will_close()
 * leaves an idle eventfd in the VMM, which the next attach closes (leftovers.h).
 */
#pragma once

#include "daemon/attach/code.h"
#include "daemon/attach/target.h"
#include "daemon/attach/tracee.h"

/* For arguments of calls. */
#define WORKER_DATA_SIZE 2048u
/* The longest row of calls. */
#define WORKER_STEPS 4u

/* One of a row of system calls. */
struct worker_step {
    long number;
    uint64_t arguments[6];
};

struct worker {
    const struct target *target;
    const struct code *code;
    struct tracee host;
    struct tracee thread;
    int pidfd;      /* whose descriptors are the worker's */
    pid_t pid_seen; /* the VMM's process, as the VMM itself sees it */
    bool own_descriptors;
    int gate, gate_remote;
    unsigned closes; /* descriptors to be closed on its way out */
    uint64_t data;   /* address of WORKER_DATA_SIZE bytes in the VMM, zero at first */

    struct user_regs_struct host_registers; /* what the host goes on with */
    uint64_t host_mask;
    uint64_t scratch; /* address of what was overwritten, and what was there */
    size_t scratch_size;
    unsigned char *saved;
    struct user_regs_struct call; /* the worker's registers; what a call does not need is left */
};

/* It keeps the VMM's descriptors up to @last_fd. On failure nothing is left to be undone. */
bool worker_start(struct worker *worker, const struct target *target, const struct code *code,
                  int last_fd, struct failure *failure);

/* Makes one system call; the result is as the kernel gives it, -errno on failure. */
bool worker_call(struct worker *worker, long number, uint64_t a, uint64_t b, uint64_t c,
                 long *ret_result, struct failure *failure);

/* The same in two halves: the worker waits at the entry in between. */
bool worker_enter(struct worker *worker, long number, uint64_t a, uint64_t b, uint64_t c,
                  struct failure *failure);
bool worker_leave(struct worker *worker, long *ret_result, struct failure *failure);

/* Makes up to WORKER_STEPS calls in a row, in one go. The first argument of step @gated, a
 * descriptor other than 0, is put in at the last moment, by the helper's write to the gate: were
 * the helper to die before, the call would fail, and do nothing. If haste_worker_goes_first(), it
 * can't die between that and the end of the row. Results are not seen. @ret_done_ns:
 * CLOCK_MONOTONIC. Needs worker_set_gate(). */
bool worker_run(struct worker *worker, const struct worker_step *steps, unsigned count,
                unsigned gated, uint64_t *ret_done_ns, struct failure *failure);

/* The gate: an eventfd that both have: @remote is its number in the worker. Non-blocking, its count
 * 0. It becomes the worker's. */
void worker_set_gate(struct worker *worker, int fd, int remote);

/* @fd, which the worker has opened, is closed when it ends. */
bool worker_will_close(struct worker *worker, int fd, struct failure *failure);

/* Ends the worker, and lets the host go. */
void worker_end(struct worker *worker);
