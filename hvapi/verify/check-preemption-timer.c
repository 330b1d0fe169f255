/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whether KVM times leased ticks by the VMX preemption timer, and if not, why. */
#include "hvapi/verify/verify.h"
#include "hvapi/verify/vmx-timer.h"

#define SUBJECT_TIMER "preemption-timer"
#define SUBJECT_RATE  "preemption-timer-rate"

/* What KVM takes for the TSC's rate where it does not know it: vmx_hardware_setup(). */
#define TSC_HZ_ASSUMED UINT64_C(5000000000)

#define BY_TIMER                                                                                  \
    "KVM times the ticks of the injector lapic by it, so that a running vCPU needs no interrupt " \
    "of the host; a halted one, and one that runs MWAIT itself (QEMU: -overcommit cpu-pm=on), "   \
    "has an hrtimer"
#define BY_HRTIMER                                                                                 \
    "KVM times the ticks of the injector lapic by an hrtimer: an interrupt of the host for each, " \
    "which may come some microseconds later; that is good enough"
#define BY_EITHER \
    "KVM times the ticks of the injector lapic by it, or by an hrtimer: both are good enough"
#define TELL_LATER "'hvtimerctl status' tells, as base_timer, what times a partition's ticks"
#define LOAD_ANEW  "in /etc/modprobe.d, and load kvm_intel anew while no guest runs"

static void add(const struct verify *verify, enum finding_level level, char *found,
                const char *meaning, const char *remedy)
{
    findings_add(verify->findings, SUBJECT_TIMER, level, found, meaning, remedy);
}

static void add_erratum(const struct verify *verify, const struct vmx_timer *timer)
{
    gboolean used = timer->enabled_known && timer->enabled;

    add(verify, FINDING_WARN,
        g_strdup_printf("this CPU (family %u, model 0x%X, stepping %u) counts it down at a wrong "
                        "rate (%s)%s",
                        verify->cpu->family, verify->cpu->model, verify->cpu->stepping,
                        timer->errata, used ? ", but kvm_intel's preemption_timer is Y" : ""),
        used ? "ticks of the injector lapic may come at a wrong rate" : BY_HRTIMER,
        used ? "'options kvm_intel preemption_timer=0' " LOAD_ANEW
             : "none is needed; only a CPU without this erratum has it");
}

static void add_absent(const struct verify *verify, const struct vmx_timer *timer)
{
    if (timer->enabled_known && timer->enabled) {
        add(verify, FINDING_WARN,
            g_strdup_printf("unknown: the CPU has none (%s), but kvm_intel's preemption_timer is Y",
                            timer->present_source),
            BY_EITHER, TELL_LATER);
        return;
    }
    add(verify, FINDING_INFO, g_strdup_printf("this CPU has none (%s)", timer->present_source),
        BY_HRTIMER, NULL);
}

static void add_off(const struct verify *verify, const struct vmx_timer *timer)
{
    if (timer->present_known && vmx_timer_is_too_fast(timer, timer->tsc_hz)) {
        add(verify, FINDING_WARN,
            g_strdup_printf("present (%s), but too fast for KVM, which does not use it",
                            timer->present_source),
            BY_HRTIMER, "none is needed; in a virtual machine another CPU model may have a slower");
        return;
    }
    add(verify, FINDING_WARN,
        timer->present_known
            ? g_strdup_printf("present (%s), but switched off: kvm_intel's preemption_timer is N",
                              timer->present_source)
            : g_strdup("not used, as kvm_intel's preemption_timer is N: switched off, or the CPU "
                       "has none"),
        BY_HRTIMER, "'options kvm_intel preemption_timer=1' " LOAD_ANEW);
}

/* Since Linux 4.19 the module's parameter is KVM's last word: it becomes N where the CPU has no
 * such timer, or none that is right. It needs no other control: KVM sets the timer anew at each
 * entry, and never has its value saved at an exit (vmx_vmexit_ctrl() in arch/x86/kvm/vmx/vmx.c). */
static void judge(const struct verify *verify, struct vmx_timer *timer)
{
    if (timer->present_known && !timer->present) {
        add_absent(verify, timer);
    } else if (timer->errata != NULL) {
        add_erratum(verify, timer);
    } else if (!timer->enabled_known) {
        verify_add_unknown(verify, SUBJECT_TIMER, FINDING_WARN,
                           g_steal_pointer(&timer->enabled_error), BY_EITHER, TELL_LATER);
    } else if (!timer->enabled) {
        add_off(verify, timer);
    } else {
        add(verify, FINDING_OK,
            timer->present_known
                ? g_strdup_printf("present (%s), and kvm_intel uses it", timer->present_source)
                : g_strdup("kvm_intel uses it"),
            BY_TIMER, NULL);
    }
}

static void judge_known_rate(const struct verify *verify, const struct vmx_timer *timer)
{
    gboolean told = timer->tsc_hz != 0;
    gboolean too_fast = vmx_timer_is_too_fast(timer, told ? timer->tsc_hz : TSC_HZ_ASSUMED);
    char *found;

    if (told) {
        found = g_strdup_printf("%" G_GUINT64_FORMAT " Hz: a TSC of %" G_GUINT64_FORMAT
                                " Hz, divided by %u",
                                timer->tsc_hz >> timer->rate, timer->tsc_hz, 1u << timer->rate);
    } else {
        found = g_strdup_printf("the TSC's rate, which the CPU does not tell, divided by %u",
                                1u << timer->rate);
    }
    /* What is used is not too fast. */
    if (!too_fast || (timer->enabled_known && timer->enabled)) {
        findings_add(verify->findings, SUBJECT_RATE, FINDING_OK, found,
                     "far finer than any tick needs it", NULL);
    } else if (told) {
        findings_add(verify->findings, SUBJECT_RATE, FINDING_WARN, found,
                     "KVM does not use one that counts faster than 429496729 Hz",
                     "none is needed: ticks are timed by an hrtimer");
    } else {
        findings_add(verify->findings, SUBJECT_RATE, FINDING_INFO, found,
                     "KVM does not use one that counts faster than 429496729 Hz", NULL);
    }
}

static void judge_rate(const struct verify *verify, struct vmx_timer *timer)
{
    if (timer->present_known && !timer->present) {
        return;
    }
    if (timer->rate_known) {
        judge_known_rate(verify, timer);
        return;
    }
    verify_add_unknown(verify, SUBJECT_RATE, FINDING_INFO, g_steal_pointer(&timer->rate_error),
                       "KVM knows it, and uses the timer only if it is right for it",
                       "to see it: modprobe msr, and run this as root");
}

void verify_preemption_timer(const struct verify *verify)
{
    struct vmx_timer timer;

    if (verify->kvm_module == NULL) {
        return;
    }
    if (!verify_has_kvm(verify, "kvm_intel")) {
        add(verify, FINDING_INFO,
            verify_has_kvm(verify, "kvm_amd")
                ? g_strdup("AMD's CPUs have none")
                : g_strdup_printf("%s does not use it", verify->kvm_module),
            BY_HRTIMER, NULL);
        return;
    }
    vmx_timer_read(&timer, verify->host, verify->cpu);
    judge(verify, &timer);
    judge_rate(verify, &timer);
    vmx_timer_clear(&timer);
}
