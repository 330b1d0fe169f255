/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the configuration says of guests: see config-domains.h. */
#include "daemon/config-domains.h"

#include "daemon/config.h"
#include "daemon/policy-names.h"
#include <string.h>

#define MATCH_MAX_LENGTH 255 /* characters */
#define TEXT_MAX_LENGTH  64  /* characters: of a timer's values */

/* ---- policies ---- */

static const char *mode_word(int64_t value)
{
    return policy_mode_name((enum ticker_mode)value);
}

static const char *on_resume_word(int64_t value)
{
    return policy_on_resume_name(value != 0);
}

#define FIELD(member) CONFIG_FIELD(struct ticker_policy, member)
static const struct config_key policy_keys[] = {
    {"policy", config_read_word, FIELD(mode), .max = TICKER_OBSERVE, .word = mode_word},
    {"threshold", config_read_integer, FIELD(threshold), .min = 1, .max = UINT32_MAX},
    {"slew", config_read_integer, FIELD(slew), .min = TICKER_SLEW_MIN, .max = TICKER_SLEW_MAX},
    {"limit_ms", config_read_integer, FIELD(limit_ms), .min = 0, .max = UINT32_MAX},
    {"on_resume", config_read_word, FIELD(catch_up_suspends), .max = 1, .word = on_resume_word},
};
#undef FIELD
const struct config_table config_policy_table = CONFIG_TABLE(policy_keys);

static unsigned policy_fields(json_object *policy)
{
    static const struct {
        const char *name;
        enum assist_policy_field field;
    } fields[] = {{"policy", ASSIST_POLICY_MODE},
                  {"threshold", ASSIST_POLICY_THRESHOLD},
                  {"slew", ASSIST_POLICY_SLEW},
                  {"limit_ms", ASSIST_POLICY_LIMIT},
                  {"on_resume", ASSIST_POLICY_ON_RESUME}};
    unsigned given = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(fields); i++) {
        if (json_object_object_get_ex(policy, fields[i].name, NULL)) {
            given |= fields[i].field;
        }
    }
    return given;
}

static gboolean read_policy(const struct config_key *key, const char *where, json_object *value,
                            void *field, GError **error)
{
    struct assist *assist = field;

    if (!config_read_object(key, where, value, &assist->policy, error)) {
        return FALSE;
    }
    assist->policy_given = policy_fields(value);
    return TRUE;
}

/* ---- timers ---- */

static gboolean set_timer(const struct config_key *key, const char *where, const char *text,
                          struct assist *assist, GError **error)
{
    const struct assist_value *value = assist_find_value(assist_timer_values, key->name);
    g_autoptr(GError) problem = NULL;

    if (!value->set(assist, where, text, &problem)) {
        g_set_error_literal(error, CONFIG_ERROR, CONFIG_ERROR_VALUE, problem->message);
        return FALSE;
    }
    return TRUE;
}

static gboolean read_text(const struct config_key *key, const char *where, json_object *value,
                          void *assist, GError **error)
{
    if (!config_is_text(value, TEXT_MAX_LENGTH)) {
        return config_refuse(error, where, value, key->wanted);
    }
    return set_timer(key, where, json_object_get_string(value), assist, error);
}

/* JSON has no 0x…: as a string, too. */
static gboolean read_number(const struct config_key *key, const char *where, json_object *value,
                            void *assist, GError **error)
{
    if (json_object_is_type(value, json_type_int)) {
        return set_timer(key, where, json_object_get_string(value), assist, error);
    }
    return read_text(key, where, value, assist, error);
}

static gboolean read_boolean(const struct config_key *key, const char *where, json_object *value,
                             void *assist, GError **error)
{
    if (!json_object_is_type(value, json_type_boolean)) {
        return config_refuse(error, where, value, key->wanted);
    }
    return set_timer(key, where, json_object_get_boolean(value) ? "yes" : "no", assist, error);
}

/* Into struct assist. */
static const struct config_key timer_keys[] = {
    {"period", read_text, .wanted = "a string such as \"976.5625us\", \"1/1024s\" or \"1024Hz\""},
    {"vector", read_number, .wanted = "a number from 16 to 255, or a string such as \"0x50\""},
    {"destination", read_text, .wanted = "a string such as \"physical:0\" or \"logical:0x3\""},
    {"delivery", read_text, .wanted = "one of \"fixed\", \"lowest\""},
    {"injector", read_text, .wanted = "one of \"auto\", \"msi\", \"pin\", \"lapic\", \"model\""},
    {"enabled", read_boolean, .wanted = "true or false"},
};
static const struct config_table timer_table = CONFIG_TABLE(timer_keys);

static gboolean read_timer(const struct config_key *key, const char *where, json_object *value,
                           void *field, GError **error)
{
    struct assist *assist = field;

    if (!config_read_object(key, where, value, assist, error)) {
        return FALSE;
    }

    const char *missing = assist_timer_lacks(assist);

    if (missing != NULL) {
        g_set_error(error, CONFIG_ERROR, CONFIG_ERROR_VALUE,
                    "%s has no %s; give one, as in {\"period\": \"1ms\", \"vector\": \"0x50\"}",
                    where, missing);
        return FALSE;
    }
    assist->timer = TRUE;
    return TRUE;
}

/* ---- timers of the guest's own ---- */

static const char *supervision_word(int64_t value)
{
    return supervision_mode_name((enum supervision_mode)value);
}

#define FIELD(member) CONFIG_FIELD(struct supervision, member)
static const struct config_key supervision_keys[] = {
    {"mode", config_read_word, FIELD(mode), .max = SUPERVISION_SLEW, .word = supervision_word},
    {"force", config_read_boolean, FIELD(force)},
};
#undef FIELD
static const struct config_table supervision_table = CONFIG_TABLE(supervision_keys);

/* @where has @problem, if it is not NULL. */
static gboolean check_whole(const char *where, const char *problem, GError **error)
{
    if (problem != NULL) {
        g_set_error(error, CONFIG_ERROR, CONFIG_ERROR_VALUE, "%s has %s", where, problem);
    }
    return problem == NULL;
}

/* Of the timer that is named as its key is. */
static gboolean read_supervision(const struct config_key *key, const char *where,
                                 json_object *value, void *field, GError **error)
{
    struct supervision supervision = SUPERVISION_NONE;
    /* What it stands in: @where without the key. */
    g_autofree char *domain = g_strndup(where, strlen(where) - strlen(key->name) - 1);

    if (!config_read_object(key, where, value, &supervision, error)) {
        return FALSE;
    }
    if (!json_object_object_get_ex(value, "mode", NULL)) {
        g_set_error(error, CONFIG_ERROR, CONFIG_ERROR_VALUE,
                    "%s has no mode; give \"slew\", \"observe\" or \"off\", as in "
                    "{\"mode\": \"slew\"}",
                    where);
        return FALSE;
    }
    base_timer_from_name(key->name, &supervision.timer);
    return check_whole(domain, assist_supervise(field, &supervision), error);
}

/* ---- domains ---- */

#define FIELD(member) CONFIG_FIELD(struct config_domain, member)
static const struct config_key domain_keys[] = {
    {"match", config_read_text, FIELD(match), .max = MATCH_MAX_LENGTH,
     .wanted = "the UUID of a domain, or a name, such as \"win2003-*\", of 1 to 255 printable "
               "characters"},
    {"timer", read_timer, FIELD(assist), .table = &timer_table},
    {"rtc", read_supervision, FIELD(assist), .table = &supervision_table},
    {"pit", read_supervision, FIELD(assist), .table = &supervision_table},
    {"policy", read_policy, FIELD(assist), .table = &config_policy_table},
};
#undef FIELD
static const struct config_table domain_table = CONFIG_TABLE(domain_keys);

static void domain_clear(void *domain)
{
    g_free(((struct config_domain *)domain)->match);
}

GArray *config_domains_new(void)
{
    GArray *domains = g_array_new(FALSE, FALSE, sizeof(struct config_domain));

    g_array_set_clear_func(domains, domain_clear);
    return domains;
}

static gboolean read_domain(const char *where, json_object *value, struct config_domain *domain,
                            GError **error)
{
    const struct config_key key = {.table = &domain_table};

    if (!config_read_object(&key, where, value, domain, error)) {
        return FALSE;
    }
    if (domain->match == NULL) {
        g_set_error(error, CONFIG_ERROR, CONFIG_ERROR_VALUE,
                    "%s has no match; give the UUID of a domain, or a name, such as \"win2003-*\"",
                    where);
        return FALSE;
    }
    return check_whole(where, assist_conflict(&domain->assist), error);
}

gboolean config_read_domains(G_GNUC_UNUSED const struct config_key *key, const char *where,
                             json_object *value, void *field, GError **error)
{
    GArray *domains = *(GArray **)field;

    if (!json_object_is_type(value, json_type_array)) {
        return config_refuse(error, where, value, "an array of objects");
    }
    for (size_t i = 0; i < json_object_array_length(value); i++) {
        g_autofree char *place = g_strdup_printf("%s[%zu]", where, i);
        struct config_domain domain = {.assist = ASSIST_NONE};

        if (!read_domain(place, json_object_array_get_idx(value, i), &domain, error)) {
            domain_clear(&domain);
            return FALSE;
        }
        g_array_append_val(domains, domain);
    }
    return TRUE;
}

/* A UUID is never a name. */
static gboolean matches(const char *match, const char *name, const char *uuid)
{
    if (g_uuid_string_is_valid(match)) {
        return uuid != NULL && g_ascii_strcasecmp(match, uuid) == 0;
    }
    return g_pattern_match_simple(match, name);
}

const struct assist *config_find_assist(const struct config *config, const char *name,
                                        const char *uuid)
{
    for (guint i = config->domains->len; i > 0; i--) {
        const struct config_domain *domain =
            &g_array_index(config->domains, struct config_domain, i - 1);

        if (matches(domain->match, name, uuid)) {
            return &domain->assist;
        }
    }
    return NULL;
}
