/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The time that one request may take: see deadline.h. */
#include "daemon/attach/deadline.h"

#include <signal.h>
#include <sys/time.h>
#include <time.h>

/* The first signal may come just before a call that waits; a later one meets it in there. */
#define AGAIN_US 20000

static uint64_t whole_ns, deadline_ns;

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

static void set(uint64_t at_ns)
{
    uint64_t now = deadline_clock(), us = at_ns > now ? (at_ns - now) / 1000 + 1 : 1;
    struct itimerval timer = {.it_interval = {0, AGAIN_US},
                              .it_value = {(time_t)(us / 1000000), (suseconds_t)(us % 1000000)}};

    deadline_ns = at_ns;
    setitimer(ITIMER_REAL, &timer, NULL);
}

void deadline_start(unsigned ms)
{
    struct sigaction action = {.sa_handler = wake_up}; /* no SA_RESTART */

    sigaction(SIGALRM, &action, NULL);
    whole_ns = deadline_clock() + ms * UINT64_C(1000000);
    set(whole_ns);
}

bool deadline_has_passed(void)
{
    return deadline_clock() >= deadline_ns;
}

void deadline_narrow(unsigned ms)
{
    uint64_t at_ns = deadline_clock() + ms * UINT64_C(1000000);

    set(at_ns < whole_ns ? at_ns : whole_ns);
}

void deadline_widen(void)
{
    set(whole_ns);
}
