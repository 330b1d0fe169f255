/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An injector at work: its timer in the engine, the changes of its route, and its end. It lives on
 * after its owner has let go of it, until the engine has. Main loop only.
 */
#pragma once

#include "daemon/engine.h"

struct delivery;

/* ENGINE_SKIPPED; ENGINE_FEEDBACK_LOST; ENGINE_FOUND; ENGINE_UNANSWERED if the injector has looked
 * and found that the way of its ticks is lost; ENGINE_TAKEN_BACK. */
typedef void (*delivery_event_func)(enum engine_event event, gpointer user_data);
/* @error: NULL on success; owned by the caller. */
typedef void (*delivery_routed_func)(const GError *error, gpointer user_data);
typedef void (*delivery_ended_func)(const struct engine_reading *last, gpointer user_data);

/* Takes @injector, in every case, whose route is that of @control. NULL if the engine is full.
 * @past: see engine_add(). */
struct delivery *delivery_new(struct engine *engine, struct injector *injector, uint64_t control,
                              const struct ticker_policy *policy, const struct engine_past *past,
                              delivery_event_func event, gpointer user_data);

struct engine_timer *delivery_timer(struct delivery *delivery);
struct injector *delivery_injector(struct delivery *delivery);

/* Brings a destination into force between two ticks, so that none is lost; of a leased timer also
 * the period (numerator 0: it stays). Calls @done once, unless the delivery is ended before. One at
 * a time. */
void delivery_route(struct delivery *delivery, uint64_t control, struct period period,
                    delivery_routed_func done, gpointer user_data);

/* (transfer full) No tick is raised any more, and the injector puts back what it has touched.
 * @gently: waits a moment for the acknowledgement of a tick in flight; otherwise what it has
 * touched is gone already, with its VM or by a reset, and is not put back. @ended: (nullable). */
void delivery_end(struct delivery *delivery, gboolean gently, delivery_ended_func ended,
                  gpointer user_data);
