/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the host's own clock and timers are made of. */
#include "hvapi/verify/verify.h"

#define SUBJECT_SOURCE "clocksource"
#define SUBJECT_TSC    "tsc"
#define SUBJECT_TIMERS "high-resolution-timers"
#define SUBJECT_SLACK  "timer-slack"

#define SOURCES "/sys/devices/system/clocksource/clocksource0/"

/* ---- the clock ---- */

/* Those that a program reads without a system call (arch/x86/include/asm/vdso/clocksource.h): the
 * TSC, and KVM's and Hyper-V's ways to it. Xen's is of KVM's kind. */
static gboolean is_fast(const char *source)
{
    static const char *const fast[] = {
        "tsc", "tsc-early", "kvm-clock", "hyperv_clocksource_tsc_page", "xen", NULL};

    return g_strv_contains(fast, source);
}

/* Those that are a device's registers, or a hypervisor's. */
static gboolean is_slow(const char *source)
{
    static const char *const slow[] = {
        "hpet", "acpi_pm", "hyperv_clocksource_msr", "refined-jiffies", "jiffies", NULL};

    return g_strv_contains(slow, source);
}

/* The kernel does not offer a source that it found to be bad (available_clocksource_show() in
 * kernel/time/clocksource.c). */
static void add_slow(const struct verify *verify, const char *source)
{
    g_autofree char *available =
        host_read_text(verify->host, SOURCES "available_clocksource", NULL);
    g_auto(GStrv) offered = g_strsplit_set(available != NULL ? available : "", " \n", -1);

    findings_add(verify->findings, SUBJECT_SOURCE, FINDING_WARN, g_strdup(source),
                 "each look at this clock takes about a microsecond or more, and there are several "
                 "to a tick: hvtimerd and KVM need more of the CPU; ticks come right all the same",
                 g_strv_contains((const char *const *)offered, "tsc")
                     ? "echo tsc > " SOURCES "current_clocksource; and no 'clocksource=' on the "
                       "kernel's command line"
                     : "the kernel's log says why it does not use the TSC: dmesg | grep -iE "
                       "'tsc|clocksource'; an update of the firmware may cure it");
}

void verify_clocksource(const struct verify *verify)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *source = host_read_text(verify->host, SOURCES "current_clocksource", &error);

    if (source == NULL) {
        verify_add_unknown(verify, SUBJECT_SOURCE, FINDING_INFO, g_steal_pointer(&error),
                           "ticks come right with any", NULL);
        return;
    }
    g_strstrip(source);
    if (is_fast(source)) {
        findings_add(verify->findings, SUBJECT_SOURCE, FINDING_OK, g_strdup(source),
                     "a clock that is read fast", NULL);
    } else if (is_slow(source)) {
        add_slow(verify, source);
    } else {
        findings_add(verify->findings, SUBJECT_SOURCE, FINDING_INFO,
                     g_strdup_printf("'%s', of which nothing is known here", source),
                     "ticks come right with any", NULL);
    }
}

/* Intel's Software Developer's Manual, vol. 3B, "Invariant TSC": Linux calls the two halves of it
 * so (arch/x86/kernel/cpu/intel.c, amd.c). */
void verify_tsc(const struct verify *verify)
{
    gboolean constant, nonstop, guest, timer = FALSE;

    if (verify->cpu == NULL) {
        return;
    }
    constant = host_has_flag(verify->cpu->flags, "constant_tsc");
    nonstop = host_has_flag(verify->cpu->flags, "nonstop_tsc");
    guest = host_has_flag(verify->cpu->flags, "hypervisor");
    if (constant && nonstop) {
        findings_add(verify->findings, SUBJECT_TSC, FINDING_OK, g_strdup("invariant"),
                     "it counts at one rate, always: so does what is timed by it", NULL);
        return;
    }
    if (verify_has_kvm(verify, "kvm_intel")) {
        host_read_switch(verify->host, "kvm_intel", "preemption_timer", &timer, NULL);
    }
    findings_add(verify->findings, SUBJECT_TSC, timer ? FINDING_WARN : FINDING_INFO,
                 g_strdup_printf("not invariant: the CPU does not have %s%s%s",
                                 constant ? "" : "constant_tsc", !constant && !nonstop ? ", " : "",
                                 nonstop ? "" : "nonstop_tsc"),
                 timer
                     ? "the VMX preemption timer counts it: leased ticks may come at a wrong rate, "
                       "which hvtimer then makes up for"
                     : "Linux judges itself whether it may keep time by it, see clocksource",
                 guest   ? "in the host of this virtual machine: give it the CPU feature invtsc "
                           "(libvirt: <feature policy='require' name='invtsc'/>)"
                 : timer ? "'options kvm_intel preemption_timer=0' in /etc/modprobe.d, and load "
                           "kvm_intel anew while no guest runs: hrtimers go by the kernel's clock"
                         : NULL);
}

/* ---- timers ---- */

/* hrtimer_resolution in kernel/time/hrtimer.c: a nanosecond once they are on, else a jiffy. */
void verify_timer_resolution(const struct verify *verify)
{
    uint64_t ns = verify->host->timer_resolution();

    if (ns == 1) {
        findings_add(verify->findings, SUBJECT_TIMERS, FINDING_OK, g_strdup("on"),
                     "a tick is due at a time that is known to the nanosecond", NULL);
    } else {
        findings_add(verify->findings, SUBJECT_TIMERS, FINDING_FAIL,
                     g_strdup_printf("off: the kernel's timers are %" G_GUINT64_FORMAT " us apart",
                                     (guint64)ns / 1000),
                     "ticks come that late, and several at a time",
                     "boot without 'highres=off', with a kernel that has "
                     "CONFIG_HIGH_RES_TIMERS and a clocksource that can do it: dmesg says why not");
    }
}

/* PR_SET_TIMERSLACK(2const) lists what is affected: timerfds are not, and no real-time thread is.
 */
void verify_timer_slack(const struct verify *verify)
{
    guint32 pid = verify->services->hvtimerd->pid;
    g_autofree char *path = pid != 0 ? g_strdup_printf("/proc/%u/timerslack_ns", pid)
                                     : g_strdup("/proc/self/timerslack_ns");
    gint64 ns;

    findings_add(verify->findings, SUBJECT_SLACK, FINDING_OK,
                 host_read_integer(verify->host, path, &ns, NULL)
                     ? g_strdup_printf("%" G_GINT64_FORMAT " ns for %s", ns,
                                       pid != 0 ? "hvtimerd's ordinary threads" : "this process")
                     : g_strdup("none for ticks"),
                 "no tick waits for it: hvtimerd's engine sleeps by a timerfd, which has none",
                 NULL);
}
