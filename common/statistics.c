/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The keys of GetStatistics: see statistics.h. */
#include "common/statistics.h"

const char *statistics_read(GVariant *dict, hvapi_statistics *ret_statistics)
{
    hvapi_statistics *s = ret_statistics;
    const struct {
        const char *key;
        uint64_t *value;
    } rows[] = {
        {"due", &s->due},
        {"injected", &s->injected},
        {"acknowledged", &s->acknowledged},
        {"in_flight", &s->in_flight},
        {"backlog", &s->backlog},
        {"skipped", &s->skipped},
        {"clock_behind_ns", &s->clock_behind_ns},
        {"lateness_p50_ns", &s->lateness_p50_ns},
        {"lateness_p99_ns", &s->lateness_p99_ns},
        {"lateness_max_ns", &s->lateness_max_ns},
    };
    const char *missing = NULL;

    *s = (hvapi_statistics){0};
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        if (!g_variant_lookup(dict, rows[i].key, "t", rows[i].value) && missing == NULL) {
            missing = rows[i].key;
        }
    }
    return missing;
}
