/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a guest tells a timer through its I/O ports. The decoders, rtc-ports and pit-ports, are
 * pure: one access after the other goes in, what it means comes out.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* One access of one byte, in the order of time. */
struct port_access {
    uint64_t time_ns; /* CLOCK_MONOTONIC */
    uint16_t port;
    bool write;
    uint8_t value; /* written, or read */
};

enum base_event_kind {
    BASE_EVENT_NONE,
    BASE_EVENT_RATE,      /* ticks come at another rate from here on, or none do */
    BASE_EVENT_HANDLED,   /* the guest's handler has seen one interrupt (read register C) */
    BASE_EVENT_CLOCK_SET, /* the guest has set the time of day */
};

struct base_event {
    enum base_event_kind kind;
    uint64_t time_ns;
    uint32_t length; /* RATE: of the period, in counts of the timer's own clock; 0: no ticks */
    bool pending;    /* HANDLED: the timer said that it had raised this one (PF was set) */
};
