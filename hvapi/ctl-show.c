/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The verbs that read: list, status, get.
 */
#include "hvapi/ctl-client.h"
#include "hvapi/ctl-print.h"
#include "hvapi/ctl.h"

gboolean ctl_list(struct ctl *ctl, GError **error)
{
    g_auto(GStrv) arguments = ctl_parse(ctl, NULL, error);
    g_autoptr(GPtrArray) partitions =
        arguments != NULL ? ctl_partitions_read_all(ctl->bus, error) : NULL;

    if (partitions == NULL) {
        return FALSE;
    }
    ctl_print_list(partitions, ctl->json);
    return TRUE;
}

gboolean ctl_status(struct ctl *ctl, GError **error)
{
    g_auto(GStrv) arguments = ctl_parse(ctl, NULL, error);
    g_autoptr(CtlPartition) p =
        arguments != NULL ? ctl_partition_find(ctl->bus, arguments[0], error) : NULL;

    if (p == NULL || !ctl_partition_read(p, error)) {
        return FALSE;
    }
    ctl_print_status(p, ctl->json);
    return TRUE;
}

gboolean ctl_get(struct ctl *ctl, GError **error)
{
    g_auto(GStrv) arguments = ctl_parse(ctl, NULL, error);
    g_autoptr(CtlPartition) p = NULL;
    HV_PARTITION_PROPERTY_CODE code;
    uint64_t value;

    if (arguments == NULL || !ctl_property_from_name(arguments[1], &code, error)) {
        return FALSE;
    }
    p = ctl_partition_find(ctl->bus, arguments[0], error);
    if (p == NULL || !ctl_partition_get(p, code, &value, error)) {
        return FALSE;
    }
    ctl_print_property(code, value, ctl->json);
    return TRUE;
}
