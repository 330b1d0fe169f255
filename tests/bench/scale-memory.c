/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The memory of hvtimerd: see scale-memory.h. */
#include "tests/bench/scale-memory.h"

#include "tests/support/fixture.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Names are short, so that 4000 of them fit into a configuration. */
static char *config_of(unsigned partitions)
{
    GString *config = g_string_new(NULL);

    g_string_printf(config, "{\"limits\": {\"partitions\": %u}, \"models\": [", partitions);
    for (unsigned i = 0; i < partitions; i++) {
        g_string_append_printf(config, "%s\"m%u\"", i > 0 ? "," : "", i);
    }
    g_string_append(config, "]}");
    return g_string_free(config, FALSE);
}

static double resident_kib(const char *pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%s/status", pid);
    g_autofree char *text = NULL;
    const char *line = NULL;

    if (g_file_get_contents(path, &text, NULL, NULL)) {
        line = strstr(text, "\nVmRSS:");
    }
    return line != NULL ? g_ascii_strtod(line + strlen("\nVmRSS:"), NULL) : NAN;
}

double scale_memory_kib(unsigned partitions)
{
    g_autofree char *config = config_of(partitions);
    struct fixture fixture = {.quiet = TRUE};

    fixture_up(&fixture, config);
    fixture_run(&fixture, NULL, "hvtimerctl list");
    double kib = resident_kib(g_subprocess_get_identifier(fixture.daemon));
    fixture_down(&fixture);
    return kib;
}
