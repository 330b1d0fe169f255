/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the parts of test-hvtimerctl share.
 */
#pragma once

#include "tests/support/fixture.h"
#include <json-c/json.h>

/* Exit statuses of hvtimerctl. */
enum { DONE = 0, FAILED = 1, USAGE = 2, NO_PARTITION = 3, UNSUPPORTED = 4 };

typedef struct json_object Json;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Json, json_object_put)

/* A hvtimerd with the models m0 and m1. */
void up(struct fixture *fixture);

/* "ticks.due": it must be there. */
Json *member(Json *json, const char *path);
gboolean has_member(Json *json, const char *name);

#define assert_number(json, path, expected) \
    g_assert_cmpfloat(json_object_get_double(member(json, path)), ==, expected)
#define assert_text(json, path, expected) \
    g_assert_cmpstr(json_object_get_string(member(json, path)), ==, expected)

/* test-hvtimerctl-supervision.c */
void add_supervision_tests(void);
