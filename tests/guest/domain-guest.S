/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A guest that counts the interrupts it takes, on each vCPU and by vector, and otherwise halts.
 * What it does besides is asked for by options within the image, and while it runs by words in its
 * memory (domain-guest.h). The image is booted from a disk, by the VMM's own BIOS, or is the BIOS
 * itself: that takes milliseconds instead of seconds.
 *
 * 16-bit real mode throughout, which is all that KVM without VMX or SVM can run. CS, DS and ES
 * are 0, SS is the vCPU's own. FS is flat over 4 GiB, so that it reaches the APICs, and GS is the
 * vCPU's page above 1 MiB, which a BIOS leaves alone at a reset ("unreal" mode: protected mode is
 * entered for their loading only).
 */
#include "clock-guest.h"
#include "domain-guest.h"

/* Addresses once loaded: plain numbers, nothing is left to the linker. */
#define AT(label)      (DOMAIN_GUEST_LOAD + label - start)
#define OPTION(offset) (DOMAIN_GUEST_LOAD + DOMAIN_GUEST_OPTIONS + offset)
#define SHARED(offset) %fs:(DOMAIN_GUEST_SHARED + offset)

#define APIC(offset)     %fs:(0xfee00000 + offset)
#define APIC_ID          0x20
#define APIC_TPR         0x80
#define APIC_EOI         0xb0
#define APIC_LDR         0xd0
#define APIC_DFR         0xe0
#define APIC_SVR         0xf0
#define APIC_SVR_ENABLE  0x100
#define APIC_ICR         0x300
#define APIC_ICR_INIT    0xc4500 /* to all others */
#define APIC_ICR_SIPI    0xc4600
#define APIC_LVTT        0x320
#define APIC_LVTT_PERIODIC 0x20000
#define APIC_LINT0       0x350
#define APIC_EXTINT      0x700
#define APIC_TMICT       0x380
#define APIC_TDCR        0x3e0
#define APIC_DIVIDE_BY_1 0xb

#define STALE 8 /* interrupts that may be in service at the start, at most */

#define IOAPIC_SELECT %fs:0xfec00000
#define IOAPIC_WINDOW %fs:0xfec00010

#define ROM_SEGMENT 0xf000

#define RESET_PORT    0xcf9
#define RESET_MACHINE 6

#define TRAMPOLINE 0x9000  /* where the other vCPUs start: page 9 */
#define STACKS     0x10000 /* a page for each vCPU */

#define STUB_SIZE 4
/* What the first stub returns to. */
#define STUB_RETURN (AT(stubs) + 3)

    .section .rodata.guest, "a", @progbits
    .code16
    .globl domain_guest_start
    .balign 16
domain_guest_start:
start:
    cli
    cld
    xorw    %ax, %ax
    movw    %ax, %ds
    movw    %ax, %es
    movw    %ax, %ss
    movw    $DOMAIN_GUEST_LOAD, %sp

    /* The rest of the image; DL is the drive. */
    movw    $(0x0200 + DOMAIN_GUEST_SECTORS - 1), %ax
    movw    $(DOMAIN_GUEST_LOAD + 512), %bx
    movw    $2, %cx
    xorb    %dh, %dh
    int     $0x13
    cli
    ljmp    $0, $AT(loaded)

gdt:
    .quad   0
    .quad   0x00cf92000000ffff  /* data, 4 GiB */
    .set    page, DOMAIN_GUEST_PAGES
    .rept   DOMAIN_GUEST_CPUS   /* data, 64 KiB, from a vCPU's page on */
    .word   0xffff, page & 0xffff
    .byte   page >> 16, 0x92, 0, 0
    .set    page, page + DOMAIN_GUEST_PAGE_SIZE
    .endr
gdt_pointer:
    .word   . - gdt - 1
    .long   AT(gdt)

    .org    start + DOMAIN_GUEST_OPTIONS
    .fill   16, 1, 0
    .org    start + 510
    .byte   0x55, 0xaa

loaded:
    movw    $AT(1f), %bp
    jmp     find_page
1:
    addr32 incl SHARED(DOMAIN_GUEST_BOOTS)

    /* The interrupt vector table. */
    xorw    %di, %di
    movl    $AT(exception), %eax
    movw    $DOMAIN_GUEST_VECTOR_FIRST, %cx
    rep stosl
    movl    $AT(stubs), %eax
    movw    $(DOMAIN_GUEST_SPURIOUS_VECTOR - DOMAIN_GUEST_VECTOR_FIRST), %cx
1:  stosl
    addw    $STUB_SIZE, %ax
    loop    1b
    movl    $AT(spurious), %eax
    stosl

    call    set_up_apic
    call    set_up_timer
    movl    $AT(rtc), %edx
    testb   $DOMAIN_GUEST_CLOCK, OPTION(DOMAIN_GUEST_FLAGS)
    jz      1f
    call    set_up_clock
1:  call    set_up_rtc
    testb   $DOMAIN_GUEST_CLOCK_PIT, OPTION(DOMAIN_GUEST_FLAGS)
    jz      1f
    call    set_up_pit
1:
    testb   $DOMAIN_GUEST_SMP, OPTION(DOMAIN_GUEST_FLAGS)
    jz      ready

    /* The others: a far jump at the start of their page. */
    movb    $0xea, TRAMPOLINE
    movl    $AT(other), TRAMPOLINE + 1
    addr32 movl $APIC_ICR_INIT, APIC(APIC_ICR)
    movw    $1000, %cx
1:  inb     $0x80, %al
    loop    1b
    addr32 movl $(APIC_ICR_SIPI + TRAMPOLINE / 0x1000), APIC(APIC_ICR)

ready:
    movl    $DOMAIN_GUEST_READY_MAGIC, %gs:DOMAIN_GUEST_READY
idle:
    cli
    addr32 cmpl $0, SHARED(DOMAIN_GUEST_RESET)
    jne     reset
    cmpl    $0, %gs:DOMAIN_GUEST_MASK
    jne     masked
    sti                         /* not before the hlt: no tick is slept over */
    hlt
    jmp     idle

masked:
    movl    $1, %gs:DOMAIN_GUEST_MASKED
1:  pause
    cmpl    $0, %gs:DOMAIN_GUEST_MASK
    jne     1b
    movl    $0, %gs:DOMAIN_GUEST_MASKED
    jmp     idle

reset:
    addr32 movl $0, SHARED(DOMAIN_GUEST_RESET)
    movl    $0, %gs:DOMAIN_GUEST_READY
    movw    $RESET_PORT, %dx
    movb    $RESET_MACHINE, %al
    outb    %al, %dx
1:  hlt
    jmp     1b

other:                          /* a further vCPU: nothing but CS is set */
    cli
    cld
    xorw    %ax, %ax
    movw    %ax, %ds
    movw    %ax, %es
    movw    $AT(1f), %bp
    jmp     find_page
1:
    call    set_up_apic
    jmp     ready

    /* Sets FS, GS and the stack; returns to BP, as there is no stack yet. */
find_page:
    movw    $AT(flat), %di
    movw    $8, %bx
    jmp     load_segments
flat:
    addr32 movl APIC(APIC_ID), %ecx
    shrl    $24, %ecx
    movw    %cx, %ax
    addb    $(STACKS / 0x1000), %al
    shlw    $8, %ax
    movw    %ax, %ss
    movw    $0x1000, %sp
    movw    %cx, %bx
    shlw    $3, %bx
    addw    $16, %bx
    movw    $AT(own), %di
load_segments:
    lgdt    AT(gdt_pointer)
    movl    %cr0, %eax
    orb     $1, %al
    movl    %eax, %cr0
    movw    $8, %dx
    movw    %dx, %fs
    movw    %bx, %gs
    andb    $0xfe, %al
    movl    %eax, %cr0
    jmp     *%di
own:
    movl    $0, %gs:DOMAIN_GUEST_READY
    movl    $0, %gs:DOMAIN_GUEST_MASKED
    jmp     *%bp

    /* Flat logical destinations: vCPU n is bit n. */
set_up_apic:
    addr32 movl APIC(APIC_ID), %ecx
    shrl    $24, %ecx
    movl    $(1 << 24), %eax
    shll    %cl, %eax
    addr32 movl $0xffffffff, APIC(APIC_DFR)
    addr32 movl %eax, APIC(APIC_LDR)
    addr32 movl $0, APIC(APIC_TPR)
    addr32 movl $(APIC_SVR_ENABLE | DOMAIN_GUEST_SPURIOUS_VECTOR), APIC(APIC_SVR)
    /* As operating systems do: what a BIOS was in the midst of. */
    movw    $STALE, %cx
1:  addr32 movl $0, APIC(APIC_EOI)
    loop    1b
    ret

set_up_timer:
    movl    OPTION(DOMAIN_GUEST_TIMER_NS), %eax
    testl   %eax, %eax
    jz      1f
    addr32 movl $APIC_DIVIDE_BY_1, APIC(APIC_TDCR)
    addr32 movl $(APIC_LVTT_PERIODIC | DOMAIN_GUEST_TIMER_VECTOR), APIC(APIC_LVTT)
    addr32 movl %eax, APIC(APIC_TMICT)
1:  ret

    /* Nothing comes from the PICs but the RTC, and that only if it is asked for. EDX: its
     * handler. */
set_up_rtc:
    movb    $0x11, %al
    outb    %al, $0x20
    outb    %al, $0xa0
    movb    $DOMAIN_GUEST_PIT_PIC_VECTOR, %al
    outb    %al, $0x21
    movb    $DOMAIN_GUEST_RTC_PIC_VECTOR, %al
    outb    %al, $0xa1
    movb    $4, %al
    outb    %al, $0x21
    movb    $2, %al
    outb    %al, $0xa1
    movb    $1, %al
    outb    %al, $0x21
    outb    %al, $0xa1
    movw    $0xffff, %bx
    testb   $DOMAIN_GUEST_PIC, OPTION(DOMAIN_GUEST_FLAGS)
    jz      1f
    movw    $0xfefb, %bx
    movl    %edx, 4 * DOMAIN_GUEST_RTC_PIC_VECTOR
    addr32 movl $APIC_EXTINT, APIC(APIC_LINT0)
    jmp     2f
1:  movl    %edx, 4 * DOMAIN_GUEST_RTC_VECTOR
    addr32 movl $0x21, IOAPIC_SELECT
    addr32 movl $0, IOAPIC_WINDOW
    addr32 movl $0x20, IOAPIC_SELECT
    addr32 movl $DOMAIN_GUEST_RTC_VECTOR, IOAPIC_WINDOW
2:  movb    %bl, %al
    outb    %al, $0x21
    movb    %bh, %al
    outb    %al, $0xa1

    /* Its rate; then periodic interrupts, 24 hours. */
    movb    OPTION(DOMAIN_GUEST_RTC_RATE), %ah
    testb   %ah, %ah
    jz      1f
    orb     $0x20, %ah
    movb    $0x0a, %al
    call    write_cmos
    movw    $0x420b, %ax
    call    write_cmos
    call    read_c
1:  ret

write_cmos:
    outb    %al, $0x70
    movb    %ah, %al
    outb    %al, $0x71
    ret

read_c:
    movb    $0x0c, %al
    outb    %al, $0x70
    inb     $0x71, %al
    ret

    /* Into the ring at SI; all registers are kept. */
stamp:
    testb   $DOMAIN_GUEST_STAMPS, OPTION(DOMAIN_GUEST_FLAGS)
    jz      1f
    pushl   %eax
    pushl   %edx
    pushw   %bx
    rdtsc
    movw    %gs:DOMAIN_GUEST_STAMPED(%si), %bx
    andw    $(DOMAIN_GUEST_STAMPS_N - 1), %bx
    shlw    $3, %bx
    movl    %eax, %gs:DOMAIN_GUEST_STAMP(%bx, %si)
    movl    %edx, %gs:(DOMAIN_GUEST_STAMP + 4)(%bx, %si)
    incl    %gs:DOMAIN_GUEST_STAMPED(%si)
    popw    %bx
    popl    %edx
    popl    %eax
1:  ret

rtc:
    pushw   %si
    movw    $DOMAIN_GUEST_RTC_STAMPS, %si
    call    stamp
    popw    %si
    pushl   %eax
    incl    %gs:DOMAIN_GUEST_RTC
    call    read_c
end_of_rtc:
    testb   $DOMAIN_GUEST_PIC, OPTION(DOMAIN_GUEST_FLAGS)
    jz      1f
    movb    $0x20, %al
    outb    %al, $0xa0
    outb    %al, $0x20
    popl    %eax
    iret
1:  addr32 movl $0, APIC(APIC_EOI)
    popl    %eax
    iret

#include "clock-guest.inc"

counted:                        /* the return address tells which stub it was */
    pushw   %bp
    movw    %sp, %bp
    pushw   %si
    movw    $DOMAIN_GUEST_TICK_STAMPS, %si
    call    stamp
    popw    %si
    xchgw   %bx, 2(%bp)
    incl    %gs:(4 * DOMAIN_GUEST_VECTOR_FIRST - STUB_RETURN)(%bx)
    addr32 movl $0, APIC(APIC_EOI)
    xchgw   %bx, 2(%bp)
    popw    %bp
    addw    $2, %sp
    iret

spurious:                       /* no EOI: the APIC did not put it in service */
    incl    %gs:DOMAIN_GUEST_SPURIOUS
    iret

exception:
    addr32 movl $1, SHARED(DOMAIN_GUEST_EXCEPTION)
1:  cli
    hlt
    jmp     1b

    .balign STUB_SIZE
stubs:
    .rept   DOMAIN_GUEST_SPURIOUS_VECTOR - DOMAIN_GUEST_VECTOR_FIRST
    .balign STUB_SIZE
    call    counted
    .endr

    /* As a BIOS, at the end of real mode's 1 MiB. */
rom:
    cli
    cld
    movw    $ROM_SEGMENT, %ax
    movw    %ax, %ds
    xorw    %ax, %ax
    movw    %ax, %es
    xorw    %si, %si
    movw    $DOMAIN_GUEST_LOAD, %di
    movw    $(512 * DOMAIN_GUEST_SECTORS / 4), %cx
    rep movsl
    movw    %ax, %ds
    ljmp    $0, $AT(loaded)

    .org    start + 512 * DOMAIN_GUEST_SECTORS
    .org    start + DOMAIN_GUEST_ROM_SIZE - 16
    ljmp    $ROM_SEGMENT, $(rom - start)
    .org    start + DOMAIN_GUEST_ROM_SIZE

    .section .note.GNU-stack, "", @progbits
