/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* 'hvtimerctl verify' as it is run: on this machine, whatever it is, and on one without KVM. */
#include "tests/support/test.h"
#include "tests/unit/test-verify.h"
#include <json-c/json.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* Of a child that could not be prepared. */
#define UNPREPARED 77

/* What the child is to find in the place of its own; NULL: the real. */
static const char *instead_of_modules;

static void prepare_child(G_GNUC_UNUSED gpointer data)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (instead_of_modules != NULL &&
        (unshare(geteuid() == 0 ? CLONE_NEWNS : CLONE_NEWUSER | CLONE_NEWNS) != 0 ||
         mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
         mount(instead_of_modules, "/sys/module", NULL, MS_BIND, NULL) != 0)) {
        _exit(UNPREPARED);
    }
}

/* hvtimerctl of the build tree, where there is no bus. Returns its exit status. */
static int run(char **ret_output, const char *first, const char *second)
{
    const char *directory = g_getenv("HVTIMER_BUILDDIR");
    g_autofree char *program =
        g_build_filename(directory != NULL ? directory : ".", "hvapi/hvtimerctl", NULL);
    const char *argv[] = {program, "verify", first, second, NULL};
    g_auto(GStrv) environment = g_environ_setenv(g_get_environ(), "HVTIMER_BUS_ADDRESS",
                                                 "unix:path=/nonexistent/bus", TRUE);
    g_autoptr(GError) error = NULL;
    int status;

    g_spawn_sync(NULL, (char **)argv, environment, G_SPAWN_STDERR_TO_DEV_NULL, prepare_child, NULL,
                 ret_output, NULL, &status, &error);
    g_assert_no_error(error);
    g_assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void assert_json(const char *text, const GPtrArray *findings)
{
    json_object *array = json_tokener_parse(text);

    g_assert_true(json_object_is_type(array, json_type_array));
    g_assert_cmpuint(json_object_array_length(array), ==, findings->len);
    for (guint i = 0; i < findings->len; i++) {
        const struct finding *f = findings->pdata[i];
        json_object *object = json_object_array_get_idx(array, i);
        const struct {
            const char *key, *value;
        } rows[] = {{"subject", f->subject},
                    {"level", finding_level_name(f->level)},
                    {"found", f->found},
                    {"meaning", f->meaning},
                    {"remedy", f->remedy != NULL ? f->remedy : ""}};

        g_assert_cmpint(json_object_object_length(object), ==, G_N_ELEMENTS(rows));
        for (size_t j = 0; j < G_N_ELEMENTS(rows); j++) {
            g_assert_cmpstr(json_object_get_string(json_object_object_get(object, rows[j].key)), ==,
                            rows[j].value);
        }
    }
    json_object_put(array);
}

static void assert_lines(const char *text, const GPtrArray *findings)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

    g_assert_cmpuint(g_strv_length(lines), ==, findings->len + 1);
    for (guint i = 0; i < findings->len; i++) {
        const struct finding *f = findings->pdata[i];
        g_autofree char *start =
            g_strdup_printf("%-4s  %s: %s; ", finding_level_name(f->level), f->subject, f->found);

        g_assert_true(g_str_has_prefix(lines[i], start));
        g_assert_nonnull(strstr(lines[i], f->meaning));
        g_assert_true(f->remedy == NULL || g_str_has_suffix(lines[i], f->remedy));
    }
}

/* On this machine, whatever it is. */
static void test_this_host(void)
{
    g_autoptr(GPtrArray) findings = verify_host(&this_host);
    int expected = findings_count(findings, FINDING_FAIL) != 0 ? 1 : 0;
    g_autofree char *text = NULL, *json = NULL;

    assert_sound(findings);
    g_assert_cmpint(run(&text, NULL, NULL), ==, expected);
    assert_lines(text, findings);
    g_assert_cmpint(run(&json, "--json", NULL), ==, expected);
    assert_json(json, findings);
}

static void test_usage(void)
{
    g_autofree char *text = NULL, *help = NULL;

    g_assert_cmpint(run(&text, "now", NULL), ==, 2);
    g_assert_cmpstr(text, ==, "");
    g_assert_cmpint(run(NULL, "--root", "/tmp"), ==, 2);
    g_assert_cmpint(run(&help, "--help", NULL), ==, 0);
    g_assert_nonnull(strstr(help, "warn"));
}

/* The only finding's remedy, as JSON has it, is in the text. */
static void assert_remedy(const char *text, const char *json)
{
    json_object *array = json_tokener_parse(json);
    json_object *object = json_object_array_get_idx(array, 0);
    const char *remedy = json_object_get_string(json_object_object_get(object, "remedy"));
    g_autofree char *end = g_strdup_printf("; remedy: %s\n", remedy);

    g_assert_cmpuint(strlen(remedy), >, 0);
    g_assert_true(g_str_has_suffix(text, end));
    json_object_put(array);
}

static void test_unfit(struct fake *f, G_GNUC_UNUSED gconstpointer data)
{
    g_autofree char *text = NULL, *json = NULL;
    int status;

    instead_of_modules = f->root;
    status = run(&text, NULL, NULL);
    if (status == UNPREPARED) {
        test_skip("this user may not make a mount namespace");
    } else {
        g_assert_cmpint(status, ==, 1);
        g_assert_true(g_str_has_prefix(text, "fail  kvm: no KVM module is loaded; "));
        g_assert_cmpint(run(&json, "--json", NULL), ==, 1);
        g_assert_nonnull(strstr(json, "\"level\":\"fail\""));
        assert_remedy(text, json);
    }
    instead_of_modules = NULL;
}

void add_program_tests(void)
{
    g_test_add_func("/verify/program/this-host", test_this_host);
    g_test_add_func("/verify/program/usage", test_usage);
    g_test_add("/verify/program/unfit", struct fake, NULL, fake_set_up, test_unfit, fake_tear_down);
}
