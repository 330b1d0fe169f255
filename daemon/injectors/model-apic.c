/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A software local APIC with one vector: see model-apic.h. */
#include "daemon/injectors/model-apic.h"

#include <string.h>

void model_apic_init(struct model_apic *apic, uint64_t handler_ns)
{
    memset(apic, 0, sizeof *apic);
    apic->handler_ns = handler_ns;
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static void end_service(struct model_apic *apic, uint64_t now)
{
    if (apic->in_service && apic->service_end_ns <= now) {
        apic->in_service = false;
        apic->acknowledged++;
    }
}

static void take(struct model_apic *apic, uint64_t now)
{
    uint64_t when = later(later(apic->pending_ns, apic->unavailable_until), apic->service_end_ns);

    if (apic->pending && !apic->in_service && when <= now) {
        apic->pending = false;
        apic->in_service = true;
        apic->service_end_ns = when + apic->handler_ns;
        apic->taken++;
    }
}

void model_apic_advance(struct model_apic *apic, uint64_t now)
{
    end_service(apic, now);
    take(apic, now);
    end_service(apic, now);
}

void model_apic_raise(struct model_apic *apic, uint64_t now)
{
    model_apic_advance(apic, now);
    if (apic->pending) {
        apic->merged++;
        return;
    }
    apic->pending = true;
    apic->pending_ns = now;
    model_apic_advance(apic, now);
}

uint64_t model_apic_collect(struct model_apic *apic, uint64_t now)
{
    model_apic_advance(apic, now);
    uint64_t acknowledged = apic->acknowledged;
    apic->acknowledged = 0;
    return acknowledged;
}
