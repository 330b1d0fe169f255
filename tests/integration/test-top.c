/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* hvtimerctl top as an operator has it: on terminals of several kinds, and without one. */
#include "tests/integration/test-top-pane.h"

#include "tests/support/test.h"
#include <hvapi/hvapi.h>
#include <signal.h>
#include <string.h>

#define HEADING "NAME           RATE  ACK/s  LOST BACKLOG   CLOCK  P99us INJ   BASE"

/* A timer of 200 Hz, one of 64 Hz, and none. */
static const char config[] = "{\"models\": [\"m0\", \"m1\", \"größe-of-a-long-name\"], "
                             "\"engine\": {\"priority\": 0}}";

static void up(struct fixture *f)
{
    HV_PARTITION_ID id;

    f->quiet = TRUE;
    fixture_up(f, config);
    test_wait_until(10, hvapi_lookup_partition("größe-of-a-long-name", &id) == HV_STATUS_SUCCESS);
    g_assert_cmpint(fixture_run(f, NULL, "hvtimerctl enable m0 --period 200Hz --vector 0x50"), ==,
                    0);
    g_assert_cmpint(fixture_run(f, NULL, "hvtimerctl enable m1 --period 1/64s --vector 0x50"), ==,
                    0);
}

/* Partition m0's guest takes no ticks for so long, from now on. */
static void hold(struct fixture *f, guint64 microseconds)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GVariant) reply = g_dbus_connection_call_sync(
        f->connection, "org.hvtimer1", "/org/hvtimer1/partition/1", "org.hvtimer1.Model", "Hold",
        g_variant_new("(t)", microseconds), NULL, G_DBUS_CALL_FLAGS_NONE, -1, NULL, &error);

    g_assert_no_error(error);
}

/* The shell has the terminal again, as it was: it echoes, takes lines, and the cursor is there. */
static void assert_sane(struct pane *pane, int status)
{
    g_autofree char *expected = g_strdup_printf("status=%d", status);

    pane_wait(pane, expected);
    g_autofree char *told = pane_tell(pane, "#{alternate_on} #{cursor_flag} #{keypad_flag}");
    g_assert_cmpstr(told, ==, "0 1 0");
    pane_run(pane, "stty -a | tr -d '\\n'; echo sane\"=\"$?");
    pane_wait(pane, "sane=0");
    g_assert_null(strstr(pane->screen, "-icanon"));
    g_assert_null(strstr(pane->screen, "-echo "));
    g_assert_null(strstr(pane->screen, "-isig"));
    g_assert_null(strstr(pane->screen, "-icrnl"));
    pane_run(pane, "clear");
    pane_wait_gone(pane, "sane");
}

/* ---- on a terminal ---- */

static void test_rows(void)
{
    struct fixture f = {0};
    struct pane pane;

    up(&f);
    pane_open(&pane, &f, 80, 24);
    pane_run(&pane, "hvtimerctl top; echo status\"=\"$?");
    pane_wait(&pane, HEADING);
    pane_wait(&pane, ": 3 partitions, ");
    pane_wait(&pane, " losing ticks");
    /* Between half and double the rate. */
    pane_wait_match(&pane, "^.m0 +200 +([1-3]\\d\\d|400) .* model daemon ");
    pane_wait_match(&pane,
                    "^.m1 +64.0 +(3[2-9]|[4-9]\\d|1[01]\\d)(\\.\\d)? .* model daemon .*[▁█]$");
    pane_wait_match(&pane, "^ größe-of-a-… +- +- +- +- +- +- ");
    g_assert_cmpint(pane_width_used(&pane), ==, 80);
    pane_press(&pane, "q");
    assert_sane(&pane, 0);
    pane_close(&pane);
    fixture_down(&f);
}

/* Ticks are lost, made up, and given up. */
static void test_losing(void)
{
    struct fixture f = {0};
    struct pane pane;

    up(&f);
    pane_open(&pane, &f, 80, 24);
    pane_run(&pane, "hvtimerctl top -i 0.2");
    pane_wait_match(&pane, "^ m0 +200 +\\d");
    /* Slowly, so that it is seen to be made up. */
    g_assert_cmpint(fixture_run(&f, NULL, "hvtimerctl policy m0 --slew 5"), ==, 0);
    hold(&f, 60 * G_USEC_PER_SEC);
    pane_wait_match(&pane, "^!m0 +200 +0 +0 +\\d\\d+ +-(\\d\\d\\dms|\\d.\\d\\ds) .*[▂▃▄▅▆▇]+█$");
    pane_wait_match(&pane, "3 partitions, [1-3] losing ticks");
    hold(&f, 0);
    pane_wait_match(&pane, "^\\+m0 +200 +\\d+");
    g_assert_cmpint(fixture_run(&f, NULL, "hvtimerctl policy m0 --slew 100"), ==, 0);
    g_assert_cmpint(fixture_run(&f, NULL, "hvtimerctl reset-backlog m0"), ==, 0);
    pane_wait_match(&pane, "^.m0 +200 +[\\d.]+ +[1-9]\\d* +\\d +(0|-[\\d.]+ms) ");
    pane_wait_match(&pane, "^ m0 ");
    pane_close(&pane);
    fixture_down(&f);
}

static void test_keys(void)
{
    struct fixture f = {0};
    struct pane pane;

    up(&f);
    pane_open(&pane, &f, 80, 24);
    pane_run(&pane, "hvtimerctl top -i 0.2 --sort NAME");
    pane_wait_match(&pane, "by name  \\d\\d:\\d\\d:\\d\\d$");
    pane_wait_match(&pane, "^.größe.*\\n.m0.*\\n.m1");
    pane_press(&pane, "r");
    pane_wait(&pane, "by name, reversed  ");
    pane_wait_match(&pane, "^.m1.*\\n.m0.*\\n.größe");
    pane_press(&pane, "Right");
    pane_wait(&pane, "by rate  ");
    pane_wait_match(&pane, "^.m0.*\\n.m1.*\\n.größe");
    pane_press(&pane, "r");
    pane_wait_match(&pane, "^.m1.*\\n.m0.*\\n.größe"); /* what has none is last all the same */
    pane_press(&pane, "> > < Left Left Left");         /* not beyond the first one */
    pane_wait(&pane, "by name  ");
    pane_press(&pane, "> > > > > > > > > >");
    pane_wait(&pane, "by base  ");
    pane_press(&pane, "h");
    pane_wait(&pane, "q quit  < > column to sort by  r reverse");
    pane_press(&pane, "?");
    pane_wait(&pane, "h help  q quit");
    pane_press(&pane, "x F5 Escape"); /* nothing to it */
    pane_close(&pane);
    fixture_down(&f);
}

static void test_sizes(void)
{
    struct fixture f = {0};
    struct pane pane;

    up(&f);
    pane_open(&pane, &f, 80, 24);
    pane_run(&pane, "hvtimerctl top -i 0.2 --sort name");
    pane_wait(&pane, HEADING);
    pane_resize(&pane, 132, 24);
    pane_wait(&pane, "CLOCK ERROR");
    pane_wait(&pane, "größe-of-a-long-name ");
    g_assert_cmpint(pane_width_used(&pane), ==, 132);
    pane_resize(&pane, 40, 24);
    pane_wait_gone(&pane, "CLOCK");
    pane_wait_match(&pane, "^ NAME +RATE  ACK/s  LOST BACKLOG$");
    g_assert_cmpint(pane_width_used(&pane), <=, 40);
    pane_resize(&pane, 80, 5); /* two rows */
    pane_wait(&pane, "1-2 of 3");
    pane_press(&pane, "Down");
    pane_wait(&pane, "2-3 of 3");
    g_assert_null(strstr(pane.screen, "größe"));
    pane_press(&pane, "Down PPage");
    pane_wait(&pane, "1-2 of 3");
    pane_press(&pane, "NPage");
    pane_wait(&pane, "2-3 of 3");
    pane_press(&pane, "Home");
    pane_wait(&pane, "1-2 of 3");
    pane_resize(&pane, 8, 2);
    pane_resize(&pane, 1, 1);
    pane_resize(&pane, 80, 24);
    pane_wait_match(&pane, "^.größe.*\\n.m0.*\\n.m1");
    pane_close(&pane);
    fixture_down(&f);
}

/* It is killed, and comes back; it hangs, and goes on. */
static void test_daemon(void)
{
    struct fixture f = {0};
    struct pane pane;

    up(&f);
    pane_open(&pane, &f, 80, 24);
    pane_run(&pane, "hvtimerctl top -i 0.2; echo status\"=\"$?");
    pane_wait_match(&pane, "^.m0 ");
    fixture_kill_daemon(&f);
    pane_wait(&pane, "hvtimerd does not run on this bus; waiting for it");
    pane_wait(&pane, ": 0 partitions, 0 losing");
    g_assert_false(g_regex_match_simple("^.m0 ", pane.screen, G_REGEX_MULTILINE, 0));
    fixture_start_daemon(&f);
    pane_wait(&pane, "hvtimerd is back");
    pane_wait_match(&pane, "^.m1 ");

    g_subprocess_send_signal(f.daemon, SIGSTOP);
    pane_wait_match(&pane, "^hvtimerd has not answered for [12] s");
    pane_press(&pane, "<"); /* keys work */
    pane_wait(&pane, "by backlog");
    g_subprocess_send_signal(f.daemon, SIGCONT);
    pane_wait(&pane, "h help");
    pane_press(&pane, "q");
    assert_sane(&pane, 0);
    pane_close(&pane);
    fixture_down(&f);
}

/* Whatever ends it, or stops it, leaves a terminal that can be used. */
static void test_ends(void)
{
    struct fixture f = {0};
    struct pane pane;
    g_autofree char *pid_text = NULL;

    up(&f);
    g_autofree char *pid_file = g_build_filename(f.directory, "pid", NULL);
    g_autofree char *command =
        g_strdup_printf("sh -c 'echo $$ >%s; exec hvtimerctl top'; echo status\"=\"$?", pid_file);
    pane_open(&pane, &f, 80, 24);
    pane_run(&pane, "hvtimerctl top; echo status\"=\"$?");
    pane_wait_match(&pane, "^.m0 ");
    pane_press(&pane, "C-c");
    assert_sane(&pane, 0);
    pane_run(&pane, command);
    pane_wait_match(&pane, "^.m0 ");
    g_assert_true(g_file_get_contents(pid_file, &pid_text, NULL, NULL));
    kill(atoi(pid_text), SIGTERM);
    assert_sane(&pane, 0);
    pane_run(&pane, "hvtimerctl top -n 2 -i 0.1; echo status\"=\"$?");
    assert_sane(&pane, 0);
    pane_run(&pane, "hvtimerctl top; echo status\"=\"$?");
    pane_wait_match(&pane, "^.m0 ");
    pane_press(&pane, "C-z");
    pane_wait(&pane, "Stopped");
    assert_sane(&pane, 128 + SIGSTOP);
    pane_run(&pane, "fg; echo status\"=\"$?");
    pane_wait(&pane, HEADING);
    pane_press(&pane, "q");
    assert_sane(&pane, 0);
    pane_close(&pane);
    fixture_down(&f);
}

/* An old terminal, and a locale without UTF-8: nothing but ASCII, and the same figures. */
static void test_old_terminal(void)
{
    struct fixture f = {0};
    struct pane pane;

    up(&f);
    pane_open(&pane, &f, 80, 24);
    pane_run(&pane, "LC_ALL=C TERM=vt100 hvtimerctl top -i 0.2; echo status\"=\"$?");
    pane_wait(&pane, HEADING);
    pane_wait_match(&pane, "^ gr\\?\\?e-of-a-~ +- ");
    hold(&f, 60 * G_USEC_PER_SEC);
    pane_wait_match(&pane, "^!m0 +200 +0 .* daemon .*[-.:=+*]#$");
    g_assert_true(g_str_is_ascii(pane.screen));
    g_assert_cmpint(pane_width_used(&pane), ==, 80);
    pane_press(&pane, "q");
    assert_sane(&pane, 0);
    pane_close(&pane);
    fixture_down(&f);
}

/* One that can't be drawn on. */
static void test_dumb_terminal(void)
{
    static const char *const types[] = {"dumb", "no-such-terminal"};
    struct fixture f = {0};
    struct pane pane;

    up(&f);
    pane_open(&pane, &f, 120, 24);
    for (size_t i = 0; i < G_N_ELEMENTS(types); i++) {
        g_autofree char *line =
            g_strdup_printf("TERM=%s hvtimerctl top -i 0.2; echo status\"=\"$?", types[i]);

        pane_run(&pane, line);
        pane_wait_match(&pane, "^NAME .* MARK$");
        pane_wait_match(&pane, "^m0 ");
        assert_sane(&pane, 0);
    }
    pane_close(&pane);
    fixture_down(&f);
}

/* ---- without a terminal ---- */

static guint count_matches(const char *text, const char *pattern)
{
    g_autoptr(GRegex) regex = g_regex_new(pattern, G_REGEX_MULTILINE, 0, NULL);
    g_autoptr(GMatchInfo) info = NULL;
    guint count = 0;

    for (g_regex_match(regex, text, 0, &info); g_match_info_matches(info);
         g_match_info_next(info, NULL)) {
        count++;
    }
    return count;
}

static void test_plain(void)
{
    g_autofree char *once = NULL, *thrice = NULL;
    struct fixture f = {0};

    up(&f);
    g_assert_cmpint(fixture_run(&f, &once, "hvtimerctl top -i 0.3"), ==, 0);
    g_assert_cmpuint(count_matches(once, "^NAME +RATE +ACK/s +LOST +BACKLOG +CLOCK +P99us +INJ +"
                                         "BASE +MARK$"),
                     ==, 1);
    g_assert_cmpuint(count_matches(once, "^m0 +200 +[\\d.]+ +\\d+ +\\d+ +\\S+ +[\\d.]+ model "
                                         "daemon  [-+!]$"),
                     ==, 1);
    g_assert_cmpuint(count_matches(once, "^größe-of-a-long-name +- "), ==, 1);
    g_assert_cmpuint(count_matches(once, "\\n"), ==, 4);
    g_assert_cmpint(fixture_run(&f, &thrice, "hvtimerctl top -i 0.1 -n 3 --sort name"), ==, 0);
    g_assert_cmpuint(count_matches(thrice, "^größe.*\\nm0 .*\\nm1 "), ==, 3);
    g_assert_cmpuint(count_matches(thrice, "^$"), ==, 2);
    fixture_down(&f);
}

/* Nobody reads any more: it ends by itself. */
static void test_reader_gone(void)
{
    g_autofree char *output = NULL;
    struct fixture f = {0};

    up(&f);
    g_assert_cmpint(fixture_run(&f, &output,
                                "bash -c 'timeout 20 \"${HVTIMER_BUILDDIR:-.}\"/hvapi/hvtimerctl "
                                "top -n 0 -i 0.1 | head -n 1; echo ${PIPESTATUS[0]}'"),
                    ==, 0);
    g_assert_true(g_regex_match_simple("^NAME .*\\n0\\n$", output, 0, 0));
    g_clear_pointer(&output, g_free);
    g_assert_cmpint(fixture_run(&f, &output,
                                "bash -c 'timeout 20 \"${HVTIMER_BUILDDIR:-.}\"/hvapi/hvtimerctl "
                                "top -n 0 -i 0.1 >/dev/full'"),
                    ==, 1);
    g_assert_nonnull(strstr(output, "can't write the output"));
    fixture_down(&f);
}

static void test_usage(void)
{
    static const struct {
        const char *command;
        const char *says;
    } rows[] = {
        {"hvtimerctl top --json", "use 'list --json'"},
        {"hvtimerctl --json top", "monitor --json"},
        {"hvtimerctl top m0", "no arguments"},
        {"hvtimerctl top --sort pid", "'pid' is not a column; give one of name, rate, ack"},
        {"hvtimerctl top --interval 0", "from 0.1 to 3600"},
        {"hvtimerctl top --interval nan", "--interval"},
        {"hvtimerctl top --interval 1e9", "from 0.1 to 3600"},
        {"hvtimerctl top --interval soon", "soon"},
        {"hvtimerctl top --count -3", "--count -3"},
        {"hvtimerctl monitor --interval 0.01", "from 0.1 to 3600"},
    };
    g_autofree char *output = NULL;
    struct fixture f = {0};

    up(&f);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *text = NULL;

        g_assert_cmpint(fixture_run(&f, &text, "%s", rows[i].command), ==, 2);
        g_assert_nonnull(strstr(text, rows[i].says));
    }
    g_assert_cmpint(fixture_stop_daemon(&f), ==, 0);
    g_assert_cmpint(fixture_run(&f, &output, "hvtimerctl top"), ==, 1);
    g_assert_nonnull(strstr(output, "hvtimerd does not run on this bus"));
    fixture_down(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/top/terminal/rows", test_rows);
    g_test_add_func("/top/terminal/losing", test_losing);
    g_test_add_func("/top/terminal/keys", test_keys);
    g_test_add_func("/top/terminal/sizes", test_sizes);
    g_test_add_func("/top/terminal/daemon", test_daemon);
    g_test_add_func("/top/terminal/ends", test_ends);
    g_test_add_func("/top/terminal/old", test_old_terminal);
    g_test_add_func("/top/terminal/dumb", test_dumb_terminal);
    g_test_add_func("/top/plain", test_plain);
    g_test_add_func("/top/reader-gone", test_reader_gone);
    g_test_add_func("/top/usage", test_usage);
    return g_test_run();
}
