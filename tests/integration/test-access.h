/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who may do what: the daemon on a bus with the rules of a system's, in an own mount namespace with
 * users of the test's own, which the machine does not get to see.
 */
#pragma once

#include "tests/support/fixture.h"

/* Users. The daemon's is a member of libvirt, too. */
#define MEMBER "hvtimer-test-member" /* of the group libvirt */
#define OTHER  "hvtimer-test-other"
#define DAEMON "hvtimer"

/* hvtimerctl's exit statuses. */
enum { DONE = 0, NOT_ALLOWED = 5 };

struct rig {
    struct fixture fixture;
    char *directory; /* what the users may read: the programs, and below it what polkit is to see */
    char *bus_config;
};

/* A bus, and a daemon with the partitions m0 and m1. @system: the bus is the system's to all that
 * run in the test, and the daemon is run as DAEMON; otherwise as root, on just some bus. */
void rig_up(struct rig *rig, gboolean system);
void rig_down(struct rig *rig);

/* Runs a program as @user; "hvtimerctl" is the one of the build tree. Returns its exit status.
 * @ret_output: (optional). */
int rig_run(struct rig *rig, const char *user, char **ret_output, const char *command, ...)
    G_GNUC_PRINTF(4, 5);
/* It must exit with NOT_ALLOWED, and its output name @why. */
void rig_refused(struct rig *rig, const char *user, const char *why, const char *command);
/* hvtimerctl must exit with DONE. */
void rig_done(struct rig *rig, const char *user, const char *command);

/* Calls @call with the rights of @user, in this thread only. */
void rig_as(const char *user, void (*call)(gpointer data), gpointer data);
/* A connection to the bus that is @user's, with that user's groups. (transfer full) */
GDBusConnection *rig_connect(struct rig *rig, const char *user);

/* Everything that is to be seen of the partition @name, and that a refused call must not change.
 * (transfer full) */
char *rig_state(struct rig *rig, const char *name);

void add_group_tests(void);
void add_polkit_tests(void);
void add_question_tests(void);
