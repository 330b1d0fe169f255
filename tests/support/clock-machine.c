/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Guests that keep time by counting ticks: see clock-machine.h. */
#include "tests/support/clock-machine.h"

/* 8 ticks at 64 Hz and 100 at 1024 Hz: nine changes a second. */
#define TOGGLING \
    .rate = CLOCK_RATE_64, .ticks = 8, .other_rate = CLOCK_RATE_1024, .other_ticks = 100

const struct clock_kind clock_kinds[] = {
    {.name = "IOAPIC 64 Hz", .rate = CLOCK_RATE_64},
    {.name = "IOAPIC 1024 Hz", .rate = CLOCK_RATE_1024},
    {.name = "IOAPIC toggling", TOGGLING},
    {.name = "PIC 64 Hz", .pic = TRUE, .rate = CLOCK_RATE_64},
    {.name = "PIC 1024 Hz", .pic = TRUE, .rate = CLOCK_RATE_1024},
    {.name = "PIC toggling", .pic = TRUE, TOGGLING},
    {.name = NULL},
};

struct machine_options clock_machine_options(const struct clock_kind *kind, const char *name)
{
    return (struct machine_options){
        .name = name,
        .pic = kind->pic,
        .clock = DOMAIN_GUEST_CLOCK | (kind->pit_count != 0 ? DOMAIN_GUEST_CLOCK_PIT : 0),
        .no_rtc = kind->pit_count != 0,
        .pit_count = kind->pit_count,
        .rtc_rate = kind->rate,
        .other_rate = kind->other_rate,
        .ticks = kind->ticks,
        .other_ticks = kind->other_ticks,
    };
}

void clock_machine_watch(struct clock_machine *machine, struct clock_watch *watch,
                         const struct clock_kind *kind)
{
    guint hz = kind->pit_count != 0 ? CLOCK_GUEST_PIT_HZ : CLOCK_GUEST_RTC_HZ;
    guint most =
        kind->pit_count != 0 ? kind->pit_count : 1u << (MAX(kind->rate, kind->other_rate) - 1);

    machine->tick = (double)most / hz;
    machine->trace = clock_watch_add(watch, machine_clock(&machine->machine), hz);
}

void clock_machine_ask(struct clock_machine *machine, guint rate)
{
    machine_clock(&machine->machine)->asked = rate;
}
