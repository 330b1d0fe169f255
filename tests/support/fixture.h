/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A bus of the test's own and the real hvtimerd on it. HVTIMER_BUS_ADDRESS of the process is set to
 * that bus, so that libhvapi and hvtimerctl find it.
 */
#pragma once

#include <gio/gio.h>

#define FIXTURE_USER 65534

struct fixture {
    GSubprocess *bus;
    char *address; /* of the bus */
    GDBusConnection *connection;
    GSubprocess *daemon;
    char *directory;
    char *config;
    guint watch;
    gboolean served;     /* the daemon has its name on the bus */
    const char *libvirt; /* to be set before fixture_up(): a connection's URI; NULL: none */
    gboolean quiet;      /* the daemon's log is not shown; to be set before fixture_up() */
    /* The bus's configuration file; to be set before fixture_up(); NULL: that of a session. */
    const char *bus_config;
    /* The daemon runs as another user, FIXTURE_USER, without any capability, and hvtimer-attach is
     * behind a socket; takes root, and is to be set before fixture_up(). */
    gboolean unprivileged;
    gboolean limits; /* of such a daemon, for real-time priority and locked memory, are raised, as
                        the unit does; not so where even root may not */
    struct helper_socket *helpers;
};

/* @config: the configuration's text. The daemon is ready when it returns. */
void fixture_up(struct fixture *fixture, const char *config);
/* Ends the daemon, which must exit with 0, and the bus. */
void fixture_down(struct fixture *fixture);

void fixture_start_daemon(struct fixture *fixture);
/* kill -9. Returns when the bus has noticed. */
void fixture_kill_daemon(struct fixture *fixture);
/* SIGTERM. Returns its exit status. */
int fixture_stop_daemon(struct fixture *fixture);
/* Replaces the configuration's text; the daemon is told by SIGHUP. */
void fixture_reconfigure(struct fixture *fixture, const char *config);

/* Runs a program, @command split as a shell splits words; "hvtimerctl" is the one of the build
 * tree. Returns its exit status. @ret_output: (optional): stdout, and stderr behind it. */
int fixture_run(struct fixture *fixture, char **ret_output, const char *command, ...)
    G_GNUC_PRINTF(3, 4);
