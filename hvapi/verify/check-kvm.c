/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whether there is a KVM here, and the least period that it gives a timer. */
#include "hvapi/verify/verify.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define DEVICE "/dev/kvm"

#define SUBJECT_KVM     "kvm"
#define SUBJECT_MINIMUM "minimum-period"

#define NO_GUESTS "no KVM guest can run here, so hvtimer has none to serve"

/* The fastest tick that the old guests ask for, 1024 Hz (976.5625 us), in whole microseconds. */
#define FASTEST_TICK_US 976

/* Of a host without a KVM module. */
static const char *no_module_remedy(const struct host_cpu *cpu)
{
    if (cpu != NULL && host_has_flag(cpu->flags, "vmx")) {
        return "load it: modprobe kvm_intel";
    }
    if (cpu != NULL && host_has_flag(cpu->flags, "svm")) {
        return "load it: modprobe kvm_amd";
    }
    return "turn on VT-x or AMD-V in the firmware's set-up (in a virtual machine: nested "
           "virtualization in its host), then modprobe kvm_intel or kvm_amd";
}

static void add_no_device(const struct verify *verify, int code)
{
    findings_add(verify->findings, SUBJECT_KVM, FINDING_FAIL,
                 g_strdup_printf("%s is there, but " DEVICE " is not usable: %s",
                                 verify->kvm_module, g_strerror(code)),
                 NO_GUESTS,
                 "in a container: give it " DEVICE "; else the kernel's log (dmesg) says why KVM "
                 "did not start: often VT-x or AMD-V is off in the firmware's set-up");
}

void verify_kvm(const struct verify *verify)
{
    int fd = host_open(verify->host, DEVICE, O_RDWR);
    int code = fd < 0 ? errno : 0;

    if (fd >= 0) {
        close(fd);
    }
    if (verify->kvm_module == NULL) {
        findings_add(verify->findings, SUBJECT_KVM, FINDING_FAIL,
                     g_strdup("no KVM module is loaded"), NO_GUESTS, no_module_remedy(verify->cpu));
    } else if ((code == EACCES || code == EPERM) && geteuid() != 0) {
        findings_add(verify->findings, SUBJECT_KVM, FINDING_WARN,
                     g_strdup_printf("%s, but you (uid %u) may not open " DEVICE,
                                     verify->kvm_module, (unsigned)geteuid()),
                     "hvtimer can do its work, for which it needs no right to it; you can't run "
                     "KVM guests without libvirtd's help, nor the demo or the tests with them",
                     "join the group that " DEVICE " belongs to: usermod -aG kvm USER, and log in "
                     "anew");
    } else if (code != 0) {
        add_no_device(verify, code);
    } else {
        findings_add(verify->findings, SUBJECT_KVM, FINDING_OK,
                     g_strdup_printf("%s, and you may open " DEVICE, verify->kvm_module),
                     "KVM guests can run here, and be given ticks", NULL);
    }
}

/* KVM makes a periodic timer that is faster than this slower, without telling its guest:
 * limit_periodic_timer_frequency() in arch/x86/kvm/lapic.c. */
void verify_minimum_period(const struct verify *verify)
{
    g_autoptr(GError) error = NULL;
    guint64 us;

    if (verify->kvm_module == NULL) {
        return;
    }
    if (!host_read_number(verify->host, "kvm", "min_timer_period_us", &us, &error)) {
        verify_add_unknown(verify, SUBJECT_MINIMUM, FINDING_INFO, g_steal_pointer(&error),
                           "which periods are too short for KVM to time (injector lapic) shows "
                           "when one is set; the injector pin has the ticks of those",
                           NULL);
    } else if (us > FASTEST_TICK_US) {
        findings_add(verify->findings, SUBJECT_MINIMUM, FINDING_WARN,
                     g_strdup_printf("%" G_GUINT64_FORMAT " us", us),
                     "KVM can't time a tick of 1024 Hz, which is common (injector lapic): shorter "
                     "periods than this have the injector pin, which wakes hvtimerd for each tick",
                     "echo 200 > /sys/module/kvm/parameters/min_timer_period_us; for good: "
                     "'options kvm min_timer_period_us=200' in /etc/modprobe.d");
    } else {
        findings_add(verify->findings, SUBJECT_MINIMUM, FINDING_OK,
                     g_strdup_printf("%" G_GUINT64_FORMAT " us", us),
                     "KVM can time the ticks of this and longer periods (injector lapic); shorter "
                     "ones have the injector pin",
                     NULL);
    }
}
