/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An injector at work: see delivery.h. */
#include "daemon/delivery.h"

/* How long a tick in flight may take to be acknowledged before its route is changed under it. It
 * is not lost then: it is pending in the guest's local APIC, only its EOI won't be seen. */
#define DRAIN_MS 100

struct delivery {
    int references; /* the owner's, the engine's, and that of a route being made */
    struct injector *injector;
    struct engine_timer *timer;
    delivery_event_func event; /* NULL: the owner has let go */
    gpointer user_data;

    guint drain_source;   /* waiting for a tick in flight */
    uint64_t control;     /* the route in force */
    uint64_t wanted;      /* the one that is being made, */
    struct period period; /* of a leased timer, with it */
    delivery_routed_func routed;
    gpointer routed_data;
    gboolean ending;
    delivery_ended_func ended;
    gpointer ended_data;
};

static void unref(struct delivery *d)
{
    if (--d->references == 0) {
        d->injector->ops->free(d->injector);
        g_free(d);
    }
}

/* EOIs are told apart by their vector: that of a tick in flight to another one is not seen. */
static unsigned unseen_ticks(const struct delivery *d)
{
    return d->injector->started_ns != 0 ? d->injector->unseen
                                        : ((d->control ^ d->wanted) & 0xff) != 0;
}

static void on_routed(const GError *error, gpointer user_data)
{
    struct delivery *d = user_data;

    if (!d->ending) {
        engine_release(d->timer, error == NULL ? unseen_ticks(d) : 0);
    }
    if (error == NULL) {
        d->control = d->wanted;
    }
    if (!d->ending) {
        d->routed(error, d->routed_data);
    }
    unref(d);
}

static void on_drained(struct delivery *d)
{
    g_clear_handle_id(&d->drain_source, g_source_remove);
    if (d->ending) {
        engine_remove(d->timer);
    } else {
        d->references++;
        d->injector->ops->set_route(d->injector, d->wanted, d->period, on_routed, d);
    }
}

static gboolean on_drain_timeout(gpointer user_data)
{
    struct delivery *d = user_data;

    d->drain_source = 0;
    on_drained(d);
    return G_SOURCE_REMOVE;
}

static void drain(struct delivery *d)
{
    d->drain_source = g_timeout_add(DRAIN_MS, on_drain_timeout, d);
    engine_hold(d->timer);
}

static void on_removed(struct delivery *d)
{
    struct engine_reading last;

    delivery_ended_func ended = d->ended;
    gpointer ended_data = d->ended_data;

    engine_read(d->timer, &last);
    unref(d); /* first: what it puts back must not undo what @ended borrows anew */
    if (ended != NULL) {
        ended(&last, ended_data);
    }
}

static void on_lost(enum injector_loss loss, gpointer user_data)
{
    struct delivery *d = user_data;

    if (loss != INJECTOR_LOST_NOTHING && d->event != NULL) {
        d->event(loss == INJECTOR_LOST_TIMER ? ENGINE_TAKEN_BACK : ENGINE_UNANSWERED, d->user_data);
    }
}

static void on_checked(enum injector_loss loss, gpointer user_data)
{
    on_lost(loss, user_data);
    unref(user_data);
}

static void on_engine_event(enum engine_event event, gpointer user_data)
{
    struct delivery *d = user_data;

    switch (event) {
    case ENGINE_HELD:
        if (d->drain_source != 0) {
            on_drained(d);
        }
        break;
    case ENGINE_REMOVED:
        on_removed(d);
        break;
    case ENGINE_UNANSWERED:
        if (d->event != NULL && d->injector->ops->check != NULL) {
            d->references++;
            d->injector->ops->check(d->injector, on_checked, d);
        }
        break;
    default:
        if (d->event != NULL) {
            d->event(event, d->user_data);
        }
        break;
    }
}

struct delivery *delivery_new(struct engine *engine, struct injector *injector, uint64_t control,
                              const struct ticker_policy *policy, const struct engine_past *past,
                              delivery_event_func event, gpointer user_data)
{
    struct delivery *d = g_new0(struct delivery, 1);

    d->timer = engine_add(engine, injector, policy, past, on_engine_event, d);
    if (d->timer == NULL) {
        injector->ops->free(injector);
        g_free(d);
        return NULL;
    }
    d->references = 2;
    d->injector = injector;
    injector->lost = on_lost;
    injector->lost_data = d;
    d->control = control;
    d->event = event;
    d->user_data = user_data;
    return d;
}

struct engine_timer *delivery_timer(struct delivery *delivery)
{
    return delivery->timer;
}

struct injector *delivery_injector(struct delivery *delivery)
{
    return delivery->injector;
}

void delivery_route(struct delivery *delivery, uint64_t control, struct period period,
                    delivery_routed_func done, gpointer user_data)
{
    delivery->wanted = control;
    delivery->period = period;
    delivery->routed = done;
    delivery->routed_data = user_data;
    drain(delivery);
}

void delivery_end(struct delivery *delivery, gboolean gently, delivery_ended_func ended,
                  gpointer user_data)
{
    struct delivery *d = delivery;

    g_clear_handle_id(&d->drain_source, g_source_remove);
    d->ending = TRUE;
    d->event = NULL;
    d->ended = ended;
    d->ended_data = user_data;
    if (gently) {
        drain(d);
    } else {
        d->injector->gone = true;
        engine_remove(d->timer);
    }
    unref(d);
}
