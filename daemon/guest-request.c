/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The queue of a guest's changes: see guest-request.h. */
#include "daemon/guest-request.h"

const struct request *guest_request(struct guest *guest)
{
    return g_queue_peek_head(&guest->requests);
}

void guest_request_retry(struct guest *guest)
{
    guest->again = guest->busy;
    if (guest->looping) {
        return; /* the loop below, further up the stack, goes on with it */
    }
    guest->looping = TRUE;
    while (guest->again) {
        guest->again = FALSE;
        guest_make_change(guest);
    }
    guest->looping = FALSE;
}

void guest_request_replace(struct guest *guest, const struct request *request)
{
    *(struct request *)g_queue_peek_head(&guest->requests) = *request;
    guest_request_retry(guest);
}

/* The first request is done with: its caller is told, and the next one starts. */
void guest_request_finish(struct guest *guest, const GError *error)
{
    g_autofree struct request *request = g_queue_pop_head(&guest->requests);

    guest_ref(guest);
    request->done(error, request->user_data);
    guest->busy = !guest->removed && !g_queue_is_empty(&guest->requests);
    guest_request_retry(guest);
    guest_unref(guest);
}

void guest_request_fail(struct guest *guest, HV_STATUS status, const char *reason)
{
    g_autoptr(GError) error = guest_error(guest, status, reason);

    guest_request_finish(guest, error);
}

void guest_fail_all(struct guest *guest, HV_STATUS status, const char *reason)
{
    g_autoptr(GError) error = guest_error(guest, status, reason);
    struct request *request;

    while ((request = g_queue_pop_head(&guest->requests)) != NULL) {
        request->done(error, request->user_data);
        g_free(request);
    }
    guest->busy = guest->again = FALSE;
}

struct call *call_new(struct guest *guest)
{
    struct call *call = g_new(struct call, 1);

    *call = (struct call){guest_ref(guest), guest->life};
    return call;
}

gboolean call_is_late(const struct call *call)
{
    return call->guest->removed || call->guest->life != call->life;
}

void call_free(struct call *call)
{
    guest_unref(call->guest);
    g_free(call);
}

void guest_request_add(struct guest *guest, const struct request *request)
{
    g_queue_push_tail(&guest->requests, g_memdup2(request, sizeof *request));
    if (!guest->busy) {
        guest->busy = TRUE;
        guest_ref(guest);
        guest_request_retry(guest);
        guest_unref(guest);
    }
}
