/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One thread under ptrace: see tracee.h. */
#include "daemon/attach/tracee.h"

#include "daemon/attach/deadline.h"
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

static uint64_t spin_ns;

static long call_ptrace(int request, pid_t tid, uintptr_t address, uintptr_t data)
{
    return ptrace((enum __ptrace_request)request, tid, address, data);
}

void tracee_set_spin(uint64_t ns)
{
    spin_ns = ns;
}

bool tracee_seize(struct tracee *tracee, pid_t tid, unsigned long options)
{
    *tracee = (struct tracee){.tid = tid, .state = TRACEE_RUNS};
    return call_ptrace(PTRACE_SEIZE, tid, 0, options) == 0;
}

void tracee_interrupt(struct tracee *tracee)
{
    /* Of one that has ended tracee_wait() tells. */
    call_ptrace(PTRACE_INTERRUPT, tracee->tid, 0, 0);
}

/* A signal-delivery-stop, and not one of ptrace's own or of SIGSTOP's kind: a signal was taken from
 * its queue, and would be lost if it was not passed on. */
static int signal_to_pass_on(int status)
{
    int event = status >> 16;

    return event == 0 && WSTOPSIG(status) != (SIGTRAP | 0x80) ? WSTOPSIG(status) : 0;
}

static pid_t wait_some_time(pid_t tid, int *ret_status)
{
    uint64_t until = spin_ns > 0 ? deadline_clock() + spin_ns : 0;
    pid_t got = waitpid(tid, ret_status, __WALL | WNOHANG);

    while (got == 0 && until > 0 && deadline_clock() < until) {
        sched_yield(); /* it may be on this very CPU */
        got = waitpid(tid, ret_status, __WALL | WNOHANG);
    }
    return got != 0 ? got : waitpid(tid, ret_status, __WALL);
}

bool tracee_wait(struct tracee *tracee, struct failure *failure)
{
    int status = 0;
    pid_t got;

    do {
        if (deadline_has_passed()) {
            return fail(failure, ATTACH_TIMED_OUT,
                        "a thread of the VMM did not stop in time: the host is overloaded, or the "
                        "VMM hangs in the kernel; it goes on as it was, try again");
        }
        got = wait_some_time(tracee->tid, &status);
    } while (got < 0 && errno == EINTR);
    if (got < 0 || !WIFSTOPPED(status)) {
        tracee->state = TRACEE_GONE;
        return true;
    }
    tracee->state = TRACEE_STOPPED;
    tracee->status = status;
    tracee->signal = signal_to_pass_on(status);
    return true;
}

static bool move_on(struct tracee *tracee, int how)
{
    if (tracee->state != TRACEE_STOPPED) {
        return false;
    }
    bool done = call_ptrace(how, tracee->tid, 0, (uintptr_t)tracee->signal) == 0;

    tracee->state = done ? TRACEE_RUNS : TRACEE_GONE;
    tracee->signal = 0;
    return done;
}

bool tracee_go_on(struct tracee *tracee, int how)
{
    return move_on(tracee, how);
}

void tracee_let_go(struct tracee *tracee)
{
    move_on(tracee, PTRACE_DETACH);
    tracee->state = TRACEE_GONE;
}

int tracee_event(const struct tracee *tracee)
{
    return tracee->state == TRACEE_STOPPED ? tracee->status >> 16 : 0;
}

bool tracee_at_syscall(const struct tracee *tracee)
{
    return tracee->state == TRACEE_STOPPED && tracee->status >> 16 == 0 &&
           WSTOPSIG(tracee->status) == (SIGTRAP | 0x80);
}

bool tracee_get_registers(struct tracee *tracee, struct user_regs_struct *ret_registers)
{
    return call_ptrace(PTRACE_GETREGS, tracee->tid, 0, (uintptr_t)ret_registers) == 0;
}

bool tracee_set_registers(struct tracee *tracee, const struct user_regs_struct *registers)
{
    return call_ptrace(PTRACE_SETREGS, tracee->tid, 0, (uintptr_t)registers) == 0;
}

bool tracee_get_signal_mask(struct tracee *tracee, uint64_t *ret_mask)
{
    return call_ptrace(PTRACE_GETSIGMASK, tracee->tid, sizeof(*ret_mask), (uintptr_t)ret_mask) == 0;
}

bool tracee_set_signal_mask(struct tracee *tracee, uint64_t mask)
{
    return call_ptrace(PTRACE_SETSIGMASK, tracee->tid, sizeof(mask), (uintptr_t)&mask) == 0;
}
