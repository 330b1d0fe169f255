/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Does KVM run the local APIC timer of one vCPU on the VMX preemption timer? Answered from the
 * trace event kvm_hv_timer_state, which is only counted, so that watching costs next to nothing.
 */
#pragma once

#include "daemon/attach/client.h"

struct hv_timer;

enum hv_timer_use {
    HV_TIMER_UNKNOWN, /* it hasn't done anything yet */
    HV_TIMER_NOT_USED,
    HV_TIMER_USED,
};

/* What is to be asked of hvtimer-attach for it: of vCPU @vcpu, by KVM's number. */
struct attach_job hv_timer_job(unsigned vcpu);

/* From now on. @opened: what came of the request, of which it takes the descriptors. Main loop.
 * (transfer full) */
struct hv_timer *hv_timer_new(struct attach_result *opened);
/* NULL is fine. */
void hv_timer_free(struct hv_timer *timer);

/*
 * As seen in the last seconds; if nothing happened in them, as seen before. Main loop; a few system
 * calls. On the preemption timer each tick is seen. Of an hrtimer only its start is, if that is in
 * the vCPU's own thread: one that another thread has started (KVM_SET_LAPIC) stays unknown, however
 * many ticks come.
 */
enum hv_timer_use hv_timer_read(struct hv_timer *timer);

/* ---- The decision. Pure. ---- */

/* How often KVM has said until @ns that the timer is (on) or isn't (off) on the preemption timer.
 */
struct hv_timer_counts {
    uint64_t ns;
    uint64_t on, off;
};

struct hv_timer_verdict {
    struct hv_timer_counts older, newer; /* a second apart or more, once there was time for it */
    enum hv_timer_use use;
};

void hv_timer_verdict_init(struct hv_timer_verdict *verdict, const struct hv_timer_counts *now);
enum hv_timer_use hv_timer_verdict_feed(struct hv_timer_verdict *verdict,
                                        const struct hv_timer_counts *now);
