/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A guest that stamps its interrupts: see lateness-guest.h. */
#include "tests/bench/lateness-guest.h"

#include "daemon/attach/process.h"
#include "daemon/engine.h"
#include "daemon/injectors/pin.h"
#include "daemon/injectors/shared-line.h"
#include "tests/bench/samples.h"
#include "tests/support/libvirt-machine.h"
#include <hvapi/hvgdk.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <x86intrin.h>

#define VECTOR 0x50u
/* Above the engine, so that the stamps of EOIs are not late because of it. */
#define PRIORITY 60
/* The guest's rings hold eight times as much. */
#define READ_RINGS_MS 15
/* Phases are told apart so far. */
#define PHASES 64
/* So often is it tried to read two clocks at one moment. */
#define CLOCK_TRIES 16

struct clock_pair {
    double tsc, ns;
};

struct ring_reader {
    volatile struct domain_guest_stamps *ring;
    uint32_t read;
};

struct lateness_guest {
    struct machine machine;
    struct attach_queue *queue;
    struct injector *pin, *rtc;
    GError *error; /* while these are borrowed */
    gboolean answered;

    int engine_cpu;
    GThread *listener;
    gint quit; /* atomic */
    int epoll_fd;
    struct ring_reader rings[2]; /* ticks, RTC */
    GArray *stamps[STAMPED];     /* double: of the TSC for handlers, ns for EOIs */
    struct clock_pair began;
};

/* ---- stamps ---- */

/* Of both clocks at one moment: whoever is interrupted between the two tries again. */
static struct clock_pair read_clocks(void)
{
    struct clock_pair best = {0};
    uint64_t least = UINT64_MAX;

    for (unsigned i = 0; i < CLOCK_TRIES; i++) {
        uint64_t before = __rdtsc(), ns = engine_clock(), took = __rdtsc() - before;
        if (took < least) {
            least = took;
            best = (struct clock_pair){(double)before + (double)took / 2, (double)ns};
        }
    }
    return best;
}

static void read_ring(struct ring_reader *reader, GArray *stamps)
{
    uint32_t n = reader->ring->n;

    if (n - reader->read > DOMAIN_GUEST_STAMPS_N) {
        reader->read = n - DOMAIN_GUEST_STAMPS_N; /* counted as missing */
    }
    for (; reader->read != n; reader->read++) {
        samples_add(stamps, (double)reader->ring->tsc[reader->read % DOMAIN_GUEST_STAMPS_N]);
    }
}

static void read_rings(struct lateness_guest *guest)
{
    read_ring(&guest->rings[0], guest->stamps[STAMPED_TICK]);
    read_ring(&guest->rings[1], guest->stamps[STAMPED_RTC]);
}

/* Where it can't be in the way of the engine, if there is another CPU. */
static void leave_cpu(int cpu)
{
    cpu_set_t cpus;

    if (sched_getaffinity(0, sizeof cpus, &cpus) == 0) {
        CPU_CLR(cpu, &cpus);
        if (CPU_COUNT(&cpus) > 0) {
            pthread_setaffinity_np(pthread_self(), sizeof cpus, &cpus);
        }
    }
}

static gpointer listen_to_guest(gpointer data)
{
    struct lateness_guest *guest = data;
    struct sched_param param = {.sched_priority = PRIORITY};
    struct epoll_event events[2];
    uint64_t rings_read = 0;

    leave_cpu(guest->engine_cpu);
    pthread_setschedparam(pthread_self(), SCHED_FIFO, &param);
    while (!g_atomic_int_get(&guest->quit)) {
        int n = epoll_wait(guest->epoll_fd, events, G_N_ELEMENTS(events), READ_RINGS_MS);
        uint64_t now = engine_clock();
        for (int i = 0; i < n; i++) {
            samples_add(guest->stamps[events[i].data.u32], (double)now);
        }
        if (now - rings_read > READ_RINGS_MS * UINT64_C(1000000)) {
            read_rings(guest);
            rings_read = now;
        }
    }
    return NULL;
}

/* Nobody reads them here: each EOI is an edge. */
static void listen_to(struct lateness_guest *guest, int fd, enum stamped which)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u32 = which};

    epoll_ctl(guest->epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

void lateness_guest_start(struct lateness_guest *guest)
{
    for (guint i = 0; i < STAMPED; i++) {
        g_array_set_size(guest->stamps[i], 0);
    }
    guest->rings[0].read = guest->rings[0].ring->n;
    guest->rings[1].read = guest->rings[1].ring->n;
    guest->quit = FALSE;
    guest->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    listen_to(guest, guest->pin->ack_fd, STAMPED_TICK_EOI);
    listen_to(guest, guest->rtc->ack_fd, STAMPED_RTC_EOI);
    guest->began = read_clocks();
    guest->listener = g_thread_new("listener", listen_to_guest, guest);
}

/* ---- how late each is ---- */

/* Most of them come at that part of a period. */
static double usual_phase(const GArray *stamps, double period)
{
    unsigned counts[PHASES] = {0}, best = 0;

    for (guint i = 0; i < stamps->len; i++) {
        double phase = fmod(g_array_index(stamps, double, i), period) / period;
        counts[(unsigned)(phase * PHASES) % PHASES]++;
    }
    for (unsigned i = 1; i < PHASES; i++) {
        best = counts[i] > counts[best] ? i : best;
    }
    return (best + 0.5) / PHASES * period;
}

/* One that is later than the usual phase by up to seven eighths of a period is its period's own;
 * what is later than that shows as one that is missing, and as one of the next period. */
static void judge(GArray *stamps, double period, double us, GArray *samples, unsigned *missing)
{
    double start = usual_phase(stamps, period) - period / 8, earliest = INFINITY;
    double first = NAN, last = NAN;

    for (guint i = 0; i < stamps->len; i++) {
        double *stamp = &g_array_index(stamps, double, i);
        last = floor((*stamp - start) / period);
        first = i == 0 ? last : first;
        *stamp -= last * period;
        earliest = MIN(earliest, *stamp);
    }
    for (guint i = 0; i < stamps->len; i++) {
        samples_add(samples, (g_array_index(stamps, double, i) - earliest) / us);
    }
    double expected = stamps->len > 0 ? last - first + 1 : 0;
    *missing += expected > stamps->len ? (unsigned)expected - stamps->len : 0;
}

void lateness_guest_stop(struct lateness_guest *guest, double hz, GArray *const *samples,
                         unsigned *missing)
{
    g_atomic_int_set(&guest->quit, TRUE);
    g_thread_join(guest->listener);
    struct clock_pair end = read_clocks();
    double tsc_per_ns = (end.tsc - guest->began.tsc) / (end.ns - guest->began.ns);

    close(guest->epoll_fd);
    for (guint i = 0; i < STAMPED; i++) {
        double per_ns = i == STAMPED_TICK || i == STAMPED_RTC ? tsc_per_ns : 1;
        judge(guest->stamps[i], 1e9 / hz * per_ns, 1000 * per_ns, samples[i], &missing[i]);
    }
}

/* ---- the guest ---- */

static void on_pin(struct injector *injector, const GError *error, gpointer user_data)
{
    struct lateness_guest *guest = user_data;

    guest->answered = TRUE;
    guest->pin = injector;
    guest->error = error != NULL ? g_error_copy(error) : NULL;
}

static void on_rtc(struct injector *injector, const GError *error, gpointer user_data)
{
    struct lateness_guest *guest = user_data;

    guest->answered = TRUE;
    guest->rtc = injector;
    guest->error = error != NULL ? g_error_copy(error) : NULL;
}

static void wait_for_answer(struct lateness_guest *guest)
{
    while (!guest->answered) {
        g_main_context_iteration(NULL, TRUE);
    }
    guest->answered = FALSE;
}

static gboolean borrow(struct lateness_guest *guest)
{
    HV_EMULATED_TIMER_CONTROL control = {.Vector = VECTOR, .Enabled = 1};

    injector_pin_borrow(guest->queue, UINT32_MAX, control.AsUINT64, on_pin, guest);
    wait_for_answer(guest);
    if (guest->pin != NULL) {
        injector_shared_line_open(guest->queue, BASE_TIMER_RTC, FALSE, on_rtc, guest);
        wait_for_answer(guest);
    }
    return guest->rtc != NULL;
}

static void start_machine(struct lateness_guest *guest)
{
    g_autofree char *helper =
        g_canonicalize_filename("daemon/attach/hvtimer-attach", g_getenv("HVTIMER_BUILDDIR"));
    g_autofree char *name = g_strdup_printf("lateness-%d", getpid());
    uint64_t start_time = 0;

    machine_spawn(&guest->machine, &(struct machine_options){.name = name, .stamps = TRUE});
    unlink(guest->machine.image); /* it is read, and is not left behind by one who is killed */
    process_start_time(guest->machine.pid, &start_time, NULL);
    guest->queue = attach_queue_new(helper, guest->machine.pid, start_time);
    guest->rings[0].ring = &guest->machine.pages[0].tick_stamps;
    guest->rings[1].ring = &guest->machine.pages[0].rtc_stamps;
}

struct lateness_guest *lateness_guest_new(int engine_cpu, GError **error)
{
    struct lateness_guest *guest = g_new0(struct lateness_guest, 1);

    guest->engine_cpu = engine_cpu;
    for (guint i = 0; i < STAMPED; i++) {
        guest->stamps[i] = samples_new();
    }
    start_machine(guest);
    if (!borrow(guest)) {
        g_propagate_error(error, guest->error);
        lateness_guest_free(guest);
        return NULL;
    }
    return guest;
}

void lateness_guest_free(struct lateness_guest *guest)
{
    if (guest->pin != NULL) {
        guest->pin->ops->free(guest->pin);
    }
    if (guest->rtc != NULL) {
        guest->rtc->ops->free(guest->rtc);
    }
    while (attach_queue_pending() > 0) { /* what is put back */
        g_main_context_iteration(NULL, TRUE);
    }
    attach_queue_unref(guest->queue);
    machine_down(&guest->machine);
    for (guint i = 0; i < STAMPED; i++) {
        g_array_unref(guest->stamps[i]);
    }
    g_free(guest);
}

struct injector *lateness_guest_injector(struct lateness_guest *guest)
{
    return guest->pin;
}
