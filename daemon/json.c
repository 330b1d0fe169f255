/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading a JSON file strictly: see json.h. */
#include "daemon/json.h"

#include <errno.h>
#include <gio/gio.h>
#include <stdio.h>
#include <string.h>

typedef FILE Stream;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Stream, fclose)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(json_tokener, json_tokener_free)

static void set_file_error(GError **error, const char *path, int code)
{
    g_set_error(error, G_FILE_ERROR, (gint)g_file_error_from_errno(code),
                "can't read %s: %s; name a file that is there and may be read", path,
                g_strerror(code));
}

static unsigned line_at(const char *text, size_t offset)
{
    unsigned line = 1;

    for (size_t i = 0; i < offset; i++) {
        line += text[i] == '\n';
    }
    return line;
}

static void set_syntax_error(GError **error, const char *path, const char *text, size_t offset,
                             const char *problem)
{
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                "%s:%u: can't be read as strict JSON: %s; correct it there or just before", path,
                line_at(text, offset), problem);
}

static char *read_bounded(const char *path, size_t size_max, GError **error)
{
    g_autoptr(Stream) stream = fopen(path, "re");

    if (stream == NULL) {
        set_file_error(error, path, errno);
        return NULL;
    }

    g_autofree char *text = g_malloc(size_max + 1);
    size_t length = fread(text, 1, size_max + 1, stream);

    if (ferror(stream)) {
        set_file_error(error, path, errno);
        return NULL;
    }
    if (length > size_max) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                    "%s: is larger than %zu bytes; make it smaller", path, size_max);
        return NULL;
    }
    text[length] = '\0';
    if (strlen(text) != length) {
        set_syntax_error(error, path, text, strlen(text), "a NUL byte");
        return NULL;
    }
    return g_steal_pointer(&text);
}

static json_object *parse(const char *path, const char *text, GError **error)
{
    g_autoptr(json_tokener) tokener = json_tokener_new_ex(JSON_FILE_DEPTH_MAX);
    g_autoptr(json_object) root = NULL;
    enum json_tokener_error problem;

    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    /* With the final NUL, which tells it that no more follows. */
    root = json_tokener_parse_ex(tokener, text, (int)strlen(text) + 1);
    problem = json_tokener_get_error(tokener);
    if (problem != json_tokener_success) {
        set_syntax_error(error, path, text, json_tokener_get_parse_end(tokener),
                         json_tokener_error_desc(problem));
        return NULL;
    }
    if (!json_object_is_type(root, json_type_object)) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                    "%s: holds no JSON object; put everything in one pair of braces", path);
        return NULL;
    }
    return g_steal_pointer(&root);
}

static const char *end_of_string(const char *quote)
{
    const char *end = quote + 1;

    while (*end != '"') {
        end += *end == '\\' ? 2 : 1;
    }
    return end;
}

static gboolean is_key(const char *end_quote)
{
    return end_quote[1 + strspn(end_quote + 1, " \t\r\n")] == ':';
}

/* What json-c lets pass even when it is strict. @text was parsed, so its brackets and its double
 * quotes match, up to the first single quote. Two spellings of one key, with and without an
 * escape, are not taken for equal.
 * Returns: what is wrong, or NULL. (transfer full) */
static char *find_flaw(const char *text, const char **ret_where)
{
    g_autoptr(GPtrArray) keys = g_ptr_array_new_with_free_func((GDestroyNotify)g_hash_table_unref);

    for (const char *at = text; *at != '\0'; at++) {
        *ret_where = at;
        if (*at == '{') {
            g_ptr_array_add(keys, g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL));
        } else if (*at == '}') {
            g_ptr_array_set_size(keys, (gint)keys->len - 1);
        } else if (*at == '"') {
            at = end_of_string(at);
            if (is_key(at) &&
                !g_hash_table_add(keys->pdata[keys->len - 1],
                                  g_strndup(*ret_where + 1, (gsize)(at - *ret_where) - 1))) {
                return g_strdup_printf("key %.*s is given a second time in its object",
                                       (int)(at - *ret_where) + 1, *ret_where);
            }
        } else if (strchr("'NI", *at) != NULL) {
            return g_strdup("single quotes, NaN and Infinity are no part of it");
        }
    }
    return NULL;
}

json_object *json_file_load(const char *path, size_t size_max, GError **error)
{
    g_autofree char *text = read_bounded(path, size_max, error);

    if (text == NULL) {
        return NULL;
    }

    g_autoptr(json_object) root = parse(path, text, error);

    if (root == NULL) {
        return NULL;
    }

    const char *where;
    g_autofree char *flaw = find_flaw(text, &where);

    if (flaw != NULL) {
        set_syntax_error(error, path, text, (size_t)(where - text), flaw);
        return NULL;
    }
    return g_steal_pointer(&root);
}
