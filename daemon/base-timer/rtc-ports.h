/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The periodic interrupt of an MC146818 RTC, as its ports 0x70 and 0x71 tell of it. Pure. */
#pragma once

#include "daemon/base-timer/ports.h"

/* Counts per second of the clock that its periods are lengths of. */
#define RTC_CLOCK_HZ 32768u

struct rtc_ports {
    uint8_t index; /* the register selected */
    bool index_known, a_known, b_known;
    uint8_t a, b; /* registers A and B, as far as known */
};

/* Nothing is known: the guest runs already. */
void rtc_ports_init(struct rtc_ports *ports);
/* As after a reset of the machine: QEMU's registers then, no periodic interrupt. */
void rtc_ports_reset(struct rtc_ports *ports);

/* The rate is known to be @length, from elsewhere, and periodic interrupts are on: a later change
 * of one of the registers tells the whole. */
void rtc_ports_assume(struct rtc_ports *ports, uint32_t length);

/* @ret_event is always written; its kind is NONE where the access means nothing new. */
void rtc_ports_access(struct rtc_ports *ports, const struct port_access *access,
                      struct base_event *ret_event);
