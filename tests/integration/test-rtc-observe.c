/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Observed, a guest loses what it loses, and status says how much: as much as the guest's own
 * counter says, to a tick.
 */
#include "tests/integration/test-rtc.h"

#include <math.h>
#include <stdlib.h>

#define HZ         1024.0
#define FROZEN_MS  600
#define SETTLED_MS 150

/* A minute; an hour takes an hour: HVTIMER_TEST_RTC_SECONDS=3600. */
static double seconds(void)
{
    const char *text = g_getenv("HVTIMER_TEST_RTC_SECONDS");

    return text != NULL ? g_ascii_strtod(text, NULL) : 60;
}

/* What both say of one moment. */
struct ledger {
    guint32 counted;    /* by the guest */
    guint64 taken;      /* of it, to hvtimerd */
    double due_at_zero; /* ticks due when CLOCK_MONOTONIC was 0 */
};

static guint64 missing(const hvapi_statistics *s)
{
    return s->backlog + s->skipped + s->in_flight;
}

/* While the guest is stopped, it counts nothing, and all that it has counted is known. Figures are
 * of the past when they are here: of many readings, that which has most due for its time is the
 * freshest. */
static struct ledger read_ledger(const struct guest *guest)
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
        g_assert_cmpuint(missing(&s), ==, s.due - s.acknowledged);
        ledger.due_at_zero = fmax(ledger.due_at_zero, due);
        ledger.taken = s.acknowledged;
    }
    g_assert_cmpuint(machine_clock(&guest->clock.machine)->ticks, ==, ledger.counted);
    g_assert_cmpint(kill(guest->clock.machine.pid, SIGCONT), ==, 0);
    return ledger;
}

/* Lost since @then: as told by hvtimerd's figures at any one moment, and by the guest's counter at
 * the same. */
static void assert_same(const struct ledger *now, const struct ledger *then)
{
    double extra_due = now->due_at_zero - then->due_at_zero;
    double extra_taken =
        (double)(now->taken - then->taken) - (double)(now->counted - then->counted);

    g_test_message("the guest counted %u; hvtimerd says %+.0f of that, and of what was due %+.2f",
                   now->counted - then->counted, extra_taken, extra_due);
    g_assert_cmpfloat(fabs(extra_due - extra_taken), <=, 1);
}

static void test_observe(void)
{
    struct machine_options options = clock_machine_options(&clock_kinds[1], NULL);
    struct rig rig;

    /* Its firmware takes a while, so hvtimerd is there when the guest programs its RTC: there is no
     * doubt about its rate. */
    options.metadata = RTC_METADATA("observe");
    options.bios = TRUE;
    rig_up(&rig);
    struct guest *guest = rig_add(&rig, &clock_kinds[1], &options);
    await_supervision(&rig, guest, "observe");
    g_assert_true(status_is(&rig, guest, "supervision.learned", "trace"));
    sleep_ms(1500);
    struct ledger first = read_ledger(guest);
    hvapi_statistics s = statistics(guest);
    guint64 missing_first = missing(&s);
    sleep_ms(500);
    stop_all_often(&rig, 150, 500, seconds());
    sleep_ms(500);
    struct ledger last = read_ledger(guest);
    s = statistics(guest);
    g_assert_cmpuint(missing(&s) - missing_first, >, (guint64)(seconds() * HZ / 4));
    g_assert_cmpuint(s.injected, ==, 0);
    assert_same(&last, &first);
    rig_down(&rig);
}

void add_observe_tests(void)
{
    g_test_add_func("/rtc/observe", test_observe);
}
