/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The engine's thread with model injectors: ticks in real time, commands, events, figures. */
#include "daemon/engine.h"
#include "daemon/injectors/model.h"
#include "daemon/service.h"
#include "tests/support/test.h"
#include "tests/support/timing.h"
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct timer {
    struct engine_timer *timer;
    struct injector *model;
    unsigned held, removed;
};

static const struct ticker_policy catchup = TICKER_POLICY_DEFAULT;

static void on_event(enum engine_event event, gpointer user_data)
{
    struct timer *timer = user_data;

    timer->held += event == ENGINE_HELD;
    timer->removed += event == ENGINE_REMOVED;
    if (event == ENGINE_REMOVED) {
        timer->model->ops->free(timer->model);
    }
}

static struct engine *start_engine(unsigned timers)
{
    struct engine_config config = {.priority = 50, .cpu = -1, .timers = timers};
    g_autoptr(GError) error = NULL;
    struct engine *engine = engine_new(&config, &error);

    g_assert_no_error(error);
    return engine;
}

static void add_model(struct engine *engine, struct timer *timer, struct injector *model)
{
    *timer = (struct timer){.model = model};
    timer->timer = engine_add(engine, model, &catchup, NULL, on_event, timer);
    g_assert_nonnull(timer->timer);
}

static void add(struct engine *engine, struct timer *timer)
{
    add_model(engine, timer, injector_model_new());
}

static void assert_identity(const struct ticker_counts *ticks)
{
    g_assert_cmpuint(ticks->due, ==,
                     ticks->acknowledged + ticks->in_flight + ticks->backlog + ticks->skipped);
}

static struct ticker_counts read_ticks(struct timer *timer)
{
    struct engine_reading reading;

    engine_read(timer->timer, &reading);
    assert_identity(&reading.ticks);
    return reading.ticks;
}

static void wait_ms(unsigned ms)
{
    gint64 end = g_get_monotonic_time() + ms * 1000;

    while (g_get_monotonic_time() < end) {
        test_iterate();
    }
}

/* Waits until the engine has obeyed what it was told up to now: it may be at the end of a round, so
 * only the second from here on has certainly seen it all. */
static void sync_with(struct engine *engine)
{
    for (int i = 0; i < 2; i++) {
        engine_ping(engine);
        test_wait_until(20, engine_answer_ns(engine) != ENGINE_NO_ANSWER);
    }
}

/* All that was due has been taken, and nothing given up. Then stopped, and what was in flight taken
 * as well: what the guest has seen is what is due, but for those that fell due as the machine was
 * on its way to the stop. */
static void assert_all_taken(struct engine *engine, struct timer *timer)
{
    test_wait_until(20, read_ticks(timer).backlog == 0);
    g_assert_cmpuint(read_ticks(timer).skipped, ==, 0);
    engine_stop(timer->timer);
    sync_with(engine);
    test_wait_until(20, read_ticks(timer).in_flight == 0);
    struct ticker_counts ticks = read_ticks(timer);
    g_assert_cmpuint(injector_model_taken(timer->model), ==, ticks.due - ticks.skipped);
}

static gboolean keeps_time(struct timer *timer, const struct timing *timing)
{
    gint64 before = g_get_monotonic_time();
    uint64_t due = read_ticks(timer).due;

    return timing_keeps(timing, due, before, g_get_monotonic_time());
}

static void test_one(void)
{
    struct engine *engine = start_engine(1);
    struct timer timer;

    add(engine, &timer);
    struct timing timing = timing_before(1000, 0);
    engine_start(timer.timer, engine_clock(), period_from_units(10000));
    timing_after(&timing);
    wait_ms(500);
    test_wait_until(20, keeps_time(&timer, &timing));
    assert_all_taken(engine, &timer);
    engine_free(engine);
    g_assert_cmpuint(timer.removed, ==, 1);
}

/* The vCPU is away for some fifth of a second: nothing is lost. */
static void test_outage(void)
{
    struct engine *engine = start_engine(1);
    struct timer timer;

    add(engine, &timer);
    engine_start(timer.timer, engine_clock(), period_from_units(5000));
    wait_ms(50);
    injector_model_hold(timer.model, 60 * G_USEC_PER_SEC);
    test_wait_until(20, read_ticks(&timer).backlog >= 400);
    injector_model_hold(timer.model, 0);
    assert_all_taken(engine, &timer);
    engine_free(engine);
}

/* A full engine refuses; a removed timer makes room. */
static void test_capacity(void)
{
    struct engine *engine = start_engine(2);
    struct timer timers[2];
    struct injector *third = injector_model_new();

    add(engine, &timers[0]);
    add(engine, &timers[1]);
    g_assert_null(engine_add(engine, third, &catchup, NULL, on_event, NULL));
    third->ops->free(third);
    engine_start(timers[0].timer, engine_clock(), period_from_units(10000));
    engine_remove(timers[0].timer);
    test_wait_until(5, timers[0].removed == 1);
    add(engine, &timers[0]);
    engine_free(engine);
}

static void test_hold(void)
{
    struct engine *engine = start_engine(1);
    struct timer timer;

    add(engine, &timer);
    engine_start(timer.timer, engine_clock(), period_from_units(10000));
    wait_ms(50);
    engine_hold(timer.timer);
    test_wait_until(5, timer.held == 1);
    uint64_t injected = read_ticks(&timer).injected;
    wait_ms(50);
    struct ticker_counts ticks = read_ticks(&timer);
    g_assert_cmpuint(ticks.injected, ==, injected);
    g_assert_cmpuint(ticks.backlog, >=, 40);
    engine_release(timer.timer, TRUE);
    assert_all_taken(engine, &timer);
    engine_free(engine);
}

static void test_suspend(void)
{
    struct engine *engine = start_engine(1);
    struct timer timer;

    add(engine, &timer);
    engine_start(timer.timer, engine_clock(), period_from_units(10000));
    wait_ms(50);
    engine_freeze(timer.timer);
    sync_with(engine);
    uint64_t due = read_ticks(&timer).due;
    wait_ms(100);
    g_assert_cmpuint(read_ticks(&timer).due, ==, due);
    engine_thaw(timer.timer);
    test_wait_until(20, read_ticks(&timer).due > due + 10);
    assert_all_taken(engine, &timer);
    engine_free(engine);
}

/* ---- acknowledgements by a descriptor ---- */

#define ANSWERED 40u

/* A guest that takes ticks from one eventfd and acknowledges them by another. */
struct answered {
    struct injector injector;
    struct timer timer;
    int tick_fd;
    guint taken;
};

static bool answered_inject(struct injector *injector, G_GNUC_UNUSED uint64_t now)
{
    return eventfd_write(((struct answered *)injector)->tick_fd, 1) == 0;
}

static uint64_t answered_acknowledged(struct injector *injector, G_GNUC_UNUSED uint64_t now)
{
    eventfd_t n;

    return eventfd_read(injector->ack_fd, &n) == 0 ? n : 0;
}

static void answered_free(struct injector *injector)
{
    close(((struct answered *)injector)->tick_fd);
    close(injector->ack_fd);
}

static const struct injector_ops answered_ops = {
    .name = "answered",
    .base_timer = "daemon",
    .inject = answered_inject,
    .acknowledged = answered_acknowledged,
    .free = answered_free,
};

static void on_answered_event(enum engine_event event, gpointer user_data)
{
    struct answered *answered = user_data;

    answered->timer.removed += event == ENGINE_REMOVED;
    if (event == ENGINE_REMOVED) {
        answered->injector.ops->free(&answered->injector);
    }
}

struct guests {
    struct answered *all;
    gboolean quit;
};

/* Each guest takes a tick as soon as it can, but for a random one that is away for some ms. */
static gpointer take_ticks(gpointer data)
{
    struct guests *guests = data;
    gint64 away_until[ANSWERED] = {0};
    g_autoptr(GRand) random = g_rand_new_with_seed(11);
    eventfd_t n;

    while (!g_atomic_int_get(&guests->quit)) {
        gint64 now = g_get_monotonic_time();
        guint who = (guint)g_rand_int_range(random, 0, 20 * ANSWERED);
        if (who < ANSWERED) {
            away_until[who] = now + g_rand_int_range(random, 0, 20000);
        }
        for (guint i = 0; i < ANSWERED; i++) {
            struct answered *guest = &guests->all[i];
            if (away_until[i] < now && eventfd_read(guest->tick_fd, &n) == 0) {
                g_atomic_int_inc((gint *)&guest->taken);
                eventfd_write(guest->injector.ack_fd, 1);
            }
        }
        g_usleep(200);
    }
    return NULL;
}

static void add_answered(struct engine *engine, struct answered *guest)
{
    guest->injector.ops = &answered_ops;
    guest->tick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    guest->injector.ack_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    guest->timer.timer =
        engine_add(engine, &guest->injector, &catchup, NULL, on_answered_event, guest);
    g_assert_nonnull(guest->timer.timer);
    engine_start(guest->timer.timer, engine_clock(), period_from_units(10000));
}

/* Guests that are late now and then, by two threads: each tick is taken once, none is lost. */
static void test_acknowledgements(void)
{
    struct engine_config config = {
        .priority = 50, .cpu = -1, .threads = 2, .window_us = 50, .timers = ANSWERED};
    struct engine *engine = engine_new(&config, NULL);
    g_autofree struct answered *all = g_new0(struct answered, ANSWERED);
    struct guests guests = {.all = all};

    g_assert_nonnull(engine);
    for (guint i = 0; i < ANSWERED; i++) {
        add_answered(engine, &all[i]);
    }
    GThread *thread = g_thread_new("guests", take_ticks, &guests);
    for (guint i = 0; i < ANSWERED; i++) {
        test_wait_until(60, read_ticks(&all[i].timer).acknowledged >= 1000);
        test_wait_until(60, read_ticks(&all[i].timer).backlog == 0);
        engine_stop(all[i].timer.timer);
    }
    sync_with(engine);
    for (guint i = 0; i < ANSWERED; i++) {
        test_wait_until(20, read_ticks(&all[i].timer).in_flight == 0);
        struct ticker_counts ticks = read_ticks(&all[i].timer);
        g_assert_cmpuint((guint)g_atomic_int_get((gint *)&all[i].taken), ==, ticks.acknowledged);
        g_assert_cmpuint(ticks.due, ==, ticks.acknowledged + ticks.skipped);
    }
    g_atomic_int_set(&guests.quit, TRUE);
    g_thread_join(thread);
    engine_free(engine);
    for (guint i = 0; i < ANSWERED; i++) {
        g_assert_cmpuint(all[i].timer.removed, ==, 1);
    }
}

/* ---- wake-ups that are shared ---- */

static uint64_t wakeups(struct engine *engine)
{
    struct lateness_reading reading;

    engine_read_wakeups(engine, &reading);
    return reading.count;
}

/* Ten timers, each at a tenth of a millisecond of its own: within a window of half of one there are
 * five of them. No tick comes early: the guest would have taken more than are due. */
static void test_window(void)
{
    struct engine_config config = {.priority = 50, .cpu = -1, .window_us = 500, .timers = 10};
    struct engine *engine = engine_new(&config, NULL);
    struct timer timers[10];
    uint64_t due = 0, start = engine_clock();

    g_assert_nonnull(engine);
    for (guint i = 0; i < G_N_ELEMENTS(timers); i++) {
        add(engine, &timers[i]);
        engine_start(timers[i].timer, start + i * 100000, period_from_units(10000));
    }
    test_wait_until(20, read_ticks(&timers[0]).due >= 500);
    for (guint i = 0; i < G_N_ELEMENTS(timers); i++) {
        assert_all_taken(engine, &timers[i]);
        due += read_ticks(&timers[i]).due;
    }
    g_test_message("%u ticks, %u wake-ups", (guint)due, (guint)wakeups(engine));
    g_assert_cmpuint(wakeups(engine), <, due / 3);
    engine_free(engine);
}

struct reader {
    struct timer *timer;
    gint stop, readings;
};

static gpointer read_all_the_time(gpointer data)
{
    struct reader *reader = data;
    uint64_t due = 0;

    while (!g_atomic_int_get(&reader->stop)) {
        struct ticker_counts ticks = read_ticks(reader->timer);
        g_assert_cmpuint(ticks.due, >=, due);
        due = ticks.due;
        g_atomic_int_inc(&reader->readings);
    }
    return NULL;
}

/* Every reading is one moment's, however often one looks and whatever happens meanwhile. */
static void test_readings(void)
{
    struct engine *engine = start_engine(1);
    struct timer timer;
    struct reader reader = {.timer = &timer};

    add(engine, &timer);
    engine_start(timer.timer, engine_clock(), period_from_units(1000));
    GThread *thread = g_thread_new("reader", read_all_the_time, &reader);
    for (int i = 0; i < 50; i++) {
        wait_ms(5);
        if (g_test_rand_bit()) {
            injector_model_hold(timer.model, (uint64_t)g_test_rand_int_range(10, 5000));
        } else {
            engine_reset_backlog(timer.timer);
        }
    }
    test_wait_until(20, g_atomic_int_get(&reader.readings) > 1000);
    g_atomic_int_set(&reader.stop, 1);
    g_thread_join(thread);
    g_test_message("%d readings", reader.readings);
    engine_free(engine);
}

/* Many timers, random periods, random changes: each count is right in the end. */
static void test_many(void)
{
    enum { N = 200 };
    struct engine *engine = start_engine(N);
    g_autofree struct timer *timers = g_new(struct timer, N);

    for (int i = 0; i < N; i++) {
        add(engine, &timers[i]);
        engine_start(timers[i].timer, engine_clock(),
                     period_from_units((uint64_t)g_test_rand_int_range(10000, 200000)));
    }
    for (int i = 0; i < 200; i++) {
        struct timer *timer = &timers[g_test_rand_int_range(0, N)];
        engine_start(timer->timer, engine_clock(),
                     period_from_units((uint64_t)g_test_rand_int_range(10000, 200000)));
        injector_model_hold(timer->model, (uint64_t)g_test_rand_int_range(10, 20000));
        wait_ms(2);
    }
    for (int i = 0; i < N; i++) {
        assert_all_taken(engine, &timers[i]);
    }
    engine_free(engine);
    for (int i = 0; i < N; i++) {
        g_assert_cmpuint(timers[i].removed, ==, 1);
    }
}

/* Raising a tick takes the engine two seconds, so nothing else is in time. */
static const struct injector_ops *model_ops;
static atomic_bool slow;

static bool inject_slowly(struct injector *injector, uint64_t now)
{
    if (slow) {
        g_usleep(2000000);
    }
    return model_ops->inject(injector, now);
}

/* What a service manager would hear. */
static gboolean was_fed(int socket)
{
    char text[64];
    gboolean fed = FALSE;

    for (ssize_t n; (n = recv(socket, text, sizeof text - 1, MSG_DONTWAIT)) > 0;) {
        text[n] = '\0';
        fed = fed || strstr(text, "WATCHDOG=1") != NULL;
    }
    return fed;
}

static int listen_as_manager(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t length = sizeof(sa_family_t);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    g_assert_cmpint(bind(fd, (struct sockaddr *)&address, length), ==, 0); /* a name of its own */
    length = sizeof address;
    g_assert_cmpint(getsockname(fd, (struct sockaddr *)&address, &length), ==, 0);
    g_autofree char *name =
        g_strdup_printf("@%.*s", (int)(length - sizeof(sa_family_t) - 1), address.sun_path + 1);
    g_setenv("NOTIFY_SOCKET", name, TRUE);
    g_setenv("WATCHDOG_USEC", "30000", TRUE);
    return fd;
}

/* The watchdog is fed while the engine goes round in time, and only then. */
static void test_watchdog(void)
{
    struct injector *model = injector_model_new();
    struct injector_ops ops;
    struct timer timer;
    int manager = listen_as_manager();
    struct engine *engine = start_engine(1);
    struct service *service = service_new(engine);
    GLogLevelFlags fatal = g_log_set_always_fatal(G_LOG_LEVEL_ERROR); /* it complains, loudly */

    test_wait_until(20, was_fed(manager));
    model_ops = model->ops;
    ops = *model_ops;
    ops.inject = inject_slowly;
    model->ops = &ops;
    slow = true;
    add_model(engine, &timer, model);
    engine_start(timer.timer, engine_clock(), (struct period){1000000, 1});
    wait_ms(50);
    was_fed(manager); /* before */
    wait_ms(3000);
    g_assert_false(was_fed(manager));
    slow = false;
    test_wait_until(20, was_fed(manager));
    g_log_set_always_fatal(fatal);
    service_free(service);
    close(manager);
    g_unsetenv("NOTIFY_SOCKET");
    g_unsetenv("WATCHDOG_USEC");
    engine_free(engine);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/engine/one", test_one);
    g_test_add_func("/engine/outage", test_outage);
    g_test_add_func("/engine/capacity", test_capacity);
    g_test_add_func("/engine/hold", test_hold);
    g_test_add_func("/engine/suspend", test_suspend);
    g_test_add_func("/engine/acknowledgements", test_acknowledgements);
    g_test_add_func("/engine/window", test_window);
    g_test_add_func("/engine/readings", test_readings);
    g_test_add_func("/engine/many", test_many);
    g_test_add_func("/engine/watchdog", test_watchdog);
    return g_test_run();
}
