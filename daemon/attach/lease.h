/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The lease of a vCPU's local APIC timer that its guest does not use: which one it is, whether it
 * is free, taking it, changing it, giving it back. But for lease_prepare(), all while the VMM
 * stands still.
 *
 * Death of the helper: each change is one row of calls (lapic-calls.h) that the worker makes to its
 * end. A lease that was made, and whose maker was killed before the reply, ticks on until the next
 * pin is borrowed (lease_sweep()).
 */
#pragma once

#include "daemon/attach/lapic-calls.h"

struct lease {
    struct worker *worker;
    const struct attach_request *request;
    struct attach_lease *reply; /* what it is in the end */
    uint32_t bus_ns;
    struct attach_timer wanted;     /* with a period of 0: only the vector of it */
    const struct target_vcpu *vcpu; /* that it is to be of, once it was found */
    struct kvm_lapic_state state;   /* of that one, as found */
};

/* @reply: where it is told of. Fails with ATTACH_NO_LEASE if the timer can't have the period. */
bool lease_prepare(struct lease *lease, struct worker *worker, const struct attach_request *request,
                   struct attach_lease *reply, struct failure *failure);

/* Gives back leases that nobody knows of any more: of a daemon that was killed, and whose state was
 * lost, or of a guest that was saved or migrated. They are known by the borrowed pin of their
 * vector, which is edge-triggered and not masked. */
bool lease_sweep(struct lease *lease, const struct kvm_ioapic_state *ioapic, bool *ret_found,
                 struct failure *failure);

/* Finds the one vCPU that the request's entry goes to, and whether its timer is free. Fails with
 * ATTACH_NO_LEASE. */
bool lease_find(struct lease *lease, struct failure *failure);
/* Takes what was found. On failure it is as it was. */
bool lease_take(struct lease *lease, struct failure *failure);

/* The lease in the request, brought to the request's entry and period, without a gap.
 * @ret_unseen: see struct attach_reply. Fails, with the lease as it was, with ATTACH_NO_LEASE or
 * ATTACH_LEASE_LOST. In two steps: what can fail, and the change. */
bool lease_find_move(struct lease *lease, struct failure *failure);
bool lease_move(struct lease *lease, uint32_t *ret_unseen, struct failure *failure);

/* Registers that hold what we have written get back what they had; others the guest has written. */
bool lease_return(struct lease *lease, const struct attach_lease *held, uint32_t *ret_unseen,
                  struct failure *failure);

/* What the registers of the leased timer are: in `ours` of the reply. */
bool lease_read(struct lease *lease, struct failure *failure);
