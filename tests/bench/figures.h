/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a benchmark has found: tables, the bars that it is held to, and where both go: to stdout, as
 * its part of DIRECTORY/bench.json, as DIRECTORY/TABLE.dat (columns between tabs, the names first),
 * and from these, drawn by tests/bench/NAME.gp, as DIRECTORY/TABLE.svg or the like.
 *
 * All of a bar's figures come from the one run: a machine that is shared is never twice the same.
 */
#pragma once

#include <glib.h>

struct figures;
struct figures_table;

/* Reads the command line, "--quick" and "--output DIRECTORY" and what @options adds (nullable);
 * exits with 2, and says why, if it is wrong. @name: of the benchmark, and of its part in the file.
 * @title: what is measured, in a line. */
struct figures *figures_new(const char *name, const char *title, const GOptionEntry *options,
                            int argc, char **argv);

/* Well under a minute for all benchmarks together is wanted, not minutes. */
gboolean figures_quick(const struct figures *figures);

/* What is being done, for whoever waits; to stderr. */
void figures_say(const struct figures *figures, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* @id: of the file. Then the columns' names, with their units, up to NULL. (transfer none) */
struct figures_table *figures_add_table(struct figures *figures, const char *id, const char *title,
                                        ...) G_GNUC_NULL_TERMINATED;
/* Fill it row by row, from left to right. NAN: not measured; "-" is shown. */
void figures_text(struct figures_table *table, const char *text);
void figures_number(struct figures_table *table, double number, int decimals);
/* A table that is for plots only, as a histogram: it is not printed. */
void figures_hide(struct figures_table *table);

/* Something that no bar is set for but whoever reads the tables has to know. */
void figures_note(struct figures *figures, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* @value must not be more than @limit. NAN: could not be measured, which misses the bar. */
void figures_bar(struct figures *figures, const char *what, double value, double limit);

/* Prints and writes all. Returns the exit status: 0, or 1 if a bar was missed. Frees @figures. */
int figures_finish(struct figures *figures);
