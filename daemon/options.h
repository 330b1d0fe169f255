/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* hvtimerd's command line. */
#pragma once

#include <glib.h>

struct options {
    char *config_file; /* NULL: the default one, which may be missing */
    char *bus;         /* system, session or an address; NULL: HVTIMER_BUS_ADDRESS, then system */
    char *libvirt;     /* a connection URI, or "none" */
    gboolean check_config;
    gboolean version;
};

/* Errors: G_OPTION_ERROR. Exits for --help. */
gboolean options_parse(struct options *ret_options, int argc, char **argv, GError **error);
void options_clear(struct options *options);
