/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A boot sector that counts: the RTC comes through the PICs, as their IRQ 8; the local APIC is on too,
 * and passes on what the PICs raise, so that a borrowed pin's interrupts arrive. */

#include "qemu-guest.h"

#define RTC_VECTOR 0x70 /* where a BIOS leaves IRQ 8 */

    .macro SETUP
    addr32 movl $0x700, APIC(APIC_LINT0) /* ExtINT */
    movb    $0xfb, %al
    outb    %al, $0x21
    movb    $0xfe, %al
    outb    %al, $0xa1
    .endm

    .macro RTC_EOI
    movb    $0x20, %al
    outb    %al, $0xa0
    outb    %al, $0x20
    .endm

#include "qemu-boot.inc"
