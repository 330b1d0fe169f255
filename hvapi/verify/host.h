/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading what the kernel and the CPU tell of a host. What can't be read, or makes no sense, is an
 * error that says so (G_FILE_ERROR), never a guess.
 */
#pragma once

#include <glib.h>
#include <stdint.h>

struct host {
    const char *root;   /* before every path; "" */
    unsigned msr_bytes; /* from one MSR to the next in /dev/cpu/0/msr: 1, as that device has it */
    /* The instruction. FALSE: the CPU has no such leaf. */
    gboolean (*cpuid)(uint32_t leaf, uint32_t eax_to_edx[4]);
    /* How fine CLOCK_MONOTONIC's timers are, in ns. */
    uint64_t (*timer_resolution)(void);
    /* The kernel's tracing directory where nobody has mounted it: a mount at no place, seen by
     * nobody and gone with its descriptor. -1, and errno. */
    int (*open_tracing)(void);
};

/* The one that this program runs on. */
extern const struct host this_host;

/* The first of its CPUs, by /proc/cpuinfo. */
struct host_cpu {
    char *vendor; /* "GenuineIntel" */
    unsigned family, model, stepping;
    char *flags;
    char *vmx_flags; /* NULL: the kernel tells none */
};

gboolean host_read_cpu(const struct host *host, struct host_cpu *ret_cpu, GError **error);
void host_cpu_clear(struct host_cpu *cpu);

/* Whether @flag is one of @flags. @flags: (nullable) */
gboolean host_has_flag(const char *flags, const char *flag);

/* Whether that module is loaded, or built into the kernel. */
gboolean host_has_module(const struct host *host, const char *module);

/* A KVM module for this CPU: of kvm_intel and kvm_amd the one that @cpu can use, or another that
 * there is; both may be built in. NULL: there is none. @cpu: (nullable). (transfer full) */
char *host_find_kvm_module(const struct host *host, const struct host_cpu *cpu);

/* A module's parameter: as it stands there; one that is Y, N, 1 or 0; a number. */
char *host_read_parameter(const struct host *host, const char *module, const char *parameter,
                          GError **error);
gboolean host_read_switch(const struct host *host, const char *module, const char *parameter,
                          gboolean *ret_on, GError **error);
gboolean host_read_number(const struct host *host, const char *module, const char *parameter,
                          guint64 *ret_number, GError **error);

/* A file of up to a MiB, as text. (transfer full) */
char *host_read_text(const struct host *host, const char *path, GError **error);
/* A file that holds one whole number. */
gboolean host_read_integer(const struct host *host, const char *path, gint64 *ret_number,
                           GError **error);
/* Whether there is such a file. */
gboolean host_has_file(const struct host *host, const char *path);

/* Whether @cpu is one of @list, as the kernel writes lists of CPUs: "0-3,8". @list: (nullable) */
gboolean host_list_has_cpu(const char *list, int cpu);

/* A model-specific register of CPU 0. */
gboolean host_read_msr(const struct host *host, uint32_t msr, uint64_t *ret_value, GError **error);

/* Opens a file as @flags say; the caller closes it. Returns: -1, and errno. */
int host_open(const struct host *host, const char *path, int flags);

/* How fast the TSC counts, in Hz; 0: the CPU does not say. */
uint64_t host_tsc_hz(const struct host *host);
