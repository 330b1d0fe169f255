/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the parts of a guest share: guest.c, who it is and how its VM lives, and those below.
 */
#pragma once

#include "daemon/delivery.h"
#include "daemon/guest.h"

/* What is known of a timer that is supervised. */
struct guest_base {
    struct supervision supervision; /* what was asked for; a mode of OFF: none is */
    enum base_routing routing;
    uint64_t control; /* of its interrupts, Enabled left out */
    guint read_again; /* a source: until the two are what they were the last time */
    guint interval_s; /* after so long */
    gboolean reading;
};

struct guest {
    struct guest_identity identity;
    int references; /* the owner's, and those of calls under way */
    gboolean removed;
    enum guest_state state;
    uint32_t pid;
    char *problem; /* of its configuration */
    unsigned life; /* which VM it is that runs: a call for an earlier one has come too late */
    struct engine *engine;
    const struct guest_settings *settings;
    guest_changed_func changed;
    gpointer user_data;

    struct partition partition;
    struct ticker_policy policy;
    struct guest_attacher attacher; /* attach NULL: its injector was handed over */
    struct delivery *delivery;      /* NULL: nothing is delivered */
    struct ticker_counts counts;    /* while there is no delivery */
    char paused_injector[16];       /* what was let go of when it was suspended; "": nothing */
    uint64_t paused_ns;             /* when that was */

    struct guest_base base; /* of a supervised timer */

    gboolean prefers_lapic; /* "lapic" was asked for by name */
    gboolean uses_lapic;    /* the guest was seen to use its local APIC timer */

    GQueue requests; /* if `busy`, the first one is being made */
    gboolean busy;
    gboolean again, looping;        /* one after the other, not one within the other */
    struct partition_change change; /* of the first one */
};

struct guest *guest_ref(struct guest *guest);
void guest_unref(struct guest *guest);

void guest_tell_changed(struct guest *guest);
GError *guest_error(const struct guest *guest, HV_STATUS status, const char *reason);

/* ---- guest-base.c ---- */

gboolean guest_is_supervised(const struct guest *guest);
/* Of the supervised timer, or of the partition's own. */
struct ticker_policy guest_effective_policy(const struct guest *guest);
/* What is wrong, or noteworthy, about the supervision in force; NULL: nothing. */
const char *guest_base_problem(const struct guest *guest);
/* The supervision asked for, or what it depends on, has changed. */
void guest_update_supervision(struct guest *guest);
/* The base timer is another than it was: the properties follow. */
void guest_base_found(struct guest *guest);
/* The machine was reset: its interrupts go elsewhere soon. */
void guest_base_was_reset(struct guest *guest);
/* There is none any more. */
void guest_base_forget(struct guest *guest);

/* ---- guest.c ---- */

/* Takes @injector, whose route is that of @control. @since_ns: see struct engine_past. FALSE: the
 * engine is full, and guest_engine_full says so. */
gboolean guest_deliver_with(struct guest *guest, struct injector *injector, uint64_t control,
                            uint64_t since_ns);
extern const char guest_engine_full[];

/* ---- guest-change.c ---- */

/* Makes the request that comes first; guest_request_finish() is called once, now or later. */
void guest_make_change(struct guest *guest);
/* What was planned for it is done, as far as others have to do it: it is so from here on. */
void guest_commit(struct guest *guest);

/* ---- guest-paced.c ---- */

/* Its ticks come from a timer that its injector has set up and started. */
gboolean guest_is_leased(const struct guest *guest);
/* The daemon raises the ticks itself from here on, where a leased timer did. */
void guest_become_paced(struct guest *guest);
/* The same, as part of the request that is being made, which is then begun once more. */
void guest_leave_lease(struct guest *guest);
/* The counts of a leased timer, for another one to go on with. */
void guest_keep_leased_counts(struct guest *guest, const struct ticker_counts *counts);

/* ---- guest-suspend.c ---- */

/* Nothing of ours stays raised in a guest that is suspended: it may be saved so, and go on where
 * nobody lowers it. What was borrowed is borrowed anew when it goes on. */
void guest_let_go_suspended(struct guest *guest);
void guest_resume_suspended(struct guest *guest);
/* The requests that these two add. */
void guest_make_let_go(struct guest *guest);
void guest_make_have_again(struct guest *guest);

/* ---- guest-request.c ---- */

/* All changes that wait or are being made. */
void guest_fail_all(struct guest *guest, HV_STATUS status, const char *reason);
