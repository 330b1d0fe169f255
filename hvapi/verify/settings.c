/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A few keys of hvtimerd's configuration: see settings.h. */
#include "hvapi/verify/settings.h"

#include <json-c/json.h>
#include <string.h>

#define MAIN_FILE SYSCONFDIR "/hvtimer/hvtimerd.json"
#define DROP_INS  SYSCONFDIR "/hvtimer/hvtimerd.d"

/* As those of config.c. */
static const struct settings defaults = {
    .engine_cpu = -1,
    .engine_priority = 50,
    .lock_memory = TRUE,
};

static void replace(char **text, json_object *value)
{
    if (json_object_is_type(value, json_type_string)) {
        g_free(*text);
        *text = g_strdup(json_object_get_string(value));
    }
}

static void take(struct settings *settings, json_object *root)
{
    json_object *engine = json_object_object_get(root, "engine");
    json_object *cpu = json_object_object_get(engine, "cpu");
    json_object *priority = json_object_object_get(engine, "priority");
    json_object *lock = json_object_object_get(engine, "lock_memory");

    if (json_object_is_type(cpu, json_type_int)) {
        settings->engine_cpu = json_object_get_int(cpu);
    }
    if (json_object_is_type(priority, json_type_int)) {
        settings->engine_priority = json_object_get_int(priority);
    }
    if (json_object_is_type(lock, json_type_boolean)) {
        settings->lock_memory = json_object_get_boolean(lock);
    }
    replace(&settings->attach_helper, json_object_object_get(root, "attach_helper"));
    replace(&settings->libvirt, json_object_object_get(root, "libvirt"));
}

static void note(struct settings *settings, GError *error)
{
    if (settings->error == NULL) {
        settings->error = error;
    } else {
        g_error_free(error);
    }
}

static void read_file(struct settings *settings, const struct host *host, const char *path)
{
    GError *error = NULL;
    g_autofree char *text = host_read_text(host, path, &error);
    enum json_tokener_error problem;
    json_object *root;

    if (text == NULL) {
        if (g_error_matches(error, G_FILE_ERROR, G_FILE_ERROR_NOENT)) {
            g_error_free(error);
        } else {
            note(settings, error);
        }
        return;
    }
    root = json_tokener_parse_verbose(text, &problem);
    if (!json_object_is_type(root, json_type_object)) {
        note(settings,
             g_error_new(G_FILE_ERROR, G_FILE_ERROR_INVAL, "%s is not a JSON object%s%s", path,
                         problem != json_tokener_success ? ": " : "",
                         problem != json_tokener_success ? json_tokener_error_desc(problem) : ""));
    } else {
        take(settings, root);
    }
    json_object_put(root);
}

static gint compare_strings(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void settings_read(struct settings *ret_settings, const struct host *host)
{
    g_autofree char *full = g_strconcat(host->root, DROP_INS, NULL);
    g_autoptr(GDir) directory = g_dir_open(full, 0, NULL);
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    const char *name;

    *ret_settings = defaults;
    read_file(ret_settings, host, MAIN_FILE);
    while (directory != NULL && (name = g_dir_read_name(directory)) != NULL) {
        if (*name != '.' && g_str_has_suffix(name, ".json")) {
            g_ptr_array_add(names, g_strconcat(DROP_INS "/", name, NULL));
        }
    }
    g_ptr_array_sort(names, compare_strings);
    for (guint i = 0; i < names->len; i++) {
        read_file(ret_settings, host, names->pdata[i]);
    }
}

void settings_clear(struct settings *settings)
{
    g_free(settings->attach_helper);
    g_free(settings->libvirt);
    g_clear_error(&settings->error);
    *settings = (struct settings){0};
}
