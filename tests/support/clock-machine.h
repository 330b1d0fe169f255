/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Guests that keep time by counting ticks, as machines whose clocks are watched. */
#pragma once

#include "tests/support/clock-watch.h"
#include "tests/support/libvirt-machine.h"

/* Rates of the RTC: codes, and the lengths of their ticks in counts of its clock. */
#define CLOCK_RATE_64   10
#define CLOCK_RATE_1024 6
#define CLOCK_TICK_64   512
#define CLOCK_TICK_1024 32

struct clock_kind {
    const char *name;
    gboolean pic;
    guint rate, other_rate;   /* the other one: it changes between them, by itself */
    guint ticks, other_ticks; /* after so many at each */
    guint pit_count;          /* it goes by the PIT instead, of so many counts */
};

/* What old Windows does: 64 Hz, 1024 Hz while a program wants it, or now this, now that; by the
 * IOAPIC or the PICs. Ends with one that has no name. */
extern const struct clock_kind clock_kinds[];

struct clock_machine {
    struct machine machine;
    struct clock_trace *trace;
    double tick; /* at its slowest, in seconds: by so much its clock may move at a time */
};

/* What a kind asks for, to be added to; machine_define() and machine_boot() as with any. */
struct machine_options clock_machine_options(const struct clock_kind *kind, const char *name);
/* A machine that counts is watched from now on. */
void clock_machine_watch(struct clock_machine *machine, struct clock_watch *watch,
                         const struct clock_kind *kind);

/* The guest programs another rate at its next tick. Returns at once. */
void clock_machine_ask(struct clock_machine *machine, guint rate);
