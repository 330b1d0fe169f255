/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A borrowed pin, for the injectors that have one: pin.c, whose ticks go by it, and lapic.c, which
 * hears by it what the guest takes, and tops up. */
#pragma once

#include "daemon/injectors/pin.h"

struct pin {
    struct injector injector;
    struct attach_queue *queue;
    uint32_t pin;
    int trigger_fd;
    int listener_fd;    /* edge: keeps the listener there; never written. Level: -1 */
    uint64_t old_entry; /* what it had before, to be put back */
    uint64_t entry;     /* what it has now */
    gboolean lost;
    gboolean leased;           /* with the local APIC timer of the vCPU that it goes to: */
    struct attach_lease lease; /* put back with it */
    unsigned return_again_s;
    int references; /* the engine's, and those of requests under way */
};

/* Takes the descriptors of @result, a BORROW's, and refers to @queue. */
void pin_init(struct pin *pin, struct attach_queue *queue, gboolean edge, uint64_t entry,
              struct attach_result *result);
void pin_unref(struct pin *pin);

/* An injector "pin" by the same way, with its own copies of the descriptors, and without the lease.
 * NULL: there are no more descriptors. (transfer full) */
struct injector *pin_copy(const struct pin *pin);

/* Operations: see injector.h. */
bool pin_inject(struct injector *injector, uint64_t now);
uint64_t pin_acknowledged(struct injector *injector, uint64_t now);
void pin_check(struct injector *injector, injector_checked_func done, gpointer user_data);
void pin_free(struct injector *injector);
