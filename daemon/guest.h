/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One partition as the daemon keeps it: who it is, its properties, its injector and its timer in
 * the engine. Main loop only.
 *
 * A change of a property may have to wait for others (a VMM that makes the route), so it is
 * asynchronous: changes of one guest are made one after the other, each whole or not at all.
 */
#pragma once

#include "daemon/engine.h"
#include "daemon/partition.h"

struct guest;

/* Who it is. Strings are never NULL. */
struct guest_identity {
    uint64_t id;
    const char *name;
    const char *uuid;   /* "" where it has none */
    const char *source; /* "vmm", "model" */
    uint32_t pid;       /* 0 where there is none */
};

/* What of the configuration concerns a guest; it must outlive it, and may change under it. */
struct guest_settings {
    struct partition_limits limits;
    struct ticker_policy policy; /* what it starts with */
    gboolean keep_on_reset;
};

/* @error: NULL on success, of HV_STATUS_ERROR otherwise; not the receiver's to free. */
typedef void (*guest_done_func)(const GError *error, gpointer user_data);

/* Something that guest_…() getters tell has changed. */
typedef void (*guest_changed_func)(struct guest *guest, gpointer user_data);

/* Takes @injector, in every case. NULL with INSUFFICIENT_MEMORY if the engine is full. */
struct guest *guest_new(const struct guest_identity *identity, struct engine *engine,
                        struct injector *injector, const struct guest_settings *settings,
                        guest_changed_func changed, gpointer user_data, GError **error);

/* Ends it: pending changes fail with INVALID_PARTITION_ID, @changed is not called any more. */
void guest_remove(struct guest *guest);

const struct guest_identity *guest_identity(const struct guest *guest);
const struct partition *guest_partition(const struct guest *guest);
const struct ticker_policy *guest_policy(const struct guest *guest);
struct injector *guest_injector(struct guest *guest);
gboolean guest_is_running(const struct guest *guest);
/* Acknowledgements are to be had, and come. */
gboolean guest_is_closed_loop(const struct guest *guest);
void guest_read(struct guest *guest, struct engine_reading *ret_reading);

/* @done is called once, possibly before the call returns. */
void guest_set_property(struct guest *guest, uint32_t code, uint64_t value, guest_done_func done,
                        gpointer user_data);
/* Both properties, the period exact. @injector: "auto" or a name. */
void guest_enable(struct guest *guest, struct period period, uint64_t control, const char *injector,
                  guest_done_func done, gpointer user_data);
/* The guest was reset: forgets what was in flight; clears Enabled, unless configured otherwise. */
void guest_reset(struct guest *guest, guest_done_func done, gpointer user_data);

/* Suspended, or on again. */
void guest_set_running(struct guest *guest, gboolean running);

/* Errors: INVALID_PARAMETER. */
gboolean guest_set_policy(struct guest *guest, const struct ticker_policy *policy, GError **error);
void guest_reset_backlog(struct guest *guest);
