/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The part of the engine's real-time thread that hears what guests have taken. Plain C, as
 * engine-loop.c.
 *
 * A tick that goes out has to know whether the one before it was taken. To read an eventfd for each
 * costs more than to raise it. So all of them are in an epoll of their own, edge-triggered: one
 * call tells of many, and nobody sleeps in it, so that an EOI wakes up nobody. Only a tick that
 * can't go for want of an EOI is worth a wake-up: its descriptor is then in the epoll that the loop
 * sleeps in, too.
 */
#include "daemon/engine-private.h"

#include <sys/epoll.h>

#define HEARD 256

void engine_acks_add(struct engine_thread *e, struct engine_timer *t)
{
    struct epoll_event edge = {.events = EPOLLIN | EPOLLET, .data.ptr = t};
    struct epoll_event level = {.events = 0, .data.ptr = t};
    int fd = t->injector->ack_fd;

    t->in_epoll = fd >= 0 && epoll_ctl(e->epoll_fd, EPOLL_CTL_ADD, fd, &level) == 0;
    if (t->in_epoll && epoll_ctl(e->ack_epoll_fd, EPOLL_CTL_ADD, fd, &edge) != 0) {
        epoll_ctl(e->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
        t->in_epoll = false; /* it is polled */
    }
}

void engine_acks_remove(struct engine_thread *e, struct engine_timer *t)
{
    if (t->in_epoll) {
        epoll_ctl(e->epoll_fd, EPOLL_CTL_DEL, t->injector->ack_fd, NULL);
        epoll_ctl(e->ack_epoll_fd, EPOLL_CTL_DEL, t->injector->ack_fd, NULL);
    }
}

/* Each descriptor is told of once a call, however often a VMM writes to it. */
static int hear_some(struct engine_thread *e)
{
    struct epoll_event events[HEARD];
    int n = epoll_wait(e->ack_epoll_fd, events, HEARD, 0);

    for (int i = 0; i < n; i++) {
        struct engine_timer *t = events[i].data.ptr;
        t->acked = true;
        t->heard++;
    }
    return n;
}

static bool hear(struct engine_thread *e, const struct engine_timer *t)
{
    for (unsigned calls = 0; !t->acked && calls <= e->capacity / HEARD; calls++) {
        if (hear_some(e) < HEARD) {
            break;
        }
    }
    return t->acked;
}

static uint64_t heard(struct engine_thread *e, struct engine_timer *t)
{
    uint64_t n = hear(e, t);

    t->acked = false;
    return n;
}

void engine_acks_take(struct engine_thread *e, struct engine_timer *t, uint64_t now)
{
    struct ticker *ticker = &t->now.ticker;
    const struct injector_ops *ops = t->injector->ops;

    if (ops->acknowledged == NULL || (ticker->counts.in_flight == 0 && !ticker->feedback_lost)) {
        return;
    }
    uint64_t n = t->in_epoll ? heard(e, t) : ops->acknowledged(t->injector, now);
    /* One that nobody waited for may have come at any time. */
    ticker_acknowledge(ticker, n, t->ack_needed ? now : ticker->unanswered_ns);
    t->ack_needed = t->ack_needed && n == 0;
}

/* The descriptor's count still has all that was heard of by its edges. It is read, so that only
 * what comes from here on wakes the engine up; and what comes just before that is in it on top. */
static bool has_come(struct engine_thread *e, struct engine_timer *t)
{
    if (!hear(e, t)) {
        t->acked = t->injector->ops->acknowledged(t->injector, engine_clock()) > t->heard;
        t->heard = 0;
    }
    return t->acked;
}

bool engine_acks_await(struct engine_thread *e, struct engine_timer *t)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.ptr = t};

    t->ack_needed = true;
    if (!t->in_epoll || t->ack_awaited) {
        return false;
    }
    if (has_come(e, t)) {
        return true;
    }
    epoll_ctl(e->epoll_fd, EPOLL_CTL_MOD, t->injector->ack_fd, &event);
    t->ack_awaited = true;
    return false;
}
