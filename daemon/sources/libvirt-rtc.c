/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A domain's QEMU forgets the RTC ticks that it would replay: see libvirt-rtc.h. */
#include "daemon/sources/libvirt-rtc.h"

#include <gio/gio.h>
#include <libvirt/libvirt-qemu.h>
#include <libvirt/virterror.h>
#include <stdlib.h>
#include <string.h>

static const char command[] = "{\"execute\":\"rtc-reset-reinjection\"}";

static void forget(G_GNUC_UNUSED GTask *task, G_GNUC_UNUSED gpointer source, gpointer data,
                   G_GNUC_UNUSED GCancellable *cancellable)
{
    virDomainPtr handle = data;
    char *reply = NULL;

    /* QEMU's own refusal is no error to libvirt. */
    gboolean done = virDomainQemuMonitorCommand(handle, command, &reply, 0) == 0 &&
                    strstr(reply, "\"error\"") == NULL;
    if (!done && virDomainIsActive(handle) == 1) {
        g_warning("domain %s: QEMU can't be told to forget the RTC ticks of the suspend, and will "
                  "replay them fast: %s",
                  virDomainGetName(handle), reply != NULL ? reply : virGetLastErrorMessage());
    }
    free(reply);
}

static void free_handle(gpointer data)
{
    virDomainFree(data);
}

void libvirt_rtc_forget_lost_ticks(virDomainPtr handle)
{
    g_autoptr(GTask) task = g_task_new(NULL, NULL, NULL, NULL);

    virDomainRef(handle);
    g_task_set_task_data(task, handle, free_handle);
    g_task_run_in_thread(task, forget);
}
