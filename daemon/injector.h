/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The seam between the engine and a way to deliver ticks. An implementation embeds struct
 * injector as its first member and has one constructor, in injectors/NAME.[ch].
 */
#pragma once

#include "daemon/base-timer/supervisor.h"
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct injector;

/* @error: NULL on success; owned by the caller. Main loop. */
typedef void (*injector_routed_func)(const GError *error, gpointer user_data);

/* How interrupts of a timer that the guest has anyway reach it. */
enum base_routing {
    BASE_ROUTING_UNKNOWN,
    BASE_ROUTING_NONE, /* masked everywhere */
    BASE_ROUTING_IOAPIC,
    BASE_ROUTING_PIC,
};

/* @control: HV_EMULATED_TIMER_CONTROL of these interrupts, Enabled left out. Main loop. */
typedef void (*injector_found_func)(enum base_routing routing, uint64_t control,
                                    gpointer user_data);

enum injector_loss {
    INJECTOR_LOST_NOTHING,
    INJECTOR_LOST_ROUTE, /* the way of its ticks is no more */
    INJECTOR_LOST_TIMER, /* the guest uses the leased timer itself, the rest is as it was */
};

/* Main loop. */
typedef void (*injector_checked_func)(enum injector_loss loss, gpointer user_data);

/* @paced: (transfer full): NULL with @error, owned by the caller. Main loop. */
typedef void (*injector_paced_func)(struct injector *paced, const GError *error,
                                    gpointer user_data);

struct injector_ops {
    /* What `status` calls it, and the source of its base ticks. */
    const char *name;
    const char *base_timer;
    /* (nullable) Main loop. The source as it is now, and how that is known: "trace", or "module"
     * for what the host's module parameter promises. */
    const char *(*find_base_timer)(struct injector *injector, const char **ret_known_by);

    /* Engine thread: real time, so no allocation, no lock, no call that may wait. */

    /* Raises one tick. False if it could not be raised now; the engine tries again. */
    bool (*inject)(struct injector *injector, uint64_t now_ns);
    /* Acknowledgements since the last call. NULL: open loop. */
    uint64_t (*acknowledged)(struct injector *injector, uint64_t now_ns);
    /* (nullable) Tells @supervisor what the guest has done to the timer up to now. */
    void (*follow)(struct injector *injector, struct supervisor *supervisor, uint64_t now_ns);
    /* (nullable) The machine was reset, and its timer with it. */
    void (*was_reset)(struct injector *injector);

    /* Main loop. */

    /* Brings a destination (HV_EMULATED_TIMER_CONTROL, Enabled of no interest) into force, and
     * calls @done once, now or later. On an error the route is as it was. No tick is raised
     * between the call and @done, and the injector is not freed. @period is of interest to a leased
     * timer only; numerator 0: it stays. */
    void (*set_route)(struct injector *injector, uint64_t control, struct period period,
                      injector_routed_func done, gpointer user_data);
    /* (nullable) No acknowledgement has come for long: is the way of its ticks still there? Calls
     * @done once, now or later. */
    void (*check)(struct injector *injector, injector_checked_func done, gpointer user_data);
    /* Leased timers only. Gives the timer back, and makes an injector of the rest, whose ticks the
     * daemon raises, by the same way; this one's free() then puts nothing back. Calls @done once,
     * later. */
    void (*become_paced)(struct injector *injector, injector_paced_func done, gpointer user_data);
    /* Timers of the guest's only. Where do its interrupts go? Calls @done once, now or later. */
    void (*find_route)(struct injector *injector, injector_found_func done, gpointer user_data);
    /* The engine has let go of it: puts back what it has touched. */
    void (*free)(struct injector *injector);
};

struct injector {
    const struct injector_ops *ops;
    /* Becomes readable when there are acknowledgements; -1: the engine has to poll. The
     * injector's own. */
    int ack_fd;
    /* NULL: paced: the engine issues every tick. Else supervised: a timer of the guest's or one
     * that was leased does, with this clock, and the engine tops up. */
    const struct supervisor_clock *clock;
    bool traced;     /* all that the guest does to the timer is known */
    bool makes_up;   /* the VMM makes lost ticks up itself */
    uint64_t length; /* of the period in force, as far as known at the start; 0: not known */
    /* A leased timer: when its first period began, which is of `length`; 0: it is no leased one.
     * Changed by set_route(). */
    uint64_t started_ns;
    /* After set_route() of a leased timer: ticks in the guest whose EOIs won't be seen. After
     * become_paced(), of the other injector: ticks that were in the guest then. */
    unsigned unseen;
    /* (nullable) To be called, on the main loop, when it is noticed that something is lost. Whoever
     * uses the injector sets it. */
    injector_checked_func lost;
    gpointer lost_data;
    /* How long the first acknowledgement may take, 0: for ever. See ticker.h. */
    uint64_t feedback_timeout_ns;
    /* Routes by MSI, so that a 32-bit destination can be reached. */
    bool wide_mda;
    /* What it has touched is gone: nothing is to be put back. */
    bool gone;
    /* A tick of an earlier daemon's waits in the guest; its EOI will be reported here. */
    bool tick_in_flight;
    /* The guest has had ticks meanwhile, by a timer that an earlier daemon had leased. */
    bool ticked_on;
    /* How long the VM stood still for it. */
    uint64_t attach_stall_us;
};
