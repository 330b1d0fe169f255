/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* KVM's calls, made by the worker on the VMM's virtual machine. */
#pragma once

#include "daemon/attach/worker.h"
#include <linux/kvm.h>

/* What the worker has for a virtual machine is one. In a table of its own, which nobody else can
 * change, it stays that. */
bool kvm_check_machine(const struct worker *worker, struct failure *failure);

/* A new eventfd: @ret_fd is the helper's copy, @ret_remote its number for further calls. It is
 * certain to be the one that the worker made. */
bool kvm_eventfd(struct worker *worker, int *ret_fd, int *ret_remote, struct failure *failure);

/* @resample_remote: the resamplefd; -1: a plain irqfd. */
bool kvm_irqfd(struct worker *worker, int trigger_remote, unsigned gsi, int resample_remote,
               struct failure *failure);

bool kvm_get_ioapic(struct worker *worker, struct kvm_ioapic_state *ret_state,
                    struct failure *failure);

/* @pic: 0 for the master, 1 for the slave. */
bool kvm_get_pic(struct worker *worker, unsigned pic, struct kvm_pic_state *ret_state,
                 struct failure *failure);

/* A VMM that has its PIT in itself, or none: all zeros. */
bool kvm_get_pit(struct worker *worker, struct kvm_pit_state2 *ret_state, struct failure *failure);

/* What kvm_set_ioapic() and the calls of lapic-calls.h need: see worker_run(). */
bool kvm_make_gate(struct worker *worker, struct failure *failure);

/* For haste, in steps: the worker waits in front of its KVM_GET_IRQCHIP; runs it; runs
 * KVM_SET_IRQCHIP with what was changed, as worker_run() does: set to what it was when the VMM runs
 * again, an IOAPIC may take a line for raised that is not, and never deliver its interrupt again.
 */
bool kvm_prepare_get_ioapic(struct worker *worker, struct failure *failure);
bool kvm_finish_get_ioapic(struct worker *worker, struct kvm_ioapic_state *ret_state,
                           struct failure *failure);
bool kvm_set_ioapic(struct worker *worker, const struct kvm_ioapic_state *state,
                    struct failure *failure);
