/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the service manager is told: see service.h. */
#include "daemon/service.h"

#include <systemd/sd-daemon.h>

/* An engine that takes longer to go round is of no use to any guest. */
#define IN_TIME_NS UINT64_C(1000000000)

struct service {
    struct engine *engine;
    guint source;
};

/* The ping makes a sleeping engine go round: by the next look it must have, and in time. */
static gboolean feed_watchdog(gpointer user_data)
{
    struct service *service = user_data;
    uint64_t answer = engine_answer_ns(service->engine);

    if (answer == ENGINE_NO_ANSWER) {
        g_critical("the engine has not gone round since the last look; its watchdog is not fed");
        return G_SOURCE_CONTINUE;
    }
    if (answer <= IN_TIME_NS) {
        sd_notify(0, "WATCHDOG=1");
    } else {
        g_critical(
            "the engine took %" G_GUINT64_FORMAT
            " ms to go round, and ticks were as late; its watchdog is not fed: give it a CPU "
            "of its own (engine.cpu), or a higher priority (engine.priority)",
            answer / 1000000);
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
