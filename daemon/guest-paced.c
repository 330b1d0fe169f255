/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A guest's way from a leased timer to ticks that the daemon raises, by the pin that is borrowed
 * already: no tick is lost by it, and none comes twice. See guest-private.h.
 */
#include "common/status.h"
#include "daemon/guest-request.h"

/* How long a tick that was pending when the lease ended may take to be acknowledged. */
#define LAST_TICKS_MS 100

gboolean guest_is_leased(const struct guest *guest)
{
    return guest->delivery != NULL && delivery_injector(guest->delivery)->started_ns != 0;
}

struct pacing {
    struct call *call;
    struct injector *paced;
    uint64_t ended_ns; /* the lease */
};

static unsigned pending;

unsigned guest_paced_pending(void)
{
    return pending;
}

/* Of a leased timer, what is "in flight" is only late, if not lost. */
void guest_keep_leased_counts(struct guest *guest, const struct ticker_counts *counts)
{
    guest->counts = *counts;
    guest->counts.backlog += counts->in_flight;
    guest->counts.in_flight = 0;
}

/* Is the request that is being made one to end the timer? */
static gboolean is_stop(struct guest *guest)
{
    enum change_kind kind = guest_request(guest)->kind;

    return (kind == CHANGE_PROPERTY || kind == CHANGE_BOTH) && guest->change.stop;
}

/* Of a timer that ends, none was due any more from the end of its lease on. */
static void take_back_due(struct guest *guest, uint64_t since_ns)
{
    struct period period = guest->partition.period;
    uint64_t ticks = (uint64_t)((double)(engine_clock() - since_ns) * (double)period.denominator /
                                (double)period.numerator);

    ticks = MIN(ticks, guest->counts.backlog);
    guest->counts.backlog -= ticks;
    guest->counts.due -= ticks;
}

/* The schedule goes on where the leased timer's was. */
static void on_lease_left(const struct engine_reading *last, gpointer user_data)
{
    g_autofree struct pacing *pacing = user_data;
    struct guest *guest = pacing->call->guest;

    if (call_is_late(pacing->call)) {
        pacing->paced->ops->free(pacing->paced);
        call_free(pacing->call);
        return;
    }
    guest_keep_leased_counts(guest, &last->ticks);
    if (guest->state == GUEST_PAUSED && pacing->paced->unseen > 0 && guest->counts.backlog > 0) {
        guest->counts.backlog--; /* one waits in the guest, and nobody will hear of it */
        guest->counts.acknowledged++;
    }
    gboolean ends = is_stop(guest);
    if (ends) {
        take_back_due(guest, pacing->ended_ns);
    }
    if (guest_deliver_with(guest, pacing->paced, guest->partition.control, 0)) {
        engine_start(delivery_timer(guest->delivery),
                     last->began_ns != 0 && !ends ? last->began_ns : engine_clock(),
                     guest->partition.period);
        guest_tell_changed(guest);
        guest_request_retry(guest); /* what it was for */
    } else {
        guest->partition.routed = false;
        guest_request_fail(guest, HV_STATUS_INSUFFICIENT_MEMORY, guest_engine_full);
    }
    call_free(pacing->call);
}

static void replace_leased(struct call *call, struct injector *paced, uint64_t ended_ns)
{
    struct guest *guest = call->guest;
    struct pacing *pacing = g_new(struct pacing, 1);
    struct engine_reading reading;

    guest_read(guest, &reading); /* to be shown until the last ones are known */
    guest_keep_leased_counts(guest, &reading.ticks);
    *pacing = (struct pacing){call, paced, ended_ns};
    delivery_end(g_steal_pointer(&guest->delivery), FALSE, on_lease_left, pacing);
}

static void on_taken(struct pacing *pacing)
{
    struct call *call = pacing->call;
    struct injector *paced = pacing->paced;
    uint64_t ended_ns = pacing->ended_ns;

    g_free(pacing);
    if (call_is_late(call) || call->guest->delivery == NULL) {
        paced->ops->free(paced);
        call_free(call);
    } else {
        replace_leased(call, paced, ended_ns);
    }
}

static gboolean on_taken_by_now(gpointer user_data)
{
    pending--;
    on_taken(user_data);
    return G_SOURCE_REMOVE;
}

/* The last ticks of the lease are counted as its own: one that is acknowledged later would be
 * taken for a tick that is raised anew. A guest that is suspended takes none. */
static void await_last_ticks(struct pacing *pacing)
{
    struct guest *guest = pacing->call->guest;

    if (pacing->paced->unseen > 0 && guest->state != GUEST_PAUSED) {
        pending++;
        g_timeout_add(LAST_TICKS_MS, on_taken_by_now, pacing);
    } else {
        on_taken(pacing);
    }
}

static void on_paced(struct injector *paced, const GError *error, gpointer user_data)
{
    struct call *call = user_data;
    struct guest *guest = call->guest;

    if (paced != NULL) {
        struct pacing *pacing = g_new(struct pacing, 1);
        *pacing = (struct pacing){call, paced, engine_clock()};
        await_last_ticks(pacing);
        return;
    }
    if (!call_is_late(call) && guest->delivery != NULL) {
        engine_release(delivery_timer(guest->delivery), 0);
        if (is_stop(guest)) {
            guest_commit(guest); /* what is left of the lease goes with its injector */
        } else {
            guest_request_fail(guest, hv_status_from_error(error), error->message);
        }
    }
    call_free(call);
}

/* Held from here on: none is topped up that would be pending at the end. */
void guest_leave_lease(struct guest *guest)
{
    struct injector *injector = delivery_injector(guest->delivery);

    engine_hold(delivery_timer(guest->delivery));
    injector->ops->become_paced(injector, on_paced, call_new(guest));
}

static void on_become_paced(const GError *error, gpointer user_data)
{
    struct guest *guest = user_data;

    if (error != NULL) {
        g_warning("its ticks can't go by a borrowed pin alone: %s", error->message);
    }
    guest_unref(guest);
}

void guest_become_paced(struct guest *guest)
{
    if (guest_is_leased(guest)) {
        guest_request_add(guest, &(struct request){.kind = CHANGE_PACED,
                                                   .done = on_become_paced,
                                                   .user_data = guest_ref(guest)});
    }
}
