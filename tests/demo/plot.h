/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Curves over time, drawn with plain characters. */
#pragma once

#define PLOT_CURVES 2
#define PLOT_POINTS 128

struct plot {
    const char *const *names; /* the first letter of each draws it */
    int curves;
    int points[PLOT_CURVES];
    double x[PLOT_CURVES][PLOT_POINTS];
    double y[PLOT_CURVES][PLOT_POINTS];
};

/* Points over PLOT_POINTS are left out. */
void plot_add(struct plot *plot, int curve, double x, double y);

/* To stdout, 80 columns wide. */
void plot_draw(const struct plot *plot, const char *title);
