/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verbs that make and end partitions: attach, detach. */
#include "common/values.h"
#include "hvapi/ctl-client.h"
#include "hvapi/ctl-print.h"
#include "hvapi/ctl.h"

gboolean ctl_attach(struct ctl *ctl, GError **error)
{
    g_autofree char *pid_text = NULL, *name = NULL;
    const GOptionEntry options[] = {
        {"pid", 0, 0, G_OPTION_ARG_STRING, &pid_text, "The VMM's process id", "PID"},
        {"name", 0, 0, G_OPTION_ARG_STRING, &name,
         "The partition's name (default: the process's name and id)", "NAME"},
        G_OPTION_ENTRY_NULL,
    };
    g_auto(GStrv) arguments = ctl_parse(ctl, options, error);
    uint64_t pid, id;

    if (arguments == NULL) {
        return FALSE;
    }
    if (pid_text == NULL) {
        g_set_error_literal(error, G_OPTION_ERROR, G_OPTION_ERROR_FAILED,
                            "attach takes --pid; give the process id of a KVM VMM");
        return FALSE;
    }
    if (!value_parse_number("--pid", pid_text, 1, G_MAXINT32, &pid, error) ||
        !ctl_attach_process(ctl->bus, (uint32_t)pid, name != NULL ? name : "", &id, error)) {
        return FALSE;
    }
    g_autofree char *domain = g_strdup_printf("%" G_GUINT64_FORMAT, id);
    g_autoptr(CtlPartition) p = ctl_partition_find(ctl->bus, domain, error);
    if (p == NULL || !ctl_partition_read(p, error)) {
        return FALSE;
    }
    ctl_print_status(p, ctl->json);
    return TRUE;
}

gboolean ctl_detach(struct ctl *ctl, GError **error)
{
    g_auto(GStrv) arguments = ctl_parse(ctl, NULL, error);
    g_autoptr(CtlPartition) p =
        arguments != NULL ? ctl_partition_find(ctl->bus, arguments[0], error) : NULL;

    return p != NULL && hvt_dbus_manager_call_detach_sync(p->manager, p->id, NULL, error);
}
