/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Counts KVM's trace event kvm_hv_timer_state of one vCPU: see hv-timer.h. */
#include "daemon/base-timer/hv-timer.h"

#include "daemon/base-timer/kvm-event.h"
#include <unistd.h>

#define SECOND_NS UINT64_C(1000000000)

/* ---- The decision ---- */

void hv_timer_verdict_init(struct hv_timer_verdict *verdict, const struct hv_timer_counts *now)
{
    *verdict = (struct hv_timer_verdict){*now, *now, HV_TIMER_UNKNOWN};
}

/*
 * A periodic timer (arch/x86/kvm/lapic.c, kvm_lapic_expired_hv_timer(), start_hv_timer() and
 * start_sw_timer()): "on" at each tick that came by the preemption timer, as it is set for the next
 * one; "off" when the vCPU goes to sleep, for then an hrtimer stands in, and "on" when it runs
 * again; on an hrtimer, once "off" as it is started. So on - off ticks came by the preemption
 * timer. If those are more than the sleeps, most ticks did: a sleep ends with at most one of the
 * hrtimer's.
 */
enum hv_timer_use hv_timer_verdict_feed(struct hv_timer_verdict *verdict,
                                        const struct hv_timer_counts *now)
{
    if (now->ns - verdict->newer.ns >= SECOND_NS) {
        verdict->older = verdict->newer;
        verdict->newer = *now;
    }
    uint64_t on = now->on - verdict->older.on;
    uint64_t off = now->off - verdict->older.off;
    if (on > 2 * off) {
        verdict->use = HV_TIMER_USED;
    } else if (on + off > 0) {
        verdict->use = HV_TIMER_NOT_USED;
    }
    return verdict->use;
}

/* ---- The counting ---- */

/* As they come in a row. */
enum { OFF, ON, STATES };

struct hv_timer {
    GArray *fds[STATES]; /* int: a perf event for each thread */
    struct hv_timer_verdict verdict;
};

static void close_fd(gpointer data)
{
    kvm_event_close(*(int *)data);
}

/* FALSE: some can't be read. */
static gboolean sum(const GArray *fds, uint64_t *ret_sum)
{
    *ret_sum = 0;
    for (unsigned i = 0; i < fds->len; i++) {
        uint64_t counted;
        if (read(g_array_index(fds, int, i), &counted, sizeof(counted)) != sizeof(counted)) {
            return FALSE;
        }
        *ret_sum += counted;
    }
    return TRUE;
}

static uint64_t now_ns(void)
{
    return (uint64_t)g_get_monotonic_time() * 1000;
}

struct attach_job hv_timer_job(unsigned vcpu)
{
    return (struct attach_job){.kind = ATTACH_TRACE, .trace = ATTACH_TRACE_HV_TIMER, .vcpu = vcpu};
}

struct hv_timer *hv_timer_new(struct attach_result *opened)
{
    struct hv_timer *timer = g_new0(struct hv_timer, 1);

    hv_timer_verdict_init(&timer->verdict, &(struct hv_timer_counts){.ns = now_ns()});
    for (unsigned state = OFF; state < STATES; state++) {
        timer->fds[state] = g_array_new(FALSE, FALSE, sizeof(int));
        g_array_set_clear_func(timer->fds[state], close_fd);
        for (unsigned i = 0; i < kvm_event_rows(opened, STATES); i++) {
            int fd = kvm_event_take(opened, i * STATES + state);
            g_array_append_val(timer->fds[state], fd);
            kvm_event_enable(fd);
        }
    }
    return timer;
}

void hv_timer_free(struct hv_timer *timer)
{
    if (timer != NULL) {
        for (unsigned state = OFF; state < STATES; state++) {
            g_array_unref(timer->fds[state]);
        }
        g_free(timer);
    }
}

enum hv_timer_use hv_timer_read(struct hv_timer *timer)
{
    struct hv_timer_counts counts = {.ns = now_ns()};

    if (sum(timer->fds[ON], &counts.on) && sum(timer->fds[OFF], &counts.off)) {
        return hv_timer_verdict_feed(&timer->verdict, &counts);
    }
    return timer->verdict.use;
}
