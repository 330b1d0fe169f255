/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a guest's accesses to an 8254 mean: see pit-ports.h. */
#include "daemon/base-timer/pit-ports.h"

#define PORT_CHANNEL_0 0x40u
#define PORT_CONTROL   0x43u

/* The control word: Intel, 8254 data sheet. Channel 3 is the read-back command. */
#define CONTROL_CHANNEL(value) ((value) >> 6)
#define CONTROL_ACCESS(value)  (((value) >> 4) & 3u)
#define CONTROL_MODE(value)    (((value) >> 1) & 7u)

#define ACCESS_LATCH         0u /* a command, rather than a way of access */
#define ACCESS_LOW           1u
#define ACCESS_HIGH          2u
#define ACCESS_LOW_THEN_HIGH 3u

#define MODE_RATE_GENERATOR 2u
#define MODE_SQUARE_WAVE    3u
#define MODE_LAST           5u /* 6 and 7 are 2 and 3: the upper bit is not heeded */

/* What a count of 0 stands for. */
#define COUNT_MAX 0x10000u

void pit_ports_init(struct pit_ports *ports)
{
    *ports = (struct pit_ports){.access = 0};
}

static void write_control(struct pit_ports *ports, uint8_t value)
{
    if (CONTROL_CHANNEL(value) != 0 || CONTROL_ACCESS(value) == ACCESS_LATCH) {
        return;
    }
    ports->access = CONTROL_ACCESS(value);
    ports->mode = CONTROL_MODE(value);
    if (ports->mode > MODE_LAST) {
        ports->mode -= 4;
    }
    ports->low_written = false;
}

static void load(const struct pit_ports *ports, uint32_t count, struct base_event *event)
{
    bool periodic = ports->mode == MODE_RATE_GENERATOR || ports->mode == MODE_SQUARE_WAVE;

    event->kind = BASE_EVENT_RATE;
    event->length = !periodic ? 0 : count == 0 ? COUNT_MAX : count;
}

static void write_count(struct pit_ports *ports, uint8_t value, struct base_event *event)
{
    switch (ports->access) {
    case ACCESS_LOW:
        load(ports, value, event);
        break;
    case ACCESS_HIGH:
        load(ports, (uint32_t)value << 8, event);
        break;
    case ACCESS_LOW_THEN_HIGH:
        if (ports->low_written) {
            load(ports, (uint32_t)value << 8 | ports->low, event);
        } else {
            ports->low = value;
        }
        ports->low_written = !ports->low_written;
        break;
    default: /* not known: the value may be either byte */
        break;
    }
}

void pit_ports_access(struct pit_ports *ports, const struct port_access *access,
                      struct base_event *ret_event)
{
    *ret_event = (struct base_event){.kind = BASE_EVENT_NONE, .time_ns = access->time_ns};
    if (!access->write) {
        return;
    }
    if (access->port == PORT_CONTROL) {
        write_control(ports, access->value);
    } else if (access->port == PORT_CHANNEL_0) {
        write_count(ports, access->value, ret_event);
    }
}
