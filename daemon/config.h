/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The configuration: /etc/hvtimer/hvtimerd.json, and over it, in the order of their names, the
 * drop-ins hvtimerd.d/NAME.json beside it. JSON, read strictly: an unknown key, a wrong type or a
 * value out of range is an error that names file and key. Keys that begin with "#" are comments;
 * their values are strings. The last file that gives a key counts, but for "domains", whose
 * entries add up. conf/hvtimerd.json shows every key with its default.
 */
#pragma once

#include "daemon/assist.h"
#include "daemon/partition.h"
#include "daemon/ticker.h"
#include <glib.h>

/* IOAPIC pins that may be borrowed, in any order. */
#define CONFIG_PIN_MIN 16
#define CONFIG_PIN_MAX 23
struct config_pins {
    uint8_t pins[CONFIG_PIN_MAX - CONFIG_PIN_MIN + 1];
    unsigned length;
};

/* One of "domains". */
struct config_domain {
    char *match; /* a UUID; else a name, in which * and ? stand for any characters, any one */
    struct assist assist;
};

struct config {
    /* "engine" */
    int engine_priority;  /* SCHED_FIFO 1 to 99; 0: ordinary scheduling */
    int engine_cpu;       /* the one CPU it runs on; -1: any */
    int engine_threads;   /* 1 to ENGINE_THREADS_MAX */
    int engine_window_us; /* a wake-up may be late by so much, to serve several timers at once */
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
    /* "libvirt": whose domains are served: a connection's URI, or "none" */
    char *libvirt;
    /* "attach_helper": absolute path of hvtimer-attach, or of a socket: see attach/helper.h */
    char *attach_helper;
    /* "state_directory": absolute path of what outlives the daemon */
    char *state_directory;
    /* "pins": those that may be borrowed of a guest */
    struct config_pins pins;
    /* "metrics_listen": where metrics are served: see metrics-server.h; "": nowhere */
    char *metrics_listen;
    /* "domains": struct config_domain, those of later files behind */
    GArray *domains;
};

/* The largest file, in bytes. */
#define CONFIG_FILE_SIZE_MAX ((size_t)64 * 1024)

#define CONFIG_ERROR (config_error_quark())
GQuark config_error_quark(void);
enum config_error {
    CONFIG_ERROR_VALUE, /* an unknown key, a wrong type, a value out of range or at odds */
};

/* "attach_helper", if it isn't given. */
const char *config_default_attach_helper(void);

/* What holds without a file. (transfer full) */
struct config *config_new_default(void);

/* Reads @path and its drop-ins. A missing file is an error only if @required. Errors: those of
 * json_file_load(), or CONFIG_ERROR. (transfer full) */
struct config *config_load(const char *path, gboolean required, GError **error);

/* What "domains" says of the guest of this name and UUID (or NULL, if it has none): the last entry
 * that matches, or NULL. It is @config's. */
const struct assist *config_find_assist(const struct config *config, const char *name,
                                        const char *uuid);

void config_free(struct config *config);
typedef struct config Config;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Config, config_free)
