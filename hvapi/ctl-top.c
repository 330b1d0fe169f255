/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The verb top: a live view of all partitions on a terminal, and plain tables where there is none.
 */
#include "hvapi/ctl.h"

#include "common/status.h"
#include "hvapi/ctl-follow.h"
#include "hvapi/top/layout.h"
#include "hvapi/top/screen.h"
#include <errno.h>
#include <glib-unix.h>
#include <signal.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* How long a message that passes is shown. */
#define PASSING_US (5 * G_USEC_PER_SEC)

struct top {
    GMainLoop *loop;
    Follow *follow;
    Table *table;
    Screen *screen; /* NULL: plain */
    gboolean utf8;
    guint sources[7];
    guint count; /* readings to be shown; 0: no end */
    guint shown;
    gboolean was_gone;  /* hvtimerd */
    gboolean first;     /* the reading that others are compared with is still to come */
    gint64 asked_at;    /* for a reading that has not come yet; 0: it has, or is not awaited */
    gboolean timed_out; /* of the reading under way, not all has come */
    char *message;
    gint64 message_until; /* 0: as long as it is not replaced */
    GError *error;
};

/* ---- messages ---- */

/* Takes @text over. */
static void set_message(struct top *top, char *text, gboolean passing)
{
    g_free(top->message);
    top->message = text;
    top->message_until = passing ? g_get_monotonic_time() + PASSING_US : 0;
}

static void draw(struct top *top)
{
    g_autoptr(GDateTime) now = g_date_time_new_now_local();
    g_autofree char *time = g_date_time_format(now, "%H:%M:%S");

    if (top->screen == NULL) {
        return;
    }
    if (top->message_until != 0 && g_get_monotonic_time() > top->message_until) {
        set_message(top, g_strdup(""), FALSE);
    }
    screen_draw(top->screen, &(struct screen_view){.table = top->table,
                                                   .host = g_get_host_name(),
                                                   .time = time,
                                                   .message = top->message});
}

static void finish(struct top *top, GError *error)
{
    g_clear_error(&top->error);
    top->error = error;
    g_main_loop_quit(top->loop);
}

/* ---- readings ---- */

static gboolean is_supervised(const struct followed *p)
{
    GVariant *supervision = followed_value(p, "Supervision");
    const char *timer = "none";

    if (supervision != NULL) {
        (void)g_variant_lookup(supervision, "timer", "&s", &timer);
    }
    return !g_str_equal(timer, "none");
}

static struct table_reading reading_of(const struct followed *p)
{
    double period_ns = followed_double(p, "PeriodNs");

    return (struct table_reading){
        .id = p->id,
        .name = followed_text(p, "Name"),
        .state = followed_text(p, "State"),
        .injector = followed_text(p, "Injector"),
        .base_timer = followed_text(p, "BaseTimer"),
        .timer = is_supervised(p) || (followed_enabled(p) && period_ns > 0),
        .period_ns = period_ns,
        .at = p->read_at,
        .statistics = p->statistics,
    };
}

static void update_table(struct top *top)
{
    g_autoptr(GPtrArray) partitions = follow_partitions(top->follow);
    g_autofree struct table_reading *readings = g_new0(struct table_reading, partitions->len + 1);

    for (guint i = 0; i < partitions->len; i++) {
        readings[i] = reading_of(partitions->pdata[i]);
    }
    table_update(top->table, readings, partitions->len);
}

/* FALSE: it could not be written, and that is the end. */
static gboolean print_table(struct top *top)
{
    g_autofree char *text = layout_plain(top->table, top->utf8);

    if (printf("%s%s", top->shown > 0 ? "\n" : "", text) >= 0 && fflush(stdout) == 0) {
        return TRUE;
    }
    if (errno == EPIPE) {
        __fpurge(stdout); /* nobody reads any more, and that is no failure */
        clearerr(stdout);
        finish(top, NULL);
    } else {
        finish(top, g_error_new(G_FILE_ERROR, (gint)g_file_error_from_errno(errno),
                                "can't write the output: %s", g_strerror(errno)));
    }
    return FALSE;
}

/* A first reading has nothing to be compared with: on a screen it is there for the moment, and
 * plain it is not shown. */
static void on_settled(gpointer user_data)
{
    struct top *top = user_data;
    gboolean first = top->first;

    if (top->timed_out) {
        top->timed_out = FALSE;
        return; /* it is asked again, and asked_at goes on to say since when */
    }
    top->first = FALSE;
    top->asked_at = 0;
    update_table(top);
    if (top->was_gone) {
        top->was_gone = FALSE;
        set_message(top, g_strdup("hvtimerd is back"), TRUE);
    } else if (top->message_until == 0) {
        set_message(top, g_strdup(""), FALSE);
    }
    draw(top);
    if (first) {
        return;
    }
    if (top->screen == NULL && !print_table(top)) {
        return;
    }
    top->shown++;
    if (top->count != 0 && top->shown >= top->count) {
        finish(top, NULL);
    }
}

static void on_daemon(gboolean here, gpointer user_data)
{
    struct top *top = user_data;

    top->first = TRUE;
    top->asked_at = here ? g_get_monotonic_time() : 0;
    if (here) {
        return; /* the reading that follows says so */
    }
    if (top->screen == NULL) {
        finish(top, g_error_new_literal(G_DBUS_ERROR, G_DBUS_ERROR_SERVICE_UNKNOWN,
                                        "hvtimerd does not run on this bus"));
        return;
    }
    top->was_gone = TRUE;
    table_clear(top->table);
    set_message(top, g_strdup("hvtimerd does not run on this bus; waiting for it"), FALSE);
    draw(top);
}

static void on_failed(const GError *error, gpointer user_data)
{
    struct top *top = user_data;
    GError *copy = g_error_copy(error);

    if (top->screen == NULL || g_error_matches(error, G_DBUS_ERROR, G_DBUS_ERROR_ACCESS_DENIED) ||
        g_error_matches(error, HV_STATUS_ERROR, HV_STATUS_ACCESS_DENIED)) {
        finish(top, copy);
        return;
    }
    if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT)) {
        top->timed_out = TRUE;
        g_error_free(copy);
        return;
    }
    g_dbus_error_strip_remote_error(copy);
    set_message(top, g_strdup_printf("hvtimerd does not tell: %s", copy->message), TRUE);
    g_error_free(copy);
    draw(top);
}

static const struct follow_events events = {
    .daemon = on_daemon,
    .settled = on_settled,
    .failed = on_failed,
};

static gboolean on_time(gpointer user_data)
{
    struct top *top = user_data;
    gboolean asked = follow_read(top->follow);

    top->timed_out = top->timed_out && !asked;
    if (asked && top->asked_at == 0) {
        top->asked_at = g_get_monotonic_time();
    } else if (top->asked_at != 0) {
        gint64 seconds = (g_get_monotonic_time() - top->asked_at) / G_USEC_PER_SEC;

        if (seconds >= 1) {
            set_message(top, g_strdup_printf("hvtimerd has not answered for %d s", (int)seconds),
                        FALSE);
        }
    }
    draw(top); /* the time */
    return G_SOURCE_CONTINUE;
}

/* ---- the terminal ---- */

static void move_column(struct top *top, int by)
{
    int column = (int)table_sorted_by(top->table) + by;

    if (column >= 0 && column < COLUMNS_COUNT) {
        table_sort(top->table, (enum table_column)column, FALSE);
    }
}

static gboolean on_input(G_GNUC_UNUSED gint fd, GIOCondition condition, gpointer user_data)
{
    struct top *top = user_data;
    enum screen_key key;

    while ((key = screen_read_key(top->screen)) != KEY_OF_NOTHING) {
        if (key == KEY_OF_QUIT) {
            finish(top, NULL);
            return G_SOURCE_CONTINUE;
        }
        if (key == KEY_OF_REVERSE) {
            table_sort(top->table, table_sorted_by(top->table), !table_is_reversed(top->table));
        } else if (key != KEY_OF_VIEW) {
            move_column(top, key == KEY_OF_LEFT ? -1 : 1);
        }
    }
    if ((condition & (G_IO_HUP | G_IO_ERR)) != 0) {
        finish(top, NULL); /* the terminal is gone */
        return G_SOURCE_CONTINUE;
    }
    draw(top);
    return G_SOURCE_CONTINUE;
}

static gboolean on_end_signal(gpointer user_data)
{
    finish(user_data, NULL);
    return G_SOURCE_CONTINUE;
}

static gboolean on_resized(gpointer user_data)
{
    struct top *top = user_data;

    screen_resize(top->screen);
    draw(top);
    return G_SOURCE_CONTINUE;
}

static gboolean on_stop_signal(gint fd, G_GNUC_UNUSED GIOCondition condition, gpointer user_data)
{
    struct top *top = user_data;
    struct signalfd_siginfo info;

    if (read(fd, &info, sizeof info) == sizeof info) {
        screen_suspend(top->screen);
        draw(top);
    }
    return G_SOURCE_CONTINUE;
}

/* Ctrl-Z, which GLib has no source for, and ncurses would see to on any thread. */
static int block_stop_signal(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTSTP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Before ncurses comes, which would have the signals otherwise. */
static void add_terminal_sources(struct top *top, int stop_fd)
{
    guint *next = top->sources + 1;

    *next++ = g_unix_signal_add(SIGINT, on_end_signal, top);
    *next++ = g_unix_signal_add(SIGTERM, on_end_signal, top);
    *next++ = g_unix_signal_add(SIGHUP, on_end_signal, top);
    *next++ = g_unix_signal_add(SIGWINCH, on_resized, top);
    *next++ = g_unix_fd_add(STDIN_FILENO, G_IO_IN | G_IO_HUP | G_IO_ERR, on_input, top);
    if (stop_fd >= 0) {
        *next++ = g_unix_fd_add(stop_fd, G_IO_IN, on_stop_signal, top);
    }
}

static void remove_sources(struct top *top)
{
    for (size_t i = 0; i < G_N_ELEMENTS(top->sources); i++) {
        g_clear_handle_id(&top->sources[i], g_source_remove);
    }
}

/* ---- the verb ---- */

struct top_options {
    double interval;
    int count; /* COUNT_NOT_GIVEN */
    gboolean terminal;
    enum table_column column;
};

#define COUNT_NOT_GIVEN G_MININT

static gboolean open_screen(struct top *top, int stop_fd, GError **error)
{
    add_terminal_sources(top, stop_fd);
    top->screen = screen_new(top->utf8);
    if (top->screen == NULL) {
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_FAILED,
                            "can't use this terminal; try 'hvtimerctl top | cat'");
        return FALSE;
    }
    draw(top);
    return TRUE;
}

static gboolean run(struct top *top, const char *bus, const struct top_options *options,
                    GError **error)
{
    /* First of all: the threads that GIO makes are to have it blocked, too. */
    int stop_fd = options->terminal ? block_stop_signal() : -1;
    gboolean done;

    top->follow = follow_new(bus, &events, top, error);
    done = top->follow != NULL && (!options->terminal || open_screen(top, stop_fd, error));
    if (done) {
        top->sources[0] = g_timeout_add((guint)(options->interval * 1000), on_time, top);
        g_main_loop_run(top->loop);
    }
    screen_free(top->screen);
    remove_sources(top);
    follow_free(top->follow);
    if (stop_fd >= 0) {
        close(stop_fd);
    }
    if (top->error != NULL) {
        g_propagate_error(error, top->error);
        done = FALSE;
    }
    return done;
}

static gboolean check_options(const struct ctl *ctl, const struct top_options *options,
                              const char *sort, GError **error)
{
    if (ctl->json) {
        g_set_error_literal(error, G_OPTION_ERROR, G_OPTION_ERROR_FAILED,
                            "top is for eyes and prints no JSON; use 'list --json' for the "
                            "figures, 'monitor --json' for what happens");
        return FALSE;
    }
    if (options->count < 0 && options->count != COUNT_NOT_GIVEN) {
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "--count %d: give a number of readings, or 0 for no end", options->count);
        return FALSE;
    }
    if (options->column == COLUMNS_COUNT) {
        g_autofree char *names = g_strjoinv(", ", (char **)layout_column_names());

        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "'%s' is not a column; give one of %s", sort, names);
        return FALSE;
    }
    return follow_check_interval(options->interval, error);
}

gboolean ctl_top(struct ctl *ctl, GError **error)
{
    struct top_options o = {.interval = 1, .count = COUNT_NOT_GIVEN, .column = COLUMN_CLOCK};
    g_autofree char *sort = NULL;
    const GOptionEntry options[] = {
        {"interval", 'i', 0, G_OPTION_ARG_DOUBLE, &o.interval,
         "Time between two readings (default: 1)", "SECONDS"},
        {"count", 'n', 0, G_OPTION_ARG_INT, &o.count,
         "End after so many readings (default: 1 without a terminal, no end on one)", "N"},
        {"sort", 's', 0, G_OPTION_ARG_STRING, &sort,
         "Sort by name, rate, ack, lost, backlog, clock, p99, inj or base (default: clock)",
         "COLUMN"},
        G_OPTION_ENTRY_NULL,
    };
    g_auto(GStrv) arguments = ctl_parse(ctl, options, error);
    g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
    g_autoptr(Table) table = table_new();

    if (sort != NULL && !layout_column_from_name(sort, &o.column)) {
        o.column = COLUMNS_COUNT;
    }
    if (arguments == NULL || !check_options(ctl, &o, sort, error)) {
        return FALSE;
    }
    o.terminal = screen_is_possible();
    struct top top = {.loop = loop,
                      .table = table,
                      .utf8 = g_get_charset(NULL),
                      .first = TRUE,
                      .asked_at = g_get_monotonic_time(),
                      .message = g_strdup("")};
    top.count = o.count != COUNT_NOT_GIVEN ? (guint)o.count : (o.terminal ? 0 : 1);
    table_sort(table, o.column, FALSE);
    gboolean done = run(&top, ctl->bus, &o, error);
    g_free(top.message);
    return done;
}
