/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the parts of the soak share: the guests, the daemon, and what was done to them so far.
 *
 * It goes chapter by chapter. A chapter begins when all is well: ledgers are opened and the clocks'
 * references taken. Then the guests are disturbed, at random, and left alone until they have caught
 * up; and what they say is held against what hvtimerd says. Between two chapters hvtimerd may be
 * killed or stopped, and started again.
 */
#pragma once

#include "tests/support/asking.h"
#include "tests/support/clock-machine.h"
#include "tests/support/disturbance.h"

#define SOAK_GUESTS 6

/* What is done to guests and to the daemon. */
enum soak_step {
    SOAK_STALL,
    SOAK_SUSPEND,
    SOAK_STARVE,
    SOAK_PERIOD,
    SOAK_RATE,
    SOAK_POLICY,
    SOAK_KILL,
    SOAK_TERM,
    SOAK_STEPS
};
extern const char *const soak_step_names[SOAK_STEPS];

/* One moment, as the guest and hvtimerd tell it. */
struct soak_ledger {
    guint32 counted; /* by the guest */
    guint64 acknowledged, skipped;
};

struct soak_guest {
    const char *name;
    const char *injector; /* its ticks are ours, and come by that; NULL: its RTC is slewed */
    const struct clock_kind *kind; /* of one whose RTC is slewed */
    gboolean asks;                 /* other rates may be asked of it */
    gboolean starves;              /* it has the CPU that a hog may take */
    struct clock_machine clock;
    guint eventfds; /* of its process, before anything was attached */

    /* Of this chapter. */
    struct soak_ledger opened;
    guint unknown;           /* ticks of which it may not be known whether they were taken */
    gboolean unheard;        /* it has taken ticks while there was no hvtimerd to hear of them */
    gboolean lazy;           /* missed ticks may be skipped */
    gboolean stands_still;   /* when it is suspended; if not, it catches up */
    double reference;        /* its clock's gain when all was well, in seconds */
    double least, most;      /* for how long it has stood still, in seconds */
    guint suspends, changes; /* of its rate */

    /* Of all of them. */
    guint64 taken, skipped;
    int worst_difference;             /* counted by the guest, but not acknowledged; or below 0 */
    double worst_behind, worst_ahead; /* of the slowest ticks, at the end of a chapter */
    guint unjudged;                   /* its clock, for the machine did not let it be watched */
};

struct soak {
    struct libvirt libvirt;
    struct fixture fixture;
    struct clock_watch *watch;
    struct soak_watch *reader;
    GRand *rand;
    int cpu;
    struct soak_guest guests[SOAK_GUESTS];
    guint chapters;
    guint steps[SOAK_STEPS];
    guint failures; /* atomic */
    gint told;      /* atomic: not 0: no more is told of what goes on */
};

/* Fails the soak, which goes on: there may be more to be seen. Says it at once. Any thread. */
void soak_fail(struct soak *soak, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* To stderr. */
void soak_say(const char *format, ...) G_GNUC_PRINTF(1, 2);

/* Waits until @done; TRUE if it came within @seconds. */
#define soak_within(seconds, done)                                                   \
    ({                                                                               \
        gint64 until_ = g_get_monotonic_time() + (gint64)((seconds)*G_USEC_PER_SEC); \
        gboolean done_;                                                              \
        while (!(done_ = (done)) && g_get_monotonic_time() < until_) {               \
            sleep_ms(5);                                                             \
        }                                                                            \
        done_;                                                                       \
    })

/* From @least to @most, each order of magnitude as likely as the others. */
double soak_random_scale(struct soak *soak, double least, double most);
gboolean soak_chance(struct soak *soak, double probability);
