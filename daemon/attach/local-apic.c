/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The registers of a local APIC: see local-apic.h. Numbers are the Intel SDM's, volume 3, 11.4 to
 * 11.6, where nothing else is said. */
#include "daemon/attach/local-apic.h"

#include <string.h>

#define REGISTER_ID   0x20u
#define REGISTER_LDR  0xd0u
#define REGISTER_DFR  0xe0u
#define REGISTER_SVR  0xf0u
#define REGISTER_ISR  0x100u
#define REGISTER_IRR  0x200u
#define SVR_ENABLED   (UINT32_C(1) << 8)
#define DFR_FLAT      0xfu
#define BROADCAST     0xffu
#define BITS_REGISTER 32u /* ISR and IRR: so many vectors in a register, */
#define BITS_STRIDE   16u /* which lie so far apart */

#define DIVISORS 8u

static uint32_t reg(const struct kvm_lapic_state *state, unsigned offset)
{
    uint32_t value;

    memcpy(&value, state->regs + offset, sizeof(value));
    return value;
}

bool local_apic_is_enabled(const struct kvm_lapic_state *state)
{
    return (reg(state, REGISTER_SVR) & SVR_ENABLED) != 0;
}

/* KVM puts an ID of 8 bits into the uppermost ones, also in x2APIC mode, unless the VMM has asked
 * for IDs of 32 bits (KVM_CAP_X2APIC_API). */
static uint32_t id_of(const struct kvm_lapic_state *state)
{
    uint32_t id = reg(state, REGISTER_ID);

    return (id & 0xffffff) == 0 ? id >> 24 : id;
}

/* In x2APIC mode a logical ID always has one of the lower 16 bits, in xAPIC mode never. */
static bool is_logical_destination(const struct kvm_lapic_state *state, uint32_t mda)
{
    uint32_t ldr = reg(state, REGISTER_LDR);

    if ((ldr & 0xffff) != 0) {
        return ldr >> 16 == 0 && (ldr & mda) != 0; /* 8 bits reach cluster 0 only */
    }
    if (reg(state, REGISTER_DFR) >> 28 == DFR_FLAT) {
        return (ldr >> 24 & mda) != 0;
    }
    return ldr >> 28 == mda >> 4 && (ldr >> 24 & mda & 0xf) != 0;
}

bool local_apic_is_destination(const struct kvm_lapic_state *state, uint64_t entry)
{
    uint32_t mda = (uint32_t)(entry >> 56);

    if ((entry & ATTACH_ENTRY_LOGICAL) != 0) {
        return is_logical_destination(state, mda);
    }
    return mda == BROADCAST || mda == id_of(state);
}

struct attach_timer local_apic_timer(const struct kvm_lapic_state *state)
{
    return (struct attach_timer){.lvtt = reg(state, LOCAL_APIC_LVTT),
                                 .divide = reg(state, LOCAL_APIC_DIVIDE),
                                 .initial = reg(state, LOCAL_APIC_INITIAL),
                                 .current = reg(state, LOCAL_APIC_CURRENT)};
}

static unsigned bit(const struct kvm_lapic_state *state, unsigned first, unsigned vector)
{
    return reg(state, first + vector / BITS_REGISTER * BITS_STRIDE) >> vector % BITS_REGISTER & 1;
}

unsigned local_apic_unfinished(const struct kvm_lapic_state *state, unsigned vector)
{
    return bit(state, REGISTER_IRR, vector) + bit(state, REGISTER_ISR, vector);
}

/* TDCR bits 3, 1, 0; by powers of two: 2, 4, … 128, and 1. */
static uint32_t divide_for(unsigned power)
{
    unsigned code = (power + DIVISORS - 1) % DIVISORS;

    return (code & 4) << 1 | (code & 3);
}

unsigned local_apic_divisor(uint32_t divide)
{
    unsigned code = (divide & 8) >> 1 | (divide & 3);

    return 1u << (code + 1) % DIVISORS;
}

bool local_apic_plan_timer(uint64_t numerator, uint64_t denominator, uint32_t bus_ns,
                           unsigned vector, struct attach_timer *ret_timer, uint64_t *ret_tick_ns)
{
    __extension__ typedef unsigned __int128 u128;

    for (unsigned power = 0; power < DIVISORS; power++) {
        u128 count_ns = (u128)bus_ns << power;
        u128 unit = count_ns * denominator;
        u128 counts = unit != 0 ? (numerator + unit - 1) / unit : 0;
        if (counts == 0) {
            return false;
        }
        if (counts <= UINT32_MAX) {
            *ret_timer = (struct attach_timer){.lvtt = LOCAL_APIC_LVTT_PERIODIC | vector,
                                               .divide = divide_for(power),
                                               .initial = (uint32_t)counts};
            *ret_tick_ns = (uint64_t)(counts * count_ns);
            return true;
        }
    }
    return false;
}
