/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A thread of our own in the VMM: see worker.h. */
#include "daemon/attach/worker.h"

#include "daemon/attach/deadline.h"
#include "daemon/attach/frame.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL
#endif

/* x86-64 programs may use so much below the stack pointer. */
#define RED_ZONE 128u
/* The host tells the end of the worker by this word, which the kernel clears. */
#define WORKER_ALIVE 1u
/* The host does not wait longer, though it can't come to that but if clone() fails unseen. */
#define JOIN_TIMEOUT_S 10

/* What QEMU's filter expects of a new thread, no more and no less. */
#define CLONE_FLAGS                                                                     \
    (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | \
     CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID)
#define TRACE_OPTIONS (PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE)

/* At first it is only on its way to sleep; then the host may keep it from getting there. */
#define HOST_QUICK_ROUNDS  20u
#define HOST_ROUNDS        120u
#define HOST_PAUSE_NS      200000
#define HOST_LONG_PAUSE_NS 5000000

/* What it opens: all that comes with a reply, and the gate. */
#define CLOSES (ATTACH_EVENTFDS + 1)

/* A row of calls, and what they are about. */
#define ROW_BEFORE 2u
#define ROW_STEPS  (ROW_BEFORE + WORKER_STEPS + 2u)
struct row {
    struct pollfd poll;
    struct timespec done, patience;
    uint32_t never; /* what the worker waits for in the end */
    struct frame frames[ROW_STEPS];
};
/* Not a time of any clock. */
#define NOT_YET (-1)
/* How long the worker waits in a row for the helper: longer than the VMM is ever stopped, and not
 * so long that anybody would miss the thread that waits for the worker, if the helper was killed.
 */
#define ROW_PATIENCE_NS 110000000
#define ROW_LONGEST_NS  (UINT64_C(10) * 1000000000)

/* On the host's stack. */
struct scratch {
    unsigned char data[WORKER_DATA_SIZE];
    uint32_t alive;
    uint32_t tid;
    struct timespec join_timeout;
    struct frame ends[CLOSES + 1]; /* the worker's: close() as often as needed, then exit() */
    struct frame join;             /* the host's */
    struct row row;                /* the worker's, of worker_run() */
    struct frame resume;
    unsigned char fpu[FRAME_FPU_MAX] __attribute__((aligned(FRAME_FPU_ALIGN)));
};

#define ADDRESS(worker, member) ((worker)->scratch + offsetof(struct scratch, member))

static uint64_t first_end(const struct worker *worker)
{
    return ADDRESS(worker, ends) + (CLOSES - worker->closes) * sizeof(struct frame);
}

static bool lost(const struct worker *worker, struct failure *failure)
{
    return fail(
        failure, ATTACH_GONE,
        "process %d ended, or a thread of it did, while it was attached to; nothing is left",
        worker->target->pid);
}

/* ---- the host ---- */

static bool seize_host(struct worker *worker, pid_t tid, struct failure *failure)
{
    const struct target *target = worker->target;
    bool filtered = target_is_filtered(target, tid);

    if (tracee_seize(&worker->host, tid,
                     TRACE_OPTIONS | (filtered ? PTRACE_O_SUSPEND_SECCOMP : 0)) ||
        errno == ESRCH) {
        return true;
    }
    pid_t tracer = target_tracer(target, tid);
    if (tracer != 0) {
        return fail(failure, ATTACH_NOT_ATTACHABLE,
                    "process %d (%s) is traced by process %d already: end that debugger or tracer "
                    "first",
                    target->pid, target->name, tracer);
    }
    if (filtered && target_filter_is_known(target) &&
        tracee_seize(&worker->host, tid, TRACE_OPTIONS)) {
        return true;
    }
    if (filtered) {
        return fail(
            failure, ATTACH_NOT_PERMITTED,
            "process %d (%s) runs under a system call filter that may kill it for what an "
            "attach does, and the filter can't be suspended: the helper needs CAP_SYS_ADMIN "
            "and CAP_SYS_PTRACE, no filter of its own, and a kernel with "
            "CONFIG_CHECKPOINT_RESTORE",
            target->pid, target->name);
    }
    return fail(failure, ATTACH_NOT_PERMITTED,
                "process %d (%s) may not be traced (%s): the helper needs CAP_SYS_PTRACE",
                target->pid, target->name, strerror(errno));
}

/* A thread of an earlier attach, whose helper was killed, and which is on its way out: below its
 * stack pointer lies what that needs. */
static bool is_left_over(const struct worker *worker)
{
    uint64_t next;

    return !target_read(worker->target, worker->host_registers.rsp, &next, sizeof(next)) ||
           next == worker->code->sigreturn;
}

/* Stopped by us, right behind a system call that it was in, with room on its stack. */
static bool is_host(struct worker *worker)
{
    struct user_regs_struct *registers = &worker->host_registers;
    unsigned char bytes[2];

    if (!tracee_get_registers(&worker->host, registers) ||
        !tracee_get_signal_mask(&worker->host, &worker->host_mask) || registers->cs != 0x33 ||
        (int64_t)registers->orig_rax < 0 || registers->orig_rax == SYS_ioctl ||
        !target_read(worker->target, registers->rip - 2, bytes, sizeof(bytes)) ||
        bytes[0] != 0x0f || bytes[1] != 0x05 || is_left_over(worker)) {
        return false;
    }
    worker->scratch =
        (registers->rsp - RED_ZONE - sizeof(struct scratch)) & ~(uint64_t)(FRAME_FPU_ALIGN - 1);
    return worker->scratch < registers->rsp &&
           target_is_writable(worker->target, worker->scratch, registers->rsp);
}

/* Until it stops as PTRACE_INTERRUPT asked, with nothing else on its way. */
static bool wait_interrupted(struct worker *worker, struct tracee *tracee, struct failure *failure)
{
    while (tracee_wait(tracee, failure)) {
        if (tracee->state == TRACEE_GONE) {
            return true;
        }
        if (tracee_event(tracee) == PTRACE_EVENT_STOP) {
            return WSTOPSIG(tracee->status) == SIGTRAP ||
                   fail(failure, ATTACH_NOT_ATTACHABLE,
                        "process %d is being stopped by a signal: attach once it was continued "
                        "(SIGCONT)",
                        worker->target->pid);
        }
        if (!tracee_go_on(tracee, PTRACE_CONT)) {
            return true;
        }
    }
    return false;
}

/* True with the host running or gone: it was of no use. */
static bool try_host(struct worker *worker, pid_t tid, struct failure *failure)
{
    if (!seize_host(worker, tid, failure)) {
        return false;
    }
    tracee_interrupt(&worker->host);
    if (!wait_interrupted(worker, &worker->host, failure)) {
        return false;
    }
    if (worker->host.state == TRACEE_STOPPED && !is_host(worker)) {
        tracee_let_go(&worker->host);
    }
    return true;
}

static bool find_host(struct worker *worker, struct failure *failure)
{
    static struct target_thread threads[TARGET_THREADS_MAX];
    size_t count;

    for (unsigned round = 0; round < HOST_ROUNDS; round++) {
        if (!target_threads(worker->target, threads, &count, failure)) {
            return false;
        }
        for (int score = 3; score > 0; score--) {
            for (size_t i = 0; i < count; i++) {
                if (threads[i].score == score && !try_host(worker, threads[i].tid, failure)) {
                    return false;
                }
                if (threads[i].score == score && worker->host.state == TRACEE_STOPPED) {
                    return true;
                }
            }
        }
        const struct timespec pause = {0, round < HOST_QUICK_ROUNDS ? HOST_PAUSE_NS
                                                                    : HOST_LONG_PAUSE_NS};
        nanosleep(&pause, NULL);
    }
    return fail(
        failure, ATTACH_NOT_ATTACHABLE,
        "process %d (%s) has no thread that sleeps in a system call and can be borrowed for "
        "a moment: it is too busy, or of a kind that can't be attached to",
        worker->target->pid, worker->target->name);
}

/* ---- the worker ---- */

/* Overwrites the host's stack, and remembers what was there. */
static bool write_scratch(struct worker *worker, struct failure *failure)
{
    struct scratch *scratch = calloc(1, sizeof(*scratch));
    uint64_t join[6] = {ADDRESS(worker, alive), FUTEX_WAIT, WORKER_ALIVE,
                        ADDRESS(worker, join_timeout)};
    size_t fpu_size;

    worker->saved = malloc(sizeof(*scratch));
    bool done = scratch != NULL && worker->saved != NULL &&
                frame_get_fpu(&worker->host, scratch->fpu, &fpu_size);
    if (done) {
        worker->scratch_size = offsetof(struct scratch, fpu) + fpu_size;
        scratch->alive = WORKER_ALIVE;
        scratch->join_timeout.tv_sec = JOIN_TIMEOUT_S;
        frame_call(&scratch->ends[CLOSES], worker->code, worker->scratch, SYS_exit,
                   (uint64_t[6]){0});
        frame_call(&scratch->join, worker->code, ADDRESS(worker, resume), SYS_futex, join);
        frame_resume(&scratch->resume, worker->code, &worker->host_registers, worker->host_mask,
                     ADDRESS(worker, fpu));
        done = target_read(worker->target, worker->scratch, worker->saved, worker->scratch_size) &&
               target_write(worker->target, worker->scratch, scratch, worker->scratch_size);
    }
    free(scratch);
    return done ||
           fail(failure, ATTACH_INTERNAL, "the memory of process %d could not be written: %s",
                worker->target->pid, strerror(errno));
}

/* The host's registers are set before its signals are blocked: its way back unblocks them. */
static bool set_host_to_clone(struct worker *worker)
{
    struct user_regs_struct registers = worker->host_registers;

    registers.rip = worker->code->syscall_ret;
    registers.rsp = ADDRESS(worker, join);
    registers.rax = SYS_clone;
    registers.orig_rax = (uint64_t)-1;
    registers.rdi = CLONE_FLAGS;
    registers.rsi = first_end(worker);
    registers.rdx = ADDRESS(worker, tid);
    registers.r10 = ADDRESS(worker, alive);
    registers.r8 = registers.fs_base;
    return tracee_set_registers(&worker->host, &registers) &&
           tracee_set_signal_mask(&worker->host, UINT64_MAX);
}

/* The host, stopped by wait_interrupted(), gets what it had, and goes on. */
static void give_back(struct worker *worker)
{
    tracee_set_signal_mask(&worker->host, worker->host_mask);
    tracee_set_registers(&worker->host, &worker->host_registers);
    /* Not earlier: its way back is in there. */
    target_write(worker->target, worker->scratch, worker->saved, worker->scratch_size);
    tracee_let_go(&worker->host);
}

/* Into the call, and to the event of the new thread or to the exit without one. */
static bool run_clone(struct worker *worker, bool *ret_cloned, struct failure *failure)
{
    unsigned syscall_stops = 0;
    bool going = tracee_go_on(&worker->host, PTRACE_SYSCALL);

    while (going && syscall_stops < 2) {
        if (!tracee_wait(&worker->host, failure)) {
            return false;
        }
        *ret_cloned = tracee_event(&worker->host) == PTRACE_EVENT_CLONE;
        if (*ret_cloned || worker->host.state != TRACEE_STOPPED) {
            break;
        }
        syscall_stops += tracee_at_syscall(&worker->host);
        going = syscall_stops == 2 || tracee_go_on(&worker->host, PTRACE_SYSCALL);
    }
    return worker->host.state == TRACEE_STOPPED || lost(worker, failure);
}

/* Out of the call, but not a step further. */
static bool park_host(struct worker *worker, struct failure *failure)
{
    tracee_interrupt(&worker->host);
    return tracee_go_on(&worker->host, PTRACE_CONT)
               ? wait_interrupted(worker, &worker->host, failure)
               : lost(worker, failure);
}

static bool not_cloned(struct worker *worker, struct failure *failure)
{
    struct user_regs_struct registers;
    bool limited = tracee_get_registers(&worker->host, &registers) &&
                   ((int64_t)registers.rax == -EAGAIN || (int64_t)registers.rax == -ENOMEM);

    give_back(worker);
    return fail(failure, ATTACH_NOT_ATTACHABLE,
                limited ? "process %d (%s) may not have one more thread: raise its limit of tasks"
                        : "process %d (%s) was disturbed by a signal just now: try again",
                worker->target->pid, worker->target->name);
}

static bool create_thread(struct worker *worker, struct failure *failure)
{
    unsigned long tid = 0;
    bool cloned = false;

    if (!set_host_to_clone(worker) || !run_clone(worker, &cloned, failure)) {
        return lost(worker, failure);
    }
    if (cloned) {
        ptrace(PTRACE_GETEVENTMSG, worker->host.tid, 0, &tid);
        worker->thread = (struct tracee){.tid = (pid_t)tid, .state = TRACEE_RUNS};
    }
    if (!park_host(worker, failure)) {
        return false;
    }
    if (!cloned) {
        return not_cloned(worker, failure);
    }
    return wait_interrupted(worker, &worker->thread, failure) &&
           (tracee_get_registers(&worker->thread, &worker->call) || lost(worker, failure));
}

/* Its own table, without the VMM's disks and sockets, which it would keep open: all that is needed
 * are the VM's descriptor and, for some requests, those of its vCPUs. */
static bool separate_descriptors(struct worker *worker, int last_fd, struct failure *failure)
{
    long result = -ENOSYS;
    int pidfd = (int)syscall(SYS_pidfd_open, worker->thread.tid, PIDFD_THREAD);

    worker->pidfd = worker->target->pidfd;
    if (pidfd < 0) {
        return true;
    }
    if (!worker_call(worker, SYS_close_range, (uint64_t)last_fd + 1, UINT32_MAX,
                     CLOSE_RANGE_UNSHARE, &result, failure)) {
        close(pidfd);
        return false;
    }
    worker->own_descriptors = result == 0;
    if (result == 0) {
        worker->pidfd = pidfd;
    } else {
        close(pidfd);
    }
    return true;
}

bool worker_start(struct worker *worker, const struct target *target, const struct code *code,
                  int last_fd, struct failure *failure)
{
    *worker = (struct worker){.target = target, .code = code, .pidfd = -1, .gate = -1};
    worker->host.state = worker->thread.state = TRACEE_GONE;
    if (!find_host(worker, failure)) {
        return false;
    }
    worker->data = ADDRESS(worker, data);
    if (!write_scratch(worker, failure)) {
        tracee_let_go(&worker->host);
        return false;
    }
    if (create_thread(worker, failure) && separate_descriptors(worker, last_fd, failure)) {
        return true;
    }
    worker_end(worker);
    return false;
}

/* To the next entry or exit of a system call. */
static bool run_to_syscall(struct worker *worker, struct failure *failure)
{
    do {
        if (!tracee_go_on(&worker->thread, PTRACE_SYSCALL)) {
            return lost(worker, failure);
        }
        if (!tracee_wait(&worker->thread, failure)) {
            return false;
        }
    } while (!tracee_at_syscall(&worker->thread) && worker->thread.state != TRACEE_GONE);
    return worker->thread.state == TRACEE_STOPPED || lost(worker, failure);
}

bool worker_enter(struct worker *worker, long number, uint64_t a, uint64_t b, uint64_t c,
                  struct failure *failure)
{
    struct user_regs_struct *call = &worker->call;

    call->rip = worker->code->syscall_ret;
    call->rsp = first_end(worker);
    call->rax = (uint64_t)number;
    call->orig_rax = (uint64_t)-1;
    call->rdi = a;
    call->rsi = b;
    call->rdx = c;
    return tracee_set_registers(&worker->thread, call) ? run_to_syscall(worker, failure)
                                                       : lost(worker, failure);
}

bool worker_leave(struct worker *worker, long *ret_result, struct failure *failure)
{
    if (!run_to_syscall(worker, failure)) {
        return false;
    }
    errno = 0;
    *ret_result =
        ptrace(PTRACE_PEEKUSER, worker->thread.tid, offsetof(struct user_regs_struct, rax), NULL);
    return errno == 0 || lost(worker, failure);
}

bool worker_call(struct worker *worker, long number, uint64_t a, uint64_t b, uint64_t c,
                 long *ret_result, struct failure *failure)
{
    return worker_enter(worker, number, a, b, c, failure) &&
           worker_leave(worker, ret_result, failure);
}

/* ---- a row of calls ---- */

void worker_set_gate(struct worker *worker, int fd, int remote)
{
    worker->gate = fd;
    worker->gate_remote = remote;
}

static bool not_written(const struct worker *worker, struct failure *failure)
{
    return fail(failure, ATTACH_INTERNAL, "the memory of process %d could not be written",
                worker->target->pid);
}

/* It waits for the gate, with a limit; takes what comes through it, if anything does; makes the
 * calls; tells when it was done; and waits to be stopped, with a limit. Then it ends. */
static bool write_row(struct worker *worker, const struct worker_step *steps, unsigned count,
                      unsigned gated, struct failure *failure)
{
    struct row row = {.poll = {worker->gate_remote, POLLIN, 0},
                      .done = {0, NOT_YET},
                      .patience = {0, ROW_PATIENCE_NS}};
    uint64_t here = ADDRESS(worker, row);
    uint64_t frames = here + offsetof(struct row, frames);
    struct worker_step all[ROW_STEPS] = {
        {SYS_ppoll, {here + offsetof(struct row, poll), 1, here + offsetof(struct row, patience)}},
        {SYS_read,
         {(uint64_t)worker->gate_remote,
          frames + (ROW_BEFORE + gated) * sizeof(struct frame) + offsetof(struct frame, rdi),
          sizeof(uint64_t)}},
    };

    memcpy(all + ROW_BEFORE, steps, count * sizeof(*steps));
    all[ROW_BEFORE + gated].arguments[0] = (uint64_t)-1;
    count += ROW_BEFORE;
    all[count++] = (struct worker_step){SYS_clock_gettime,
                                        {CLOCK_MONOTONIC, here + offsetof(struct row, done)}};
    all[count++] = (struct worker_step){
        SYS_futex,
        {here + offsetof(struct row, never), FUTEX_WAIT, 0, here + offsetof(struct row, patience)}};
    for (unsigned i = 0; i < count; i++) {
        uint64_t next = i + 1 < count ? frames + (i + 1) * sizeof(struct frame) : first_end(worker);
        frame_call(&row.frames[i], worker->code, next, (uint64_t)all[i].number, all[i].arguments);
    }
    return target_write(worker->target, here, &row, sizeof(row)) || not_written(worker, failure);
}

/* From the "ret" behind the call that it was at, to the first frame. */
static bool start_row(struct worker *worker, struct failure *failure)
{
    worker->call.rip = worker->code->syscall_ret + 2;
    worker->call.rsp = ADDRESS(worker, row) + offsetof(struct row, frames);
    worker->call.orig_rax = (uint64_t)-1;
    return (tracee_set_registers(&worker->thread, &worker->call) &&
            tracee_go_on(&worker->thread, PTRACE_CONT)) ||
           lost(worker, failure);
}

static bool is_done(const struct worker *worker, uint64_t *ret_done_ns, bool *ret_gone)
{
    struct timespec when;

    *ret_gone = !target_read(worker->target, ADDRESS(worker, row) + offsetof(struct row, done),
                             &when, sizeof(when));
    if (*ret_gone || when.tv_nsec == NOT_YET) {
        return false;
    }
    *ret_done_ns = (uint64_t)when.tv_sec * 1000000000 + (uint64_t)when.tv_nsec;
    return true;
}

/* What is in the gate, nobody has taken. */
static bool take_back(const struct worker *worker)
{
    uint64_t ignored;

    return read(worker->gate, &ignored, sizeof(ignored)) == (ssize_t)sizeof(ignored);
}

/* It comes to its end by itself, within its patience, unless it is kept from running. What was
 * taken through the gate must not be left alone before: the VMM would run again under it. So no
 * deadline holds here but ROW_LONGEST_NS, which only a host that is about to break down gets to. */
static bool wait_done(struct worker *worker, uint64_t *ret_done_ns, struct failure *failure)
{
    uint64_t until = deadline_clock() + ROW_LONGEST_NS;
    bool gone = false;

    while (!is_done(worker, ret_done_ns, &gone) && !gone && deadline_clock() < until) {
        sched_yield();
    }
    return *ret_done_ns != 0 || lost(worker, failure);
}

static bool park(struct worker *worker, struct failure *failure)
{
    tracee_interrupt(&worker->thread);
    return wait_interrupted(worker, &worker->thread, failure) &&
           (worker->thread.state == TRACEE_STOPPED || lost(worker, failure));
}

bool worker_run(struct worker *worker, const struct worker_step *steps, unsigned count,
                unsigned gated, uint64_t *ret_done_ns, struct failure *failure)
{
    uint64_t through = steps[gated].arguments[0];

    take_back(worker); /* an eventfd would add it */
    *ret_done_ns = 0;
    if (!write_row(worker, steps, count, gated, failure) || !start_row(worker, failure)) {
        return false;
    }
    bool sent = write(worker->gate, &through, sizeof(through)) == (ssize_t)sizeof(through);
    if (!wait_done(worker, ret_done_ns, failure) || !park(worker, failure)) {
        return false;
    }
    return (sent && !take_back(worker)) || fail(failure, ATTACH_TIMED_OUT,
                                                "process %d was not written to in time: the host "
                                                "is overloaded; it goes on as it was, "
                                                "try again",
                                                worker->target->pid);
}

bool worker_will_close(struct worker *worker, int fd, struct failure *failure)
{
    struct frame frame;

    if (worker->own_descriptors) {
        return true;
    }
    frame_call(&frame, worker->code, first_end(worker), SYS_close, (uint64_t[6]){(uint64_t)fd});
    if (worker->closes == CLOSES ||
        !target_write(worker->target, first_end(worker) - sizeof(frame), &frame, sizeof(frame))) {
        return fail(failure, ATTACH_INTERNAL, "the memory of process %d could not be written",
                    worker->target->pid);
    }
    worker->closes++;
    worker->call.rsp = first_end(worker);
    return tracee_set_registers(&worker->thread, &worker->call) || lost(worker, failure);
}

/* Its way out begins with the "ret" behind the call that it was at. */
static void end_thread(struct worker *worker)
{
    struct failure ignored = {0};

    worker->call.rip = worker->code->syscall_ret + 2;
    worker->call.rsp = first_end(worker);
    worker->call.orig_rax = (uint64_t)-1;
    if (worker->thread.state == TRACEE_STOPPED) {
        tracee_set_registers(&worker->thread, &worker->call);
    }
    while (worker->thread.state == TRACEE_STOPPED && tracee_go_on(&worker->thread, PTRACE_CONT) &&
           tracee_wait(&worker->thread, &ignored)) {
    }
}

void worker_end(struct worker *worker)
{
    end_thread(worker);
    /* If the worker still runs, its memory is needed: both find their way when the helper ends. */
    if (worker->host.state == TRACEE_STOPPED && worker->thread.state == TRACEE_GONE) {
        give_back(worker);
    }
    if (worker->pidfd >= 0 && worker->pidfd != worker->target->pidfd) {
        close(worker->pidfd);
    }
    if (worker->gate >= 0) {
        close(worker->gate);
    }
    free(worker->saved);
}
