/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A guest that counts the interrupts it takes, by vector, and otherwise halts.
 *
 * 16-bit real mode throughout, which is all that KVM without VMX or SVM can run. Every vCPU
 * enters at the start, with CS, DS, ES at 0, GS and SS at its own page (tick.h), SP at the end of
 * that page, and FS flat over 4 GiB: so it reaches its local APIC.
 */
#include "tick.h"

/* Addresses once loaded: plain numbers, nothing is left to the linker. */
#define AT(label) (GUEST_LOAD + label - start)

/* A register of the local APIC, whose base is in EBX for good. */
#define APIC(offset)    %fs:offset(%ebx)
#define APIC_BASE       0xfee00000
#define APIC_ID         0x20
#define APIC_TPR        0x80
#define APIC_EOI        0xb0
#define APIC_LDR        0xd0
#define APIC_DFR        0xe0
#define APIC_SVR        0xf0
#define APIC_SVR_ENABLE 0x100

#define STUB_SIZE 16

    .section .rodata.guest, "a", @progbits
    .code16
    .globl guest_tick_start, guest_tick_end
    .balign 16
guest_tick_start:
start:
    cli
    cld

    /* The interrupt vector table. All vCPUs write it, all write the same. */
    xorw    %di, %di
    movl    $AT(exception), %eax
    movw    $GUEST_VECTOR_SPURIOUS, %cx
    rep stosl
    movl    $AT(spurious), %eax
    stosl
    movl    $AT(stubs), %eax
    movw    $(GUEST_VECTORS - GUEST_VECTOR_FIRST), %cx
1:  stosl
    addl    $STUB_SIZE, %eax
    loop    1b

    /* The local APIC. Flat logical destinations: vCPU n is bit n. */
    movl    $APIC_BASE, %ebx
    movl    APIC(APIC_ID), %ecx
    shrl    $24, %ecx
    movl    $(1 << 24), %eax
    shll    %cl, %eax
    movl    $0xffffffff, APIC(APIC_DFR)
    movl    %eax, APIC(APIC_LDR)
    movl    $0, APIC(APIC_TPR)
    movl    $(APIC_SVR_ENABLE | GUEST_VECTOR_SPURIOUS), APIC(APIC_SVR)

    movl    $1, %gs:GUEST_READY
idle:
    cli
    cmpl    $0, %gs:GUEST_MASK
    jne     masked
    sti                         /* not before the hlt: no tick is slept over */
    hlt
    jmp     idle

masked:
    movl    $1, %gs:GUEST_MASKED
1:  pause
    cmpl    $0, %gs:GUEST_MASK
    jne     1b
    movl    $0, %gs:GUEST_MASKED
    jmp     idle

    /* The handlers change no register, so there is none to save. */
    .balign STUB_SIZE
stubs:
    .set    vector, GUEST_VECTOR_FIRST
    .rept   GUEST_VECTORS - GUEST_VECTOR_FIRST
    .balign STUB_SIZE
    incl    %gs:(GUEST_COUNTS + 4 * vector)
    jmp     taken
    .set    vector, vector + 1
    .endr

taken:
    incl    %gs:GUEST_TOTAL
    movl    $0, APIC(APIC_EOI)
    iret

spurious:                       /* no EOI: the APIC did not put it in service */
    incl    %gs:GUEST_SPURIOUS
    iret

exception:
    outb    %al, $GUEST_PORT_EXCEPTION
1:  cli
    hlt
    jmp     1b
guest_tick_end:

    .section .note.GNU-stack, "", @progbits
