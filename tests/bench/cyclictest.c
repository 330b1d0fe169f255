/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Running cyclictest: see cyclictest.h. */
#include "tests/bench/cyclictest.h"

#include "tests/bench/samples.h"
#include <gio/gio.h>
#include <stdio.h>

/* What is later than that is counted at its end, in us. */
#define HISTOGRAM_US "100000"

/* Lines of its histogram: "000042 000017": so many us, so often. */
static void read_histogram(const char *text, GArray *samples)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

    for (guint i = 0; lines[i] != NULL; i++) {
        unsigned us, count;
        if (g_ascii_isdigit(lines[i][0]) && sscanf(lines[i], "%u %u", &us, &count) == 2) {
            for (unsigned k = 0; k < count; k++) {
                samples_add(samples, us);
            }
        }
    }
}

gboolean cyclictest_run(int cpu, int priority, unsigned interval_us, unsigned seconds,
                        GArray *samples, GError **error)
{
    g_autofree char *command = g_strdup_printf(
        "cyclictest --quiet --threads=1 --mlockall --priority=%d --affinity=%d --interval=%u "
        "--duration=%u --histogram=" HISTOGRAM_US,
        priority, cpu, interval_us, seconds);
    g_autofree char *output = NULL;
    int status;

    if (!g_spawn_command_line_sync(command, &output, NULL, &status, error) ||
        !g_spawn_check_wait_status(status, error)) {
        return FALSE;
    }
    read_histogram(output, samples);
    if (samples->len == 0) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_FAILED, "%s: prints no histogram", command);
        return FALSE;
    }
    return TRUE;
}
