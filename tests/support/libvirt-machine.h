/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Real QEMU guests for tests, under libvirt or on their own: each runs tests/guest/domain-guest.S,
 * and what that counts is read from its memory, which the test maps.
 *
 * Failures end the test, with what libvirt or the system says. All waits are bounded.
 */
#pragma once

#include "tests/guest/clock-guest.h"
#include "tests/guest/domain-guest.h"
#include "tests/support/libvirt.h"

#define DOMAIN_NAMESPACE "urn:hvtimer:domain:1.0"
#define MACHINE_RTC_HZ   1024

struct machine_options {
    const char *name; /* NULL: "guest" */
    const char *uuid; /* NULL: one is made */
    guint cpus;       /* 0: 1; up to DOMAIN_GUEST_CPUS */
    gboolean bios;    /* SeaBIOS boots it from a disk, which takes 5 s; if not, it is the BIOS */
    gboolean pic;     /* the RTC comes through the PICs */
    guint timer_ns;   /* the period of its own local APIC timer; 0: none */
    guint rtc_rate;   /* as in domain_guest_options; 0: 6, MACHINE_RTC_HZ */
    gboolean no_rtc;
    gboolean stamps; /* as DOMAIN_GUEST_STAMPS */
    /* A guest that keeps time: DOMAIN_GUEST_CLOCK and what goes with it, and as in
     * domain_guest_options. */
    guint clock, other_rate, ticks, other_ticks, pit_count;
    /* Under libvirt only. */
    gboolean split_irqchip;  /* the IOAPIC is QEMU's own */
    const char *rtc_policy;  /* tickpolicy of the RTC; NULL: libvirt's default */
    const char *rtc_catchup; /* attributes of its <catchup>; NULL: none */
    const char *pit_policy;  /* the same of the PIT */
    const char *metadata;    /* XML, within <metadata> */
};

struct machine {
    struct libvirt *libvirt; /* NULL: it is a process only */
    GSubprocess *process;    /* if it is a process only */
    char *name;
    char *image;
    guint cpus;
    pid_t pid;                                /* 0: it does not run */
    void *memory;                             /* mapped; NULL: it does not run */
    volatile struct domain_guest_page *pages; /* of its vCPUs, within @memory */
};

/* Defines a domain; it does not run yet. */
void machine_define(struct machine *machine, struct libvirt *libvirt,
                    const struct machine_options *options);
/* Runs a QEMU of which libvirt knows nothing. It counts when this returns. */
void machine_spawn(struct machine *machine, const struct machine_options *options);
/* Ends the guest, if it runs, and what was made for it. */
void machine_down(struct machine *machine);

/* Starts a defined domain, or restores it if it has a managed save image. Does not wait for it. */
void machine_start(struct machine *machine);
/* machine_start(), until the guest counts. */
void machine_boot(struct machine *machine);
/* Waits until the guest counts on all vCPUs. */
void machine_wait_ready(struct machine *machine);

void machine_suspend(struct machine *machine);
void machine_resume(struct machine *machine);
void machine_save(struct machine *machine); /* a managed save: it does not run any more */
void machine_destroy(struct machine *machine);
void machine_reset(struct machine *machine); /* by libvirt */
/* kill -9 of QEMU; returns when libvirt has noticed. */
void machine_crash(struct machine *machine);

/* Somebody else, as virsh, has started or ended it: @pid and @memory follow. */
void machine_follow(struct machine *machine);

/* As libvirt has it: "running", "paused", "shutoff". */
const char *machine_state(const struct machine *machine);

/* ---- What the guest has seen; all goes on through a reset ---- */

guint machine_count(const struct machine *machine, guint vector); /* on all vCPUs */
guint machine_count_on(const struct machine *machine, guint cpu, guint vector);
guint machine_rtc(const struct machine *machine);
guint machine_timer(const struct machine *machine); /* its own local APIC timer */
guint machine_spurious(const struct machine *machine);
guint machine_boots(const struct machine *machine);
gboolean machine_failed(const struct machine *machine); /* met an exception, and is at an end */
volatile struct clock_guest *machine_clock(const struct machine *machine);

/* How often one of these counts, from the call to machine_rate_begin() on. */
struct machine_rate {
    const struct machine *machine;
    guint (*read)(const struct machine *machine);
    guint count;
    gint64 before, after; /* the reading of count */
};
struct machine_rate machine_rate_begin(const struct machine *machine,
                                       guint (*read)(const struct machine *machine));
/* Is it, on average, at least that part of @hz? Fails the test if it is more than all of it, and
 * what may have been made up of the time before. A busy machine may take a good part of a short
 * time: to be asked again, until TRUE. */
gboolean machine_rate_is(const struct machine_rate *rate, double hz, double part);

/* ---- Getting in the guest's way ---- */

/* The guest keeps interrupts off on @cpu. Waits until they are off: its RTC has to tick, or
 * anything else that wakes it. */
void machine_mask(struct machine *machine, guint cpu);
void machine_unmask(struct machine *machine, guint cpu);
/* The guest resets its machine. Waits until it counts again. */
void machine_reset_itself(struct machine *machine);

/* ---- What its process has ---- */

struct machine_resources {
    guint fds, eventfds, threads, mappings;
};
struct machine_resources machine_resources(const struct machine *machine);
