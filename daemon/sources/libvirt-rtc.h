/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The RTC of a libvirt domain whose QEMU makes lost ticks up itself. QEMU counts the time of a
 * suspend as lost, and replays it at some twenty times the speed when the domain goes on; the only
 * thing that can be done from outside is to have it forget what it has counted.
 */
#pragma once

#include <libvirt/libvirt.h>

/* QMP's rtc-reset-reinjection, by libvirt, which marks the domain as tainted (custom-monitor). In
 * a thread, as libvirt lets it wait for up to half a minute where the domain has another job; what
 * is asked for meanwhile is dropped, as it would only come late. That it failed is logged, if it is
 * not that the domain has ended. Takes a reference of @handle. Main loop. */
void libvirt_rtc_forget_lost_ticks(virDomainPtr handle);
