/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Figures and names as text of a bounded width, for the columns of top. Pure. Each figure is at
 * most
 * @width characters long (5 at least), and is not padded. (transfer full)
 */
#pragma once

#include <glib.h>
#include <stdint.h>

/* "1023", "123k", "1.23M" */
char *figure_count(uint64_t n, unsigned width);
/* Per second: "1024", "63.9", "18.2" */
char *figure_rate(double per_second, unsigned width);
/* How far a clock is behind: "0", "-976us", "-1.06s", "-12.3h" */
char *figure_behind(uint64_t ns, unsigned width);
/* In microseconds: "0", "12.3", "1250" */
char *figure_microseconds(uint64_t ns, unsigned width);

/* @text in exactly @width columns of a terminal, cut with an ellipsis or padded. What can't be
 * shown in one line, and without @utf8 what is not ASCII, is "?". */
char *figure_fit(const char *text, unsigned width, gboolean utf8);

/* How many columns of a terminal that takes, uncut. */
unsigned figure_columns(const char *text, gboolean utf8);
