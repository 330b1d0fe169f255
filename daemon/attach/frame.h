/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Signal frames, as the kernel's rt_sigreturn reads them: a way to have a thread load all its
 * registers by itself.
 *
 * A thread that executes "syscall; ret" with its stack pointer at a frame makes that system call,
 * then returns into rt_sigreturn, which loads what the frame holds. So a row of frames is a row
 * of system calls that needs nobody to carry on.
 */
#pragma once

#include "daemon/attach/code.h"
#include "daemon/attach/tracee.h"

#define FRAME_FPU_MAX   (16u * 1024)
#define FRAME_FPU_ALIGN 64u

struct frame {
    uint64_t return_to; /* rt_sigreturn */
    uint64_t uc_flags, uc_link;
    uint64_t stack_address;
    uint32_t stack_flags, unused;
    uint64_t stack_size;
    uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
    uint64_t rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, eflags;
    uint16_t cs, gs, fs, ss;
    uint64_t error, trap, old_mask, cr2;
    uint64_t fpu; /* address; 0: the FPU is reset */
    uint64_t reserved[8];
    uint64_t signal_mask;
};

/* Makes system call @number; what follows is at @next, its address in the VMM. */
void frame_call(struct frame *frame, const struct code *code, uint64_t next, uint64_t number,
                const uint64_t arguments[6]);

/* Makes the thread what it was when stopped with @registers; its FPU state is at @fpu, an address
 * in the VMM. An interrupted system call is made again, or fails with EINTR where only the kernel
 * itself could restart it. */
void frame_resume(struct frame *frame, const struct code *code,
                  const struct user_regs_struct *registers, uint64_t signal_mask, uint64_t fpu);

/* The FPU state of a stopped thread, in the form that a frame wants. */
bool frame_get_fpu(const struct tracee *tracee, unsigned char buffer[FRAME_FPU_MAX],
                   size_t *ret_size);
