/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A real guest of an unmodified QEMU that stamps each interrupt with its TSC as it is handled: the
 * ticks of a borrowed pin, and those of its RTC, which QEMU raises. Each EOI is stamped by a
 * real-time thread of the host's.
 *
 * Neither the guest's clock nor the phase of the RTC is known outside. So all four are judged
 * alike: by how much each tick is later than the one that was earliest, in a row of even periods.
 */
#pragma once

#include "daemon/injector.h"
#include <glib.h>

enum stamped { STAMPED_TICK, STAMPED_TICK_EOI, STAMPED_RTC, STAMPED_RTC_EOI, STAMPED };

struct lateness_guest;

/* NULL with @error: there is no KVM, or it can't be attached to. Its pin is borrowed, to be an
 * engine's, which runs on @engine_cpu: EOIs are listened to elsewhere. */
struct lateness_guest *lateness_guest_new(int engine_cpu, GError **error);
void lateness_guest_free(struct lateness_guest *guest);
struct injector *lateness_guest_injector(struct lateness_guest *guest);

/* Stamps are taken from here on, until lateness_guest_stop(), which adds how late each was, in us,
 * to @samples[STAMPED], and to @missing[STAMPED] how many did not come. @hz: of both. */
void lateness_guest_start(struct lateness_guest *guest);
void lateness_guest_stop(struct lateness_guest *guest, double hz, GArray *const *samples,
                         unsigned *missing);
