/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A terminal to run programs in, and to look at: a pane of a tmux of the test's own, with a shell.
 */
#pragma once

#include "tests/support/fixture.h"

#define PANE_PROMPT "at-prompt:"

struct pane {
    struct fixture *fixture;
    GSubprocess *server;
    char *socket;
    char *screen; /* as last looked at */
};

/* After fixture_up(): what runs in it finds the fixture's bus. The shell has shown its prompt. */
void pane_open(struct pane *pane, struct fixture *fixture, int columns, int lines);
void pane_close(struct pane *pane);

/* A command line for the shell, with Enter. "hvtimerctl" is the one of the build tree. */
void pane_run(struct pane *pane, const char *line);
/* Keys as tmux names them, separated by blanks: "q", "Right", "C-z". */
void pane_press(struct pane *pane, const char *keys);
void pane_resize(struct pane *pane, int columns, int lines);

/* What is on it now: lines without the blanks at their ends. */
const char *pane_look(struct pane *pane);
/* Looks again until @text is there; fails the test after some seconds, and shows what is. */
void pane_wait(struct pane *pane, const char *text);
/* The same until @text is not there. */
void pane_wait_gone(struct pane *pane, const char *text);
/* Until a line that matches @pattern, a regular expression, is there. */
void pane_wait_match(struct pane *pane, const char *pattern);

/* The widest line, in columns of the terminal; the text has no wide characters. */
int pane_width_used(struct pane *pane);
/* tmux's own word on it, such as "#{cursor_flag}". (transfer full) */
char *pane_tell(struct pane *pane, const char *format);
