/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What 'hvtimerctl top' shows, apart from the terminal: figures in a bounded width, sparklines, and
 * rows made of readings. */
#include "hvapi/top/figures.h"
#include "hvapi/top/layout.h"
#include "hvapi/top/sparkline.h"
#include "hvapi/top/table.h"
#include <string.h>

#define SECOND G_USEC_PER_SEC

/* Takes @actual over. */
static void assert_text(char *actual, const char *expected)
{
    g_assert_cmpstr(actual, ==, expected);
    g_free(actual);
}

/* ---- figures ---- */

static void test_count(void)
{
    assert_text(figure_count(0, 5), "0");
    assert_text(figure_count(99999, 5), "99999");
    assert_text(figure_count(100000, 5), "100k");
    assert_text(figure_count(123456, 5), "123k");
    assert_text(figure_count(999499, 5), "999k");
    assert_text(figure_count(999999, 5), "1.00M"); /* and not 1000k */
    assert_text(figure_count(1234567, 5), "1.23M");
    assert_text(figure_count(1234567, 7), "1234567");
    assert_text(figure_count(G_MAXUINT64, 5), "18.4E");
}

static void test_rate(void)
{
    assert_text(figure_rate(1024, 6), "1024");
    assert_text(figure_rate(1023.6, 6), "1024");
    assert_text(figure_rate(999.6, 6), "1000");
    assert_text(figure_rate(63.97, 6), "64.0");
    assert_text(figure_rate(18.2065, 6), "18.2");
    assert_text(figure_rate(0.5, 6), "0.50");
    assert_text(figure_rate(0, 6), "0");
}

static void test_behind(void)
{
    assert_text(figure_behind(0, 7), "0");
    assert_text(figure_behind(1, 7), "-1.00ns");
    assert_text(figure_behind(976562, 7), "-977us");
    assert_text(figure_behind(999900, 7), "-1.00ms");
    assert_text(figure_behind(15625000, 7), "-15.6ms");
    assert_text(figure_behind(1056000000, 7), "-1.06s");
    assert_text(figure_behind(90 * 1000000000ull, 7), "-90.0s");
    assert_text(figure_behind(150 * 1000000000ull, 7), "-2.5min");
    assert_text(figure_behind(3 * 3600 * 1000000000ull, 7), "-3.00h");
    assert_text(figure_behind(10 * 86400 * 1000000000ull, 7), "-10.0d");
    assert_text(figure_behind(G_MAXUINT64, 7), "-585y");
}

static void test_microseconds(void)
{
    assert_text(figure_microseconds(0, 6), "0");
    assert_text(figure_microseconds(12340, 6), "12.3");
    assert_text(figure_microseconds(1250400, 6), "1250");
    assert_text(figure_microseconds(5000000000ull, 6), "5.00M");
}

/* Whatever the number: within its width, and a number. */
static void test_widths(void)
{
    for (guint64 n = 1; n < G_MAXUINT64 / 3; n = n * 3 + 1) {
        char *texts[] = {figure_count(n, 5), figure_count(n, 7), figure_rate((double)n / 1000, 6),
                         figure_behind(n, 7), figure_microseconds(n, 6)};
        const size_t widths[] = {5, 7, 6, 7, 6};

        for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
            g_assert_cmpuint(strlen(texts[i]), <=, widths[i]);
            g_assert_nonnull(strpbrk(texts[i], "0123456789"));
            g_free(texts[i]);
        }
    }
}

static void test_names(void)
{
    assert_text(figure_fit("win2003", 10, TRUE), "win2003   ");
    assert_text(figure_fit("win2003", 7, TRUE), "win2003");
    assert_text(figure_fit("win2003", 6, TRUE), "win20…");
    assert_text(figure_fit("win2003", 6, FALSE), "win20~");
    assert_text(figure_fit("größe", 6, TRUE), "größe ");
    assert_text(figure_fit("größe", 6, FALSE), "gr??e ");
    assert_text(figure_fit("時計", 5, TRUE), "時計 ");            /* two columns each */
    assert_text(figure_fit("時計時計", 6, TRUE), "時計… ");       /* half of one is none */
    assert_text(figure_fit("e\xcc\x81", 3, TRUE), "e\xcc\x81  "); /* an accent of its own */
    assert_text(figure_fit("a\nb\033[2J", 8, TRUE), "a?b?[2J ");
    assert_text(figure_fit("abc", 0, TRUE), "");
    g_assert_cmpuint(figure_columns("時計e\xcc\x81", TRUE), ==, 5);
}

static void test_sparkline(void)
{
    const uint64_t rising[] = {0, 1, 2, 3, 4, 5, 6, 7}, none[] = {0, 0, 0}, falling[] = {900, 2, 1};

    assert_text(sparkline(rising, 8, 8, TRUE), "▁▂▃▄▅▆▇█");
    assert_text(sparkline(rising, 8, 8, FALSE), "_.-:=+*#");
    assert_text(sparkline(none, 3, 3, TRUE), "▁▁▁");
    assert_text(sparkline(none, 3, 5, FALSE), "  ___");
    assert_text(sparkline(rising, 8, 2, TRUE), "▇█");       /* the last ones */
    assert_text(sparkline(falling, 3, 3, FALSE), "#..");    /* little is not nothing */
    assert_text(sparkline(falling + 1, 2, 2, FALSE), "#="); /* what is not shown doesn't scale */
    assert_text(sparkline(rising, 0, 3, TRUE), "   ");
    assert_text(sparkline(rising, 8, 0, TRUE), "");
}

/* ---- rows ---- */

static struct table_reading reading(uint64_t id, const char *name, gint64 at, uint64_t acknowledged,
                                    uint64_t backlog, uint64_t skipped)
{
    return (struct table_reading){
        .id = id,
        .name = name,
        .state = "running",
        .injector = "lapic",
        .base_timer = "vmx-preemption-timer",
        .timer = TRUE,
        .period_ns = 976562.5,
        .at = at,
        .statistics = {.acknowledged = acknowledged,
                       .backlog = backlog,
                       .skipped = skipped,
                       .clock_behind_ns = (backlog + skipped) * 976562},
    };
}

static const struct table_row *find(const Table *table, uint64_t id)
{
    for (size_t i = 0; i < table_count(table); i++) {
        if (table_row(table, i)->id == id) {
            return table_row(table, i);
        }
    }
    return NULL;
}

static const struct table_row *update(Table *table, struct table_reading r)
{
    table_update(table, &r, 1);
    return find(table, r.id);
}

/* Over the time that has really passed, whatever was asked for. */
static void test_rates(void)
{
    g_autoptr(Table) table = table_new();
    const struct table_row *row = update(table, reading(1, "a", 10 * SECOND, 5000, 0, 0));

    g_assert_cmpfloat(row->acknowledged, <, 0); /* nothing to compare it with */
    g_assert_cmpfloat(row->rate, ==, 1024);
    g_assert_cmpstr(row->base, ==, "vmx");
    row = update(table, reading(1, "a", 10 * SECOND + SECOND / 2, 5512, 0, 0));
    g_assert_cmpfloat(row->acknowledged, ==, 1024);
    row = update(table, reading(1, "a", 13 * SECOND, 5512, 0, 0));
    g_assert_cmpfloat(row->acknowledged, ==, 0);
    row = update(table, reading(1, "a", 14 * SECOND, 12, 0, 0)); /* counted anew */
    g_assert_cmpfloat(row->acknowledged, <, 0);
    row = update(table, reading(1, "a", 14 * SECOND, 13, 0, 0)); /* the same reading's time */
    g_assert_cmpfloat(row->acknowledged, <, 0);
}

static void test_marks(void)
{
    static const struct {
        uint64_t backlog, skipped;
        enum table_mark mark;
    } rows[] = {
        {0, 0, MARK_NONE},   {1, 0, MARK_NONE}, /* one that is due at the very moment */
        {5, 0, MARK_LOSING}, {9, 0, MARK_LOSING}, {9, 0, MARK_MAKING_UP}, {4, 0, MARK_MAKING_UP},
        {4, 3, MARK_LOSING}, {0, 3, MARK_NONE},   {0, 4, MARK_LOSING},    {0, 4, MARK_NONE},
    };
    g_autoptr(Table) table = table_new();

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        const struct table_row *row = update(
            table, reading(1, "a", (gint64)i * SECOND, 100 * i, rows[i].backlog, rows[i].skipped));

        g_assert_cmpint(row->mark, ==, rows[i].mark);
        g_assert_cmpuint(table_count_losing(table), ==, rows[i].mark == MARK_LOSING ? 1 : 0);
    }
}

/* What was lost before the first reading is not being lost now. */
static void test_first_marks(void)
{
    g_autoptr(Table) table = table_new();

    g_assert_cmpint(update(table, reading(1, "a", 0, 10, 0, 99))->mark, ==, MARK_NONE);
    g_assert_cmpint(update(table, reading(2, "b", 0, 10, 50, 99))->mark, ==, MARK_MAKING_UP);
}

static void test_history(void)
{
    g_autoptr(Table) table = table_new();
    const struct table_row *row = NULL;

    for (unsigned i = 0; i < TABLE_HISTORY + 5; i++) {
        row = update(table, reading(1, "a", i * SECOND, 0, i, 0));
    }
    g_assert_cmpuint(row->history_count, ==, TABLE_HISTORY);
    g_assert_cmpuint(row->history[0], ==, 5 * 976562);
    g_assert_cmpuint(row->history[TABLE_HISTORY - 1], ==, (TABLE_HISTORY + 4) * 976562);

    struct table_reading off = reading(1, "a", 1000 * SECOND, 0, 0, 0);
    off.timer = FALSE;
    g_assert_cmpuint(update(table, off)->history_count, ==, 0);
}

/* They come and go; what stays keeps what is known of it. */
static void test_come_and_go(void)
{
    g_autoptr(Table) table = table_new();
    struct table_reading two[] = {reading(1, "a", 0, 0, 0, 0), reading(7, "b", 0, 0, 0, 0)};
    struct table_reading others[] = {reading(7, "b2", SECOND, 512, 0, 0),
                                     reading(9, "c", SECOND, 0, 0, 0)};

    table_update(table, two, 2);
    g_assert_cmpuint(table_count(table), ==, 2);
    table_update(table, others, 2);
    g_assert_cmpuint(table_count(table), ==, 2);
    g_assert_null(find(table, 1));
    g_assert_cmpfloat(find(table, 7)->acknowledged, ==, 512);
    g_assert_cmpstr(find(table, 7)->name, ==, "b2");
    g_assert_cmpfloat(find(table, 9)->acknowledged, <, 0);
    table_update(table, two, 1);
    g_assert_cmpfloat(find(table, 1)->acknowledged, <, 0); /* as if it had never been there */
    table_update(table, NULL, 0);
    g_assert_cmpuint(table_count(table), ==, 0);
    table_update(table, two, 2);
    table_clear(table);
    g_assert_cmpuint(table_count(table), ==, 0);
    table_update(table, two, 2);
    g_assert_cmpuint(table_count(table), ==, 2);
}

static void assert_order(const Table *table, const char *expected)
{
    g_autoptr(GString) order = g_string_new(NULL);

    for (size_t i = 0; i < table_count(table); i++) {
        g_string_append(order, table_row(table, i)->name);
    }
    g_assert_cmpstr(order->str, ==, expected);
}

static void test_order(void)
{
    g_autoptr(Table) table = table_new();
    struct table_reading r[] = {reading(3, "d", 0, 0, 5, 0), reading(1, "c", 0, 0, 0, 9),
                                reading(2, "a", 0, 0, 5, 1), reading(4, "b", 0, 0, 0, 0)};

    r[0].period_ns = 1000000;
    r[2].injector = "pin";
    r[3].timer = FALSE; /* it has no figures */
    table_update(table, r, 4);
    g_assert_cmpint(table_sorted_by(table), ==, COLUMN_CLOCK);
    assert_order(table, "cadb"); /* the worst clock first */
    table_sort(table, COLUMN_CLOCK, TRUE);
    assert_order(table, "dacb"); /* no figure is last, whichever way */
    table_sort(table, COLUMN_NAME, FALSE);
    assert_order(table, "abcd");
    table_sort(table, COLUMN_NAME, TRUE);
    assert_order(table, "dcba");
    table_sort(table, COLUMN_BACKLOG, FALSE);
    assert_order(table, "adcb"); /* a tie: by id */
    table_sort(table, COLUMN_LOST, FALSE);
    assert_order(table, "cadb");
    table_sort(table, COLUMN_RATE, FALSE);
    assert_order(table, "cadb");
    table_sort(table, COLUMN_INJECTOR, FALSE);
    assert_order(table, "cdba");
    r[1].statistics.skipped = 0;
    table_sort(table, COLUMN_LOST, FALSE);
    table_update(table, r, 4); /* kept in order */
    assert_order(table, "acdb");
}

/* ---- lines ---- */

static void test_line(void)
{
    struct layout layout = layout_for(80);
    g_autoptr(Table) table = table_new();
    const struct table_row *row;

    update(table, reading(1, "win2003", 0, 0, 0, 0));
    row = update(table, reading(1, "win2003", SECOND, 500, 524, 3));
    assert_text(layout_heading(&layout),
                " NAME           RATE  ACK/s  LOST BACKLOG   CLOCK  P99us INJ   BASE      HISTORY");
    assert_text(layout_row(&layout, row, TRUE),
                "!win2003        1024    500     3     524  -515ms      0 lapic vmx            ▁█");
    assert_text(layout_row(&layout, row, FALSE),
                "!win2003        1024    500     3     524  -515ms      0 lapic vmx            _#");

    struct table_reading paused = reading(1, "win2003", 2 * SECOND, 500, 524, 3);
    paused.state = "paused";
    row = update(table, paused);
    assert_text(layout_row(&layout, row, FALSE),
                "+win2003        1024 paused     3     524  -515ms      0 lapic vmx           _##");
    paused.timer = FALSE;
    paused.injector = paused.base_timer = "none";
    paused.state = "running";
    row = update(table, paused);
    assert_text(layout_row(&layout, row, FALSE),
                " win2003           -      -     -       -       -      - -     -                ");
}

/* Whatever the width: not wider, and the first columns stay. */
static void test_any_width(void)
{
    g_autoptr(Table) table = table_new();
    struct table_reading wide = reading(1, "時計時計時計時計時計時計時計時計", 0, 1, 99999999, 0);
    const struct table_row *row;
    unsigned x, width;

    wide.injector = wide.base_timer = "a-word-that-is-not-known";
    wide.period_ns = 0;
    wide.statistics.lateness_p99_ns = wide.statistics.skipped = G_MAXUINT64;
    row = update(table, wide);
    for (unsigned columns = 10; columns < 300; columns++) {
        struct layout layout = layout_for(columns);
        g_autofree char *heading = layout_heading(&layout);
        g_autofree char *line = layout_row(&layout, row, TRUE);

        g_assert_cmpuint(figure_columns(heading, TRUE), <=, columns);
        g_assert_cmpuint(figure_columns(line, TRUE), ==, figure_columns(heading, TRUE));
        g_assert_true(layout_find(&layout, COLUMN_NAME, &x, &width));
        g_assert_cmpuint(width, >=, 8);
        g_assert_cmpint(layout_find(&layout, COLUMN_BASE, &x, &width), ==, columns >= 66);
        if (columns >= 66) {
            g_assert_cmpint(strncmp(heading + x, "BASE", 4), ==, 0);
        }
        g_assert_cmpint(layout.sparkline >= 9, ==, columns >= 80);
    }
    g_assert_cmpuint(layout_for(132).name, >, layout_for(80).name);
    g_assert_cmpuint(layout_for(132).sparkline, >, layout_for(80).sparkline);
}

static void test_plain(void)
{
    g_autoptr(Table) table = table_new();
    struct table_reading r[] = {reading(1, "a name of more than twelve", 0, 0, 0, 0),
                                reading(2, "b", 0, 0, 7, 0)};

    r[0].timer = FALSE;
    table_update(table, r, 2);
    assert_text(
        layout_plain(table, TRUE),
        "NAME                         RATE  ACK/s  LOST BACKLOG   CLOCK  P99us INJ   BASE    MARK\n"
        "b                            1024      -     0       7 -6.84ms      0 lapic vmx     +\n"
        "a name of more than twelve      -      -     -       -       -      - lapic vmx     -\n");
}

static void test_column_names(void)
{
    enum table_column column;
    int i = 0;

    for (const char *const *name = layout_column_names(); *name != NULL; name++) {
        g_assert_true(layout_column_from_name(*name, &column));
        g_assert_cmpint(column, ==, i++);
    }
    g_assert_cmpint(i, ==, COLUMNS_COUNT);
    g_assert_true(layout_column_from_name("CLOCK", &column));
    g_assert_cmpint(column, ==, COLUMN_CLOCK);
    g_assert_false(layout_column_from_name("", &column));
    g_assert_false(layout_column_from_name("pid", &column));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/top/figures/count", test_count);
    g_test_add_func("/top/figures/rate", test_rate);
    g_test_add_func("/top/figures/behind", test_behind);
    g_test_add_func("/top/figures/microseconds", test_microseconds);
    g_test_add_func("/top/figures/widths", test_widths);
    g_test_add_func("/top/figures/names", test_names);
    g_test_add_func("/top/sparkline", test_sparkline);
    g_test_add_func("/top/rows/rates", test_rates);
    g_test_add_func("/top/rows/marks", test_marks);
    g_test_add_func("/top/rows/first-marks", test_first_marks);
    g_test_add_func("/top/rows/history", test_history);
    g_test_add_func("/top/rows/come-and-go", test_come_and_go);
    g_test_add_func("/top/rows/order", test_order);
    g_test_add_func("/top/lines/80-columns", test_line);
    g_test_add_func("/top/lines/any-width", test_any_width);
    g_test_add_func("/top/lines/plain", test_plain);
    g_test_add_func("/top/lines/column-names", test_column_names);
    return g_test_run();
}
