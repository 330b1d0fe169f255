/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Partitions of cooperating VMMs: see vmm.h. */
#include "daemon/sources/vmm.h"

#include "common/status.h"
#include "daemon/injectors/msi.h"
#include <string.h>

#define VMM_INTERFACE "org.hvtimer1.Vmm"
/* A VMM that does not make a route within that time has failed to; ticks wait meanwhile. */
#define ROUTE_TIMEOUT_MS 2000
#define NAME_MAX_BYTES   255

struct vmm_source {
    struct manager *manager;
    const struct state *state;
    GDBusConnection *connection;
    GHashTable *vmms; /* struct guest -> struct vmm (owned) */
};

struct vmm {
    struct vmm_source *source;
    struct guest *guest;
    char *sender;
    guint watch;
};

/* Where the route of one VMM is made; the injector's. */
struct route_target {
    GDBusConnection *connection;
    char *sender;
    char *path;
};

struct route_call {
    injector_routed_func done;
    gpointer done_data;
};

static void on_route_reply(GObject *object, GAsyncResult *result, gpointer user_data)
{
    g_autofree struct route_call *call = user_data;
    g_autoptr(GError) error = NULL;
    g_autoptr(GVariant) reply =
        g_dbus_connection_call_finish(G_DBUS_CONNECTION(object), result, &error);

    if (reply == NULL) {
        g_dbus_error_strip_remote_error(error);
        g_prefix_error(&error, "its VMM did not make the route: ");
    }
    call->done(error, call->done_data);
}

static void ask_for_route(uint64_t control, injector_routed_func done, gpointer done_data,
                          gpointer user_data)
{
    struct route_target *target = user_data;
    struct route_call *call = g_new(struct route_call, 1);

    *call = (struct route_call){done, done_data};
    g_dbus_connection_call(target->connection, target->sender, target->path, VMM_INTERFACE,
                           "SetRoute", g_variant_new("(t)", control), NULL,
                           G_DBUS_CALL_FLAGS_NO_AUTO_START, ROUTE_TIMEOUT_MS, NULL, on_route_reply,
                           call);
}

static void free_route_target(gpointer data)
{
    struct route_target *target = data;

    g_object_unref(target->connection);
    g_free(target->sender);
    g_free(target->path);
    g_free(target);
}

static void free_vmm(gpointer data)
{
    struct vmm *vmm = data;

    g_bus_unwatch_name(vmm->watch);
    g_free(vmm->sender);
    g_free(vmm);
}

static void on_vmm_gone(G_GNUC_UNUSED GDBusConnection *connection, G_GNUC_UNUSED const char *name,
                        gpointer user_data)
{
    struct vmm *vmm = user_data;

    vmm_source_detach(vmm->source, vmm->guest);
}

struct vmm_source *vmm_source_new(struct manager *manager, const struct state *state,
                                  GDBusConnection *connection)
{
    struct vmm_source *source = g_new0(struct vmm_source, 1);

    source->manager = manager;
    source->state = state;
    source->connection = g_object_ref(connection);
    source->vmms = g_hash_table_new_full(NULL, NULL, NULL, free_vmm);
    return source;
}

void vmm_source_free(struct vmm_source *source)
{
    if (source != NULL) {
        g_hash_table_unref(source->vmms);
        g_object_unref(source->connection);
        g_free(source);
    }
}

static const char *problem_of(const struct vmm_offer *offer)
{
    size_t length = strlen(offer->name);

    if (length == 0 || length > NAME_MAX_BYTES) {
        return "the partition's name must have 1 to 255 bytes";
    }
    for (const char *c = offer->name; *c != '\0'; c = g_utf8_next_char(c)) {
        if (!g_unichar_isprint(g_utf8_get_char(c))) {
            return "the partition's name has an unprintable character";
        }
    }
    if (*offer->uuid != '\0' && !g_uuid_string_is_valid(offer->uuid)) {
        return "the UUID must have the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx, or be empty";
    }
    return NULL;
}

static struct injector *make_injector(struct vmm_source *source, const struct vmm_offer *offer,
                                      GError **error)
{
    struct route_target *target = g_new(struct route_target, 1);
    g_autoptr(GError) cause = NULL;

    *target = (struct route_target){g_object_ref(source->connection), g_strdup(offer->sender),
                                    g_strdup(offer->path)};
    struct injector *injector = injector_msi_new(offer->tick_fd, offer->ack_fd, ask_for_route,
                                                 target, free_route_target, &cause);
    if (injector == NULL) {
        g_set_error(error, HV_STATUS_ERROR, HV_STATUS_INVALID_PARAMETER,
                    "a descriptor handed over is not usable: %s", cause->message);
    }
    return injector;
}

/* A VM that is handed over again, by the same process, goes on where the daemon before left it. */
static struct memory *recall(struct vmm_source *source, const struct vmm_offer *offer)
{
    struct memory *memory =
        state_find_running(source->state, "vmm", offer->name, offer->uuid, offer->pid);

    if (memory != NULL && memory->id != offer->wanted_id) {
        memory->guest.pending = FALSE; /* it was taken back, and this is another */
        return NULL;
    }
    return memory;
}

static struct guest *add_guest(struct vmm_source *source, const struct vmm_offer *offer,
                               struct injector *injector, GError **error)
{
    struct guest_identity identity = {
        .id = offer->wanted_id, .name = offer->name, .uuid = offer->uuid, .source = "vmm"};
    struct memory *memory = recall(source, offer);
    struct guest *guest = manager_add(source->manager, &identity, error);

    if (guest == NULL) {
        injector->ops->free(injector);
        return NULL;
    }
    if (memory != NULL) {
        guest_remember(guest, &memory->guest);
    }
    if (!guest_start_with(guest, offer->pid, injector, error)) {
        manager_remove(source->manager, guest);
        return NULL;
    }
    if (memory != NULL) {
        guest_resume(guest, &memory->guest);
    }
    return guest;
}

struct guest *vmm_source_attach(struct vmm_source *source, const struct vmm_offer *offer,
                                GError **error)
{
    const char *problem = problem_of(offer);
    struct injector *injector = make_injector(source, offer, problem == NULL ? error : NULL);

    if (injector != NULL && problem != NULL) {
        injector->ops->free(injector); /* takes the descriptors along */
    }
    if (problem != NULL) {
        g_set_error_literal(error, HV_STATUS_ERROR, HV_STATUS_INVALID_PARAMETER, problem);
        return NULL;
    }
    if (injector == NULL) {
        return NULL;
    }
    struct guest *guest = add_guest(source, offer, injector, error);
    if (guest != NULL) {
        struct vmm *vmm = g_new0(struct vmm, 1);
        *vmm = (struct vmm){.source = source, .guest = guest, .sender = g_strdup(offer->sender)};
        vmm->watch = g_bus_watch_name_on_connection(source->connection, offer->sender,
                                                    G_BUS_NAME_WATCHER_FLAGS_NONE, NULL,
                                                    on_vmm_gone, vmm, NULL);
        g_hash_table_insert(source->vmms, guest, vmm);
    }
    return guest;
}

struct guest *vmm_source_find(struct vmm_source *source, uint64_t id, const char *sender,
                              GError **error)
{
    struct guest *guest = manager_find(source->manager, id, error);

    if (guest == NULL) {
        return NULL;
    }
    struct vmm *vmm = g_hash_table_lookup(source->vmms, guest);
    if (vmm == NULL || g_strcmp0(vmm->sender, sender) != 0) {
        g_set_error(error, HV_STATUS_ERROR, HV_STATUS_ACCESS_DENIED,
                    "partition %" G_GUINT64_FORMAT " (%s): only the VMM that handed it over may do "
                    "this",
                    id, guest_identity(guest)->name);
        return NULL;
    }
    return guest;
}

void vmm_source_detach(struct vmm_source *source, struct guest *guest)
{
    g_hash_table_remove(source->vmms, guest);
    manager_remove(source->manager, guest);
}
