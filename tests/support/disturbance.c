/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What keeps a guest from running: see disturbance.h. */
#include "tests/support/disturbance.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

/* Above kernel threads of ordinary priority, below the engine. */
#define HOG_PRIORITY 10

static void sleep_until_us(gint64 time)
{
    struct timespec until = {time / G_USEC_PER_SEC, time % G_USEC_PER_SEC * 1000};

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR) {
    }
}

static void signal_all(const pid_t *pids, guint n_pids, int number)
{
    for (guint i = 0; i < n_pids; i++) {
        g_assert_cmpint(kill(pids[i], number), ==, 0);
    }
}

void disturb_stop(const pid_t *pids, guint n_pids, gint64 ms)
{
    gint64 end = g_get_monotonic_time() + ms * 1000;

    signal_all(pids, n_pids, SIGSTOP);
    sleep_until_us(end);
    signal_all(pids, n_pids, SIGCONT);
}

void disturb_stop_often(const pid_t *pids, guint n_pids, gint64 stop_ms, gint64 interval_ms,
                        double seconds)
{
    gint64 next = g_get_monotonic_time();
    gint64 end = next + (gint64)(seconds * G_USEC_PER_SEC);

    /* Every outage is followed by its time of running, however late this thread is. */
    while (next < end) {
        disturb_stop(pids, n_pids, stop_ms);
        next = MAX(next + interval_ms * 1000,
                   g_get_monotonic_time() + (interval_ms - stop_ms) * 1000 / 2);
        sleep_until_us(next);
    }
}

/* ---- CPUs ---- */

int disturb_cpu(void)
{
    cpu_set_t set;
    int cpu = CPU_SETSIZE - 1;

    CPU_ZERO(&set);
    g_assert_cmpint(sched_getaffinity(0, sizeof(set), &set), ==, 0);
    while (cpu > 0 && !CPU_ISSET(cpu, &set)) {
        cpu--;
    }
    return cpu;
}

void disturb_pin(pid_t pid, int cpu)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task", pid);
    g_autoptr(GDir) directory = g_dir_open(path, 0, NULL);
    const char *name;
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    g_assert_nonnull(directory);
    while ((name = g_dir_read_name(directory)) != NULL) {
        /* One that has just ended needs no CPU. */
        g_assert_true(sched_setaffinity((pid_t)atoi(name), sizeof(set), &set) == 0 ||
                      errno == ESRCH);
    }
}

/* ---- A hog ---- */

struct hog {
    GThread *thread;
    int cpu;
    gint64 busy, interval;
    gint answer; /* atomic: 0, then 1 or -errno */
    gint quit;   /* atomic */
    double had;  /* seconds; of the thread, until it has ended */
};

static int settle(int cpu)
{
    struct sched_param param = {.sched_priority = HOG_PRIORITY};
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof(set), &set) != 0) {
        return -errno;
    }
    int error = pthread_setschedparam(pthread_self(), SCHED_FIFO, &param);
    return error == 0 ? 1 : -error;
}

static gpointer be_a_hog(gpointer data)
{
    struct hog *hog = data;
    int answer = settle(hog->cpu);
    gint64 next = g_get_monotonic_time();
    struct timespec had;

    g_atomic_int_set(&hog->answer, answer);
    while (answer > 0 && g_atomic_int_get(&hog->quit) == 0) {
        gint64 end = g_get_monotonic_time() + hog->busy;
        while (g_get_monotonic_time() < end) {
        }
        next = MAX(next + hog->interval, end + (hog->interval - hog->busy) / 2);
        sleep_until_us(next);
    }
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &had);
    hog->had = (double)had.tv_sec + (double)had.tv_nsec / 1e9;
    return NULL;
}

struct hog *hog_start(int cpu, gint64 busy_ms, gint64 interval_ms, const char **ret_why)
{
    struct hog *hog = g_new0(struct hog, 1);
    int answer;

    hog->cpu = cpu;
    hog->busy = busy_ms * 1000;
    hog->interval = interval_ms * 1000;
    hog->thread = g_thread_new("hog", be_a_hog, hog);
    while ((answer = g_atomic_int_get(&hog->answer)) == 0) {
        g_usleep(1000);
    }
    if (answer < 0) {
        *ret_why = g_strerror(-answer);
        hog_stop(hog);
        return NULL;
    }
    return hog;
}

double hog_stop(struct hog *hog)
{
    g_atomic_int_set(&hog->quit, 1);
    g_thread_join(hog->thread);
    double had = hog->had;
    g_free(hog);
    return had;
}
