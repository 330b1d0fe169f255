/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A terminal to run programs in: see test-top-pane.h. */
#include "tests/integration/test-top-pane.h"

#include "tests/support/test.h"
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>

/* Generous: it only costs when something is wrong. */
#define PATIENCE_US (20 * G_USEC_PER_SEC)
/* Between two looks. */
#define PAUSE_US 20000

/* No status line, which would be one of ours; a terminal type that every Debian knows; and it stays
 * until it is ended. */
static const char settings[] = "set -g status off\n"
                               "set -g default-terminal screen\n"
                               "set -g exit-empty off\n";

static int tmux(struct pane *pane, char **ret_output, const char *arguments)
{
    return fixture_run(pane->fixture, ret_output, "tmux -N -u -S %s %s", pane->socket, arguments);
}

static void die_with_parent(G_GNUC_UNUSED gpointer user_data)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* Its child, and not a daemon: it ends with the test, however that ends. */
static void start_server(struct pane *pane)
{
    g_autofree char *config = g_build_filename(pane->fixture->directory, "tmux.conf", NULL);
    g_autoptr(GSubprocessLauncher) launcher =
        g_subprocess_launcher_new(G_SUBPROCESS_FLAGS_STDIN_INHERIT);
    g_autoptr(GError) error = NULL;

    g_assert_true(g_file_set_contents(config, settings, -1, NULL));
    g_subprocess_launcher_set_child_setup(launcher, die_with_parent, NULL, NULL);
    g_subprocess_launcher_setenv(launcher, "LC_ALL", "C.UTF-8", TRUE);
    g_subprocess_launcher_unsetenv(launcher, "TMUX");
    pane->server = g_subprocess_launcher_spawn(launcher, &error, "tmux", "-D", "-u", "-f", config,
                                               "-S", pane->socket, NULL);
    g_assert_no_error(error);
}

void pane_open(struct pane *pane, struct fixture *fixture, int columns, int lines)
{
    gint64 deadline = g_get_monotonic_time() + PATIENCE_US;
    g_autofree char *session = g_strdup_printf("new-session -d -x %d -y %d 'env PS1=" PANE_PROMPT
                                               " bash --noprofile --norc -i'",
                                               columns, lines);

    *pane = (struct pane){.fixture = fixture};
    pane->socket = g_build_filename(fixture->directory, "tmux", NULL);
    start_server(pane);
    while (tmux(pane, NULL, session) != 0) { /* it does not listen yet */
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        g_usleep(PAUSE_US);
    }
    pane_wait(pane, PANE_PROMPT);
}

void pane_close(struct pane *pane)
{
    (void)tmux(pane, NULL, "kill-server");
    g_subprocess_wait(pane->server, NULL, NULL);
    g_object_unref(pane->server);
    g_free(pane->socket);
    g_free(pane->screen);
}

void pane_run(struct pane *pane, const char *line)
{
    const char *directory = g_getenv("HVTIMER_BUILDDIR");
    g_autofree char *program =
        g_build_filename(directory != NULL ? directory : ".", "hvapi/hvtimerctl", NULL);
    g_autofree char *absolute = g_canonicalize_filename(program, NULL);
    g_auto(GStrv) parts = g_strsplit(line, "hvtimerctl", 2);
    g_autofree char *whole = g_strjoinv(absolute, parts);
    g_autofree char *quoted = g_shell_quote(whole);
    g_autofree char *typed = g_strdup_printf("send-keys -l -- %s", quoted);

    g_assert_cmpint(tmux(pane, NULL, typed), ==, 0);
    pane_press(pane, "Enter");
}

void pane_press(struct pane *pane, const char *keys)
{
    g_autofree char *arguments = g_strdup_printf("send-keys -- %s", keys);

    g_assert_cmpint(tmux(pane, NULL, arguments), ==, 0);
}

void pane_resize(struct pane *pane, int columns, int lines)
{
    g_autofree char *arguments = g_strdup_printf("resize-window -x %d -y %d", columns, lines);

    g_assert_cmpint(tmux(pane, NULL, arguments), ==, 0);
}

const char *pane_look(struct pane *pane)
{
    g_clear_pointer(&pane->screen, g_free);
    g_assert_cmpint(tmux(pane, &pane->screen, "capture-pane -p"), ==, 0);
    return pane->screen;
}

/* ---- waiting ---- */

typedef gboolean (*seen_func)(const char *screen, const char *text);

static void wait_for(struct pane *pane, seen_func seen, const char *text, const char *wish)
{
    gint64 deadline = g_get_monotonic_time() + PATIENCE_US;

    while (!seen(pane_look(pane), text)) {
        if (g_get_monotonic_time() > deadline) {
            g_error("the screen was to show %s '%s':\n%s", wish, text, pane->screen);
        }
        while (g_main_context_iteration(NULL, FALSE)) {
        }
        g_usleep(PAUSE_US);
    }
}

static gboolean has(const char *screen, const char *text)
{
    return strstr(screen, text) != NULL;
}

static gboolean has_not(const char *screen, const char *text)
{
    return strstr(screen, text) == NULL;
}

static gboolean matches(const char *screen, const char *pattern)
{
    return g_regex_match_simple(pattern, screen, G_REGEX_MULTILINE, 0);
}

void pane_wait(struct pane *pane, const char *text)
{
    wait_for(pane, has, text, "the text");
}

void pane_wait_gone(struct pane *pane, const char *text)
{
    wait_for(pane, has_not, text, "no more");
}

void pane_wait_match(struct pane *pane, const char *pattern)
{
    wait_for(pane, matches, pattern, "a line like");
}

/* ---- the terminal itself ---- */

int pane_width_used(struct pane *pane)
{
    g_auto(GStrv) lines = g_strsplit(pane_look(pane), "\n", -1);
    glong widest = 0;

    for (char **line = lines; *line != NULL; line++) {
        widest = MAX(widest, g_utf8_strlen(*line, -1));
    }
    return (int)widest;
}

char *pane_tell(struct pane *pane, const char *format)
{
    g_autofree char *arguments = g_strdup_printf("display-message -p '%s'", format);
    char *told;

    g_assert_cmpint(tmux(pane, &told, arguments), ==, 0);
    return g_strchomp(told);
}
