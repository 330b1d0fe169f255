/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The metrics of a running hvtimerd: by hvtimerctl, over HTTP, by TCP and by a Unix socket; and
 * where they are served as the configuration changes.
 */
#include "daemon/metrics-server.h"
#include "tests/support/fixture.h"
#include "tests/support/openmetrics.h"
#include "tests/support/test.h"
#include <glib/gstdio.h>
#include <hvapi/hvapi.h>
#include <string.h>
#include <sys/stat.h>

#define OPENMETRICS "Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8"
#define TEXT        "Content-Type: text/plain; version=0.0.4; charset=utf-8"

/* As Prometheus 2.42 asks. */
#define PROMETHEUS_ACCEPT                                             \
    "Accept: application/openmetrics-text;version=1.0.0,application/" \
    "openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1\r\n"

/* @model: of one more partition. */
static char *config_with(const char *listen, const char *model)
{
    return g_strdup_printf("{\"models\": [\"m0\", \"m \\\"1\\\\\", \"%s\"], "
                           "\"engine\": {\"priority\": 0}, \"metrics_listen\": \"%s\"}",
                           model, listen);
}

static void up(struct fixture *f, const char *listen)
{
    g_autofree char *config = config_with(listen, "other");

    fixture_up(f, config);
}

/* The new configuration is in force when it returns: there is a partition that tells. */
static void reload(struct fixture *f, const char *listen)
{
    static unsigned n;
    g_autofree char *model = g_strdup_printf("reload-%u", ++n);
    g_autofree char *config = config_with(listen, model);
    HV_PARTITION_ID id;

    fixture_reconfigure(f, config);
    test_wait_until(20, hvapi_lookup_partition(model, &id) == HV_STATUS_SUCCESS);
}

/* A socket that listens on a port that was free, as @ret_listen tells. (transfer full) */
static GSocket *take_port(char **ret_listen)
{
    g_autoptr(GError) error = NULL;
    GSocket *socket =
        g_socket_new(G_SOCKET_FAMILY_IPV4, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_TCP, &error);
    g_autoptr(GSocketAddress) any = g_inet_socket_address_new_from_string("127.0.0.1", 0);

    g_assert_no_error(error);
    g_assert_true(g_socket_bind(socket, any, TRUE, &error) && g_socket_listen(socket, &error));
    g_autoptr(GSocketAddress) address = g_socket_get_local_address(socket, &error);
    *ret_listen = g_socket_connectable_to_string(G_SOCKET_CONNECTABLE(address));
    return socket;
}

static char *free_port(void)
{
    char *listen;
    g_autoptr(GSocket) socket = take_port(&listen);

    g_socket_close(socket, NULL);
    return listen;
}

/* ---- requests ---- */

/* NULL: nobody listens there. (transfer full) */
static GSocketConnection *open_connection(const char *listen)
{
    g_autoptr(GSocketAddress) address = metrics_address_parse(listen);
    g_autoptr(GSocketClient) client = g_socket_client_new();

    g_socket_client_set_timeout(client, 30);
    return g_socket_client_connect(client, G_SOCKET_CONNECTABLE(address), NULL, NULL);
}

/* All that is answered; NULL: nobody listens there, or it hangs up. (transfer full) */
static char *ask(const char *listen, const char *request)
{
    g_autoptr(GSocketConnection) connection = open_connection(listen);
    g_autoptr(GOutputStream) answer = g_memory_output_stream_new_resizable();

    if (connection == NULL ||
        !g_output_stream_write_all(g_io_stream_get_output_stream(G_IO_STREAM(connection)), request,
                                   strlen(request), NULL, NULL, NULL) ||
        g_output_stream_splice(answer, g_io_stream_get_input_stream(G_IO_STREAM(connection)),
                               G_OUTPUT_STREAM_SPLICE_NONE, NULL, NULL) < 0) {
        return NULL;
    }
    g_output_stream_write_all(answer, "", 1, NULL, NULL, NULL);
    g_output_stream_close(answer, NULL, NULL);
    return g_memory_output_stream_steal_data(G_MEMORY_OUTPUT_STREAM(answer));
}

static char *get(const char *listen, const char *path, const char *headers)
{
    g_autofree char *request =
        g_strdup_printf("GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n", path, headers);

    return ask(listen, request);
}

static gboolean is_served(const char *listen)
{
    g_autofree char *answer = get(listen, "/metrics", "");

    return answer != NULL && g_str_has_prefix(answer, "HTTP/1.1 200 ");
}

static const char *body_of(const char *answer)
{
    const char *end = strstr(answer, "\r\n\r\n");

    g_assert_nonnull(end);
    return end + 4;
}

static struct openmetrics *parse(const char *text)
{
    g_autoptr(GError) error = NULL;
    struct openmetrics *metrics = openmetrics_parse(text, &error);

    g_assert_no_error(error);
    return metrics;
}

static double taken(const char *text)
{
    g_autoptr(OpenMetrics) metrics = parse(text);
    const struct openmetrics_sample *sample =
        openmetrics_find(metrics, "hvtimer_ticks_acknowledged_total", "domain", "m0", NULL);

    g_assert_nonnull(sample);
    return sample->value;
}

static double taken_as_served(const char *listen)
{
    g_autofree char *answer = get(listen, "/metrics", "");

    g_assert_nonnull(answer);
    return taken(body_of(answer));
}

static void enable(struct fixture *f)
{
    HV_PARTITION_ID id;

    test_wait_until(10, hvapi_lookup_partition("m0", &id) == HV_STATUS_SUCCESS);
    g_assert_cmpint(fixture_run(f, NULL, "hvtimerctl enable m0 --period 1ms --vector 0x50"), ==, 0);
}

/* ---- hvtimerctl metrics ---- */

static double taken_as_printed(struct fixture *f)
{
    g_autofree char *output = NULL;

    g_assert_cmpint(fixture_run(f, &output, "hvtimerctl metrics"), ==, 0);
    return taken(output);
}

static void test_verb(void)
{
    g_autofree char *output = NULL, *usage = NULL;
    struct fixture f = {0};

    up(&f, "");
    enable(&f);
    double before = taken_as_printed(&f);
    test_wait_until(20, taken_as_printed(&f) >= before + 100);

    g_assert_cmpint(fixture_run(&f, &output, "hvtimerctl metrics"), ==, 0);
    g_autoptr(OpenMetrics) metrics = parse(output);
    g_assert_nonnull(openmetrics_find(metrics, "hvtimer_partition_info", "domain", "m \"1\\",
                                      "uuid", "", "source", "model", "state", "running", NULL));
    g_assert_cmpfloat(
        openmetrics_find(metrics, "hvtimer_period_seconds", "domain", "m0", NULL)->value, ==,
        0.001);
    g_assert_cmpfloat(
        openmetrics_find(metrics, "hvtimer_injection_lateness_seconds_count", "domain", "m0", NULL)
            ->value,
        >=, 100);
    g_assert_cmpint(fixture_run(&f, &usage, "hvtimerctl metrics --json"), ==, 2);
    g_assert_nonnull(strstr(usage, "OpenMetrics"));
    g_assert_cmpint(fixture_run(&f, NULL, "hvtimerctl metrics m0"), ==, 2);
    fixture_down(&f);
}

/* Something on the bus that is called so and knows no such method, as an older hvtimerd. */
static void test_older_daemon(void)
{
    g_autofree char *output = NULL;
    struct fixture f = {0};

    up(&f, "");
    g_assert_cmpint(fixture_stop_daemon(&f), ==, 0);
    guint name = g_bus_own_name_on_connection(f.connection, "org.hvtimer1",
                                              G_BUS_NAME_OWNER_FLAGS_NONE, NULL, NULL, NULL, NULL);
    test_wait_until(20, f.served);
    g_assert_cmpint(fixture_run(&f, &output, "hvtimerctl metrics"), ==, 4);
    g_assert_nonnull(strstr(output, "older"));
    g_bus_unown_name(name);
    fixture_down(&f);
}

/* ---- over HTTP ---- */

/* What is asked, and what the answer begins with and has in it. */
static void assert_answers(const char *listen)
{
    static const struct {
        const char *request, *status, *has;
    } rows[] = {
        {"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 ", OPENMETRICS},
        {"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 ", "Connection: close"},
        {"GET /metrics?a=b HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 ", OPENMETRICS},
        {"GET /metrics HTTP/1.0\r\n\r\n", "HTTP/1.0 200 ", OPENMETRICS},
        {"GET /metrics HTTP/1.1\r\nHost: a\r\n" PROMETHEUS_ACCEPT "\r\n", "HTTP/1.1 200 ",
         OPENMETRICS},
        {"GET /metrics HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n", "HTTP/1.1 200 ", OPENMETRICS},
        {"GET /metrics HTTP/1.1\r\nHost: a\r\nAccept: text/plain\r\n\r\n", "HTTP/1.1 200 ", TEXT},
        {"GET /metrics HTTP/1.1\r\nHost: a\r\n"
         "Accept: text/plain;version=0.0.4;q=1,*/*;q=0.1\r\n\r\n",
         "HTTP/1.1 200 ", TEXT},
        {"GET /metrics HTTP/1.1\r\nHost: a\r\nRange: bytes=0-3\r\n\r\n", "HTTP/1.1 200 ",
         "# EOF\n"},
        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 ", "see /metrics"},
        {"GET /metrics/ HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 404 ", "see /metrics"},
        {"POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na", "HTTP/1.1 405 ",
         "Allow: GET, HEAD"},
        {"DELETE /nowhere HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 405 ", "Allow: GET, HEAD"},
        {"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 405 ", "Allow: GET, HEAD"},
        {"GET /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na", "HTTP/1.1 413 ",
         "no body"},
        {"rubbish\r\n\r\n", "HTTP/1.0 400 ", ""},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *answer = ask(listen, rows[i].request);

        g_test_message("%s-> %.60s", rows[i].request, answer);
        g_assert_nonnull(answer);
        g_assert_true(g_str_has_prefix(answer, rows[i].status));
        g_assert_nonnull(strstr(answer, rows[i].has));
    }
    g_autofree char *head = ask(listen, "HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
    g_assert_true(g_str_has_prefix(head, "HTTP/1.1 200 "));
    g_assert_cmpstr(body_of(head), ==, "");
}

/* Sends @chunk again and again; how much, until it is hung up on. */
static gsize flood(const char *listen, const char *request, const char *chunk)
{
    g_autoptr(GSocketConnection) connection = open_connection(listen);
    GOutputStream *output = g_io_stream_get_output_stream(G_IO_STREAM(connection));
    gint64 end = g_get_monotonic_time() + 30 * G_USEC_PER_SEC;
    gsize sent = 0;

    g_assert_true(g_output_stream_write_all(output, request, strlen(request), NULL, NULL, NULL));
    while (g_output_stream_write_all(output, chunk, strlen(chunk), NULL, NULL, NULL)) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        sent += strlen(chunk);
    }
    return sent;
}

static void assert_unmoved_by_floods(const char *listen)
{
    g_autofree char *filler = g_strnfill(0x4000, 'x');
    g_autofree char *header = g_strdup_printf("A: %s\r\n", filler);
    g_autofree char *chunk = g_strdup_printf("4000\r\n%s\r\n", filler);

    /* What fits into the sockets' buffers is sent before anybody can hang up. */
    g_assert_cmpuint(flood(listen, "GET /metrics HTTP/1.1\r\nHost: a\r\n", header), <, 16 << 20);
    g_assert_cmpuint(flood(listen,
                           "GET /metrics HTTP/1.1\r\nHost: a\r\n"
                           "Transfer-Encoding: chunked\r\n\r\n",
                           chunk),
                     <, 16 << 20);
}

/* Those that say nothing don't shut others out for long, however many they are. */
static void assert_unmoved_by_idlers(const char *listen)
{
    g_autoptr(GPtrArray) idlers = g_ptr_array_new_with_free_func(g_object_unref);

    for (int i = 0; i < 12; i++) {
        GSocketConnection *connection = open_connection(listen);

        g_assert_nonnull(connection);
        g_ptr_array_add(idlers, connection);
    }
    test_wait_until(30, is_served(listen));
}

static void test_http(void)
{
    g_autofree char *listen = free_port();
    struct fixture f = {0};

    up(&f, listen);
    enable(&f);
    test_wait_until(20, is_served(listen));
    assert_answers(listen);
    assert_unmoved_by_floods(listen);
    assert_unmoved_by_idlers(listen);
    double before = taken_as_served(listen);
    test_wait_until(20, taken_as_served(listen) >= before + 100);
    fixture_down(&f);
    g_assert_false(is_served(listen));
}

static mode_t mode_of(const char *path)
{
    struct stat status;

    return lstat(path, &status) == 0 ? status.st_mode : 0;
}

static void test_unix(void)
{
    g_autoptr(GError) error = NULL;
    struct fixture f = {0};

    up(&f, "");
    g_autofree char *path = g_build_filename(f.directory, "metrics.sock", NULL);
    g_autofree char *listen = g_strdup_printf("unix:%s", path);

    reload(&f, listen);
    g_assert_true(is_served(listen));
    g_assert_cmpuint(mode_of(path), ==, S_IFSOCK | 0660);
    assert_answers(listen);

    /* Of a daemon that was killed. */
    fixture_kill_daemon(&f);
    g_assert_cmpuint(mode_of(path), ==, S_IFSOCK | 0660);
    g_assert_false(is_served(listen));
    fixture_start_daemon(&f);
    test_wait_until(20, is_served(listen));

    /* It goes with the daemon; what is no socket stays. */
    g_assert_cmpint(fixture_stop_daemon(&f), ==, 0);
    g_assert_cmpuint(mode_of(path), ==, 0);
    g_assert_true(g_file_set_contents(path, "precious", -1, &error));
    fixture_start_daemon(&f);
    g_assert_cmpint(fixture_stop_daemon(&f), ==, 0);
    g_assert_true(S_ISREG(mode_of(path)));
    fixture_down(&f);
}

/* ---- as the configuration changes ---- */

static void test_reload(void)
{
    g_autofree char *first = free_port(), *second = free_port();
    struct fixture f = {0};

    up(&f, "");
    reload(&f, first);
    g_assert_true(is_served(first));
    reload(&f, second);
    g_assert_true(is_served(second));
    g_assert_false(is_served(first));
    reload(&f, "");
    g_assert_false(is_served(second));
    fixture_down(&f);
}

/* Ticks go on, and so do metrics where they were served before. */
static void test_taken(void)
{
    g_autofree char *listen = NULL, *other = free_port();
    g_autoptr(GSocket) owner = take_port(&listen);
    struct fixture f = {0};

    up(&f, listen);
    enable(&f);
    double before = taken_as_printed(&f);
    test_wait_until(20, taken_as_printed(&f) >= before + 100);
    reload(&f, other);
    g_assert_true(is_served(other));
    reload(&f, listen);
    g_assert_true(is_served(other));
    g_socket_close(owner, NULL);
    reload(&f, listen);
    g_assert_true(is_served(listen));
    g_assert_false(is_served(other));
    fixture_down(&f);
}

int main(int argc, char **argv)
{
    g_setenv("G_DEBUG", "fatal-criticals", TRUE); /* of the daemon, too */
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/metrics/verb", test_verb);
    g_test_add_func("/metrics/older-daemon", test_older_daemon);
    g_test_add_func("/metrics/http", test_http);
    g_test_add_func("/metrics/unix", test_unix);
    g_test_add_func("/metrics/reload", test_reload);
    g_test_add_func("/metrics/taken", test_taken);
    return g_test_run();
}
