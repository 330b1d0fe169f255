/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The lease of a local APIC timer: see lease.h. */
#include "daemon/attach/lease.h"

#include "daemon/attach/deadline.h"
#include "daemon/attach/haste.h"
#include "daemon/attach/local-apic.h"
#include <inttypes.h>
#include <string.h>

/* As a guest's local APIC timer is when nobody has ever used it (Intel SDM volume 3, 11.4.7.1). */
static const struct attach_timer unused = {.lvtt = LOCAL_APIC_LVTT_MASKED};

static bool refuse(const struct lease *lease, const char *why, struct failure *failure)
{
    return fail(failure, ATTACH_NO_LEASE,
                "the local APIC timer of process %d (%s) can't be leased: %s",
                lease->worker->target->pid, lease->worker->target->name, why);
}

/* ---- before the stop ---- */

bool lease_prepare(struct lease *lease, struct worker *worker, const struct attach_request *request,
                   struct attach_lease *reply, struct failure *failure)
{
    unsigned vector = request->entry & ATTACH_ENTRY_VECTOR;

    *lease = (struct lease){.worker = worker, .request = request, .reply = reply};
    if (!lapic_prepare(worker, &lease->bus_ns, failure)) {
        return false;
    }
    lease->wanted.lvtt = LOCAL_APIC_LVTT_PERIODIC | vector;
    return request->period_numerator == 0 ||
           local_apic_plan_timer(request->period_numerator, request->period_denominator,
                                 lease->bus_ns, vector, &lease->wanted, &reply->tick_ns) ||
           refuse(lease, "it can't have a period that long", failure);
}

/* ---- whose it is ---- */

static bool get(struct lease *lease, const struct target_vcpu *vcpu,
                struct kvm_lapic_state *ret_state, struct failure *failure)
{
    return target_has_vcpu(lease->worker->target, lease->worker->thread.tid, vcpu)
               ? lapic_get(lease->worker, vcpu, ret_state, failure)
               : refuse(lease, "its vCPUs are not the ones that were found at first", failure);
}

/* IDs are unique: the one that has it is the only one. */
static bool try_likely(struct lease *lease, bool *ret_found, struct failure *failure)
{
    uint64_t entry = lease->request->entry;
    const struct target_vcpu *vcpu = target_vcpu(lease->worker->target, (unsigned)(entry >> 56));

    *ret_found = false;
    if ((entry & ATTACH_ENTRY_LOGICAL) != 0 || vcpu == NULL || entry >> 56 == 0xff) {
        return true;
    }
    if (!get(lease, vcpu, &lease->state, failure)) {
        return false;
    }
    *ret_found = local_apic_is_destination(&lease->state, entry);
    lease->vcpu = vcpu;
    return true;
}

static bool find_vcpu(struct lease *lease, struct failure *failure)
{
    const struct target *target = lease->worker->target;
    struct kvm_lapic_state state;
    unsigned found = 0;
    bool likely;

    if (!try_likely(lease, &likely, failure) || likely) {
        return likely;
    }
    for (unsigned i = 0; i < target->n_vcpus && found < 2; i++) {
        if (!get(lease, &target->vcpus[i], &state, failure)) {
            return false;
        }
        if (local_apic_is_destination(&state, lease->request->entry) && ++found == 1) {
            lease->state = state;
            lease->vcpu = &target->vcpus[i];
        }
    }
    return found == 1 || refuse(lease,
                                found == 0 ? "no vCPU answers to the destination"
                                           : "the destination is more than one vCPU",
                                failure);
}

/* A masked timer that counts may be one that the guest reads the time from. A periodic one always
 * does, though its count reads 0 for the moment between two periods. */
static bool counts(const struct attach_timer *timer)
{
    return timer->current != 0 ||
           ((timer->lvtt & LOCAL_APIC_LVTT_PERIODIC) != 0 && timer->initial != 0);
}

static bool check_free(struct lease *lease, struct failure *failure)
{
    struct attach_timer timer = local_apic_timer(&lease->state);

    if (!local_apic_is_enabled(&lease->state)) {
        return refuse(lease, "the guest has its local APIC switched off", failure);
    }
    lease->reply->old = timer;
    if ((timer.lvtt & LOCAL_APIC_LVTT_MASKED) == 0) {
        return refuse(lease, "the guest uses it itself", failure);
    }
    return !counts(&timer) ||
           refuse(lease, "it counts, though it is masked: the guest may read it", failure);
}

/* See lapic-calls.h. */
static bool check_haste(const struct lease *lease, struct failure *failure)
{
    return haste_worker_goes_first() ||
           refuse(lease,
                  "that takes real-time priority, and a CPU that helper and VMM may both use: "
                  "CAP_SYS_NICE, and no cgroup that forbids it",
                  failure);
}

bool lease_find(struct lease *lease, struct failure *failure)
{
    return check_haste(lease, failure) && find_vcpu(lease, failure) && check_free(lease, failure);
}

/* ---- taking it ---- */

static struct lapic_change change_to(const struct target_vcpu *vcpu,
                                     const struct attach_timer *timer,
                                     const struct attach_timer *before)
{
    return (struct lapic_change){.vcpu = vcpu,
                                 .timer = *timer,
                                 .lvtt = true,
                                 .divide = true,
                                 .initial = true,
                                 .current = true,
                                 .twice = (before->lvtt & LOCAL_APIC_LVTT_TSC_DEADLINE) != 0 &&
                                          (timer->lvtt & LOCAL_APIC_LVTT_TSC_DEADLINE) == 0};
}

static bool is_ours(const struct attach_timer *timer, const struct attach_timer *ours)
{
    return timer->lvtt == ours->lvtt && timer->divide == ours->divide &&
           timer->initial == ours->initial;
}

/* A VMM may have given its guest another bus clock than KVM says (KVM_CAP_X86_APIC_BUS_CYCLES_NS
 * tells what is usual, not what is): the count is held against the time. */
static bool runs_as_planned(const struct lease *lease, const struct attach_timer *now,
                            const struct lapic_changed *changed, uint64_t before_ns,
                            uint64_t after_ns)
{
    uint64_t count_ns = (uint64_t)local_apic_divisor(now->divide) * lease->bus_ns;
    uint64_t counted = (uint64_t)(now->initial - now->current) * count_ns;
    uint64_t least = before_ns - changed->done_ns, most = after_ns - changed->begun_ns;

    return most >= lease->reply->tick_ns / 2 || /* it may have begun anew: it can't be told */
           (2 * (counted + count_ns) >= least && counted <= 2 * (most + count_ns));
}

bool lease_take(struct lease *lease, struct failure *failure)
{
    struct attach_timer before = local_apic_timer(&lease->state), now;
    struct lapic_change change = change_to(lease->vcpu, &lease->wanted, &before);
    struct lapic_change undo = change_to(lease->vcpu, &lease->reply->old, &lease->wanted);
    struct lapic_changed changed, ignored;
    struct failure nothing = {0};

    if (!lapic_change(lease->worker, &change, &changed, failure)) {
        return false;
    }
    uint64_t before_ns = deadline_clock();
    bool read = lapic_get(lease->worker, lease->vcpu, &lease->state, failure);
    now = local_apic_timer(&lease->state);
    lease->reply->vcpu = lease->vcpu->id;
    lease->reply->ours = lease->wanted;
    lease->reply->started_ns = changed.begun_ns;
    if (read && is_ours(&now, &lease->wanted) &&
        runs_as_planned(lease, &now, &changed, before_ns, deadline_clock())) {
        return true;
    }
    lapic_change(lease->worker, &undo, &ignored, &nothing);
    return read &&
           refuse(lease,
                  is_ours(&now, &lease->wanted) ? "it does not count nanoseconds as KVM says"
                                                : "KVM does not keep what is written to it",
                  failure);
}

/* ---- leases that are left over ---- */

/* Ours, of a pin that is: no guest has a use for a timer and a pin of the same vector. */
static bool is_left_over(const struct attach_timer *timer, uint64_t entry)
{
    return (timer->lvtt & ~LOCAL_APIC_LVTT_VECTOR) == LOCAL_APIC_LVTT_PERIODIC &&
           (timer->lvtt & LOCAL_APIC_LVTT_VECTOR) == (entry & ATTACH_ENTRY_VECTOR);
}

static bool sweep_vector(struct lease *lease, uint64_t entry, bool *ret_found,
                         struct failure *failure)
{
    const struct target *target = lease->worker->target;
    struct kvm_lapic_state state;
    struct lapic_changed ignored;

    for (unsigned i = 0; i < target->n_vcpus; i++) {
        struct failure unread = {.status = ATTACH_OK};
        if (!get(lease, &target->vcpus[i], &state, &unread)) {
            continue; /* nor was anything ever written to it */
        }
        struct attach_timer timer = local_apic_timer(&state);
        if (is_left_over(&timer, entry)) {
            struct lapic_change change = change_to(&target->vcpus[i], &unused, &timer);
            if (!lapic_change(lease->worker, &change, &ignored, failure)) {
                return false;
            }
            *ret_found = true;
        }
    }
    return true;
}

bool lease_sweep(struct lease *lease, const struct kvm_ioapic_state *ioapic, bool *ret_found,
                 struct failure *failure)
{
    for (unsigned pin = ATTACH_PIN_FIRST; pin < ATTACH_PINS && haste_worker_goes_first(); pin++) {
        uint64_t entry = ioapic->redirtbl[pin].bits;
        if ((entry & (ATTACH_ENTRY_MASKED | ATTACH_ENTRY_LEVEL)) == 0 &&
            !sweep_vector(lease, entry, ret_found, failure)) {
            return false;
        }
    }
    return true;
}

/* ---- changing it ---- */

static const struct target_vcpu *held_vcpu(const struct lease *lease,
                                           const struct attach_lease *held)
{
    return target_vcpu(lease->worker->target, held->vcpu);
}

/* The registers of the one that is leased now, if it still is. */
static bool get_held(struct lease *lease, const struct attach_lease *held,
                     struct kvm_lapic_state *ret_state, struct failure *failure)
{
    const struct target_vcpu *vcpu = held_vcpu(lease, held);

    if (vcpu == NULL) {
        return fail(failure, ATTACH_BAD_REQUEST, "process %d has no vCPU %u",
                    lease->worker->target->pid, held->vcpu);
    }
    return get(lease, vcpu, ret_state, failure);
}

bool lease_find_move(struct lease *lease, struct failure *failure)
{
    const struct attach_lease *held = &lease->request->lease;
    struct kvm_lapic_state state;

    if (!check_haste(lease, failure) || !get_held(lease, held, &state, failure)) {
        return false;
    }
    struct attach_timer now = local_apic_timer(&state);
    if (!is_ours(&now, &held->ours)) {
        return fail(failure, ATTACH_LEASE_LOST,
                    "the guest of process %d has begun to use its local APIC timer itself",
                    lease->worker->target->pid);
    }
    if (!find_vcpu(lease, failure)) {
        return false;
    }
    if (lease->vcpu->id == held->vcpu) {
        lease->reply->old = held->old;
        lease->state = state;
        return true;
    }
    return check_free(lease, failure);
}

/* What does not change goes on: the count too, with which the next tick comes when it was due. */
static void keep_what_stays(struct lease *lease, const struct attach_timer *now)
{
    const struct attach_lease *held = &lease->request->lease;

    if (lease->request->period_numerator == 0) {
        lease->wanted.divide = held->ours.divide;
        lease->wanted.initial = held->ours.initial;
        lease->wanted.current = now->current;
        lease->reply->tick_ns = held->tick_ns;
        lease->reply->started_ns = held->started_ns;
    }
}

bool lease_move(struct lease *lease, uint32_t *ret_unseen, struct failure *failure)
{
    const struct attach_lease *held = &lease->request->lease;
    unsigned vector = held->ours.lvtt & LOCAL_APIC_LVTT_VECTOR;
    bool same_vcpu = lease->vcpu->id == held->vcpu;
    struct kvm_lapic_state state;
    struct lapic_changed changed;

    if (!get_held(lease, held, &state, failure)) {
        return false;
    }
    struct attach_timer now = local_apic_timer(&state), before = local_apic_timer(&lease->state);
    keep_what_stays(lease, &now);
    if (!same_vcpu) { /* killed after this: there is no lease any more */
        struct lapic_change back = change_to(held_vcpu(lease, held), &held->old, &now);
        if (!lapic_change(lease->worker, &back, &changed, failure)) {
            return false;
        }
    }
    struct lapic_change change = change_to(lease->vcpu, &lease->wanted, &before);
    /* As the row reads it, which is later than we have. */
    change.current = lease->request->period_numerator != 0 || !same_vcpu;
    if (!lapic_change(lease->worker, &change, &changed, failure)) {
        return false;
    }
    if (lease->request->period_numerator != 0) {
        lease->reply->started_ns = changed.begun_ns;
    }
    *ret_unseen = vector != (lease->wanted.lvtt & LOCAL_APIC_LVTT_VECTOR)
                      ? local_apic_unfinished(&state, vector)
                      : 0;
    lease->reply->vcpu = lease->vcpu->id;
    lease->reply->ours = lease->wanted;
    return true;
}

/* ---- giving it back ---- */

bool lease_return(struct lease *lease, const struct attach_lease *held, uint32_t *ret_unseen,
                  struct failure *failure)
{
    struct kvm_lapic_state state;
    struct lapic_changed ignored;

    if (!get_held(lease, held, &state, failure)) {
        return false;
    }
    struct attach_timer now = local_apic_timer(&state);
    struct lapic_change change = change_to(held_vcpu(lease, held), &held->old, &now);
    *ret_unseen = local_apic_unfinished(&state, held->ours.lvtt & LOCAL_APIC_LVTT_VECTOR);
    change.lvtt = now.lvtt == held->ours.lvtt;
    change.divide = now.divide == held->ours.divide;
    change.initial = change.current =
        now.initial == held->ours.initial && (change.lvtt || change.divide);
    change.twice = false;
    return (!change.lvtt && !change.divide && !change.initial) ||
           lapic_change(lease->worker, &change, &ignored, failure);
}

bool lease_read(struct lease *lease, struct failure *failure)
{
    struct kvm_lapic_state state;

    if (!get_held(lease, &lease->request->lease, &state, failure)) {
        return false;
    }
    *lease->reply = lease->request->lease;
    lease->reply->ours = local_apic_timer(&state);
    return true;
}
