/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One thread of a VMM under ptrace: seized, stopped, let go.
 *
 * Never single-stepped: a tracer that dies leaves the trap flag behind, and the next trap would
 * kill the VMM. All that is used here (stops, PTRACE_SYSCALL) the kernel takes back by itself.
 */
#pragma once

#include "daemon/attach/failure.h"
#include <sys/types.h>
#include <sys/user.h>

enum tracee_state {
    TRACEE_RUNS,
    TRACEE_STOPPED,
    TRACEE_GONE,
};

struct tracee {
    pid_t tid;
    enum tracee_state state;
    int status; /* of its last stop, as of waitpid() */
    int signal; /* to be passed on when it is let go; 0: none */
};

/* A stop is waited for in a loop at first, for so long, before the helper sleeps; 0 where there is
 * one CPU only. */
void tracee_set_spin(uint64_t ns);

/* Begins to trace it; it runs on. False with errno; EPERM may mean that it has just ended. */
bool tracee_seize(struct tracee *tracee, pid_t tid, unsigned long options);

/* Asks it to stop. It does so by itself, soon, wherever it is. */
void tracee_interrupt(struct tracee *tracee);

/* Until its next stop or its end. False at the deadline. */
bool tracee_wait(struct tracee *tracee, struct failure *failure);

/* A stopped one goes on, with PTRACE_CONT or PTRACE_SYSCALL; a signal that it stopped for is
 * delivered. */
bool tracee_go_on(struct tracee *tracee, int how);

/* A stopped one is let go for good. One that was stopped by a signal (SIGSTOP) stays so. */
void tracee_let_go(struct tracee *tracee);

/* What it stopped for: a PTRACE_EVENT_…; 0: none of them. */
int tracee_event(const struct tracee *tracee);
/* At the entry or the exit of a system call. Needs PTRACE_O_TRACESYSGOOD. */
bool tracee_at_syscall(const struct tracee *tracee);

/* Of a stopped one. */
bool tracee_get_registers(struct tracee *tracee, struct user_regs_struct *ret_registers);
bool tracee_set_registers(struct tracee *tracee, const struct user_regs_struct *registers);
bool tracee_get_signal_mask(struct tracee *tracee, uint64_t *ret_mask);
bool tracee_set_signal_mask(struct tracee *tracee, uint64_t mask);
