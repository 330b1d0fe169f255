/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The part of the engine's real-time thread that looks after supervised timers: a few dozen times
 * a second each, and at each tick that it raises. Plain C, as engine-loop.c.
 */
#include "daemon/engine-private.h"

/* A guest may change its timer's rate hundreds of times a second: the main loop needs to know what
 * it is now and then. */
#define FOUND_NS UINT64_C(1000000000)

/* What others see of it: see struct published. */
static void publish(struct engine_timer *t)
{
    const struct supervisor *s = t->supervisor;

    t->now.ticker.counts = s->counts;
    t->now.ticker.period =
        s->length != 0 ? supervisor_period(s) : (struct period){.numerator = 0, .denominator = 1};
    t->now.learned = (uint16_t)supervisor_learned(s);
    t->now.polls = s->polls;
    t->now.unwatched = false;
}

static void tell_what_was_found(struct engine *e, struct engine_timer *t, uint64_t now)
{
    const struct supervisor *s = t->supervisor;

    if ((s->length == t->found_length && supervisor_learned(s) == t->found_learned &&
         s->polls == t->found_polls) ||
        now - t->found_ns < FOUND_NS) {
        return;
    }
    if (engine_tell(e, t, ENGINE_FOUND)) {
        t->found_length = s->length;
        t->found_learned = supervisor_learned(s);
        t->found_polls = s->polls;
        t->found_ns = now;
    }
}

static void tell_what_was_skipped(struct engine *e, struct engine_timer *t, uint64_t before)
{
    const struct supervisor *s = t->supervisor;

    if (s->counts.backlog == 0) {
        t->skipping_told = false;
    }
    if (s->over_limit > before && s->policy.mode == TICKER_CATCHUP && !t->skipping_told) {
        t->skipping_told = true;
        engine_tell(e, t, ENGINE_SKIPPED);
    }
}

/* No tick of ours is ever waited for: the timer's own go on anyway. */
static uint64_t hold(struct engine *e, struct engine_timer *t, uint64_t now)
{
    if (!t->held_told) {
        t->held_told = true;
        engine_tell(e, t, ENGINE_HELD);
    }
    return now + SUPERVISOR_WAKE_NS;
}

static uint64_t top_up(struct engine_timer *t, uint64_t now)
{
    struct supervisor *s = t->supervisor;
    uint64_t slot = s->slot_ns, when;

    if (supervisor_next(s, now, &when) == TICKER_INJECT &&
        t->injector->ops->inject(t->injector, now)) {
        supervisor_injected(s, now);
        lateness_count(&t->lateness, now > slot ? now - slot : 0);
    }
    return when;
}

/* Up to now, all that can be known. Events after acknowledgements: what is acknowledged has been
 * handled before. Returns what the time is now. */
static uint64_t look(struct engine_timer *t)
{
    const struct injector_ops *ops = t->injector->ops;

    supervisor_acknowledge(t->supervisor, ops->acknowledged(t->injector, engine_clock()));
    uint64_t now = engine_clock();
    ops->follow(t->injector, t->supervisor, now);
    supervisor_advance(t->supervisor, now);
    return now;
}

uint64_t engine_supervise(struct engine *e, struct engine_timer *t)
{
    struct supervisor *s = t->supervisor;
    uint64_t over_limit = s->over_limit;
    uint64_t now = look(t);
    uint64_t when = t->held ? hold(e, t, now) : top_up(t, now);
    tell_what_was_found(e, t, now);
    tell_what_was_skipped(e, t, over_limit);
    publish(t);
    return when;
}

void engine_obey_supervised(struct engine_timer *t, const struct command *c)
{
    struct supervisor *s = t->supervisor;
    uint64_t now = look(t); /* what was taken before it counts as before it */

    switch (c->kind) {
    case COMMAND_FREEZE:
        supervisor_freeze(s, now);
        break;
    case COMMAND_THAW:
        supervisor_thaw(s, now);
        break;
    case COMMAND_GUEST_RESET:
        supervisor_guest_reset(s, now);
        t->injector->ops->was_reset(t->injector);
        break;
    case COMMAND_RESET_BACKLOG:
        supervisor_reset_backlog(s, now);
        break;
    case COMMAND_SET_POLICY:
        supervisor_set_policy(s, &c->policy, now);
        break;
    case COMMAND_RELEASE:
        t->held = t->held_told = false;
        break;
    default: /* it is not ours to start or stop */
        break;
    }
}
