/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A vCPU's local APIC, read and written by the worker. The VMM must stand still: KVM lets nobody
 * else at a vCPU that runs.
 *
 * KVM_SET_LAPIC sets all of it, with the interrupts that are pending in it. Those that come from
 * outside the VMM's threads (vhost, VFIO, KVM's PIT) between KVM_GET_LAPIC and KVM_SET_LAPIC would
 * be lost. So the worker does both in one row of calls, without coming back to the helper in
 * between: what is to be changed lies ready, and is copied over what was read by one more call.
 * That takes a microsecond or two.
 *
 * Were the helper killed in between, the VMM would run again, and then its guest be set back to
 * what it was: with interrupts in service that it has ended, which keep others away for ever. So
 * the worker has to go first (haste_worker_goes_first()): the helper can't even die before it is
 * done.
 */
#pragma once

#include "daemon/attach/target.h"
#include "daemon/attach/worker.h"
#include <linux/kvm.h>

/* Before the VMM is stopped. @ret_bus_ns: what a count of the timer takes, undivided. */
bool lapic_prepare(struct worker *worker, uint32_t *ret_bus_ns, struct failure *failure);

bool lapic_get(struct worker *worker, const struct target_vcpu *vcpu,
               struct kvm_lapic_state *ret_state, struct failure *failure);

/* Registers of a local APIC's timer that get other values. */
struct lapic_change {
    const struct target_vcpu *vcpu;
    struct attach_timer timer;
    bool lvtt, divide, initial, current; /* those that do */
    /* It leaves the TSC deadline mode: that clears the initial count, so it takes two turns. */
    bool twice;
};

/* When that was, CLOCK_MONOTONIC. */
struct lapic_changed {
    uint64_t begun_ns; /* just before */
    uint64_t done_ns;  /* just after */
};

/* KVM does not say here what became of it: lapic_get() does. */
bool lapic_change(struct worker *worker, const struct lapic_change *change,
                  struct lapic_changed *ret_changed, struct failure *failure);
