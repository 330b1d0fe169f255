/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tables and bars of a benchmark: see figures.h. */
#include "tests/bench/figures.h"

#include "daemon/json.h"
#include <errno.h>
#include <glib/gstdio.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define DIRECTORY_DEFAULT "bench-results"

struct cell {
    char *text;
    double number; /* of interest if !is_text */
    gboolean is_text;
};

struct figures_table {
    char *id, *title;
    GPtrArray *columns; /* names */
    GArray *cells;      /* row after row */
    gboolean hidden;
};

struct bar {
    char *what;
    double value, limit;
};

struct figures {
    char *name, *title;
    gboolean quick;
    char *directory;
    GPtrArray *tables, *notes;
    GArray *bars;
};

/* ---- making ---- */

static void clear_cell(gpointer data)
{
    g_free(((struct cell *)data)->text);
}

static void clear_bar(gpointer data)
{
    g_free(((struct bar *)data)->what);
}

static void free_table(gpointer data)
{
    struct figures_table *table = data;

    g_free(table->id);
    g_free(table->title);
    g_ptr_array_unref(table->columns);
    g_array_unref(table->cells);
    g_free(table);
}

static void parse(struct figures *f, const GOptionEntry *options, int argc, char **argv)
{
    const GOptionEntry common[] = {
        {"quick", 0, 0, G_OPTION_ARG_NONE, &f->quick, "Seconds, not minutes; less exact", NULL},
        {"output", 0, 0, G_OPTION_ARG_FILENAME, &f->directory,
         "Where the figures and plots go (default: " DIRECTORY_DEFAULT ")", "DIRECTORY"},
        G_OPTION_ENTRY_NULL,
    };
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_autoptr(GError) error = NULL;

    g_option_context_set_summary(context, f->title);
    g_option_context_add_main_entries(context, common, NULL);
    if (options != NULL) {
        g_option_context_add_main_entries(context, options, NULL);
    }
    if (!g_option_context_parse(context, &argc, &argv, &error) || argc > 1) {
        g_printerr("bench-%s: %s; --help lists the options\n", f->name,
                   error != NULL ? error->message : "it takes no arguments");
        exit(2);
    }
}

struct figures *figures_new(const char *name, const char *title, const GOptionEntry *options,
                            int argc, char **argv)
{
    struct figures *f = g_new0(struct figures, 1);

    f->name = g_strdup(name);
    f->title = g_strdup(title);
    f->tables = g_ptr_array_new_with_free_func(free_table);
    f->notes = g_ptr_array_new_with_free_func(g_free);
    f->bars = g_array_new(FALSE, FALSE, sizeof(struct bar));
    g_array_set_clear_func(f->bars, clear_bar);
    parse(f, options, argc, argv);
    if (f->directory == NULL) {
        f->directory = g_strdup(DIRECTORY_DEFAULT);
    }
    if (g_mkdir_with_parents(f->directory, 0777) != 0) {
        g_printerr("bench-%s: %s can't be made: %s\n", name, f->directory, g_strerror(errno));
        exit(2);
    }
    return f;
}

gboolean figures_quick(const struct figures *figures)
{
    return figures->quick;
}

void figures_say(const struct figures *figures, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    g_autofree char *text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    g_printerr("# %s: %s\n", figures->name, text);
}

struct figures_table *figures_add_table(struct figures *figures, const char *id, const char *title,
                                        ...)
{
    struct figures_table *table = g_new0(struct figures_table, 1);
    va_list columns;
    const char *column;

    table->id = g_strdup(id);
    table->title = g_strdup(title);
    table->columns = g_ptr_array_new_with_free_func(g_free);
    table->cells = g_array_new(FALSE, FALSE, sizeof(struct cell));
    g_array_set_clear_func(table->cells, clear_cell);
    va_start(columns, title);
    while ((column = va_arg(columns, const char *)) != NULL) {
        g_ptr_array_add(table->columns, g_strdup(column));
    }
    va_end(columns);
    g_ptr_array_add(figures->tables, table);
    return table;
}

void figures_text(struct figures_table *table, const char *text)
{
    struct cell cell = {.text = g_strdup(text), .is_text = TRUE};

    g_array_append_val(table->cells, cell);
}

void figures_number(struct figures_table *table, double number, int decimals)
{
    struct cell cell = {.number = number};

    cell.text = isnan(number) ? g_strdup("-") : g_strdup_printf("%.*f", decimals, number);
    g_array_append_val(table->cells, cell);
}

void figures_hide(struct figures_table *table)
{
    table->hidden = TRUE;
}

void figures_note(struct figures *figures, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    g_ptr_array_add(figures->notes, g_strdup_vprintf(format, arguments));
    va_end(arguments);
}

void figures_bar(struct figures *figures, const char *what, double value, double limit)
{
    struct bar bar = {g_strdup(what), value, limit};

    g_array_append_val(figures->bars, bar);
}

/* ---- the last word ---- */

static gboolean is_met(const struct bar *bar)
{
    return bar->value <= bar->limit; /* not if it is NAN */
}

static const struct cell *cell_at(const struct figures_table *table, guint row, guint column)
{
    return &g_array_index(table->cells, struct cell, row * table->columns->len + column);
}

static guint rows_of(const struct figures_table *table)
{
    g_assert(table->cells->len % table->columns->len == 0); /* filled to the end */
    return table->cells->len / table->columns->len;
}

static int width_of(const struct figures_table *table, guint column)
{
    glong width = g_utf8_strlen(table->columns->pdata[column], -1);

    for (guint row = 0; row < rows_of(table); row++) {
        width = MAX(width, g_utf8_strlen(cell_at(table, row, column)->text, -1));
    }
    return (int)width;
}

/* Numbers to the right. printf() counts bytes, so the padding is made here. */
static void print_cell(const char *text, int width, gboolean left)
{
    int padding = width - (int)g_utf8_strlen(text, -1);

    g_print("%*s%s%*s  ", left ? 0 : padding, "", text, left ? padding : 0, "");
}

static gboolean is_text_column(const struct figures_table *table, guint column)
{
    return rows_of(table) > 0 && cell_at(table, 0, column)->is_text;
}

static void print_table(const struct figures_table *table)
{
    g_print("\n%s\n", table->title);
    for (guint column = 0; column < table->columns->len; column++) {
        print_cell(table->columns->pdata[column], width_of(table, column),
                   is_text_column(table, column));
    }
    g_print("\n");
    for (guint row = 0; row < rows_of(table); row++) {
        for (guint column = 0; column < table->columns->len; column++) {
            print_cell(cell_at(table, row, column)->text, width_of(table, column),
                       is_text_column(table, column));
        }
        g_print("\n");
    }
}

static void print_all(const struct figures *f)
{
    g_print("\n==== %s: %s\n", f->name, f->title);
    for (guint i = 0; i < f->tables->len; i++) {
        const struct figures_table *table = f->tables->pdata[i];
        if (!table->hidden) {
            print_table(table);
        }
    }
    g_print("\n");
    for (guint i = 0; i < f->notes->len; i++) {
        g_print("note: %s\n", (char *)f->notes->pdata[i]);
    }
    for (guint i = 0; i < f->bars->len; i++) {
        const struct bar *bar = &g_array_index(f->bars, struct bar, i);
        g_print("%s: %s: %.3g (at most %.3g)\n", is_met(bar) ? "held" : "MISSED", bar->what,
                bar->value, bar->limit);
    }
}

/* ---- files ---- */

static void write_data(const struct figures *f, const struct figures_table *table)
{
    g_autofree char *path = g_strdup_printf("%s/%s.dat", f->directory, table->id);
    g_autoptr(GString) text = g_string_new(NULL);
    g_autoptr(GError) error = NULL;

    for (guint column = 0; column < table->columns->len; column++) {
        g_string_append_printf(text, "%s%s", column > 0 ? "\t" : "",
                               (char *)table->columns->pdata[column]);
    }
    for (guint i = 0; i < table->cells->len; i++) {
        g_string_append_printf(text, "%s%s", i % table->columns->len > 0 ? "\t" : "\n",
                               g_array_index(table->cells, struct cell, i).text);
    }
    g_string_append_c(text, '\n');
    if (!g_file_set_contents(path, text->str, -1, &error)) {
        g_printerr("bench-%s: %s\n", f->name, error->message);
    }
}

static json_object *json_number(double number)
{
    return isfinite(number) ? json_object_new_double(number) : NULL;
}

static json_object *table_json(const struct figures_table *table)
{
    json_object *rows = json_object_new_array();

    for (guint row = 0; row < rows_of(table); row++) {
        json_object *object = json_object_new_object();
        for (guint column = 0; column < table->columns->len; column++) {
            const struct cell *cell = cell_at(table, row, column);
            json_object_object_add(object, table->columns->pdata[column],
                                   cell->is_text ? json_object_new_string(cell->text)
                                                 : json_number(cell->number));
        }
        json_object_array_add(rows, object);
    }
    return rows;
}

/* Where it was: figures of two machines must not be compared without it. */
static json_object *machine_json(void)
{
    json_object *object = json_object_new_object();
    struct utsname name;

    uname(&name);
    json_object_object_add(object, "kernel", json_object_new_string(name.release));
    json_object_object_add(object, "cpus", json_object_new_int64(sysconf(_SC_NPROCESSORS_ONLN)));
    return object;
}

static json_object *section_json(const struct figures *f)
{
    json_object *object = json_object_new_object(), *tables = json_object_new_object(),
                *bars = json_object_new_array(), *notes = json_object_new_array();
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    g_autofree char *date = g_date_time_format_iso8601(now);

    for (guint i = 0; i < f->tables->len; i++) {
        const struct figures_table *table = f->tables->pdata[i];
        json_object_object_add(tables, table->id, table_json(table));
    }
    for (guint i = 0; i < f->bars->len; i++) {
        const struct bar *bar = &g_array_index(f->bars, struct bar, i);
        json_object *entry = json_object_new_object();
        json_object_object_add(entry, "what", json_object_new_string(bar->what));
        json_object_object_add(entry, "value", json_number(bar->value));
        json_object_object_add(entry, "limit", json_number(bar->limit));
        json_object_object_add(entry, "held", json_object_new_boolean(is_met(bar)));
        json_object_array_add(bars, entry);
    }
    for (guint i = 0; i < f->notes->len; i++) {
        json_object_array_add(notes, json_object_new_string(f->notes->pdata[i]));
    }
    json_object_object_add(object, "date", json_object_new_string(date));
    json_object_object_add(object, "quick", json_object_new_boolean(f->quick));
    json_object_object_add(object, "machine", machine_json());
    json_object_object_add(object, "tables", tables);
    json_object_object_add(object, "notes", notes);
    json_object_object_add(object, "bars", bars);
    return object;
}

/* Each benchmark replaces its own part. */
static void write_json(const struct figures *f)
{
    g_autofree char *path = g_build_filename(f->directory, "bench.json", NULL);
    g_autoptr(json_object) all = json_object_from_file(path);

    if (all == NULL || !json_object_is_type(all, json_type_object)) {
        g_clear_pointer(&all, json_object_put);
        all = json_object_new_object();
    }
    json_object_object_add(all, f->name, section_json(f));
    if (json_object_to_file_ext(path, all, JSON_C_TO_STRING_PRETTY) != 0) {
        g_printerr("bench-%s: %s can't be written: %s\n", f->name, path, json_util_get_last_err());
    }
}

static void draw(const struct figures *f)
{
    const char *source = g_getenv("HVTIMER_SRCDIR");
    g_autofree char *script =
        g_strdup_printf("%s/tests/bench/%s.gp", source != NULL ? source : ".", f->name);
    g_autofree char *absolute = g_canonicalize_filename(script, NULL);
    const char *argv[] = {"gnuplot", absolute, NULL};
    g_autoptr(GError) error = NULL;
    int status = 0;

    if (!g_file_test(absolute, G_FILE_TEST_EXISTS)) {
        return;
    }
    if (!g_spawn_sync(f->directory, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL,
                      NULL, &status, &error) ||
        !g_spawn_check_wait_status(status, &error)) {
        g_printerr("bench-%s: no plots: gnuplot: %s\n", f->name, error->message);
    }
}

int figures_finish(struct figures *f)
{
    int status = EXIT_SUCCESS;

    for (guint i = 0; i < f->tables->len; i++) {
        write_data(f, f->tables->pdata[i]);
    }
    write_json(f);
    draw(f);
    print_all(f);
    for (guint i = 0; i < f->bars->len; i++) {
        status = is_met(&g_array_index(f->bars, struct bar, i)) ? status : EXIT_FAILURE;
    }
    g_ptr_array_unref(f->tables);
    g_ptr_array_unref(f->notes);
    g_array_unref(f->bars);
    g_free(f->name);
    g_free(f->title);
    g_free(f->directory);
    g_free(f);
    return status;
}
