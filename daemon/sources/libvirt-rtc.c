/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A domain's QEMU forgets the RTC ticks that it would replay: see libvirt-rtc.h. */
#include "daemon/sources/libvirt-rtc.h"

#include <gio/gio.h>
#include <libvirt/libvirt-qemu.h>
#include <libvirt/virterror.h>
#include <stdlib.h>
#include <string.h>

static const char command[] = "{\"execute\":\"rtc-reset-reinjection\"}";

/* The UUIDs of the domains that are being told; NULL: it was never needed. Main loop. */
static GHashTable *under_way;

/* In a thread. */
static void forget(GTask *task, G_GNUC_UNUSED gpointer source, gpointer data,
                   G_GNUC_UNUSED GCancellable *cancellable)
{
    virDomainPtr handle = data;
    char *reply = NULL;

    /* QEMU's own refusal is no error to libvirt. */
    gboolean done = virDomainQemuMonitorCommand(handle, command, &reply, 0) == 0 &&
                    strstr(reply, "\"error\"") == NULL;
    g_autofree char *reason = g_strdup(reply != NULL ? reply : virGetLastErrorMessage());
    if (!done && virDomainIsActive(handle) == 1) {
        g_warning("domain %s: QEMU can't be told to forget the RTC ticks of the suspend, and will "
                  "replay them fast: %s",
                  virDomainGetName(handle), reason);
    }
    free(reply);
    g_task_return_boolean(task, done);
}

static void on_done(G_GNUC_UNUSED GObject *source, GAsyncResult *result,
                    G_GNUC_UNUSED gpointer user_data)
{
    char uuid[VIR_UUID_STRING_BUFLEN];

    if (virDomainGetUUIDString(g_task_get_task_data(G_TASK(result)), uuid) == 0) {
        g_hash_table_remove(under_way, uuid);
    }
}

static void free_handle(gpointer data)
{
    virDomainFree(data);
}

void libvirt_rtc_forget_lost_ticks(virDomainPtr handle)
{
    char uuid[VIR_UUID_STRING_BUFLEN];

    if (under_way == NULL) {
        under_way = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    }
    if (virDomainGetUUIDString(handle, uuid) != 0 || !g_hash_table_add(under_way, g_strdup(uuid))) {
        return;
    }
    g_autoptr(GTask) task = g_task_new(NULL, NULL, on_done, NULL);
    virDomainRef(handle);
    g_task_set_task_data(task, handle, free_handle);
    g_task_run_in_thread(task, forget);
}
