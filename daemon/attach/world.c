/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* All threads, stopped for a moment: see world.h. */
#include "daemon/attach/world.h"

#include "daemon/attach/deadline.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

/* A thread that is traced stops when it creates one, and so does the new one: once all are traced,
 * none can appear unseen. */
#define TRACE_OPTIONS PTRACE_O_TRACECLONE
/* So often a look must find no thread that is not traced. A VMM that creates threads faster than
 * they can be traced stops doing so, thread by thread. */
#define ROUNDS 100u

struct world_thread {
    struct tracee tracee;
    bool maybe_vcpu;
};

static bool is_known(const struct world *world, pid_t tid)
{
    if (tid == world->worker->host.tid || tid == world->worker->thread.tid) {
        return true;
    }
    for (size_t i = 0; i < world->count; i++) {
        if (world->threads[i].tracee.tid == tid && world->threads[i].tracee.state != TRACEE_GONE) {
            return true;
        }
    }
    return false;
}

static bool add(struct world *world, const struct world_thread *thread, struct failure *failure)
{
    if (world->count == TARGET_THREADS_MAX) {
        return fail(failure, ATTACH_NOT_ATTACHABLE,
                    "process %d (%s) creates threads without end; try again later",
                    world->worker->target->pid, world->worker->target->name);
    }
    world->threads[world->count++] = *thread;
    return true;
}

static bool seize(struct world *world, const struct target_thread *found, struct failure *failure)
{
    const struct target *target = world->worker->target;
    struct world_thread thread = {.maybe_vcpu = found->maybe_vcpu};

    if (tracee_seize(&thread.tracee, found->tid, TRACE_OPTIONS)) {
        return add(world, &thread, failure);
    }
    pid_t tracer = target_tracer(target, found->tid);
    if (errno == EPERM && tracer != 0 && tracer != target_tracer(target, world->worker->host.tid)) {
        return fail(
            failure, ATTACH_NOT_ATTACHABLE,
            "process %d (%s) has a thread traced by process %d: end that debugger or tracer "
            "first",
            target->pid, target->name, tracer);
    }
    return true; /* it has just ended, or is a new one that one of ours has created */
}

static bool seize_all(struct world *world, bool *ret_new, struct failure *failure)
{
    static struct target_thread found[TARGET_THREADS_MAX];
    size_t count, before = world->count;

    if (!target_threads(world->worker->target, found, &count, failure)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (!is_known(world, found[i].tid) && !seize(world, &found[i], failure)) {
            return false;
        }
    }
    *ret_new = world->count != before;
    return true;
}

bool world_open(struct world *world, struct worker *worker, struct failure *failure)
{
    bool more = true;

    *world = (struct world){.worker = worker};
    world->threads = calloc(TARGET_THREADS_MAX, sizeof(*world->threads));
    if (world->threads == NULL) {
        return fail(failure, ATTACH_INTERNAL, "out of memory");
    }
    for (unsigned round = 0; more && round < ROUNDS; round++) {
        if (!seize_all(world, &more, failure)) {
            return false;
        }
    }
    return !more ||
           fail(failure, ATTACH_NOT_ATTACHABLE,
                "process %d (%s) creates threads faster than they can be traced; try again "
                "later",
                worker->target->pid, worker->target->name);
}

/* Stopped because it created a thread: that one is stopped too. */
static bool add_created(struct world *world, const struct tracee *creator, bool maybe_vcpu,
                        struct failure *failure)
{
    struct world_thread thread = {.maybe_vcpu = maybe_vcpu};
    unsigned long tid = 0;

    if (tracee_event(creator) != PTRACE_EVENT_CLONE ||
        ptrace(PTRACE_GETEVENTMSG, creator->tid, 0, &tid) != 0 || is_known(world, (pid_t)tid)) {
        return true;
    }
    thread.tracee.tid = (pid_t)tid;
    return add(world, &thread, failure) &&
           tracee_wait(&world->threads[world->count - 1].tracee, failure);
}

/* One that slept elsewhere when it was looked at, but was in KVM, or on its way, when it stopped.
 */
static bool was_awake(struct tracee *tracee)
{
    struct user_regs_struct registers;

    return tracee->state == TRACEE_STOPPED && tracee_get_registers(tracee, &registers) &&
           ((int64_t)registers.orig_rax < 0 || registers.orig_rax == SYS_ioctl);
}

static bool stop_those(struct world *world, bool vcpus, struct failure *failure)
{
    size_t count = world->count;
    uint64_t begun = deadline_clock();

    for (size_t i = 0; i < count; i++) {
        if (world->threads[i].maybe_vcpu == vcpus) {
            tracee_interrupt(&world->threads[i].tracee);
        }
    }
    for (size_t i = 0; i < count; i++) {
        struct world_thread *thread = &world->threads[i];
        if (thread->maybe_vcpu == vcpus && (!tracee_wait(&thread->tracee, failure) ||
                                            !add_created(world, &thread->tracee, vcpus, failure))) {
            return false;
        }
        if (thread->maybe_vcpu == vcpus && world->stopped_at == 0 &&
            (vcpus || was_awake(&thread->tracee))) {
            world->stopped_at = begun;
        }
    }
    return true;
}

bool world_stop(struct world *world, struct failure *failure)
{
    if (stop_those(world, false, failure) && stop_those(world, true, failure)) {
        return true;
    }
    world_let_go(world);
    return false;
}

static void let_go_those(struct world *world, bool vcpus)
{
    for (size_t i = 0; i < world->count; i++) {
        if (world->threads[i].maybe_vcpu == vcpus) {
            tracee_let_go(&world->threads[i].tracee);
        }
    }
}

void world_let_go(struct world *world)
{
    let_go_those(world, true);
    world->stall_ns = world->stopped_at != 0 ? deadline_clock() - world->stopped_at : 0;
    let_go_those(world, false);
    world->count = 0;
}

void world_close(struct world *world)
{
    free(world->threads);
    world->threads = NULL;
}
