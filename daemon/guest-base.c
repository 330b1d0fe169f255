/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A guest's own timer under supervision: what is found of it becomes the partition's properties.
 * See guest.h.
 */
#include "daemon/guest-private.h"

/* Where its interrupts go is read from the VMM, a thread of which stands still for that moment: at
 * once, and again until nothing has changed, as a system that boots has not set up all yet. */
#define READ_FIRST_S 1
#define READ_LAST_S  64

gboolean guest_is_supervised(const struct guest *guest)
{
    return guest->base.supervision.mode != SUPERVISION_OFF;
}

const struct supervision *guest_supervision(const struct guest *guest)
{
    return &guest->base.supervision;
}

enum base_routing guest_base_routing(const struct guest *guest)
{
    return guest->base.routing;
}

static gboolean vmm_makes_up(const struct guest *guest)
{
    return guest->delivery != NULL && delivery_injector(guest->delivery)->makes_up;
}

static gboolean guest_ignores(const struct guest *guest)
{
    struct engine_reading reading;

    guest_read((struct guest *)guest, &reading);
    return reading.polls;
}

/* Two that make up the same ticks would make them up twice. */
enum supervision_mode guest_supervision_mode(const struct guest *guest)
{
    const struct supervision *wanted = &guest->base.supervision;

    if (wanted->mode == SUPERVISION_SLEW &&
        ((vmm_makes_up(guest) && !wanted->force) || guest_ignores(guest))) {
        return SUPERVISION_OBSERVE;
    }
    return wanted->mode;
}

const char *guest_base_problem(const struct guest *guest)
{
    const struct supervision *wanted = &guest->base.supervision;

    if (wanted->mode != SUPERVISION_SLEW || guest->delivery == NULL) {
        return NULL;
    }
    if (guest_ignores(guest)) {
        return "the guest ignores ticks that its RTC has not raised itself (it polls register C "
               "until the periodic flag is clear), so nothing is made up: `observe` is all that "
               "can be done for it";
    }
    if (vmm_makes_up(guest) && !wanted->force) {
        return wanted->timer == BASE_TIMER_RTC
                   ? "QEMU makes up lost RTC ticks itself (tickpolicy catchup, driftfix=slew), so "
                     "they are only observed: two correctors would add up; start the domain "
                     "without it, or use --force"
                   : "KVM makes up lost PIT ticks itself (tickpolicy delay), so they are only "
                     "observed: two correctors would add up; start the domain with tickpolicy "
                     "discard, or use --force";
    }
    return NULL;
}

struct ticker_policy guest_effective_policy(const struct guest *guest)
{
    struct ticker_policy policy = guest->policy;

    if (guest_supervision_mode(guest) == SUPERVISION_OBSERVE) {
        policy.mode = TICKER_OBSERVE;
    }
    return policy;
}

void guest_base_forget(struct guest *guest)
{
    g_clear_handle_id(&guest->base.read_again, g_source_remove);
    guest->base = (struct guest_base){.supervision = SUPERVISION_NONE};
    partition_init(&guest->partition, false);
}

/* ---- where its interrupts go ---- */

struct finding {
    struct guest *guest;
    unsigned life;
};

static void read_route(struct guest *guest);

static void show(struct guest *guest)
{
    struct engine_reading reading;

    guest_read(guest, &reading);
    guest->partition.period = reading.period;
    guest->partition.control =
        guest->base.control |
        (reading.period.numerator != 0 ? HV_EMULATED_TIMER_CONTROL_ENABLED : 0);
}

static gboolean on_read_again(gpointer user_data)
{
    struct guest *guest = user_data;

    guest->base.read_again = 0;
    if (guest->partition.period.numerator != 0) { /* if not, it is read when ticks begin */
        read_route(guest);
    }
    return G_SOURCE_REMOVE;
}

static void schedule_reading(struct guest *guest)
{
    struct guest_base *base = &guest->base;

    g_clear_handle_id(&base->read_again, g_source_remove);
    base->read_again = g_timeout_add_seconds(base->interval_s, on_read_again, guest);
    base->interval_s = MIN(2 * base->interval_s, READ_LAST_S);
}

static void take_route(struct guest *guest, enum base_routing routing, uint64_t control)
{
    struct guest_base *base = &guest->base;

    if (routing != base->routing || control != base->control || routing == BASE_ROUTING_NONE) {
        base->routing = routing;
        base->control = control;
        schedule_reading(guest);
    }
    show(guest);
    guest_tell_changed(guest);
}

static void on_route_found(enum base_routing routing, uint64_t control, gpointer user_data)
{
    g_autofree struct finding *finding = user_data;
    struct guest *guest = finding->guest;

    if (!guest->removed && guest->life == finding->life && guest_is_supervised(guest) &&
        guest->delivery != NULL) {
        guest->base.reading = FALSE;
        if (routing != BASE_ROUTING_UNKNOWN) {
            take_route(guest, routing, control);
        }
    }
    guest_unref(guest);
}

static void read_route(struct guest *guest)
{
    if (guest->base.reading || guest->delivery == NULL) {
        return;
    }
    struct injector *injector = delivery_injector(guest->delivery);
    struct finding *finding = g_new(struct finding, 1);

    *finding = (struct finding){guest_ref(guest), guest->life};
    guest->base.reading = TRUE;
    injector->ops->find_route(injector, on_route_found, finding);
}

void guest_update_supervision(struct guest *guest)
{
    struct ticker_policy policy = guest_effective_policy(guest);

    engine_set_policy(delivery_timer(guest->delivery), &policy);
    guest_tell_changed(guest);
}

void guest_base_found(struct guest *guest)
{
    gboolean was_off = guest->partition.period.numerator == 0;

    if (!guest_is_supervised(guest) || guest->delivery == NULL) {
        return;
    }
    show(guest);
    guest_update_supervision(guest);
    gboolean on = guest->partition.period.numerator != 0;
    if (on &&
        (was_off || (guest->base.routing == BASE_ROUTING_UNKNOWN && guest->base.read_again == 0))) {
        guest->base.interval_s = READ_FIRST_S; /* the guest has just set it up */
        read_route(guest);
    }
}

void guest_base_was_reset(struct guest *guest)
{
    guest->base.interval_s = READ_FIRST_S;
    guest->base.routing = BASE_ROUTING_UNKNOWN;
    guest->base.control = 0;
    schedule_reading(guest);
    show(guest);
    guest_tell_changed(guest);
}
