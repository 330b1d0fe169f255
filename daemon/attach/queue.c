/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Requests to one VMM's process, one after the other: see queue.h. */
#include "daemon/attach/queue.h"

/* A host that keeps a VMM's thread from running for longer than the helper waits for it, often does
 * so again: several attempts, and time in between, as each may make the VM stand still. */
#define TRIES    10
#define PAUSE_MS 100

/* Of all queues: the others wait. Fewer than hvtimer-attach.socket allows (MaxConnections), and
 * each may keep a CPU busy. */
#define AT_A_TIME 32

struct entry {
    struct attach_job job;
    unsigned tries;
    attach_queue_func done;
    gpointer user_data;
};

struct attach_queue {
    int references;
    char *helper;
    pid_t pid;
    uint64_t start_time;
    GQueue entries; /* the first one is being run */
};

/* For the daemon's end, which waits for pins to be put back. */
static unsigned pending;
static unsigned running;
static GQueue waiting = G_QUEUE_INIT; /* queues whose first entry is to be run */

unsigned attach_queue_pending(void)
{
    return pending;
}

struct attach_queue *attach_queue_new(const char *helper, pid_t pid, uint64_t start_time)
{
    struct attach_queue *queue = g_new0(struct attach_queue, 1);

    queue->references = 1;
    queue->helper = g_strdup(helper);
    queue->pid = pid;
    queue->start_time = start_time;
    return queue;
}

struct attach_queue *attach_queue_ref(struct attach_queue *queue)
{
    queue->references++;
    return queue;
}

void attach_queue_unref(struct attach_queue *queue)
{
    if (--queue->references == 0) {
        g_free(queue->helper);
        g_free(queue);
    }
}

pid_t attach_queue_pid(const struct attach_queue *queue)
{
    return queue->pid;
}

static void run_first(struct attach_queue *queue);

static void run_waiting(void)
{
    struct attach_queue *next = g_queue_pop_head(&waiting);

    if (next != NULL) {
        run_first(next);
    }
}

static gboolean run_again(gpointer queue)
{
    run_first(queue);
    return G_SOURCE_REMOVE;
}

static void on_run(G_GNUC_UNUSED GObject *object, GAsyncResult *result, gpointer user_data)
{
    struct attach_queue *queue = user_data;
    struct entry *first = g_queue_peek_head(&queue->entries);
    g_autoptr(GError) error = NULL;
    struct attach_result *got = attach_run_finish(result, &error);

    running--;
    run_waiting();
    if (got == NULL && attach_run_timed_out(result) && ++first->tries < TRIES) {
        g_timeout_add(PAUSE_MS, run_again, queue);
        return;
    }
    g_autofree struct entry *entry = g_queue_pop_head(&queue->entries);
    pending--;
    if (!g_queue_is_empty(&queue->entries)) {
        run_first(queue);
    }
    entry->done(got, error, entry->user_data);
    attach_queue_unref(queue);
}

static void run_first(struct attach_queue *queue)
{
    const struct entry *entry = g_queue_peek_head(&queue->entries);

    if (running == AT_A_TIME) {
        g_queue_push_tail(&waiting, queue);
        return;
    }
    running++;
    attach_run_async(queue->helper, &entry->job, NULL, on_run, queue);
}

void attach_queue_run(struct attach_queue *queue, const struct attach_job *job,
                      attach_queue_func done, gpointer user_data)
{
    struct entry *entry = g_new(struct entry, 1);

    *entry = (struct entry){.job = *job, .done = done, .user_data = user_data};
    entry->job.pid = queue->pid;
    entry->job.start_time = queue->start_time;
    attach_queue_ref(queue);
    pending++;
    g_queue_push_tail(&queue->entries, entry);
    if (g_queue_get_length(&queue->entries) == 1) {
        run_first(queue);
    }
}
