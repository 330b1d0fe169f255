/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Tells when a guest begins to use the local APIC timer of one vCPU itself, or switches that
 * APIC's mode: whoever has borrowed the timer must then give it back. Main loop. As long as
 * the guest does none of this nobody wakes up; only KVM looks, at each access to a local APIC or an
 * MSR that comes to it, whether it is such a one.
 */
#pragma once

#include "daemon/attach/client.h"

struct lapic_watch;

typedef void (*lapic_watch_func)(gpointer user_data);

/* What is to be asked of hvtimer-attach for it: vCPU @vcpu, by KVM's number. */
struct attach_job lapic_watch_job(unsigned vcpu);

/*
 * Watches from now on. @opened: what came of the request, of which it takes the descriptors.
 * @touched is called at most once, from the main context that is the thread's default one at this
 * call, and never after lapic_watch_free(); it may call that itself. The end of the VM is no touch.
 * Nor is what the VMM sets (KVM_SET_LAPIC, a reset), or an INIT that another vCPU sends: these are
 * not seen. Where it can't be told which thread runs the vCPU, the others' touches count too.
 * Errors as in kvm-event.h. (transfer full)
 */
struct lapic_watch *lapic_watch_new(struct attach_result *opened, lapic_watch_func touched,
                                    gpointer user_data, GError **error);

/* NULL is fine. */
void lapic_watch_free(struct lapic_watch *watch);
