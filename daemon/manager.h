/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * All partitions: by id, name and UUID. Sources add and remove them; the bus shows them. Main
 * loop only.
 */
#pragma once

#include "daemon/config.h"
#include "daemon/guest.h"

struct manager;

/* Whoever shows partitions: told of each that comes, changes and goes. */
struct manager_observer {
    void (*added)(struct guest *guest, gpointer user_data);
    void (*changed)(struct guest *guest, gpointer user_data);
    void (*removed)(struct guest *guest, gpointer user_data);
    gpointer user_data;
};

struct manager *manager_new(struct engine *engine, const struct config *config);

/* Removes every partition. The engine must still be there. */
void manager_free(struct manager *manager);

/* A configuration read anew: limits hold at once, the policy for partitions that come. */
void manager_configure(struct manager *manager, const struct config *config);

/* Copied; told in the order in which they were added. Removed by their user_data. */
void manager_add_observer(struct manager *manager, const struct manager_observer *observer);
void manager_remove_observer(struct manager *manager, gpointer user_data);

void manager_foreach(struct manager *manager, void (*call)(struct guest *guest, gpointer user_data),
                     gpointer user_data);

/* A guest that is off. @identity->id: the id wanted, 0 for any; another is given if it is taken.
 * Errors: OBJECT_IN_USE (name or UUID). */
struct guest *manager_add(struct manager *manager, const struct guest_identity *identity,
                          GError **error);

void manager_remove(struct manager *manager, struct guest *guest);

/* NULL with INVALID_PARTITION_ID if there is none. */
struct guest *manager_find(struct manager *manager, uint64_t id, GError **error);
/* By name, UUID or decimal id, in this order. */
struct guest *manager_lookup(struct manager *manager, const char *domain, GError **error);
/* The one whose VM is process @pid, or NULL. */
struct guest *manager_find_process(struct manager *manager, uint32_t pid);
