/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* hvtimer-attach as the daemon runs it (attach/client.h), waited for. */
#pragma once

#include "daemon/attach/client.h"

/* Where things were built. (transfer full) */
char *attach_built(const char *file);

/* Uses this one from here on; NULL: the one that was built. */
void attach_use_helper(const char *path);

/* Uses the one that was built, through this command: "env NAME=VALUE"; until another is used. */
void attach_use_script(const char *format, ...) G_GNUC_PRINTF(1, 2);

struct attach_result *attach_run(const struct attach_job *job, GError **error);

struct attach_result *attach_borrow(pid_t pid, uint32_t pin, uint64_t entry, GError **error);
struct attach_result *attach_listen(pid_t pid, uint32_t gsi, GError **error);
struct attach_result *attach_read(pid_t pid, GError **error);
/* Closes the trigger first, as one does who returns a pin. */
struct attach_result *attach_return(pid_t pid, struct attach_result *borrowed, uint64_t expected,
                                    GError **error);

/* The helper is killed at its @at-th chance (attach-killer.c). TRUE if it came to that. */
gboolean attach_killed_at(const struct attach_job *job, unsigned at);

/* Starts attach-target and waits until it is ready. */
pid_t attach_target_start(const char *habit, const char *progress);
gboolean attach_target_is_alive(pid_t pid);
void attach_target_end(pid_t pid);
