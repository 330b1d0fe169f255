/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The time that one request may take: see deadline.h. */
#include "daemon/attach/deadline.h"

#include <signal.h>
#include <sys/time.h>
#include <time.h>

/* The first signal may come just before a call that waits; a later one meets it in there. */
#define AGAIN_US 20000

static uint64_t deadline_ns;

static void wake_up(int signal)
{
    (void)signal;
}

uint64_t deadline_clock(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void deadline_start(unsigned ms)
{
    struct sigaction action = {.sa_handler = wake_up}; /* no SA_RESTART */
    struct itimerval timer = {.it_interval = {0, AGAIN_US},
                              .it_value = {ms / 1000, (ms % 1000 + 1) * 1000}};

    deadline_ns = deadline_clock() + ms * UINT64_C(1000000);
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
}

bool deadline_has_passed(void)
{
    return deadline_clock() >= deadline_ns;
}
