/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Partitions of KVM processes that libvirt does not know, attached to by their process id. */
#pragma once

#include "daemon/config.h"
#include "daemon/manager.h"
#include "daemon/state.h"
#include <sys/types.h>

struct process_source;

/* @config must outlive it. */
struct process_source *process_source_new(struct manager *manager, const struct config *config);
void process_source_free(struct process_source *source);

/* @guest: NULL with @error. */
typedef void (*process_source_func)(struct guest *guest, const GError *error, gpointer user_data);

/* @name: "" for the process's own. Calls @done once, now or later. Errors: INVALID_PARTITION_ID (no
 * such process), INVALID_PARTITION_STATE (no KVM VM in it, or the daemon ends), OBJECT_IN_USE (a
 * partition has it, or its name), and those of hvtimer-attach, which looks into it. */
void process_source_attach(struct process_source *source, pid_t pid, const char *name,
                           process_source_func done, gpointer user_data);

/* Those that the daemon before had attached to. */
void process_source_resume(struct process_source *source, const struct state *state);

/* FALSE with OPERATION_DENIED if @guest is another source's. */
gboolean process_source_detach(struct process_source *source, struct guest *guest, GError **error);
