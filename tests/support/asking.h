/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What tests of a running daemon ask, by hvtimerctl, and how they wait for it. Whatever fails ends
 * the test with what was asked or waited for.
 */
#pragma once

#include "tests/support/fixture.h"
#include "tests/support/test.h"
#include <hvapi/hvapi.h>
#include <json-c/json.h>

/* Exit statuses of hvtimerctl. */
enum { DONE = 0, FAILED = 1, USAGE = 2, NO_PARTITION = 3, UNSUPPORTED = 4 };

/* Waits for @done; the rest is a format: what is waited for. */
#define await(seconds, done, ...)                                                             \
    G_STMT_START                                                                              \
    {                                                                                         \
        gint64 until_ = g_get_monotonic_time() + (gint64)((seconds)*G_USEC_PER_SEC);          \
        while (!(done)) {                                                                     \
            if (g_get_monotonic_time() > until_) {                                            \
                await_fail(G_STRLOC, #done, g_strdup_printf(__VA_ARGS__), (double)(seconds)); \
            }                                                                                 \
            test_iterate();                                                                   \
        }                                                                                     \
    }                                                                                         \
    G_STMT_END
G_NORETURN void await_fail(const char *where, const char *condition, char *what, double seconds);

void sleep_ms(gint64 ms);

/* Runs hvtimerctl, which must exit with @status. Returns what it says. (transfer full) */
char *asking_ctl(struct fixture *fixture, int status, const char *command, va_list arguments)
    G_GNUC_PRINTF(3, 0);

typedef struct json_object Json;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Json, json_object_put)

/* `hvtimerctl status --json`, quietly, as it is polled. NULL: there is no such partition, or it
 * does not run. (transfer full) */
Json *asking_status(struct fixture *fixture, const char *domain);
/* @path: as in "policy.name". NULL: not there. (transfer none) */
Json *asking_member(Json *json, const char *path);
/* Whether its status has that text at @path. */
gboolean asking_is(struct fixture *fixture, const char *domain, const char *path, const char *text);

/* The figures of a partition that must be there, by libhvapi: they add up. */
hvapi_statistics asking_statistics(const char *domain);
