/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Ticks by an irqfd that a cooperating VMM has put on an MSI route. KVM injects in the writer's own
 * context, so a write is all that there is to a tick. Acknowledgements come from a listener (a
 * resample irqfd that is never written) where the VMM has made one.
 */
#pragma once

#include "daemon/injector.h"

/* Asks the VMM to bring a destination into force; see injector_ops.set_route. */
typedef void (*injector_msi_route_func)(uint64_t control, injector_routed_func done,
                                        gpointer done_data, gpointer user_data);

/* Takes both descriptors (ack_fd may be -1: open loop) and @user_data, in every case. Both must be
 * eventfds: G_IO_ERROR_INVALID_ARGUMENT. They become non-blocking, for every holder. */
struct injector *injector_msi_new(int tick_fd, int ack_fd, injector_msi_route_func route,
                                  gpointer user_data, GDestroyNotify free_user_data,
                                  GError **error);
