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

gboolean asking_is(struct fixture *fixture, const char *domain, const char *path, const char *text)
{
    g_autoptr(Json) status = asking_status(fixture, domain);
    Json *found = status != NULL ? asking_member(status, path) : NULL;

    return found != NULL && g_str_equal(json_object_get_string(found), text);
}

hvapi_statistics asking_statistics(const char *domain)
{
    HV_PARTITION_ID id;
    hvapi_statistics s;
    HV_STATUS status = hvapi_lookup_partition(domain, &id);

    if (status == HV_STATUS_SUCCESS) {
        status = hvapi_get_statistics(id, &s);
    }
    if (status != HV_STATUS_SUCCESS) {
        g_error("statistics of %s: %s: %s", domain, hvapi_status_name(status), hvapi_last_error());
    }
    g_assert_cmpuint(s.due, ==, s.acknowledged + s.in_flight + s.backlog + s.skipped);
    g_assert_cmpuint(s.in_flight, <=, 1);
    return s;
}
