/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A software local APIC with one vector, and the guest behind it: a vector is pending (IRR) or in
 * service (ISR), a second tick that meets a pending one merges with it, and the guest takes
 * none while its vCPU is unavailable. Pure: time goes in. For the model injector and simulations.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct model_apic {
    bool pending;
    bool in_service;
    uint64_t pending_ns;        /* since when */
    uint64_t service_end_ns;    /* when the handler's EOI comes, or came last */
    uint64_t unavailable_until; /* the vCPU takes nothing before; may be written at any time */
    uint64_t handler_ns;        /* from taking a tick to its EOI */
    uint64_t taken;             /* ticks that the guest has seen */
    uint64_t merged;            /* raised while one was pending: the guest sees them as one */
    uint64_t acknowledged;      /* EOIs not yet collected */
};

/* Nothing pending; a handler of @handler_ns. */
void model_apic_init(struct model_apic *apic, uint64_t handler_ns);

/* What the guest does up to @now. */
void model_apic_advance(struct model_apic *apic, uint64_t now);

/* The interrupt is raised at @now. */
void model_apic_raise(struct model_apic *apic, uint64_t now);

/* EOIs up to @now, since the last call. */
uint64_t model_apic_collect(struct model_apic *apic, uint64_t now);
