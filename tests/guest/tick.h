/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the guest (tick.S) and its VMM share: where things are in the guest's memory. Read by the
 * assembler and by C.
 */
#pragma once

#define GUEST_MEMORY_SIZE 0x10000
#define GUEST_LOAD        0x1000 /* the code; below it the interrupt vector table */
#define GUEST_PAGES       0x8000 /* a page for each vCPU: struct guest_page, and its stack */
#define GUEST_PAGE_SIZE   0x1000

/* A tick's vector is one of these. Below are exceptions, and the local APIC's spurious vector. */
#define GUEST_VECTOR_SPURIOUS 0x0f
#define GUEST_VECTOR_FIRST    0x10
#define GUEST_VECTORS         0x100

/* Offsets into struct guest_page. */
#define GUEST_COUNTS   0x000
#define GUEST_TOTAL    0x400
#define GUEST_SPURIOUS 0x404
#define GUEST_READY    0x408
#define GUEST_MASK     0x40c
#define GUEST_MASKED   0x410

/* Written to by a guest that has met an exception. */
#define GUEST_PORT_EXCEPTION 0x80

#ifndef __ASSEMBLER__
#include <stddef.h>
#include <stdint.h>

/* At the start of a vCPU's page; its stack grows down from the end. */
struct guest_page {
    /* Written by the guest. */
    uint32_t counts[GUEST_VECTORS]; /* interrupts taken, by vector */
    uint32_t total;                 /* interrupts taken; written after counts, before the EOI */
    uint32_t spurious;              /* spurious interrupts, which are in neither */
    uint32_t ready;                 /* 1: from now on it takes interrupts */
    /* Written by the host. */
    uint32_t mask; /* 1: keep interrupts off; heeded at the next interrupt at the latest */
    /* Written by the guest. */
    uint32_t masked; /* 1: interrupts are off for the host's sake */
};

_Static_assert(offsetof(struct guest_page, counts) == GUEST_COUNTS, "counts");
_Static_assert(offsetof(struct guest_page, total) == GUEST_TOTAL, "total");
_Static_assert(offsetof(struct guest_page, spurious) == GUEST_SPURIOUS, "spurious");
_Static_assert(offsetof(struct guest_page, ready) == GUEST_READY, "ready");
_Static_assert(offsetof(struct guest_page, mask) == GUEST_MASK, "mask");
_Static_assert(offsetof(struct guest_page, masked) == GUEST_MASKED, "masked");

/* The guest's code, position-dependent: to be copied to GUEST_LOAD. */
extern const unsigned char guest_tick_start[], guest_tick_end[];
#endif
