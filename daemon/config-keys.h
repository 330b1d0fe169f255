/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading JSON objects strictly, by tables: of each key what it may be, and where it is kept. An
 * error names the file, the key with all that it stands in ("domains[0].timer.vector"), what is
 * given there and what may be.
 */
#pragma once

#include "daemon/json.h"
#include <glib.h>
#include <stdint.h>

struct config_key;
struct config_table;

/* Reads @value, which stands at @where ("FILE: KEY"), into @field; where it fails, @field is as
 * before, unless it is an object's. Errors: CONFIG_ERROR. */
typedef gboolean (*ConfigRead)(const struct config_key *key, const char *where, json_object *value,
                               void *field, GError **error);

struct config_key {
    const char *name;
    ConfigRead read;
    size_t offset, size; /* of its field in the struct that its object is read into */

    /* What the reader needs. */
    int64_t min, max;                   /* of the value; a word stands for a number, too */
    const char *(*word)(int64_t value); /* which word */
    gboolean (*accepts)(const char *text);
    const char *wanted; /* what may be given, in words */
    const struct config_table *table;
};

struct config_table {
    const struct config_key *keys;
    size_t length;
};

#define CONFIG_FIELD(type, member) \
    .offset = offsetof(type, member), .size = sizeof(((type *)NULL)->member)
#define CONFIG_TABLE(array)                            \
    {                                                  \
        .keys = (array), .length = G_N_ELEMENTS(array) \
    }

/* Reads the members of @object into @target. @prefix: what an error begins with: "FILE: ", and in
 * an object the path to it, "FILE: engine.". Keys that begin with "#" are comments. */
gboolean config_read_members(const struct config_table *table, const char *prefix,
                             json_object *object, void *target, GError **error);

/* A whole number from min to max: of 1, 4 or 8 bytes. */
gboolean config_read_integer(const struct config_key *key, const char *where, json_object *value,
                             void *field, GError **error);
gboolean config_read_boolean(const struct config_key *key, const char *where, json_object *value,
                             void *field, GError **error);
/* A word for a number from min to max. */
gboolean config_read_word(const struct config_key *key, const char *where, json_object *value,
                          void *field, GError **error);
/* char *: a text of 1 to max characters that `accepts`, if there is one, takes. */
gboolean config_read_text(const struct config_key *key, const char *where, json_object *value,
                          void *field, GError **error);
/* char **: different names of 1 to max characters. */
gboolean config_read_names(const struct config_key *key, const char *where, json_object *value,
                           void *field, GError **error);
/* An object: by `table`, into the field itself. */
gboolean config_read_object(const struct config_key *key, const char *where, json_object *value,
                            void *field, GError **error);

/* For readers. A string of 1 to @max printable characters? */
gboolean config_is_text(json_object *value, int64_t max);
/* Returns: FALSE. */
gboolean config_refuse(GError **error, const char *where, json_object *value, const char *wanted);
