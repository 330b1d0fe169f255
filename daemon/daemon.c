/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The parts of hvtimerd, put together and taken apart: see daemon.h. */
#include "daemon/daemon.h"

#include "common/bus-address.h"
#include "daemon/attach/queue.h"
#include "daemon/bus.h"
#include "daemon/config.h"
#include "daemon/metrics-server.h"
#include "daemon/service.h"
#include "daemon/sources/models.h"
#include <glib-unix.h>
#include <signal.h>

#define DEFAULT_CONFIG SYSCONFDIR "/hvtimer/hvtimerd.json"

/* How long the end may wait for borrowed pins to be put back. */
#define PUT_BACK_SECONDS 3

struct daemon {
    const struct options *options;
    struct config *config;
    struct state *state;
    struct engine *engine;
    struct manager *manager;
    GDBusConnection *connection;
    struct bus_sources sources;
    struct bus *bus;
    struct model_source *models;
    struct metrics_server *metrics;
    struct service *service;
    GMainLoop *loop;
    GError *fatal; /* why the loop ended, if not by a signal */
    guint signals[3];
};

static struct config *load_config(const struct options *options, GError **error)
{
    const char *file = options->config_file != NULL ? options->config_file : DEFAULT_CONFIG;

    return config_load(file, options->config_file != NULL, error);
}

gboolean daemon_check_config(const struct options *options, GError **error)
{
    g_autoptr(Config) config = load_config(options, error);

    return config != NULL;
}

/* ---- signals ---- */

static gboolean on_terminate(gpointer user_data)
{
    struct daemon *daemon = user_data;

    g_main_loop_quit(daemon->loop);
    return G_SOURCE_CONTINUE;
}

/* What the engine, the state and the connection to libvirt were started with. */
static gboolean needs_restart(const struct config *a, const struct config *b)
{
    return a->engine_priority != b->engine_priority || a->engine_cpu != b->engine_cpu ||
           a->engine_threads != b->engine_threads || a->engine_window_us != b->engine_window_us ||
           a->lock_memory != b->lock_memory || a->partitions != b->partitions ||
           !g_str_equal(a->state_directory, b->state_directory) ||
           !g_str_equal(a->libvirt, b->libvirt);
}

static gboolean on_reload(gpointer user_data)
{
    struct daemon *daemon = user_data;
    g_autoptr(GError) error = NULL;

    service_reloading();
    struct config *config = load_config(daemon->options, &error);
    if (config == NULL) {
        g_warning("the configuration stays as it was: %s", error->message);
    } else {
        if (needs_restart(daemon->config, config)) {
            g_warning("a change of \"engine\", limits.partitions, \"libvirt\" or "
                      "\"state_directory\" takes a restart to take effect");
        }
        struct config old = *daemon->config;
        *daemon->config = *config; /* in place: the sources have a pointer to it */
        *config = old;
        config_free(config);
        manager_configure(daemon->manager, daemon->config);
        model_source_configure(daemon->models, daemon->config->models);
        if (daemon->sources.libvirt != NULL) {
            libvirt_source_configure(daemon->sources.libvirt);
        }
        metrics_server_listen(daemon->metrics, daemon->config->metrics_listen);
        g_message("the configuration was read anew");
    }
    service_ready();
    return G_SOURCE_CONTINUE;
}

/* ---- life ---- */

static void on_bus_state(const GError *error, gpointer user_data)
{
    struct daemon *daemon = user_data;

    if (error == NULL) {
        g_message("ready");
        service_ready();
    } else if (daemon->fatal == NULL) {
        daemon->fatal = g_error_copy(error);
        g_main_loop_quit(daemon->loop);
    }
}

/* No caller waits for a disk. */
static void on_guest(G_GNUC_UNUSED struct guest *guest, gpointer user_data)
{
    struct daemon *daemon = user_data;

    state_save_soon(daemon->state, daemon->manager);
}

static gboolean start_engine(struct daemon *daemon, GError **error)
{
    const struct config *config = daemon->config;
    struct engine_config engine = {.priority = config->engine_priority,
                                   .cpu = config->engine_cpu,
                                   .threads = (unsigned)config->engine_threads,
                                   .window_us = (unsigned)config->engine_window_us,
                                   .lock_memory = config->lock_memory,
                                   .timers = config->partitions,
                                   .ticks_file = state_ticks_file(daemon->state)};

    daemon->engine = engine_new(&engine, error);
    return daemon->engine != NULL;
}

static gboolean start_bus(struct daemon *daemon, GError **error)
{
    daemon->connection = bus_open(daemon->options->bus, error);
    if (daemon->connection == NULL) {
        return FALSE;
    }
    daemon->sources.vmms = vmm_source_new(daemon->manager, daemon->state, daemon->connection);
    daemon->sources.processes = process_source_new(daemon->manager, daemon->config);
    daemon->bus = bus_new(daemon->connection, bus_is_system(daemon->options->bus), daemon->manager,
                          &daemon->sources, on_bus_state, daemon, error);
    return daemon->bus != NULL;
}

static void start_sources(struct daemon *daemon)
{
    const char *uri = daemon->options->libvirt;

    daemon->models = model_source_new(daemon->manager);
    model_source_configure(daemon->models, daemon->config->models);
    process_source_resume(daemon->sources.processes, daemon->state);
    if (uri == NULL) {
        uri = daemon->config->libvirt;
    }
    if (!g_str_equal(uri, "none")) {
        daemon->sources.libvirt =
            libvirt_source_new(daemon->manager, daemon->config, daemon->state, uri);
    }
}

struct daemon *daemon_new(const struct options *options, GError **error)
{
    struct daemon *daemon = g_new0(struct daemon, 1);

    daemon->options = options;
    daemon->loop = g_main_loop_new(NULL, FALSE);
    /* First of all: from when the name is on the bus, or ticks, a signal must not kill. */
    daemon->signals[0] = g_unix_signal_add(SIGTERM, on_terminate, daemon);
    daemon->signals[1] = g_unix_signal_add(SIGINT, on_terminate, daemon);
    daemon->signals[2] = g_unix_signal_add(SIGHUP, on_reload, daemon);
    daemon->config = load_config(options, error);
    if (daemon->config == NULL) {
        daemon_free(daemon);
        return NULL;
    }
    daemon->state = state_new(daemon->config->state_directory);
    if (!state_claim(daemon->state, error)) {
        daemon_free(daemon);
        return NULL;
    }
    state_save(daemon->state, NULL); /* the ticks file it refers to is now replaced */
    if (!start_engine(daemon, error)) {
        daemon_free(daemon);
        return NULL;
    }
    daemon->manager = manager_new(daemon->engine, daemon->config);
    manager_add_observer(daemon->manager,
                         &(struct manager_observer){on_guest, on_guest, on_guest, daemon});
    if (!start_bus(daemon, error)) {
        daemon_free(daemon);
        return NULL;
    }
    start_sources(daemon);
    daemon->metrics = metrics_server_new(daemon->manager);
    metrics_server_listen(daemon->metrics, daemon->config->metrics_listen);
    daemon->service = service_new(daemon->engine);
    return daemon;
}

gboolean daemon_run(struct daemon *daemon, GError **error)
{
    g_main_loop_run(daemon->loop);
    service_stopping();
    if (daemon->fatal != NULL) {
        g_propagate_error(error, g_steal_pointer(&daemon->fatal));
        return FALSE;
    }
    return TRUE;
}

static gboolean wake_up(G_GNUC_UNUSED gpointer user_data)
{
    return G_SOURCE_CONTINUE;
}

/* The guests have ended, and what was borrowed of their VMs is on its way back: see to it, for a
 * moment at most. */
static void put_back(struct daemon *daemon)
{
    gint64 deadline = g_get_monotonic_time() + PUT_BACK_SECONDS * G_USEC_PER_SEC;
    guint source = g_timeout_add(10, wake_up, NULL);

    while (daemon->engine != NULL && g_get_monotonic_time() < deadline &&
           (attach_queue_pending() > 0 || guest_paced_pending() > 0 ||
            engine_timers(daemon->engine) > 0)) {
        g_main_context_iteration(NULL, TRUE);
    }
    g_source_remove(source);
}

void daemon_free(struct daemon *daemon)
{
    if (daemon == NULL) {
        return;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(daemon->signals); i++) {
        g_clear_handle_id(&daemon->signals[i], g_source_remove);
    }
    service_free(daemon->service);
    if (daemon->manager != NULL) {
        manager_remove_observer(daemon->manager, daemon);
        state_save(daemon->state, daemon->manager); /* for the next one, as it is now */
    }
    metrics_server_free(daemon->metrics);
    libvirt_source_free(daemon->sources.libvirt);
    model_source_free(daemon->models);
    bus_free(daemon->bus);
    vmm_source_free(daemon->sources.vmms);
    process_source_free(daemon->sources.processes);
    manager_free(daemon->manager);
    put_back(daemon);
    engine_free(daemon->engine);
    state_free(daemon->state);
    g_clear_object(&daemon->connection);
    g_clear_pointer(&daemon->config, config_free);
    g_main_loop_unref(daemon->loop);
    g_clear_error(&daemon->fatal);
    g_free(daemon);
}
