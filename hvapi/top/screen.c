/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* top's screen and keys: see screen.h. */
#include "hvapi/top/screen.h"

#include "hvapi/top/figures.h"
#include "hvapi/top/layout.h"
#include <curses.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <term.h>
#include <unistd.h>

/* How long after an Escape the rest of a key's sequence may come: over a slow line, too. */
#define ESCAPE_DELAY_MS 50

/* Lines that are not rows: the header, the headings, the status. */
#define OTHER_LINES 3

enum { PAIR_LOSING = 1, PAIR_MAKING_UP };

struct screen {
    SCREEN *terminal;
    gboolean utf8;
    gboolean colour;
    gboolean help;
    size_t first; /* row at the top */
    size_t rows;  /* as last drawn */
};

gboolean screen_is_possible(void)
{
    int result;

    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO) ||
        setupterm(NULL, STDOUT_FILENO, &result) != OK) {
        return FALSE;
    }
    gboolean possible = cursor_address != NULL && clear_screen != NULL;
    del_curterm(cur_term);
    return possible;
}

Screen *screen_new(gboolean utf8)
{
    SCREEN *terminal = newterm(NULL, stdout, stdin);

    if (terminal == NULL) {
        return NULL;
    }
    Screen *screen = g_new0(Screen, 1);
    screen->terminal = terminal;
    screen->utf8 = utf8;
    set_escdelay(ESCAPE_DELAY_MS);
    cbreak();
    noecho();
    nonl();
    keypad(stdscr, TRUE);
    nodelay(stdscr, TRUE);
    curs_set(0);
    screen->colour = has_colors() && start_color() == OK && use_default_colors() == OK;
    if (screen->colour) {
        init_pair(PAIR_LOSING, COLOR_RED, -1);
        init_pair(PAIR_MAKING_UP, COLOR_YELLOW, -1);
    }
    return screen;
}

void screen_free(Screen *screen)
{
    if (screen != NULL) {
        endwin();
        delscreen(screen->terminal);
        g_free(screen);
    }
}

/* ---- drawing ---- */

/* The whole line, in one look. */
static void put_line(int y, attr_t look, const char *text, gboolean utf8)
{
    g_autofree char *fit = figure_fit(text, (unsigned)COLS, utf8);

    attrset((int)look);
    mvaddstr(y, 0, fit);
    attrset(A_NORMAL);
}

/* @left at the left and, where there is room, @right at the right. */
static void put_two(int y, attr_t look, const char *left, const char *right, gboolean utf8)
{
    unsigned used = figure_columns(left, utf8), more = figure_columns(right, utf8);

    if (used + 2 + more > (unsigned)COLS) {
        put_line(y, look, left, utf8);
        return;
    }
    g_autofree char *line =
        g_strdup_printf("%s%*s%s", left, (int)((unsigned)COLS - used - more), "", right);
    put_line(y, look, line, utf8);
}

static void draw_header(const Screen *screen, const struct screen_view *view)
{
    size_t losing = table_count_losing(view->table), count = table_count(view->table);
    g_autofree char *left = g_strdup_printf("%s: %zu partition%s, %zu losing ticks", view->host,
                                            count, count == 1 ? "" : "s", losing);
    g_autofree char *right =
        g_strdup_printf("by %s%s  %s", layout_column_names()[table_sorted_by(view->table)],
                        table_is_reversed(view->table) ? ", reversed" : "", view->time);

    put_two(0, losing > 0 ? A_BOLD : A_NORMAL, left, right, screen->utf8);
}

/* Reverse but for the column that the rows are sorted by. */
static void draw_heading(const Screen *screen, const struct screen_view *view,
                         const struct layout *layout)
{
    g_autofree char *heading = layout_heading(layout);
    unsigned x, width;

    put_line(1, A_REVERSE, heading, screen->utf8);
    if (layout_find(layout, table_sorted_by(view->table), &x, &width)) {
        mvchgat(1, (int)x, (int)width, A_BOLD | A_UNDERLINE, 0, NULL);
    }
}

static attr_t look_of(const Screen *screen, const struct table_row *row)
{
    if (row->mark == MARK_LOSING) {
        return A_BOLD | (screen->colour ? COLOR_PAIR(PAIR_LOSING) : A_REVERSE);
    }
    if (row->mark == MARK_MAKING_UP) {
        return screen->colour ? COLOR_PAIR(PAIR_MAKING_UP) : A_BOLD;
    }
    return A_NORMAL;
}

static size_t room_for_rows(void)
{
    return LINES > OTHER_LINES ? (size_t)(LINES - OTHER_LINES) : 0;
}

static void draw_rows(Screen *screen, const struct screen_view *view, const struct layout *layout)
{
    size_t count = table_count(view->table), room = room_for_rows();

    screen->rows = count;
    screen->first = MIN(screen->first, count > room ? count - room : 0);
    for (size_t i = 0; i < room && screen->first + i < count; i++) {
        const struct table_row *row = table_row(view->table, screen->first + i);
        g_autofree char *line = layout_row(layout, row, screen->utf8);

        put_line(2 + (int)i, look_of(screen, row), line, screen->utf8);
    }
}

static void draw_status(const Screen *screen, const struct screen_view *view)
{
    size_t room = room_for_rows();
    g_autofree char *place = NULL;
    const char *text = view->message;

    if (screen->help) {
        text = "q quit  < > column to sort by  r reverse  up down PgUp PgDn scroll  h less";
    } else if (*text == '\0') {
        text = "h help  q quit  ! losing ticks  + making up";
    }
    if (screen->rows > room && room > 0) {
        place = g_strdup_printf("%zu-%zu of %zu", screen->first + 1, screen->first + room,
                                screen->rows);
    }
    put_two(LINES - 1, *view->message != '\0' && !screen->help ? A_BOLD : A_NORMAL, text,
            place != NULL ? place : "", screen->utf8);
}

void screen_draw(Screen *screen, const struct screen_view *view)
{
    struct layout layout = layout_for((unsigned)COLS);

    erase();
    draw_header(screen, view);
    if (LINES > 2) {
        draw_heading(screen, view, &layout);
    }
    draw_rows(screen, view, &layout);
    if (LINES > 1) {
        draw_status(screen, view);
    }
    refresh();
}

/* ---- keys ---- */

static void scroll_by(Screen *screen, gssize rows)
{
    gssize first = (gssize)screen->first + rows;

    screen->first = first > 0 ? (size_t)first : 0; /* its other end is seen to when it is drawn */
}

static gboolean scroll_with(Screen *screen, int key)
{
    gssize page = MAX((gssize)room_for_rows(), 1);

    switch (key) {
    case KEY_UP:
        scroll_by(screen, -1);
        return TRUE;
    case KEY_DOWN:
        scroll_by(screen, 1);
        return TRUE;
    case KEY_PPAGE:
        scroll_by(screen, -page);
        return TRUE;
    case KEY_NPAGE:
    case ' ':
        scroll_by(screen, page);
        return TRUE;
    case KEY_HOME:
        screen->first = 0;
        return TRUE;
    case KEY_END:
        screen->first = screen->rows;
        return TRUE;
    default:
        return FALSE;
    }
}

enum screen_key screen_read_key(Screen *screen)
{
    int key = getch();

    switch (key) {
    case ERR:
        return KEY_OF_NOTHING;
    case 'q':
    case 'Q':
        return KEY_OF_QUIT;
    case '<':
    case ',':
    case KEY_LEFT:
        return KEY_OF_LEFT;
    case '>':
    case '.':
    case KEY_RIGHT:
        return KEY_OF_RIGHT;
    case 'r':
    case 'R':
        return KEY_OF_REVERSE;
    case 'h':
    case 'H':
    case '?':
        screen->help = !screen->help;
        return KEY_OF_VIEW;
    case 'L' & 0x1f: /* Ctrl-L: whatever has been written over it */
        clearok(curscr, TRUE);
        return KEY_OF_VIEW;
    default:
        (void)scroll_with(screen, key);
        return KEY_OF_VIEW;
    }
}

/* ---- the terminal's own affairs ---- */

void screen_resize(G_GNUC_UNUSED Screen *screen)
{
    struct winsize size;

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0) {
        resizeterm(size.ws_row, size.ws_col);
    }
}

void screen_suspend(Screen *screen)
{
    endwin();
    kill(getpid(), SIGSTOP);
    screen_resize(screen);
    clearok(curscr, TRUE);
    refresh();
}
