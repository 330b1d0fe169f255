/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The metrics over HTTP, for whoever scrapes them: /metrics, read only, in the main loop. Off until
 * it is told where to listen: on a loopback address, as it asks nobody who they are, or on a Unix
 * socket, which only its group may use.
 */
#pragma once

#include "daemon/manager.h"
#include <gio/gio.h>

struct metrics_server;

/* For whom "metrics_listen" is read. "127.0.0.1:PORT", "[::1]:PORT" or "unix:PATH", the path
 * absolute; NULL: it is none of these. (transfer full) */
GSocketAddress *metrics_address_parse(const char *text);

struct metrics_server *metrics_server_new(struct manager *manager);
void metrics_server_free(struct metrics_server *server);

/* Listens on @address, as metrics_address_parse() takes it, or nowhere if it is "". What is there
 * already is left as it is. If a new address can't be had, the one before is kept, and that is
 * warned about: ticks matter more. */
void metrics_server_listen(struct metrics_server *server, const char *address);
