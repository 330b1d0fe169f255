/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Is a host fit for hvtimer? One function per subject, in the table of verify.c; each adds what it
 * finds out.
 */
#pragma once

#include "hvapi/verify/findings.h"
#include "hvapi/verify/host.h"
#include "hvapi/verify/services.h"
#include "hvapi/verify/settings.h"

/* What the checks are given. */
struct verify {
    const struct host *host;
    const struct host_cpu *cpu; /* NULL: it can't be told */
    const char *kvm_module;     /* kvm_intel, kvm_amd, another; NULL: there is none */
    const struct settings *settings;
    const struct services *services;
    GPtrArray *findings;
};

/* All findings, in the table's order. @host: &this_host, or a test's. (transfer full) */
GPtrArray *verify_host(const struct host *host, const struct services *services);

/* Whether it is the @module that runs the guests here. */
gboolean verify_has_kvm(const struct verify *verify, const char *module);

/* Adds that @subject can't be told, because of @error. (transfer full) */
void verify_add_unknown(const struct verify *verify, const char *subject, enum finding_level level,
                        GError *error, const char *meaning, const char *remedy);

/* ---- the checks ---- */

void verify_kernel(const struct verify *verify);
void verify_kvm(const struct verify *verify);
void verify_preemption_timer(const struct verify *verify);
void verify_minimum_period(const struct verify *verify);
void verify_apicv(const struct verify *verify);
void verify_avic(const struct verify *verify);
void verify_posted_timer(const struct verify *verify);
void verify_clocksource(const struct verify *verify);
void verify_tsc(const struct verify *verify);
void verify_timer_resolution(const struct verify *verify);
void verify_timer_slack(const struct verify *verify);
void verify_rt_limit(const struct verify *verify);
void verify_tracing(const struct verify *verify);
void verify_ptrace(const struct verify *verify);
void verify_attach_helper(const struct verify *verify);
void verify_configuration(const struct verify *verify);
void verify_hvtimerd(const struct verify *verify);
void verify_engine(const struct verify *verify);
void verify_engine_cpu(const struct verify *verify);
void verify_libvirt(const struct verify *verify);
void verify_libvirt_group(const struct verify *verify);
void verify_domains(const struct verify *verify);
