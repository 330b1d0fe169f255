/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A VMM, as far as hvtimer-attach is concerned, whose guest counts its interrupts and never halts:
 * tick.S with its HLT taken out. For check-vmx: of a vCPU that halts KVM hands the timer over to an
 * hrtimer.
 *
 * Prints "ready" when the guest takes interrupts; then, for each line it reads, the time in
 * microseconds and what the guest has counted until now, as "TIME VECTOR:COUNT ..."; and ends with
 * its input.
 */
#include "tests/guest/vmm-private.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#define READY_PATIENCE_US (20 * G_USEC_PER_SEC)

/* As QEMU calls the thread of a machine's first vCPU. */
#define VCPU_THREAD "CPU 0/KVM"
#define MAIN_THREAD "busy-vmm"

/* The HLT of tick.S is the only one after an STI. */
static void keep_busy(Vmm *vmm)
{
    static const guint8 sti_hlt[] = {0xfb, 0xf4}, sti_nop[] = {0xfb, 0x90};
    guint8 *code = vmm->memory + GUEST_LOAD;
    size_t size = (size_t)(guest_tick_end - guest_tick_start);
    guint8 *found = memmem(code, size, sti_hlt, sizeof(sti_hlt));

    g_assert_nonnull(found);
    memcpy(found, sti_nop, sizeof(sti_nop));
    g_assert_null(memmem(code, size, sti_hlt, sizeof(sti_hlt)));
}

static void print_counts(Vmm *vmm)
{
    printf("%" G_GINT64_FORMAT, g_get_monotonic_time());
    for (guint vector = 0; vector < GUEST_VECTORS; vector++) {
        guint count = vmm_count(vmm, 0, vector);
        if (count > 0) {
            printf(" %#x:%u", vector, count);
        }
    }
    putchar('\n');
    fflush(stdout);
}

int main(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Vmm) vmm = NULL;
    char line[16];

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    vmm = vmm_new(1, &error);
    g_assert_no_error(error);
    keep_busy(vmm);
    /* A thread is called as the one that makes it. */
    prctl(PR_SET_NAME, VCPU_THREAD);
    vmm_start(vmm, &error);
    g_assert_no_error(error);
    prctl(PR_SET_NAME, MAIN_THREAD);
    vmm_wait_ready(vmm, READY_PATIENCE_US, &error);
    g_assert_no_error(error);
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof(line), stdin) != NULL) {
        print_counts(vmm);
    }
    if (vmm_failure(vmm) != NULL) {
        g_printerr("busy-vmm: %s\n", vmm_failure(vmm));
        return 1;
    }
    return 0;
}
