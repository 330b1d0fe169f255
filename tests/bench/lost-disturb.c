/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is done to all guests of bench-lost at once: see lost.h. */
#include "tests/bench/lost.h"

#include "tests/support/disturbance.h"
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define STOP_MS     150
#define INTERVAL_MS 500

/* Nearly all, and less than the 95 % that the kernel leaves to real-time threads: the engine and
 * whoever reads the clocks are of these, too. */
#define HOG_MS          180
#define HOG_INTERVAL_MS 200

#define BUSY_PER_CPU 4u

/* ---- Stops ---- */

static gint64 stall(struct lost *lost, double seconds)
{
    pid_t pids[LOST_GUESTS_MAX];
    guint n = lost_guests_pids(lost, pids);

    disturb_stop_often(pids, n, STOP_MS, INTERVAL_MS, seconds);
    /* Behind the last stop comes its own pause. */
    return clock_now_ns() - (INTERVAL_MS - STOP_MS) * (gint64)1000000;
}

static gint64 stop_once(struct lost *lost, double seconds)
{
    pid_t pids[LOST_GUESTS_MAX];
    guint n = lost_guests_pids(lost, pids);

    disturb_stop(pids, n, (gint64)(seconds * 1000));
    return clock_now_ns();
}

/* ---- Starvation ---- */

/* All threads of the process may run on @set. */
static void set_cpus(pid_t pid, const cpu_set_t *set)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task", pid);
    g_autoptr(GDir) directory = g_dir_open(path, 0, NULL);
    const char *name;

    while (directory != NULL && (name = g_dir_read_name(directory)) != NULL) {
        /* One that has just ended needs no CPU. */
        (void)sched_setaffinity((pid_t)atoi(name), sizeof(*set), set);
    }
}

static gint64 starve(struct lost *lost, double seconds)
{
    pid_t pids[LOST_GUESTS_MAX];
    guint n = lost_guests_pids(lost, pids);
    const char *why = NULL;
    gint64 end = 0;
    cpu_set_t all;

    g_assert_cmpint(sched_getaffinity(0, sizeof(all), &all), ==, 0);
    for (guint i = 0; i < n; i++) {
        disturb_pin(pids[i], disturb_cpu());
    }
    struct hog *hog = hog_start(disturb_cpu(), HOG_MS, HOG_INTERVAL_MS, &why);
    if (hog != NULL) {
        gint64 began = clock_now_ns();
        sleep_ms((gint64)(seconds * 1000));
        double had = hog_stop(hog);
        end = clock_now_ns();
        figures_note(lost->figures,
                     "starvation: a SCHED_FIFO thread had %.0f %% of the guests' CPU",
                     had / ((double)(end - began) / 1e9) * 100);
    } else {
        figures_note(lost->figures, "starvation is not measured: a SCHED_FIFO thread: %s", why);
    }
    for (guint i = 0; i < n; i++) {
        set_cpus(pids[i], &all);
    }
    return end;
}

/* ---- Overload ---- */

static pid_t be_busy(void)
{
    pid_t parent = getpid(), pid = fork();

    g_assert_cmpint(pid, >=, 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) {
            _exit(EXIT_FAILURE);
        }
        for (;;) {
        }
    }
    return pid;
}

static gint64 overload(struct lost *lost, double seconds)
{
    guint n = BUSY_PER_CPU * g_get_num_processors();
    g_autofree pid_t *pids = g_new(pid_t, n);

    for (guint i = 0; i < n; i++) {
        pids[i] = be_busy();
    }
    sleep_ms((gint64)(seconds * 1000));
    for (guint i = 0; i < n; i++) {
        kill(pids[i], SIGKILL);
    }
    for (guint i = 0; i < n; i++) {
        waitpid(pids[i], NULL, 0);
    }
    figures_note(lost->figures, "overload: %u busy processes on each CPU", BUSY_PER_CPU);
    return clock_now_ns();
}

struct lost_disturbance lost_disturbances[] = {
    [LOST_STALLS] = {"stalls", TRUE, 20, 2.5, stall},
    [LOST_STOP] = {"one stop", FALSE, 3, 0, stop_once},
    {"starvation", TRUE, 8, 1.5, starve},
    {"overload", FALSE, 10, 0, overload},
    {.name = NULL},
};
