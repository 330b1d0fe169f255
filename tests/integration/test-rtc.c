/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hvtimerd with unmodified QEMU guests that keep time by counting RTC ticks, and their own word on
 * it: what their clocks show. The tests are in test-rtc-*.c; here is what they share.
 */
#include "tests/integration/test-rtc.h"

#include <math.h>
#include <string.h>

/* Twice the speed, a tenth more, and a tick of 64 Hz that a busy host brought late into the window.
 */
#define SPEED_MAX   2.35
#define RIGHT_TICKS 2
/* A tick that is pending when the guest programs another rate is counted as one of that: with
 * nobody's help it gains up to a slow tick, at times twice in a row. */
#define CHANGING_TICKS 4

#define REFERENCE_NS (1000 * (gint64)1000000)
#define SECOND_NS    (1000 * (gint64)1000000)

struct libvirt test_libvirt;

/* ---- The rig ---- */

void rig_up(struct rig *rig)
{
    *rig = (struct rig){.fixture = {.libvirt = LIBVIRT_URI}};
    fixture_up(&rig->fixture, "{}");
    rig->watch = clock_watch_new();
}

void rig_down(struct rig *rig)
{
    clock_watch_free(rig->watch);
    for (guint i = 0; i < rig->n; i++) {
        struct machine *machine = &rig->guests[i].clock.machine;
        g_assert_false(machine->memory != NULL && machine_failed(machine));
        machine_down(machine);
    }
    fixture_down(&rig->fixture);
}

struct guest *rig_add(struct rig *rig, const struct clock_kind *kind,
                      const struct machine_options *options)
{
    g_assert_cmpuint(rig->n, <, GUESTS_MAX);
    struct guest *guest = &rig->guests[rig->n];
    g_autofree char *name = g_strdup_printf("guest%u", rig->n);
    struct machine_options asked = options != NULL ? *options : clock_machine_options(kind, NULL);

    asked.name = name;
    guest->kind = *kind;
    guest->ahead_max = kind->other_rate != 0 ? CHANGING_TICKS : RIGHT_TICKS;
    machine_define(&guest->clock.machine, &test_libvirt, &asked);
    machine_start(&guest->clock.machine);
    clock_machine_watch(&guest->clock, rig->watch, kind);
    if (!asked.bios) {
        machine_wait_ready(&guest->clock.machine);
    }
    rig->n++;
    return guest;
}

const char *guest_name(const struct guest *guest)
{
    return guest->clock.machine.name;
}

/* ---- Asking ---- */

char *ctl(struct rig *rig, int status, const char *command, ...)
{
    va_list arguments;

    va_start(arguments, command);
    char *output = asking_ctl(&rig->fixture, status, command, arguments);
    va_end(arguments);
    return output;
}

char *status_text(struct rig *rig, const struct guest *guest, const char *path)
{
    g_autoptr(Json) json = asking_status(&rig->fixture, guest_name(guest));
    Json *found = json != NULL ? asking_member(json, path) : NULL;

    return g_strdup(found != NULL ? json_object_get_string(found) : "");
}

double status_number(struct rig *rig, const struct guest *guest, const char *path)
{
    g_autoptr(Json) json = asking_status(&rig->fixture, guest_name(guest));
    Json *found = json != NULL ? asking_member(json, path) : NULL;

    return found != NULL ? json_object_get_double(found) : 0;
}

gboolean status_is(struct rig *rig, const struct guest *guest, const char *path, const char *text)
{
    g_autofree char *found = status_text(rig, guest, path);

    return g_str_equal(found, text);
}

void await_supervision(struct rig *rig, struct guest *guest, const char *mode)
{
    await(10, status_is(rig, guest, "supervision.effective", mode), "%s of %s is in force", mode,
          guest_name(guest));
    await(10, !status_is(rig, guest, "supervision.learned", "no"), "the rate of %s is known",
          guest_name(guest));
}

static gboolean is_partition(struct rig *rig, const struct guest *guest)
{
    return status_is(rig, guest, "state", "running");
}

static void ask(struct rig *rig, struct guest *guest, const char *mode)
{
    await(10, is_partition(rig, guest), "hvtimerd sees %s", guest_name(guest));
    g_free(ctl(rig, DONE, "%s %s %s", guest->kind.pit_count != 0 ? "pit" : "rtc", guest_name(guest),
               mode));
}

void supervise(struct rig *rig, struct guest *guest, const char *mode)
{
    ask(rig, guest, mode);
    await_supervision(rig, guest, mode);
}

void supervise_all(struct rig *rig, const char *mode)
{
    for (guint i = 0; i < rig->n; i++) {
        ask(rig, &rig->guests[i], mode);
    }
    for (guint i = 0; i < rig->n; i++) {
        await_supervision(rig, &rig->guests[i], mode);
    }
}

hvapi_statistics statistics(const struct guest *guest)
{
    return asking_statistics(guest_name(guest));
}

/* ---- Clocks ---- */

void take_references(struct rig *rig)
{
    sleep_ms(REFERENCE_NS / 1000000 + 100);
    gint64 now = clock_now_ns();
    for (guint i = 0; i < rig->n; i++) {
        struct guest *guest = &rig->guests[i];
        guest->reference = clock_trace_gain(guest->clock.trace, now - REFERENCE_NS, now);
        guest->since_ns = now;
    }
}

static void get_pids(struct rig *rig, pid_t *pids)
{
    for (guint i = 0; i < rig->n; i++) {
        pids[i] = rig->guests[i].clock.machine.pid;
    }
}

void stop_all(struct rig *rig, gint64 ms)
{
    pid_t pids[GUESTS_MAX];

    get_pids(rig, pids);
    disturb_stop(pids, rig->n, ms);
}

void stop_all_often(struct rig *rig, gint64 stop_ms, gint64 interval_ms, double seconds)
{
    pid_t pids[GUESTS_MAX];

    get_pids(rig, pids);
    disturb_stop_often(pids, rig->n, stop_ms, interval_ms, seconds);
}

static gboolean is_right(const struct guest *guest)
{
    gint64 now = clock_now_ns();
    double gain = clock_trace_gain(guest->clock.trace, now - SECOND_NS / 5, now);

    return guest->observed || gain >= guest->reference - RIGHT_TICKS * guest->clock.tick;
}

void await_right(struct rig *rig, double seconds)
{
    for (guint i = 0; i < rig->n; i++) {
        await(seconds, is_right(&rig->guests[i]), "the clock of %s, %s, is right",
              guest_name(&rig->guests[i]), rig->guests[i].kind.name);
    }
    sleep_ms(1200);
}

struct clock_report guest_report(const struct guest *guest, gint64 outage_end_ns)
{
    return clock_trace_report(guest->clock.trace, guest->reference, guest->since_ns, outage_end_ns,
                              clock_now_ns(), RIGHT_TICKS * guest->clock.tick);
}

void tell_figures(const struct guest *guest)
{
    hvapi_statistics s = statistics(guest);

    g_test_message("%s: due %u, injected %u, acknowledged %u, backlog %u, skipped %u",
                   guest_name(guest), (guint)s.due, (guint)s.injected, (guint)s.acknowledged,
                   (guint)s.backlog, (guint)s.skipped);
}

void assert_right(const struct guest *guest)
{
    struct clock_report report = guest_report(guest, guest->since_ns);
    double tick = guest->clock.tick;

    g_test_message("%s, %s: behind by %.2f ms, was ahead by %.2f ms at most; top speed %.2f",
                   guest_name(guest), guest->kind.name, report.behind * 1e3, report.ahead * 1e3,
                   report.peak);
    tell_figures(guest);
    g_assert_cmpfloat(report.behind, <=, RIGHT_TICKS * tick);
    g_assert_cmpfloat(report.ahead, <=, guest->ahead_max * tick);
    g_assert_cmpfloat(report.peak, <=, SPEED_MAX);
}

void assert_all_right(struct rig *rig)
{
    for (guint i = 0; i < rig->n; i++) {
        if (!rig->guests[i].observed) {
            assert_right(&rig->guests[i]);
        }
    }
}

/* ---- main ---- */

static void add_tests(void)
{
    add_peers_tests();
    add_slew_tests();
    add_life_tests();
    add_catchup_tests();
    add_daemon_tests();
    add_pit_tests();
}

int main(int argc, char **argv)
{
    return libvirt_run_tests(argc, argv, &test_libvirt, "/rtc", add_tests);
}
