/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A vCPU's local APIC, read and written by the worker: see lapic-calls.h. */
#include "daemon/attach/lapic-calls.h"

#include "daemon/attach/deadline.h"
#include "daemon/attach/local-apic.h"
#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>

/* Linux 6.11; older headers don't have it. There, as where the VMM sets nothing else, it is 1 ns.
 */
#ifndef KVM_CAP_X86_APIC_BUS_CYCLES_NS
#define KVM_CAP_X86_APIC_BUS_CYCLES_NS 237
#endif
#define BUS_NS_DEFAULT 1u

/* How long the worker waits for the helper to come back to it: longer than the VMM is ever stopped,
 * and not so long that anybody would miss the thread that waits for it, if the helper was killed.
 */
#define PARKED_NS 200000000

#define REGISTERS 4u

/* In the worker's data, behind what kvm-calls.c uses. */
#define AREA_OFFSET 640u
struct area {
    unsigned char state[KVM_APIC_REG_SIZE];
    struct {
        struct iovec to[REGISTERS], from;
        uint32_t values[REGISTERS];
    } copies[LAPIC_CHANGES];
    struct timespec begun, done; /* in this order */
    struct timespec parked;
    uint32_t never; /* what the parked worker waits for */
};
_Static_assert(AREA_OFFSET + sizeof(struct area) <= WORKER_DATA_SIZE, "too large");

/* Not a time of any clock: not done yet. */
#define NOT_YET (-1)

static uint64_t address(const struct worker *worker, size_t offset)
{
    return worker->data + AREA_OFFSET + offset;
}

static bool gone(const struct worker *worker, struct failure *failure)
{
    return fail(failure, ATTACH_GONE, "process %d ended while it was attached to",
                worker->target->pid);
}

bool lapic_get(struct worker *worker, const struct target_vcpu *vcpu,
               struct kvm_lapic_state *ret_state, struct failure *failure)
{
    uint64_t state = address(worker, offsetof(struct area, state));
    long result;

    if (!worker_call(worker, SYS_ioctl, (uint64_t)vcpu->fd, KVM_GET_LAPIC, state, &result,
                     failure)) {
        return false;
    }
    if (result < 0) {
        return fail(failure, ATTACH_NO_LEASE,
                    "process %d (%s): the local APIC of vCPU %u can't be read (%s): it is not "
                    "KVM's own; start it with kernel_irqchip=on",
                    worker->target->pid, worker->target->name, vcpu->id, strerror((int)-result));
    }
    return target_read(worker->target, state, ret_state, sizeof(*ret_state)) ||
           gone(worker, failure);
}

bool lapic_prepare(struct worker *worker, uint32_t *ret_bus_ns, struct failure *failure)
{
    long pid, result;

    if (!worker_call(worker, SYS_getpid, 0, 0, 0, &pid, failure) ||
        !worker_call(worker, SYS_ioctl, (uint64_t)worker->target->vm_fd, KVM_CHECK_EXTENSION,
                     KVM_CAP_X86_APIC_BUS_CYCLES_NS, &result, failure)) {
        return false;
    }
    worker->pid_seen = (pid_t)pid; /* not ours to know, if it has its own numbers */
    *ret_bus_ns = result > 0 && result <= 1000000 ? (uint32_t)result : BUS_NS_DEFAULT;
    return true;
}

/* ---- a row of calls ---- */

struct row {
    struct worker *worker;
    struct worker_step steps[WORKER_STEPS];
    unsigned count;
};

static void add_step(struct row *row, long number, const uint64_t arguments[6])
{
    struct worker_step *step = &row->steps[row->count++];

    step->number = number;
    memcpy(step->arguments, arguments, sizeof(step->arguments));
}

static void add_clock(struct row *row, size_t offset)
{
    add_step(row, SYS_clock_gettime, (uint64_t[6]){CLOCK_MONOTONIC, address(row->worker, offset)});
}

static void add_ioctl(struct row *row, const struct lapic_change *change, unsigned long request)
{
    add_step(row, SYS_ioctl,
             (uint64_t[6]){(uint64_t)change->vcpu->fd, request,
                           address(row->worker, offsetof(struct area, state))});
}

/* The values over those that were read, by which they are in the worker's own memory: any thread
 * may read that of its own process. */
static void add_copy(struct row *row, unsigned i, unsigned registers)
{
    size_t copy = offsetof(struct area, copies) + i * sizeof(((struct area *)0)->copies[0]);

    add_step(row, SYS_process_vm_readv,
             (uint64_t[6]){(uint64_t)row->worker->pid_seen, address(row->worker, copy), registers,
                           address(row->worker, copy + offsetof(struct area, copies[0].from) -
                                                    offsetof(struct area, copies[0])),
                           1, 0});
}

static void add_register(struct worker *worker, struct area *area, unsigned i, unsigned offset,
                         uint32_t value, unsigned *n)
{
    area->copies[i].values[*n] = value;
    area->copies[i].to[*n] = (struct iovec){
        (void *)address(worker, offsetof(struct area, state) + offset), sizeof(uint32_t)};
    ++*n;
}

/* Returns how many registers change. */
static unsigned fill_copy(struct worker *worker, struct area *area, unsigned i,
                          const struct lapic_change *change)
{
    size_t values = offsetof(struct area, copies) + i * sizeof(area->copies[0]) +
                    offsetof(struct area, copies[0].values) - offsetof(struct area, copies[0]);
    unsigned n = 0;

    if (change->lvtt) {
        add_register(worker, area, i, LOCAL_APIC_LVTT, change->timer.lvtt, &n);
    }
    if (change->divide) {
        add_register(worker, area, i, LOCAL_APIC_DIVIDE, change->timer.divide, &n);
    }
    if (change->initial) {
        add_register(worker, area, i, LOCAL_APIC_INITIAL, change->timer.initial, &n);
    }
    if (change->current) {
        add_register(worker, area, i, LOCAL_APIC_CURRENT, change->timer.current, &n);
    }
    area->copies[i].from = (struct iovec){(void *)address(worker, values), n * sizeof(uint32_t)};
    return n;
}

static void add_change(struct row *row, struct area *area, unsigned i,
                       const struct lapic_change *change)
{
    unsigned registers = fill_copy(row->worker, area, i, change);

    add_ioctl(row, change, KVM_GET_LAPIC);
    add_copy(row, i, registers);
    add_ioctl(row, change, KVM_SET_LAPIC);
    if (change->twice) {
        add_ioctl(row, change, KVM_SET_LAPIC);
    }
}

static uint64_t ns_of(const struct timespec *when)
{
    return (uint64_t)when->tv_sec * 1000000000 + (uint64_t)when->tv_nsec;
}

/* The worker tells by its last time that it is done, and then waits. */
static bool wait_done(struct worker *worker, struct lapic_changed *ret_changed,
                      struct failure *failure)
{
    uint64_t times = address(worker, offsetof(struct area, begun));
    struct timespec when[2];

    do {
        sched_yield(); /* it is on this very CPU, maybe */
        if (!target_read(worker->target, times, when, sizeof(when))) {
            return gone(worker, failure);
        }
        if (deadline_has_passed()) {
            return fail(failure, ATTACH_TIMED_OUT,
                        "a local APIC of process %d was not written in time: the host is "
                        "overloaded; try again",
                        worker->target->pid);
        }
    } while (when[1].tv_nsec == NOT_YET);
    *ret_changed = (struct lapic_changed){ns_of(&when[0]), ns_of(&when[1])};
    return true;
}

bool lapic_change(struct worker *worker, const struct lapic_change *changes, unsigned count,
                  struct lapic_changed *ret_changed, struct failure *failure)
{
    struct area area = {.done = {0, NOT_YET}, .parked = {0, PARKED_NS}};
    struct row row = {.worker = worker};

    add_clock(&row, offsetof(struct area, begun));
    for (unsigned i = 0; i < count; i++) {
        add_change(&row, &area, i, &changes[i]);
    }
    add_clock(&row, offsetof(struct area, done));
    add_step(&row, SYS_futex,
             (uint64_t[6]){address(worker, offsetof(struct area, never)), FUTEX_WAIT, 0,
                           address(worker, offsetof(struct area, parked))});
    if (!target_write(worker->target, address(worker, 0), &area, sizeof(area))) {
        return gone(worker, failure);
    }
    if (!worker_run(worker, row.steps, row.count, failure)) {
        return false;
    }
    bool done = wait_done(worker, ret_changed, failure);
    return worker_park(worker, failure) && done;
}
