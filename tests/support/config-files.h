/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A configuration in a directory of its own, for tests of what is read from it: a GTest fixture.
 */
#pragma once

#include "daemon/config.h"

struct config_files {
    char *directory;
    char *path;     /* hvtimerd.json in it: not there at first */
    char *drop_ins; /* hvtimerd.d: empty at first */
};

void config_files_set_up(struct config_files *f, gconstpointer data);
void config_files_tear_down(struct config_files *f, gconstpointer data);

/* The main file's contents; those of a drop-in; those of any file, of @length bytes. */
void config_files_write(struct config_files *f, const char *text);
void config_files_write_drop_in(struct config_files *f, const char *name, const char *text);
void config_files_write_bytes(const char *path, const char *bytes, gsize length);

/* A directory, and the files in it. */
void config_files_remove(const char *path);

/* What is read; it must be right. (transfer full) */
struct config *config_files_load(struct config_files *f);

/* Reading fails, and the message has @first and @second in it. */
void config_files_assert_refused(struct config_files *f, GQuark domain, int code, const char *first,
                                 const char *second);
