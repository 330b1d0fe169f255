/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The rows of top: see table.h. */
#include "hvapi/top/table.h"

#include "hvapi/ctl-behind.h"
#include <string.h>

struct table {
    GPtrArray *rows;   /* of struct table_row, in the order of column */
    GHashTable *by_id; /* the same */
    enum table_column column;
    gboolean reverse;
};

static void row_free(gpointer data)
{
    struct table_row *row = data;

    g_free(row->name);
    g_free(row);
}

Table *table_new(void)
{
    Table *table = g_new0(Table, 1);

    table->rows = g_ptr_array_new_with_free_func(row_free);
    table->by_id = g_hash_table_new(g_int64_hash, g_int64_equal);
    table->column = COLUMN_CLOCK;
    return table;
}

void table_free(Table *table)
{
    if (table != NULL) {
        g_hash_table_unref(table->by_id);
        g_ptr_array_unref(table->rows);
        g_free(table);
    }
}

const char *table_short_base(const char *base_timer)
{
    static const char *const names[][2] = {{"vmx-preemption-timer", "vmx"},
                                           {"hrtimer", "hrtimer"},
                                           {"daemon", "daemon"},
                                           {"qemu-rtc", "rtc"},
                                           {"kvm-pit", "pit"},
                                           {"none", "-"}};

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        if (g_str_equal(base_timer, names[i][0])) {
            return names[i][1];
        }
    }
    return g_intern_string(base_timer);
}

/* ---- readings ---- */

static struct table_row *find_row(Table *table, uint64_t id)
{
    struct table_row *row = g_hash_table_lookup(table->by_id, &id);

    if (row == NULL) {
        row = g_new0(struct table_row, 1);
        row->id = id;
        g_ptr_array_add(table->rows, row);
        g_hash_table_insert(table->by_id, &row->id, row);
    }
    return row;
}

static void remember(struct table_row *row, uint64_t behind_ns)
{
    if (row->history_count == TABLE_HISTORY) {
        memmove(row->history, row->history + 1, sizeof row->history - sizeof row->history[0]);
        row->history_count--;
    }
    row->history[row->history_count++] = behind_ns;
}

static enum table_mark mark_of(const hvapi_statistics *before, const hvapi_statistics *now)
{
    if (before != NULL && (now->skipped > before->skipped ||
                           (now->backlog > before->backlog && statistics_are_behind(now)))) {
        return MARK_LOSING;
    }
    return statistics_are_behind(now) ? MARK_MAKING_UP : MARK_NONE;
}

/* What has happened since the reading before, if the counts have gone on from there. */
static void compare(struct table_row *row, const struct table_reading *reading)
{
    const hvapi_statistics *before = &row->statistics, *now = &reading->statistics;
    gboolean comparable = row->timer && reading->timer && reading->at > row->at &&
                          now->acknowledged >= before->acknowledged &&
                          now->skipped >= before->skipped;

    row->acknowledged = comparable ? (double)(now->acknowledged - before->acknowledged) * 1e6 /
                                         (double)(reading->at - row->at)
                                   : -1;
    row->mark = reading->timer ? mark_of(comparable ? before : NULL, now) : MARK_NONE;
}

static void update_row(struct table_row *row, const struct table_reading *reading)
{
    compare(row, reading);
    g_free(row->name);
    row->name = g_strdup(reading->name);
    row->state = g_intern_string(reading->state);
    row->injector = g_intern_string(reading->injector);
    row->base = table_short_base(reading->base_timer);
    row->timer = reading->timer;
    row->rate = reading->timer && reading->period_ns > 0 ? 1e9 / reading->period_ns : 0;
    row->statistics = reading->statistics;
    row->at = reading->at;
    row->seen = TRUE;
    if (row->timer) {
        remember(row, reading->statistics.clock_behind_ns);
    } else {
        row->history_count = 0;
    }
}

static void sort(Table *table);

void table_update(Table *table, const struct table_reading *readings, size_t count)
{
    for (guint i = 0; i < table->rows->len; i++) {
        ((struct table_row *)table->rows->pdata[i])->seen = FALSE;
    }
    for (size_t i = 0; i < count; i++) {
        update_row(find_row(table, readings[i].id), &readings[i]);
    }
    for (guint i = table->rows->len; i > 0; i--) {
        struct table_row *row = table->rows->pdata[i - 1];

        if (!row->seen) {
            g_hash_table_remove(table->by_id, &row->id);
            g_ptr_array_remove_index(table->rows, i - 1);
        }
    }
    sort(table);
}

void table_clear(Table *table)
{
    g_hash_table_remove_all(table->by_id);
    g_ptr_array_set_size(table->rows, 0);
}

/* ---- the order ---- */

static const char *word_of(const struct table_row *row, enum table_column column)
{
    switch (column) {
    case COLUMN_NAME:
        return row->name;
    case COLUMN_INJECTOR:
        return row->injector;
    case COLUMN_BASE:
        return row->base;
    default:
        return NULL;
    }
}

/* Negative: there is none. */
static double figure_of(const struct table_row *row, enum table_column column)
{
    if (!row->timer) {
        return -1;
    }
    switch (column) {
    case COLUMN_RATE:
        return row->rate > 0 ? row->rate : -1;
    case COLUMN_ACK:
        return row->acknowledged;
    case COLUMN_LOST:
        return (double)row->statistics.skipped;
    case COLUMN_BACKLOG:
        return (double)row->statistics.backlog;
    case COLUMN_CLOCK:
        return (double)row->statistics.clock_behind_ns;
    case COLUMN_P99:
        return (double)row->statistics.lateness_p99_ns;
    default:
        return -1;
    }
}

/* As table_sort() says. Ids are last, and break every tie: rows don't change places by chance. */
static gint compare_rows(gconstpointer a, gconstpointer b, gpointer user_data)
{
    const struct table_row *first = *(const struct table_row *const *)a;
    const struct table_row *second = *(const struct table_row *const *)b;
    const Table *table = user_data;
    int order = 0;

    if (word_of(first, table->column) != NULL) {
        order = strcmp(word_of(first, table->column), word_of(second, table->column));
    } else {
        double x = figure_of(first, table->column), y = figure_of(second, table->column);

        if ((x < 0) != (y < 0)) {
            return x < 0 ? 1 : -1; /* whichever way round */
        }
        order = (x < y) - (x > y);
    }
    if (order != 0) {
        return table->reverse ? -order : order;
    }
    return (first->id > second->id) - (first->id < second->id);
}

static void sort(Table *table)
{
    g_ptr_array_sort_with_data(table->rows, compare_rows, table);
}

void table_sort(Table *table, enum table_column column, gboolean reverse)
{
    table->column = column;
    table->reverse = reverse;
    sort(table);
}

enum table_column table_sorted_by(const Table *table)
{
    return table->column;
}

gboolean table_is_reversed(const Table *table)
{
    return table->reverse;
}

/* ---- what there is ---- */

size_t table_count(const Table *table)
{
    return table->rows->len;
}

size_t table_count_losing(const Table *table)
{
    size_t count = 0;

    for (guint i = 0; i < table->rows->len; i++) {
        count += ((const struct table_row *)table->rows->pdata[i])->mark == MARK_LOSING ? 1 : 0;
    }
    return count;
}

const struct table_row *table_row(const Table *table, size_t index)
{
    return table->rows->pdata[index];
}
