/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How the thread that raises ticks runs: at which priority, in which memory, on which CPU. */
#include "hvapi/verify/engine-facts.h"
#include "hvapi/verify/verify.h"

#include <sched.h>

#define SUBJECT_ENGINE "engine"
#define SUBJECT_CPU    "engine-cpu"

#define CPUS "/sys/devices/system/cpu/"

/* ---- priority and memory ---- */

static void add_ordinary(const struct verify *verify, const struct engine_facts *facts)
{
    g_autofree char *remedy = NULL;

    if (verify->settings->engine_priority == 0) {
        findings_add(verify->findings, SUBJECT_ENGINE, FINDING_INFO,
                     g_strdup("ordinary scheduling, as engine.priority has it"),
                     "ticks are late when the host is busy, and are made up then", NULL);
        return;
    }
    remedy =
        facts->rt_group != NULL
            ? g_strdup_printf("%s/cpu.rt_runtime_us is 0 (CONFIG_RT_GROUP_SCHED): boot with "
                              "'rt_group_sched=0' (newer kernels), or keep hvtimerd.service out of "
                              "the cpu controller (no CPU...= settings in it or its slice); then "
                              "systemctl restart "
                              "hvtimerd",
                              facts->rt_group)
            : g_strdup(
                  "LimitRTPRIO=99 in hvtimerd.service, as installed; a kernel with "
                  "CONFIG_RT_GROUP_SCHED needs 'rt_group_sched=0' on its command line besides; "
                  "then systemctl restart hvtimerd");
    findings_add(verify->findings, SUBJECT_ENGINE, FINDING_WARN,
                 g_strdup_printf("ordinary scheduling, though engine.priority is %d",
                                 verify->settings->engine_priority),
                 "it was refused SCHED_FIFO: ticks are late when the host is busy, and are made up "
                 "then",
                 remedy);
}

/* Of one that runs; what would become of one that does not, nobody can tell but the kernel. */
void verify_engine(const struct verify *verify)
{
    const guint32 pid = verify->services->hvtimerd->pid;
    struct engine_facts facts;

    engine_facts_read(&facts, verify->host, pid);
    if (pid != 0 && !facts.thread_known) {
        findings_add(verify->findings, SUBJECT_ENGINE, FINDING_INFO,
                     g_strdup_printf("unknown: process %u has no thread of that kind here", pid),
                     "how ticks are scheduled can't be told",
                     "run this as root, on hvtimerd's host");
    } else if (pid != 0 && facts.policy != SCHED_FIFO) {
        add_ordinary(verify, &facts);
    } else if (pid != 0 && facts.locked_known && facts.locked_kb == 0 &&
               verify->settings->lock_memory) {
        findings_add(verify->findings, SUBJECT_ENGINE, FINDING_WARN,
                     g_strdup_printf("SCHED_FIFO %d, but no memory is locked", facts.priority),
                     "ticks may be late when the host swaps",
                     "LimitMEMLOCK=infinity in hvtimerd.service, as installed; then systemctl "
                     "restart hvtimerd");
    } else if (pid != 0) {
        findings_add(verify->findings, SUBJECT_ENGINE, FINDING_OK,
                     g_strdup_printf("SCHED_FIFO %d", facts.priority),
                     "ticks come before whatever ordinary threads do", NULL);
    }
    engine_facts_clear(&facts);
}

/* ---- its CPU ---- */

static char *read_list(const struct host *host, const char *path)
{
    char *text = host_read_text(host, path, NULL);

    return text != NULL ? g_strstrip(text) : NULL;
}

static void add_wrong_cpu(const struct verify *verify, char *found, const char *remedy)
{
    findings_add(verify->findings, SUBJECT_CPU, FINDING_WARN, found,
                 "the engine runs elsewhere than it is meant to", remedy);
}

/* Ticks by an IOAPIC's pin that the writer may not inject itself go through a work item on the CPU
 * where the eventfd was written: irqfd_wakeup() in virt/kvm/eventfd.c. */
static void judge_cpu(const struct verify *verify, const char *online, const char *isolated,
                      const char *allowed)
{
    const int cpu = verify->settings->engine_cpu;
    g_autofree char *only = g_strdup_printf("%d", cpu);

    if (online != NULL && !host_list_has_cpu(online, cpu)) {
        add_wrong_cpu(verify, g_strdup_printf("engine.cpu is %d; the host has %s", cpu, online),
                      "set engine.cpu in hvtimerd.json to one that is there, or to -1; then "
                      "systemctl restart hvtimerd");
    } else if (allowed != NULL && !g_str_equal(allowed, only)) {
        add_wrong_cpu(verify,
                      g_strdup_printf("engine.cpu is %d; the engine may run on %s", cpu, allowed),
                      "systemctl restart hvtimerd; if that does not help, its unit or slice keeps "
                      "it off that CPU (AllowedCPUs=, CPUAffinity=)");
    } else if (host_list_has_cpu(isolated, cpu)) {
        findings_add(verify->findings, SUBJECT_CPU, FINDING_INFO,
                     g_strdup_printf("engine.cpu is %d, an isolated one", cpu),
                     "right if nothing else runs there: ticks by pin take a kernel worker on that "
                     "CPU, which waits, for milliseconds, while a vCPU has it",
                     "keep the domains' threads off that CPU: virsh vcpupin, emulatorpin, "
                     "iothreadpin");
    } else {
        findings_add(
            verify->findings, SUBJECT_CPU, FINDING_OK, g_strdup_printf("engine.cpu is %d", cpu),
            "ticks by pin take a kernel worker on that CPU, too: leave it room there", NULL);
    }
}

void verify_engine_cpu(const struct verify *verify)
{
    g_autofree char *online = read_list(verify->host, CPUS "online");
    g_autofree char *isolated = read_list(verify->host, CPUS "isolated");
    struct engine_facts facts;

    engine_facts_read(&facts, verify->host, verify->services->hvtimerd->pid);
    if (verify->settings->engine_cpu >= 0) {
        judge_cpu(verify, online, isolated, facts.cpus);
    } else {
        findings_add(verify->findings, SUBJECT_CPU, FINDING_OK,
                     facts.cpus != NULL ? g_strdup_printf("any of %s", facts.cpus)
                                        : g_strdup("any"),
                     "the kernel chooses, among those that are not isolated; one can be given: "
                     "engine.cpu in hvtimerd.json",
                     NULL);
    }
    engine_facts_clear(&facts);
}
