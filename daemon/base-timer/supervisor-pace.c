/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* When a supervised timer's missing ticks are made up: see supervisor.h. */
#include "daemon/base-timer/supervisor-private.h"

/* A top-up may be so much earlier than the pace says (0.5 ms), as the one before may have been
 * late: the slot sets the time, the pace only how often. */
#define LATE_HZ 2000
/* What top-ups may be behind with, at most (8 ms). */
#define CREDIT_HZ 125
/* In percent of the speed asked for: a tenth of a second holds half a tick more or less. */
#define SPEED_MOST 102
/* So many ticks have to be missing for one to be made up while one of the timer's own is late. */
#define OWN_LATE_MOST 4
/* Two slots are no closer than that, whatever a guest programs. */
#define SLOT_NS UINT64_C(50000)

/* How far the line has fallen below the debt, in 1/100 counts. No further than what the timer's own
 * ticks may be late, so that what could not be raised in time is not raised in one burst. */
static int64_t credit(struct supervisor *s)
{
    int64_t tick = (int64_t)s->length * 100, debt = supervisor_due_debt(s) * 100;
    int64_t most = max_i64(tick, (int64_t)s->clock.hz * 100 / CREDIT_HZ);

    if (debt - s->line > most) {
        s->line = debt - most;
    }
    return debt - s->line;
}

/* Between two ticks of the timer's own, as far from them as can be, so that none merges: the next
 * such moment after @now. More of them where the timer's own ticks stay away. */
static uint64_t next_slot(struct supervisor *s, uint64_t now)
{
    uint64_t slots = (s->policy.slew + 99) / 100 + 1; /* the first of them is the timer's own */
    uint64_t length = supervisor_own_length(s);

    if (credit(s) >= (int64_t)s->length * 200) {
        slots *= 2;
    }
    uint64_t next = s->since_tick * slots / length + 1;

    if (next % slots == 0) {
        next++;
    }
    /* A count more, as since_tick may be just below the moment itself. */
    return now + max_u64(supervisor_ns(s, next * length / slots - s->since_tick + 1), SLOT_NS);
}

/* One is raised, and no tick was taken since: the guest does not run, it would only merge. Where
 * nothing but its ticks tells that the timer is on, it takes one of these too. */
static bool pulse_unanswered(const struct supervisor *s)
{
    uint64_t taken = s->counts.acknowledged - s->taken_at_pulse;

    if (!s->traced) {
        return taken < 2;
    }
    return s->pulsed_ns != 0 && taken == 0 && s->now_ns - s->pulsed_ns < PULSE_PATIENCE_NS;
}

/* Is there room for one more, and for one of the timer's own that is late, in what the guest's
 * clock has counted lately? What comes less often than once in that time has to be left to the
 * line. */
static bool speed_allows(const struct supervisor *s)
{
    int64_t ticks = s->traced && s->own_late ? 2 : 1;

    if (supervisor_ns(s, (uint64_t)s->length * 100 / s->policy.slew) > SPEED_WINDOW_NS) {
        return true;
    }
    return speed_room(&s->speed, s->now_ns, s->counted, (100 + s->policy.slew) * SPEED_MOST / 100,
                      s->clock.hz) >= ticks * (int64_t)s->length;
}

/* Has the line fallen a tick below the debt? */
static bool line_allows(struct supervisor *s)
{
    int64_t tick = (int64_t)s->length * 100;
    int64_t early = min_i64(tick / 2, (int64_t)s->clock.hz * 100 / LATE_HZ);

    return credit(s) >= tick - early;
}

/* One of the timer's own that is late comes late by itself, and with it one that was pending. */
static bool waits_for_own(const struct supervisor *s)
{
    return s->traced && s->own_late && s->owed < (int64_t)s->length * OWN_LATE_MOST;
}

static bool may_top_up(const struct supervisor *s)
{
    return s->catching_up && s->policy.mode == TICKER_CATCHUP && s->length != 0 && !s->frozen &&
           !s->polls;
}

/* A tick that is owed may be missing: that is decided by the looks to come. */
static uint64_t next_look(const struct supervisor *s, uint64_t now)
{
    bool rests = s->clock.quiet && !s->catching_up && s->owed < (int64_t)s->length;
    uint64_t interval = rests ? SUPERVISOR_REST_NS : SUPERVISOR_WAKE_NS;

    return (now / interval + 1) * interval;
}

enum ticker_action supervisor_next(struct supervisor *s, uint64_t now, uint64_t *ret_when)
{
    *ret_when = next_look(s, now);
    if (!may_top_up(s)) {
        s->slot_ns = 0;
        return TICKER_WAIT_UNTIL;
    }
    bool slot = s->slot_ns != 0 && now >= s->slot_ns;
    if (s->slot_ns == 0 || slot) {
        s->slot_ns = next_slot(s, now);
    }
    *ret_when = min_u64(*ret_when, s->slot_ns);
    return slot && !waits_for_own(s) && !pulse_unanswered(s) && line_allows(s) && speed_allows(s)
               ? TICKER_INJECT
               : TICKER_WAIT_UNTIL;
}

void supervisor_injected(struct supervisor *s, uint64_t now)
{
    s->counts.injected++;
    s->pulsed_ns = now;
    s->taken_at_pulse = s->counts.acknowledged;
}
