/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the parts of bench-lost share: the guests that are measured side by side, what is done to
 * all of them at once, and how it is judged.
 */
#pragma once

#include "tests/bench/figures.h"
#include "tests/support/asking.h"
#include "tests/support/clock-machine.h"

#define LOST_GUESTS_MAX 8
/* What a reading may be off by: a tick at either end. A guest that changes its rate with a tick
 * pending counts that as one of the new rate, with nobody's help. */
#define LOST_RIGHT_TICKS    2
#define LOST_CHANGING_TICKS 4

/* Who sees to it that a guest has all its ticks. */
enum lost_who {
    LOST_TIMER, /* hvtimer, whose ticks they are */
    LOST_RTC,   /* hvtimer, which makes up what QEMU's RTC has lost */
    LOST_OTHERS
};

/* All that hvtimerd and the guest have counted, when both stood still. */
struct lost_ledger {
    double due;      /* less what is owed */
    guint64 skipped; /* of these */
    guint32 counted; /* by the guest */
};

struct lost_guest {
    const char *name; /* of the domain */
    const char *title;
    enum lost_who who;
    const char *injector;
    gboolean pit;
    const char *policy; /* tickpolicy of the RTC or PIT; NULL: libvirt's default */
    gboolean quick;     /* is measured when there is little time, too */

    gboolean is_measured;
    struct clock_machine clock; /* of a domain */
    struct lost_vmm *vmm;       /* or this */
    pid_t pid;
    struct clock_trace *trace;
    double tick;      /* seconds */
    double tolerance; /* ticks */
};

struct lost {
    struct figures *figures;
    struct libvirt libvirt;
    struct fixture fixture;
    struct clock_watch *watch;
    const struct clock_kind *kind; /* of the guests that count RTC ticks */
    struct lost_guest guests[LOST_GUESTS_MAX];
    guint n;
};

/* ---- Guests (lost-guests.c) ---- */

/* Those that can't be had are not measured, and a note says why. */
void lost_guests_up(struct lost *lost);
void lost_guests_down(struct lost *lost);
guint lost_guests_pids(struct lost *lost, pid_t *ret_pids);
/* Of hvtimer's guests; stops all of them for a moment. */
void lost_guests_read(struct lost *lost, struct lost_ledger *ret_ledgers);

/* ---- A VMM that hands its VM over (lost-vmm.c) ---- */

struct lost_vmm;
/* What argv[1] of such a process is: main() does lost_vmm_main() then, and nothing else. */
#define LOST_VMM_ARGUMENT "vmm"
int lost_vmm_main(const char *name);

/* A process of its own, a partition of @name. NULL: it can't be had. */
struct lost_vmm *lost_vmm_up(const char *name, GError **error);
void lost_vmm_down(struct lost_vmm *vmm);
pid_t lost_vmm_pid(const struct lost_vmm *vmm);
/* How many interrupts its guest has taken at @vector. */
volatile uint32_t *lost_vmm_count(const struct lost_vmm *vmm, guint vector);

/* ---- What is done to them (lost-disturb.c) ---- */

struct lost_disturbance {
    const char *name;
    gboolean quick;
    double seconds, quick_seconds;
    /* For @seconds. Returns when the last outage has ended; 0: not possible, and a note says why.
     */
    gint64 (*disturb)(struct lost *lost, double seconds);
};
extern struct lost_disturbance lost_disturbances[]; /* ends with one that has no name */
enum { LOST_STALLS, LOST_STOP };                    /* their places */
