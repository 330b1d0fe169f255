/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Partitions of the software local APIC: see models.h. */
#include "daemon/sources/models.h"

#include "daemon/injectors/model.h"

struct model_source {
    struct manager *manager;
    GHashTable *guests; /* name -> struct guest */
};

struct model_source *model_source_new(struct manager *manager)
{
    struct model_source *source = g_new0(struct model_source, 1);

    source->manager = manager;
    source->guests = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    return source;
}

void model_source_free(struct model_source *source)
{
    if (source != NULL) {
        g_hash_table_unref(source->guests);
        g_free(source);
    }
}

static void add(struct model_source *source, const char *name)
{
    struct guest_identity identity = {.name = name, .uuid = "", .source = "model"};
    g_autoptr(GError) error = NULL;
    struct guest *guest = manager_add(source->manager, &identity, &error);

    if (guest != NULL && !guest_start_with(guest, 0, injector_model_new(), &error)) {
        manager_remove(source->manager, guest);
        guest = NULL;
    }
    if (guest == NULL) {
        g_warning("model %s: %s", name, error->message);
        return;
    }
    g_hash_table_insert(source->guests, g_strdup(name), guest);
}

void model_source_configure(struct model_source *source, char *const *names)
{
    GHashTableIter iter;
    gpointer name, guest;

    g_hash_table_iter_init(&iter, source->guests);
    while (g_hash_table_iter_next(&iter, &name, &guest)) {
        if (!g_strv_contains((const char *const *)names, name)) {
            manager_remove(source->manager, guest);
            g_hash_table_iter_remove(&iter);
        }
    }
    for (; *names != NULL; names++) {
        if (!g_hash_table_contains(source->guests, *names)) {
            add(source, *names);
        }
    }
}
