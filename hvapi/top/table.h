/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What top shows: readings of partitions become rows, with what has happened since the reading
 * before, in the order of a column. Pure: no terminal, no bus, no clock.
 */
#pragma once

#include <glib.h>
#include <hvapi/hvapi.h>

/* Of the clock error, one per reading: what a sparkline can show. */
#define TABLE_HISTORY 120

enum table_column {
    COLUMN_NAME,
    COLUMN_RATE,
    COLUMN_ACK,
    COLUMN_LOST,
    COLUMN_BACKLOG,
    COLUMN_CLOCK,
    COLUMN_P99,
    COLUMN_INJECTOR,
    COLUMN_BASE,
    COLUMNS_COUNT,
};

/* One partition, as read. The texts need not outlive the call. */
struct table_reading {
    uint64_t id;
    const char *name, *state, *injector, *base_timer;
    gboolean timer;   /* it has one, enabled; otherwise there are no figures */
    double period_ns; /* 0: not known */
    gint64 at;        /* when it was read, in microseconds */
    hvapi_statistics statistics;
};

enum table_mark {
    MARK_NONE,
    MARK_LOSING,    /* the backlog has grown, or ticks were given up */
    MARK_MAKING_UP, /* there is a backlog, and it has not grown */
};

struct table_row {
    uint64_t id;
    char *name;
    gboolean timer;
    const char *state, *injector, *base; /* static: the last in its short form */
    double rate;                         /* Hz; 0: not known */
    double acknowledged;                 /* per second; negative: not known yet */
    hvapi_statistics statistics;
    gint64 at;
    enum table_mark mark;
    uint64_t history[TABLE_HISTORY]; /* of clock_behind_ns, the oldest first */
    unsigned history_count;
    gboolean seen; /* in the last reading */
};

typedef struct table Table;

Table *table_new(void);
void table_free(Table *table);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Table, table_free)

/* A further reading: of all partitions there are, so that others are gone. */
void table_update(Table *table, const struct table_reading *readings, size_t count);
/* Nothing is known any more. */
void table_clear(Table *table);

/* Names and words from A to Z, figures from the greatest to the smallest, unless @reverse; rows
 * without figures, and then by id, at the end. Holds for later readings too. */
void table_sort(Table *table, enum table_column column, gboolean reverse);
enum table_column table_sorted_by(const Table *table);
gboolean table_is_reversed(const Table *table);

size_t table_count(const Table *table);
size_t table_count_losing(const Table *table);
const struct table_row *table_row(const Table *table, size_t index);

/* "vmx" of "vmx-preemption-timer". Static. */
const char *table_short_base(const char *base_timer);
