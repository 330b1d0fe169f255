/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where the engine publishes its timers: one slot each, in memory that is a file (in /run), so that
 * the figures of a daemon that was killed are there for the next one, to the last tick. Each slot
 * is a sequence lock, all of whose words are atomic.
 */
#pragma once

#include "daemon/ticker.h"
#include <glib.h>
#include <stdatomic.h>

/* What is published of a timer. */
struct published {
    struct ticker ticker;
    uint32_t unwatched; /* not 0: ticks may fall due before it does */
    /* Of a supervised timer; `ticker` then holds its counts, its policy and its period only. */
    uint16_t learned; /* enum supervisor_learned */
    uint16_t polls;   /* as in struct supervisor */
};
#define PUBLISHED_WORDS (sizeof(struct published) / sizeof(uint64_t))
_Static_assert(sizeof(struct published) % sizeof(uint64_t) == 0, "copied word by word");

struct ticks_slot {
    _Atomic uint64_t sequence; /* odd: being written */
    _Atomic uint64_t words[PUBLISHED_WORDS];
};

struct ticks_file;

/* A new file of @slots slots at @path, in the place of what was there; NULL: memory only. Errors:
 * G_FILE_ERROR. (transfer full) */
struct ticks_file *ticks_file_new(const char *path, unsigned slots, GError **error);

/* What an earlier daemon left; NULL, without an error, if there is nothing that can be read.
 * (transfer full) */
struct ticks_file *ticks_file_open_old(const char *path);

void ticks_file_free(struct ticks_file *file);

/* NULL if there is none of that number. */
struct ticks_slot *ticks_file_slot(struct ticks_file *file, unsigned number);

/* One thread at a time writes a slot, any thread reads. What a writer does from ticks_slot_begin()
 * on, looking at the clock included, no reader sees before ticks_slot_write(). */
void ticks_slot_begin(struct ticks_slot *slot);
void ticks_slot_write(struct ticks_slot *slot, const struct published *published);

/* @clock is asked for the time of the reading: no later reading will be of a state before it.
 * FALSE: being written, for longer than a living writer takes. */
bool ticks_slot_read(struct ticks_slot *slot, uint64_t (*clock)(void),
                     struct published *ret_published, uint64_t *ret_now);

/* What a writer that was killed wrote last; torn, if that was within its last nanoseconds. */
void ticks_slot_read_old(struct ticks_slot *slot, struct published *ret_published);
