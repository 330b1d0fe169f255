/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Asking polkit whether a caller on the bus may do something. Its D-Bus interface is called as it
 * is, on the connection that there is: libpolkit-gobject would open a second one, with an end that
 * is the process's end, and a thread to make it in.
 */
#pragma once

#include <gio/gio.h>

/* How long a person may take to type a password; hvtimerctl waits a little longer. */
#define BUS_POLKIT_PASSWORD_SECONDS 120

struct bus_polkit_question {
    const char *sender;    /* the caller's unique name */
    const char *action;    /* "org.hvtimer1.manage" */
    const char *partition; /* for the rules: action.lookup("partition"); "" for none */
    gboolean interactive;  /* it may ask somebody for a password */
};

enum bus_polkit_answer {
    BUS_POLKIT_GRANTED,
    BUS_POLKIT_REFUSED,
    BUS_POLKIT_ABSENT, /* there is no polkit on this bus */
};

/* @reason: why it is refused, as the end of "and ..."; NULL with the other answers. */
typedef void (*bus_polkit_answer_func)(enum bus_polkit_answer answer, const char *reason,
                                       gpointer user_data);

/* A polkit that errs, or does not answer in time, refuses. Once @cancellable is cancelled, polkit
 * stops asking for a password, and @answer is not called any more. */
void bus_polkit_ask(GDBusConnection *connection, const struct bus_polkit_question *question,
                    GCancellable *cancellable, bus_polkit_answer_func answer, gpointer user_data);

/* @changed: what polkit said before may not hold any more. Returns the subscription, for
 * g_dbus_connection_signal_unsubscribe(). */
guint bus_polkit_watch(GDBusConnection *connection, GDBusSignalCallback changed,
                       gpointer user_data);
