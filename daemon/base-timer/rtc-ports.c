/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a guest's accesses to an MC146818 mean: see rtc-ports.h. */
#include "daemon/base-timer/rtc-ports.h"

#define PORT_INDEX 0x70u
#define PORT_DATA  0x71u

/* Bit 7 of the index port is the machine's NMI mask. */
#define INDEX_MASK 0x7fu

/* Registers and their bits: Motorola, MC146818 data sheet; QEMU's mc146818rtc_regs.h. */
#define REG_SECONDS      0x00u
#define REG_MINUTES      0x02u
#define REG_HOURS        0x04u
#define REG_DAY_OF_MONTH 0x07u
#define REG_MONTH        0x08u
#define REG_YEAR         0x09u
#define REG_A            0x0au
#define REG_B            0x0bu
#define REG_C            0x0cu

#define A_RATE 0x0fu
#define B_SQWE 0x08u
#define B_AIE  0x20u
#define B_PIE  0x40u
#define C_PF   0x40u

/* What QEMU's rtc_realizefn() and SeaBIOS's rtc_setup() set: 1024 Hz, off; 24 hours. */
#define A_INITIAL 0x26u
#define B_INITIAL 0x02u

/* Codes 1 and 2 stand for the rates of 8 and 9 with a 32768 Hz clock; from 3 on each is its own. */
#define CODE_FIRST 3u
#define CODE_LAST  15u

/* 0: this code is no rate. */
static uint32_t length_of_code(uint8_t code)
{
    if (code == 0) {
        return 0;
    }
    return 1u << (code < CODE_FIRST ? code + 6 : code - 1);
}

/* The length in force. FALSE: not known. Either register may be enough to know that there are no
 * ticks. */
static bool length_in_force(const struct rtc_ports *ports, uint32_t *ret_length)
{
    bool off = ports->b_known && (ports->b & B_PIE) == 0;
    bool no_rate = ports->a_known && (ports->a & A_RATE) == 0;

    *ret_length = 0;
    if (off || no_rate) {
        return true;
    }
    if (ports->a_known && ports->b_known) {
        *ret_length = length_of_code(ports->a & A_RATE);
        return true;
    }
    return false;
}

void rtc_ports_init(struct rtc_ports *ports)
{
    *ports = (struct rtc_ports){.index = 0};
}

void rtc_ports_reset(struct rtc_ports *ports)
{
    if (!ports->a_known) {
        ports->a = A_INITIAL;
    }
    if (!ports->b_known) {
        ports->b = B_INITIAL;
    }
    ports->b &= (uint8_t) ~(B_PIE | B_AIE | B_SQWE);
    ports->a_known = ports->b_known = true;
}

void rtc_ports_assume(struct rtc_ports *ports, uint32_t length)
{
    if (length == 0) {
        ports->b &= (uint8_t)~B_PIE;
        ports->b_known = true;
        return;
    }
    for (uint8_t code = CODE_FIRST; code <= CODE_LAST; code++) {
        if (length_of_code(code) == length) {
            ports->a = code; /* nothing else of it matters */
            ports->b |= B_PIE;
            ports->a_known = ports->b_known = true;
        }
    }
}

/* Registers A and B are what was last written to them, but for bit 7 of A, which is not ours: so
 * a read tells as much as a write. */
static void learn(struct rtc_ports *ports, uint8_t value, struct base_event *event)
{
    uint32_t before, after;
    bool was_known = length_in_force(ports, &before);

    if (ports->index == REG_A) {
        ports->a = value;
        ports->a_known = true;
    } else {
        ports->b = value;
        ports->b_known = true;
    }
    if (length_in_force(ports, &after) && (!was_known || after != before)) {
        event->kind = BASE_EVENT_RATE;
        event->length = after;
    }
}

static void access_data(struct rtc_ports *ports, const struct port_access *access,
                        struct base_event *event)
{
    switch (ports->index) {
    case REG_A:
    case REG_B:
        learn(ports, access->value, event);
        break;
    case REG_C:
        if (!access->write) { /* it can't be written */
            event->kind = BASE_EVENT_HANDLED;
            event->pending = (access->value & C_PF) != 0;
        }
        break;
    case REG_SECONDS:
    case REG_MINUTES:
    case REG_HOURS:
    case REG_DAY_OF_MONTH:
    case REG_MONTH:
    case REG_YEAR:
        if (access->write) {
            event->kind = BASE_EVENT_CLOCK_SET;
        }
        break;
    default:
        break;
    }
}

void rtc_ports_access(struct rtc_ports *ports, const struct port_access *access,
                      struct base_event *ret_event)
{
    *ret_event = (struct base_event){.kind = BASE_EVENT_NONE, .time_ns = access->time_ns};
    if (access->port == PORT_INDEX && access->write) {
        ports->index = access->value & INDEX_MASK;
        ports->index_known = true;
    } else if (access->port == PORT_DATA && ports->index_known) {
        access_data(ports, access, ret_event);
    }
}
