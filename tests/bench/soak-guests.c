/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The guests of a soak, and what they themselves say: see soak-guests.h. */
#include "tests/bench/soak-guests.h"

#include "tests/bench/soak-watch.h"

#include <errno.h>
#include <math.h>
#include <signal.h>

#define VECTOR       0x50u
#define REFERENCE_NS (1000 * (gint64)1000000)
#define SECOND_NS    (1000 * (gint64)1000000)
/* Nothing is taken of a stopped guest: its figures stand still, once they have been looked at. */
#define STILL_MS 250
/* What a stop of all guests, or a busy machine, may take to be made up at twice the speed. */
#define CATCH_UP_S 120
#define IN_FORCE_S 30

#define RIGHT_TICKS 2
/* A tick that is pending when the guest programs another rate is counted as one of that: with
 * nobody's help it gains up to a slow tick, at times twice in a row. */
#define CHANGING_TICKS 4

static const struct soak_guest guests[SOAK_GUESTS] = {
    {.name = "pin", .injector = "pin", .starves = TRUE},
    {.name = "lapic", .injector = "lapic"},
    {.name = "rtc-64", .kind = &clock_kinds[0], .asks = TRUE},
    {.name = "rtc-1024", .kind = &clock_kinds[1], .starves = TRUE},
    {.name = "rtc-changing", .kind = &clock_kinds[2]},
    {.name = "rtc-pic", .kind = &clock_kinds[4], .asks = TRUE},
};

/* ---- Up and down ---- */

static void boot(struct soak *soak, struct soak_guest *guest)
{
    struct machine_options options = {.name = guest->name};
    struct machine *machine = &guest->clock.machine;

    if (guest->kind != NULL) {
        options = clock_machine_options(guest->kind, guest->name);
    }
    machine_define(machine, &soak->libvirt, &options);
    machine_boot(machine);
    if (guest->starves) {
        disturb_pin(machine->pid, soak->cpu);
    }
    guest->eventfds = machine_resources(machine).eventfds;
}

void soak_guests_up(struct soak *soak)
{
    for (guint i = 0; i < SOAK_GUESTS; i++) {
        soak->guests[i] = guests[i];
        soak->guests[i].unheard = TRUE;
        boot(soak, &soak->guests[i]);
    }
}

void soak_guests_down(struct soak *soak)
{
    g_clear_pointer(&soak->watch, clock_watch_free);
    for (guint i = 0; i < SOAK_GUESTS; i++) {
        struct machine *machine = &soak->guests[i].clock.machine;
        if (machine_failed(machine) || machine_spurious(machine) != 0) {
            soak_fail(soak, "%s: an exception, or %u spurious interrupts", soak->guests[i].name,
                      machine_spurious(machine));
        }
        machine_down(machine);
    }
}

/* ---- What is asked for ---- */

static gboolean tried(struct soak *soak, const char *command, char **said)
{
    g_free(*said);
    return fixture_run(&soak->fixture, said, "hvtimerctl %s", command) == DONE;
}

/* A partition may take a moment to be there. */
static gboolean succeeds(struct soak *soak, const char *command)
{
    g_autofree char *said = NULL;

    if (!soak_within(10, tried(soak, command, &said))) {
        soak_fail(soak, "hvtimerctl %s: %s", command, said);
        return FALSE;
    }
    return TRUE;
}

gboolean soak_guests_enable(struct soak *soak)
{
    gboolean done = TRUE;

    for (guint i = 0; i < SOAK_GUESTS; i++) {
        const struct soak_guest *guest = &soak->guests[i];
        g_autofree char *command =
            guest->kind == NULL
                ? g_strdup_printf("enable %s --period 1ms --vector %#x --injector %s", guest->name,
                                  VECTOR, guest->injector)
                : g_strdup_printf("rtc %s slew", guest->name);
        done = succeeds(soak, command) && done;
    }
    return done;
}

static gboolean in_force(struct soak *soak, const struct soak_guest *guest)
{
    g_autoptr(Json) status = asking_status(&soak->fixture, guest->name);
    const char *path = guest->kind == NULL ? "injector" : "supervision.effective";
    const char *wanted = guest->kind == NULL ? guest->injector : "slew";
    Json *found = status != NULL ? asking_member(status, path) : NULL;
    Json *learned = status != NULL ? asking_member(status, "supervision.learned") : NULL;

    if (found == NULL || !g_str_equal(json_object_get_string(found), wanted)) {
        return FALSE;
    }
    return guest->kind == NULL ||
           (learned != NULL && !g_str_equal(json_object_get_string(learned), "no"));
}

gboolean soak_guests_await(struct soak *soak)
{
    gboolean done = TRUE;

    for (guint i = 0; i < SOAK_GUESTS; i++) {
        if (!soak_within(IN_FORCE_S, in_force(soak, &soak->guests[i]))) {
            g_autofree char *said = NULL;
            fixture_run(&soak->fixture, &said, "hvtimerctl status %s", soak->guests[i].name);
            soak_fail(soak, "%s: what was asked for is not in force after %d s: %s",
                      soak->guests[i].name, IN_FORCE_S, said);
            done = FALSE;
        }
    }
    return done;
}

static gboolean caught_up(const struct soak_guest *guest)
{
    return asking_statistics(guest->name).backlog == 0;
}

static void await_caught_up(struct soak *soak)
{
    for (guint i = 0; i < SOAK_GUESTS; i++) {
        const struct soak_guest *guest = &soak->guests[i];
        if (!soak_within(CATCH_UP_S, caught_up(guest))) {
            soak_fail(soak, "%s: has a backlog of %" G_GUINT64_FORMAT " ticks still after %d s",
                      guest->name, asking_statistics(guest->name).backlog, CATCH_UP_S);
        }
    }
}

/* ---- Ledgers ---- */

guint32 soak_guest_counted(const struct soak_guest *guest)
{
    const struct machine *machine = &guest->clock.machine;

    return guest->kind == NULL ? machine_count(machine, VECTOR) : machine_rtc(machine);
}

static guint64 sum_acknowledged(struct soak *soak)
{
    guint64 sum = 0;

    for (guint i = 0; i < SOAK_GUESTS; i++) {
        sum += asking_statistics(soak->guests[i].name).acknowledged;
    }
    return sum;
}

static gboolean stood_still(struct soak *soak)
{
    guint64 before = sum_acknowledged(soak);

    sleep_ms(STILL_MS);
    return sum_acknowledged(soak) == before;
}

static void signal_all(struct soak *soak, int number)
{
    for (guint i = 0; i < SOAK_GUESTS; i++) {
        g_assert_cmpint(kill(soak->guests[i].clock.machine.pid, number), ==, 0);
    }
}

/* Of one moment, in which all of them are stopped. */
static void read_ledgers(struct soak *soak, struct soak_ledger *ledgers)
{
    signal_all(soak, SIGSTOP);
    if (!soak_within(20, stood_still(soak))) {
        soak_fail(soak, "ticks are acknowledged by guests that are stopped");
    }
    for (guint i = 0; i < SOAK_GUESTS; i++) {
        hvapi_statistics s = asking_statistics(soak->guests[i].name);
        ledgers[i] = (struct soak_ledger){.counted = soak_guest_counted(&soak->guests[i]),
                                          .acknowledged = s.acknowledged,
                                          .skipped = s.skipped};
    }
    signal_all(soak, SIGCONT);
}

static void judge_ledger(struct soak *soak, struct soak_guest *guest, const struct soak_ledger *now)
{
    const struct soak_ledger *then = &guest->opened;
    int difference = (int)((gint64)(guint32)(now->counted - then->counted) -
                           (gint64)(now->acknowledged - then->acknowledged));
    guint64 skipped = now->skipped - then->skipped;

    guest->taken += now->counted - then->counted;
    guest->skipped += skipped;
    if (ABS(difference) > ABS(guest->worst_difference)) {
        guest->worst_difference = difference;
    }
    /* One that is counted may not be acknowledged yet, then or now. */
    if (ABS(difference) > (int)guest->unknown + 1) {
        soak_fail(soak,
                  "%s: counted %u ticks, of which %" G_GUINT64_FORMAT
                  " were acknowledged (%+d, of at most %u)",
                  guest->name, now->counted - then->counted, now->acknowledged - then->acknowledged,
                  difference, guest->unknown + 1);
    }
    if (skipped != 0 && !guest->lazy) {
        soak_fail(soak, "%s: %" G_GUINT64_FORMAT " ticks were skipped", guest->name, skipped);
    }
}

/* ---- Clocks ---- */

static void watch_clocks(struct soak *soak)
{
    g_clear_pointer(&soak->watch, clock_watch_free); /* it keeps all that it has read */
    soak->watch = clock_watch_new();
    for (guint i = 0; i < SOAK_GUESTS; i++) {
        struct soak_guest *guest = &soak->guests[i];
        if (guest->kind != NULL) {
            clock_machine_watch(&guest->clock, soak->watch, guest->kind);
            guest->clock.tick =
                guest->asks ? (double)CLOCK_TICK_64 / CLOCK_GUEST_RTC_HZ : guest->clock.tick;
        }
    }
}

static double behind(const struct soak_guest *guest, double seconds)
{
    gint64 now = clock_now_ns();

    return guest->reference -
           clock_trace_gain(guest->clock.trace, now - (gint64)(seconds * (double)SECOND_NS), now);
}

static void judge_clock(struct soak *soak, struct soak_guest *guest)
{
    double tick = guest->clock.tick;
    gboolean changes = guest->changes > 0 || guest->kind->other_rate != 0;
    /* QEMU's RTC has its own time: a tick that comes while the guest is suspended is there when it
     * goes on, be it early. */
    double early = (changes ? CHANGING_TICKS : RIGHT_TICKS) + (double)guest->suspends;

    soak_within(20, behind(guest, 0.2) <= guest->most + RIGHT_TICKS * tick);
    sleep_ms(1100);
    double now = behind(guest, 1);
    if (isnan(now)) { /* the machine never let it be read, for a second */
        guest->unjudged++;
        return;
    }
    guest->worst_behind = fmax(guest->worst_behind, (now - guest->most) / tick);
    guest->worst_ahead = fmax(guest->worst_ahead, (guest->least - now) / tick);
    if (now > guest->most + RIGHT_TICKS * tick || now < guest->least - early * tick) {
        soak_fail(
            soak,
            "%s: its clock is behind by %.2f ms, of which it stood still for %.2f to %.2f ms; "
            "that is more than %d ticks of %.2f ms behind, or %.0f ahead",
            guest->name, now * 1e3, guest->least * 1e3, guest->most * 1e3, RIGHT_TICKS, tick * 1e3,
            early);
    }
}

/* ---- Chapters ---- */

/* The ledger of a guest that has taken ticks unheard begins anew; the others' go on. */
static void open_ledgers(struct soak *soak)
{
    struct soak_ledger now[SOAK_GUESTS];

    read_ledgers(soak, now);
    for (guint i = 0; i < SOAK_GUESTS; i++) {
        struct soak_guest *guest = &soak->guests[i];
        if (!guest->unheard) {
            judge_ledger(soak, guest, &now[i]);
        }
        guest->opened = now[i];
        guest->unheard = guest->lazy = FALSE;
        guest->unknown = 0;
    }
}

void soak_guests_begin(struct soak *soak)
{
    await_caught_up(soak);
    open_ledgers(soak);
    await_caught_up(soak);
    watch_clocks(soak);
    sleep_ms(REFERENCE_NS / 1000000 + 100);
    for (guint i = 0; i < SOAK_GUESTS; i++) {
        struct soak_guest *guest = &soak->guests[i];
        gint64 time = clock_now_ns();
        if (guest->kind != NULL) {
            guest->reference = clock_trace_gain(guest->clock.trace, time - REFERENCE_NS, time);
        }
        guest->suspends = guest->changes = 0;
        guest->least = guest->most = 0;
    }
}

void soak_guests_judge(struct soak *soak)
{
    struct soak_ledger now[SOAK_GUESTS];

    await_caught_up(soak);
    for (guint i = 0; i < SOAK_GUESTS; i++) {
        if (soak->guests[i].kind != NULL) {
            judge_clock(soak, &soak->guests[i]);
        }
    }
    await_caught_up(soak);
    soak_watch_note_quiet(soak->reader);
    read_ledgers(soak, now);
    for (guint i = 0; i < SOAK_GUESTS; i++) {
        judge_ledger(soak, &soak->guests[i], &now[i]);
        soak->guests[i].opened = now[i];
        soak->guests[i].unknown = 0;
    }
}

void soak_guests_judge_end(struct soak *soak)
{
    for (guint i = 0; i < SOAK_GUESTS; i++) {
        struct soak_guest *guest = &soak->guests[i];
        g_autofree char *command =
            g_strdup_printf(guest->kind == NULL ? "disable %s" : "rtc %s off", guest->name);
        succeeds(soak, command);
        guest->unknown++; /* on its way when it was stopped */
        guest->lazy = TRUE;
    }
    if (!soak_within(20, stood_still(soak))) {
        soak_fail(soak, "ticks are acknowledged though all timers are off");
    }
    for (guint i = 0; i < SOAK_GUESTS; i++) {
        struct soak_guest *guest = &soak->guests[i];
        hvapi_statistics s = asking_statistics(guest->name);
        struct soak_ledger now = {.counted = soak_guest_counted(guest),
                                  .acknowledged = s.acknowledged,
                                  .skipped = s.skipped};
        guint eventfds = machine_resources(&guest->clock.machine).eventfds;
        if (guest->kind == NULL && !guest->unheard) {
            judge_ledger(soak, guest, &now);
        }
        if (eventfds > guest->eventfds) {
            soak_fail(soak, "%s: its VMM has %u eventfds, and had %u", guest->name, eventfds,
                      guest->eventfds);
        }
    }
}
