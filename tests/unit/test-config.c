/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The configuration: defaults, the sample file, drop-ins, and each kind of mistake refused with
 * the file and the key named.
 */
#include "daemon/config.h"

#include "daemon/json.h"
#include <gio/gio.h>
#include <glib/gstdio.h>
#include <string.h>

/* A directory with a configuration in it. */
struct fixture {
    char *directory;
    char *drop_ins;
    char *path;
};

static void set_up(struct fixture *f, G_GNUC_UNUSED gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    f->directory = g_dir_make_tmp("hvtimer-test-config-XXXXXX", &error);
    g_assert_no_error(error);
    f->path = g_build_filename(f->directory, "hvtimerd.json", NULL);
    f->drop_ins = g_build_filename(f->directory, "hvtimerd.d", NULL);
    g_assert_cmpint(g_mkdir(f->drop_ins, 0700), ==, 0);
}

static void remove_directory(const char *path)
{
    g_autoptr(GDir) directory = g_dir_open(path, 0, NULL);
    const char *name;

    while (directory != NULL && (name = g_dir_read_name(directory)) != NULL) {
        g_autofree char *child = g_build_filename(path, name, NULL);
        g_unlink(child);
    }
    g_rmdir(path);
}

static void tear_down(struct fixture *f, G_GNUC_UNUSED gconstpointer data)
{
    remove_directory(f->drop_ins);
    remove_directory(f->directory);
    g_assert_false(g_file_test(f->directory, G_FILE_TEST_EXISTS));
    g_free(f->directory);
    g_free(f->drop_ins);
    g_free(f->path);
}

static void write_text(const char *path, const char *text, gssize length)
{
    g_autoptr(GError) error = NULL;

    g_file_set_contents(path, text, length, &error);
    g_assert_no_error(error);
}

static void write_drop_in(struct fixture *f, const char *name, const char *text)
{
    g_autofree char *path = g_build_filename(f->drop_ins, name, NULL);

    write_text(path, text, -1);
}

static struct config *load(struct fixture *f)
{
    g_autoptr(GError) error = NULL;
    struct config *config = config_load(f->path, TRUE, &error);

    g_assert_no_error(error);
    g_assert_nonnull(config);
    return config;
}

/* Loading fails, and the message has @first and @second in it. */
static void assert_refused(struct fixture *f, GQuark domain, int code, const char *first,
                           const char *second)
{
    g_autoptr(GError) error = NULL;
    struct config *config = config_load(f->path, TRUE, &error);

    g_assert_null(config);
    g_assert_error(error, domain, code);
    g_test_message("%s", error->message);
    g_assert_nonnull(strstr(error->message, first));
    g_assert_nonnull(strstr(error->message, second));
}

static void assert_equal(const struct config *a, const struct config *b)
{
    g_assert_cmpint(a->engine_priority, ==, b->engine_priority);
    g_assert_cmpint(a->engine_cpu, ==, b->engine_cpu);
    g_assert_cmpint(a->lock_memory, ==, b->lock_memory);
    g_assert_cmpuint(a->period.period_min, ==, b->period.period_min);
    g_assert_cmpuint(a->period.period_max, ==, b->period.period_max);
    g_assert_cmpuint(a->partitions, ==, b->partitions);
    g_assert_cmpint(a->policy.mode, ==, b->policy.mode);
    g_assert_cmpuint(a->policy.threshold, ==, b->policy.threshold);
    g_assert_cmpuint(a->policy.slew, ==, b->policy.slew);
    g_assert_cmpuint(a->policy.limit_ms, ==, b->policy.limit_ms);
    g_assert_cmpint(a->policy.catch_up_suspends, ==, b->policy.catch_up_suspends);
    g_assert_cmpint(a->keep_on_reset, ==, b->keep_on_reset);
    g_assert_true(g_strv_equal((const char *const *)a->models, (const char *const *)b->models));
}

static void test_defaults(struct fixture *f, G_GNUC_UNUSED gconstpointer data)
{
    g_autoptr(Config) defaults = config_new_default();
    g_autoptr(Config) without_file = config_load(f->path, FALSE, NULL);
    const struct ticker_policy policy = TICKER_POLICY_DEFAULT;

    g_assert_cmpint(defaults->engine_priority, ==, 50);
    g_assert_cmpint(defaults->engine_cpu, ==, -1);
    g_assert_true(defaults->lock_memory);
    g_assert_cmpuint(defaults->period.period_min, ==, 1000);
    g_assert_cmpuint(defaults->period.period_max, ==, 36000000000);
    g_assert_cmpuint(defaults->partitions, ==, 4096);
    g_assert_cmpint(defaults->policy.mode, ==, policy.mode);
    g_assert_null(ticker_policy_problem(&defaults->policy));
    g_assert_false(defaults->policy.catch_up_suspends);
    g_assert_false(defaults->keep_on_reset);
    g_assert_cmpuint(g_strv_length(defaults->models), ==, 0);
    assert_equal(without_file, defaults);
}

static void test_all_keys(struct fixture *f, G_GNUC_UNUSED gconstpointer data)
{
    char *models[] = {(char *)"demo", (char *)"größe", NULL};
    const struct config expected = {
        .engine_priority = 0,
        .engine_cpu = 3,
        .lock_memory = FALSE,
        .period = {.period_min = 5000, .period_max = 46116860184273878},
        .partitions = 7,
        .policy = {TICKER_OBSERVE, UINT32_MAX, 700, 0, true},
        .keep_on_reset = TRUE,
        .models = models,
    };

    write_text(f->path,
               "{\"engine\":{\"priority\":0,\"cpu\":3,\"lock_memory\":false},"
               "\"limits\":{\"period_min\":5000,\"period_max\":46116860184273878,"
               "\"partitions\":7},"
               "\"policy\":{\"policy\":\"observe\",\"threshold\":4294967295,\"slew\":700,"
               "\"limit_ms\":0,\"on_resume\":\"catchup\"},"
               "\"guest_reset\":\"keep\",\"models\":[\"demo\",\"gr\\u00f6\\u00dfe\"]}",
               -1);

    g_autoptr(Config) config = load(f);

    assert_equal(config, &expected);
}

static void test_sample(void)
{
    g_autofree char *path =
        g_test_build_filename(G_TEST_DIST, "..", "..", "conf", "hvtimerd.json", NULL);
    g_autoptr(Config) defaults = config_new_default();
    g_autoptr(GError) error = NULL;
    g_autoptr(Config) config = config_load(path, TRUE, &error);

    g_assert_no_error(error);
    assert_equal(config, defaults);
}

/* Every key is shown in the sample, with a comment. */
static void test_sample_is_whole(void)
{
    static const char *const keys[] = {
        "priority",  "cpu",  "lock_memory", "period_min", "period_max",  "partitions", "policy",
        "threshold", "slew", "limit_ms",    "on_resume",  "guest_reset", "models"};
    g_autofree char *path =
        g_test_build_filename(G_TEST_DIST, "..", "..", "conf", "hvtimerd.json", NULL);
    g_autofree char *text = NULL;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
        g_autofree char *key = g_strdup_printf("\"%s\": ", keys[i]);
        g_autofree char *comment = g_strdup_printf("\"#%s\": ", keys[i]);

        g_assert_nonnull(strstr(text, key));
        g_assert_nonnull(strstr(text, comment));
    }
}

static void test_drop_ins(struct fixture *f, G_GNUC_UNUSED gconstpointer data)
{
    write_text(f->path,
               "{\"engine\":{\"priority\":10,\"cpu\":1},\"limits\":{\"partitions\":10},"
               "\"models\":[\"a\",\"b\"]}",
               -1);
    write_drop_in(f, "20-b.json", "{\"engine\":{\"cpu\":20},\"policy\":{\"slew\":20}}");
    write_drop_in(f, "10-a.json", "{\"engine\":{\"cpu\":10,\"priority\":11},\"models\":[\"c\"]}");
    write_drop_in(f, "30-c.json.orig", "no JSON at all");
    write_drop_in(f, ".40-d.json", "no JSON at all");

    g_autoptr(Config) config = load(f);

    g_assert_cmpint(config->engine_priority, ==, 11);
    g_assert_cmpint(config->engine_cpu, ==, 20);
    g_assert_cmpuint(config->partitions, ==, 10);
    g_assert_cmpuint(config->policy.slew, ==, 20);
    g_assert_cmpuint(config->policy.threshold, ==, 1);
    g_assert_cmpuint(g_strv_length(config->models), ==, 1);
    g_assert_cmpstr(config->models[0], ==, "c");
}

/* Whatever order the directory has them in: of those that set one key the last name wins. */
static void test_drop_ins_sorted(struct fixture *f, G_GNUC_UNUSED gconstpointer data)
{
    static const char *const keys[][2] = {
        {"engine", "cpu"}, {"engine", "priority"}, {"limits", "partitions"}, {"policy", "slew"}};

    for (unsigned i = 0; i < 64; i++) {
        unsigned n = 10 + i * 37 % 64; /* 10 to 73, each once */
        g_autofree char *name = g_strdup_printf("%u.json", n);
        g_autofree char *text =
            g_strdup_printf("{\"%s\":{\"%s\":%u}}", keys[n % 4][0], keys[n % 4][1], n);

        write_drop_in(f, name, text);
    }

    g_autoptr(Config) config = config_load(f->path, FALSE, NULL);

    g_assert_cmpint(config->engine_cpu, ==, 72);
    g_assert_cmpint(config->engine_priority, ==, 73);
    g_assert_cmpuint(config->partitions, ==, 70);
    g_assert_cmpuint(config->policy.slew, ==, 71);
}

/* They hold also where there is no file beside them, and not at all where they are not there. */
static void test_drop_ins_alone(struct fixture *f, G_GNUC_UNUSED gconstpointer data)
{
    write_drop_in(f, "10.json", "{\"engine\":{\"cpu\":5}}");

    g_autoptr(Config) config = config_load(f->path, FALSE, NULL);

    g_assert_cmpint(config->engine_cpu, ==, 5);

    remove_directory(f->drop_ins);
    write_text(f->path, "{}", -1);

    g_autoptr(Config) defaults = config_new_default();
    g_autoptr(Config) without = load(f);

    assert_equal(without, defaults);
}

static void test_drop_in_refused(struct fixture *f, G_GNUC_UNUSED gconstpointer data)
{
    write_text(f->path, "{}", -1);
    write_drop_in(f, "10.json", "{\"engine\":{\"prio\":5}}");
    assert_refused(f, CONFIG_ERROR, CONFIG_ERROR_VALUE, "hvtimerd.d/10.json", "engine.prio ");
    write_drop_in(f, "10.json", "{");
    assert_refused(f, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "hvtimerd.d/10.json", "strict JSON");

    remove_directory(f->drop_ins);
    write_text(f->drop_ins, "a file", -1);
    assert_refused(f, G_FILE_ERROR, G_FILE_ERROR_NOTDIR, "hvtimerd.d", "");
    g_unlink(f->drop_ins);
}

static void test_comments(struct fixture *f, G_GNUC_UNUSED gconstpointer data)
{
    write_text(f->path, "{\"#\":\"a\",\"#x\":\"b\",\"engine\":{\"#cpu\":\"c\",\"cpu\":9}}", -1);

    g_autoptr(Config) config = load(f);

    g_assert_cmpint(config->engine_cpu, ==, 9);

    write_text(f->path, "{\"engine\":{\"#cpu\":9}}", -1);
    assert_refused(f, CONFIG_ERROR, CONFIG_ERROR_VALUE, "engine.#cpu ", "comment");
}

static void test_unknown_keys(struct fixture *f, G_GNUC_UNUSED gconstpointer data)
{
    static const char *const top = "engine, limits, policy, guest_reset, models";
    static const char *const engine = "priority, cpu, lock_memory";
    const char *const rows[][3] = {
        {"{\"engine\":{\"prioritty\":50}}", "engine.prioritty", engine},
        {"{\"engine\":{\"engine\":{}}}", "engine.engine", engine},
        {"{\"engine\":{\"models\":[]}}", "engine.models", engine},
        {"{\"engine\":{\"\":{}}}", "engine.", engine},
        {"{\"policy\":{\"limit\":5}}", "policy.limit",
         "policy, threshold, slew, limit_ms, on_resume"},
        {"{\"engin\":{}}", "engin", top},
        {"{\"priority\":50}", "priority", top},
        {"{\"engine.priority\":50}", "engine.priority", top},
        {"{\"\":{}}", "", top},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *message = g_strdup_printf(
            "%s: %s is not a key of the configuration; remove it, or name one of %s", f->path,
            rows[i][1], rows[i][2]);

        write_text(f->path, rows[i][0], -1);
        g_assert_null(config_load(f->path, TRUE, &error));
        g_assert_error(error, CONFIG_ERROR, CONFIG_ERROR_VALUE);
        g_assert_cmpstr(error->message, ==, message);
    }
}

static void test_values_refused(struct fixture *f, G_GNUC_UNUSED gconstpointer data)
{
    static const struct {
        const char *section, *key, *value, *wanted;
    } rows[] = {
        {"engine", "priority", "-1", "a whole number from 0 to 99"},
        {"engine", "priority", "100", "a whole number from 0 to 99"},
        {"engine", "priority", "50.0", "a whole number from 0 to 99"},
        {"engine", "priority", "1e1", "a whole number from 0 to 99"},
        {"engine", "priority", "\"50\"", "a whole number from 0 to 99"},
        {"engine", "priority", "null", "a whole number from 0 to 99"},
        {"engine", "priority", "true", "a whole number from 0 to 99"},
        {"engine", "priority", "[50]", "a whole number from 0 to 99"},
        {"engine", "priority", "18446744073709551616", "a whole number from 0 to 99"},
        {"engine", "priority", "-18446744073709551616", "a whole number from 0 to 99"},
        {"engine", "cpu", "-2", "a whole number from -1 to 1023"},
        {"engine", "cpu", "1024", "a whole number from -1 to 1023"},
        {"engine", "lock_memory", "1", "true or false"},
        {"engine", "lock_memory", "\"true\"", "true or false"},
        {"limits", "period_min", "0", "a whole number from 1 to 46116860184273878"},
        {"limits", "period_max", "46116860184273879", "a whole number from 1 to"},
        {"limits", "partitions", "0", "a whole number from 1 to 65536"},
        {"limits", "partitions", "65537", "a whole number from 1 to 65536"},
        {"policy", "policy", "\"lasy\"", "one of \"catchup\", \"lazy\", \"observe\""},
        {"policy", "policy", "0", "one of \"catchup\", \"lazy\", \"observe\""},
        {"policy", "threshold", "0", "a whole number from 1 to 4294967295"},
        {"policy", "threshold", "4294967296", "a whole number from 1 to 4294967295"},
        {"policy", "slew", "4", "a whole number from 5 to 700"},
        {"policy", "slew", "701", "a whole number from 5 to 700"},
        {"policy", "limit_ms", "-1", "a whole number from 0 to 4294967295"},
        {"policy", "on_resume", "\"thaw\"", "one of \"freeze\", \"catchup\""},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *text =
            g_strdup_printf("{\"%s\":{\"%s\":%s}}", rows[i].section, rows[i].key, rows[i].value);
        g_autofree char *named =
            g_strdup_printf("hvtimerd.json: %s.%s can't be", rows[i].section, rows[i].key);

        write_text(f->path, text, -1);
        assert_refused(f, CONFIG_ERROR, CONFIG_ERROR_VALUE, named, rows[i].wanted);
    }
}

static void test_top_level_refused(struct fixture *f, G_GNUC_UNUSED gconstpointer data)
{
    static const char *const rows[][3] = {
        {"{\"guest_reset\":\"kept\"}", "guest_reset can't be", "one of \"disable\", \"keep\""},
        {"{\"engine\":5}", "engine can't be 5", "an object"},
        {"{\"engine\":null}", "engine can't be null", "an object"},
        {"{\"models\":\"demo\"}", "models can't be \"demo\"", "an array"},
        {"{\"models\":{}}", "models can't be", "an array"},
        {"{\"models\":[5]}", "models can't be", "printable"},
        {"{\"models\":[\"\"]}", "models can't be", "1 to 64"},
        {"{\"models\":[\"a\",\"b\",\"a\"]}", "models can't be", "different"},
        {"{\"models\":[\"a\\nb\"]}", "models can't be", "printable"},
        {"{\"models\":[\"a\\u0000b\"]}", "models can't be", "printable"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        write_text(f->path, rows[i][0], -1);
        assert_refused(f, CONFIG_ERROR, CONFIG_ERROR_VALUE, rows[i][1], rows[i][2]);
    }
}

static void write_model(struct fixture *f, const char *character, unsigned n)
{
    g_autoptr(GString) text = g_string_new("{\"models\":[\"");

    for (unsigned i = 0; i < n; i++) {
        g_string_append(text, character);
    }
    g_string_append(text, "\"]}");
    write_text(f->path, text->str, -1);
}

/* Counted in characters, not in bytes. */
static void test_model_name_length(struct fixture *f, G_GNUC_UNUSED gconstpointer data)
{
    write_model(f, "ß", 64);

    g_autoptr(Config) config = load(f);

    g_assert_cmpint(g_utf8_strlen(config->models[0], -1), ==, 64);
    write_model(f, "x", 65);
    assert_refused(f, CONFIG_ERROR, CONFIG_ERROR_VALUE, "models can't be", "1 to 64");
}

/* Each value alone is right; they meet from two files. */
static void test_period_limits_at_odds(struct fixture *f, G_GNUC_UNUSED gconstpointer data)
{
    write_text(f->path, "{\"limits\":{\"period_min\":2000}}", -1);
    write_drop_in(f, "10.json", "{\"limits\":{\"period_max\":1999}}");
    assert_refused(f, CONFIG_ERROR, CONFIG_ERROR_VALUE, "limits.period_min is 2000",
                   "limits.period_max, which is 1999");
    write_drop_in(f, "10.json", "{\"limits\":{\"period_max\":2000}}");

    g_autoptr(Config) config = load(f);

    g_assert_cmpuint(config->period.period_max, ==, 2000);
}

static void test_unreadable(struct fixture *f, G_GNUC_UNUSED gconstpointer data)
{
    assert_refused(f, G_FILE_ERROR, G_FILE_ERROR_NOENT, f->path, "can't read");
    g_assert_cmpint(g_mkdir(f->path, 0700), ==, 0);
    assert_refused(f, G_FILE_ERROR, G_FILE_ERROR_ISDIR, f->path, "can't read");

    /* Only that there is no file is right where none is required. */
    g_autoptr(GError) error = NULL;

    g_assert_null(config_load(f->path, FALSE, &error));
    g_assert_error(error, G_FILE_ERROR, G_FILE_ERROR_ISDIR);
    g_assert_cmpint(g_rmdir(f->path), ==, 0);
}

static void test_not_strict_json(struct fixture *f, G_GNUC_UNUSED gconstpointer data)
{
    static const char *const rows[][2] = {
        {"", "end of data"},
        {"{\n\n\"engine\":\n", "hvtimerd.json:4: "},
        {"{} x", "unexpected"},
        {"{\"models\":[],}", "unexpected"},
        {"{\"models\":[,]}", "unexpected"},
        {"// comment\n{}", "unexpected"},
        {"{\"guest_reset\":disable}", "unexpected"},
        {"{\"guest_reset\":\"\xff\"}", "utf-8"},
        {"{'engine':{}}", "single quotes"},
        {"{\n\"#\":'\"'}", "hvtimerd.json:2: "},
        {"{\"engine\":{\"cpu\":NaN}}", "NaN"},
        {"{\"engine\":{\"cpu\":-Infinity}}", "Infinity"},
        {"{\"models\":[[[[[[[[]]]]]]]]}", "too deep"},
        {"[]", "no JSON object"},
        {"null", "no JSON object"},
        {"{\"engine\":{\"cpu\":1,\n\"cpu\":2}}", "hvtimerd.json:2: "},
        {"{\"engine\":{\"cpu\":1},\"engine\" : {}}", "\"engine\" is given a second time"},
        {"{\"#\":\"\\\\\",\"#\":\"\"}", "\"#\" is given a second time"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        write_text(f->path, rows[i][0], -1);
        assert_refused(f, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, f->path, rows[i][1]);
    }
    write_text(f->path, "{}\0{}", 5);
    assert_refused(f, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, f->path, "NUL");
    /* In a string all this is well. */
    write_text(f->path, "{\"#\":\"\\\"'NaN' #: \\\\\",\"engine\":{\"#\":\"#\"}}", -1);

    g_autoptr(Config) config = load(f);

    g_assert_cmpint(config->engine_cpu, ==, -1);
}

static void test_too_large(struct fixture *f, G_GNUC_UNUSED gconstpointer data)
{
    g_autofree char *text = g_strnfill(JSON_FILE_SIZE_MAX + 1, ' ');

    memcpy(text, "{}", 2);
    write_text(f->path, text, JSON_FILE_SIZE_MAX);

    g_autoptr(Config) config = load(f);

    g_assert_cmpint(config->engine_cpu, ==, -1);
    write_text(f->path, text, JSON_FILE_SIZE_MAX + 1);
    assert_refused(f, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, f->path, "larger than 65536");
}

#define add(name, test) g_test_add("/config/" name, struct fixture, NULL, set_up, test, tear_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("defaults", test_defaults);
    add("all-keys", test_all_keys);
    g_test_add_func("/config/sample", test_sample);
    g_test_add_func("/config/sample-is-whole", test_sample_is_whole);
    add("drop-ins", test_drop_ins);
    add("drop-ins-sorted", test_drop_ins_sorted);
    add("drop-ins-alone", test_drop_ins_alone);
    add("drop-in-refused", test_drop_in_refused);
    add("comments", test_comments);
    add("unknown-keys", test_unknown_keys);
    add("values-refused", test_values_refused);
    add("top-level-refused", test_top_level_refused);
    add("model-name-length", test_model_name_length);
    add("period-limits-at-odds", test_period_limits_at_odds);
    add("unreadable", test_unreadable);
    add("not-strict-json", test_not_strict_json);
    add("too-large", test_too_large);
    return g_test_run();
}
