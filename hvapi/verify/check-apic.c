/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How the CPU helps KVM with the guests' local APICs, and what that does to ticks and to the count
 * of their EOIs.
 */
#include "hvapi/verify/verify.h"

#define SUBJECT_APICV  "apicv"
#define SUBJECT_AVIC   "avic"
#define SUBJECT_POSTED "posted-timer-interrupts"

/* Intel's Software Developer's Manual, vol. 3C, "EOI Virtualization": an EOI exits where its
 * vector's bit in the EOI-exit bitmap is set; KVM sets those that its IOAPIC listens for. */
void verify_apicv(const struct verify *verify)
{
    g_autoptr(GError) error = NULL;
    gboolean on;

    if (!verify_has_kvm(verify, "kvm_intel")) {
        return;
    }
    if (!host_read_switch(verify->host, "kvm_intel", "enable_apicv", &on, &error)) {
        verify_add_unknown(verify, SUBJECT_APICV, FINDING_INFO, g_steal_pointer(&error),
                           "every tick is counted with it as without it", NULL);
    } else if (on) {
        findings_add(verify->findings, SUBJECT_APICV, FINDING_OK, g_strdup("on"),
                     "the EOIs of a vector that hvtimer listens for reach KVM all the same, so "
                     "every tick is counted",
                     NULL);
    } else {
        findings_add(verify->findings, SUBJECT_APICV, FINDING_OK, g_strdup("off"),
                     "KVM sees every EOI, so every tick is counted; each costs the guest an exit",
                     NULL);
    }
}

/* AMD64 Architecture Programmer's Manual, vol. 2, "AVIC": a write of the EOI register exits for
 * level-triggered interrupts only. */
void verify_avic(const struct verify *verify)
{
    g_autoptr(GError) error = NULL;
    gboolean on;

    if (!verify_has_kvm(verify, "kvm_amd")) {
        return;
    }
    if (!host_read_switch(verify->host, "kvm_amd", "avic", &on, &error)) {
        verify_add_unknown(verify, SUBJECT_AVIC, FINDING_INFO, g_steal_pointer(&error),
                           "where it is on, the injector lapic is not used, and pin is", NULL);
    } else if (on) {
        findings_add(verify->findings, SUBJECT_AVIC, FINDING_WARN, g_strdup("on"),
                     "EOIs of edge-triggered interrupts don't reach KVM: the injector lapic can't "
                     "count its ticks and is not used; pin, which is level-triggered, counts them "
                     "all, but wakes hvtimerd for each",
                     "where that costs too much: 'options kvm_amd avic=0' in /etc/modprobe.d, and "
                     "load kvm_amd anew while no guest runs; guests' interrupts then cost more "
                     "exits");
    } else {
        findings_add(verify->findings, SUBJECT_AVIC, FINDING_OK, g_strdup("off"),
                     "KVM sees every EOI, so every tick is counted, whichever injector it is from",
                     NULL);
    }
}

/* kvm_can_post_timer_interrupt() in arch/x86/kvm/lapic.c. The parameter is 1 by default where the
 * kernel runs with isolated CPUs (housekeeping_enabled(HK_TYPE_TIMER)); -1 is "not decided yet".
 * It takes APICv, which a host has that has kvm_intel: beside AVIC, nothing is leased. */
void verify_posted_timer(const struct verify *verify)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = NULL;
    gboolean on;

    if (!verify_has_kvm(verify, "kvm_intel")) {
        return;
    }
    text = host_read_parameter(verify->host, "kvm", "pi_inject_timer", NULL);
    if (g_strcmp0(text, "-1") == 0) {
        findings_add(verify->findings, SUBJECT_POSTED, FINDING_INFO, g_strdup("not decided yet"),
                     "KVM turns them on, when it is started, where CPUs are isolated (isolcpus, "
                     "nohz_full)",
                     NULL);
    } else if (!host_read_switch(verify->host, "kvm", "pi_inject_timer", &on, &error)) {
        verify_add_unknown(verify, SUBJECT_POSTED, FINDING_INFO, g_steal_pointer(&error),
                           "ticks come right with them as without them", NULL);
    } else if (on) {
        findings_add(verify->findings, SUBJECT_POSTED, FINDING_INFO, g_strdup("on"),
                     "in guests that idle without an exit (QEMU: -overcommit cpu-pm=on; on older "
                     "kernels in all) and have APICv, KVM times ticks by an hrtimer on a "
                     "housekeeping CPU and posts them to the running vCPU; the VMX preemption "
                     "timer serves the others",
                     NULL);
    } else {
        findings_add(verify->findings, SUBJECT_POSTED, FINDING_OK, g_strdup("off"),
                     "they take no guest from the VMX preemption timer", NULL);
    }
}
