/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What status tells of a guest, beside what the guest has counted: see test-rtc.h. */
#include "tests/integration/test-rtc.h"

#include <math.h>
#include <signal.h>

#define HZ         1024.0
#define FROZEN_MS  600
#define SETTLED_MS 150

/* While the guest is stopped, it counts nothing, and all that it has counted is known. Figures are
 * of the past when they are here: of many readings, that which has most due for its time is the
 * freshest. */
struct ledger read_ledger(const struct guest *guest)
{
    struct ledger ledger = {.due_at_zero = -INFINITY};
    gint64 end;

    g_assert_cmpint(kill(guest->clock.machine.pid, SIGSTOP), ==, 0);
    sleep_ms(SETTLED_MS);
    ledger.counted = machine_clock(&guest->clock.machine)->ticks;
    end = clock_now_ns() + (FROZEN_MS - SETTLED_MS) * (gint64)1000000;
    while (clock_now_ns() < end) {
        hvapi_statistics s = statistics(guest);
        double due = (double)s.due - (double)clock_now_ns() * HZ / 1e9;
        ledger.missing = s.backlog + s.skipped + s.in_flight;
        g_assert_cmpuint(ledger.missing, ==, s.due - s.acknowledged);
        ledger.due_at_zero = fmax(ledger.due_at_zero, due);
        ledger.taken = s.acknowledged;
    }
    g_assert_cmpuint(machine_clock(&guest->clock.machine)->ticks, ==, ledger.counted);
    g_assert_cmpint(kill(guest->clock.machine.pid, SIGCONT), ==, 0);
    return ledger;
}

void assert_ledgers_agree(const struct ledger *then, const struct ledger *now)
{
    double extra_due = now->due_at_zero - then->due_at_zero;
    double extra_taken =
        (double)(now->taken - then->taken) - (double)(now->counted - then->counted);

    g_test_message("the guest counted %u and lost %u; hvtimerd counted %+.0f more, and had %+.2f "
                   "more due",
                   now->counted - then->counted, (guint)(now->missing - then->missing), extra_taken,
                   extra_due);
    /* One that is counted may not be acknowledged yet. */
    g_assert_cmpfloat(fabs(extra_taken), <=, 1);
    /* Nor is the freshest reading quite fresh: it is a part of a tick short, and now and then one.
     */
    g_assert_cmpfloat(fabs(extra_due), <, 2);
}
