/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A row of figures as a line of bars, one character high: "▁▁▂▅█▆▃▁". Pure.
 */
#pragma once

#include <glib.h>
#include <stdint.h>

/* The last @width of @values (@count of them, the oldest first), scaled so that the greatest of
 * those shown is a full bar; on the right, with blanks before it where there are fewer. Block
 * elements U+2581 to U+2588 with @utf8, ASCII without. (transfer full) */
char *sparkline(const uint64_t *values, unsigned count, unsigned width, gboolean utf8);
