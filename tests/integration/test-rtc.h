/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the parts of test-rtc share: a real libvirtd for all tests, and for each a hvtimerd that
 * follows it and some guests that keep time by counting ticks, the clocks of which are watched.
 * Whatever fails ends the test with what was waited for or asked.
 */
#pragma once

#include "tests/support/asking.h"
#include "tests/support/clock-machine.h"
#include "tests/support/disturbance.h"
#include <hvapi/hvapi.h>

#define GUESTS_MAX 8
#define NO_GUEST   UINT_MAX

/* An <assist> as an operator writes it. */
#define RTC_METADATA(mode) \
    "<hvt:assist xmlns:hvt='" DOMAIN_NAMESPACE "'><hvt:rtc mode='" mode "'/></hvt:assist>"

extern struct libvirt test_libvirt;

struct guest {
    struct clock_machine clock;
    struct clock_kind kind;
    double reference;  /* its clock's gain when all was well */
    gint64 since_ns;   /* when the reference was taken */
    double ahead_max;  /* what assert_right() allows, in ticks */
    gboolean observed; /* nobody helps it: its clock need not be right */
};

struct rig {
    struct fixture fixture;
    struct clock_watch *watch;
    struct guest guests[GUESTS_MAX];
    guint n;
};

/* A hvtimerd, and no guest. */
void rig_up(struct rig *rig);
/* No guest may have met an exception. */
void rig_down(struct rig *rig);

/* One more, of @kind; it counts when this returns, unless it has a BIOS. @options: as
 * clock_machine_options() made them for @kind, and changed; NULL: unchanged. The name is "guest"
 * and its number. */
struct guest *rig_add(struct rig *rig, const struct clock_kind *kind,
                      const struct machine_options *options);
/* Of the first one: "guest0". */
const char *guest_name(const struct guest *guest);

/* Runs hvtimerctl, which must exit with @status. Returns what it says. (transfer full) */
char *ctl(struct rig *rig, int status, const char *command, ...) G_GNUC_PRINTF(3, 4);

/* hvtimerctl rtc, or pit, once the guest is a partition, until status says that @mode is in force,
 * and at what rate. */
void supervise(struct rig *rig, struct guest *guest, const char *mode);
void supervise_all(struct rig *rig, const char *mode);
/* The same without hvtimerctl: its metadata ask for it. */
void await_supervision(struct rig *rig, struct guest *guest, const char *mode);

/* Of `hvtimerctl status --json`; @path as in "supervision.mode". What is not there is "" or 0.
 * (transfer full) */
char *status_text(struct rig *rig, const struct guest *guest, const char *path);
double status_number(struct rig *rig, const struct guest *guest, const char *path);
gboolean status_is(struct rig *rig, const struct guest *guest, const char *path, const char *text);

/* One reading of its figures; the identity holds in it. */
hvapi_statistics statistics(const struct guest *guest);

/* ---- Clocks ---- */

/* Takes the references, of a while in which nothing is done to the guests: what becomes of their
 * clocks is told from here on. */
void take_references(struct rig *rig);

/* Stops all guests' processes. */
void stop_all(struct rig *rig, gint64 ms);
void stop_all_often(struct rig *rig, gint64 stop_ms, gint64 interval_ms, double seconds);

/* Waits until the clocks are right again, to two ticks; a second more, so that it shows that they
 * stay so. */
void await_right(struct rig *rig, double seconds);

/* What has become of a clock since the reference. */
struct clock_report guest_report(const struct guest *guest, gint64 outage_end_ns);
/* For the log: hvtimerd's figures of it. */
void tell_figures(const struct guest *guest);
/* It is behind by two ticks at most, was never ahead by more than that or what its ahead_max says,
 * and never faster than the default policy allows. */
void assert_right(const struct guest *guest);
void assert_all_right(struct rig *rig);

/* ---- Ledgers ---- */

/* What the guest and hvtimerd say of one moment. */
struct ledger {
    guint32 counted;    /* by the guest */
    guint64 taken;      /* of it, to hvtimerd */
    double due_at_zero; /* ticks due when CLOCK_MONOTONIC was 0, to hvtimerd */
    guint64 missing;
};

/* Of a guest at 1024 Hz; stops it for a while. */
struct ledger read_ledger(const struct guest *guest);
/* What the guest has lost between the two, as hvtimerd and the guest's own counter tell it: the
 * same to a tick. */
void assert_ledgers_agree(const struct ledger *then, const struct ledger *now);

/* test-rtc-*.c */
void add_peers_tests(void);
void add_pit_tests(void);
void add_slew_tests(void);
void add_catchup_tests(void);
void add_life_tests(void);
void add_daemon_tests(void);
