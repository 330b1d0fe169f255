/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Partitions of the software local APIC, named in the configuration ("models"). */
#pragma once

#include "daemon/manager.h"

struct model_source;

struct model_source *model_source_new(struct manager *manager);
void model_source_free(struct model_source *source);

/* Makes the partitions those of @names: what is there stays, what is not named ends. A name that
 * another source has taken is warned about. */
void model_source_configure(struct model_source *source, char *const *names);
