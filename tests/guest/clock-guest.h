/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the guest that keeps time by counting ticks (clock-guest.inc, a part of domain-guest.S) and
 * the tests share. Read by the assembler and by C.
 *
 * At each interrupt of the RTC it reads register C, adds the length of a tick at the rate in force
 * to its clock, and only then programs another rate, if one is asked for: as the clock interrupts
 * of old Windows do, to judge by ReactOS (hal/halx86/apic/rtctimer.c).
 */
#pragma once

#define CLOCK_GUEST 0x800 /* struct clock_guest, within the page of vCPU 0 */

/* Counts of the clock per second. */
#define CLOCK_GUEST_RTC_HZ 32768
#define CLOCK_GUEST_PIT_HZ 1193181 /* KVM's, KVM_PIT_FREQ of arch/x86/kvm/i8254.h */

/* Offsets into struct clock_guest. */
#define CLOCK_GUEST_TIME      0x00
#define CLOCK_GUEST_TICKS     0x04
#define CLOCK_GUEST_ADDED     0x08
#define CLOCK_GUEST_INCREMENT 0x0c
#define CLOCK_GUEST_CHANGES   0x10
#define CLOCK_GUEST_REMAINING 0x14
#define CLOCK_GUEST_NOW       0x18
#define CLOCK_GUEST_NEXT      0x1c
#define CLOCK_GUEST_ASKED     0x20

#ifndef __ASSEMBLER__
#include <stddef.h>
#include <stdint.h>

/* Goes on through a reset of the guest, but for the rate. */
struct clock_guest {
    /* Written by the guest. */
    uint32_t time;      /* the sum of its ticks' lengths; begins anew at 2^32 */
    uint32_t ticks;     /* that it has added */
    uint32_t added;     /* the length of the latest one */
    uint32_t increment; /* the length of the next one */
    uint32_t changes;   /* of the rate, so far */
    uint32_t remaining; /* ticks up to its own next change of rate */
    uint32_t now, next; /* the pattern that it goes by */
    /* Written by the host, cleared by the guest when it is done. */
    uint32_t asked; /* a rate, 3 to 15, to be programmed at the next tick */
};

#define CLOCK_GUEST_AT(field, offset) \
    _Static_assert(offsetof(struct clock_guest, field) == offset, #field)
CLOCK_GUEST_AT(time, CLOCK_GUEST_TIME);
CLOCK_GUEST_AT(ticks, CLOCK_GUEST_TICKS);
CLOCK_GUEST_AT(added, CLOCK_GUEST_ADDED);
CLOCK_GUEST_AT(increment, CLOCK_GUEST_INCREMENT);
CLOCK_GUEST_AT(changes, CLOCK_GUEST_CHANGES);
CLOCK_GUEST_AT(remaining, CLOCK_GUEST_REMAINING);
CLOCK_GUEST_AT(now, CLOCK_GUEST_NOW);
CLOCK_GUEST_AT(next, CLOCK_GUEST_NEXT);
CLOCK_GUEST_AT(asked, CLOCK_GUEST_ASKED);
#endif
