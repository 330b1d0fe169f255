/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What hvtimerctl prints of partitions, for people or as JSON, to the standard output.
 */
#pragma once

#include "hvapi/ctl-client.h"

/* @text, as a terminal may have it. Whoever names a guest or its process could give it sequences
 * that the terminal obeys, and lines that look like ours. @text: UTF-8. (transfer full) */
char *ctl_printable(const char *text);

/* Of partitions that were read. */
void ctl_print_list(GPtrArray *partitions, gboolean json);
void ctl_print_status(const CtlPartition *p, gboolean json);
void ctl_print_policy(const CtlPartition *p, gboolean json);

void ctl_print_property(HV_PARTITION_PROPERTY_CODE code, uint64_t value, gboolean json);
