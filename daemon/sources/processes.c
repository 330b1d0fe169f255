/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Partitions of KVM processes that libvirt does not know: see processes.h. */
#include "daemon/sources/processes.h"

#include "common/status.h"
#include "daemon/sources/vm-process.h"
#include <string.h>

struct process_source {
    struct manager *manager;
    const struct config *config;
    GHashTable *guests; /* a set */
};

struct process_source *process_source_new(struct manager *manager, const struct config *config)
{
    struct process_source *source = g_new0(struct process_source, 1);

    source->manager = manager;
    source->config = config;
    source->guests = g_hash_table_new(NULL, NULL);
    return source;
}

void process_source_free(struct process_source *source)
{
    if (source != NULL) {
        g_hash_table_unref(source->guests);
        g_free(source);
    }
}

/* A look at what any process may see, so that the operator hears at once what can't work; the
 * attach helper checks for itself. */
static gboolean has_kvm_vm(pid_t pid)
{
    g_autofree char *directory = g_strdup_printf("/proc/%d/fd", (int)pid);
    g_autoptr(GDir) dir = g_dir_open(directory, 0, NULL);
    const char *fd;

    while (dir != NULL && (fd = g_dir_read_name(dir)) != NULL) {
        g_autofree char *path = g_build_filename(directory, fd, NULL);
        g_autofree char *target = g_file_read_link(path, NULL);
        if (target != NULL && strstr(target, "kvm-vm") != NULL) {
            return TRUE;
        }
    }
    return FALSE;
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
    g_autofree char *valid = g_utf8_make_valid(g_strchomp(comm), -1);
    return g_strdup_printf("%s-%d", valid, (int)pid);
}

static gboolean check(struct process_source *source, pid_t pid, GError **error)
{
    struct guest *taken = manager_find_process(source->manager, (uint32_t)pid);

    if (taken != NULL) {
        g_set_error(error, HV_STATUS_ERROR, HV_STATUS_OBJECT_IN_USE,
                    "process %d is partition %" G_GUINT64_FORMAT " (%s) already", (int)pid,
                    guest_identity(taken)->id, guest_identity(taken)->name);
        return FALSE;
    }
    if (!has_kvm_vm(pid)) {
        g_set_error(error, HV_STATUS_ERROR, HV_STATUS_INVALID_PARTITION_STATE,
                    "process %d runs no KVM virtual machine, or may not be looked into; give the "
                    "process id of a VMM",
                    (int)pid);
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

struct guest *process_source_attach(struct process_source *source, pid_t pid, const char *name,
                                    GError **error)
{
    g_autofree char *chosen = name_of(pid, name);

    return check(source, pid, error) ? attach(source, pid, chosen, NULL, error) : NULL;
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
