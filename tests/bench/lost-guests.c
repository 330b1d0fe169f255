/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The guests of bench-lost, and whoever makes up what they lose: see lost.h. */
#include "tests/bench/lost.h"

#include <math.h>
#include <signal.h>

#define VECTOR 0x50u
#define HZ     1024
#define PERIOD "976.5625us"
/* A divisor of the PIT's: 1000.15 Hz. */
#define PIT_COUNT 1193

#define IN_FORCE_S 20
/* Nothing is taken of a guest that is stopped: its figures stand still, once hvtimerd has looked at
 * them, which it does some forty times a second. */
#define STILL_MS 250
#define STILL_S  10

static const struct clock_kind pit = {.name = "PIT", .pit_count = PIT_COUNT};

static const struct lost_guest guests[LOST_GUESTS_MAX] = {
    {.name = "pin", .title = "hvtimer pin", .who = LOST_TIMER, .injector = "pin", .quick = TRUE},
    {.name = "lapic", .title = "hvtimer lapic", .who = LOST_TIMER, .injector = "lapic"},
    {.name = "msi", .title = "hvtimer msi", .who = LOST_TIMER, .injector = "msi"},
    {.name = "rtc", .title = "hvtimer rtc", .who = LOST_RTC, .quick = TRUE},
    {.name = "none", .title = "QEMU RTC none", .who = LOST_OTHERS, .quick = TRUE},
    {.name = "slew",
     .title = "QEMU RTC slew",
     .who = LOST_OTHERS,
     .policy = "catchup",
     .quick = TRUE},
    {.name = "reinject",
     .title = "KVM PIT reinject",
     .who = LOST_OTHERS,
     .pit = TRUE,
     .policy = "delay"},
    {.name = "discard",
     .title = "KVM PIT discard",
     .who = LOST_OTHERS,
     .pit = TRUE,
     .policy = "discard"},
};

/* ---- Up and down ---- */

static gboolean is_domain(const struct lost_guest *guest)
{
    return g_strcmp0(guest->injector, "msi") != 0;
}

static void start(struct lost *lost, struct lost_guest *guest)
{
    struct machine_options o = {.name = guest->name, .no_rtc = TRUE};

    if (guest->who != LOST_TIMER) {
        o = clock_machine_options(guest->pit ? &pit : lost->kind, guest->name);
    }
    if (guest->pit) {
        o.pit_policy = guest->policy;
    } else {
        o.rtc_policy = guest->policy;
    }
    machine_define(&guest->clock.machine, &lost->libvirt, &o);
    machine_start(&guest->clock.machine);
    guest->pid = guest->clock.machine.pid;
    guest->is_measured = TRUE;
}

static void start_vmm(struct lost *lost, struct lost_guest *guest)
{
    g_autoptr(GError) error = NULL;

    guest->vmm = lost_vmm_up(guest->name, &error);
    guest->is_measured = guest->vmm != NULL;
    if (guest->is_measured) {
        guest->pid = lost_vmm_pid(guest->vmm);
    } else {
        figures_note(lost->figures, "%s is not measured: %s", guest->title, error->message);
    }
}

static volatile uint32_t *counted(const struct lost_guest *guest)
{
    const struct machine *machine = &guest->clock.machine;

    return guest->vmm != NULL         ? lost_vmm_count(guest->vmm, VECTOR)
           : guest->who == LOST_TIMER ? &machine->pages[0].vectors[VECTOR]
                                      : &machine_clock(machine)->ticks;
}

static void watch(struct lost *lost, struct lost_guest *guest)
{
    gboolean changes = guest->who == LOST_RTC && lost->kind->other_rate != 0;

    guest->tolerance = changes ? LOST_CHANGING_TICKS : LOST_RIGHT_TICKS;
    if (guest->who == LOST_TIMER) {
        /* A clock that goes up by one at a tick: its time is the first of its fields. */
        G_STATIC_ASSERT(CLOCK_GUEST_TIME == 0);
        guest->tick = 1.0 / HZ;
        guest->trace = clock_watch_add(lost->watch, (volatile void *)counted(guest), HZ);
        return;
    }
    clock_machine_watch(&guest->clock, lost->watch, guest->pit ? &pit : lost->kind);
    guest->tick = guest->clock.tick;
    guest->trace = guest->clock.trace;
}

/* ---- What is asked of hvtimerd ---- */

#define within(seconds, done)                                                        \
    ({                                                                               \
        gint64 until_ = g_get_monotonic_time() + (gint64)((seconds)*G_USEC_PER_SEC); \
        gboolean done_;                                                              \
        while (!(done_ = (done)) && g_get_monotonic_time() < until_) {               \
            sleep_ms(5);                                                             \
        }                                                                            \
        done_;                                                                       \
    })

static gboolean says(struct lost *lost, const struct lost_guest *guest, const char *path,
                     const char *text)
{
    return asking_is(&lost->fixture, guest->name, path, text);
}

static gboolean in_force(struct lost *lost, const struct lost_guest *guest)
{
    if (guest->who == LOST_TIMER) {
        return says(lost, guest, "injector", guest->injector);
    }
    return says(lost, guest, "supervision.effective", "slew") &&
           !says(lost, guest, "supervision.learned", "no");
}

static gboolean ask(struct lost *lost, const char *command, char **said)
{
    g_free(*said);
    return fixture_run(&lost->fixture, said, "hvtimerctl %s", command) == DONE;
}

/* Its partition may take a moment to be there, and its rate to be found out. */
static void have_hvtimer(struct lost *lost, struct lost_guest *guest)
{
    g_autofree char *said = NULL;
    g_autofree char *command =
        guest->who == LOST_TIMER
            ? g_strdup_printf("enable %s --period " PERIOD " --vector %#x --injector %s",
                              guest->name, VECTOR, guest->injector)
            : g_strdup_printf("rtc %s slew", guest->name);

    if (!within(IN_FORCE_S, ask(lost, command, &said))) {
        figures_note(lost->figures, "%s is not measured: hvtimerctl %s: %s", guest->title, command,
                     g_strchomp(said));
        guest->is_measured = FALSE;
    } else if (!within(IN_FORCE_S, in_force(lost, guest))) {
        figures_note(lost->figures,
                     "%s is not measured: hvtimerctl %s is not in force after %d s: hvtimerctl "
                     "verify may say why",
                     guest->title, command, IN_FORCE_S);
        guest->is_measured = FALSE;
    }
}

void lost_guests_up(struct lost *lost)
{
    for (guint i = 0; i < LOST_GUESTS_MAX; i++) {
        if (figures_quick(lost->figures) && !guests[i].quick) {
            continue;
        }
        struct lost_guest *guest = &lost->guests[lost->n++];
        *guest = guests[i];
        if (is_domain(guest)) {
            start(lost, guest);
        } else {
            start_vmm(lost, guest);
        }
    }
    for (guint i = 0; i < lost->n; i++) {
        struct lost_guest *guest = &lost->guests[i];
        if (is_domain(guest)) {
            machine_wait_ready(&guest->clock.machine);
        }
        if (guest->is_measured && guest->who != LOST_OTHERS) {
            have_hvtimer(lost, guest);
        }
    }
    lost->watch = clock_watch_new();
    for (guint i = 0; i < lost->n; i++) {
        if (lost->guests[i].is_measured) {
            watch(lost, &lost->guests[i]);
        }
    }
}

void lost_guests_down(struct lost *lost)
{
    clock_watch_free(lost->watch);
    for (guint i = 0; i < lost->n; i++) {
        struct lost_guest *guest = &lost->guests[i];
        if (is_domain(guest)) {
            machine_down(&guest->clock.machine);
        } else if (guest->vmm != NULL) {
            lost_vmm_down(guest->vmm);
        }
    }
}

guint lost_guests_pids(struct lost *lost, pid_t *ret_pids)
{
    guint n = 0;

    for (guint i = 0; i < lost->n; i++) {
        if (lost->guests[i].is_measured) {
            ret_pids[n++] = lost->guests[i].pid;
        }
    }
    return n;
}

/* ---- Ledgers ---- */

static gboolean has_ledger(const struct lost_guest *guest)
{
    return guest->is_measured && guest->who != LOST_OTHERS;
}

static void signal_all(struct lost *lost, int number)
{
    for (guint i = 0; i < lost->n; i++) {
        if (has_ledger(&lost->guests[i])) {
            g_assert_cmpint(kill(lost->guests[i].pid, number), ==, 0);
        }
    }
}

static guint64 acknowledged(struct lost *lost)
{
    guint64 sum = 0;

    for (guint i = 0; i < lost->n; i++) {
        if (has_ledger(&lost->guests[i])) {
            sum += asking_statistics(lost->guests[i].name).acknowledged;
        }
    }
    return sum;
}

static gboolean stand_still(struct lost *lost)
{
    guint64 before = acknowledged(lost);

    sleep_ms(STILL_MS);
    return acknowledged(lost) == before;
}

void lost_guests_read(struct lost *lost, struct lost_ledger *ret_ledgers)
{
    signal_all(lost, SIGSTOP);
    gboolean still = within(STILL_S, stand_still(lost));
    for (guint i = 0; i < lost->n; i++) {
        const struct lost_guest *guest = &lost->guests[i];
        if (!has_ledger(guest)) {
            continue;
        }
        hvapi_statistics s = asking_statistics(guest->name);
        ret_ledgers[i] = (struct lost_ledger){
            /* NAN: somebody still took ticks. */
            .due = still ? (double)(s.due - s.backlog - s.in_flight) : NAN,
            .skipped = s.skipped,
            .counted = *counted(guest),
        };
    }
    signal_all(lost, SIGCONT);
}
