/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A QEMU with KVM that runs one of the counting boot sectors (tests/guest/qemu-*.S). */
#pragma once

#include "tests/guest/qemu-guest.h"
#include <glib.h>
#include <sys/types.h>

struct qemu {
    pid_t pid;
    char *directory; /* its files, in memory */
    char *socket;    /* its QMP monitor */
    volatile struct qemu_guest_counts *counts;
    void *memory;
};

/* NULL if it can be run here, or why not. */
const char *qemu_problem(void);

/* Until the guest counts. @boot_sector: a file; @arguments: more of QEMU's, or NULL. */
struct qemu *qemu_start(const char *boot_sector, const char *const *arguments);
void qemu_free(struct qemu *qemu);

gboolean qemu_is_alive(struct qemu *qemu);

/* As its reset button, and until the guest counts again. Takes the arguments "-action",
 * "reboot=reset". */
void qemu_reset(struct qemu *qemu);

/* SIGSTOP, SIGCONT. */
void qemu_stop(struct qemu *qemu);
void qemu_continue(struct qemu *qemu);

/* What an attach might leave behind. QEMU's own pool of short-lived workers is not counted. */
struct qemu_footprint {
    unsigned fds;
    unsigned threads;
    unsigned mappings;
};
struct qemu_footprint qemu_footprint(const struct qemu *qemu);

/* Interrupts of the RTC that the guest takes within @ms. */
unsigned qemu_rtc_ticks_within(struct qemu *qemu, unsigned ms);

/* Waits until it has taken a few more: the guest goes on. FALSE if that takes seconds. */
gboolean qemu_rtc_goes_on(struct qemu *qemu);
