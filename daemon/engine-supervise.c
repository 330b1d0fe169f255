/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The part of the engine's real-time thread that looks after supervised timers: a few dozen times
 * a second each, and at each tick that it raises. Plain C, as engine-loop.c.
 */
#include "daemon/engine-private.h"

/* A guest may change its timer's rate hundreds of times a second: the main loop needs to know what
 * it is now and then. */
#define FOUND_NS UINT64_C(1000000000)

/* A leased timer's own ticks stay away if, of so many at least, less than this part has come. */
#define OWN_TICKS_LEAST 8
#define OWN_TICKS_PART  4
/* How long it is let alone at most. */
#define OWN_PATIENCE_MOST_NS (64 * ENGINE_PATIENCE_NS)

/* What others see of it: see struct published. */
static void publish(struct engine_timer *t)
{
    const struct supervisor *s = t->supervisor;
    struct ticker *ticker = &t->now.ticker;

    ticker->counts = s->counts;
    ticker->period =
        s->length != 0 ? supervisor_period(s) : (struct period){.numerator = 0, .denominator = 1};
    ticker->running =
        t->injector->started_ns != 0; /* it has a schedule that another may go on with */
    ticker->frozen = s->frozen;
    ticker->step_ns = ticker->period.numerator / ticker->period.denominator;
    ticker->next_ns = supervisor_period_began(s) + ticker->step_ns;
    t->now.learned = (uint16_t)supervisor_learned(s);
    t->now.polls = s->polls;
    t->now.unwatched = false;
}

static void tell_what_was_found(struct engine_thread *e, struct engine_timer *t, uint64_t now)
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

static void tell_what_was_skipped(struct engine_thread *e, struct engine_timer *t, uint64_t before)
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

/* No tick of ours is ever waited for: the timer's own go on anyway. They are not looked at: those
 * that come now may be of another period, which is told at the release. */
static uint64_t hold(struct engine_thread *e, struct engine_timer *t)
{
    if (!t->held_told) {
        t->held_told = true;
        engine_tell(e, t, ENGINE_HELD);
    }
    return TICKER_NEVER;
}

static void count_own_from_here(struct engine_timer *t, uint64_t now)
{
    t->own_since_ns = now;
    t->own_before = t->supervisor->counts.acknowledged - t->supervisor->counts.injected;
}

/* A leased timer whose own ticks stay away, though ours may be taken, may be another's by now. A
 * guest that is kept from running looks the same, so this is asked ever more seldom. */
static void tell_what_stays_away(struct engine_thread *e, struct engine_timer *t, uint64_t now)
{
    const struct supervisor *s = t->supervisor;
    uint64_t own = s->counts.acknowledged - s->counts.injected - t->own_before;
    uint64_t ticks = (now - t->own_since_ns) / (t->now.ticker.step_ns + 1);

    if (t->injector->started_ns == 0 || s->frozen || t->own_since_ns == 0) {
        count_own_from_here(t, now);
        return;
    }
    if (now - t->own_since_ns < t->patience_ns || ticks < OWN_TICKS_LEAST) {
        return;
    }
    if ((int64_t)own >= (int64_t)(ticks / OWN_TICKS_PART)) {
        t->patience_ns = ENGINE_PATIENCE_NS;
    } else if (engine_tell(e, t, ENGINE_UNANSWERED)) {
        t->patience_ns *= t->patience_ns < OWN_PATIENCE_MOST_NS ? 2 : 1;
    }
    count_own_from_here(t, now);
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
    if (ops->follow != NULL) {
        ops->follow(t->injector, t->supervisor, now);
    }
    supervisor_advance(t->supervisor, now);
    return now;
}

uint64_t engine_supervise(struct engine_thread *e, struct engine_timer *t)
{
    struct supervisor *s = t->supervisor;
    uint64_t over_limit = s->over_limit;

    if (t->held) {
        return hold(e, t);
    }
    uint64_t now = look(t);
    uint64_t when = top_up(t, now);
    tell_what_was_found(e, t, now);
    tell_what_was_skipped(e, t, over_limit);
    tell_what_stays_away(e, t, now);
    publish(t);
    return when;
}

void engine_end_supervised(struct engine_timer *t)
{
    look(t);
    publish(t);
}

static void release(struct engine_timer *t, const struct command *c)
{
    struct supervisor *s = t->supervisor;

    t->held = t->held_told = false;
    if (c->restarted) {
        uint64_t taken = t->injector->ops->acknowledged(t->injector, engine_clock());
        supervisor_start(s, &c->clock, c->length, c->started_ns, engine_clock(), taken + c->unseen);
    } else {
        supervisor_acknowledge(s, c->unseen);
    }
    t->own_since_ns = 0;
}

void engine_obey_supervised(struct engine_timer *t, const struct command *c)
{
    struct supervisor *s = t->supervisor;
    /* What was taken before it counts as before it. */
    uint64_t now = t->held ? engine_clock() : look(t);

    switch (c->kind) {
    case COMMAND_FREEZE:
        supervisor_freeze(s, now);
        break;
    case COMMAND_THAW:
        supervisor_thaw(s, now);
        break;
    case COMMAND_GUEST_RESET:
        supervisor_guest_reset(s, now);
        if (t->injector->ops->was_reset != NULL) {
            t->injector->ops->was_reset(t->injector);
        }
        break;
    case COMMAND_RESET_BACKLOG:
        supervisor_reset_backlog(s, now);
        break;
    case COMMAND_SET_POLICY:
        supervisor_set_policy(s, &c->policy, now);
        break;
    case COMMAND_RELEASE:
        release(t, c);
        break;
    default: /* it is not ours to start or stop */
        break;
    }
}
