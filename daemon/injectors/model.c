/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Ticks for a software local APIC: see model.h. */
#include "daemon/injectors/model.h"

#include "daemon/engine.h"
#include "daemon/injectors/model-apic.h"
#include <stdatomic.h>

/* Of the order of what a real guest takes from its handler's entry to the EOI. */
#define HANDLER_NS 2000

struct model {
    struct injector injector;
    struct model_apic apic; /* the engine thread's */
    _Atomic uint64_t hold_until;
    _Atomic uint64_t taken;
};

static void sync_with_others(struct model *model)
{
    model->apic.unavailable_until = atomic_load_explicit(&model->hold_until, memory_order_relaxed);
}

static bool inject(struct injector *injector, uint64_t now)
{
    struct model *model = (struct model *)injector;

    sync_with_others(model);
    model_apic_raise(&model->apic, now);
    atomic_store_explicit(&model->taken, model->apic.taken, memory_order_relaxed);
    return true;
}

static uint64_t acknowledged(struct injector *injector, uint64_t now)
{
    struct model *model = (struct model *)injector;

    sync_with_others(model);
    uint64_t eois = model_apic_collect(&model->apic, now);
    atomic_store_explicit(&model->taken, model->apic.taken, memory_order_relaxed);
    return eois;
}

/* It has one vector and one destination, whatever they are called. */
static void set_route(G_GNUC_UNUSED struct injector *injector, G_GNUC_UNUSED uint64_t control,
                      G_GNUC_UNUSED struct period period, injector_routed_func done,
                      gpointer user_data)
{
    done(NULL, user_data);
}

static void free_model(struct injector *injector)
{
    g_free(injector);
}

static const struct injector_ops model_ops = {
    .name = "model",
    .base_timer = "daemon",
    .inject = inject,
    .acknowledged = acknowledged,
    .set_route = set_route,
    .free = free_model,
};

struct injector *injector_model_new(void)
{
    struct model *model = g_new0(struct model, 1);

    model->injector.ops = &model_ops;
    model->injector.ack_fd = -1;
    model_apic_init(&model->apic, HANDLER_NS);
    return &model->injector;
}

struct injector *injector_as_model(struct injector *injector)
{
    return injector != NULL && injector->ops == &model_ops ? injector : NULL;
}

void injector_model_hold(struct injector *injector, uint64_t microseconds)
{
    struct model *model = (struct model *)injector;
    uint64_t most = UINT64_MAX / 2; /* so that no sum overflows */

    atomic_store(&model->hold_until,
                 engine_clock() + (microseconds < most / 1000 ? microseconds * 1000 : most));
}

uint64_t injector_model_taken(struct injector *injector)
{
    return atomic_load(&((struct model *)injector)->taken);
}
