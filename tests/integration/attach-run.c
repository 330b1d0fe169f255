/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* hvtimer-attach for tests: see attach-run.h. */
#include "tests/integration/attach-run.h"

#include "common/status.h"
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* An overloaded host is given that many chances. */
#define TRIES 20

static char *helper;
static char *script; /* to be removed when it is no longer the helper */

char *attach_built(const char *file)
{
    const char *directory = g_getenv("HVTIMER_BUILDDIR");

    return g_build_filename(directory != NULL ? directory : ".", file, NULL);
}

void attach_use_helper(const char *path)
{
    if (script != NULL) {
        g_unlink(script);
    }
    g_clear_pointer(&script, g_free);
    g_free(helper);
    helper = path != NULL ? g_strdup(path) : attach_built("daemon/attach/hvtimer-attach");
}

static void on_done(G_GNUC_UNUSED GObject *source, GAsyncResult *result, gpointer user_data)
{
    *(GAsyncResult **)user_data = g_object_ref(result);
}

static struct attach_result *run_once(const struct attach_job *job, GError **error)
{
    g_autoptr(GAsyncResult) result = NULL;

    attach_run_async(helper, job, NULL, on_done, &result);
    while (result == NULL) {
        g_main_context_iteration(g_main_context_get_thread_default(), TRUE);
    }
    return attach_run_finish(result, error);
}

/* The helper gives up rather than let the VMM stand still for long, and says so. */
static gboolean may_be_tried_again(const GError *error)
{
    return g_error_matches(error, HV_STATUS_ERROR, HV_STATUS_INVALID_PARTITION_STATE) &&
           g_str_has_suffix(error->message, "try again");
}

struct attach_result *attach_run(const struct attach_job *job, GError **error)
{
    struct attach_result *result = NULL;
    GError *why = NULL;

    if (helper == NULL) {
        attach_use_helper(NULL);
    }
    for (unsigned i = 0; i == 0 || (i < TRIES && may_be_tried_again(why)); i++) {
        g_clear_error(&why);
        result = run_once(job, &why);
    }
    if (why != NULL) {
        g_propagate_error(error, why);
    }
    return result;
}

struct attach_result *attach_borrow(pid_t pid, uint32_t pin, uint64_t entry, GError **error)
{
    struct attach_job job = {.kind = ATTACH_BORROW, .pid = pid, .pin = pin, .entry = entry};

    return attach_run(&job, error);
}

struct attach_result *attach_listen(pid_t pid, uint32_t gsi, GError **error)
{
    struct attach_job job = {.kind = ATTACH_LISTEN, .pid = pid, .pin = gsi};

    return attach_run(&job, error);
}

struct attach_result *attach_read(pid_t pid, GError **error)
{
    struct attach_job job = {.kind = ATTACH_READ, .pid = pid};

    return attach_run(&job, error);
}

struct attach_result *attach_return(pid_t pid, struct attach_result *borrowed, uint64_t expected,
                                    GError **error)
{
    struct attach_job job = {.kind = ATTACH_RETURN,
                             .pid = pid,
                             .pin = borrowed->pin,
                             .entry = borrowed->old_entry,
                             .expected = expected};

    if (borrowed->fds[0] >= 0) {
        close(borrowed->fds[0]);
        borrowed->fds[0] = -1;
    }
    return attach_run(&job, error);
}

void attach_use_script(const char *format, ...)
{
    g_autofree char *path = g_build_filename(g_get_tmp_dir(), "hvtimer-attach-XXXXXX", NULL);
    g_autoptr(GError) error = NULL;
    va_list arguments;
    int fd = g_mkstemp_full(path, O_RDWR | O_CLOEXEC, 0700);

    g_assert_cmpint(fd, >=, 0);
    close(fd);
    va_start(arguments, format);
    g_autofree char *command = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    g_autofree char *built = attach_built("daemon/attach/hvtimer-attach");
    g_autofree char *text = g_strdup_printf("#!/bin/sh\nexec %s '%s'\n", command, built);
    g_file_set_contents_full(path, text, -1, G_FILE_SET_CONTENTS_NONE, 0700, &error);
    g_assert_no_error(error);
    attach_use_helper(path);
    script = g_steal_pointer(&path);
}

gboolean attach_killed_at(const struct attach_job *job, unsigned at)
{
    g_autofree char *killer = attach_built("tests/integration/attach-killer.so");
    g_autoptr(GError) error = NULL;

    attach_use_script("env ATTACH_KILL_AT=%u LD_PRELOAD='%s'", at, killer);
    g_autoptr(AttachResult) result = attach_run(job, &error);
    attach_use_helper(NULL);
    if (result != NULL) {
        return FALSE; /* or only after it had replied, which is no difference to the daemon */
    }
    g_assert_error(error, HV_STATUS_ERROR, HV_STATUS_OPERATION_DENIED);
    return TRUE;
}

pid_t attach_target_start(const char *habit, const char *progress)
{
    g_autofree char *program = attach_built("tests/integration/attach-target");
    char *arguments[] = {program, (char *)habit, (char *)progress, NULL};
    g_autoptr(GError) error = NULL;
    char line[16];
    GPid pid;
    int out;

    g_spawn_async_with_pipes(NULL, arguments, NULL, G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL, &pid,
                             NULL, &out, NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpint(read(out, line, sizeof(line)), >, 0);
    close(out);
    return pid;
}

gboolean attach_target_is_alive(pid_t pid)
{
    return waitpid(pid, NULL, WNOHANG) == 0;
}

void attach_target_end(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}
