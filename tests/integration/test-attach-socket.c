/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The daemon's requests to hvtimer-attach behind a socket, where whoever has the socket takes few
 * of them at a time, none, or only to drop them. Needs neither root nor KVM.
 */
#include "common/status.h"
#include "daemon/attach/process.h"
#include "daemon/attach/queue.h"
#include "tests/support/test.h"
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PATIENCE_SECONDS 30
/* What hvtimer-attach.socket says (MaxConnections). */
#define CONNECTIONS_MAX 64

struct listener {
    char *path;
    int fd;
};

struct answers {
    unsigned done, failed;
    char *reason; /* of the last that failed */
};

static void listener_up(struct listener *listener)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    g_autofree char *directory = g_dir_make_tmp("hvtimer-XXXXXX", NULL);

    listener->path = g_build_filename(directory, "attach.sock", NULL);
    listener->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    g_strlcpy(address.sun_path, listener->path, sizeof address.sun_path);
    g_assert_cmpint(bind(listener->fd, (struct sockaddr *)&address, sizeof address), ==, 0);
    g_assert_cmpint(listen(listener->fd, 1024), ==, 0);
}

static void listener_down(struct listener *listener)
{
    g_autofree char *directory = g_path_get_dirname(listener->path);

    close(listener->fd);
    g_unlink(listener->path);
    g_rmdir(directory);
    g_free(listener->path);
}

/* -1: nobody connects at the moment. */
static int take(const struct listener *listener)
{
    return accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC);
}

static int await_one(const struct listener *listener)
{
    int connection;

    test_wait_until(PATIENCE_SECONDS, (connection = take(listener)) >= 0);
    return connection;
}

static void read_request(int connection)
{
    struct attach_request request;

    g_assert_cmpint(recv(connection, &request, sizeof request, 0), ==, sizeof request);
    g_assert_cmpuint(request.magic, ==, ATTACH_MAGIC);
}

/* As a helper that has done what it was asked for, and ends. */
static void serve(int connection)
{
    struct attach_reply reply = {
        .magic = ATTACH_MAGIC, .version = ATTACH_VERSION, .status = ATTACH_OK};

    read_request(connection);
    g_assert_cmpint(send(connection, &reply, sizeof reply, MSG_NOSIGNAL), ==, sizeof reply);
    close(connection);
}

static void on_done(struct attach_result *result, const GError *error, gpointer user_data)
{
    struct answers *answers = user_data;

    answers->done++;
    if (result == NULL) {
        answers->failed++;
        g_free(answers->reason);
        answers->reason = g_strdup(error->message);
    }
    attach_result_free(result);
}

/* By a queue of its own, as of a VMM of its own. */
static void ask(const struct listener *listener, struct answers *answers)
{
    struct attach_job job = {.kind = ATTACH_READ};
    uint64_t start_time;

    g_assert_true(process_start_time(getpid(), &start_time, NULL));
    struct attach_queue *queue = attach_queue_new(listener->path, getpid(), start_time);
    attach_queue_run(queue, &job, on_done, answers);
    attach_queue_unref(queue);
}

/* Hundreds of guests, when the daemon starts: no more at a time than systemd takes. */
static void test_many(void)
{
    enum { GUESTS = 300 };
    struct answers answers = {0};
    struct listener listener;
    g_autoptr(GArray) open = g_array_new(FALSE, FALSE, sizeof(int));
    unsigned most = 0;

    listener_up(&listener);
    for (unsigned i = 0; i < GUESTS; i++) {
        ask(&listener, &answers);
    }
    while (answers.done < GUESTS) {
        for (int connection; (connection = take(&listener)) >= 0;) {
            g_array_append_val(open, connection);
        }
        most = MAX(most, open->len);
        if (open->len > 0) {
            serve(g_array_index(open, int, open->len - 1));
            g_array_set_size(open, open->len - 1);
        }
        test_iterate();
    }
    g_assert_cmpuint(answers.failed, ==, 0);
    g_assert_cmpuint(most, >, 1);
    g_assert_cmpuint(most, <=, CONNECTIONS_MAX / 2);
    g_assert_cmpuint(attach_queue_pending(), ==, 0);
    listener_down(&listener);
}

/* What nobody has read is asked again. */
static void test_turned_away(void)
{
    struct answers answers = {0};
    struct listener listener;

    listener_up(&listener);
    ask(&listener, &answers);
    for (unsigned i = 0; i < 3; i++) {
        close(await_one(&listener));
    }
    serve(await_one(&listener));
    test_wait_until(PATIENCE_SECONDS, answers.done > 0);
    g_assert_cmpuint(answers.failed, ==, 0);
    listener_down(&listener);
}

/* Not for ever, and it is said where to look. */
static void test_always_turned_away(void)
{
    struct answers answers = {0};
    struct listener listener;

    listener_up(&listener);
    ask(&listener, &answers);
    while (answers.done == 0) {
        int connection = take(&listener);
        if (connection >= 0) {
            close(connection);
        }
        test_iterate();
    }
    g_assert_cmpuint(answers.failed, ==, 1);
    g_assert_nonnull(strstr(answers.reason, "journalctl"));
    g_free(answers.reason);
    listener_down(&listener);
}

/* What was read may have been done in part: that is not asked again. */
static void test_dies(void)
{
    struct answers answers = {0};
    struct listener listener;

    listener_up(&listener);
    ask(&listener, &answers);
    int connection = await_one(&listener);
    read_request(connection);
    close(connection);
    test_wait_until(PATIENCE_SECONDS, answers.done > 0);
    g_assert_cmpuint(answers.failed, ==, 1);
    g_assert_cmpstr(answers.reason, ==, "hvtimer-attach ended without a reply: try again");
    g_assert_cmpint(take(&listener), ==, -1);
    g_free(answers.reason);
    listener_down(&listener);
}

/* A helper that is started after whoever asked has given up does nothing. */
static void test_too_late(void)
{
    g_autofree char *helper =
        g_build_filename(g_getenv("HVTIMER_BUILDDIR"), "daemon/attach/hvtimer-attach", NULL);
    g_autoptr(GSubprocessLauncher) launcher =
        g_subprocess_launcher_new(G_SUBPROCESS_FLAGS_STDERR_PIPE);
    g_autoptr(GError) error = NULL;
    g_autofree char *said = NULL;
    struct attach_request request = {.magic = ATTACH_MAGIC, .version = ATTACH_VERSION};
    int sockets[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), ==, 0);
    g_assert_cmpint(send(sockets[0], &request, sizeof request, 0), ==, sizeof request);
    close(sockets[0]);
    g_subprocess_launcher_take_stdin_fd(launcher, sockets[1]);
    g_autoptr(GSubprocess) process = g_subprocess_launcher_spawn(launcher, &error, helper, NULL);
    g_assert_no_error(error);
    g_assert_true(g_subprocess_communicate_utf8(process, NULL, NULL, NULL, &said, &error));
    g_assert_cmpint(g_subprocess_get_exit_status(process), ==, 1);
    g_assert_nonnull(strstr(said, "nothing was done"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/attach/socket/many", test_many);
    g_test_add_func("/attach/socket/turned-away", test_turned_away);
    g_test_add_func("/attach/socket/always-turned-away", test_always_turned_away);
    g_test_add_func("/attach/socket/dies", test_dies);
    g_test_add_func("/attach/socket/too-late", test_too_late);
    return g_test_run();
}
