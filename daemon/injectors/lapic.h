/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Ticks by the destination vCPU's own local APIC timer, which its guest does not use: it is leased,
 * set to our vector and period, and KVM delivers each tick, on Intel by the VMX preemption timer. A
 * borrowed pin with the same vector hears what the guest takes (EOIs are told by their vector), and
 * tops up what was lost. Supervised. The lease is watched: a guest that begins to use the timer
 * gets it back (see injector.lost and become_paced).
 */
#pragma once

#include "daemon/injectors/pin.h"

struct lapic_wish {
    uint32_t pins;    /* that may be borrowed, a bit each */
    uint64_t control; /* HV_EMULATED_TIMER_CONTROL */
    struct period period;
    gboolean or_pin; /* an injector "pin" will do, where this is not possible */
};

/* NULL, or why @period can't be had of a leased timer on this host, whatever the guest. */
const char *injector_lapic_problem(struct period period);

/* Needs pin_edges_are_heard() and no injector_lapic_problem(). Calls @done once, later. */
void injector_lapic_lease(struct attach_queue *queue, const struct lapic_wish *wish,
                          injector_pin_func done, gpointer user_data);
