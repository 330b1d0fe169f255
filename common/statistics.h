/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A partition's figures, as org.hvtimer1.Partition.GetStatistics tells them. */
#pragma once

#include <glib.h>
#include <hvapi/hvapi.h>

/* Reads @dict, an a{st}. Returns: NULL, or the first key that it lacks, as one of a daemon of
 * another version may: such figures are 0. */
const char *statistics_read(GVariant *dict, hvapi_statistics *ret_statistics);
