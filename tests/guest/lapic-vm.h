/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A KVM virtual machine that does nothing but access its local APICs, as it is told: vCPUs in real
 * mode, with interrupts off, each in a thread of its own, and the in-kernel interrupt controllers.
 * For tests; what must not fail ends them.
 */
#pragma once

#include <glib.h>
#include <stdint.h>

enum lapic_kind {
    LAPIC_END, /* not to be used */
    LAPIC_WRITE,
    LAPIC_READ,
    LAPIC_READ_BYTE,
    LAPIC_WRMSR,
    LAPIC_RDMSR,
};

struct lapic_step {
    uint16_t kind;
    uint16_t reg;   /* its offset, or the MSR's number */
    uint32_t value; /* to be written; an MSR's upper half is 0 */
};

#define LAPIC_STEPS_MAX 1000u

struct lapic_cpu {
    unsigned id;        /* KVM's number; one of them is 0 */
    const char *thread; /* what its thread is called, up to 15 characters */
};

#define LAPIC_CPUS_MAX 4u

/* Why such machines can't be made here, in words, for a test to skip with; NULL: they can. */
const char *lapic_vm_missing(void);

/* (transfer full) */
struct lapic_vm *lapic_vm_new(const struct lapic_cpu *cpus, unsigned n_cpus);
void lapic_vm_free(struct lapic_vm *vm);

/* Lets the @cpu-th of them do @n_steps, and waits until it has. */
void lapic_vm_run(struct lapic_vm *vm, unsigned cpu, const struct lapic_step *steps,
                  unsigned n_steps);
