/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the service manager is told: see service.h. */
#include "daemon/service.h"

#include <systemd/sd-daemon.h>

struct service {
    struct engine *engine;
    uint64_t heartbeat; /* at the last look */
    guint source;
};

/* The ping makes a sleeping engine go round, so between two looks it must have. */
static gboolean feed_watchdog(gpointer user_data)
{
    struct service *service = user_data;
    uint64_t heartbeat = engine_heartbeat(service->engine);

    if (heartbeat != service->heartbeat) {
        sd_notify(0, "WATCHDOG=1");
        service->heartbeat = heartbeat;
    } else {
        g_critical("the engine has not gone round since the last look; its watchdog is not fed");
    }
    engine_ping(service->engine);
    return G_SOURCE_CONTINUE;
}

struct service *service_new(struct engine *engine)
{
    struct service *service = g_new0(struct service, 1);
    uint64_t interval_us;

    service->engine = engine;
    engine_ping(engine);
    if (sd_watchdog_enabled(0, &interval_us) > 0) {
        service->source = g_timeout_add((guint)MAX(interval_us / 3000, 1), feed_watchdog, service);
    }
    return service;
}

void service_free(struct service *service)
{
    if (service != NULL) {
        g_clear_handle_id(&service->source, g_source_remove);
        g_free(service);
    }
}

void service_ready(void)
{
    sd_notify(0, "READY=1");
}

void service_reloading(void)
{
    sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" G_GINT64_FORMAT, g_get_monotonic_time());
}

void service_stopping(void)
{
    sd_notify(0, "STOPPING=1");
}
