/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Measurements: see samples.h. */
#include "tests/bench/samples.h"

#include <math.h>

GArray *samples_new(void)
{
    return g_array_new(FALSE, FALSE, sizeof(double));
}

void samples_add(GArray *samples, double value)
{
    g_array_append_val(samples, value);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

void samples_sort(GArray *samples)
{
    g_array_sort(samples, by_value);
}

double samples_percentile(const GArray *samples, double part)
{
    guint rank = (guint)ceil(part * samples->len);

    return samples->len > 0 ? g_array_index(samples, double, MAX(rank, 1) - 1) : NAN;
}
