/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The configuration: /etc/hvtimer/hvtimerd.json, and over it, in the order of their names, the
 * drop-ins hvtimerd.d/NAME.json beside it. JSON, read strictly: an unknown key, a wrong type or a
 * value out of range is an error that names file and key. Keys that begin with "#" are comments;
 * their values are strings. conf/hvtimerd.json shows every key with its default.
 */
#pragma once

#include "daemon/partition.h"
#include "daemon/ticker.h"
#include <glib.h>

struct config {
    /* "engine" */
    int engine_priority;  /* SCHED_FIFO 1 to 99; 0: ordinary scheduling */
    int engine_cpu;       /* the one CPU it runs on; -1: any */
    gboolean lock_memory; /* mlockall() */
    /* "limits" */
    struct partition_limits period; /* "period_min", "period_max": units of 100 ns */
    unsigned partitions;            /* most partitions at a time */
    /* "policy": what a partition starts with */
    struct ticker_policy policy;
    /* "guest_reset": "disable" (default) or "keep" */
    gboolean keep_on_reset;
    /* "models": names of partitions of the software local APIC, for trying out without KVM */
    char **models;
};

#define CONFIG_ERROR (config_error_quark())
GQuark config_error_quark(void);
enum config_error {
    CONFIG_ERROR_VALUE, /* an unknown key, a wrong type, a value out of range or at odds */
};

/* What holds without a file. (transfer full) */
struct config *config_new_default(void);

/* Reads @path and its drop-ins. A missing file is an error only if @required. Errors: those of
 * json_file_load(), or CONFIG_ERROR. (transfer full) */
struct config *config_load(const char *path, gboolean required, GError **error);

void config_free(struct config *config);
typedef struct config Config;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Config, config_free)
