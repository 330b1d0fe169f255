/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Partitions of KVM processes that libvirt does not know: see processes.h. */
#include "daemon/sources/processes.h"

#include "common/status.h"
#include "daemon/attach/process.h"
#include "daemon/attach/queue.h"
#include "daemon/sources/vm-process.h"

struct process_source {
    struct manager *manager;
    const struct config *config;
    GHashTable *guests; /* a set */
    GList *asked;       /* struct asked: those that are being looked into */
};

/* One that is to be attached to, if there is a KVM VM in it. */
struct asked {
    struct process_source *source; /* NULL: it is no more */
    pid_t pid;
    char *name;
    process_source_func done;
    gpointer user_data;
};

struct process_source *process_source_new(struct manager *manager, const struct config *config)
{
    struct process_source *source = g_new0(struct process_source, 1);

    source->manager = manager;
    source->config = config;
    source->guests = g_hash_table_new(NULL, NULL);
    return source;
}

static char *name_of(pid_t pid, const char *name)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/comm", (int)pid);
    g_autofree char *comm = NULL;

    if (*name != '\0') {
        return g_strdup(name);
    }
    if (!g_file_get_contents(path, &comm, NULL, NULL)) {
        return g_strdup_printf("process-%d", (int)pid);
    }
    /* It may call itself anything, and who reads the name may be a terminal. */
    for (char *c = g_strchomp(comm); *c != '\0'; c++) {
        *c = g_ascii_isgraph(*c) ? *c : '_';
    }
    return g_strdup_printf("%s-%d", comm, (int)pid);
}

static gboolean check_taken(struct process_source *source, pid_t pid, GError **error)
{
    struct guest *taken = manager_find_process(source->manager, (uint32_t)pid);

    if (taken != NULL) {
        g_set_error(error, HV_STATUS_ERROR, HV_STATUS_OBJECT_IN_USE,
                    "process %d is partition %" G_GUINT64_FORMAT " (%s) already", (int)pid,
                    guest_identity(taken)->id, guest_identity(taken)->name);
        return FALSE;
    }
    return TRUE;
}

static void on_ended(struct guest *guest, gpointer user_data)
{
    struct process_source *source = user_data;

    g_hash_table_remove(source->guests, guest);
    manager_remove(source->manager, guest);
}

static struct guest *attach(struct process_source *source, pid_t pid, const char *name,
                            struct memory *memory, GError **error)
{
    struct guest_identity identity = {
        .id = memory != NULL ? memory->id : 0, .name = name, .uuid = "", .source = "process"};
    struct guest *guest = manager_add(source->manager, &identity, error);

    if (guest == NULL) {
        return NULL;
    }
    if (memory != NULL) {
        guest_remember(guest, &memory->guest);
    }
    if (!vm_process_start(guest, pid, source->config, on_ended, source, error)) {
        manager_remove(source->manager, guest);
        return NULL;
    }
    if (memory != NULL) {
        guest_resume(guest, &memory->guest);
    }
    g_hash_table_add(source->guests, guest);
    return guest;
}

/* ---- when asked to ---- */

static void free_asked(struct asked *asked)
{
    g_free(asked->name);
    g_free(asked);
}

/* By then another may have been faster. */
static struct guest *attach_asked(const struct asked *asked, GError **error)
{
    g_autofree char *name = name_of(asked->pid, asked->name);

    return check_taken(asked->source, asked->pid, error)
               ? attach(asked->source, asked->pid, name, NULL, error)
               : NULL;
}

static void on_looked(struct attach_result *result, const GError *error, gpointer user_data)
{
    struct asked *asked = user_data;
    g_autoptr(AttachResult) owned = result;
    g_autoptr(GError) problem = NULL;
    struct guest *guest = NULL;

    if (asked->source != NULL) {
        asked->source->asked = g_list_remove(asked->source->asked, asked);
        if (result != NULL) {
            guest = attach_asked(asked, &problem);
        }
        asked->done(guest, result != NULL ? problem : error, asked->user_data);
    }
    free_asked(asked);
}

/* So that the operator hears at once what can't work. Only the attach helper may look into other
 * users' processes. */
void process_source_attach(struct process_source *source, pid_t pid, const char *name,
                           process_source_func done, gpointer user_data)
{
    g_autoptr(GError) error = NULL;
    uint64_t start_time;

    if (!check_taken(source, pid, &error) || !process_start_time(pid, &start_time, &error)) {
        done(NULL, error, user_data);
        return;
    }
    struct attach_queue *queue = attach_queue_new(source->config->attach_helper, pid, start_time);
    struct asked *asked = g_new(struct asked, 1);
    *asked = (struct asked){source, pid, g_strdup(name), done, user_data};
    source->asked = g_list_prepend(source->asked, asked);
    attach_queue_run(queue, &(struct attach_job){.kind = ATTACH_CHECK}, on_looked, asked);
    attach_queue_unref(queue);
}

void process_source_free(struct process_source *source)
{
    g_autoptr(GError) error =
        g_error_new_literal(HV_STATUS_ERROR, HV_STATUS_INVALID_PARTITION_STATE,
                            "hvtimerd ends: try again once it runs");

    for (GList *i = source != NULL ? source->asked : NULL; i != NULL; i = i->next) {
        struct asked *asked = i->data;
        asked->source = NULL; /* it goes when its answer comes */
        asked->done(NULL, error, asked->user_data);
    }
    if (source != NULL) {
        g_list_free(source->asked);
        g_hash_table_unref(source->guests);
        g_free(source);
    }
}

void process_source_resume(struct process_source *source, const struct state *state)
{
    g_autoptr(GPtrArray) list = state_list(state, "process");

    for (guint i = 0; i < list->len; i++) {
        struct memory *memory = g_ptr_array_index(list, i);
        g_autoptr(GError) error = NULL;
        if (state_find_running(state, "process", memory->name, "", memory->pid) == memory &&
            attach(source, (pid_t)memory->pid, memory->name, memory, &error) == NULL) {
            memory->guest.pending = FALSE;
            g_warning("process %u (%s) can't be attached to again: %s", memory->pid, memory->name,
                      error->message);
        }
    }
}

gboolean process_source_detach(struct process_source *source, struct guest *guest, GError **error)
{
    if (!g_hash_table_remove(source->guests, guest)) {
        g_set_error(error, HV_STATUS_ERROR, HV_STATUS_OPERATION_DENIED,
                    "partition %" G_GUINT64_FORMAT " (%s) is not one of `hvtimerctl attach`: it "
                    "ends with its VM; `hvtimerctl disable` stops its timer",
                    guest_identity(guest)->id, guest_identity(guest)->name);
        return FALSE;
    }
    manager_remove(source->manager, guest);
    return TRUE;
}
