/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Is a host fit for hvtimer? One function per subject, in the table of verify.c; each adds what it
 * finds out.
 */
#pragma once

#include "hvapi/verify/findings.h"
#include "hvapi/verify/host.h"

/* What the checks are given. */
struct verify {
    const struct host *host;
    const struct host_cpu *cpu; /* NULL: it can't be told */
    const char *kvm_module;     /* kvm_intel, kvm_amd, another; NULL: there is none */
    GPtrArray *findings;
};

/* All findings, in the table's order. @host: &this_host, or a test's. (transfer full) */
GPtrArray *verify_host(const struct host *host);

/* Whether it is the @module that runs the guests here. */
gboolean verify_has_kvm(const struct verify *verify, const char *module);

/* Adds that @subject can't be told, because of @error. (transfer full) */
void verify_add_unknown(const struct verify *verify, const char *subject, enum finding_level level,
                        GError *error, const char *meaning, const char *remedy);

/* ---- the checks ---- */

void verify_kvm(const struct verify *verify);
void verify_preemption_timer(const struct verify *verify);
void verify_minimum_period(const struct verify *verify);
void verify_apicv(const struct verify *verify);
void verify_avic(const struct verify *verify);
void verify_posted_timer(const struct verify *verify);
