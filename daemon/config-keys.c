/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading JSON objects strictly, by tables: see config-keys.h. */
#include "daemon/config-keys.h"

#include "daemon/config.h"
#include <inttypes.h>
#include <string.h>

gboolean config_refuse(GError **error, const char *where, json_object *value, const char *wanted)
{
    g_set_error(error, CONFIG_ERROR, CONFIG_ERROR_VALUE, "%s can't be %s; give %s", where,
                json_object_to_json_string_ext(value, JSON_C_TO_STRING_NOSLASHESCAPE), wanted);
    return FALSE;
}

/* ---- numbers and words ---- */

static void store_integer(const struct config_key *key, int64_t value, void *field)
{
    switch (key->size) {
    case sizeof(uint8_t):
        *(uint8_t *)field = (uint8_t)value;
        break;
    case sizeof(uint32_t):
        *(uint32_t *)field = (uint32_t)value;
        break;
    case sizeof(uint64_t):
        *(uint64_t *)field = (uint64_t)value;
        break;
    default:
        g_assert_not_reached();
    }
}

gboolean config_read_integer(const struct config_key *key, const char *where, json_object *value,
                             void *field, GError **error)
{
    /* json-c clamps what doesn't fit to INT64_MIN or INT64_MAX, which are out of every range. */
    int64_t number = json_object_get_int64(value);

    if (!json_object_is_type(value, json_type_int) || number < key->min || number > key->max) {
        g_autofree char *wanted =
            g_strdup_printf("a whole number from %" PRId64 " to %" PRId64, key->min, key->max);

        return config_refuse(error, where, value, wanted);
    }
    store_integer(key, number, field);
    return TRUE;
}

gboolean config_read_boolean(const struct config_key *key, const char *where, json_object *value,
                             void *field, GError **error)
{
    if (!json_object_is_type(value, json_type_boolean)) {
        return config_refuse(error, where, value, "true or false");
    }
    store_integer(key, json_object_get_boolean(value), field);
    return TRUE;
}

static char *list_words(const struct config_key *key)
{
    g_autoptr(GString) list = g_string_new("one of");

    for (int64_t i = key->min; i <= key->max; i++) {
        g_string_append_printf(list, "%s \"%s\"", i > key->min ? "," : "", key->word(i));
    }
    return g_string_free(g_steal_pointer(&list), FALSE);
}

gboolean config_read_word(const struct config_key *key, const char *where, json_object *value,
                          void *field, GError **error)
{
    const char *given = json_object_get_string(value);
    /* A NUL in it does not end it. */
    gboolean text = json_object_is_type(value, json_type_string) &&
                    strlen(given) == (size_t)json_object_get_string_len(value);

    for (int64_t i = key->min; text && i <= key->max; i++) {
        if (g_str_equal(key->word(i), given)) {
            store_integer(key, i, field);
            return TRUE;
        }
    }

    g_autofree char *wanted = list_words(key);

    return config_refuse(error, where, value, wanted);
}

/* ---- texts ---- */

gboolean config_is_text(json_object *value, int64_t max)
{
    const char *text = json_object_get_string(value);

    if (!json_object_is_type(value, json_type_string) ||
        !g_utf8_validate(text, json_object_get_string_len(value), NULL) || *text == '\0' ||
        g_utf8_strlen(text, -1) > max) {
        return FALSE;
    }
    for (; *text != '\0'; text = g_utf8_next_char(text)) {
        if (!g_unichar_isprint(g_utf8_get_char(text))) {
            return FALSE;
        }
    }
    return TRUE;
}

gboolean config_read_text(const struct config_key *key, const char *where, json_object *value,
                          void *field, GError **error)
{
    char **text = field;

    if (!config_is_text(value, key->max) ||
        (key->accepts != NULL && !key->accepts(json_object_get_string(value)))) {
        return config_refuse(error, where, value, key->wanted);
    }
    g_free(*text);
    *text = g_strdup(json_object_get_string(value));
    return TRUE;
}

/* NULL if it is no array of different names. */
static char **take_names(json_object *value, int64_t max)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);

    if (!json_object_is_type(value, json_type_array)) {
        return NULL;
    }
    for (size_t i = 0; i < json_object_array_length(value); i++) {
        json_object *item = json_object_array_get_idx(value, i);

        if (!config_is_text(item, max) ||
            g_ptr_array_find_with_equal_func(names, json_object_get_string(item), g_str_equal,
                                             NULL)) {
            return NULL;
        }
        g_ptr_array_add(names, g_strdup(json_object_get_string(item)));
    }
    g_ptr_array_add(names, NULL);
    return (char **)g_ptr_array_steal(names, NULL);
}

gboolean config_read_names(const struct config_key *key, const char *where, json_object *value,
                           void *field, GError **error)
{
    char ***names = field;
    char **taken = take_names(value, key->max);

    if (taken == NULL) {
        g_autofree char *wanted = g_strdup_printf("an array of different names, each a string of 1 "
                                                  "to %" PRId64 " printable characters",
                                                  key->max);

        return config_refuse(error, where, value, wanted);
    }
    g_strfreev(*names);
    *names = taken;
    return TRUE;
}

/* ---- objects ---- */

gboolean config_read_object(const struct config_key *key, const char *where, json_object *value,
                            void *field, GError **error)
{
    g_autofree char *prefix = g_strdup_printf("%s.", where);

    if (!json_object_is_type(value, json_type_object)) {
        return config_refuse(error, where, value, "an object");
    }
    return config_read_members(key->table, prefix, value, field, error);
}

static const struct config_key *find_key(const struct config_table *table, const char *name)
{
    for (size_t i = 0; i < table->length; i++) {
        if (g_str_equal(table->keys[i].name, name)) {
            return &table->keys[i];
        }
    }
    return NULL;
}

static gboolean refuse_key(const struct config_table *table, const char *where, GError **error)
{
    g_autoptr(GString) known = g_string_new(NULL);

    for (size_t i = 0; i < table->length; i++) {
        g_string_append_printf(known, "%s%s", i > 0 ? ", " : "", table->keys[i].name);
    }
    g_set_error(error, CONFIG_ERROR, CONFIG_ERROR_VALUE,
                "%s is not a key of the configuration; remove it, or name one of %s", where,
                known->str);
    return FALSE;
}

static gboolean read_member(const struct config_table *table, const char *prefix, const char *name,
                            json_object *value, void *target, GError **error)
{
    g_autofree char *where = g_strdup_printf("%s%s", prefix, name);
    const struct config_key *key = find_key(table, name);

    if (key != NULL) {
        return key->read(key, where, value, (char *)target + key->offset, error);
    }
    if (*name != '#') {
        return refuse_key(table, where, error);
    }
    return json_object_is_type(value, json_type_string) ||
           config_refuse(error, where, value, "a string: it is a comment");
}

gboolean config_read_members(const struct config_table *table, const char *prefix,
                             json_object *object, void *target, GError **error)
{
    json_object_object_foreach(object, name, value)
    {
        if (!read_member(table, prefix, name, value, target, error)) {
            return FALSE;
        }
    }
    return TRUE;
}
