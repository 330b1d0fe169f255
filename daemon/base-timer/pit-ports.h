/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Channel 0 of an 8254 PIT, as its ports 0x40 and 0x43 tell of it, in the way of KVM's
 * arch/x86/kvm/i8254.c: BCD is not heeded, and a count below kvm.min_timer_period_us, which KVM
 * slows down, is reported as it is. Pure.
 */
#pragma once

#include "daemon/base-timer/ports.h"

/* Counts per second of KVM's PIT (KVM_PIT_FREQ, arch/x86/kvm/i8254.h). */
#define PIT_CLOCK_HZ 1193181u

struct pit_ports {
    uint8_t access;   /* of channel 0: 1 low byte, 2 high byte, 3 low, then high; 0: not known */
    uint8_t mode;     /* 0 to 5; 2 and 3 are periodic */
    bool low_written; /* access 3: the high byte comes next */
    uint8_t low;
};

/* Nothing is known: the guest runs already. After a reset nothing is programmed either. */
void pit_ports_init(struct pit_ports *ports);

/*
 * @ret_event is always written; its kind is NONE where the access means nothing new.
 * RATE: a count was loaded, completely, and the period begins anew here. So it does in KVM's PIT,
 *   and therefore a reload of the count that is in force already is a RATE too. In a mode that is
 *   not periodic the length is 0: at most one more tick comes.
 * A control word alone is nothing new: KVM's timer, and QEMU's, goes on in the old mode until a
 * count is loaded. Nothing else is ever reported.
 */
void pit_ports_access(struct pit_ports *ports, const struct port_access *access,
                      struct base_event *ret_event);
