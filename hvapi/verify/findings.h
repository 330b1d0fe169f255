/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What 'hvtimerctl verify' finds out about a host, and how a check says it.
 */
#pragma once

#include <glib.h>

enum finding_level {
    FINDING_OK,
    FINDING_INFO, /* nothing to judge, or it can't be told */
    FINDING_WARN, /* hvtimer works, but not as well as it could */
    FINDING_FAIL, /* hvtimer can't do its work here */
};

struct finding {
    const char *subject; /* a word, for programs */
    enum finding_level level;
    char *found;
    char *meaning; /* for hvtimer */
    char *remedy;  /* NULL: none needed, or none there is */
};

/* "ok", "info", "warn", "fail" */
const char *finding_level_name(enum finding_level level);

/* An empty list of findings. (transfer full) */
GPtrArray *findings_new(void);

/* Adds one to @findings. @subject is not copied. What others have said may be a part of @found: as
 * much of it is taken as a line bears, and nothing that can't be printed. @found: (transfer full)
 */
void findings_add(GPtrArray *findings, const char *subject, enum finding_level level, char *found,
                  const char *meaning, const char *remedy);

/* How many are of @level. */
guint findings_count(const GPtrArray *findings, enum finding_level level);
