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
#define FLAGS_VMX     "fpu vme msr apic vmx ept"
#define FLAGS_SVM     "fpu vme msr apic svm npt"
#define FLAGS_NEITHER "fpu vme msr apic"

/* What MSRs of real CPUs hold; what may be 1 is in the upper half. */
#define BASIC        UINT64_C(0x0058000000000000)
#define BASIC_TRUE   UINT64_C(0x00D8000000000000)
#define PIN          UINT64_C(0x0000007F00000016)
#define PIN_NO_TIMER UINT64_C(0x0000003F00000016)
#define TRUE_PIN     UINT64_C(0x0000007F00000012)
#define MISC(rate)   (UINT64_C(0x00000000300481E0) | (rate))

struct fake {
    char *root;
    struct host host;
};

/* CPUID is an instruction: these are its leaves 15H and 16H. All zeros: there is no such leaf. */
extern uint32_t leaf_15[4], leaf_16[4];

/* An empty one. */
void fake_set_up(struct fake *f, gconstpointer data);
void fake_tear_down(struct fake *f, gconstpointer data);

/* An Intel host with everything; an AMD host. */
void write_intel(struct fake *f);
void write_amd(struct fake *f, const char *avic);

void write_file(struct fake *f, const char *path, const char *text);
void write_bytes(struct fake *f, const char *path, const char *bytes, gsize length);
void write_msr(struct fake *f, uint32_t msr, uint64_t value);
/* The first of two CPUs; the second is none that is read. @vmx_flags: (nullable) */
void write_cpu(struct fake *f, const char *vendor, unsigned family, unsigned model,
               unsigned stepping, const char *flags, const char *vmx_flags);

/* A file, or a directory and all in it. */
void remove_path(struct fake *f, const char *path);

/* What holds of all findings: no subject twice, a remedy where one is due, a printable line... */
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

/* The tests of the program itself. */
void add_program_tests(void);
