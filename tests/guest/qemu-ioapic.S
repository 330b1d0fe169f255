/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A boot sector that counts: the RTC comes through its own IOAPIC entry, the PICs are masked. */

#include "qemu-guest.h"

#define RTC_VECTOR 0x30
#define IOAPIC_SELECT %fs:0xfec00000
#define IOAPIC_WINDOW %fs:0xfec00010

    .macro IOAPIC_WRITE register, value
    addr32 movl $\register, IOAPIC_SELECT
    addr32 movl $\value, IOAPIC_WINDOW
    .endm

    .macro SETUP
    movb    $0xff, %al
    outb    %al, $0x21
    outb    %al, $0xa1
    IOAPIC_WRITE 0x21, 0
    IOAPIC_WRITE 0x20, RTC_VECTOR
    .endm

    .macro RTC_EOI
    addr32 movl $0, APIC(APIC_EOI)
    .endm

#include "qemu-boot.inc"
