/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * OpenMetrics 1.0, read strictly: what the specification forbids is an error, and so is what it
 * advises against. Timestamps, exemplars, stateset, summary and gaugehistogram are not read: nobody
 * here writes them.
 */
#pragma once

#include <glib.h>

struct openmetrics;

struct openmetrics_sample {
    char *name;         /* with what its family's type adds */
    GHashTable *labels; /* name -> value, unescaped */
    double value;
};

/* Errors: the line, and what is wrong with it. (transfer full) */
struct openmetrics *openmetrics_parse(const char *text, GError **error);
void openmetrics_free(struct openmetrics *metrics);
typedef struct openmetrics OpenMetrics;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(OpenMetrics, openmetrics_free)

/* Of this name, with these labels at least (name, value, ..., NULL); NULL: there is none. */
const struct openmetrics_sample *openmetrics_find(const struct openmetrics *metrics,
                                                  const char *name, ...) G_GNUC_NULL_TERMINATED;
