/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A row of figures as a line of bars: see sparkline.h. */
#include "hvapi/top/sparkline.h"

#define LEVELS 8

static const char *const blocks[LEVELS] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
static const char *const letters[LEVELS] = {"_", ".", "-", ":", "=", "+", "*", "#"};

/* 0 for nothing, and only for it. */
static unsigned level_of(uint64_t value, uint64_t greatest)
{
    double levels = value == 0 ? 0 : (double)value / (double)greatest * (LEVELS - 1);
    unsigned whole = (unsigned)levels;

    return (double)whole < levels ? whole + 1 : whole;
}

char *sparkline(const uint64_t *values, unsigned count, unsigned width, gboolean utf8)
{
    const char *const *levels = utf8 ? blocks : letters;
    unsigned drawn = MIN(count, width);
    GString *line = g_string_new(NULL);
    uint64_t greatest = 0;

    values += count - drawn;
    for (unsigned i = 0; i < drawn; i++) {
        greatest = MAX(greatest, values[i]);
    }
    for (unsigned i = drawn; i < width; i++) {
        g_string_append_c(line, ' ');
    }
    for (unsigned i = 0; i < drawn; i++) {
        g_string_append(line, levels[level_of(values[i], greatest)]);
    }
    return g_string_free(line, FALSE);
}
