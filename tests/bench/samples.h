/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Many measurements of one thing, as an array of double. */
#pragma once

#include <glib.h>

GArray *samples_new(void);
void samples_add(GArray *samples, double value);
/* For samples_percentile(). */
void samples_sort(GArray *samples);
/* The smallest that is not below @part (0 to 1) of them, which are sorted; NAN: there is none. */
double samples_percentile(const GArray *samples, double part);
