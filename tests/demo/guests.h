/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The demo's guests, one with each policy: KVM guests, or where there is no KVM the daemon's
 * models. */
#pragma once

#include "tests/guest/vmm.h"
#include "tests/support/fixture.h"

#define DEMO_GUESTS 2
/* Models of the guests' names, so that they are there if KVM is not. */
#define DEMO_CONFIG "{\"models\": [\"model-lazy\", \"model-catchup\"]}"

struct demo_guests {
    uint64_t ids[DEMO_GUESTS];
    Vmm *vmms[DEMO_GUESTS]; /* NULL: models */
    struct fixture *fixture;
};

/* Says which kind it uses, and ends the process with the reason if it can't. */
void demo_guests_up(struct demo_guests *guests, struct fixture *fixture,
                    const char *const *policies);
void demo_guests_down(struct demo_guests *guests);

/* Interrupts that the guest has counted. */
uint64_t demo_guest_taken(const struct demo_guests *guests, int i);
/* Takes its vCPU away. */
void demo_guest_hold(const struct demo_guests *guests, int i, unsigned ms);
