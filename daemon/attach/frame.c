/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Signal frames: see frame.h. */
#include "daemon/attach/frame.h"

#include <cpuid.h>
#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>

/* The kernel's own, which never get out to a program. */
#define ERESTARTSYS           512
#define ERESTARTNOINTR        513
#define ERESTARTNOHAND        514
#define ERESTART_RESTARTBLOCK 516

#define USER_CS          0x33
#define USER_SS          0x2b
#define EFLAGS_FIXED     0x2
#define UC_SIGCONTEXT_SS 2u
#define UC_STRICT_SS     4u
/* No valid flags: rt_sigreturn leaves the thread's alternate signal stack as it is. */
#define STACK_UNCHANGED 0x55u

/* The FPU state: the legacy area, with what is said of the rest at its end; the header; the rest.
 */
#define FPU_DESCRIPTION 464u
#define FPU_HEADER      512u
#define FPU_EXTENDED    576u
#define FPU_MAGIC1      UINT32_C(0x46505853)
#define FPU_MAGIC2      UINT32_C(0x46505845)

struct fpu_description {
    uint32_t magic1;
    uint32_t extended_size;
    uint64_t features;
    uint32_t size;
    uint32_t padding[7];
};

void frame_call(struct frame *frame, const struct code *code, uint64_t next, uint64_t number,
                const uint64_t arguments[6])
{
    *frame = (struct frame){
        .return_to = code->sigreturn,
        .uc_flags = UC_SIGCONTEXT_SS | UC_STRICT_SS,
        .stack_flags = STACK_UNCHANGED,
        .rip = code->syscall_ret,
        .rsp = next,
        .rax = number,
        .rdi = arguments[0],
        .rsi = arguments[1],
        .rdx = arguments[2],
        .r10 = arguments[3],
        .r8 = arguments[4],
        .r9 = arguments[5],
        .eflags = EFLAGS_FIXED,
        .cs = USER_CS,
        .ss = USER_SS,
        .signal_mask = UINT64_MAX,
    };
}

/* rt_sigreturn does not restart calls: do here what the kernel does on its way out. */
static void restart(struct frame *frame, const struct user_regs_struct *registers)
{
    if ((int64_t)registers->orig_rax < 0) {
        return;
    }
    switch (-(int64_t)registers->rax) {
    case ERESTARTSYS:
    case ERESTARTNOINTR:
    case ERESTARTNOHAND:
        frame->rip = registers->rip - 2;
        frame->rax = registers->orig_rax;
        break;
    case ERESTART_RESTARTBLOCK:
        frame->rax = (uint64_t)-EINTR;
        break;
    default:
        break;
    }
}

void frame_resume(struct frame *frame, const struct code *code,
                  const struct user_regs_struct *registers, uint64_t signal_mask, uint64_t fpu)
{
    *frame = (struct frame){
        .return_to = code->sigreturn,
        .uc_flags = UC_SIGCONTEXT_SS | UC_STRICT_SS,
        .stack_flags = STACK_UNCHANGED,
        .r8 = registers->r8,
        .r9 = registers->r9,
        .r10 = registers->r10,
        .r11 = registers->r11,
        .r12 = registers->r12,
        .r13 = registers->r13,
        .r14 = registers->r14,
        .r15 = registers->r15,
        .rdi = registers->rdi,
        .rsi = registers->rsi,
        .rbp = registers->rbp,
        .rbx = registers->rbx,
        .rdx = registers->rdx,
        .rax = registers->rax,
        .rcx = registers->rcx,
        .rsp = registers->rsp,
        .rip = registers->rip,
        .eflags = registers->eflags,
        .cs = (uint16_t)registers->cs,
        .ss = (uint16_t)registers->ss,
        .fpu = fpu,
        .signal_mask = signal_mask,
    };
    restart(frame, registers);
}

/* Where the state of the highest feature that is in use ends. */
static size_t fpu_size(uint64_t features)
{
    size_t size = FPU_EXTENDED;

    for (unsigned i = 2; i < 63; i++) {
        unsigned length, offset, flags, unused;
        if ((features >> i & 1) != 0 &&
            __get_cpuid_count(0xd, i, &length, &offset, &flags, &unused) &&
            offset + length > size) {
            size = offset + length;
        }
    }
    return size;
}

bool frame_get_fpu(const struct tracee *tracee, unsigned char buffer[FRAME_FPU_MAX],
                   size_t *ret_size)
{
    struct iovec state = {buffer, FRAME_FPU_MAX};
    uint64_t features;

    memset(buffer, 0, FRAME_FPU_MAX);
    if (ptrace(PTRACE_GETREGSET, tracee->tid, NT_X86_XSTATE, &state) != 0 ||
        state.iov_len < FPU_EXTENDED) {
        return false;
    }
    memcpy(&features, buffer + FPU_HEADER, sizeof(features));
    size_t size = fpu_size(features);
    if (size + sizeof(uint32_t) > FRAME_FPU_MAX) {
        return false;
    }
    struct fpu_description description = {
        .magic1 = FPU_MAGIC1,
        .extended_size = (uint32_t)(size + sizeof(uint32_t)),
        .features = features | 3, /* x87 and SSE, always there */
        .size = (uint32_t)size,
    };
    memcpy(buffer + FPU_DESCRIPTION, &description, sizeof(description));
    memcpy(buffer + size, &(uint32_t){FPU_MAGIC2}, sizeof(uint32_t));
    *ret_size = size + sizeof(uint32_t);
    return true;
}
