/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The daemon's side of hvtimer-attach: see client.h. */
#include "daemon/attach/client.h"

#include "common/status.h"
#include "daemon/attach/helper.h"
#include "daemon/attach/process.h"
#include "daemon/descriptor.h"
#include <errno.h>
#include <glib-unix.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The helper keeps its own deadline; this is for one that does not even get to run. */
#define TIMEOUT_MS (ATTACH_DEADLINE_MS + 3000)
/* After so many of them one behind a socket is not waited for any more: its unit's RuntimeMaxSec is
 * over; or it was never started, and will find that nobody waits. */
#define TIMEOUTS 3

struct run {
    GSubprocess *helper; /* NULL: it is behind a socket */
    GSource *readable;
    GSource *timeout;
    int socket;
    gboolean traces;    /* perf events are to come, not eventfds */
    gboolean ended;     /* the helper */
    gboolean answered;  /* `result` or `error` is there */
    gboolean timed_out; /* in the helper's own view: it has changed nothing; or it was not had */
    gboolean unsent;    /* the request: the other end was closed already */
    unsigned timeouts;
    struct attach_result *result;
    GError *error;
};

void attach_result_free(struct attach_result *result)
{
    for (unsigned i = 0; result != NULL && i < ATTACH_FDS; i++) {
        if (result->fds[i] >= 0) {
            close(result->fds[i]);
        }
    }
    if (result != NULL) {
        g_free(result->why_not);
    }
    g_free(result);
}

uint64_t attach_entry(uint64_t control)
{
    HV_EMULATED_TIMER_CONTROL c = {.AsUINT64 = control};

    return (uint64_t)c.Vector | (uint64_t)c.DeliveryMode << 8 |
           (c.LogicalDestinationMode ? ATTACH_ENTRY_LOGICAL : 0) | (uint64_t)c.Mda << 56;
}

static void drop_source(GSource **source)
{
    if (*source != NULL) {
        g_source_destroy(*source);
        g_clear_pointer(source, g_source_unref);
    }
}

static void free_run(gpointer data)
{
    struct run *run = data;

    drop_source(&run->readable);
    drop_source(&run->timeout);
    if (run->socket >= 0) {
        close(run->socket);
    }
    attach_result_free(run->result);
    g_clear_error(&run->error);
    g_clear_object(&run->helper);
    g_free(run);
}

static HV_STATUS hv_status_of(uint32_t status)
{
    switch ((enum attach_status)status) {
    case ATTACH_OK:
        return HV_STATUS_SUCCESS;
    case ATTACH_BAD_REQUEST:
        return HV_STATUS_INVALID_PARAMETER;
    case ATTACH_GONE:
        return HV_STATUS_INVALID_PARTITION_ID;
    case ATTACH_NOT_A_VMM:
    case ATTACH_NOT_ATTACHABLE:
    case ATTACH_PIN_LOST:
    case ATTACH_NO_LEASE:
    case ATTACH_LEASE_LOST:
    case ATTACH_TIMED_OUT:
        return HV_STATUS_INVALID_PARTITION_STATE;
    case ATTACH_PIN_IN_USE:
        return HV_STATUS_OBJECT_IN_USE;
    case ATTACH_NOT_PERMITTED:
        return HV_STATUS_ACCESS_DENIED;
    case ATTACH_NO_RESOURCES:
        return HV_STATUS_INSUFFICIENT_MEMORY;
    case ATTACH_NO_EVENT:
    case ATTACH_INTERNAL:
        break;
    }
    return HV_STATUS_OPERATION_DENIED;
}

/* ---- the reply ---- */

static void set_error(struct run *run, HV_STATUS status, const char *reason)
{
    run->answered = TRUE;
    if (run->error == NULL) {
        g_set_error(&run->error, HV_STATUS_ERROR, status, "%s", reason);
    }
}

/* Up to ATTACH_FDS descriptors; those too many are closed. */
static unsigned take_descriptors(struct msghdr *message, int fds[ATTACH_FDS])
{
    unsigned taken = 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
            if (taken < ATTACH_FDS) {
                fds[taken++] = fd;
            } else {
                close(fd);
            }
        }
    }
    return taken;
}

/* False if there is none; then errno is ECONNRESET if not even the request was read. @ret_cut:
 * descriptors that came along could not be taken. */
static gboolean receive(int socket, struct attach_reply *ret_reply, struct attach_result *result,
                        gboolean *ret_cut)
{
    union {
        struct cmsghdr header;
        char buffer[CMSG_SPACE(ATTACH_FDS * sizeof(int))];
    } control;
    struct iovec bytes = {ret_reply, sizeof(*ret_reply)};
    struct msghdr message = {.msg_iov = &bytes,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    ssize_t got;

    do {
        got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    } while (got < 0 && errno == EINTR);
    errno = got < 0 ? errno : 0;
    result->n_fds = got > 0 ? take_descriptors(&message, result->fds) : 0;
    *ret_cut = got > 0 && (message.msg_flags & MSG_CTRUNC) != 0;
    return got == (ssize_t)sizeof(*ret_reply) && ret_reply->magic == ATTACH_MAGIC &&
           ret_reply->version == ATTACH_VERSION && ret_reply->fds == result->n_fds &&
           (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0;
}

static gboolean check_descriptors(const struct run *run, const struct attach_result *result,
                                  GError **error)
{
    for (unsigned i = 0; i < result->n_fds; i++) {
        if (!(run->traces ? descriptor_check_perf_event(result->fds[i], error)
                          : descriptor_prepare_eventfd(result->fds[i], error))) {
            return FALSE;
        }
    }
    return TRUE;
}

static void take_no_reply(struct run *run, gboolean unread, gboolean cut)
{
    if (unread && run->helper == NULL) { /* as systemd does beyond MaxConnections */
        run->timed_out = TRUE;
        set_error(run, HV_STATUS_OPERATION_DENIED,
                  "nobody took the request to hvtimer-attach: it can't be started (see journalctl "
                  "-u 'hvtimer-attach*'), or there are too many of them; try again");
    } else if (cut) {
        set_error(run, HV_STATUS_INSUFFICIENT_MEMORY,
                  "hvtimerd may have no more descriptors: raise its limit of open files "
                  "(LimitNOFILE)");
    } else {
        set_error(run, HV_STATUS_OPERATION_DENIED,
                  "hvtimer-attach ended without a reply: try again");
    }
}

static void take_reply(struct run *run)
{
    g_autoptr(AttachResult) result = g_new0(struct attach_result, 1);
    g_autoptr(GError) error = NULL;
    struct attach_reply reply = {0};
    gboolean cut;

    memset(result->fds, 0xff, sizeof(result->fds)); /* -1 */
    if (!receive(run->socket, &reply, result, &cut)) {
        take_no_reply(run, run->unsent || errno == ECONNRESET, cut);
        return;
    }
    reply.reason[ATTACH_REASON_MAX - 1] = '\0';
    if (reply.status != ATTACH_OK) {
        g_autofree char *reason = g_utf8_make_valid(reply.reason, -1);
        run->timed_out = reply.status == ATTACH_TIMED_OUT;
        set_error(run, hv_status_of(reply.status), reason);
        return;
    }
    if (!check_descriptors(run, result, &error)) {
        set_error(run, HV_STATUS_OPERATION_DENIED, error->message);
        return;
    }
    result->pin = reply.pin;
    result->tick_dropped = (reply.flags & ATTACH_TICK_DROPPED) != 0;
    result->stall_ns = reply.stall_ns;
    result->old_entry = reply.old_entry;
    memcpy(result->entries, reply.entries, sizeof(result->entries));
    result->pit_length = reply.pit_length;
    memcpy(result->pic_base, reply.pic_base, sizeof(result->pic_base));
    memcpy(result->pic_mask, reply.pic_mask, sizeof(result->pic_mask));
    result->leased = (reply.flags & ATTACH_LEASED) != 0;
    result->lease = reply.lease;
    result->left_over = (reply.flags & ATTACH_LEFT_OVER) != 0;
    result->unseen = reply.unseen;
    memcpy(result->fields, reply.fields, sizeof(result->fields));
    result->why_not = *reply.reason != '\0' ? g_utf8_make_valid(reply.reason, -1) : NULL;
    run->result = g_steal_pointer(&result);
    run->answered = TRUE;
}

/* ---- the helper ---- */

/* Both the reply and the end of the helper are there: nothing of it is left in the VMM. */
static void finish_if_complete(GTask *task)
{
    struct run *run = g_task_get_task_data(task);

    if (!run->answered || !run->ended) {
        return;
    }
    drop_source(&run->readable);
    drop_source(&run->timeout);
    if (g_cancellable_is_cancelled(g_task_get_cancellable(task))) {
        g_task_return_error_if_cancelled(task);
    } else if (run->error != NULL) {
        g_task_return_error(task, g_steal_pointer(&run->error));
    } else {
        g_task_return_pointer(task, g_steal_pointer(&run->result),
                              (GDestroyNotify)attach_result_free);
    }
    g_object_unref(task);
}

/* A helper that is no child of ours has ended when it, and who started it, have closed their end.
 */
static gboolean has_hung_up(int fd)
{
    char byte;
    ssize_t got = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

    return got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
}

static gboolean on_readable(int fd, G_GNUC_UNUSED GIOCondition condition, gpointer user_data)
{
    GTask *task = user_data;
    struct run *run = g_task_get_task_data(task);

    if (!run->answered) {
        take_reply(run);
    } else if (run->helper == NULL && !has_hung_up(fd)) {
        char byte;
        recv(fd, &byte, 1, MSG_DONTWAIT); /* there is nothing more to be said */
    }
    if (run->helper == NULL && !has_hung_up(fd)) {
        return G_SOURCE_CONTINUE;
    }
    run->ended = run->ended || run->helper == NULL;
    g_clear_pointer(&run->readable, g_source_unref);
    finish_if_complete(task);
    return G_SOURCE_REMOVE;
}

static gboolean on_timeout(gpointer user_data)
{
    GTask *task = user_data;
    struct run *run = g_task_get_task_data(task);

    set_error(run, HV_STATUS_INVALID_PARTITION_STATE,
              run->helper != NULL ? "hvtimer-attach did not end in time and was killed: try again"
                                  : "hvtimer-attach did not reply in time: try again");
    if (run->helper == NULL && ++run->timeouts < TIMEOUTS) {
        return G_SOURCE_CONTINUE; /* whoever started it will end it: RuntimeMaxSec of its unit */
    }
    g_clear_pointer(&run->timeout, g_source_unref);
    if (run->helper != NULL) {
        g_subprocess_force_exit(run->helper);
    } else {
        run->ended = TRUE;
        finish_if_complete(task);
    }
    return G_SOURCE_REMOVE;
}

static void on_ended(GObject *object, GAsyncResult *result, gpointer user_data)
{
    g_autoptr(GError) error = NULL;
    GTask *task = user_data;
    struct run *run = g_task_get_task_data(task);

    if (!g_subprocess_wait_finish(G_SUBPROCESS(object), result, &error) &&
        g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CANCELLED)) {
        g_subprocess_force_exit(run->helper);
        g_subprocess_wait_async(run->helper, NULL, on_ended, task);
        set_error(run, HV_STATUS_OPERATION_DENIED, "cancelled");
        return;
    }
    run->ended = TRUE;
    if (!run->answered) {
        /* What it sent is there by now; if it sent nothing, the end of the stream is. */
        drop_source(&run->readable);
        take_reply(run);
    }
    finish_if_complete(task);
}

static uint32_t flags_of(const struct attach_job *job)
{
    gboolean leases = job->leased || (job->kind == ATTACH_BORROW && job->period.numerator != 0);

    return (job->edge ? ATTACH_EDGE : 0) | (job->pulse ? ATTACH_WITH_PULSE : 0) |
           (leases ? ATTACH_LEASE : 0) | (job->or_pin ? ATTACH_OR_PIN : 0) |
           (job->end_lease ? ATTACH_END_LEASE : 0);
}

static gboolean fill_in(const struct attach_job *job, struct attach_request *ret_request,
                        GError **error)
{
    *ret_request = (struct attach_request){.magic = ATTACH_MAGIC,
                                           .version = ATTACH_VERSION,
                                           .kind = job->kind,
                                           .pid = job->pid,
                                           .start_time = job->start_time,
                                           .pin = job->pin,
                                           .pins = job->pins,
                                           .flags = flags_of(job),
                                           .entry = job->entry,
                                           .expected = job->expected,
                                           .period_numerator = job->period.numerator,
                                           .period_denominator = job->period.denominator,
                                           .lease = job->lease,
                                           .trace = job->trace,
                                           .vcpu = job->vcpu,
                                           .n_ports = job->n_ports};
    memcpy(ret_request->ports, job->ports, sizeof(ret_request->ports));
    return job->start_time != 0 || process_start_time(job->pid, &ret_request->start_time, error);
}

static gboolean start(struct run *run, const char *helper, const struct attach_job *job,
                      GError **error)
{
    struct attach_request request;

    if (!fill_in(job, &request, error)) {
        return FALSE;
    }
    run->socket = helper_open(helper, &run->helper, &run->timed_out, error);
    /* One that has ended already says so by the lack of a reply. */
    if (run->socket >= 0) {
        run->unsent = send(run->socket, &request, sizeof(request), MSG_NOSIGNAL) < 0;
    }
    return run->socket >= 0;
}

static void watch(GTask *task)
{
    struct run *run = g_task_get_task_data(task);
    GMainContext *context = g_task_get_context(task);

    run->readable = g_unix_fd_source_new(run->socket, G_IO_IN | G_IO_HUP | G_IO_ERR);
    g_source_set_callback(run->readable, G_SOURCE_FUNC(on_readable), task, NULL);
    g_source_attach(run->readable, context);
    run->timeout = g_timeout_source_new(TIMEOUT_MS);
    g_source_set_callback(run->timeout, on_timeout, task, NULL);
    g_source_attach(run->timeout, context);
    if (run->helper != NULL) {
        g_subprocess_wait_async(run->helper, g_task_get_cancellable(task), on_ended, task);
    }
}

void attach_run_async(const char *helper, const struct attach_job *job, GCancellable *cancellable,
                      GAsyncReadyCallback callback, gpointer user_data)
{
    GTask *task = g_task_new(NULL, cancellable, callback, user_data);
    struct run *run = g_new0(struct run, 1);
    GError *error = NULL;

    run->socket = -1;
    run->traces = job->kind == ATTACH_TRACE;
    g_task_set_task_data(task, run, free_run);
    g_task_set_source_tag(task, attach_run_async);
    if (!start(run, helper, job, &error)) {
        g_task_return_error(task, error);
        g_object_unref(task);
        return;
    }
    watch(task);
}

struct attach_result *attach_run_finish(GAsyncResult *result, GError **error)
{
    return g_task_propagate_pointer(G_TASK(result), error);
}

gboolean attach_run_timed_out(GAsyncResult *result)
{
    struct run *run = g_task_get_task_data(G_TASK(result));

    return run->timed_out;
}
