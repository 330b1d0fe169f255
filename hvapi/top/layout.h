/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The lines of top: which columns a width has room for, and a row as text. Pure.
 */
#pragma once

#include "hvapi/top/table.h"

/* On a line: the mark, the name, and the other columns with a blank before each. */
struct layout {
    unsigned name;      /* columns of the terminal for it */
    unsigned columns;   /* how many of enum table_column are there; the last ones go first */
    unsigned sparkline; /* 0: none */
};

/* All of it in 80; more is shared by the name and the sparkline. */
struct layout layout_for(unsigned width);

/* Where column @column is; FALSE: it is not. */
gboolean layout_find(const struct layout *layout, enum table_column column, unsigned *ret_x,
                     unsigned *ret_width);

/* No wider than the width the layout is for. (transfer full) */
char *layout_heading(const struct layout *layout);
char *layout_row(const struct layout *layout, const struct table_row *row, gboolean utf8);

/* What --sort takes: "clock". NULL-terminated, in the order of the columns. */
const char *const *layout_column_names(void);
gboolean layout_column_from_name(const char *name, enum table_column *ret_column);

/* Not for eyes only: each line has the same columns, a MARK and the whole name, and no sparkline.
 */
char *layout_plain(const Table *table, gboolean utf8);
