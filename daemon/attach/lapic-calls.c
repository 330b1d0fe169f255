/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A vCPU's local APIC, read and written by the worker: see lapic-calls.h. */
#include "daemon/attach/lapic-calls.h"

#include "daemon/attach/deadline.h"
#include "daemon/attach/local-apic.h"
#include <errno.h>
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

#define REGISTERS 4u

/* In the worker's data, behind what kvm-calls.c uses. */
#define AREA_OFFSET 640u
struct area {
    unsigned char state[KVM_APIC_REG_SIZE];
    struct iovec to[REGISTERS], from;
    uint32_t values[REGISTERS];
    struct timespec begun;
};
_Static_assert(AREA_OFFSET + sizeof(struct area) <= WORKER_DATA_SIZE, "too large");

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

/* ---- writing it ---- */

static void add_register(struct worker *worker, struct area *area, unsigned offset, uint32_t value,
                         unsigned *n)
{
    area->values[*n] = value;
    area->to[*n] =
        (struct iovec){(void *)(uintptr_t)address(worker, offsetof(struct area, state) + offset),
                       sizeof(uint32_t)};
    ++*n;
}

/* Returns how many registers change. */
static unsigned fill(struct worker *worker, struct area *area, const struct lapic_change *change)
{
    unsigned n = 0;

    if (change->lvtt) {
        add_register(worker, area, LOCAL_APIC_LVTT, change->timer.lvtt, &n);
    }
    if (change->divide) {
        add_register(worker, area, LOCAL_APIC_DIVIDE, change->timer.divide, &n);
    }
    if (change->initial) {
        add_register(worker, area, LOCAL_APIC_INITIAL, change->timer.initial, &n);
    }
    if (change->current) {
        add_register(worker, area, LOCAL_APIC_CURRENT, change->timer.current, &n);
    }
    area->from = (struct iovec){(void *)(uintptr_t)address(worker, offsetof(struct area, values)),
                                n * sizeof(uint32_t)};
    return n;
}

/* The values go over what was read by a call that reads the worker's own memory: any thread may
 * read that of its process. */
static bool change_once(struct worker *worker, const struct lapic_change *change,
                        uint64_t *ret_done_ns, struct failure *failure)
{
    struct area area = {.state = {0}};
    unsigned n = fill(worker, &area, change);
    uint64_t fd = (uint64_t)change->vcpu->fd, state = address(worker, offsetof(struct area, state));
    const struct worker_step steps[WORKER_STEPS] = {
        {SYS_clock_gettime, {CLOCK_MONOTONIC, address(worker, offsetof(struct area, begun))}},
        {SYS_ioctl, {fd, KVM_GET_LAPIC, state}},
        {SYS_process_vm_readv,
         {(uint64_t)worker->pid_seen, address(worker, offsetof(struct area, to)), n,
          address(worker, offsetof(struct area, from)), 1, 0}},
        {SYS_ioctl, {fd, KVM_SET_LAPIC, state}},
    };

    return (target_write(worker->target, address(worker, 0), &area, sizeof(area)) ||
            gone(worker, failure)) &&
           worker_run(worker, steps, WORKER_STEPS, WORKER_STEPS - 1, ret_done_ns, failure);
}

static void clamp(uint64_t *value, uint64_t least, uint64_t most)
{
    *value = *value < least ? least : *value > most ? most : *value;
}

bool lapic_change(struct worker *worker, const struct lapic_change *change,
                  struct lapic_changed *ret_changed, struct failure *failure)
{
    uint64_t begun = address(worker, offsetof(struct area, begun));
    uint64_t before = deadline_clock();
    struct timespec when;

    if (!change_once(worker, change, &ret_changed->done_ns, failure) ||
        (change->twice && !change_once(worker, change, &ret_changed->done_ns, failure))) {
        return false;
    }
    if (!target_read(worker->target, begun, &when, sizeof(when))) {
        return gone(worker, failure);
    }
    ret_changed->begun_ns = (uint64_t)when.tv_sec * 1000000000 + (uint64_t)when.tv_nsec;
    clamp(&ret_changed->begun_ns, before, deadline_clock()); /* it comes from the VMM */
    clamp(&ret_changed->done_ns, ret_changed->begun_ns, deadline_clock());
    return true;
}
