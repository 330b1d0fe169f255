/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is done to the guests of a soak: see soak-steps.h. */
#include "tests/bench/soak-steps.h"

#include "tests/bench/soak-guests.h"
#include "tests/bench/soak-watch.h"
#include <signal.h>

#define STALL_MS_MIN   10
#define STALL_MS_MAX   2000
#define SUSPEND_MS_MAX 1500
/* Of the time of a CPU; the kernel leaves 95 per cent to real-time threads. */
#define HOG_MS_MIN      40
#define HOG_MS_MAX      93
#define HOG_INTERVAL_MS 100
#define HOG_SECONDS_MAX 3
/* Periods, of 100 ns. */
#define PERIOD_FIRST 10000
#define PERIOD_MIN   5000
#define PERIOD_MAX   100000

/* ---- Who ---- */

static struct soak_guest *any_guest(struct soak *soak)
{
    return &soak->guests[g_rand_int_range(soak->rand, 0, SOAK_GUESTS)];
}

/* With a timer of ours, or not. */
static struct soak_guest *any_of(struct soak *soak, gboolean paced)
{
    struct soak_guest *guest;

    do {
        guest = any_guest(soak);
    } while ((guest->kind == NULL) != paced);
    return guest;
}

/* One or more of them. */
static guint some_pids(struct soak *soak, pid_t *pids)
{
    guint n = 0;

    while (n == 0) {
        for (guint i = 0; i < SOAK_GUESTS; i++) {
            if (soak_chance(soak, 0.4)) {
                pids[n++] = soak->guests[i].clock.machine.pid;
            }
        }
    }
    return n;
}

/* ---- What keeps guests from running ---- */

static void stall(struct soak *soak)
{
    pid_t pids[SOAK_GUESTS];
    guint n = some_pids(soak, pids);

    disturb_stop(pids, n, (gint64)soak_random_scale(soak, STALL_MS_MIN, STALL_MS_MAX));
}

/* It takes one just now. */
static void await_tick(const struct soak_guest *guest)
{
    gint64 until = g_get_monotonic_time() + G_USEC_PER_SEC;
    guint32 before = soak_guest_counted(guest);

    while (soak_guest_counted(guest) == before && g_get_monotonic_time() < until) {
        g_usleep(100);
    }
}

/* hvtimerd is told of a suspend a little late. What has passed since the guest's last tick counts
 * as a part of it, so there must be no outage just before. */
static void suspend(struct soak *soak)
{
    struct soak_guest *guest = any_guest(soak);
    gint64 ms = (gint64)soak_random_scale(soak, STALL_MS_MIN, SUSPEND_MS_MAX);

    await_tick(guest);
    gint64 suspending = clock_now_ns();
    machine_suspend(&guest->clock.machine);
    gint64 suspended = clock_now_ns();
    sleep_ms(ms);
    gint64 resuming = clock_now_ns();
    machine_resume(&guest->clock.machine);
    gint64 resumed = clock_now_ns();
    if (guest->stands_still) {
        guest->least += (double)(resuming - suspended) / 1e9;
        guest->most += (double)(resumed - suspending) / 1e9;
    }
    guest->suspends++;
    guest->unknown++; /* one may just have been on its way when the lease, or the pin, was left */
}

static void starve(struct soak *soak)
{
    const char *why = NULL;
    struct hog *hog = hog_start(soak->cpu, g_rand_int_range(soak->rand, HOG_MS_MIN, HOG_MS_MAX),
                                HOG_INTERVAL_MS, &why);

    if (hog == NULL) {
        soak_say("no CPU could be taken: %s", why);
        return;
    }
    sleep_ms(g_rand_int_range(soak->rand, 200, HOG_SECONDS_MAX * 1000));
    hog_stop(hog);
}

/* ---- What is changed ---- */

static gboolean try_period(const struct soak_guest *guest, guint64 units)
{
    HV_PARTITION_ID id;

    return hvapi_lookup_partition(guest->name, &id) == HV_STATUS_SUCCESS &&
           HvSetPartitionProperty(id, HvPartitionPropertyEmulatedTimerPeriod, units) ==
               HV_STATUS_SUCCESS;
}

static void set_period(struct soak *soak, struct soak_guest *guest, guint64 units)
{
    guest->unknown++; /* one may have been on its way when a leased timer was set anew */
    /* A busy machine may not stop all threads of a VMM in time. */
    if (!soak_within(20, try_period(guest, units))) {
        soak_fail(soak, "%s: no period of %" G_GUINT64_FORMAT "00 ns: %s", guest->name, units,
                  hvapi_last_error());
    }
}

static void change_period(struct soak *soak)
{
    set_period(soak, any_of(soak, TRUE), (guint64)soak_random_scale(soak, PERIOD_MIN, PERIOD_MAX));
}

static void ask_rate(struct soak_guest *guest, guint rate)
{
    clock_machine_ask(&guest->clock, rate);
    guest->changes++;
}

static void change_rate(struct soak *soak)
{
    struct soak_guest *guest;

    do {
        guest = any_of(soak, FALSE);
    } while (!guest->asks);
    /* Any from 1024 to 64 Hz. */
    ask_rate(guest, (guint)g_rand_int_range(soak->rand, CLOCK_RATE_1024, CLOCK_RATE_64 + 1));
}

static void set_policy(struct soak *soak, struct soak_guest *guest, const char *policy)
{
    g_autofree char *said = NULL;
    int status = fixture_run(&soak->fixture, &said, "hvtimerctl policy %s %s", guest->name, policy);

    if (status != DONE) {
        soak_fail(soak, "hvtimerctl policy %s %s: exit status %d: %s", guest->name, policy, status,
                  said);
    }
}

/* A guest that keeps time is not to be one of which ticks are skipped. */
static void change_policy(struct soak *soak)
{
    struct soak_guest *guest = any_guest(soak);
    gboolean lazy = guest->kind == NULL && soak_chance(soak, 0.2);
    gboolean freeze = soak_chance(soak, 0.5);
    g_autofree char *policy =
        g_strdup_printf("--policy %s --threshold %d --slew %d --on-resume %s",
                        lazy ? "lazy" : "catchup", g_rand_int_range(soak->rand, 1, 20),
                        (int)soak_random_scale(soak, 20, 700), freeze ? "freeze" : "catchup");

    set_policy(soak, guest, policy);
    guest->lazy = guest->lazy || lazy;
    guest->stands_still = freeze;
}

void soak_calm(struct soak *soak)
{
    for (guint i = 0; i < SOAK_GUESTS; i++) {
        struct soak_guest *guest = &soak->guests[i];
        set_policy(soak, guest, "--policy catchup --threshold 1 --slew 100 --on-resume freeze");
        guest->stands_still = TRUE;
        if (guest->kind == NULL) {
            set_period(soak, guest, PERIOD_FIRST);
        } else if (guest->asks) {
            ask_rate(guest, guest->kind->rate);
        }
    }
}

/* ---- One of them ---- */

static const struct {
    enum soak_step step;
    guint weight;
    void (*make)(struct soak *soak);
} disturbances[] = {
    {SOAK_STALL, 6, stall},          {SOAK_SUSPEND, 3, suspend},  {SOAK_STARVE, 2, starve},
    {SOAK_PERIOD, 3, change_period}, {SOAK_RATE, 4, change_rate}, {SOAK_POLICY, 3, change_policy},
};

void soak_disturb(struct soak *soak)
{
    guint sum = 0, i = 0;

    for (guint k = 0; k < G_N_ELEMENTS(disturbances); k++) {
        sum += disturbances[k].weight;
    }
    guint at = (guint)g_rand_int_range(soak->rand, 0, (gint32)sum);
    while (at >= disturbances[i].weight) {
        at -= disturbances[i++].weight;
    }
    soak->steps[disturbances[i].step]++;
    disturbances[i].make(soak);
    sleep_ms((gint64)soak_random_scale(soak, 10, 1500));
}

/* ---- The daemon ---- */

static void end_daemon(struct soak *soak)
{
    if (soak_chance(soak, 0.5)) {
        soak->steps[SOAK_KILL]++;
        fixture_kill_daemon(&soak->fixture);
        return;
    }
    soak->steps[SOAK_TERM]++;
    int status = fixture_stop_daemon(&soak->fixture);
    if (status != 0) {
        soak_fail(soak, "hvtimerd, told to end, exits with %d", status);
    }
}

static gboolean all_there(struct soak *soak)
{
    for (guint i = 0; i < SOAK_GUESTS; i++) {
        HV_PARTITION_ID id;
        hvapi_statistics s;
        if (hvapi_lookup_partition(soak->guests[i].name, &id) != HV_STATUS_SUCCESS ||
            hvapi_get_statistics(id, &s) != HV_STATUS_SUCCESS) {
            return FALSE;
        }
    }
    return TRUE;
}

static void read_acknowledged(struct soak *soak, guint64 *figures)
{
    for (guint i = 0; i < SOAK_GUESTS; i++) {
        figures[i] = asking_statistics(soak->guests[i].name).acknowledged;
    }
}

/* Whoever comes after hvtimerd counts on from its figures. */
static void check_figures(struct soak *soak, const guint64 *before)
{
    guint64 now[SOAK_GUESTS];

    read_acknowledged(soak, now);
    for (guint i = 0; i < SOAK_GUESTS; i++) {
        if (now[i] < before[i]) {
            soak_fail(soak,
                      "%s: after a restart of hvtimerd %" G_GUINT64_FORMAT
                      " ticks are acknowledged, before it were %" G_GUINT64_FORMAT,
                      soak->guests[i].name, now[i], before[i]);
        }
    }
}

void soak_restart(struct soak *soak)
{
    guint64 acknowledged[SOAK_GUESTS];
    pid_t pids[SOAK_GUESTS];
    guint n_pids = some_pids(soak, pids);
    int ends = g_rand_int_range(soak->rand, 1, 4);

    soak_watch_pause(soak->reader);
    read_acknowledged(soak, acknowledged);
    for (int i = 0; i < ends; i++) {
        end_daemon(soak);
        if (soak_chance(soak, 0.5)) {
            disturb_stop(pids, n_pids, (gint64)soak_random_scale(soak, STALL_MS_MIN, STALL_MS_MAX));
        }
        if (soak_chance(soak, 0.3)) {
            change_rate(soak);
        }
        fixture_start_daemon(&soak->fixture);
        sleep_ms((gint64)soak_random_scale(soak, 1, 1000));
    }
    for (guint i = 0; i < SOAK_GUESTS; i++) {
        struct soak_guest *guest = &soak->guests[i];
        /* What comes by a pin comes from hvtimerd only; one may just have been on its way. */
        guest->unheard = guest->injector == NULL || !g_str_equal(guest->injector, "pin");
        guest->unknown += (guint)ends;
    }
    if (!soak_within(30, all_there(soak))) {
        soak_fail(soak, "after a restart of hvtimerd not all partitions are there");
        return;
    }
    check_figures(soak, acknowledged);
    soak_watch_go_on(soak->reader);
}
