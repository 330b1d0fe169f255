/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whether the kernel has what hvtimer takes, and what it leaves real-time threads. */
#include "hvapi/verify/verify.h"

#include <stdio.h>

#define SUBJECT_KERNEL "kernel"
#define SUBJECT_LIMIT  "rt-throttling"

#define RELEASE "/proc/sys/kernel/osrelease"
#define RUNTIME "/proc/sys/kernel/sched_rt_runtime_us"
#define PERIOD  "/proc/sys/kernel/sched_rt_period_us"

/* The first with epoll_pwait2(2), by which the engine sleeps; pidfd_getfd(2), by which
 * hvtimer-attach takes what it has made in a VMM, is older. */
#define LEAST_MAJOR 5
#define LEAST_MINOR 11

/* The share of a CPU, in percent, that is far more than a host's ticks take. */
#define SHARE_AMPLE 50

void verify_kernel(const struct verify *verify)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *release = host_read_text(verify->host, RELEASE, &error);
    unsigned major, minor;

    if (release == NULL || sscanf(release, "%u.%u", &major, &minor) != 2) {
        if (error == NULL) {
            error = g_error_new_literal(G_FILE_ERROR, G_FILE_ERROR_INVAL,
                                        RELEASE " does not hold a version");
        }
        verify_add_unknown(verify, SUBJECT_KERNEL, FINDING_INFO, g_steal_pointer(&error),
                           "hvtimer takes Linux 5.11 or later", NULL);
        return;
    }
    g_strstrip(release);
    if (major < LEAST_MAJOR || (major == LEAST_MAJOR && minor < LEAST_MINOR)) {
        findings_add(verify->findings, SUBJECT_KERNEL, FINDING_FAIL, g_strdup(release),
                     "too old: hvtimerd can't sleep as exactly as it has to (epoll_pwait2)",
                     "install Linux 5.11 or later");
    } else {
        findings_add(verify->findings, SUBJECT_KERNEL, FINDING_OK, g_strdup(release),
                     "it has what hvtimer takes (5.11 or later)", NULL);
    }
}

/* ---- how much of a CPU real-time threads may take ---- */

static void add_low_limit(const struct verify *verify, gint64 runtime, gint64 period)
{
    g_autofree char *remedy =
        g_strdup_printf("sysctl -w kernel.sched_rt_runtime_us=%" G_GINT64_FORMAT
                        " (95 %%, the kernel's default); for good: in a file of /etc/sysctl.d",
                        period / 100 * 95);

    findings_add(verify->findings, SUBJECT_LIMIT, FINDING_WARN,
                 g_strdup_printf("real-time threads may run for %" G_GINT64_FORMAT
                                 " us of each %" G_GINT64_FORMAT " us",
                                 runtime, period),
                 "hvtimerd's engine is one of them, and ticks wait while they may not run (Linux "
                 "6.12 and later: only with CONFIG_RT_GROUP_SCHED)",
                 remedy);
}

/* sched(7), "Limiting the CPU usage of real-time and deadline processes". Since Linux 6.12 a kernel
 * without CONFIG_RT_GROUP_SCHED has another way to the same end, a server for ordinary threads
 * ("sched/rt: Remove default bandwidth control"). */
void verify_rt_limit(const struct verify *verify)
{
    g_autoptr(GError) error = NULL;
    gint64 runtime, period;

    if (!host_read_integer(verify->host, RUNTIME, &runtime, &error) ||
        !host_read_integer(verify->host, PERIOD, &period, &error)) {
        verify_add_unknown(verify, SUBJECT_LIMIT, FINDING_INFO, g_steal_pointer(&error),
                           "ticks wait for it only where it leaves real-time threads very little",
                           NULL);
    } else if (runtime < 0) {
        findings_add(verify->findings, SUBJECT_LIMIT, FINDING_OK, g_strdup("off"),
                     "no tick waits for it; but a real-time program that never sleeps keeps the "
                     "kernel's workers off its CPU, by which ticks of the injector pin go",
                     NULL);
    } else if (period <= 0 || runtime < period / 100 * SHARE_AMPLE) {
        add_low_limit(verify, runtime, period);
    } else {
        findings_add(verify->findings, SUBJECT_LIMIT, FINDING_OK,
                     g_strdup_printf("%d %%: real-time threads may run for %" G_GINT64_FORMAT
                                     " us of each %" G_GINT64_FORMAT " us",
                                     (int)(100 * runtime / period), runtime, period),
                     "hvtimerd's engine takes far less; ticks would wait only if another real-time "
                     "program never slept",
                     NULL);
    }
}
