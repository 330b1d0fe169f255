/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The parts of hvtimerd, put together and taken apart. */
#pragma once

#include "daemon/options.h"

struct daemon;

/* Reads the configuration and starts everything; from here on calls are served. */
struct daemon *daemon_new(const struct options *options, GError **error);

/* Until a signal or the loss of the bus ends it. SIGHUP reads the configuration anew. */
gboolean daemon_run(struct daemon *daemon, GError **error);

/* In the reverse order. No guest is harmed: KVM drops an irqfd when its eventfd is closed. */
void daemon_free(struct daemon *daemon);

/* Only reads the configuration. */
gboolean daemon_check_config(const struct options *options, GError **error);
