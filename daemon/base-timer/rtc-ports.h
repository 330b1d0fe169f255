/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The periodic interrupt of an MC146818 RTC, as its ports 0x70 and 0x71 tell of it, in the way of
 * QEMU's hw/rtc/mc146818rtc.c: 0x70 selects a register, 0x71 is that register. Pure.
 */
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
/* The machine was reset: no periodic interrupt. As in QEMU, register A stays what it was; if that
 * is not known, it is what QEMU's is from the start and what PC firmware writes first. @ports must
 * be initialised. */
void rtc_ports_reset(struct rtc_ports *ports);

/* The rate is known to be @length, from elsewhere, and periodic interrupts are on: a later change
 * of one of the registers tells the whole. 0: they are off. A length that no rate has (they are
 * the powers of two from 4 to 16384) changes nothing. */
void rtc_ports_assume(struct rtc_ports *ports, uint32_t length);

/*
 * @ret_event is always written; its kind is NONE where the access means nothing new.
 * RATE: the length in force has changed, or is known for the first time, or is known again after
 *   it was not. What the guest reads from the registers tells it as well as what it writes.
 * HANDLED: register C was read, which also withdraws the interrupt.
 * CLOCK_SET: one of the seconds, minutes, hours, day of month, month and year was written; a guest
 *   that sets the clock writes several of them.
 */
void rtc_ports_access(struct rtc_ports *ports, const struct port_access *access,
                      struct base_event *ret_event);
