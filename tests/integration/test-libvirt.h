/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the parts of test-libvirt share: a real libvirtd for all tests, and for each a hvtimerd that
 * follows it and a guest. Whatever fails ends the test with what was waited for or asked.
 */
#pragma once

#include "tests/support/asking.h"
#include "tests/support/libvirt-machine.h"
#include "tests/support/timing.h"
#include <hvapi/hvapi.h>

#define VECTOR        0x50u
#define ENABLE        "enable guest --period 1ms --vector 0x50"
#define CONTROL       "0x0000000000001050" /* what that sets */
#define CONTROL_CLEAR "0x0000000000000050" /* the same, not enabled */

extern struct libvirt test_libvirt;

struct rig {
    struct fixture fixture;
    struct machine machine;
};

/* What hvtimerd is configured with; where its helper is, that is. */
const char *rig_config(void);
/* A hvtimerd, and a domain that does not run yet. */
void rig_up(struct rig *rig, const struct machine_options *options);
/* A hvtimerd, and no domain. */
void rig_up_daemon(struct rig *rig);
/* rig_up(), and the guest counts, and is a partition. */
void rig_boot(struct rig *rig, const struct machine_options *options);
/* The guest must not have met an exception. */
void rig_down(struct rig *rig);

/* Runs hvtimerctl, which must exit with @status. Returns what it says. (transfer full) */
char *ctl(struct rig *rig, int status, const char *command, ...) G_GNUC_PRINTF(3, 4);
/* The same of any other program, which must exit with 0. */
void run(struct rig *rig, const char *command, ...) G_GNUC_PRINTF(2, 3);

/* Of `hvtimerctl status --json`; @path as in "policy.name". State "shutoff" also if there is no
 * running partition; other text is then "". (transfer full) */
char *status_text(struct rig *rig, const char *path);
double status_number(struct rig *rig, const char *path);
gboolean status_is(struct rig *rig, const char *path, const char *text);
void assert_status(struct rig *rig, const char *path, const char *text);

/* The guest is a partition. */
gboolean is_partition(void);
/* One reading of its figures; the identity holds in it. */
hvapi_statistics statistics(void);

/* The guest counts @count more at @vector. */
void await_ticks(struct rig *rig, guint vector, guint count, double seconds);

/* Waits until it has caught up, with nothing skipped; then disables it. Returns the last figures:
 * what the stop itself met, it has skipped. */
hvapi_statistics catch_up_and_stop(struct rig *rig);
/* The same, and of @vector the guest has counted what was acknowledged. */
void assert_nothing_lost(struct rig *rig, guint vector);
/* The same, but for @slack ticks of which it is not known whether they were taken. */
void assert_little_lost(struct rig *rig, guint vector, guint slack);

/* The guest counts no more at @vector; what was still on its way has come. */
void await_no_ticks(struct rig *rig, guint vector);

/* The guest's partition has all ticks that its period gives: see timing_keeps(). */
gboolean keeps_time(const struct timing *timing);

/* test-libvirt-*.c */
void add_ticks_tests(void);
void add_config_tests(void);
void add_life_tests(void);
void add_attach_tests(void);
