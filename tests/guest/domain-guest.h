/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the guest domain-guest.S and the tests share: what it is asked to do, and where it counts.
 * Read by the assembler and by C.
 */
#pragma once

#define DOMAIN_GUEST_LOAD     0x7c00 /* where a BIOS loads a boot sector */
#define DOMAIN_GUEST_SECTORS  6
#define DOMAIN_GUEST_ROM_SIZE 0x10000 /* the image */

/* Written into the image before it is booted: struct domain_guest_options. */
#define DOMAIN_GUEST_OPTIONS 0x1e0 /* offset into the image */

#define DOMAIN_GUEST_PIC 1 /* the RTC comes through the PICs, not through its IOAPIC entry */
#define DOMAIN_GUEST_SMP 2 /* all other vCPUs are started too */
/* It keeps time by counting ticks, see clock-guest.h. */
#define DOMAIN_GUEST_CLOCK      4
#define DOMAIN_GUEST_CLOCK_PF   8  /* only those for which register C has PF */
#define DOMAIN_GUEST_CLOCK_POLL 16 /* reads register C until PF is clear; each PF is a tick */
#define DOMAIN_GUEST_CLOCK_PIT  32 /* by the PIT's ticks, not the RTC's */
#define DOMAIN_GUEST_STAMPS     64 /* each interrupt is stamped as it is handled */

/* In the guest's memory, which no reset clears: a page for all, then one for each vCPU. */
#define DOMAIN_GUEST_SHARED    0x100000
#define DOMAIN_GUEST_PAGES     0x101000
#define DOMAIN_GUEST_PAGE_SIZE 0x1000
#define DOMAIN_GUEST_CPUS      4
#define DOMAIN_GUEST_END       (DOMAIN_GUEST_PAGES + DOMAIN_GUEST_CPUS * DOMAIN_GUEST_PAGE_SIZE)

/* Interrupts are counted from here up to DOMAIN_GUEST_SPURIOUS_VECTOR - 1. */
#define DOMAIN_GUEST_VECTOR_FIRST    0x20
#define DOMAIN_GUEST_SPURIOUS_VECTOR 0xff
/* Vectors of the guest's own. */
#define DOMAIN_GUEST_RTC_VECTOR     0x30
#define DOMAIN_GUEST_RTC_PIC_VECTOR 0x70 /* where a BIOS leaves IRQ 8 */
#define DOMAIN_GUEST_PIT_VECTOR     0x31
#define DOMAIN_GUEST_PIT_PIC_VECTOR 0x28
#define DOMAIN_GUEST_TIMER_VECTOR   0x38

#define DOMAIN_GUEST_READY_MAGIC 0x72647921

/* Offsets into struct domain_guest_page. */
#define DOMAIN_GUEST_RTC         0x400
#define DOMAIN_GUEST_READY       0x404
#define DOMAIN_GUEST_SPURIOUS    0x408
#define DOMAIN_GUEST_MASK        0x40c
#define DOMAIN_GUEST_MASKED      0x410
#define DOMAIN_GUEST_RTC_STAMPS  0x500
#define DOMAIN_GUEST_TICK_STAMPS 0xa00

/* Offsets into struct domain_guest_stamps. */
#define DOMAIN_GUEST_STAMPED  0
#define DOMAIN_GUEST_STAMP    8
#define DOMAIN_GUEST_STAMPS_N 128 /* a power of two */

/* Offsets into struct domain_guest_shared. */
#define DOMAIN_GUEST_BOOTS     0
#define DOMAIN_GUEST_EXCEPTION 4
#define DOMAIN_GUEST_RESET     8

/* Offsets into struct domain_guest_options. */
#define DOMAIN_GUEST_FLAGS       0
#define DOMAIN_GUEST_TIMER_NS    4
#define DOMAIN_GUEST_RTC_RATE    8
#define DOMAIN_GUEST_OTHER_RATE  9
#define DOMAIN_GUEST_TICKS       10
#define DOMAIN_GUEST_OTHER_TICKS 12
#define DOMAIN_GUEST_PIT_COUNT   14

#ifndef __ASSEMBLER__
#include <stddef.h>
#include <stdint.h>

struct domain_guest_options {
    uint32_t flags;       /* DOMAIN_GUEST_PIC, … */
    uint32_t timer_ns;    /* period of vCPU 0's own local APIC timer; 0: it has none */
    uint8_t rtc_rate;     /* 3 to 15: the RTC ticks at 32768 >> (rtc_rate - 1) Hz; 0: it is off */
    uint8_t other_rate;   /* it changes between the two; 0: it does not */
    uint16_t ticks;       /* at rtc_rate, then */
    uint16_t other_ticks; /* at other_rate */
    uint16_t pit_count;   /* of channel 0, mode 2; 0: it is off */
};

/* A ring: the TSC as each was handled. */
struct domain_guest_stamps {
    uint32_t n; /* so many, ever: the next one goes to n % DOMAIN_GUEST_STAMPS_N */
    uint32_t unused;
    uint64_t tsc[DOMAIN_GUEST_STAMPS_N];
};

/* All counts go on through a reset of the guest. */
struct domain_guest_page {
    /* Written by the guest. */
    uint32_t vectors[256]; /* interrupts taken, but for the RTC's; counted before the EOI */
    uint32_t rtc;          /* the RTC's, vCPU 0 only */
    uint32_t ready;        /* DOMAIN_GUEST_READY_MAGIC: it takes interrupts */
    uint32_t spurious;     /* of the local APIC */
    /* Written by the host. */
    uint32_t mask; /* 1: keep interrupts off; heeded at the next interrupt at the latest */
    /* Written by the guest. */
    uint32_t masked; /* 1: interrupts are off for the host's sake */
    uint8_t unused[DOMAIN_GUEST_RTC_STAMPS - DOMAIN_GUEST_MASKED - 4];
    struct domain_guest_stamps rtc_stamps; /* with DOMAIN_GUEST_STAMPS */
    uint8_t unused_2[DOMAIN_GUEST_TICK_STAMPS - DOMAIN_GUEST_RTC_STAMPS -
                     sizeof(struct domain_guest_stamps)];
    struct domain_guest_stamps tick_stamps; /* of all vectors but the RTC's */
    uint8_t unused_3[DOMAIN_GUEST_PAGE_SIZE - DOMAIN_GUEST_TICK_STAMPS -
                     sizeof(struct domain_guest_stamps)];
};

struct domain_guest_shared {
    uint32_t boots;     /* written by the guest: how often it has started */
    uint32_t exception; /* written by the guest: it has met one and is at an end */
    uint32_t reset;     /* written by the host: 1: reset the machine, at the next interrupt */
};

_Static_assert(sizeof(struct domain_guest_page) == DOMAIN_GUEST_PAGE_SIZE, "page");
#define DOMAIN_GUEST_AT(type, field, offset) \
    _Static_assert(offsetof(struct type, field) == offset, #field)
DOMAIN_GUEST_AT(domain_guest_page, rtc, DOMAIN_GUEST_RTC);
DOMAIN_GUEST_AT(domain_guest_page, ready, DOMAIN_GUEST_READY);
DOMAIN_GUEST_AT(domain_guest_page, spurious, DOMAIN_GUEST_SPURIOUS);
DOMAIN_GUEST_AT(domain_guest_page, mask, DOMAIN_GUEST_MASK);
DOMAIN_GUEST_AT(domain_guest_page, masked, DOMAIN_GUEST_MASKED);
DOMAIN_GUEST_AT(domain_guest_page, rtc_stamps, DOMAIN_GUEST_RTC_STAMPS);
DOMAIN_GUEST_AT(domain_guest_page, tick_stamps, DOMAIN_GUEST_TICK_STAMPS);
DOMAIN_GUEST_AT(domain_guest_stamps, n, DOMAIN_GUEST_STAMPED);
DOMAIN_GUEST_AT(domain_guest_stamps, tsc, DOMAIN_GUEST_STAMP);
DOMAIN_GUEST_AT(domain_guest_shared, boots, DOMAIN_GUEST_BOOTS);
DOMAIN_GUEST_AT(domain_guest_shared, exception, DOMAIN_GUEST_EXCEPTION);
DOMAIN_GUEST_AT(domain_guest_shared, reset, DOMAIN_GUEST_RESET);
DOMAIN_GUEST_AT(domain_guest_options, timer_ns, DOMAIN_GUEST_TIMER_NS);
DOMAIN_GUEST_AT(domain_guest_options, rtc_rate, DOMAIN_GUEST_RTC_RATE);
DOMAIN_GUEST_AT(domain_guest_options, other_rate, DOMAIN_GUEST_OTHER_RATE);
DOMAIN_GUEST_AT(domain_guest_options, ticks, DOMAIN_GUEST_TICKS);
DOMAIN_GUEST_AT(domain_guest_options, other_ticks, DOMAIN_GUEST_OTHER_TICKS);
DOMAIN_GUEST_AT(domain_guest_options, pit_count, DOMAIN_GUEST_PIT_COUNT);

/* The guest: a disk to be booted from, or a BIOS. */
extern const unsigned char domain_guest_start[DOMAIN_GUEST_ROM_SIZE];
#endif
