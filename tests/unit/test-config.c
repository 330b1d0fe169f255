/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The configuration: defaults, the sample file, drop-ins, and each kind of mistake refused with
 * the file and the key named.
 */
#include "daemon/config.h"

#include "daemon/json.h"
#include "tests/support/config-files.h"
#include <gio/gio.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

static void assert_equal(const struct config *a, const struct config *b)
{
    g_assert_cmpint(a->engine_priority, ==, b->engine_priority);
    g_assert_cmpint(a->engine_cpu, ==, b->engine_cpu);
    g_assert_cmpint(a->engine_threads, ==, b->engine_threads);
    g_assert_cmpint(a->engine_window_us, ==, b->engine_window_us);
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
    g_assert_cmpstr(a->libvirt, ==, b->libvirt);
    g_assert_cmpstr(a->attach_helper, ==, b->attach_helper);
    g_assert_cmpstr(a->state_directory, ==, b->state_directory);
    g_assert_cmpmem(a->pins.pins, a->pins.length, b->pins.pins, b->pins.length);
    g_assert_cmpstr(a->metrics_listen, ==, b->metrics_listen);
    g_assert_cmpuint(a->domains->len, ==, b->domains->len);
}

static void test_defaults(struct config_files *f, G_GNUC_UNUSED gconstpointer data)
{
    g_autoptr(Config) defaults = config_new_default();
    g_autoptr(Config) without_file = config_load(f->path, FALSE, NULL);
    const struct ticker_policy policy = TICKER_POLICY_DEFAULT;

    g_assert_cmpint(defaults->engine_priority, ==, 50);
    g_assert_cmpint(defaults->engine_cpu, ==, -1);
    g_assert_cmpint(defaults->engine_threads, ==, 1);
    g_assert_cmpint(defaults->engine_window_us, ==, 50);
    g_assert_true(defaults->lock_memory);
    g_assert_cmpuint(defaults->period.period_min, ==, 1000);
    g_assert_cmpuint(defaults->period.period_max, ==, 36000000000);
    g_assert_cmpuint(defaults->partitions, ==, 4096);
    g_assert_cmpint(defaults->policy.mode, ==, policy.mode);
    g_assert_null(ticker_policy_problem(&defaults->policy));
    g_assert_false(defaults->policy.catch_up_suspends);
    g_assert_false(defaults->keep_on_reset);
    g_assert_cmpuint(g_strv_length(defaults->models), ==, 0);
    g_assert_cmpstr(defaults->libvirt, ==, "qemu:///system");
    g_assert_cmpstr(defaults->attach_helper, ==,
                    geteuid() == 0 ? LIBEXECDIR "/hvtimer-attach"
                                   : RUNSTATEDIR "/hvtimer-attach.sock");
    g_assert_cmpstr(defaults->state_directory, ==, RUNSTATEDIR "/hvtimer");
    g_assert_cmpmem(defaults->pins.pins, defaults->pins.length, "\x17\x16\x15\x14\x13\x12\x11\x10",
                    8);
    g_assert_cmpuint(defaults->domains->len, ==, 0);
    assert_equal(without_file, defaults);
}

static void test_all_keys(struct config_files *f, G_GNUC_UNUSED gconstpointer data)
{
    char *models[] = {(char *)"demo", (char *)"größe", NULL};
    g_autoptr(GArray) domains = g_array_new(FALSE, TRUE, sizeof(struct config_domain));
    const struct config expected = {
        .engine_priority = 0,
        .engine_cpu = 3,
        .engine_threads = 4,
        .engine_window_us = 1000,
        .lock_memory = FALSE,
        .period = {.period_min = 5000, .period_max = 46116860184273878},
        .partitions = 7,
        .policy = {TICKER_OBSERVE, UINT32_MAX, 700, 0, true},
        .keep_on_reset = TRUE,
        .models = models,
        .libvirt = (char *)"test:///default",
        .attach_helper = (char *)"/opt/attach",
        .state_directory = (char *)"/opt/state",
        .pins = {.pins = {16, 23, 20}, .length = 3},
        .metrics_listen = (char *)"[::1]:19177",
        .domains = g_array_set_size(domains, 1),
    };

    config_files_write(f,
                       "{\"engine\":{\"priority\":0,\"cpu\":3,\"threads\":4,\"window_us\":1000,"
                       "\"lock_memory\":false},"
                       "\"limits\":{\"period_min\":5000,\"period_max\":46116860184273878,"
                       "\"partitions\":7},"
                       "\"policy\":{\"policy\":\"observe\",\"threshold\":4294967295,\"slew\":700,"
                       "\"limit_ms\":0,\"on_resume\":\"catchup\"},"
                       "\"guest_reset\":\"keep\",\"models\":[\"demo\",\"gr\\u00f6\\u00dfe\"],"
                       "\"libvirt\":\"test:///default\",\"attach_helper\":\"/opt/attach\","
                       "\"state_directory\":\"/opt/state\","
                       "\"pins\":[16,23,20],\"metrics_listen\":\"[::1]:19177\","
                       "\"domains\":[{\"match\":\"a\"}]}");

    g_autoptr(Config) config = config_files_load(f);

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

/* Every key is shown in the sample, with a comment; but for one whose default depends on where
 * hvtimer is installed, and which is only commented on. */
static void test_sample_is_whole(void)
{
    static const char *const keys[] = {
        "priority", "cpu",       "lock_memory", "period_min",     "period_max", "partitions",
        "policy",   "threshold", "slew",        "limit_ms",       "on_resume",  "guest_reset",
        "models",   "libvirt",   "pins",        "metrics_listen", "domains"};
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
    g_assert_nonnull(strstr(text, "\"#attach_helper\": "));
    g_assert_null(strstr(text, "\"attach_helper\": "));
}

static void test_drop_ins(struct config_files *f, G_GNUC_UNUSED gconstpointer data)
{
    config_files_write(f, "{\"engine\":{\"priority\":10,\"cpu\":1},\"limits\":{\"partitions\":10},"
                          "\"models\":[\"a\",\"b\"]}");
    config_files_write_drop_in(f, "20-b.json",
                               "{\"engine\":{\"cpu\":20},\"policy\":{\"slew\":20}}");
    config_files_write_drop_in(f, "10-a.json",
                               "{\"engine\":{\"cpu\":10,\"priority\":11},\"models\":[\"c\"]}");
    config_files_write_drop_in(f, "30-c.json.orig", "no JSON at all");
    config_files_write_drop_in(f, ".40-d.json", "no JSON at all");

    g_autoptr(Config) config = config_files_load(f);

    g_assert_cmpint(config->engine_priority, ==, 11);
    g_assert_cmpint(config->engine_cpu, ==, 20);
    g_assert_cmpuint(config->partitions, ==, 10);
    g_assert_cmpuint(config->policy.slew, ==, 20);
    g_assert_cmpuint(config->policy.threshold, ==, 1);
    g_assert_cmpuint(g_strv_length(config->models), ==, 1);
    g_assert_cmpstr(config->models[0], ==, "c");
}

/* Whatever order the directory has them in: of those that set one key the last name wins. */
static void test_drop_ins_sorted(struct config_files *f, G_GNUC_UNUSED gconstpointer data)
{
    static const char *const keys[][2] = {
        {"engine", "cpu"}, {"engine", "priority"}, {"limits", "partitions"}, {"policy", "slew"}};

    for (unsigned i = 0; i < 64; i++) {
        unsigned n = 10 + i * 37 % 64; /* 10 to 73, each once */
        g_autofree char *name = g_strdup_printf("%u.json", n);
        g_autofree char *text =
            g_strdup_printf("{\"%s\":{\"%s\":%u}}", keys[n % 4][0], keys[n % 4][1], n);

        config_files_write_drop_in(f, name, text);
    }

    g_autoptr(Config) config = config_load(f->path, FALSE, NULL);

    g_assert_cmpint(config->engine_cpu, ==, 72);
    g_assert_cmpint(config->engine_priority, ==, 73);
    g_assert_cmpuint(config->partitions, ==, 70);
    g_assert_cmpuint(config->policy.slew, ==, 71);
}

/* They hold also where there is no file beside them, and not at all where they are not there. */
static void test_drop_ins_alone(struct config_files *f, G_GNUC_UNUSED gconstpointer data)
{
    config_files_write_drop_in(f, "10.json", "{\"engine\":{\"cpu\":5}}");

    g_autoptr(Config) config = config_load(f->path, FALSE, NULL);

    g_assert_cmpint(config->engine_cpu, ==, 5);

    config_files_remove(f->drop_ins);
    config_files_write(f, "{}");

    g_autoptr(Config) defaults = config_new_default();
    g_autoptr(Config) without = config_files_load(f);

    assert_equal(without, defaults);
}

static void test_drop_in_refused(struct config_files *f, G_GNUC_UNUSED gconstpointer data)
{
    config_files_write(f, "{}");
    config_files_write_drop_in(f, "10.json", "{\"engine\":{\"prio\":5}}");
    config_files_assert_refused(f, CONFIG_ERROR, CONFIG_ERROR_VALUE, "hvtimerd.d/10.json",
                                "engine.prio ");
    config_files_write_drop_in(f, "10.json", "{");
    config_files_assert_refused(f, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "hvtimerd.d/10.json",
                                "strict JSON");

    config_files_remove(f->drop_ins);
    config_files_write_bytes(f->drop_ins, "a file", 6);
    config_files_assert_refused(f, G_FILE_ERROR, G_FILE_ERROR_NOTDIR, "hvtimerd.d", "");
    g_unlink(f->drop_ins);
}

static void test_comments(struct config_files *f, G_GNUC_UNUSED gconstpointer data)
{
    config_files_write(f, "{\"#\":\"a\",\"#x\":\"b\",\"engine\":{\"#cpu\":\"c\",\"cpu\":9}}");

    g_autoptr(Config) config = config_files_load(f);

    g_assert_cmpint(config->engine_cpu, ==, 9);

    config_files_write(f, "{\"engine\":{\"#cpu\":9}}");
    config_files_assert_refused(f, CONFIG_ERROR, CONFIG_ERROR_VALUE, "engine.#cpu ", "comment");
}

static void test_unknown_keys(struct config_files *f, G_GNUC_UNUSED gconstpointer data)
{
    static const char *const top = "engine, limits, policy, guest_reset, models, libvirt, "
                                   "attach_helper, state_directory, pins, metrics_listen, "
                                   "domains";
    static const char *const engine = "priority, cpu, threads, window_us, lock_memory";
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

        config_files_write(f, rows[i][0]);
        g_assert_null(config_load(f->path, TRUE, &error));
        g_assert_error(error, CONFIG_ERROR, CONFIG_ERROR_VALUE);
        g_assert_cmpstr(error->message, ==, message);
    }
}

static void test_values_refused(struct config_files *f, G_GNUC_UNUSED gconstpointer data)
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
        {"engine", "threads", "0", "a whole number from 1 to 16"},
        {"engine", "threads", "17", "a whole number from 1 to 16"},
        {"engine", "window_us", "-1", "a whole number from 0 to 1000"},
        {"engine", "window_us", "1001", "a whole number from 0 to 1000"},
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

        config_files_write(f, text);
        config_files_assert_refused(f, CONFIG_ERROR, CONFIG_ERROR_VALUE, named, rows[i].wanted);
    }
}

static void test_top_level_refused(struct config_files *f, G_GNUC_UNUSED gconstpointer data)
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
        {"{\"libvirt\":\"\"}", "libvirt can't be \"\"", "qemu:///system"},
        {"{\"libvirt\":\"None\"}", "libvirt can't be \"None\"", "\"none\""},
        {"{\"libvirt\":\"/system\"}", "libvirt can't be", "URI"},
        {"{\"libvirt\":null}", "libvirt can't be null", "URI"},
        {"{\"libvirt\":\"a:\\n\"}", "libvirt can't be", "URI"},
        {"{\"attach_helper\":\"hvtimer-attach\"}", "attach_helper can't be", "absolute"},
        {"{\"attach_helper\":\"\"}", "attach_helper can't be", "absolute"},
        {"{\"attach_helper\":[\"/a\"]}", "attach_helper can't be", "absolute"},
        {"{\"pins\":23}", "pins can't be 23", "an array"},
        {"{\"pins\":[15]}", "pins can't be", "from 16 to 23"},
        {"{\"pins\":[24]}", "pins can't be", "from 16 to 23"},
        {"{\"pins\":[16.0]}", "pins can't be", "whole"},
        {"{\"pins\":[\"16\"]}", "pins can't be", "whole"},
        {"{\"pins\":[279]}", "pins can't be", "from 16 to 23"},
        {"{\"pins\":[16,17,16]}", "pins can't be", "different"},
        {"{\"pins\":[16,17,18,19,20,21,22,23,16]}", "pins can't be", "different"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        config_files_write(f, rows[i][0]);
        config_files_assert_refused(f, CONFIG_ERROR, CONFIG_ERROR_VALUE, rows[i][1], rows[i][2]);
    }
}

static void write_model(struct config_files *f, const char *character, unsigned n)
{
    g_autoptr(GString) text = g_string_new("{\"models\":[\"");

    for (unsigned i = 0; i < n; i++) {
        g_string_append(text, character);
    }
    g_string_append(text, "\"]}");
    config_files_write(f, text->str);
}

/* Counted in characters, not in bytes. */
static void test_model_name_length(struct config_files *f, G_GNUC_UNUSED gconstpointer data)
{
    write_model(f, "ß", 64);

    g_autoptr(Config) config = config_files_load(f);

    g_assert_cmpint(g_utf8_strlen(config->models[0], -1), ==, 64);
    write_model(f, "x", 65);
    config_files_assert_refused(f, CONFIG_ERROR, CONFIG_ERROR_VALUE, "models can't be", "1 to 64");
}

static void test_no_libvirt_no_pins(struct config_files *f, G_GNUC_UNUSED gconstpointer data)
{
    config_files_write(f, "{\"libvirt\":\"none\",\"pins\":[]}");

    g_autoptr(Config) config = config_files_load(f);

    g_assert_cmpstr(config->libvirt, ==, "none");
    g_assert_cmpuint(config->pins.length, ==, 0);
}

/* Each value alone is right; they meet from two files. */
static void test_period_limits_at_odds(struct config_files *f, G_GNUC_UNUSED gconstpointer data)
{
    config_files_write(f, "{\"limits\":{\"period_min\":2000}}");
    config_files_write_drop_in(f, "10.json", "{\"limits\":{\"period_max\":1999}}");
    config_files_assert_refused(f, CONFIG_ERROR, CONFIG_ERROR_VALUE, "limits.period_min is 2000",
                                "limits.period_max, which is 1999");
    config_files_write_drop_in(f, "10.json", "{\"limits\":{\"period_max\":2000}}");

    g_autoptr(Config) config = config_files_load(f);

    g_assert_cmpuint(config->period.period_max, ==, 2000);
}

static void test_unreadable(struct config_files *f, G_GNUC_UNUSED gconstpointer data)
{
    config_files_assert_refused(f, G_FILE_ERROR, G_FILE_ERROR_NOENT, f->path, "can't read");
    g_assert_cmpint(g_mkdir(f->path, 0700), ==, 0);
    config_files_assert_refused(f, G_FILE_ERROR, G_FILE_ERROR_ISDIR, f->path, "can't read");

    /* Only that there is no file is right where none is required. */
    g_autoptr(GError) error = NULL;

    g_assert_null(config_load(f->path, FALSE, &error));
    g_assert_error(error, G_FILE_ERROR, G_FILE_ERROR_ISDIR);
    g_assert_cmpint(g_rmdir(f->path), ==, 0);
}

static void test_not_strict_json(struct config_files *f, G_GNUC_UNUSED gconstpointer data)
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
        config_files_write(f, rows[i][0]);
        config_files_assert_refused(f, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, f->path, rows[i][1]);
    }
    config_files_write_bytes(f->path, "{}\0{}", 5);
    config_files_assert_refused(f, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, f->path, "NUL");
    /* In a string all this is well. */
    config_files_write(f, "{\"#\":\"\\\"'NaN' #: \\\\\",\"engine\":{\"#\":\"#\"}}");

    g_autoptr(Config) config = config_files_load(f);

    g_assert_cmpint(config->engine_cpu, ==, -1);
}

static void test_too_large(struct config_files *f, G_GNUC_UNUSED gconstpointer data)
{
    g_autofree char *text = g_strnfill(CONFIG_FILE_SIZE_MAX + 1, ' ');

    memcpy(text, "{}", 2);
    config_files_write_bytes(f->path, text, CONFIG_FILE_SIZE_MAX);

    g_autoptr(Config) config = config_files_load(f);

    g_assert_cmpint(config->engine_cpu, ==, -1);
    config_files_write_bytes(f->path, text, CONFIG_FILE_SIZE_MAX + 1);
    config_files_assert_refused(f, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, f->path,
                                "larger than 65536");
}

#define add(name, test)                                                               \
    g_test_add("/config/" name, struct config_files, NULL, config_files_set_up, test, \
               config_files_tear_down)

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
    add("no-libvirt-no-pins", test_no_libvirt_no_pins);
    add("period-limits-at-odds", test_period_limits_at_odds);
    add("unreadable", test_unreadable);
    add("not-strict-json", test_not_strict_json);
    add("too-large", test_too_large);
    return g_test_run();
}
