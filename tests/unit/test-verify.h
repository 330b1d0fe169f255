/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A host laid out in a directory, for the tests of 'hvtimerctl verify', and what is said of it.
 */
#pragma once

#include "hvapi/verify/verify.h"

#define MODULE "/sys/module/"
#define TIMER  MODULE "kvm_intel/parameters/preemption_timer"
#define APICV  MODULE "kvm_intel/parameters/enable_apicv"
#define AVIC   MODULE "kvm_amd/parameters/avic"
#define PERIOD MODULE "kvm/parameters/min_timer_period_us"
#define POSTED MODULE "kvm/parameters/pi_inject_timer"
#define CPU    "/proc/cpuinfo"
#define DEVICE "/dev/kvm"
#define MSR    "/dev/cpu/0/msr"

/* Of a CPU that write_cpu() writes. */
#define XEON          6, 0x55, 7 /* no erratum is known */
#define VMX_FLAGS     "vnmi preemption_timer invvpid ept_x_only ple"
#define FLAGS_TSC     " constant_tsc nonstop_tsc"
#define FLAGS_VMX     "fpu vme msr apic vmx ept" FLAGS_TSC
#define FLAGS_SVM     "fpu vme msr apic svm npt" FLAGS_TSC
#define FLAGS_NEITHER "fpu vme msr apic" FLAGS_TSC

/* What MSRs of real CPUs hold; what may be 1 is in the upper half. */
#define BASIC        UINT64_C(0x0058000000000000)
#define BASIC_TRUE   UINT64_C(0x00D8000000000000)
#define PIN          UINT64_C(0x0000007F00000016)
#define PIN_NO_TIMER UINT64_C(0x0000003F00000016)
#define TRUE_PIN     UINT64_C(0x0000007F00000012)
#define MISC(rate)   (UINT64_C(0x00000000300481E0) | (rate))

#define RELEASE  "/proc/sys/kernel/osrelease"
#define SOURCE   "/sys/devices/system/clocksource/clocksource0/current_clocksource"
#define SOURCES  "/sys/devices/system/clocksource/clocksource0/available_clocksource"
#define RUNTIME  "/proc/sys/kernel/sched_rt_runtime_us"
#define RTPERIOD "/proc/sys/kernel/sched_rt_period_us"
#define SLACK    "/proc/self/timerslack_ns"
#define YAMA     "/proc/sys/kernel/yama/ptrace_scope"
#define SELINUX  "/sys/fs/selinux/"
#define LOCKDOWN "/sys/kernel/security/lockdown"
#define PERF     "/proc/sys/kernel/perf_event_paranoid"
#define TRACING  "/sys/kernel/tracing"
#define EVENTS   "/events/kvm/"
#define ONLINE   "/sys/devices/system/cpu/online"
#define ISOLATED "/sys/devices/system/cpu/isolated"
#define HELPER   LIBEXECDIR "/hvtimer-attach"
#define SOCKET   RUNSTATEDIR "/hvtimer-attach.sock"
#define CONFIG   SYSCONFDIR "/hvtimer/hvtimerd.json"
#define DROP_IN  SYSCONFDIR "/hvtimer/hvtimerd.d/"
#define DAEMON   "/proc/4711/"

struct fake {
    char *root;
    struct host host;
    struct services services; /* no hvtimerd, and libvirt not asked */
};

/* How fine the timers are, in ns; a directory of the laid-out host that open_tracing() opens, or
 * the errno with which it fails. */
extern uint64_t timer_resolution;
extern const char *unmounted_tracing;
extern int tracing_error;

/* CPUID is an instruction: these are its leaves 15H and 16H. All zeros: there is no such leaf. */
extern uint32_t leaf_15[4], leaf_16[4];

/* An empty one. */
void fake_set_up(struct fake *f, gconstpointer data);
void fake_tear_down(struct fake *f, gconstpointer data);

/* An Intel host with everything; an AMD host. */
void write_intel(struct fake *f);
void write_amd(struct fake *f, const char *avic);

/* A hvtimerd of this version that runs there, as process 4711; @uid, @policy, @cpus: its engine's
 * thread's. It answers. */
void write_hvtimerd(struct fake *f, unsigned uid, int policy, const char *cpus);
/* What hvtimerd and libvirt answer: an error, or what is set then. (transfer full) */
void set_hvtimerd_error(struct fake *f, GError *error);
struct services_libvirt *set_libvirt(struct fake *f, GError *error);

void write_file(struct fake *f, const char *path, const char *text);
/* That can be run. */
void write_program(struct fake *f, const char *path);
void write_bytes(struct fake *f, const char *path, const char *bytes, gsize length);
void write_msr(struct fake *f, uint32_t msr, uint64_t value);
/* The first of two CPUs; the second is none that is read. @vmx_flags: (nullable) */
void write_cpu(struct fake *f, const char *vendor, unsigned family, unsigned model,
               unsigned stepping, const char *flags, const char *vmx_flags);

/* A file, or a directory and all in it. */
void remove_path(struct fake *f, const char *path);

/* What holds of all findings: no subject twice but "domain", a remedy where one is due, a printable
 * line... */
void assert_sound(const GPtrArray *findings);

/* What is found out; it is sound. (transfer full) */
GPtrArray *verify_fake(struct fake *f);

/* NULL: there is none. */
const struct finding *find(const GPtrArray *findings, const char *subject);

/* @word stands in what was found, or in the remedy. */
void assert_finding(struct fake *f, const char *subject, enum finding_level level,
                    const char *word);
void assert_no_finding(struct fake *f, const char *subject);
/* These, in this order, and no other; all of them @level. */
void assert_subjects(struct fake *f, const char *const *subjects, enum finding_level level);

/* A test of a laid-out host: "/verify/@name". */
void add_verify_test(const char *name, void (*test)(struct fake *f, gconstpointer data));

/* Of the host's clocks and limits, of what hvtimer-attach may do, of hvtimerd and libvirt. */
void add_host_tests(void);
void add_attach_tests(void);
void add_service_tests(void);
/* The tests of the program itself. */
void add_program_tests(void);
