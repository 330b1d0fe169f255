/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hvtimer-attach behind a socket, as systemd has it (hvtimer-attach.socket, Accept=yes): each
 * connection is the standard input of one that is started for it.
 */
#pragma once

#include <glib.h>
#include <sys/types.h>

/* Listens at @path, a socket that @user owns, and nobody else may use. @helper: the program. The
 * helpers run one after the other, by a thread, so that the caller may wait for whatever it
 * likes. (transfer full) */
struct helper_socket *helper_socket_new(const char *path, const char *helper, uid_t user);
/* Once the last helper has ended. */
void helper_socket_free(struct helper_socket *socket);
