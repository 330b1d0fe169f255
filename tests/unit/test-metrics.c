/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The metrics as text: by the rules of OpenMetrics, whatever a guest is called; what they say; that
 * the dashboard asks for what there is; and where they may be served.
 */
#include "daemon/metrics.h"

#include "daemon/config.h"
#include "daemon/json.h"
#include "daemon/metrics-server.h"
#include "tests/support/config-files.h"
#include "tests/support/openmetrics.h"
#include <gio/gio.h>
#include <gio/gunixsocketaddress.h>
#include <string.h>

/* A quote, a backslash, a line's end that would begin a sample, and what is not UTF-8. */
#define HOSTILE       "a\"} 1\nhvtimer_evil{x=\"\\\xff\t,{}# EOF\n"
#define HOSTILE_VALID "a\"} 1\nhvtimer_evil{x=\"\\\xef\xbf\xbd\t,{}# EOF\n"
#define UUID          "6ac3b2a4-7e4e-4d4a-9f3a-0c6f5a2d8b11"

static const struct metrics_partition sample[] = {
    {.id = 1,
     .name = "win2003",
     .uuid = UUID,
     .state = "running",
     .source = "libvirt",
     .injector = "lapic",
     .accounting = "closed-loop",
     .base_timer = "vmx-preemption-timer",
     .policy = "catchup",
     .timer = "none",
     .mode = "off",
     .attach_stall_ns = 137000,
     .period = {1953125, 2},
     .reading =
         {.ticks = {1113, 1005, 1000, 1, 100, 12, 11718750},
          .behind_ns = 110351562,
          .lateness =
              {.at_most = {[0] = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 1000},
               .count = 1005,
               .sum_ns = 12345678901}}},
    {.id = 2,
     .name = HOSTILE,
     .uuid = "",
     .state = "paused",
     .source = "model",
     .injector = "none",
     .accounting = "none",
     .base_timer = "none",
     .policy = "observe",
     .timer = "rtc",
     .mode = "observe",
     .problem = 1,
     .period = {0, 1},
     .reading = {.ticks = {.due = UINT64_MAX, .skipped = UINT64_MAX}, .behind_ns = UINT64_MAX}},
};

static struct openmetrics *parse(const char *text)
{
    g_autoptr(GError) error = NULL;
    struct openmetrics *metrics = openmetrics_parse(text, &error);

    g_assert_no_error(error);
    return metrics;
}

static struct openmetrics *parse_sample(gsize n)
{
    g_autofree char *text = metrics_format(sample, n, METRICS_OPENMETRICS);

    return parse(text);
}

static double value(const struct openmetrics *metrics, const char *name, const char *domain)
{
    const struct openmetrics_sample *found =
        openmetrics_find(metrics, name, "domain", domain, NULL);

    g_test_message("%s of %s", name, domain);
    g_assert_nonnull(found);
    return found->value;
}

/* ---- what is said ---- */

static void test_values(void)
{
    static const struct {
        const char *name;
        double value;
    } rows[] = {
        {"hvtimer_ticks_injected_total", 1005},
        {"hvtimer_ticks_acknowledged_total", 1000},
        {"hvtimer_ticks_skipped_total", 12},
        {"hvtimer_ticks_in_flight", 1},
        {"hvtimer_backlog_ticks", 100},
        {"hvtimer_clock_behind_seconds", 0.110351562},
        {"hvtimer_period_seconds", 0.0009765625},
        {"hvtimer_attach_stall_seconds", 0.000137},
        {"hvtimer_partition_problem", 0},
        {"hvtimer_injection_lateness_seconds_count", 1005},
        {"hvtimer_injection_lateness_seconds_sum", 12.345678901},
    };
    g_autoptr(OpenMetrics) metrics = parse_sample(G_N_ELEMENTS(sample));

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_assert_cmpfloat(value(metrics, rows[i].name, "win2003"), ==, rows[i].value);
    }
    g_assert_cmpfloat(openmetrics_find(metrics, "hvtimer_partitions", NULL)->value, ==, 2);
    g_assert_nonnull(
        openmetrics_find(metrics, "hvtimer_build_info", "version", PACKAGE_VERSION, NULL));
    g_assert_nonnull(openmetrics_find(metrics, "hvtimer_partition_info", "domain", "win2003",
                                      "uuid", UUID, "id", "1", "state", "running", "source",
                                      "libvirt", "injector", "lapic", "accounting", "closed-loop",
                                      "base_timer", "vmx-preemption-timer", "policy", "catchup",
                                      "timer", "none", "mode", "off", NULL));
    g_assert_null(openmetrics_find(metrics, "hvtimer_ticks_due_total", NULL));
}

/* Each bound says how many were not later; the last is above 1 s. */
static void test_buckets(void)
{
    g_autoptr(OpenMetrics) metrics = parse_sample(G_N_ELEMENTS(sample));
    static const char name[] = "hvtimer_injection_lateness_seconds_bucket";
    static const struct {
        const char *le;
        double value;
    } rows[] = {{"1.023e-06", 1},
                {"6.5535e-05", 7},
                {"0.001048575", 11},
                {"1.073741823", 1000},
                {"+Inf", 1005}};

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        const struct openmetrics_sample *bucket =
            openmetrics_find(metrics, name, "domain", "win2003", "le", rows[i].le, NULL);

        g_assert_nonnull(bucket);
        g_assert_cmpfloat(bucket->value, ==, rows[i].value);
    }
}

/* One partition, whatever it is called, and nothing that its name says. */
static void test_hostile_name(void)
{
    g_autoptr(OpenMetrics) metrics = parse_sample(G_N_ELEMENTS(sample));

    g_assert_cmpfloat(value(metrics, "hvtimer_partition_problem", HOSTILE_VALID), ==, 1);
    g_assert_cmpfloat(value(metrics, "hvtimer_period_seconds", HOSTILE_VALID), ==, 0);
    g_assert_cmpfloat(value(metrics, "hvtimer_ticks_skipped_total", HOSTILE_VALID), ==,
                      (double)UINT64_MAX);
    g_assert_nonnull(
        openmetrics_find(metrics, "hvtimer_partition_info", "timer", "rtc", "uuid", "", NULL));
    g_assert_null(openmetrics_find(metrics, "hvtimer_evil", NULL));
}

static void test_no_partition(void)
{
    g_autoptr(OpenMetrics) metrics = parse_sample(0);

    g_assert_cmpfloat(openmetrics_find(metrics, "hvtimer_partitions", NULL)->value, ==, 0);
    g_assert_null(openmetrics_find(metrics, "hvtimer_partition_info", NULL));
}

/* The older format: the same samples, under heads that its parsers take. */
static void test_text_format(void)
{
    g_autofree char *text = metrics_format(sample, G_N_ELEMENTS(sample), METRICS_TEXT);
    g_autofree char *open = metrics_format(sample, G_N_ELEMENTS(sample), METRICS_OPENMETRICS);
    g_auto(GStrv) lines = g_strsplit(open, "\n", -1);

    for (char **line = lines; *line != NULL; line++) {
        g_assert_true(**line == '#' || strstr(text, *line) != NULL);
    }
    g_assert_nonnull(strstr(text, "# TYPE hvtimer_ticks_injected_total counter\n"));
    g_assert_nonnull(strstr(text, "# TYPE hvtimer_partition_info gauge\n"));
    g_assert_null(strstr(text, " info\n"));
    g_assert_null(strstr(text, "# UNIT"));
    g_assert_false(g_str_has_suffix(text, "# EOF\n"));
}

/* A second opinion where Prometheus' own tool is installed: it reads the text format only. */
static void test_promtool(void)
{
    g_autofree char *program = g_find_program_in_path("promtool");
    g_autofree char *text = metrics_format(sample, 1, METRICS_TEXT);
    g_autofree char *output = NULL;
    g_autoptr(GError) error = NULL;

    if (program == NULL) {
        g_test_message("there is no promtool");
        return;
    }
    g_autoptr(GSubprocess) process =
        g_subprocess_new(G_SUBPROCESS_FLAGS_STDIN_PIPE | G_SUBPROCESS_FLAGS_STDOUT_PIPE |
                             G_SUBPROCESS_FLAGS_STDERR_MERGE,
                         &error, program, "check", "metrics", NULL);
    g_assert_no_error(error);
    g_subprocess_communicate_utf8(process, text, NULL, &output, NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(output, ==, "");
    g_assert_cmpint(g_subprocess_get_exit_status(process), ==, 0);
}

/* ---- the one who judges ---- */

static void test_judge(void)
{
    static const char *const wrong[] = {
        "",
        "# EOF",
        "a 1\n# EOF\n",
        "# TYPE a gauge\na 1\n",
        "# TYPE a gauge\na 1\n# EOF\n\n",
        "# TYPE a gauge\n\na 1\n# EOF\n",
        "# TYPE a gauge\na 1\r\n# EOF\n",
        "# TYPE a gauge\na  1\n# EOF\n",
        "# TYPE a gauge\na one\n# EOF\n",
        "# TYPE a gauge\na 0x1\n# EOF\n",
        "# TYPE a gauge\na_total 1\n# EOF\n",
        "# TYPE a gauge\na 1\na 1\n# EOF\n",
        "# TYPE a gauge\na{b=\"c\",b=\"d\"} 1\n# EOF\n",
        "# TYPE a gauge\na{b=\"c\" d=\"e\"} 1\n# EOF\n",
        "# TYPE a gauge\na{b=\"\\x\"} 1\n# EOF\n",
        "# TYPE a gauge\na{b=\"c} 1\n# EOF\n",
        "# TYPE a gauge\n# note\na 1\n# EOF\n",
        "# TYPE a gauge\na 1\n# HELP a late\n# EOF\n",
        "# TYPE a gauge\n# HELP a x\n# UNIT a a\n# EOF\n",
        "# TYPE a_b gauge\n# UNIT a_b c\n# EOF\n",
        "# TYPE a gauge\n# TYPE b gauge\n# TYPE a gauge\n# EOF\n",
        "# TYPE a gauge\n# TYPE b gauge\na 1\n# EOF\n",
        "# TYPE a untyped\na 1\n# EOF\n",
        "# TYPE a counter\na 1\n# EOF\n",
        "# TYPE a counter\na_total -1\n# EOF\n",
        "# TYPE a info\na_info 2\n# EOF\n",
        "# TYPE a histogram\na_bucket{le=\"1\"} 1\na_bucket{le=\"+Inf\"} 1\n# EOF\n",
        "# TYPE a histogram\na_bucket{le=\"1.0\"} 1\n# EOF\n",
        "# TYPE a histogram\na_bucket{le=\"1.0\"} 2\na_bucket{le=\"+Inf\"} 1\n# EOF\n",
        "# TYPE a histogram\na_bucket{le=\"2.0\"} 1\na_bucket{le=\"1.0\"} 1\n"
        "a_bucket{le=\"+Inf\"} 1\n# EOF\n",
        "# TYPE a histogram\na_bucket{le=\"+Inf\"} 1\na_count 1\n# EOF\n",
        "# TYPE a histogram\na_bucket{le=\"+Inf\"} 1\na_count 2\na_sum 1.0\n# EOF\n",
        "# TYPE a histogram\na_bucket{le=\"+Inf\"} 1.5\n# EOF\n",
        "# TYPE a histogram\na_bucket{b=\"x\",le=\"+Inf\"} 1\na_bucket{b=\"y\",le=\"+Inf\"} 1\n"
        "a_count{b=\"x\"} 1\na_sum{b=\"x\"} 1.0\n# EOF\n",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(OpenMetrics) metrics = openmetrics_parse(wrong[i], &error);

        g_test_message("%s-> %s", wrong[i], error != NULL ? error->message : "taken");
        g_assert_null(metrics);
    }
    g_autoptr(OpenMetrics) right =
        parse("# TYPE a_s histogram\n# UNIT a_s s\n# HELP a_s x \\\\ \\n\n"
              "a_s_bucket{le=\"0.5\"} 0\na_s_bucket{le=\"+Inf\"} 1\na_s_count 1\na_s_sum 1e+1\n"
              "# TYPE b counter\nb_total{} 1\n# TYPE c gauge\n# EOF\n");
    g_assert_nonnull(right);
}

/* ---- the dashboard ---- */

static void add_queries(json_object *value, GPtrArray *queries)
{
    if (json_object_is_type(value, json_type_array)) {
        for (size_t i = 0; i < json_object_array_length(value); i++) {
            add_queries(json_object_array_get_idx(value, i), queries);
        }
    } else if (json_object_is_type(value, json_type_object)) {
        json_object_object_foreach(value, name, member)
        {
            if (json_object_is_type(member, json_type_string) &&
                (g_str_equal(name, "expr") || g_str_equal(name, "query") ||
                 g_str_equal(name, "definition"))) {
                g_ptr_array_add(queries, (gpointer)json_object_get_string(member));
            }
            add_queries(member, queries);
        }
    }
}

/* Strictly; it is nested more deeply than what the daemon reads. */
static json_object *load_json(const char *path)
{
    g_autofree char *text = NULL;
    g_autoptr(GError) error = NULL;
    json_tokener *tokener = json_tokener_new();
    gsize length;

    g_file_get_contents(path, &text, &length, &error);
    g_assert_no_error(error);
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);
    json_object *root = json_tokener_parse_ex(tokener, text, (int)length);
    g_assert_cmpint(json_tokener_get_error(tokener), ==, json_tokener_success);
    json_tokener_free(tokener);
    return root;
}

/* What its queries name is there. */
static void test_dashboard(void)
{
    g_autofree char *path =
        g_test_build_filename(G_TEST_DIST, "..", "..", "conf", "grafana-dashboard.json", NULL);
    g_autoptr(OpenMetrics) metrics = parse_sample(G_N_ELEMENTS(sample));
    g_autoptr(GRegex) regex = g_regex_new("\\bhvtimer_[a-z0-9_]+", 0, 0, NULL);
    g_autoptr(GPtrArray) queries = g_ptr_array_new();
    g_autoptr(json_object) root = load_json(path);
    guint named = 0;

    add_queries(root, queries);
    for (guint i = 0; i < queries->len; i++) {
        g_autoptr(GMatchInfo) match = NULL;

        g_regex_match(regex, queries->pdata[i], 0, &match);
        for (; g_match_info_matches(match); g_match_info_next(match, NULL), named++) {
            g_autofree char *name = g_match_info_fetch(match, 0);

            g_test_message("%s", name);
            g_assert_nonnull(openmetrics_find(metrics, name, NULL));
        }
    }
    g_assert_cmpuint(named, >=, 10);
}

/* ---- lateness ---- */

/* What is just at a bound is counted by it, what is 1 ns later is not. */
static void test_bounds(void)
{
    for (unsigned i = 0; i < LATENESS_BOUNDS; i++) {
        g_autofree struct lateness *lateness = g_new0(struct lateness, 1);
        struct lateness_reading reading;

        g_assert_true(i == 0 || lateness_bounds_ns[i] > lateness_bounds_ns[i - 1]);
        lateness_count(lateness, lateness_bounds_ns[i]);
        lateness_count(lateness, lateness_bounds_ns[i] + 1);
        lateness_read(lateness, &reading);
        for (unsigned bound = 0; bound < LATENESS_BOUNDS; bound++) {
            g_assert_cmpuint(reading.at_most[bound], ==, bound < i ? 0 : bound == i ? 1 : 2);
        }
        g_assert_cmpuint(reading.count, ==, 2);
        g_assert_cmpuint(reading.sum_ns, ==, 2 * lateness_bounds_ns[i] + 1);
    }
}

/* ---- where ---- */

static void test_addresses(void)
{
    static const char *const right[] = {"127.0.0.1:19177", "127.1.2.3:1", "[::1]:65535"};
    static const char *const wrong[] = {
        "0.0.0.0:19177",
        "[::]:19177",
        "192.0.2.1:19177",
        "[2001:db8::1]:80",
        "localhost:19177",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "127.0.0.1:http",
        "::1:19177",
        "[127.0.0.1]:1",
        ":19177",
        "19177",
        "unix:",
        "unix:metrics",
        "",
        "127.0.0.1:+80",
        "127.0.0.1 :80",
    };
    g_autofree char *long_path = g_strnfill(107, 'x');
    g_autofree char *long_unix = g_strdup_printf("unix:/%s", long_path);

    for (size_t i = 0; i < G_N_ELEMENTS(right); i++) {
        g_autoptr(GSocketAddress) address = metrics_address_parse(right[i]);
        g_autofree char *text = NULL;

        g_assert_true(G_IS_INET_SOCKET_ADDRESS(address));
        text = g_socket_connectable_to_string(G_SOCKET_CONNECTABLE(address));
        g_assert_cmpstr(text, ==, right[i]);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_test_message("%s", wrong[i]);
        g_assert_null(metrics_address_parse(wrong[i]));
    }
    g_assert_null(metrics_address_parse(long_unix)); /* more than a kernel takes */
    long_unix[strlen(long_unix) - 1] = '\0';
    g_autoptr(GSocketAddress) address = metrics_address_parse(long_unix);
    g_assert_true(G_IS_UNIX_SOCKET_ADDRESS(address));
}

static void assert_configured(struct config_files *f, const char *given)
{
    g_autofree char *text = g_strdup_printf("{\"metrics_listen\": \"%s\"}", given);

    config_files_write(f, text);
    g_autoptr(Config) config = config_files_load(f);
    g_assert_cmpstr(config->metrics_listen, ==, given);
}

static void test_configured(struct config_files *f, G_GNUC_UNUSED gconstpointer data)
{
    g_autoptr(Config) defaults = config_new_default();

    g_assert_cmpstr(defaults->metrics_listen, ==, "");
    assert_configured(f, "127.0.0.1:19177");
    assert_configured(f, "unix:/run/hvtimer/metrics.sock");
    assert_configured(f, "");
    config_files_write(f, "{\"metrics_listen\": \"0.0.0.0:19177\"}");
    config_files_assert_refused(f, CONFIG_ERROR, CONFIG_ERROR_VALUE,
                                "metrics_listen can't be \"0.0.0.0:19177\"", "reverse proxy");
    config_files_write(f, "{\"metrics_listen\": 19177}");
    config_files_assert_refused(f, CONFIG_ERROR, CONFIG_ERROR_VALUE, "metrics_listen",
                                "127.0.0.1:19177");
    config_files_write(f, "{\"metrics_listen\": \"\\u0000\"}");
    config_files_assert_refused(f, CONFIG_ERROR, CONFIG_ERROR_VALUE, "metrics_listen", "loopback");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/metrics/values", test_values);
    g_test_add_func("/metrics/buckets", test_buckets);
    g_test_add_func("/metrics/hostile-name", test_hostile_name);
    g_test_add_func("/metrics/no-partition", test_no_partition);
    g_test_add_func("/metrics/text-format", test_text_format);
    g_test_add_func("/metrics/promtool", test_promtool);
    g_test_add_func("/metrics/judge", test_judge);
    g_test_add_func("/metrics/dashboard", test_dashboard);
    g_test_add_func("/metrics/bounds", test_bounds);
    g_test_add_func("/metrics/addresses", test_addresses);
    g_test_add("/metrics/configured", struct config_files, NULL, config_files_set_up,
               test_configured, config_files_tear_down);
    return g_test_run();
}
