/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The configuration: see config.h. One table has every key, and one reader serves them all. */
#include "daemon/config.h"

#include "daemon/json.h"
#include "daemon/policy-names.h"
#include <inttypes.h>
#include <sched.h>
#include <string.h>

#define MODEL_NAME_MAX 64 /* characters */

G_DEFINE_QUARK(config_error, config_error)

typedef enum { KEY_INTEGER, KEY_BOOLEAN, KEY_WORD, KEY_NAMES } KeyType;

struct key {
    const char *section; /* "": none */
    const char *name;
    KeyType type;
    int64_t min, max;                   /* of the value; a word stands for a number, too */
    const char *(*word)(int64_t value); /* which word */
    size_t offset, size;                /* of the field in struct config */
};

#define FIELD(member) \
    .offset = offsetof(struct config, member), .size = sizeof((struct config){0}.member)

static const char *mode_word(int64_t value)
{
    return policy_mode_name((enum ticker_mode)value);
}

static const char *on_resume_word(int64_t value)
{
    return policy_on_resume_name(value != 0);
}

static const char *guest_reset_word(int64_t value)
{
    return value != 0 ? "keep" : "disable";
}

static const struct key keys[] = {
    {"engine", "priority", KEY_INTEGER, 0, 99, NULL, FIELD(engine_priority)},
    {"engine", "cpu", KEY_INTEGER, -1, CPU_SETSIZE - 1, NULL, FIELD(engine_cpu)},
    {"engine", "lock_memory", KEY_BOOLEAN, 0, 0, NULL, FIELD(lock_memory)},
    {"limits", "period_min", KEY_INTEGER, 1, PERIOD_PART_LIMIT / PERIOD_UNIT_NS - 1, NULL,
     FIELD(period.period_min)},
    {"limits", "period_max", KEY_INTEGER, 1, PERIOD_PART_LIMIT / PERIOD_UNIT_NS - 1, NULL,
     FIELD(period.period_max)},
    {"limits", "partitions", KEY_INTEGER, 1, 65536, NULL, FIELD(partitions)},
    {"policy", "policy", KEY_WORD, 0, TICKER_OBSERVE, mode_word, FIELD(policy.mode)},
    {"policy", "threshold", KEY_INTEGER, 1, UINT32_MAX, NULL, FIELD(policy.threshold)},
    {"policy", "slew", KEY_INTEGER, TICKER_SLEW_MIN, TICKER_SLEW_MAX, NULL, FIELD(policy.slew)},
    {"policy", "limit_ms", KEY_INTEGER, 0, UINT32_MAX, NULL, FIELD(policy.limit_ms)},
    {"policy", "on_resume", KEY_WORD, 0, 1, on_resume_word, FIELD(policy.catch_up_suspends)},
    {"", "guest_reset", KEY_WORD, 0, 1, guest_reset_word, FIELD(keep_on_reset)},
    {"", "models", KEY_NAMES, 0, 0, NULL, FIELD(models)},
};

struct config *config_new_default(void)
{
    struct config *config = g_new(struct config, 1);

    *config = (struct config){
        .engine_priority = 50,
        .engine_cpu = -1,
        .lock_memory = TRUE,
        .period = {.period_min = 1000, .period_max = 36000000000},
        .partitions = 4096,
        .policy = TICKER_POLICY_DEFAULT,
        .models = g_new0(char *, 1),
    };
    return config;
}

void config_free(struct config *config)
{
    if (config != NULL) {
        g_strfreev(config->models);
        g_free(config);
    }
}

static const struct key *find_key(const char *section, const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
        if (g_str_equal(keys[i].section, section) && g_str_equal(keys[i].name, name)) {
            return &keys[i];
        }
    }
    return NULL;
}

static gboolean is_section(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
        if (*name != '\0' && g_str_equal(keys[i].section, name)) {
            return TRUE;
        }
    }
    return FALSE;
}

/* What may stand in @section, for an error; at the top, "", that is the sections, too. */
static char *list_keys(const char *section)
{
    g_autoptr(GString) list = g_string_new(NULL);
    const char *last = "";

    for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
        gboolean inside = g_str_equal(keys[i].section, section);
        const char *name = inside ? keys[i].name : keys[i].section;

        if ((inside || *section == '\0') && !g_str_equal(name, last)) {
            g_string_append_printf(list, "%s%s", list->len > 0 ? ", " : "", name);
            last = name;
        }
    }
    return g_string_free(g_steal_pointer(&list), FALSE);
}

static char *list_words(const struct key *key)
{
    g_autoptr(GString) list = g_string_new("one of");

    for (int64_t i = key->min; i <= key->max; i++) {
        g_string_append_printf(list, "%s \"%s\"", i > key->min ? "," : "", key->word(i));
    }
    return g_string_free(g_steal_pointer(&list), FALSE);
}

/* What values @key takes, for an error. */
static char *describe_values(const struct key *key)
{
    switch (key->type) {
    case KEY_INTEGER:
        return g_strdup_printf("a whole number from %" PRId64 " to %" PRId64, key->min, key->max);
    case KEY_BOOLEAN:
        return g_strdup("true or false");
    case KEY_WORD:
        return list_words(key);
    case KEY_NAMES:
        return g_strdup_printf("an array of different names, each a string of 1 to %d printable "
                               "characters",
                               MODEL_NAME_MAX);
    }
    g_assert_not_reached();
}

static void store_integer(struct config *config, const struct key *key, int64_t value)
{
    void *field = (char *)config + key->offset;

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

static gboolean read_integer(const struct key *key, json_object *value, struct config *config)
{
    /* json-c clamps what doesn't fit to INT64_MIN or INT64_MAX, which are out of every range. */
    int64_t number = json_object_get_int64(value);

    if (!json_object_is_type(value, json_type_int) || number < key->min || number > key->max) {
        return FALSE;
    }
    store_integer(config, key, number);
    return TRUE;
}

static gboolean read_word(const struct key *key, json_object *value, struct config *config)
{
    if (!json_object_is_type(value, json_type_string)) {
        return FALSE;
    }
    for (int64_t i = key->min; i <= key->max; i++) {
        if (g_str_equal(key->word(i), json_object_get_string(value))) {
            store_integer(config, key, i);
            return TRUE;
        }
    }
    return FALSE;
}

static gboolean is_name(json_object *value)
{
    const char *name = json_object_get_string(value);

    if (!json_object_is_type(value, json_type_string) ||
        !g_utf8_validate(name, json_object_get_string_len(value), NULL) || *name == '\0' ||
        g_utf8_strlen(name, -1) > MODEL_NAME_MAX) {
        return FALSE;
    }
    for (; *name != '\0'; name = g_utf8_next_char(name)) {
        if (!g_unichar_isprint(g_utf8_get_char(name))) {
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean read_names(const struct key *key, json_object *value, struct config *config)
{
    char ***field = (char ***)(void *)((char *)config + key->offset);
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);

    if (!json_object_is_type(value, json_type_array)) {
        return FALSE;
    }
    for (size_t i = 0; i < json_object_array_length(value); i++) {
        json_object *item = json_object_array_get_idx(value, i);

        if (!is_name(item) || g_ptr_array_find_with_equal_func(names, json_object_get_string(item),
                                                               g_str_equal, NULL)) {
            return FALSE;
        }
        g_ptr_array_add(names, g_strdup(json_object_get_string(item)));
    }
    g_ptr_array_add(names, NULL);
    g_strfreev(*field);
    *field = (char **)g_ptr_array_steal(names, NULL);
    return TRUE;
}

static gboolean read_value(const struct key *key, json_object *value, struct config *config)
{
    switch (key->type) {
    case KEY_INTEGER:
        return read_integer(key, value, config);
    case KEY_BOOLEAN:
        if (!json_object_is_type(value, json_type_boolean)) {
            return FALSE;
        }
        store_integer(config, key, json_object_get_boolean(value));
        return TRUE;
    case KEY_WORD:
        return read_word(key, value, config);
    case KEY_NAMES:
        return read_names(key, value, config);
    }
    g_assert_not_reached();
}

/* @values: what is taken there. */
static void set_value_error(GError **error, const char *path, const char *section, const char *name,
                            json_object *value, const char *values)
{
    g_set_error(error, CONFIG_ERROR, CONFIG_ERROR_VALUE, "%s: %s%s%s can't be %s; give %s", path,
                section, *section != '\0' ? "." : "", name,
                json_object_to_json_string_ext(value, JSON_C_TO_STRING_NOSLASHESCAPE), values);
}

static gboolean read_section(const char *path, const char *section, json_object *object,
                             struct config *config, GError **error);

static gboolean read_member(const char *path, const char *section, const char *name,
                            json_object *value, struct config *config, GError **error)
{
    const struct key *key = find_key(section, name);

    if (key != NULL) {
        g_autofree char *values = NULL;

        if (read_value(key, value, config)) {
            return TRUE;
        }
        values = describe_values(key);
        set_value_error(error, path, section, name, value, values);
        return FALSE;
    }
    if (*section == '\0' && is_section(name)) {
        if (json_object_is_type(value, json_type_object)) {
            return read_section(path, name, value, config, error);
        }
        set_value_error(error, path, section, name, value, "an object");
        return FALSE;
    }
    if (*name == '#') {
        if (json_object_is_type(value, json_type_string)) {
            return TRUE;
        }
        set_value_error(error, path, section, name, value, "a string: it is a comment");
        return FALSE;
    }

    g_autofree char *known = list_keys(section);

    g_set_error(error, CONFIG_ERROR, CONFIG_ERROR_VALUE,
                "%s: %s%s%s is not a key of the configuration; remove it, or name one of %s", path,
                section, *section != '\0' ? "." : "", name, known);
    return FALSE;
}

static gboolean read_section(const char *path, const char *section, json_object *object,
                             struct config *config, GError **error)
{
    json_object_object_foreach(object, name, value)
    {
        if (!read_member(path, section, name, value, config, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean read_file(const char *path, struct config *config, GError **error)
{
    g_autoptr(json_object) root = json_file_load(path, error);

    return root != NULL && read_section(path, "", root, config, error);
}

static gint compare_strings(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The drop-ins' names in order. Hidden files are left out: editors leave such behind. */
static GPtrArray *list_drop_ins(GDir *directory)
{
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    const char *name;

    while ((name = g_dir_read_name(directory)) != NULL) {
        if (*name != '.' && g_str_has_suffix(name, ".json")) {
            g_ptr_array_add(names, g_strdup(name));
        }
    }
    g_ptr_array_sort(names, compare_strings);
    return names;
}

static gboolean read_drop_ins(const char *path, struct config *config, GError **error)
{
    size_t stem = strlen(path) - (g_str_has_suffix(path, ".json") ? strlen(".json") : 0);
    g_autofree char *directory_path = g_strdup_printf("%.*s.d", (int)stem, path);
    g_autoptr(GError) local_error = NULL;
    g_autoptr(GDir) directory = g_dir_open(directory_path, 0, &local_error);

    if (directory == NULL) {
        if (g_error_matches(local_error, G_FILE_ERROR, G_FILE_ERROR_NOENT)) {
            return TRUE;
        }
        g_propagate_error(error, g_steal_pointer(&local_error));
        return FALSE;
    }

    g_autoptr(GPtrArray) names = list_drop_ins(directory);

    for (guint i = 0; i < names->len; i++) {
        g_autofree char *drop_in = g_build_filename(directory_path, names->pdata[i], NULL);

        if (!read_file(drop_in, config, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

struct config *config_load(const char *path, gboolean required, GError **error)
{
    g_autoptr(Config) config = config_new_default();
    g_autoptr(GError) local_error = NULL;

    if (!read_file(path, config, &local_error) &&
        (required || !g_error_matches(local_error, G_FILE_ERROR, G_FILE_ERROR_NOENT))) {
        g_propagate_error(error, g_steal_pointer(&local_error));
        return NULL;
    }
    if (!read_drop_ins(path, config, error)) {
        return NULL;
    }
    if (config->period.period_min > config->period.period_max) {
        g_set_error(error, CONFIG_ERROR, CONFIG_ERROR_VALUE,
                    "%s with its drop-ins: limits.period_min is %" PRIu64
                    ", above limits.period_max, which is %" PRIu64 "; lower one or raise the other",
                    path, config->period.period_min, config->period.period_max);
        return NULL;
    }
    return g_steal_pointer(&config);
}
