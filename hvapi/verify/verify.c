/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Is a host fit for hvtimer? The checks there are: see verify.h. */
#include "hvapi/verify/verify.h"

/* In the order in which they are shown. */
static void (*const checks[])(const struct verify *verify) = {
    verify_kvm,  verify_preemption_timer, verify_minimum_period, verify_apicv,
    verify_avic, verify_posted_timer,
};

GPtrArray *verify_host(const struct host *host)
{
    struct host_cpu cpu = {0};
    gboolean cpu_known = host_read_cpu(host, &cpu, NULL);
    g_autofree char *module = host_find_kvm_module(host, cpu_known ? &cpu : NULL);
    const struct verify verify = {
        .host = host,
        .cpu = cpu_known ? &cpu : NULL,
        .kvm_module = module,
        .findings = findings_new(),
    };

    for (size_t i = 0; i < G_N_ELEMENTS(checks); i++) {
        checks[i](&verify);
    }
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
