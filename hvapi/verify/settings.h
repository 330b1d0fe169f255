/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What hvtimerd's configuration says of the host, as far as a check needs it. Nothing is judged:
 * 'hvtimerd --check-config' does that.
 */
#pragma once

#include "hvapi/verify/host.h"

struct settings {
    int engine_cpu;      /* -1: any */
    int engine_priority; /* 0: ordinary scheduling */
    gboolean lock_memory;
    char *attach_helper; /* NULL: it is not given */
    char *libvirt;       /* a URI, or "none"; NULL: it is not given */
    GError *error;       /* why some of it is not known: the first; NULL: all is */
};

/* The installed file and its drop-ins; what isn't there has hvtimerd's defaults. To be cleared with
 * settings_clear(). */
void settings_read(struct settings *ret_settings, const struct host *host);
void settings_clear(struct settings *settings);
