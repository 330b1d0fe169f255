/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a daemon has to know of the one before it: which partitions there were, how they were set,
 * and how far their timers had got. Two files in the state directory: state.json, written whole and
 * atomically soon after a partition has changed, and ticks, in which the engine publishes. Both are
 * for this boot of the host only. Main loop only.
 */
#pragma once

#include "daemon/manager.h"

struct state;

/* What was remembered of a partition. */
struct memory {
    uint64_t id;
    uint32_t pid;        /* its VM's process; 0: it had none */
    uint64_t start_time; /* see process_start_time() */
    char *name, *uuid, *source;
    struct guest_memory guest;
};

/* Reads what is there. A broken file is set
 * aside (state.json.broken) and reported. @directory is made if need be. (transfer full) */
struct state *state_new(const char *directory);
void state_free(struct state *state);

/* To be called before anything is written: no other daemon may use the directory meanwhile. Holds
 * until state_free(), or the end of the process. Errors: G_IO_ERROR_BUSY. */
gboolean state_claim(struct state *state, GError **error);

/* The path of the ticks file; NULL: there is no directory to have it in. */
const char *state_ticks_file(const struct state *state);

/* The partition of this name (or UUID, if that is not "") and source, of the daemon before; NULL:
 * there was none. */
struct memory *state_find(const struct state *state, const char *source, const char *name,
                          const char *uuid);
/* The same, if its VM is still the same process, and it was not resumed yet. */
struct memory *state_find_running(const struct state *state, const char *source, const char *name,
                                  const char *uuid, uint32_t pid);
/* All that were of @source: (element-type memory) (transfer container). */
GPtrArray *state_list(const struct state *state, const char *source);

/* Writes what @manager (NULL: none yet) has now; and of the daemon before, what was not resumed
 * yet, for the next daemon to resume if this one is killed on the way. */
void state_save(struct state *state, struct manager *manager);

/* The same within milliseconds, or, where writing takes that long itself, at most ten times as
 * long: what changes till then is written along, in one go. A daemon that is killed before loses
 * just these changes. Until then, or state_save() or state_free(), @manager has to be there. */
void state_save_soon(struct state *state, struct manager *manager);
