/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading a JSON file strictly: UTF-8, nothing behind the value, no key twice in an object, and
 * bounded in size and depth, so that no file can make the daemon wait or grow.
 */
#pragma once

#include <glib.h>
#include <json-c/json.h>

#define JSON_FILE_DEPTH_MAX 8 /* nested values */

G_DEFINE_AUTOPTR_CLEANUP_FUNC(json_object, json_object_put)

/* The object in the file, of @size_max bytes at most. Errors: G_FILE_ERROR if it can't be read,
 * G_IO_ERROR_INVALID_DATA if it is too large, not strict JSON, or no object; each names @path.
 * (transfer full) */
json_object *json_file_load(const char *path, size_t size_max, GError **error);
