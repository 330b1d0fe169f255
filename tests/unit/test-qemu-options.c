/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a VMM's command line says about making up lost ticks; and of processes that are none. */
#include "common/status.h"
#include "daemon/base-timer/qemu-options.h"
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define QEMU         "/usr/bin/qemu-system-x86_64\0"
#define LINES(bytes) (bytes), sizeof(bytes) - 1

#define RTC  "mc146818rtc.lost_tick_policy="
#define PIT  "kvm-pit.lost_tick_policy="
#define LONG "property=lost_tick_policy,"

static const struct line {
    const char *bytes;
    gsize length;
    gboolean rtc, pit;
} lines[] = {
    /* QEMU's defaults, and what libvirt writes for rtc and pit: delay, catchup; discard, delay. */
    {LINES(QEMU), FALSE, TRUE},
    {LINES(QEMU "-rtc\0base=utc\0"), FALSE, TRUE},
    {LINES(QEMU "-name\0guest=a\0-rtc\0base=utc,driftfix=slew\0-no-shutdown\0"), TRUE, TRUE},
    {LINES(QEMU "-rtc\0base=utc,clock=vm,driftfix=slew\0"), TRUE, TRUE},
    {LINES(QEMU "-rtc\0base=utc\0-global\0" PIT "discard\0-no-shutdown\0"), FALSE, FALSE},
    {LINES(QEMU "-rtc\0base=utc\0-global\0" PIT "delay\0-no-shutdown\0"), FALSE, TRUE},
    /* -rtc: its position within the list, two dashes, the last one holds. */
    {LINES(QEMU "-rtc\0driftfix=slew,base=utc\0"), TRUE, TRUE},
    {LINES(QEMU "--rtc\0driftfix=slew\0"), TRUE, TRUE},
    {LINES(QEMU "-rtc\0driftfix=none\0"), FALSE, TRUE},
    {LINES(QEMU "-rtc\0driftfix=slew\0-rtc\0driftfix=none\0"), FALSE, TRUE},
    {LINES(QEMU "-rtc\0driftfix=none\0-rtc\0driftfix=slew\0"), TRUE, TRUE},
    {LINES(QEMU "-rtc\0driftfix=slew\0-rtc\0base=utc\0"), TRUE, TRUE},
    {LINES(QEMU "-rtc\0driftfix=slew,driftfix=none\0"), FALSE, TRUE},
    {LINES(QEMU "-rtc\0driftfix=none,driftfix=slew\0"), TRUE, TRUE},
    /* -global: both forms, any order, the last one holds. */
    {LINES(QEMU "-global\0" RTC "slew\0"), TRUE, TRUE},
    {LINES(QEMU "--global\0" RTC "slew\0"), TRUE, TRUE},
    {LINES(QEMU "-global\0" RTC "discard\0"), FALSE, TRUE},
    {LINES(QEMU "-global\0" RTC "slew\0-global\0" RTC "discard\0"), FALSE, TRUE},
    {LINES(QEMU "-global\0" RTC "discard\0-global\0" RTC "slew\0"), TRUE, TRUE},
    {LINES(QEMU "-global\0driver=mc146818rtc," LONG "value=slew\0"), TRUE, TRUE},
    {LINES(QEMU "-global\0value=slew," LONG "driver=mc146818rtc\0"), TRUE, TRUE},
    {LINES(QEMU "-global\0driver=mc146818rtc," LONG "value=slew,value=discard\0"), FALSE, TRUE},
    {LINES(QEMU "-global\0driver=kvm-pit," LONG "value=discard\0"), FALSE, FALSE},
    {LINES(QEMU "-global\0" PIT "discard\0-global\0" PIT "delay\0"), FALSE, TRUE},
    {LINES(QEMU "-global\0" PIT "delay\0-global\0" PIT "discard\0"), FALSE, FALSE},
    {LINES(QEMU "-global\0pit-common.lost_tick_policy=discard\0"), FALSE, FALSE},
    {LINES(QEMU "-global\0" PIT "discard\0-rtc\0driftfix=slew\0"), TRUE, FALSE},
    /* -global wins, before or behind. */
    {LINES(QEMU "-rtc\0driftfix=slew\0-global\0" RTC "discard\0"), FALSE, TRUE},
    {LINES(QEMU "-global\0" RTC "discard\0-rtc\0driftfix=slew\0"), FALSE, TRUE},
    {LINES(QEMU "-global\0" RTC "slew\0-rtc\0driftfix=none\0"), TRUE, TRUE},
    /* Of other devices, or of other properties. */
    {LINES(QEMU "-global\0rtc.lost_tick_policy=slew\0"), FALSE, TRUE},
    {LINES(QEMU "-global\0mc146818rtc.base_year=slew\0"), FALSE, TRUE},
    {LINES(QEMU "-global\0mc146818rtc.lost_tick_policy_=slew\0"), FALSE, TRUE},
    {LINES(QEMU "-global\0isa-pit.lost_tick_policy=discard\0"), FALSE, TRUE},
    {LINES(QEMU "-global\0driver=mc146818rtc,property=iobase,value=slew\0"), FALSE, TRUE},
    {LINES(QEMU "-global\0driver=mc146818rtc,,x," LONG "value=slew\0"), FALSE, TRUE},
    {LINES(QEMU "-global\0driver=mc146818rtc," LONG "value=slew,,\0"), FALSE, TRUE},
    {LINES(QEMU "-global\0driver=mc146818rtc\0-global\0" LONG "value=slew\0"), FALSE, TRUE},
    {LINES(QEMU "-rtc\0base=utc,,driftfix=slew\0"), FALSE, TRUE},
    {LINES(QEMU "-rtc\0xdriftfix=slew\0"), FALSE, TRUE},
    {LINES(QEMU "-rtc\0driftfix=slewed\0"), FALSE, TRUE},
    {LINES(QEMU "-drive\0driftfix=slew\0"), FALSE, TRUE},
    {LINES(QEMU "-device\0" RTC "slew\0"), FALSE, TRUE},
    {LINES(QEMU "rtc\0driftfix=slew\0"), FALSE, TRUE},
    {LINES(QEMU "---rtc\0driftfix=slew\0"), FALSE, TRUE},
    {LINES(QEMU "-rtcx\0driftfix=slew\0"), FALSE, TRUE},
    {LINES("-rtc\0driftfix=slew\0"), FALSE, TRUE}, /* the program's name */
    /* Older ones. */
    {LINES(QEMU "-rtc-td-hack\0"), TRUE, TRUE},
    {LINES(QEMU "-no-kvm-pit-reinjection\0"), FALSE, FALSE},
    {LINES(QEMU "--no-kvm-pit-reinjection\0-rtc-td-hack\0"), TRUE, FALSE},
    {LINES(QEMU "-no-kvm-pit-reinjection\0-global\0" PIT "delay\0"), FALSE, TRUE},
    {LINES(QEMU "-rtc-td-hack\0-global\0" RTC "discard\0"), FALSE, TRUE},
    /* Broken off, or with nothing in it. */
    {LINES(QEMU "-rtc\0driftfix=slew"), TRUE, TRUE},
    {LINES(QEMU "-rtc"), FALSE, TRUE},
    {LINES(QEMU "-global\0"), FALSE, TRUE},
    {LINES(QEMU "-global\0.=\0-global\0=.\0-rtc\0,=,,,\0-global\0=,,\0"), FALSE, TRUE},
    {LINES(QEMU "\0\0-\0--\0\0-rtc\0driftfix=slew\0"), TRUE, TRUE},
    {LINES("qemu-kvm"), FALSE, TRUE},
};

static void test_lines(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(lines); i++) {
        const struct line *line = &lines[i];
        /* To the byte, for what looks behind it to be found. */
        g_autofree char *exact = g_memdup2(line->bytes, line->length);
        g_autofree char *shown = g_memdup2(line->bytes, line->length + 1);

        for (gsize c = 0; c < line->length; c++) {
            shown[c] = shown[c] == '\0' ? ' ' : shown[c];
        }
        g_test_message("%s", shown);
        g_assert_cmpint(qemu_options_make_up(exact, line->length, BASE_TIMER_RTC), ==, line->rtc);
        g_assert_cmpint(qemu_options_make_up(exact, line->length, BASE_TIMER_PIT), ==, line->pit);
        g_assert_false(qemu_options_make_up(exact, line->length, BASE_TIMER_NONE));
    }
    g_assert_false(qemu_options_make_up("", 0, BASE_TIMER_RTC));
}

/* Whatever the bytes are, it comes to an end within them. */
static void test_random(void)
{
    static const char *const pieces[] = {
        "-rtc", "-global", "driftfix=slew", RTC "slew", PIT, LONG, "driver=", ",", ",,", "=",
        ".",    "-",       "slew",          ""};

    for (unsigned i = 0; i < 5000; i++) {
        g_autoptr(GByteArray) line = g_byte_array_new();

        for (gint32 n = g_test_rand_int_range(0, 12); n > 0; n--) {
            const char *piece = pieces[g_test_rand_int_range(0, G_N_ELEMENTS(pieces))];
            gsize with_nul = (gsize)g_test_rand_int_range(0, 2);

            g_byte_array_append(line, (const guint8 *)piece, (guint)(strlen(piece) + with_nul));
        }
        g_autofree char *exact = g_memdup2(line->data, line->len);

        qemu_options_make_up(exact, line->len, BASE_TIMER_RTC);
        qemu_options_make_up(exact, line->len, BASE_TIMER_PIT);
    }
}

/* ---- processes ---- */

static void die_with_parent(G_GNUC_UNUSED gpointer data)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* A process that does nothing, and goes by the name @name. What the shell does not know are
 * parameters to it. */
static GPid start_named(const char *name, const char *option, const char *value)
{
    const char *line[] = {"/bin/sh", name,  "-c", "kill -STOP $$", /* which is itself */
                          option,    value, NULL};
    g_autoptr(GError) error = NULL;
    GPid pid = 0;

    g_spawn_async(NULL, (char **)line, NULL, G_SPAWN_FILE_AND_ARGV_ZERO | G_SPAWN_DO_NOT_REAP_CHILD,
                  die_with_parent, NULL, &pid, &error);
    g_assert_no_error(error);
    return pid;
}

static void end(GPid pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void assert_makes_up(GPid pid, enum base_timer timer, gboolean expected)
{
    g_autoptr(GError) error = NULL;
    gboolean makes_up = !expected;

    g_assert_true(qemu_makes_up(pid, timer, &makes_up, &error));
    g_assert_no_error(error);
    g_assert_cmpint(makes_up, ==, expected);
}

static void test_qemu(void)
{
    static const char *const names[] = {"/usr/bin/qemu-system-x86_64", "/usr/libexec/qemu-kvm",
                                        "kvm"};

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        GPid plain = start_named(names[i], "-rtc", "base=utc");
        GPid slews = start_named(names[i], "-rtc", "base=utc,driftfix=slew");
        GPid no_pit = start_named(names[i], "-global", PIT "discard");

        assert_makes_up(plain, BASE_TIMER_RTC, FALSE);
        assert_makes_up(plain, BASE_TIMER_PIT, TRUE);
        assert_makes_up(slews, BASE_TIMER_RTC, TRUE);
        assert_makes_up(no_pit, BASE_TIMER_PIT, FALSE);
        end(plain);
        end(slews);
        end(no_pit);
    }
}

static void test_other_vmm(void)
{
    g_autoptr(GError) error = NULL;
    gboolean makes_up = 7;
    GPid pid = start_named("crosvm", "-rtc", "driftfix=slew");

    g_assert_false(qemu_makes_up(pid, BASE_TIMER_RTC, &makes_up, &error));
    g_assert_error(error, HV_STATUS_ERROR, HV_STATUS_INVALID_PARTITION_STATE);
    g_assert_nonnull(strstr(error->message, "not a QEMU"));
    g_assert_cmpint(makes_up, ==, 7);
    assert_makes_up(pid, BASE_TIMER_PIT, TRUE);
    end(pid);
}

static void test_no_process(void)
{
    gboolean makes_up = 7;
    GPid pid = start_named("qemu", "-rtc", "base=utc");

    /* Ended, but not waited for; and gone. */
    for (unsigned i = 0; i < 2; i++) {
        g_autoptr(GError) error = NULL;
        siginfo_t info;

        if (i == 0) {
            kill(pid, SIGKILL);
            g_assert_cmpint(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), ==, 0);
        } else {
            g_assert_cmpint(waitpid(pid, NULL, 0), ==, pid);
        }
        g_assert_false(qemu_makes_up(pid, BASE_TIMER_PIT, &makes_up, &error));
        g_assert_error(error, HV_STATUS_ERROR, HV_STATUS_INVALID_PARTITION_ID);
        g_assert_cmpint(makes_up, ==, 7);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/qemu-options/lines", test_lines);
    g_test_add_func("/qemu-options/random", test_random);
    g_test_add_func("/qemu-options/qemu", test_qemu);
    g_test_add_func("/qemu-options/other-vmm", test_other_vmm);
    g_test_add_func("/qemu-options/no-process", test_no_process);
    return g_test_run();
}
