/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The boot sector of the disk that check-vmx.sh makes: loads Linux, as Linux's
 * Documentation/x86/boot.rst has it, of 16 bits. An emulated processor takes many times as long for
 * what a boot loader with menus and file systems does.
 *
 * Real mode, with ES flat over 4 GiB ("unreal" mode) to reach all memory. Pieces of the disk, each
 * a multiple of 128 KiB, go to where the table says; vmx-disk.sh fills it in.
 */
#define LOAD  0x7c00
#define TABLE 0x1be /* there is no partition table */

/* Where vmx-disk.sh has Linux's real-mode part go, and what that calls heap_end_ptr. */
#define SETUP_SEGMENT 0x1000
#define SETUP_STACK   0xe000
#define SETUP_ENTRY   0x20 /* in segments */

/* The first disk, by its ports (ATA-1). */
#define ATA_DATA     0x1f0
#define ATA_COUNT    0x1f2 /* 0: 256 */
#define ATA_LBA      0x1f3 /* three of them, then */
#define ATA_LBA_MODE 0xe0  /* in the one for drive and head */
#define ATA_STATUS   0x1f7 /* read */
#define ATA_COMMAND  0x1f7 /* written */
#define ATA_BUSY     0x80
#define ATA_DATA_REQUEST 0x08
#define ATA_READ     0x20
#define SECTORS      256 /* of a command */
#define SECTOR_WORDS 256

#define A20_PORT 0x92
#define A20      0x02

    .code16
    .globl start
    .section .text.boot, "ax", @progbits
start:
    cli
    cld
    xorw    %ax, %ax
    movw    %ax, %ds
    movw    %ax, %ss
    movw    $LOAD, %sp
    ljmp    $0, $1f
1:
    inb     $A20_PORT, %al
    orb     $A20, %al
    outb    %al, $A20_PORT
    lgdt    gdt_pointer
    movl    %cr0, %eax
    orb     $1, %al
    movl    %eax, %cr0
    movw    $8, %bx
    movw    %bx, %es
    andb    $0xfe, %al
    movl    %eax, %cr0

    movw    $table, %si
piece:
    lodsl                       /* where it begins on the disk, in sectors */
    movl    %eax, %ebx
    lodsl                       /* how many commands it takes; 0: there is no more */
    movl    %eax, %ebp
    lodsl                       /* where it goes */
    movl    %eax, %edi
    testl   %ebp, %ebp
    jz      run

command:
    movw    $ATA_COUNT, %dx
    movb    $0, %al
    outb    %al, %dx
    movl    %ebx, %eax
    movw    $3, %cx
1:  incw    %dx
    outb    %al, %dx
    shrl    $8, %eax
    loop    1b
    orb     $ATA_LBA_MODE, %al
    incw    %dx
    outb    %al, %dx
    movw    $ATA_COMMAND, %dx
    movb    $ATA_READ, %al
    outb    %al, %dx

    movw    $SECTORS, %cx
sector:
    movw    $ATA_STATUS, %dx
1:  inb     %dx, %al
    andb    $(ATA_BUSY | ATA_DATA_REQUEST), %al
    cmpb    $ATA_DATA_REQUEST, %al
    jne     1b
    pushw   %cx
    movl    $SECTOR_WORDS, %ecx
    movw    $ATA_DATA, %dx
    addr32 rep insw
    popw    %cx
    loop    sector
    addl    $SECTORS, %ebx
    decl    %ebp
    jnz     command
    jmp     piece

run:
    movw    $SETUP_SEGMENT, %ax
    movw    %ax, %ds
    movw    %ax, %es
    movw    %ax, %fs
    movw    %ax, %gs
    movw    %ax, %ss
    movw    $SETUP_STACK, %sp
    ljmp    $(SETUP_SEGMENT + SETUP_ENTRY), $0

    .balign 8
gdt:
    .quad   0
    .quad   0x00cf92000000ffff  /* data, 4 GiB */
gdt_pointer:
    .word   . - gdt - 1
    .long   gdt

    .org    start + TABLE
table:
    .org    start + 510
    .byte   0x55, 0xaa
