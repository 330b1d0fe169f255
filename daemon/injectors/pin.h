/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Ticks by a borrowed IOAPIC pin of an unmodified VMM. The pin's redirection entry carries the
 * Control's vector, delivery mode and destination. Edge-triggered: a plain irqfd pulses it, and a
 * listener counts the EOIs. Where AMD's AVIC keeps the EOIs of edges to itself, level-triggered: a
 * write to the resample irqfd raises the line, the guest's EOI lowers it and is counted.
 */
#pragma once

#include "daemon/attach/queue.h"
#include "daemon/injector.h"

/* Do EOIs of edge-triggered vectors reach KVM on this host? */
gboolean pin_edges_are_heard(void);

/* @error: NULL on success. @injector: (transfer full). */
typedef void (*injector_pin_func)(struct injector *injector, const GError *error,
                                  gpointer user_data);

/* Borrows the pin that is best, of those in @pins (a bit each), with the route of @control. */
void injector_pin_borrow(struct attach_queue *queue, uint32_t pins, uint64_t control,
                         injector_pin_func done, gpointer user_data);
