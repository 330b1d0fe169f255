/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the boot sectors qemu-*.S and the tests share: where the guest counts. Read by the assembler
 * and by C.
 */
#pragma once

#define QEMU_GUEST_LOAD   0x7c00 /* where a BIOS loads a boot sector */
#define QEMU_GUEST_COUNTS 0x9000 /* struct qemu_guest_counts, in the guest's memory */

/* Interrupts are counted for these vectors; a borrowed pin's must be one of them. */
#define QEMU_GUEST_VECTOR_FIRST 0x40
#define QEMU_GUEST_VECTORS      0x24

#define QEMU_GUEST_RTC   0x400 /* offsets into struct qemu_guest_counts */
#define QEMU_GUEST_READY 0x404
#define QEMU_GUEST_POKE  0x408
#define QEMU_GUEST_VALUE 0x40c
#define QEMU_GUEST_SIZE  0x410

#define QEMU_GUEST_RTC_HZ 1024

#ifdef __ASSEMBLER__
/* The local APIC, once FS is flat. */
#define APIC(offset) % fs : (0xfee00000 + offset)
#define APIC_TPR     0x80
#define APIC_EOI     0xb0
#define APIC_SVR     0xf0
#define APIC_LINT0   0x350
#else
#include <stddef.h>
#include <stdint.h>

struct qemu_guest_counts {
    uint32_t vectors[256]; /* interrupts taken, but for the RTC's */
    uint32_t rtc;          /* the RTC's */
    uint32_t ready;        /* QEMU_GUEST_READY_MAGIC: it counts */
    /* Not 0: the guest writes `value` to that register of its local APIC, within a tick of its RTC,
     * and sets it to 0. */
    uint32_t poke;
    uint32_t value;
};

_Static_assert(offsetof(struct qemu_guest_counts, rtc) == QEMU_GUEST_RTC, "rtc");
_Static_assert(offsetof(struct qemu_guest_counts, ready) == QEMU_GUEST_READY, "ready");
_Static_assert(offsetof(struct qemu_guest_counts, poke) == QEMU_GUEST_POKE, "poke");
_Static_assert(offsetof(struct qemu_guest_counts, value) == QEMU_GUEST_VALUE, "value");
_Static_assert(sizeof(struct qemu_guest_counts) == QEMU_GUEST_SIZE, "size");
#endif

#define QEMU_GUEST_READY_MAGIC 0x72647921
