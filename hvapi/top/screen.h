/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * top's screen and keys: the one file that knows ncurses.
 */
#pragma once

#include "hvapi/top/table.h"

/* Can the terminal of the standard input and output show a screen? */
gboolean screen_is_possible(void);

struct screen;
typedef struct screen Screen;

/* Takes the terminal over, until screen_free(). NULL: it can't be had. */
Screen *screen_new(gboolean utf8);
void screen_free(Screen *screen);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Screen, screen_free)

struct screen_view {
    const Table *table;
    const char *host;
    const char *time;
    const char *message; /* "": nothing to be said */
};

void screen_draw(Screen *screen, const struct screen_view *view);

enum screen_key {
    KEY_OF_NOTHING, /* no more of them */
    KEY_OF_QUIT,
    KEY_OF_LEFT, /* sort by the column to the left */
    KEY_OF_RIGHT,
    KEY_OF_REVERSE,
    KEY_OF_VIEW, /* the screen has seen to it: draw it again */
};

/* The next one that was pressed; does not wait. */
enum screen_key screen_read_key(Screen *screen);

/* The terminal has another size now. */
void screen_resize(Screen *screen);
/* The shell's Ctrl-Z: gives the terminal back, stops, and goes on with it when told to. */
void screen_suspend(Screen *screen);
