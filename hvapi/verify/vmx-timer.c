/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What can be known of an Intel host's VMX preemption timer: see vmx-timer.h. */
#include "hvapi/verify/vmx-timer.h"

/* Intel's Software Developer's Manual, vol. 3D, appendix A: A.1 (bit 55: which of the two next
 * holds), A.3.1 (the upper half: what may be 1), A.6 (bits 4:0: the rate). */
#define MSR_VMX_BASIC              0x480
#define MSR_VMX_PINBASED_CTLS      0x481
#define MSR_VMX_MISC               0x485
#define MSR_VMX_TRUE_PINBASED_CTLS 0x48D

#define BASIC_TRUE_CONTROLS  (UINT64_C(1) << 55)
#define PIN_PREEMPTION_TIMER (1u << 6)
#define MISC_RATE_MASK       0x1F

/* Controls that may be 1 on every CPU (the "default1" class, A.2: bits 1, 2 and 4), and bits that
 * no CPU has a control for. Linux knows both: adjust_vmx_controls(), init_vmx_capabilities(). */
#define PIN_ALWAYS   0x16u
#define PIN_RESERVED 0xFFFF0000u

/* KVM's vmx_hardware_setup(): with no use for it, KVM leaves the timer running, and it is not to
 * end oftener than every 10 s. */
#define RATE_MAX_HZ (UINT32_MAX / 10)

/* The "VMX-preemption timer does not count down at the rate specified" of Intel's specification
 * updates; KVM does not use the timer of these (vmx_preemption_cpu_tfms in
 * arch/x86/kvm/vmx/vmx.c, where the documents' numbers are). All are of family 6. */
static const struct {
    unsigned model, stepping;
    const char *names;
} errata[] = {
    {0x2E, 6, "erratum BA86"},                           /* Xeon 7500: 323344 */
    {0x25, 2, "erratum AAT59, AAU65 or AAX65"},          /* Core, C2: 322814, 322911, 323056 */
    {0x25, 5, "erratum AAU65"},                          /* Core, K0: 322911 */
    {0x1E, 5, "erratum AAN92, AAO95 or AAP86"},          /* B1: 322166, 322373, 320767 */
    {0x1A, 0, "erratum AAM126"},                         /* Xeon 3500, C0: 321333 */
    {0x1A, 1, "erratum AAM126"},                         /* the same, C1 */
    {0x1A, 4, "erratum AAJ124"},                         /* Core i7-900, C0: 320836 */
    {0x1A, 5, "erratum AAJ124, AAK139 or AAM126"},       /* D0: 320836, 321324, 321333 */
    {0x3A, 8, "an erratum without a number (E3-1220v2)"} /* only Linux tells of it */
};

static const char *find_errata(const struct host_cpu *cpu)
{
    for (size_t i = 0; i < G_N_ELEMENTS(errata); i++) {
        if (cpu->family == 6 && cpu->model == errata[i].model &&
            cpu->stepping == errata[i].stepping) {
            return errata[i].names;
        }
    }
    return NULL;
}

/* A CPU's word, if it makes sense. */
static gboolean is_pin_controls(uint64_t value)
{
    uint32_t must = (uint32_t)value, may = (uint32_t)(value >> 32);

    return (must & ~may) == 0 && (may & PIN_ALWAYS) == PIN_ALWAYS && (may & PIN_RESERVED) == 0;
}

/* By the CPU's own registers, for which it takes root and the module msr. */
static gboolean read_msrs(struct vmx_timer *timer, const struct host *host, GError **error)
{
    uint64_t basic, pin, misc;
    gboolean true_controls;
    uint32_t msr;

    if (!host_read_msr(host, MSR_VMX_BASIC, &basic, error)) {
        return FALSE;
    }
    true_controls = (basic & BASIC_TRUE_CONTROLS) != 0;
    msr = true_controls ? MSR_VMX_TRUE_PINBASED_CTLS : MSR_VMX_PINBASED_CTLS;
    if (!host_read_msr(host, msr, &pin, error) ||
        !host_read_msr(host, MSR_VMX_MISC, &misc, error)) {
        return FALSE;
    }
    if (!is_pin_controls(pin)) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL,
                    "MSR 0x%x holds 0x%016" G_GINT64_MODIFIER "x, which makes no sense", msr, pin);
        return FALSE;
    }
    timer->present_known = timer->rate_known = TRUE;
    timer->present = ((pin >> 32) & PIN_PREEMPTION_TIMER) != 0;
    timer->present_source = true_controls ? "MSR 0x48d" : "MSR 0x481";
    timer->rate = misc & MISC_RATE_MASK;
    return TRUE;
}

void vmx_timer_read(struct vmx_timer *timer, const struct host *host, const struct host_cpu *cpu)
{
    *timer = (struct vmx_timer){
        .errata = cpu != NULL ? find_errata(cpu) : NULL,
        .tsc_hz = host_tsc_hz(host),
    };
    timer->enabled_known = host_read_switch(host, "kvm_intel", "preemption_timer", &timer->enabled,
                                            &timer->enabled_error);
    /* Linux tells the flags since 5.6, if at all; no CPU has none of them. */
    if (!read_msrs(timer, host, &timer->rate_error) && cpu != NULL && cpu->vmx_flags != NULL &&
        *cpu->vmx_flags != '\0') {
        timer->present_known = TRUE;
        timer->present = host_has_flag(cpu->vmx_flags, "preemption_timer");
        timer->present_source = "/proc/cpuinfo";
    }
}

void vmx_timer_clear(struct vmx_timer *timer)
{
    g_clear_error(&timer->enabled_error);
    g_clear_error(&timer->rate_error);
}

gboolean vmx_timer_is_too_fast(const struct vmx_timer *timer, uint64_t tsc_hz)
{
    return timer->rate_known && tsc_hz >> timer->rate > RATE_MAX_HZ;
}
