/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* All partitions: see manager.h. */
#include "daemon/manager.h"

#include "common/status.h"

struct manager {
    struct engine *engine;
    struct guest_settings settings;
    GHashTable *guests; /* uint64_t id (the guest's own) -> struct guest */
    GHashTable *names;  /* name (the guest's own) -> struct guest */
    GHashTable *uuids;  /* UUID (the same), in any case of letters; not "" -> struct guest */
    uint64_t last_id;
    GArray *observers; /* struct manager_observer */
};

static guint hash_uuid(gconstpointer uuid)
{
    guint hash = 5381;

    for (const char *c = uuid; *c != '\0'; c++) {
        hash = hash * 33 + (guint)g_ascii_tolower(*c);
    }
    return hash;
}

static gboolean equal_uuids(gconstpointer a, gconstpointer b)
{
    return g_ascii_strcasecmp(a, b) == 0;
}

struct manager *manager_new(struct engine *engine, const struct config *config)
{
    struct manager *manager = g_new0(struct manager, 1);

    manager->engine = engine;
    manager->guests = g_hash_table_new(g_int64_hash, g_int64_equal);
    manager->names = g_hash_table_new(g_str_hash, g_str_equal);
    manager->uuids = g_hash_table_new(hash_uuid, equal_uuids);
    manager->observers = g_array_new(FALSE, FALSE, sizeof(struct manager_observer));
    manager_configure(manager, config);
    return manager;
}

void manager_free(struct manager *manager)
{
    GHashTableIter iter;
    gpointer guest;

    if (manager == NULL) {
        return;
    }
    g_hash_table_remove_all(manager->names);
    g_hash_table_remove_all(manager->uuids);
    g_hash_table_iter_init(&iter, manager->guests);
    while (g_hash_table_iter_next(&iter, NULL, &guest)) {
        g_hash_table_iter_remove(&iter);
        guest_remove(guest);
    }
    g_hash_table_unref(manager->names);
    g_hash_table_unref(manager->uuids);
    g_hash_table_unref(manager->guests);
    g_array_unref(manager->observers);
    g_free(manager);
}

void manager_configure(struct manager *manager, const struct config *config)
{
    manager->settings.limits = config->period;
    manager->settings.policy = config->policy;
    manager->settings.keep_on_reset = config->keep_on_reset;
}

void manager_add_observer(struct manager *manager, const struct manager_observer *observer)
{
    g_array_append_val(manager->observers, *observer);
}

void manager_remove_observer(struct manager *manager, gpointer user_data)
{
    for (guint i = 0; i < manager->observers->len; i++) {
        if (g_array_index(manager->observers, struct manager_observer, i).user_data == user_data) {
            g_array_remove_index(manager->observers, i);
            return;
        }
    }
}

#define tell(manager, what, guest)                                             \
    for (guint i_ = 0; i_ < (manager)->observers->len; i_++) {                 \
        struct manager_observer *o_ =                                          \
            &g_array_index((manager)->observers, struct manager_observer, i_); \
        o_->what(guest, o_->user_data);                                        \
    }

static void on_changed(struct guest *guest, gpointer user_data)
{
    tell((struct manager *)user_data, changed, guest);
}

void manager_foreach(struct manager *manager, void (*call)(struct guest *guest, gpointer user_data),
                     gpointer user_data)
{
    GHashTableIter iter;
    gpointer guest;

    g_hash_table_iter_init(&iter, manager->guests);
    while (g_hash_table_iter_next(&iter, NULL, &guest)) {
        call(guest, user_data);
    }
}

static gboolean check_free(struct manager *manager, const struct guest_identity *identity,
                           GError **error)
{
    const char *taken = g_hash_table_contains(manager->names, identity->name)   ? identity->name
                        : g_hash_table_contains(manager->uuids, identity->uuid) ? identity->uuid
                                                                                : NULL;

    if (taken != NULL) {
        g_set_error(error, HV_STATUS_ERROR, HV_STATUS_OBJECT_IN_USE,
                    "there is a partition %s already; give this one another name or UUID", taken);
        return FALSE;
    }
    return TRUE;
}

static uint64_t choose_id(struct manager *manager, uint64_t wanted)
{
    if (wanted == 0 || wanted > G_MAXINT64 || g_hash_table_contains(manager->guests, &wanted)) {
        wanted = manager->last_id + 1;
    }
    manager->last_id = MAX(manager->last_id, wanted);
    return wanted;
}

static void insert(struct manager *manager, struct guest *guest)
{
    const struct guest_identity *identity = guest_identity(guest);

    g_hash_table_insert(manager->guests, (gpointer)&identity->id, guest);
    if (*identity->name != '\0') {
        g_hash_table_insert(manager->names, (gpointer)identity->name, guest);
    }
    if (*identity->uuid != '\0') {
        g_hash_table_insert(manager->uuids, (gpointer)identity->uuid, guest);
    }
}

struct guest *manager_add(struct manager *manager, const struct guest_identity *identity,
                          GError **error)
{
    struct guest_identity chosen = *identity;

    if (!check_free(manager, identity, error)) {
        return NULL;
    }
    chosen.id = choose_id(manager, identity->id);
    struct guest *guest =
        guest_new(&chosen, manager->engine, &manager->settings, on_changed, manager);
    insert(manager, guest);
    g_message("partition %" G_GUINT64_FORMAT " (%s): known, source %s", chosen.id, chosen.name,
              chosen.source);
    tell(manager, added, guest);
    return guest;
}

void manager_remove(struct manager *manager, struct guest *guest)
{
    const struct guest_identity *identity = guest_identity(guest);

    g_message("partition %" G_GUINT64_FORMAT " (%s): ended", identity->id, identity->name);
    g_hash_table_remove(manager->guests, &identity->id);
    g_hash_table_remove(manager->names, identity->name);
    g_hash_table_remove(manager->uuids, identity->uuid);
    tell(manager, removed, guest);
    guest_remove(guest);
}

struct guest *manager_find(struct manager *manager, uint64_t id, GError **error)
{
    struct guest *guest = g_hash_table_lookup(manager->guests, &id);

    if (guest == NULL) {
        g_set_error(error, HV_STATUS_ERROR, HV_STATUS_INVALID_PARTITION_ID,
                    "there is no partition %" G_GUINT64_FORMAT "; `hvtimerctl list` shows all", id);
    }
    return guest;
}

struct guest *manager_lookup(struct manager *manager, const char *domain, GError **error)
{
    struct guest *guest = g_hash_table_lookup(manager->names, domain);
    guint64 id;

    if (guest == NULL) {
        guest = g_hash_table_lookup(manager->uuids, domain);
    }
    if (guest == NULL && g_ascii_string_to_unsigned(domain, 10, 1, G_MAXUINT64, &id, NULL)) {
        guest = g_hash_table_lookup(manager->guests, &id);
    }
    if (guest == NULL) {
        g_set_error(error, HV_STATUS_ERROR, HV_STATUS_INVALID_PARTITION_ID,
                    "there is no partition with the name, UUID or id \"%s\"; `hvtimerctl list` "
                    "shows all",
                    domain);
    }
    return guest;
}

struct guest *manager_find_process(struct manager *manager, uint32_t pid)
{
    GHashTableIter iter;
    gpointer guest;

    g_hash_table_iter_init(&iter, manager->guests);
    while (pid != 0 && g_hash_table_iter_next(&iter, NULL, &guest)) {
        if (guest_pid(guest) == pid) {
            return guest;
        }
    }
    return NULL;
}
