/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What tests ask of a running daemon: see asking.h. */
#include "tests/support/asking.h"

void await_fail(const char *where, const char *condition, char *what, double seconds)
{
    g_error("%s: %s: not within %g s (%s)", where, what, seconds, condition);
}

void sleep_ms(gint64 ms)
{
    gint64 end = g_get_monotonic_time() + ms * 1000;

    while (g_get_monotonic_time() < end) {
        test_iterate();
    }
}

char *asking_ctl(struct fixture *fixture, int status, const char *command, va_list arguments)
{
    g_autofree char *line = g_strdup_vprintf(command, arguments);
    g_autofree char *output = NULL;

    int got = fixture_run(fixture, &output, "hvtimerctl %s", line);
    if (got != status) {
        g_error("hvtimerctl %s: exit status %d, not %d: %s", line, got, status, output);
    }
    return g_steal_pointer(&output);
}

Json *asking_status(struct fixture *fixture, const char *domain)
{
    g_autofree char *output = NULL;
    gboolean quiet = fixture->quiet;

    fixture->quiet = TRUE;
    int status = fixture_run(fixture, &output, "hvtimerctl --json status %s", domain);
    fixture->quiet = quiet;
    if (status == NO_PARTITION || status == UNSUPPORTED) {
        return NULL;
    }
    Json *json = status == DONE ? json_tokener_parse(output) : NULL;
    if (json == NULL) {
        g_error("hvtimerctl --json status: exit status %d: %s", status, output);
    }
    return json;
}

Json *asking_member(Json *json, const char *path)
{
    g_auto(GStrv) names = g_strsplit(path, ".", -1);

    for (char **name = names; *name != NULL; name++) {
        if (!json_object_object_get_ex(json, *name, &json)) {
            return NULL;
        }
    }
    return json;
}
