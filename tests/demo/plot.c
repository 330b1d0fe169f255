/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Curves over time, drawn with plain characters: see plot.h. */
#include "tests/demo/plot.h"

#include <glib.h>
#include <string.h>

#define COLUMNS 64
#define ROWS    16

void plot_add(struct plot *plot, int curve, double x, double y)
{
    int n = plot->points[curve];

    if (n < PLOT_POINTS) {
        plot->x[curve][n] = x;
        plot->y[curve][n] = y;
        plot->points[curve]++;
    }
}

static void find_range(const struct plot *plot, double *ret_x, double *ret_y)
{
    *ret_x = *ret_y = 1e-9;
    for (int c = 0; c < plot->curves; c++) {
        for (int i = 0; i < plot->points[c]; i++) {
            *ret_x = MAX(*ret_x, plot->x[c][i]);
            *ret_y = MAX(*ret_y, plot->y[c][i]);
        }
    }
}

static void put(char grid[ROWS][COLUMNS + 1], double x, double y, char mark)
{
    int column = (int)(x * (COLUMNS - 1) + 0.5), row = (int)(y * (ROWS - 1) + 0.5);
    char *cell = &grid[ROWS - 1 - CLAMP(row, 0, ROWS - 1)][CLAMP(column, 0, COLUMNS - 1)];

    *cell = *cell == ' ' || *cell == mark ? mark : '*';
}

void plot_draw(const struct plot *plot, const char *title)
{
    char grid[ROWS][COLUMNS + 1];
    double max_x, max_y;

    find_range(plot, &max_x, &max_y);
    memset(grid, ' ', sizeof grid);
    for (int c = 0; c < plot->curves; c++) {
        for (int i = 0; i < plot->points[c]; i++) {
            put(grid, plot->x[c][i] / max_x, plot->y[c][i] / max_y, plot->names[c][0]);
        }
    }
    g_print("\n   %s\n", title);
    for (int row = 0; row < ROWS; row++) {
        grid[row][COLUMNS] = '\0';
        g_print("%7.0f |%s\n", max_y * (ROWS - 1 - row) / (ROWS - 1), grid[row]);
    }
    g_print("%7s +%.*s\n", "", COLUMNS,
            "----------------------------------------------------------------");
    g_print("%7s  0 s%*.1f s\n", "", COLUMNS - 5, max_x);
    g_print("   ");
    for (int c = 0; c < plot->curves; c++) {
        g_print("     %c %s", plot->names[c][0], plot->names[c]);
    }
    g_print("     * both\n");
}
