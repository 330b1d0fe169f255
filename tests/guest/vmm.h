/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A small KVM virtual machine for tests: one to four vCPUs that run the guest of tick.S, each in
 * a thread of its own, with the in-kernel interrupt controllers.
 *
 * Any thread may make any call, except that vmm_start(), vmm_stop() and vmm_free() are for one.
 * Uses SIGUSR1 to bring vCPU threads out of the guest. @cpu is 0 to n_cpus - 1, and also the
 * local APIC's physical id; its logical id is 1 << @cpu.
 */
#pragma once

#include <gio/gio.h>
#include <stdint.h>

#define VMM_MAX_CPUS 4u

typedef struct Vmm Vmm;

/* Why virtual machines can't be made here, in words, for a test to skip with; NULL: they can. */
const char *vmm_kvm_missing(void);

/* ---- The machine ---- */

/* Ready to start. Nothing raises an interrupt in it, and all IOAPIC pins are masked. */
Vmm *vmm_new(guint n_cpus, GError **error);

/* Ends the vCPUs' threads, if they run, and the machine. It must not be handed over. */
void vmm_free(Vmm *vmm);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Vmm, vmm_free)

/* Lets the vCPUs run; after vmm_stop(), from where they were. */
gboolean vmm_start(Vmm *vmm, GError **error);
void vmm_stop(Vmm *vmm);

/* Waits until all vCPUs take interrupts. */
gboolean vmm_wait_ready(Vmm *vmm, gint64 timeout_us, GError **error);

/* Why a vCPU has come to an unexpected end; NULL: all is well. */
const char *vmm_failure(Vmm *vmm);

/* ---- What the guest has seen ---- */

/* Interrupts that @cpu has taken: at @vector; at all vectors; spurious ones, not in the former. */
guint vmm_count(Vmm *vmm, guint cpu, guint vector);
guint vmm_total(Vmm *vmm, guint cpu);
guint vmm_spurious(Vmm *vmm, guint cpu);

/* Waits until @cpu has taken @count at @vector, or more; FALSE: not in time. An acknowledgement
 * may be ahead of the count: some KVMs end an interrupt as they deliver it. */
gboolean vmm_wait_count(Vmm *vmm, guint cpu, guint vector, guint count, gint64 timeout_us);

/* ---- Getting in the guest's way ---- */

/* The guest itself keeps interrupts off on @cpu. One that halts learns of it from the next
 * interrupt, which it still takes; vmm_masked() says whether they are off by now. */
void vmm_set_mask(Vmm *vmm, guint cpu, gboolean mask);
gboolean vmm_masked(Vmm *vmm, guint cpu);

/* Takes @cpu's thread out of the guest for @duration_us, or until vmm_release() if that is
 * negative. On return the thread is out, or the time is over. */
void vmm_hold(Vmm *vmm, guint cpu, gint64 duration_us);
void vmm_release(Vmm *vmm, guint cpu);

/* ---- The tick ---- */

/* Makes an irqfd on a GSI of its own, routed as an MSI; and, if asked for, a listener on IOAPIC
 * pin 23. Until vmm_set_route() ticks go nowhere. Once only, for a machine's whole life. */
gboolean vmm_add_tick(Vmm *vmm, gboolean listener, GError **error);

/* The descriptors, which remain @vmm's: written to raise a tick; read for the number of EOIs
 * since (-1: no listener). Non-blocking. Whoever reads an EOI takes it from all others. */
int vmm_tick_fd(Vmm *vmm);
int vmm_ack_fd(Vmm *vmm);

/* Sends ticks, from the next one on, where @control says, an HV_EMULATED_TIMER_CONTROL or its
 * wide form; Enabled is ignored. A tick still on its way to another vector is taken, but no
 * longer acknowledged: the listener hears one vector.
 * Returns 0, or an errno value (EINVAL: a vector, delivery mode or destination that can't be
 * had here, as those above 255), and then nothing has changed. */
int vmm_set_route(Vmm *vmm, uint64_t control);

/* ---- With libhvapi (vmm-hvapi.c; all else does without) ---- */

/* Makes the machine, which must have a tick, a partition of hvtimerd's. @uuid may be NULL.
 * Errors: G_IO_ERROR_FAILED, with the name of the HV_STATUS and the library's reason. */
gboolean vmm_hand_over(Vmm *vmm, const char *name, const char *uuid, uint64_t *ret_id,
                       GError **error);

/* What vmm_hand_over() made, for hvapi_vmm_set_running() and the like; NULL: not handed over. */
struct hvapi_vmm *vmm_handed_over(Vmm *vmm);

/* Ends the partition, if there is one. */
void vmm_take_back(Vmm *vmm);
