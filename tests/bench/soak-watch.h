/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A thread that reads the figures of every partition all the time, by libhvapi: they add up in each
 * reading, whatever is being done. And what hvtimerd takes of the machine: descriptors, threads,
 * memory.
 */
#pragma once

#include "tests/bench/soak.h"

struct soak_watch;

/* The daemon serves. */
struct soak_watch *soak_watch_new(struct soak *soak);
void soak_watch_free(struct soak_watch *watch);

/* The daemon is about to be ended: nothing is read any more when this returns. */
void soak_watch_pause(struct soak_watch *watch);
/* It is there again. */
void soak_watch_go_on(struct soak_watch *watch);

/* All is quiet: what the daemon has now is what it keeps. */
void soak_watch_note_quiet(struct soak_watch *watch);

/* Sums over all partitions, as read last. */
hvapi_statistics soak_watch_sum(struct soak_watch *watch);
guint64 soak_watch_readings(struct soak_watch *watch);
guint64 soak_watch_backlog_most(struct soak_watch *watch, guint guest);

/* Prints what the daemon had, and fails the soak if it has grown; of one daemon's life, the longest
 * one: its first quarter, and its last. */
void soak_watch_judge(struct soak_watch *watch);
