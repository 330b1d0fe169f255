/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How the daemon gets an hvtimer-attach for one request: it starts one, where it may do what that
 * does; or it asks whoever listens on a socket and gives each connection to one (systemd:
 * hvtimer-attach.socket), where it runs without privileges.
 */
#pragma once

#include <gio/gio.h>

/* @path: the program, or a Unix socket (SOCK_SEQPACKET). @ret_process: the program that was
 * started; NULL if it is behind a socket: then its end is that of the connection. Returns: a
 * socket, the helper's standard input being the other end; -1 with HV_STATUS_ERROR, and then
 * @ret_busy says whether it should be tried again. (transfer full) */
int helper_open(const char *path, GSubprocess **ret_process, gboolean *ret_busy, GError **error);
