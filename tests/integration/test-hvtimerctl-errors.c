/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What hvtimerctl and hvtimerd say to wrong input, verb by verb and option by option: the exit
 * status, and that the message names what was asked, what is wrong, and what to do. Whatever is
 * refused changes nothing.
 */
#include "tests/support/fixture.h"
#include "tests/support/test.h"
#include <hvapi/hvapi.h>
#include <string.h>
#include <unistd.h>

/* Exit statuses of hvtimerctl. */
enum { DONE = 0, FAILED = 1, USAGE = 2, NO_PARTITION = 3, UNSUPPORTED = 4 };

struct row {
    const char *command; /* without "hvtimerctl"; %F: the byte 0xFF, which is no UTF-8 */
    int status;
    const char *asked, *wrong, *todo; /* parts of the message; NULL: the one before says it, too */
};

static const char config[] = "{\"models\": [\"m0\", \"m1\"], \"engine\": {\"priority\": 0}}";

static void up(struct fixture *f)
{
    HV_PARTITION_ID id;

    f->quiet = TRUE;
    fixture_up(f, config);
    test_wait_until(20, hvapi_lookup_partition("m1", &id) == HV_STATUS_SUCCESS);
    /* So that there is something to be changed, be it by putting it back to its default. */
    g_assert_cmpint(fixture_run(f, NULL, "hvtimerctl enable m0 --period 2ms --vector 0x61"), ==, 0);
    g_assert_cmpint(fixture_run(f, NULL,
                                "hvtimerctl policy m0 --policy lazy --threshold 3 --slew 50 "
                                "--limit 1000 --on-resume catchup"),
                    ==, 0);
}

/* All partitions with all their properties, as text. */
static char *everything(struct fixture *f)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GVariant) reply = g_dbus_connection_call_sync(
        f->connection, "org.hvtimer1", "/org/hvtimer1", "org.freedesktop.DBus.ObjectManager",
        "GetManagedObjects", NULL, NULL, G_DBUS_CALL_FLAGS_NONE, -1, NULL, &error);

    g_assert_no_error(error);
    return g_variant_print(reply, FALSE);
}

/* Through a shell, which makes the byte that no test's log could show. What should not go on and on
 * is ended. */
static int run(struct fixture *f, char **ret_output, const char *program, const char *command)
{
    g_auto(GStrv) parts = g_strsplit(command, "%F", 0);
    g_autofree char *with_byte = g_strjoinv("\"$(printf '\\377')\"", parts);
    g_autofree char *line = g_strdup_printf(
        "exec timeout 20 \"${HVTIMER_BUILDDIR:-.}\"/%s %s </dev/null", program, with_byte);
    g_autofree char *quoted = g_shell_quote(line);

    return fixture_run(f, ret_output, "sh -c %s", quoted);
}

static void check_row(struct fixture *f, const char *program, const struct row *row)
{
    g_autofree char *output = NULL;
    const char *parts[] = {row->asked, row->wrong, row->todo};
    int status = run(f, &output, program, row->command);

    if (status != row->status) {
        g_test_fail_printf("%s %s: exit status %d, not %d: %s", program, row->command, status,
                           row->status, output);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(parts); i++) {
        if (parts[i] != NULL && strstr(output, parts[i]) == NULL) {
            g_test_fail_printf("%s %s: does not say '%s': %s", program, row->command, parts[i],
                               output);
        }
    }
}

static void check_rows(struct fixture *f, const struct row *rows, size_t n)
{
    g_autofree char *before = everything(f);

    for (size_t i = 0; i < n; i++) {
        check_row(f, "hvapi/hvtimerctl", &rows[i]);

        g_autofree char *after = everything(f);

        if (!g_str_equal(after, before)) {
            g_test_fail_printf("%s: has changed something: %s; before: %s", rows[i].command, after,
                               before);
        }
    }
}

/* ---- the verb itself, and what all verbs have ---- */

static void test_frame(gconstpointer fixture)
{
    static const struct row rows[] = {
        {"", USAGE, "verb", "there is no", "--help"},
        {"frobnicate", USAGE, "frobnicate", "not a verb", "--help"},
        {"%F", USAGE, "not a verb", NULL, "--help"},
        {"--frobnicate list", USAGE, "--frobnicate", "Unknown", "--help"},
        {"--bus", USAGE, "--bus", "Missing argument", "--help"},
        {"--json=yes list", USAGE, "--json", "takes no value", "leave '=yes' out"},
        {"list --json=yes", USAGE, "--json", "takes no value", "leave '=yes' out"},
        {"--bus nonsense list", FAILED, "'nonsense'", "can't connect", "system, session or an"},
        {"--bus unix:path=/nowhere list", FAILED, "/nowhere", "No such file",
         "system, session or an"},
        {"--bus %F list", USAGE, "is not text in", "character set", "LC_ALL"},
    };

    check_rows((struct fixture *)fixture, rows, G_N_ELEMENTS(rows));
}

/* The lines of --help's list of verbs: "rtc DOMAIN slew|observe|off   Make up ...". */
static char **list_verbs(struct fixture *f)
{
    g_autofree char *help = NULL;

    g_assert_cmpint(fixture_run(f, &help, "hvtimerctl --help"), ==, DONE);

    char *begin = strstr(help, "Verbs:\n  ");

    g_assert_nonnull(begin);
    begin += strlen("Verbs:\n  ");
    *strstr(begin, "\n\n") = '\0';
    return g_strsplit(begin, "\n  ", 0);
}

/* What is known of every verb without knowing it. */
static void test_each_verb(gconstpointer fixture)
{
    g_auto(GStrv) verbs = NULL;
    struct fixture *f = (struct fixture *)fixture;

    verbs = list_verbs(f);
    g_assert_cmpuint(g_strv_length(verbs), >=, 13);
    for (char **line = verbs; *line != NULL; line++) {
        g_auto(GStrv) words = g_strsplit(*line, " ", 3);
        const char *verb = words[0];
        g_autofree char *too_many = g_strdup_printf("%s m0 a b c d", verb);
        g_autofree char *takes = g_strdup_printf("%s takes ", verb);
        g_autofree char *option = g_strdup_printf("%s --frobnicate", verb);
        g_autofree char *help = g_strdup_printf("Try 'hvtimerctl %s --help'", verb);
        g_autofree char *none = g_strdup_printf("%s", verb);
        const struct row rows[] = {
            {too_many, USAGE, takes, "5 given", help},
            {option, USAGE, "--frobnicate", "Unknown option", help},
            {none, USAGE, takes, "0 given", help},
        };

        /* The last is for those that take arguments: their line has some before the two blanks. */
        check_rows(f, rows, *words[1] != '\0' ? 3 : 2);
    }
}

/* ---- verb by verb ---- */

static void test_reading(gconstpointer fixture)
{
    static const struct row rows[] = {
        {"status", USAGE, "status takes DOMAIN", "0 given", "--help"},
        {"status nobody", NO_PARTITION, "\"nobody\"", "there is no partition", "hvtimerctl list"},
        {"status ''", NO_PARTITION, "\"\"", "there is no partition", "hvtimerctl list"},
        {"status 99999999999999999999", NO_PARTITION, "\"99999999999999999999\"",
         "there is no partition", "hvtimerctl list"},
        {"status %F", USAGE, "not UTF-8", NULL, "by its id"},
        {"get m0", USAGE, "get takes DOMAIN PROPERTY", "1 given", "--help"},
        {"get m0 EmulatedTimer", USAGE, "'EmulatedTimer'", "not a property",
         "EmulatedTimerPeriod or EmulatedTimerControl"},
        {"get m0 %F", USAGE, "not UTF-8", NULL, "give UTF-8"},
        {"get nobody EmulatedTimerPeriod", NO_PARTITION, "\"nobody\"", "there is no partition",
         "hvtimerctl list"},
        {"top --json", USAGE, "top", "no JSON", "list --json"},
        {"top --sort colour", USAGE, "colour", NULL, "clock"},
        {"top --count -1", USAGE, "--count -1", NULL, "give a number"},
        {"top --count x", USAGE, "x", "--count", "--help"},
        {"top --interval 0", USAGE, "--interval 0", NULL, "give seconds"},
        {"top --interval nan", USAGE, "--interval nan", NULL, "give seconds"},
        {"monitor --interval -5", USAGE, "--interval -5", NULL, "give seconds"},
        {"monitor --interval soon", USAGE, "soon", "--interval", "--help"},
        {"monitor --domain %F", USAGE, "is not text in", "character set", "LC_ALL"},
        {"metrics --json", USAGE, "metrics", "OpenMetrics", "--help"},
        {"verify --libvirt", USAGE, "--libvirt", "Missing argument", "--help"},
    };

    check_rows((struct fixture *)fixture, rows, G_N_ELEMENTS(rows));
}

static void test_set(gconstpointer fixture)
{
    static const struct row rows[] = {
        {"set m0 EmulatedTimerPeriod", USAGE, "set takes DOMAIN PROPERTY VALUE", "2 given",
         "--help"},
        {"set nobody EmulatedTimerPeriod 10000", NO_PARTITION, "\"nobody\"", NULL,
         "hvtimerctl list"},
        {"set m0 Period 10000", USAGE, "'Period'", "not a property", "EmulatedTimerPeriod or"},
        {"set m0 EmulatedTimerPeriod ''", USAGE, "''", "not a number", "give a number from 0"},
        {"set m0 EmulatedTimerPeriod 1ms", USAGE, "'1ms'", "not a number", "give a number from 0"},
        {"set m0 EmulatedTimerPeriod -1", USAGE, "-1", "Unknown option", "--help"},
        {"set m0 EmulatedTimerPeriod -- -1", USAGE, "'-1'", "not a number", "give a number"},
        {"set m0 EmulatedTimerPeriod 0x", USAGE, "'0x'", "not a number", "0x..."},
        {"set m0 EmulatedTimerPeriod 18446744073709551616", USAGE, "'18446744073709551616'",
         "out of range", "to 18446744073709551615"},
        {"set m0 EmulatedTimerPeriod 1", FAILED, "period", "shorter or longer",
         "limits.period_min"},
        {"set m0 EmulatedTimerPeriod 18446744073709551615", FAILED, "period", "shorter or longer",
         "period_max"},
        {"set m0 EmulatedTimerPeriod %F", USAGE, "not UTF-8", NULL, "give UTF-8"},
        {"set m0 EmulatedTimerControl 5", FAILED, "control", "vector below 16", NULL},
        {"set m0 EmulatedTimerControl vector=0x50,", USAGE, "'vector=0x50,'", "not a part of it",
         "give a number, or vector=N"},
        {"set m0 EmulatedTimerControl vector=256", USAGE, "'256'", "out of range", "from 0 to 255"},
        {"set m0 EmulatedTimerControl vector=0x50,speed=3", USAGE, "'speed=3'", "not a part of it",
         "destination=physical:N"},
        {"set m0 EmulatedTimerControl vector=0x50,enabled=1", USAGE, "'=1'", "takes no value",
         NULL},
        {"set m0 EmulatedTimerControl vector=0x50,vector=0x51", USAGE, "'vector=0x51'",
         "a second time", "give it once"},
        {"set m0 EmulatedTimerControl vector=0x50,destination=3", USAGE, "'3'", "not a destination",
         "give physical:N or logical:N"},
        {"set m0 EmulatedTimerControl vector=0x50,delivery=smi", USAGE, "'smi'",
         "not a delivery mode", "give fixed or lowest"},
        {"set m0 EmulatedTimerControl vector=0x50,destination=physical:256", FAILED, "control",
         "destination above 255", NULL},
        {"set m0 EmulatedTimerControl 0x2050", FAILED, "control", "reserved bits", NULL},
    };

    check_rows((struct fixture *)fixture, rows, G_N_ELEMENTS(rows));
}

static void test_enable(gconstpointer fixture)
{
    static const struct row rows[] = {
        {"enable m0", USAGE, "enable takes --period and --vector", NULL, "give both"},
        {"enable m0 --period 1ms", USAGE, "--vector", NULL, "give both"},
        {"enable m0 --vector 0x50", USAGE, "--period", NULL, "give both"},
        {"enable m0 --period", USAGE, "--period", "Missing argument", "--help"},
        {"enable m0 --period '' --vector 0x50", USAGE, "''", "not a period", "1/1024s or 1024Hz"},
        {"enable m0 --period 1 --vector 0x50", USAGE, "'1'", "its unit is missing",
         "ns, us, ms, s or Hz"},
        {"enable m0 --period 1parsec --vector 0x50", USAGE, "'1parsec'", "known unit",
         "ns, us, ms, s or Hz"},
        {"enable m0 --period -1ms --vector 0x50", USAGE, "'-1ms'", "not a period", "give a number"},
        {"enable m0 --period 0ms --vector 0x50", USAGE, "'0ms'", "zero", "give a number"},
        {"enable m0 --period 1/0s --vector 0x50", USAGE, "'1/0s'", "zero", "give a number"},
        {"enable m0 --period 99999999999999999999s --vector 0x50", USAGE, "'99999999999999999999s'",
         "too long", "give a number"},
        {"enable m0 --period 1ns --vector 0x50", FAILED, "period", "shorter or longer",
         "limits.period_min"},
        {"enable m0 --period 2h --vector 0x50", USAGE, "'2h'", "known unit", "s or Hz"},
        {"enable m0 --period 7200s --vector 0x50", FAILED, "period", "longer", "period_max"},
        {"enable m0 --period %F --vector 0x50", USAGE, "is not text in", "character set", "LC_ALL"},
        {"enable m0 --period 1ms --vector 15", USAGE, "--vector: '15'", "out of range",
         "from 16 to 255"},
        {"enable m0 --period 1ms --vector 256", USAGE, "--vector: '256'", "out of range",
         "from 16 to 255"},
        {"enable m0 --period 1ms --vector P", USAGE, "--vector: 'P'", "not a number",
         "from 16 to 255"},
        {"enable m0 --period 1ms --vector 0x50 --destination 3", USAGE, "'3'", "not a destination",
         "physical:0 or logical:0x3"},
        {"enable m0 --period 1ms --vector 0x50 --destination physical:", USAGE, "''",
         "not a number", "from 0 to 4294967295"},
        {"enable m0 --period 1ms --vector 0x50 --destination logical:4294967296", USAGE,
         "'4294967296'", "out of range", "from 0 to 4294967295"},
        {"enable m0 --period 1ms --vector 0x50 --destination physical:0x1000000", USAGE,
         "'physical:0x1000000'", "no form of its own", "give another one"},
        {"enable m0 --period 1ms --vector 0x50 --destination physical:256", FAILED, "control",
         "destination above 255", NULL},
        {"enable m0 --period 1ms --vector 0x50 --delivery nmi", USAGE, "'nmi'",
         "not a delivery mode", "give fixed or lowest"},
        {"enable m0 --period 1ms --vector 0x50 --injector pins", USAGE, "'pins'", "not an injector",
         "give auto, msi, pin, lapic or model"},
        {"enable m0 --period 1ms --vector 0x50 --injector ''", USAGE, "''", "not an injector",
         "give auto"},
        {"enable m0 --period 1ms --vector 0x50 --injector pin", UNSUPPORTED, "\"pin\"",
         "only by \"model\"", NULL},
        {"enable m0 --period 1ms --vector 0x50 --injector lapic", UNSUPPORTED, "\"lapic\"",
         "only by \"model\"", NULL},
        {"enable m0 --period 1ms --vector 0x50 --config", UNSUPPORTED, "m0",
         "no persistent configuration", "leave --config out"},
        {"enable m0 --period 1ms --vector 0x50 --live --config", UNSUPPORTED, "m0",
         "no persistent configuration", "leave --config out"},
        {"enable m0 --period 1ms --vector 0x50 --live=no", USAGE, "--live", "takes no value",
         "leave '=no' out"},
        {"enable m0 --period 1ms --vector 0x50 --config=no", USAGE, "--config", "takes no value",
         "leave '=no' out"},
        {"enable nobody --period 1ms --vector 0x50", NO_PARTITION, "\"nobody\"",
         "there is no partition", "hvtimerctl list"},
        {"disable", USAGE, "disable takes DOMAIN", "0 given", "--help"},
        {"disable m0 --config", UNSUPPORTED, "m0", "no persistent configuration",
         "leave --config out"},
        {"disable m0 --live=no", USAGE, "--live", "takes no value", "leave '=no' out"},
        {"disable 4711", NO_PARTITION, "\"4711\"", "there is no partition", "hvtimerctl list"},
    };

    check_rows((struct fixture *)fixture, rows, G_N_ELEMENTS(rows));
}

static void test_others(gconstpointer fixture)
{
    static const struct row rows[] = {
        {"rtc m1", USAGE, "rtc takes DOMAIN slew|observe|off", "1 given", "--help"},
        {"rtc m1 quickly", USAGE, "'quickly'", "not a mode", "give slew, observe or off"},
        {"rtc m1 ''", USAGE, "''", "not a mode", "give slew, observe or off"},
        {"rtc m1 %F", USAGE, "not UTF-8", NULL, "give UTF-8"},
        {"rtc m1 slew", UNSUPPORTED, "m1", "no timer that could be watched", NULL},
        {"rtc m1 slew --force=no", USAGE, "--force", "takes no value", "leave '=no' out"},
        {"rtc m1 off --config", UNSUPPORTED, "m1", "no persistent configuration",
         "leave --config out"},
        {"rtc nobody slew", NO_PARTITION, "\"nobody\"", NULL, "hvtimerctl list"},
        {"pit m1 Slew", USAGE, "'Slew'", "not a mode", "give slew, observe or off"},
        {"pit m1 observe", UNSUPPORTED, "m1", "no timer that could be watched", NULL},
        {"pit nobody off", NO_PARTITION, "\"nobody\"", NULL, "hvtimerctl list"},
        {"policy m0 --policy frantic", FAILED, "'frantic'", "policy", "\"catchup\", \"lazy\""},
        {"policy m0 --policy ''", FAILED, "''", "policy", "\"catchup\", \"lazy\""},
        {"policy m0 --policy %F", USAGE, "is not text in", "character set", "LC_ALL"},
        {"policy m0 --on-resume maybe", FAILED, "'maybe'", "on_resume", "\"freeze\" or"},
        {"policy m0 --threshold 0", FAILED, "threshold", "at least 1", NULL},
        {"policy m0 --threshold x", USAGE, "--threshold: 'x'", "not a number", "give a number"},
        {"policy m0 --threshold 4294967296", USAGE, "--threshold: '4294967296'", "out of range",
         "to 4294967295"},
        {"policy m0 --slew 4", FAILED, "slew", "5 to 700", NULL},
        {"policy m0 --slew 701", FAILED, "slew", "5 to 700", NULL},
        {"policy m0 --limit 5s", USAGE, "--limit: '5s'", "not a number", "give a number"},
        {"policy m0 --limit -1", USAGE, "--limit: '-1'", "not a number", "give a number"},
        /* One bad part, and the good ones are not taken either. */
        {"policy m0 --policy catchup --threshold 5 --slew 4", FAILED, "slew", "5 to 700", NULL},
        {"policy m0 --slew 100 --policy frantic", FAILED, "'frantic'", NULL, "\"lazy\""},
        {"policy nobody --slew 50", NO_PARTITION, "\"nobody\"", NULL, "hvtimerctl list"},
        {"reset-backlog", USAGE, "reset-backlog takes DOMAIN", "0 given", "--help"},
        {"reset-backlog nobody", NO_PARTITION, "\"nobody\"", NULL, "hvtimerctl list"},
        {"attach", USAGE, "attach takes --pid", NULL, "give the process id"},
        {"attach 4711", USAGE, "attach takes no arguments", "1 given", "--help"},
        {"attach --pid", USAGE, "--pid", "Missing argument", "--help"},
        {"attach --pid qemu", USAGE, "--pid: 'qemu'", "not a number", "from 1 to 2147483647"},
        {"attach --pid 0", USAGE, "--pid: '0'", "out of range", "from 1 to 2147483647"},
        {"attach --pid 4294967297", USAGE, "--pid: '4294967297'", "out of range",
         "from 1 to 2147483647"},
        {"attach --pid 1 --name %F", USAGE, "is not text in", "character set", "LC_ALL"},
        {"detach", USAGE, "detach takes DOMAIN", "0 given", "--help"},
        {"detach m0", UNSUPPORTED, "m0", "not one of `hvtimerctl attach`", "hvtimerctl disable"},
        {"detach nobody", NO_PARTITION, "\"nobody\"", NULL, "hvtimerctl list"},
    };

    check_rows((struct fixture *)fixture, rows, G_N_ELEMENTS(rows));
}

/* A process that is there, but is no VMM; and one that is not. */
static void test_attach_process(gconstpointer fixture)
{
    g_autofree char *mine = g_strdup_printf("attach --pid %d", getpid());
    g_autofree char *number = g_strdup_printf("%d", getpid());
    const struct row rows[] = {
        {mine, UNSUPPORTED, number, "KVM", "give the"},
        /* Linux has no process of a higher number than 2^22. */
        {"attach --pid 4194305", UNSUPPORTED, "4194305", NULL, NULL},
    };
    struct fixture *f = (struct fixture *)fixture;

    check_rows(f, rows, 1);
    g_autofree char *before = everything(f);
    g_autofree char *output = NULL;
    int status = run(f, &output, "hvapi/hvtimerctl", rows[1].command);
    g_autofree char *after = everything(f);
    g_assert_cmpint(status, !=, DONE);
    g_assert_cmpint(status, !=, USAGE);
    g_assert_nonnull(strstr(output, rows[1].asked));
    g_assert_cmpstr(after, ==, before);
}

/* ---- without a daemon ---- */

static void test_no_daemon(gconstpointer fixture)
{
    static const char *const commands[] = {
        "list",
        "status m0",
        "get m0 EmulatedTimerPeriod",
        "set m0 EmulatedTimerPeriod 10000",
        "enable m0 --period 1ms --vector 0x50",
        "disable m0",
        "rtc m0 slew",
        "pit m0 off",
        "policy m0",
        "policy m0 --slew 50",
        "reset-backlog m0",
        "attach --pid 1",
        "detach m0",
        "metrics",
        "list --json",
    };
    struct fixture *f = (struct fixture *)fixture;

    g_assert_cmpint(fixture_stop_daemon(f), ==, 0);
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        check_row(f, "hvapi/hvtimerctl",
                  &(struct row){commands[i], FAILED, "hvtimerd", "does not run on this bus",
                                "systemctl start hvtimerd"});
    }
}

/* ---- hvtimerd's own ---- */

static void test_daemon(gconstpointer fixture)
{
    struct fixture *f = (struct fixture *)fixture;

    g_autofree char *other = g_build_filename(f->directory, "other.json", NULL);
    g_autofree char *text = g_strdup_printf("{\"state_directory\": \"%s/other\"}", f->directory);
    g_autoptr(GError) error = NULL;

    g_assert_true(g_file_set_contents(other, text, -1, &error));

    g_autofree char *bus = g_strdup_printf("--config %s --libvirt none --bus nonsense", other);
    g_autofree char *no_bus =
        g_strdup_printf("--config %s --libvirt none --bus unix:path=/nowhere", other);
    const struct row rows[] = {
        {"--frobnicate", USAGE, "--frobnicate", "Unknown option", NULL},
        {"start", USAGE, "\"start\"", "not an option", "--help"},
        {"--config", USAGE, "--config", "Missing argument", NULL},
        {"--config /nowhere.json", FAILED, "/nowhere.json", "No such file", NULL},
        {"--check-config --config /nowhere.json", FAILED, "/nowhere.json", "No such file", NULL},
        {"--check-config --config /", FAILED, "can't read /", "directory", NULL},
        {"--check-config --config /dev/null", FAILED, "/dev/null:1", "strict JSON", "correct it"},
        {"--libvirt nonsense", USAGE, "--libvirt: 'nonsense'", "not the URI",
         "such as qemu:///system, or none"},
        {"--libvirt ''", USAGE, "--libvirt: ''", "not the URI", "or none"},
        {bus, FAILED, "'nonsense'", "can't connect", "system, session or an"},
        {no_bus, FAILED, "/nowhere", "can't connect", "system, session or an"},
    };

    g_autofree char *before = everything(f);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        check_row(f, "daemon/hvtimerd", &rows[i]);
    }
    g_autofree char *after = everything(f); /* the one that runs was not disturbed */
    g_assert_cmpstr(after, ==, before);
}

/* One daemon for all: whatever is refused leaves it as it was. The last test ends it. */
int main(int argc, char **argv)
{
    static const struct {
        const char *path;
        GTestDataFunc run;
    } tests[] = {{"/errors/frame", test_frame},
                 {"/errors/each-verb", test_each_verb},
                 {"/errors/reading", test_reading},
                 {"/errors/set", test_set},
                 {"/errors/enable", test_enable},
                 {"/errors/others", test_others},
                 {"/errors/attach-process", test_attach_process},
                 {"/errors/daemon", test_daemon},
                 {"/errors/no-daemon", test_no_daemon}};
    struct fixture f = {0};

    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_test_add_data_func(tests[i].path, &f, tests[i].run);
    }
    up(&f);
    int status = g_test_run();
    fixture_down(&f);
    return status;
}
