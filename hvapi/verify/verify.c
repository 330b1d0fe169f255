/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Is a host fit for hvtimer? The checks there are: see verify.h. */
#include "hvapi/verify/verify.h"

/* In the order in which they are shown. */
static void (*const checks[])(const struct verify *verify) = {
    /* the host's ways to tick */
    verify_kernel,
    verify_kvm,
    verify_preemption_timer,
    verify_minimum_period,
    verify_apicv,
    verify_avic,
    verify_posted_timer,
    verify_clocksource,
    verify_tsc,
    verify_timer_resolution,
    verify_timer_slack,
    verify_rt_limit,
    /* what hvtimer-attach may do */
    verify_attach_helper,
    verify_ptrace,
    verify_tracing,
    /* hvtimerd */
    verify_configuration,
    verify_hvtimerd,
    verify_engine,
    verify_engine_cpu,
    /* libvirt */
    verify_libvirt,
    verify_libvirt_group,
    verify_domains,
};

GPtrArray *verify_host(const struct host *host, const struct services *services)
{
    struct host_cpu cpu = {0};
    struct settings settings;
    gboolean cpu_known = host_read_cpu(host, &cpu, NULL);
    g_autofree char *module = host_find_kvm_module(host, cpu_known ? &cpu : NULL);
    const struct verify verify = {
        .host = host,
        .cpu = cpu_known ? &cpu : NULL,
        .kvm_module = module,
        .settings = &settings,
        .services = services,
        .findings = findings_new(),
    };

    settings_read(&settings, host);
    for (size_t i = 0; i < G_N_ELEMENTS(checks); i++) {
        checks[i](&verify);
    }
    settings_clear(&settings);
    host_cpu_clear(&cpu);
    return verify.findings;
}

gboolean verify_has_kvm(const struct verify *verify, const char *module)
{
    return g_strcmp0(verify->kvm_module, module) == 0;
}

void verify_add_unknown(const struct verify *verify, const char *subject, enum finding_level level,
                        GError *error, const char *meaning, const char *remedy)
{
    findings_add(verify->findings, subject, level, g_strdup_printf("unknown: %s", error->message),
                 meaning, remedy);
    g_error_free(error);
}
