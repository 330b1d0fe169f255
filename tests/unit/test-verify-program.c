/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* 'hvtimerctl verify' as it is run: on this machine, whatever it is, on one without KVM, on a
 * terminal, and where libvirt and the bus hang. */
#include "tests/support/test.h"
#include "tests/unit/test-verify.h"
#include <json-c/json.h>
#include <pty.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
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

#define NO_BUS "unix:path=/nonexistent/bus"

/* hvtimerctl of the build tree. NULL @output: it goes to descriptor @fd. Returns its exit status.
 */
static int run_on(const char *const *arguments, int fd, char **ret_output)
{
    const char *directory = g_getenv("HVTIMER_BUILDDIR");
    g_autofree char *program =
        g_build_filename(directory != NULL ? directory : ".", "hvapi/hvtimerctl", NULL);
    g_autoptr(GStrvBuilder) argv = g_strv_builder_new();
    g_auto(GStrv) words = NULL;
    g_autoptr(GError) error = NULL;
    g_autoptr(GSubprocessLauncher) launcher = g_subprocess_launcher_new(
        G_SUBPROCESS_FLAGS_STDERR_SILENCE | (fd < 0 ? G_SUBPROCESS_FLAGS_STDOUT_PIPE : 0));
    g_autoptr(GSubprocess) process = NULL;

    g_strv_builder_add_many(argv, program, "verify", NULL);
    g_strv_builder_addv(argv, (const char **)arguments);
    words = g_strv_builder_end(argv);
    g_subprocess_launcher_set_child_setup(launcher, prepare_child, NULL, NULL);
    if (fd >= 0) {
        g_subprocess_launcher_take_stdout_fd(launcher, fd);
    }
    process = g_subprocess_launcher_spawnv(launcher, (const char *const *)words, &error);
    g_assert_no_error(error);
    g_subprocess_communicate_utf8(process, NULL, NULL, ret_output, NULL, &error);
    g_assert_no_error(error);
    g_assert_true(g_subprocess_get_if_exited(process));
    return g_subprocess_get_exit_status(process);
}

/* Where there is no bus, and without libvirt. */
static int run(char **ret_output, const char *first, const char *second)
{
    const char *const arguments[] = {"--bus", NO_BUS, "--libvirt", "none", first, second, NULL};

    return run_on(arguments, -1, ret_output);
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
    struct services *services = services_ask(NO_BUS, NULL);
    g_autoptr(GPtrArray) findings = verify_host(&this_host, services);
    int expected = findings_count(findings, FINDING_FAIL) != 0 ? 1 : 0;
    g_autofree char *text = NULL, *json = NULL;

    services_free(services);
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

/* The one of @subject, in what --json printed. (transfer full) */
static json_object *find_in_json(const char *json, const char *subject)
{
    json_object *array = json_tokener_parse(json), *found = NULL;

    for (size_t i = 0; found == NULL && i < json_object_array_length(array); i++) {
        json_object *object = json_object_array_get_idx(array, i);

        if (g_str_equal(json_object_get_string(json_object_object_get(object, "subject")),
                        subject)) {
            found = json_object_get(object);
        }
    }
    g_assert_nonnull(found);
    json_object_put(array);
    return found;
}

static const char *get(json_object *object, const char *key)
{
    return json_object_get_string(json_object_object_get(object, key));
}

static void test_unfit(struct fake *f, G_GNUC_UNUSED gconstpointer data)
{
    g_autofree char *text = NULL, *json = NULL, *line = NULL;
    json_object *kvm;
    int status;

    instead_of_modules = f->root;
    status = run(&text, NULL, NULL);
    if (status == UNPREPARED) {
        test_skip("this user may not make a mount namespace");
        instead_of_modules = NULL;
        return;
    }
    g_assert_cmpint(status, ==, 1);
    g_assert_cmpint(run(&json, "--json", NULL), ==, 1);
    instead_of_modules = NULL;
    kvm = find_in_json(json, "kvm");
    g_assert_cmpstr(get(kvm, "level"), ==, "fail");
    g_assert_cmpstr(get(kvm, "found"), ==, "no KVM module is loaded");
    g_assert_cmpuint(strlen(get(kvm, "remedy")), >, 0);
    line = g_strdup_printf("\nfail  kvm: %s; %s; remedy: %s\n", get(kvm, "found"),
                           get(kvm, "meaning"), get(kvm, "remedy"));
    g_assert_nonnull(strstr(text, line));
    json_object_put(kvm);
}

/* ---- on a terminal ---- */

static gpointer run_in_thread(gpointer fd)
{
    static const char *const arguments[] = {"--bus", NO_BUS, "--libvirt", "none", NULL};

    run_on(arguments, GPOINTER_TO_INT(fd), NULL);
    return NULL;
}

/* What it prints on a terminal of @columns. (transfer full) */
static char *run_on_terminal(unsigned short columns)
{
    struct winsize size = {.ws_row = 24, .ws_col = columns};
    GString *text = g_string_new(NULL);
    char buffer[4096];
    ssize_t got;
    int master, slave;

    g_assert_cmpint(openpty(&master, &slave, NULL, NULL, &size), ==, 0);
    GThread *runner = g_thread_new("run", run_in_thread, GINT_TO_POINTER(slave));
    /* EIO, once nobody has the other end any more. */
    while ((got = read(master, buffer, sizeof(buffer))) > 0) {
        g_string_append_len(text, buffer, got);
    }
    g_thread_join(runner);
    close(master);
    return g_string_free(text, FALSE);
}

/* The same words in the same order; no line is wider than the terminal. */
static void test_terminal(void)
{
    struct services *services = services_ask(NO_BUS, NULL);
    g_autoptr(GPtrArray) findings = verify_host(&this_host, services);
    g_autoptr(GString) expected = g_string_new(NULL);
    g_autofree char *printed = run_on_terminal(60);
    g_auto(GStrv) lines = g_strsplit(printed, "\r\n", -1);
    g_autoptr(GRegex) blanks = g_regex_new("\\s+", 0, 0, NULL);
    g_autofree char *words = g_regex_replace_literal(blanks, printed, -1, 0, " ", 0, NULL);
    g_autofree char *wanted = NULL;

    services_free(services);
    for (char **line = lines; *line != NULL; line++) {
        g_assert_true(g_utf8_strlen(*line, -1) <= 60 || strchr(g_strstrip(*line), ' ') == NULL);
    }
    for (guint i = 0; i < findings->len; i++) {
        const struct finding *f = findings->pdata[i];

        g_string_append_printf(expected, "%s %s: %s %s %s%s%s", finding_level_name(f->level),
                               f->subject, f->found, f->meaning,
                               f->remedy != NULL ? "Remedy: " : "",
                               f->remedy != NULL ? f->remedy : "", f->remedy != NULL ? " " : "");
    }
    g_string_append_printf(expected, "%u ok, ", findings_count(findings, FINDING_OK));
    wanted = g_regex_replace_literal(blanks, expected->str, -1, 0, " ", 0, NULL);
    g_assert_true(g_str_has_prefix(words, wanted));
}

/* ---- libvirt, and what hangs ---- */

static void test_libvirt(void)
{
    static const char *const arguments[] = {"--bus",           NO_BUS,   "--libvirt",
                                            "test:///default", "--json", NULL};
    g_autofree char *json = NULL;
    json_object *libvirt, *domain;

    run_on(arguments, -1, &json);
    libvirt = find_in_json(json, "libvirt");
    g_assert_cmpstr(get(libvirt, "level"), ==, "ok");
    g_assert_true(g_str_has_prefix(get(libvirt, "found"), "test:///default: libvirt "));
    domain = find_in_json(json, "domain");
    g_assert_cmpstr(get(domain, "found"), ==, "test: KVM does not run it");
    json_object_put(libvirt);
    json_object_put(domain);
}

static void assert_level(const char *json, const char *subject, const char *level, const char *word)
{
    json_object *object = find_in_json(json, subject);

    g_assert_cmpstr(get(object, "level"), ==, level);
    g_assert_nonnull(strstr(get(object, "found"), word));
    json_object_put(object);
}

static void test_no_libvirt(void)
{
    static const char *const arguments[] = {
        "--bus",  NO_BUS, "--libvirt", "qemu+unix:///system?socket=/nonexistent/socket",
        "--json", NULL};
    g_autofree char *json = NULL;

    run_on(arguments, -1, &json);
    assert_level(json, "libvirt", "warn", "/nonexistent/socket");
    assert_level(json, "hvtimerd", "warn", "connect");
}

/* Both take connections, and never say a word. */
static void test_hanging(struct fake *f, G_GNUC_UNUSED gconstpointer data)
{
    g_autofree char *path = g_build_filename(f->root, "socket", NULL);
    g_autofree char *bus = g_strdup_printf("unix:path=%s", path);
    g_autofree char *uri = g_strdup_printf("qemu+unix:///system?socket=%s", path);
    const char *const arguments[] = {"--bus", bus, "--libvirt", uri, "--json", NULL};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    g_autofree char *json = NULL;
    gint64 start = g_get_monotonic_time();
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    g_assert_cmpint(bind(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
    g_assert_cmpint(listen(fd, 8), ==, 0);
    run_on(arguments, -1, &json);
    close(fd);
    g_assert_cmpint(g_get_monotonic_time() - start, <, 2 * SERVICES_PATIENCE_S * G_USEC_PER_SEC);
    assert_level(json, "libvirt", "warn", "no answer within");
    assert_level(json, "hvtimerd", "warn", "no answer within");
    assert_level(json, "high-resolution-timers", "ok", "on");
}

void add_program_tests(void)
{
    g_test_add_func("/verify/program/this-host", test_this_host);
    g_test_add_func("/verify/program/usage", test_usage);
    g_test_add_func("/verify/program/terminal", test_terminal);
    g_test_add_func("/verify/program/libvirt", test_libvirt);
    g_test_add_func("/verify/program/no-libvirt", test_no_libvirt);
    g_test_add("/verify/program/hanging", struct fake, NULL, fake_set_up, test_hanging,
               fake_tear_down);
    g_test_add("/verify/program/unfit", struct fake, NULL, fake_set_up, test_unfit, fake_tear_down);
}
