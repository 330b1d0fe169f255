/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The lines of top: see layout.h. */
#include "hvapi/top/layout.h"

#include "hvapi/top/figures.h"
#include "hvapi/top/sparkline.h"
#include <string.h>

#define MARK_WIDTH          1
#define NAME_WIDTH_MIN      8
#define NAME_WIDTH_USUAL    12
#define NAME_WIDTH_MAX      40
#define SPARKLINE_MIN       4
#define SPARKLINE_USUAL     9
#define SPARKLINE_SEPARATOR 1

/* The name's own width is the layout's. */
static const struct {
    const char *heading;
    unsigned width;
    gboolean left; /* else aligned to the right */
} columns[COLUMNS_COUNT] = {
    [COLUMN_NAME] = {"NAME", 0, TRUE},        [COLUMN_RATE] = {"RATE", 6, FALSE},
    [COLUMN_ACK] = {"ACK/s", 6, FALSE},       [COLUMN_LOST] = {"LOST", 5, FALSE},
    [COLUMN_BACKLOG] = {"BACKLOG", 7, FALSE}, [COLUMN_CLOCK] = {"CLOCK", 7, FALSE},
    [COLUMN_P99] = {"P99us", 6, FALSE},       [COLUMN_INJECTOR] = {"INJ", 5, TRUE},
    [COLUMN_BASE] = {"BASE", 7, TRUE},
};

static const char *const names[COLUMNS_COUNT + 1] = {"name",  "rate", "ack", "lost", "backlog",
                                                     "clock", "p99",  "inj", "base", NULL};

const char *const *layout_column_names(void)
{
    return names;
}

gboolean layout_column_from_name(const char *name, enum table_column *ret_column)
{
    for (int i = 0; i < COLUMNS_COUNT; i++) {
        if (g_ascii_strcasecmp(name, names[i]) == 0) {
            *ret_column = (enum table_column)i;
            return TRUE;
        }
    }
    return FALSE;
}

/* Takes up to @wanted of @rest. */
static unsigned take(unsigned *rest, unsigned wanted)
{
    unsigned taken = MIN(*rest, wanted);

    *rest -= taken;
    return taken;
}

struct layout layout_for(unsigned width)
{
    struct layout layout = {.columns = 1};
    unsigned rest = width > MARK_WIDTH ? width - MARK_WIDTH : 0;

    layout.name = take(&rest, NAME_WIDTH_MIN);
    while (layout.columns < COLUMNS_COUNT && rest > columns[layout.columns].width) {
        rest -= 1 + columns[layout.columns].width;
        layout.columns++;
    }
    layout.name += take(&rest, NAME_WIDTH_USUAL - NAME_WIDTH_MIN);
    if (layout.columns == COLUMNS_COUNT && rest >= SPARKLINE_SEPARATOR + SPARKLINE_MIN) {
        rest -= SPARKLINE_SEPARATOR;
        layout.sparkline = take(&rest, SPARKLINE_USUAL);
        unsigned for_name = rest / 3;
        rest -= for_name;
        layout.name += take(&for_name, NAME_WIDTH_MAX - NAME_WIDTH_USUAL);
        rest += for_name;
        layout.sparkline += take(&rest, TABLE_HISTORY - SPARKLINE_USUAL);
    }
    return layout;
}

gboolean layout_find(const struct layout *layout, enum table_column column, unsigned *ret_x,
                     unsigned *ret_width)
{
    unsigned x = MARK_WIDTH, width = layout->name;

    if ((unsigned)column >= layout->columns) {
        return FALSE;
    }
    for (int i = COLUMN_RATE; i <= (int)column; i++) {
        x += width + 1;
        width = columns[i].width;
    }
    *ret_x = x;
    *ret_width = width;
    return TRUE;
}

/* ---- cells ---- */

static char *figure_cell(const struct table_row *row, enum table_column column, unsigned width)
{
    const hvapi_statistics *s = &row->statistics;

    switch (column) {
    case COLUMN_RATE:
        return row->rate > 0 ? figure_rate(row->rate, width) : g_strdup("-");
    case COLUMN_ACK:
        return row->acknowledged >= 0 ? figure_rate(row->acknowledged, width) : g_strdup("-");
    case COLUMN_LOST:
        return figure_count(s->skipped, width);
    case COLUMN_BACKLOG:
        return figure_count(s->backlog, width);
    case COLUMN_CLOCK:
        return figure_behind(s->clock_behind_ns, width);
    default:
        return figure_microseconds(s->lateness_p99_ns, width);
    }
}

static const char *word_or_dash(const char *word)
{
    return *word == '\0' || g_str_equal(word, "none") ? "-" : word;
}

/* As long as it is. */
static char *cell(const struct table_row *row, enum table_column column, unsigned width)
{
    switch (column) {
    case COLUMN_NAME:
        return g_strdup(row->name);
    case COLUMN_INJECTOR:
        return g_strdup(word_or_dash(row->injector));
    case COLUMN_BASE:
        return g_strdup(word_or_dash(row->base));
    default:
        break;
    }
    /* A guest that stands still takes no ticks, and that is no loss. */
    if (column == COLUMN_ACK && g_str_equal(row->state, "paused")) {
        return g_strdup("paused");
    }
    if (column == COLUMN_ACK && g_str_equal(row->state, "shutoff")) {
        return g_strdup("off");
    }
    return row->timer ? figure_cell(row, column, width) : g_strdup("-");
}

static void append_aligned(GString *line, const char *text, unsigned width, gboolean left,
                           gboolean utf8)
{
    g_autofree char *fit = figure_fit(text, width, utf8);

    if (left) {
        g_string_append(line, fit);
    } else {
        g_autofree char *bare = g_strchomp(g_strdup(fit));
        size_t blanks = strlen(fit) - strlen(bare);

        g_string_append_printf(line, "%*s%s", (int)blanks, "", bare);
    }
}

char *layout_heading(const struct layout *layout)
{
    GString *line = g_string_new(" ");

    append_aligned(line, columns[COLUMN_NAME].heading, layout->name, TRUE, FALSE);
    for (unsigned i = COLUMN_RATE; i < layout->columns; i++) {
        g_string_append_c(line, ' ');
        append_aligned(line, columns[i].heading, columns[i].width, columns[i].left, FALSE);
    }
    if (layout->sparkline > 0) {
        g_string_append_c(line, ' ');
        append_aligned(line, layout->sparkline >= 11 ? "CLOCK ERROR" : "HISTORY", layout->sparkline,
                       FALSE, FALSE);
    }
    return g_string_free(line, FALSE);
}

static char mark_letter(enum table_mark mark)
{
    return mark == MARK_LOSING ? '!' : (mark == MARK_MAKING_UP ? '+' : ' ');
}

char *layout_row(const struct layout *layout, const struct table_row *row, gboolean utf8)
{
    GString *line = g_string_new(NULL);

    g_string_append_c(line, mark_letter(row->mark));
    append_aligned(line, row->name, layout->name, TRUE, utf8);
    for (unsigned i = COLUMN_RATE; i < layout->columns; i++) {
        g_autofree char *text = cell(row, (enum table_column)i, columns[i].width);

        g_string_append_c(line, ' ');
        append_aligned(line, text, columns[i].width, columns[i].left, utf8);
    }
    if (layout->sparkline > 0) {
        g_autofree char *bars =
            sparkline(row->history, row->history_count, layout->sparkline, utf8);

        g_string_append_printf(line, " %s", bars);
    }
    return g_string_free(line, FALSE);
}

/* ---- plain ---- */

static void append_plain(GString *text, unsigned name_width, const char *name, const char *mark,
                         const struct table_row *row, gboolean utf8)
{
    append_aligned(text, name, name_width, TRUE, utf8);
    for (int i = COLUMN_RATE; i < COLUMNS_COUNT; i++) {
        g_autofree char *own = row != NULL ? cell(row, (enum table_column)i, columns[i].width)
                                           : g_strdup(columns[i].heading);

        g_string_append_c(text, ' ');
        append_aligned(text, own, columns[i].width, columns[i].left, utf8);
    }
    g_string_append_printf(text, " %s\n", mark);
}

char *layout_plain(const Table *table, gboolean utf8)
{
    GString *text = g_string_new(NULL);
    unsigned width = NAME_WIDTH_MIN;

    for (size_t i = 0; i < table_count(table); i++) {
        width = MAX(width, figure_columns(table_row(table, i)->name, utf8));
    }
    append_plain(text, width, columns[COLUMN_NAME].heading, "MARK", NULL, FALSE);
    for (size_t i = 0; i < table_count(table); i++) {
        const struct table_row *row = table_row(table, i);
        const char mark[] = {row->mark == MARK_NONE ? '-' : mark_letter(row->mark), '\0'};

        append_plain(text, width, row->name, mark, row, utf8);
    }
    return g_string_free(text, FALSE);
}
