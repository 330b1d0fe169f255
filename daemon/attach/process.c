/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Processes by number and command line: see process.h. */
#include "daemon/attach/process.h"

#include "common/status.h"
#include <string.h>

/* Of the fields in /proc/PID/stat behind the command's name, from 0. */
#define FIELD_STARTED 19
#define FIELDS        (FIELD_STARTED + 2)

gboolean process_start_time(pid_t pid, uint64_t *ret_start_time, GError **error)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/stat", (int)pid);
    g_autofree char *stat = NULL;
    g_auto(GStrv) fields = NULL;
    const char *name_end;

    if (g_file_get_contents(path, &stat, NULL, NULL) && (name_end = strrchr(stat, ')')) != NULL &&
        name_end[1] == ' ') {
        fields = g_strsplit(name_end + 2, " ", FIELDS);
    }
    if (fields == NULL || g_strv_length(fields) < FIELDS ||
        !g_ascii_string_to_unsigned(fields[FIELD_STARTED], 10, 0, G_MAXUINT64, ret_start_time,
                                    NULL)) {
        g_set_error(error, HV_STATUS_ERROR, HV_STATUS_INVALID_PARTITION_ID,
                    "there is no process %d", (int)pid);
        return FALSE;
    }
    return TRUE;
}

/* "-uuid UUID", or "…uuid=UUID,…". */
static gboolean names_uuid(const char *argument, const char *uuid)
{
    const char *found = g_str_equal(argument, uuid) ? argument : strstr(argument, "uuid=");

    return found != NULL && (found == argument || g_str_has_prefix(found + strlen("uuid="), uuid));
}

static gboolean is_qemu_with_uuid(const char *pid, const char *uuid)
{
    g_autofree char *path = g_build_filename("/proc", pid, "cmdline", NULL);
    g_autofree char *line = NULL;
    gsize length = 0;

    if (!g_file_get_contents(path, &line, &length, NULL) || length == 0) {
        return FALSE; /* it has ended, or is a kernel thread */
    }
    g_autofree char *program = g_path_get_basename(line);
    if (!g_str_has_prefix(program, "qemu") && !g_str_equal(program, "kvm")) {
        return FALSE;
    }
    for (const char *argument = line; argument < line + length; argument += strlen(argument) + 1) {
        if (names_uuid(argument, uuid)) {
            return TRUE;
        }
    }
    return FALSE;
}

pid_t process_find_qemu(const char *uuid, GError **error)
{
    g_autoptr(GDir) directory = g_dir_open("/proc", 0, error);
    const char *name;
    guint64 number, found = 0;

    while (directory != NULL && (name = g_dir_read_name(directory)) != NULL) {
        if (!g_ascii_string_to_unsigned(name, 10, 1, G_MAXINT32, &number, NULL) ||
            !is_qemu_with_uuid(name, uuid)) {
            continue;
        }
        if (found != 0) {
            g_set_error(error, HV_STATUS_ERROR, HV_STATUS_INVALID_PARTITION_STATE,
                        "QEMU processes %" G_GUINT64_FORMAT " and %" G_GUINT64_FORMAT
                        " both have the UUID %s: give the process id of the one that is meant",
                        found, number, uuid);
            return 0;
        }
        found = number;
    }
    if (directory != NULL && found == 0) {
        g_set_error(error, HV_STATUS_ERROR, HV_STATUS_INVALID_PARTITION_ID,
                    "no QEMU process has the UUID %s on its command line", uuid);
    }
    return (pid_t)found;
}
