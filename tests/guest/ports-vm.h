/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A KVM virtual machine that does nothing but access I/O ports, as it is told: a vCPU in real mode,
 * in a thread of its own, and no device. For tests; what must not fail ends them.
 */
#pragma once

#include <gio/gio.h>
#include <stdint.h>

enum ports_kind {
    PORTS_END, /* not to be used */
    PORTS_OUT,
    PORTS_IN,
    PORTS_OUT_WORD, /* 16 bits, of which @value is the lower half; the upper one is not 0 */
};

struct ports_step {
    uint16_t port;
    uint8_t value; /* what the guest writes, or what it is answered */
    uint8_t kind;
};

#define PORTS_STEPS_MAX 16000u

/* Why such machines can't be made here, in words, for a test to skip with; NULL: they can. */
const char *ports_vm_missing(void);

/* @thread: what the vCPU's thread is called, up to 15 characters. (transfer full) */
struct ports_vm *ports_vm_new(const char *thread);
void ports_vm_free(struct ports_vm *vm);

/* Lets the guest do @n_steps, which must stay until ports_vm_wait(): that waits until it has done
 * them, and asserts that it has read what it was answered. */
void ports_vm_start(struct ports_vm *vm, const struct ports_step *steps, unsigned n_steps);
void ports_vm_wait(struct ports_vm *vm);
void ports_vm_run(struct ports_vm *vm, const struct ports_step *steps, unsigned n_steps);

/* Is this error of hvtimer-attach's the kernel's refusal to show anybody's events, or has it none?
 * For a test to skip with; whatever else is wrong is no reason to skip. */
gboolean ports_vm_is_refusal(const GError *error);

/* ---- In a process of its own ---- */

struct ports_process {
    GPid pid;
    int in, out;
};

/* This program again, with @argument, upon which its main() has to call ports_process_main(). It
 * ends when we do. */
void ports_process_begin(struct ports_process *process, const char *argument);
int ports_process_main(const char *thread, const struct ports_step *steps, unsigned n_steps);

/* Lets its guest do the steps. */
void ports_process_start(struct ports_process *process);
void ports_process_wait(struct ports_process *process);
void ports_process_run(struct ports_process *process);

/* Asserts that all went well there. */
void ports_process_end(struct ports_process *process);
