/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What can be known of an Intel host's VMX preemption timer: the facts, without a judgement.
 */
#pragma once

#include "hvapi/verify/host.h"

struct vmx_timer {
    /* By the CPU. */
    gboolean present_known, present;
    const char *present_source; /* "MSR 0x481", "/proc/cpuinfo" */
    const char *errata; /* the CPU counts it wrongly: their names; NULL: it is not known to */
    /* By KVM. */
    gboolean enabled_known, enabled;
    GError *enabled_error; /* why it is not known */
    /* It counts once per 2^rate ticks of the TSC. */
    gboolean rate_known;
    unsigned rate;
    GError *rate_error; /* why it is not known */
    uint64_t tsc_hz;    /* 0: not known */
};

/* @cpu: (nullable). To be cleared with vmx_timer_clear(). */
void vmx_timer_read(struct vmx_timer *timer, const struct host *host, const struct host_cpu *cpu);
void vmx_timer_clear(struct vmx_timer *timer);

/* With a TSC of @tsc_hz, KVM would find it too fast, and not use it. */
gboolean vmx_timer_is_too_fast(const struct vmx_timer *timer, uint64_t tsc_hz);
