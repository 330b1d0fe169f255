/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The configuration: see config.h. Its keys are in tables; config-keys.c reads by them. */
#include "daemon/config.h"

#include "daemon/config-domains.h"
#include "daemon/config-keys.h"
#include "daemon/engine.h"
#include "daemon/metrics-server.h"
#include <inttypes.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#define NAME_MAX_LENGTH 64   /* characters: of a model */
#define URI_MAX_LENGTH  1024 /* characters */
#define PATH_MAX_LENGTH 4095 /* characters */
#define UNITS_MAX       (PERIOD_PART_LIMIT / PERIOD_UNIT_NS - 1)

#define FIELD(member) CONFIG_FIELD(struct config, member)

G_DEFINE_QUARK(config_error, config_error)

/* ---- the keys ---- */

static const char *guest_reset_word(int64_t value)
{
    return value != 0 ? "keep" : "disable";
}

static gboolean is_connection(const char *text)
{
    return g_str_equal(text, "none") || g_uri_is_valid(text, G_URI_FLAGS_NONE, NULL);
}

/* False if it is no number of a pin, or one that @pins has already. */
static gboolean add_pin(struct config_pins *pins, json_object *value)
{
    int64_t pin = json_object_get_int64(value);

    if (!json_object_is_type(value, json_type_int) || pin < CONFIG_PIN_MIN ||
        pin > CONFIG_PIN_MAX || memchr(pins->pins, (int)pin, pins->length) != NULL) {
        return FALSE;
    }
    pins->pins[pins->length++] = (uint8_t)pin;
    return TRUE;
}

static gboolean read_pins(G_GNUC_UNUSED const struct config_key *key, const char *where,
                          json_object *value, void *field, GError **error)
{
    gboolean valid = json_object_is_type(value, json_type_array);
    struct config_pins pins = {0};

    for (size_t i = 0; valid && i < json_object_array_length(value); i++) {
        valid = add_pin(&pins, json_object_array_get_idx(value, i));
    }
    if (!valid) {
        g_autofree char *wanted = g_strdup_printf(
            "an array of different whole numbers from %d to %d", CONFIG_PIN_MIN, CONFIG_PIN_MAX);

        return config_refuse(error, where, value, wanted);
    }
    *(struct config_pins *)field = pins;
    return TRUE;
}

static gboolean read_metrics_listen(const struct config_key *key, const char *where,
                                    json_object *value, void *field, GError **error)
{
    const char *text = json_object_get_string(value);
    gboolean off = json_object_is_type(value, json_type_string) && *text == '\0' &&
                   json_object_get_string_len(value) == 0;
    g_autoptr(GSocketAddress) address =
        config_is_text(value, key->max) ? metrics_address_parse(text) : NULL;

    if (!off && address == NULL) {
        return config_refuse(error, where, value, key->wanted);
    }
    g_free(*(char **)field);
    *(char **)field = g_strdup(text);
    return TRUE;
}

static const struct config_key engine_keys[] = {
    {"priority", config_read_integer, FIELD(engine_priority), .min = 0, .max = 99},
    {"cpu", config_read_integer, FIELD(engine_cpu), .min = -1, .max = CPU_SETSIZE - 1},
    {"threads", config_read_integer, FIELD(engine_threads), .min = 1, .max = ENGINE_THREADS_MAX},
    {"window_us", config_read_integer, FIELD(engine_window_us), .min = 0, .max = 1000},
    {"lock_memory", config_read_boolean, FIELD(lock_memory)},
};
static const struct config_table engine_table = CONFIG_TABLE(engine_keys);

static const struct config_key limits_keys[] = {
    {"period_min", config_read_integer, FIELD(period.period_min), .min = 1, .max = UNITS_MAX},
    {"period_max", config_read_integer, FIELD(period.period_max), .min = 1, .max = UNITS_MAX},
    {"partitions", config_read_integer, FIELD(partitions), .min = 1, .max = 65536},
};
static const struct config_table limits_table = CONFIG_TABLE(limits_keys);

static const struct config_key keys[] = {
    {"engine", config_read_object, .table = &engine_table},
    {"limits", config_read_object, .table = &limits_table},
    {"policy", config_read_object, FIELD(policy), .table = &config_policy_table},
    {"guest_reset", config_read_word, FIELD(keep_on_reset), .max = 1, .word = guest_reset_word},
    {"models", config_read_names, FIELD(models), .max = NAME_MAX_LENGTH},
    {"libvirt", config_read_text, FIELD(libvirt), .max = URI_MAX_LENGTH, .accepts = is_connection,
     .wanted = "the URI of a libvirt connection, such as \"qemu:///system\", or \"none\""},
    {"attach_helper", config_read_text, FIELD(attach_helper), .max = PATH_MAX_LENGTH,
     .accepts = g_path_is_absolute,
     .wanted = "the absolute path of hvtimer-attach, or of the socket that it is had by"},
    {"state_directory", config_read_text, FIELD(state_directory), .max = PATH_MAX_LENGTH,
     .accepts = g_path_is_absolute, .wanted = "the absolute path of a directory"},
    {"pins", read_pins, FIELD(pins)},
    {"metrics_listen", read_metrics_listen, FIELD(metrics_listen), .max = PATH_MAX_LENGTH,
     .wanted = "a loopback address and a port, such as \"127.0.0.1:19177\" or \"[::1]:19177\", a "
               "Unix socket, such as \"unix:/run/hvtimer/metrics.sock\", or \"\" for none; nobody "
               "is asked who they are there, so let others in by a reverse proxy that does"},
    {"domains", config_read_domains, FIELD(domains)},
};
static const struct config_table table = CONFIG_TABLE(keys);

/* ---- the files ---- */

/* Who is root can do what it does, and starts it; who is not, has it started. */
const char *config_default_attach_helper(void)
{
    return geteuid() == 0 ? LIBEXECDIR "/hvtimer-attach" : RUNSTATEDIR "/hvtimer-attach.sock";
}

struct config *config_new_default(void)
{
    struct config *config = g_new(struct config, 1);

    *config = (struct config){
        .engine_priority = 50,
        .engine_cpu = -1,
        .engine_threads = 1,
        .engine_window_us = 50,
        .lock_memory = TRUE,
        .period = {.period_min = 1000, .period_max = 36000000000},
        .partitions = 4096,
        .policy = TICKER_POLICY_DEFAULT,
        .models = g_new0(char *, 1),
        .libvirt = g_strdup("qemu:///system"),
        .attach_helper = g_strdup(config_default_attach_helper()),
        .state_directory = g_strdup(RUNSTATEDIR "/hvtimer"),
        .pins = {.pins = {23, 22, 21, 20, 19, 18, 17, 16}, .length = 8},
        .metrics_listen = g_strdup(""),
        .domains = config_domains_new(),
    };
    return config;
}

void config_free(struct config *config)
{
    if (config != NULL) {
        g_strfreev(config->models);
        g_free(config->libvirt);
        g_free(config->attach_helper);
        g_free(config->state_directory);
        g_free(config->metrics_listen);
        g_array_unref(config->domains);
        g_free(config);
    }
}

static gboolean read_file(const char *path, struct config *config, GError **error)
{
    g_autoptr(json_object) root = json_file_load(path, CONFIG_FILE_SIZE_MAX, error);
    g_autofree char *prefix = g_strdup_printf("%s: ", path);

    return root != NULL && config_read_members(&table, prefix, root, config, error);
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
