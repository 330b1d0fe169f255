/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Handing a VM over: see hvapi.h. Each has a connection and a thread of its own, which serves the
 * daemon's SetRoute calls and hands the VM over again whenever the daemon comes back. The
 * connection is what ties the partition to this process: when it ends, so does the partition.
 */
#include <hvapi/hvapi.h>

#include "common/bus-address.h"
#include "common/hvtimer-dbus.h"
#include "common/status.h"
#include "hvapi/client.h"
#include <gio/gunixfdlist.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#define VMM_PATH "/org/hvtimer1/vmm"

struct hvapi_vmm {
    char *name;
    char *uuid;
    int fds[2]; /* tick; acknowledgements or -1 */
    hvapi_set_route_func set_route;
    void *opaque;

    GThread *thread;
    GMainContext *context;
    GMainLoop *loop;
    GDBusConnection *connection;
    HvtDbusVmm *object;
    guint watch;

    /* POSIX's, not GLib's, so that the thread sanitizer sees them. */
    pthread_mutex_t lock;   /* guards what follows */
    pthread_cond_t settled; /* the first attempt to attach has ended */
    gboolean tried;
    HV_PARTITION_ID id; /* 0: the daemon does not have it at the moment */
    HV_PARTITION_ID last_id;
    gboolean running;
    GError *first_error; /* of the first attempt */
};

/* ---- on the VM's thread ---- */

static gboolean on_set_route(HvtDbusVmm *object, GDBusMethodInvocation *invocation, guint64 control,
                             gpointer user_data)
{
    hvapi_vmm *vmm = user_data;
    int result = vmm->set_route(control, vmm->opaque);

    if (result != 0) {
        g_dbus_method_invocation_return_error(
            invocation, G_IO_ERROR, (int)g_io_error_from_errno(result),
            "control 0x%016" G_GINT64_MODIFIER "x: %s", control, g_strerror(result));
    } else {
        hvt_dbus_vmm_complete_set_route(object, invocation);
    }
    return TRUE;
}

static GVariant *call(hvapi_vmm *vmm, const char *path, const char *interface, const char *method,
                      GVariant *parameters, GUnixFDList *fd_list, GError **error)
{
    return g_dbus_connection_call_with_unix_fd_list_sync(
        vmm->connection, CLIENT_BUS_NAME, path, interface, method, parameters, NULL,
        G_DBUS_CALL_FLAGS_NONE, -1, fd_list, NULL, NULL, error);
}

static GVariant *call_partition(hvapi_vmm *vmm, HV_PARTITION_ID id, const char *method,
                                GVariant *parameters, GError **error)
{
    g_autofree char *path = g_strdup_printf(CLIENT_ROOT_PATH "/partition/%" G_GUINT64_FORMAT, id);

    return call(vmm, path, "org.hvtimer1.Partition", method, parameters, NULL, error);
}

static HV_PARTITION_ID attach(hvapi_vmm *vmm, GError **error)
{
    g_autoptr(GUnixFDList) fd_list = g_unix_fd_list_new();
    GVariantBuilder handles = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("ah"));
    HV_PARTITION_ID id;

    for (int i = 0; i < 2 && vmm->fds[i] >= 0; i++) {
        int handle = g_unix_fd_list_append(fd_list, vmm->fds[i], error);
        if (handle < 0) {
            g_variant_builder_clear(&handles);
            return HV_PARTITION_ID_INVALID;
        }
        g_variant_builder_add(&handles, "h", handle);
    }
    g_autoptr(GVariant) reply =
        call(vmm, CLIENT_ROOT_PATH, "org.hvtimer1.Manager", "AttachVmm",
             g_variant_new("(sstoah)", vmm->name, vmm->uuid, vmm->last_id, VMM_PATH, &handles),
             fd_list, error);
    if (reply == NULL) {
        return HV_PARTITION_ID_INVALID;
    }
    g_variant_get(reply, "(t)", &id);
    return id;
}

static void settle(hvapi_vmm *vmm, HV_PARTITION_ID id, GError *error)
{
    pthread_mutex_lock(&vmm->lock);
    vmm->id = id;
    if (id != HV_PARTITION_ID_INVALID) {
        vmm->last_id = id;
    }
    if (!vmm->tried) {
        vmm->tried = TRUE;
        vmm->first_error = error;
        pthread_cond_signal(&vmm->settled);
    } else {
        g_clear_error(&error); /* the next appearance of the daemon is the next attempt */
    }
    pthread_mutex_unlock(&vmm->lock);
}

static gboolean is_running(hvapi_vmm *vmm)
{
    pthread_mutex_lock(&vmm->lock);
    gboolean running = vmm->running;
    pthread_mutex_unlock(&vmm->lock);
    return running;
}

static void on_daemon_appeared(G_GNUC_UNUSED GDBusConnection *connection,
                               G_GNUC_UNUSED const char *name, G_GNUC_UNUSED const char *owner,
                               gpointer user_data)
{
    hvapi_vmm *vmm = user_data;
    GError *error = NULL;
    HV_PARTITION_ID id = attach(vmm, &error);

    settle(vmm, id, error);
    /* It comes as running. Another thread may say otherwise meanwhile: the last word holds. */
    gboolean said = TRUE;
    while (id != HV_PARTITION_ID_INVALID && is_running(vmm) != said) {
        said = !said;
        g_autoptr(GVariant) reply =
            call_partition(vmm, id, "SetRunning", g_variant_new("(b)", said), NULL);
        if (reply == NULL) {
            break;
        }
    }
}

static void on_daemon_vanished(G_GNUC_UNUSED GDBusConnection *connection,
                               G_GNUC_UNUSED const char *name, gpointer user_data)
{
    settle(user_data, HV_PARTITION_ID_INVALID,
           g_error_new_literal(HV_STATUS_ERROR, HV_STATUS_OPERATION_DENIED,
                               "hvtimerd does not run on this bus; start it (systemctl start "
                               "hvtimerd), or set HVTIMER_BUS_ADDRESS to its bus"));
}

static gboolean serve(hvapi_vmm *vmm, GError **error)
{
    vmm->connection = bus_open(NULL, error);
    if (vmm->connection == NULL) {
        return FALSE;
    }
    vmm->object = hvt_dbus_vmm_skeleton_new();
    g_signal_connect(vmm->object, "handle-set-route", G_CALLBACK(on_set_route), vmm);
    if (!g_dbus_interface_skeleton_export(G_DBUS_INTERFACE_SKELETON(vmm->object), vmm->connection,
                                          VMM_PATH, error)) {
        return FALSE;
    }
    vmm->watch = g_bus_watch_name_on_connection(vmm->connection, CLIENT_BUS_NAME,
                                                G_BUS_NAME_WATCHER_FLAGS_NONE, on_daemon_appeared,
                                                on_daemon_vanished, vmm, NULL);
    return TRUE;
}

static void stop_serving(hvapi_vmm *vmm)
{
    g_clear_handle_id(&vmm->watch, g_bus_unwatch_name);
    if (vmm->object != NULL) {
        g_dbus_interface_skeleton_unexport(G_DBUS_INTERFACE_SKELETON(vmm->object));
    }
    g_clear_object(&vmm->object);
    if (vmm->connection != NULL) {
        g_dbus_connection_close_sync(vmm->connection, NULL, NULL);
    }
}

static gpointer vmm_thread(gpointer data)
{
    hvapi_vmm *vmm = data;
    GError *error = NULL;

    g_main_context_push_thread_default(vmm->context);
    if (serve(vmm, &error)) {
        g_main_loop_run(vmm->loop);
    } else {
        settle(vmm, HV_PARTITION_ID_INVALID, error);
    }
    stop_serving(vmm);
    g_main_context_pop_thread_default(vmm->context);
    return NULL;
}

/* ---- the calls ---- */

static char *process_name(void)
{
    g_autofree char *name = NULL;

    if (!g_file_get_contents("/proc/self/comm", &name, NULL, NULL)) {
        return g_strdup_printf("vmm-%d", (int)getpid());
    }
    return g_utf8_make_valid(g_strchomp(name), -1);
}

static const char *problem_of(const hvapi_vmm_config *config)
{
    if (config->set_route == NULL) {
        return "set_route is NULL";
    }
    if ((config->name != NULL && !g_utf8_validate(config->name, -1, NULL)) ||
        (config->uuid != NULL && !g_utf8_validate(config->uuid, -1, NULL))) {
        return "the name or the UUID is no UTF-8";
    }
    return NULL;
}

static void free_vmm(hvapi_vmm *vmm)
{
    for (int i = 0; i < 2; i++) {
        if (vmm->fds[i] >= 0) {
            close(vmm->fds[i]);
        }
    }
    g_clear_object(&vmm->connection);
    g_main_loop_unref(vmm->loop);
    g_main_context_unref(vmm->context);
    g_clear_error(&vmm->first_error);
    pthread_mutex_destroy(&vmm->lock);
    pthread_cond_destroy(&vmm->settled);
    g_free(vmm->name);
    g_free(vmm->uuid);
    g_free(vmm);
}

static void stop(hvapi_vmm *vmm)
{
    g_main_loop_quit(vmm->loop);
    g_main_context_wakeup(vmm->context);
    g_thread_join(vmm->thread);
    free_vmm(vmm);
}

static hvapi_vmm *new_vmm(const hvapi_vmm_config *config)
{
    hvapi_vmm *vmm = g_new0(hvapi_vmm, 1);

    vmm->name = config->name != NULL ? g_strdup(config->name) : process_name();
    vmm->uuid = g_strdup(config->uuid != NULL ? config->uuid : "");
    vmm->fds[0] = dup(config->tick_fd);
    vmm->fds[1] = config->ack_fd >= 0 ? dup(config->ack_fd) : -1;
    vmm->set_route = config->set_route;
    vmm->opaque = config->opaque;
    vmm->running = TRUE;
    vmm->context = g_main_context_new();
    vmm->loop = g_main_loop_new(vmm->context, FALSE);
    pthread_mutex_init(&vmm->lock, NULL);
    pthread_cond_init(&vmm->settled, NULL);
    return vmm;
}

HV_STATUS hvapi_vmm_hand_over(const hvapi_vmm_config *config, hvapi_vmm **ret_vmm,
                              HV_PARTITION_ID *ret_id)
{
    if (config == NULL || ret_vmm == NULL || ret_id == NULL) {
        return client_fail_with(HV_STATUS_INVALID_PARAMETER, "config, ret_vmm or ret_id is NULL");
    }
    const char *problem = problem_of(config);
    if (problem != NULL) {
        return client_fail_with(HV_STATUS_INVALID_PARAMETER, problem);
    }
    hvapi_vmm *vmm = new_vmm(config);
    if (vmm->fds[0] < 0 || (config->ack_fd >= 0 && vmm->fds[1] < 0)) {
        free_vmm(vmm);
        return client_fail_with(HV_STATUS_INVALID_PARAMETER, "tick_fd or ack_fd is not open");
    }
    vmm->thread = g_thread_new("hvapi-vmm", vmm_thread, vmm);
    pthread_mutex_lock(&vmm->lock);
    while (!vmm->tried) {
        pthread_cond_wait(&vmm->settled, &vmm->lock);
    }
    HV_PARTITION_ID id = vmm->id;
    HV_STATUS status = vmm->first_error != NULL ? client_fail(vmm->first_error) : HV_STATUS_SUCCESS;
    pthread_mutex_unlock(&vmm->lock);
    if (status != HV_STATUS_SUCCESS) {
        stop(vmm);
        return status;
    }
    *ret_vmm = vmm;
    *ret_id = id;
    return HV_STATUS_SUCCESS;
}

static HV_STATUS tell_daemon(hvapi_vmm *vmm, const char *method, GVariant *parameters)
{
    g_autoptr(GVariant) sunk = g_variant_ref_sink(parameters);
    g_autoptr(GError) error = NULL;

    pthread_mutex_lock(&vmm->lock);
    HV_PARTITION_ID id = vmm->id;
    pthread_mutex_unlock(&vmm->lock);
    if (id == HV_PARTITION_ID_INVALID) {
        return client_fail_with(HV_STATUS_INVALID_PARTITION_STATE,
                                "hvtimerd does not have this VM at the moment");
    }
    g_autoptr(GVariant) reply = call_partition(vmm, id, method, sunk, &error);
    return reply != NULL ? HV_STATUS_SUCCESS : client_fail(error);
}

HV_STATUS hvapi_vmm_set_running(hvapi_vmm *vmm, int running)
{
    pthread_mutex_lock(&vmm->lock);
    vmm->running = running != 0; /* told again to a daemon that comes back */
    pthread_mutex_unlock(&vmm->lock);
    return tell_daemon(vmm, "SetRunning", g_variant_new("(b)", running != 0));
}

HV_STATUS hvapi_vmm_guest_reset(hvapi_vmm *vmm)
{
    return tell_daemon(vmm, "GuestReset", g_variant_new("()"));
}

void hvapi_vmm_take_back(hvapi_vmm *vmm)
{
    if (vmm == NULL) {
        return;
    }
    pthread_mutex_lock(&vmm->lock);
    HV_PARTITION_ID id = vmm->id;
    pthread_mutex_unlock(&vmm->lock);
    if (id != HV_PARTITION_ID_INVALID) {
        g_autoptr(GVariant) reply = call(vmm, CLIENT_ROOT_PATH, "org.hvtimer1.Manager", "Detach",
                                         g_variant_new("(t)", id), NULL, NULL);
    }
    stop(vmm);
}
