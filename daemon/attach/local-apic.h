/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The registers of a local APIC, as KVM_GET_LAPIC gives them: what they say. Pure. */
#pragma once

#include "daemon/attach/protocol.h"
#include <linux/kvm.h>
#include <stdbool.h>

/* Offsets of registers (Intel SDM volume 3, table 11-1). */
#define LOCAL_APIC_LVTT    0x320u
#define LOCAL_APIC_INITIAL 0x380u
#define LOCAL_APIC_CURRENT 0x390u
#define LOCAL_APIC_DIVIDE  0x3e0u

#define LOCAL_APIC_LVTT_VECTOR       UINT32_C(0xff)
#define LOCAL_APIC_LVTT_MASKED       (UINT32_C(1) << 16)
#define LOCAL_APIC_LVTT_PERIODIC     (UINT32_C(1) << 17)
#define LOCAL_APIC_LVTT_TSC_DEADLINE (UINT32_C(1) << 18)

/* Is it switched on by software? If not, it holds all local interrupts masked. */
bool local_apic_is_enabled(const struct kvm_lapic_state *state);

/* Does an interrupt with the redirection entry @entry go to it (too)? */
bool local_apic_is_destination(const struct kvm_lapic_state *state, uint64_t entry);

struct attach_timer local_apic_timer(const struct kvm_lapic_state *state);

/* Interrupts of @vector that it has and whose EOI has not come: 0 to 2. */
unsigned local_apic_unfinished(const struct kvm_lapic_state *state, unsigned vector);

/* A periodic timer of @vector that is never faster than the period @numerator / @denominator ns,
 * and slower by less than a count. @bus_ns: what a count takes, undivided. False: it is longer than
 * the timer's longest, or 0. */
bool local_apic_plan_timer(uint64_t numerator, uint64_t denominator, uint32_t bus_ns,
                           unsigned vector, struct attach_timer *ret_timer, uint64_t *ret_tick_ns);

/* What a TDCR divides by. */
unsigned local_apic_divisor(uint32_t divide);
