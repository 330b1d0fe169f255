/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Partitions as hvtimerctl meets them: found and read over D-Bus.
 */
#pragma once

#include "common/hvtimer-dbus.h"
#include <hvapi/hvapi.h>

typedef struct {
    uint64_t id;
    HvtDbusManager *manager;
    HvtDbusPartition *proxy;

    /* As of ctl_partition_read(), and so are the proxy's own getters. */
    struct {
        const char *mode, *on_resume;
        uint32_t threshold, slew, limit_ms;
    } policy;
    GVariant *supervision; /* NULL: no timer of the guest's own is supervised */
    hvapi_statistics statistics;
} CtlPartition;

void ctl_partition_free(CtlPartition *p);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CtlPartition, ctl_partition_free)

/* @bus: for bus_open(). @domain: a name, UUID or id. Nothing of it is read yet. */
CtlPartition *ctl_partition_find(const char *bus, const char *domain, GError **error);

/* "EmulatedTimerPeriod" or "EmulatedTimerControl". Errors: G_OPTION_ERROR. */
gboolean ctl_property_from_name(const char *name, HV_PARTITION_PROPERTY_CODE *ret_code,
                                GError **error);
gboolean ctl_partition_get(CtlPartition *p, HV_PARTITION_PROPERTY_CODE code, uint64_t *ret_value,
                           GError **error);
gboolean ctl_partition_set(CtlPartition *p, HV_PARTITION_PROPERTY_CODE code, uint64_t value,
                           GError **error);

/* All of it, as of now. */
gboolean ctl_partition_read(CtlPartition *p, GError **error);

/* All partitions, read, in the order of their ids: an array of CtlPartition. (transfer full) */
GPtrArray *ctl_partitions_read_all(const char *bus, GError **error);

/* Makes process @pid a partition. */
gboolean ctl_attach_process(const char *bus, uint32_t pid, const char *name, uint64_t *ret_id,
                            GError **error);
