/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hvtimerctl's frame: what its verbs are given, and how they read their own words.
 */
#pragma once

#include <glib.h>

enum ctl_exit {
    CTL_EXIT_DONE = 0,
    CTL_EXIT_FAILED = 1,
    CTL_EXIT_USAGE = 2,
    CTL_EXIT_NO_PARTITION = 3,
    CTL_EXIT_UNSUPPORTED = 4, /* not running, or not supported */
    CTL_EXIT_NOT_ALLOWED = 5,
};

struct ctl {
    char *bus;                   /* --bus, or NULL */
    gboolean json;               /* --json */
    const struct ctl_verb *verb; /* the one that runs */
    char **words;                /* it and what follows it */
};

struct ctl_verb {
    const char *name;
    const char *arguments; /* "DOMAIN PROPERTY VALUE": a word for each, or "" */
    const char *summary;   /* one line, for the list of verbs; below it, more for its --help */
    gboolean (*run)(struct ctl *ctl, GError **error);
};

/* Reads the verb's words: its @options (NULL: none), and the common ones. Errors: G_OPTION_ERROR.
 * Exits for --help.
 * Returns: as many arguments as the verb takes, in UTF-8. (transfer full) */
char **ctl_parse(struct ctl *ctl, const GOptionEntry *options, GError **error);

/* The verbs. Errors: G_OPTION_ERROR for usage, HV_STATUS_ERROR, those of the bus. */
gboolean ctl_list(struct ctl *ctl, GError **error);
gboolean ctl_status(struct ctl *ctl, GError **error);
gboolean ctl_get(struct ctl *ctl, GError **error);
gboolean ctl_set(struct ctl *ctl, GError **error);
gboolean ctl_enable(struct ctl *ctl, GError **error);
gboolean ctl_disable(struct ctl *ctl, GError **error);
gboolean ctl_rtc(struct ctl *ctl, GError **error);
gboolean ctl_pit(struct ctl *ctl, GError **error);
gboolean ctl_policy(struct ctl *ctl, GError **error);
gboolean ctl_reset_backlog(struct ctl *ctl, GError **error);
gboolean ctl_attach(struct ctl *ctl, GError **error);
gboolean ctl_detach(struct ctl *ctl, GError **error);
gboolean ctl_metrics(struct ctl *ctl, GError **error);
gboolean ctl_top(struct ctl *ctl, GError **error);
gboolean ctl_monitor(struct ctl *ctl, GError **error);
gboolean ctl_verify(struct ctl *ctl, GError **error); /* G_IO_ERROR_FAILED: the host is not fit */
