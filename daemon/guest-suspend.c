/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What of a guest is let go of, and had again: when it is suspended, and when the daemon was
 * restarted. See guest-private.h and guest.h.
 */
#include "daemon/guest-request.h"

static void on_let_go_done(const GError *error, gpointer user_data)
{
    struct guest *guest = user_data;

    if (error != NULL && guest->state == GUEST_PAUSED) {
        g_warning("the guest is suspended with what was borrowed of it: %s", error->message);
    }
    guest_unref(guest);
}

void guest_let_go_suspended(struct guest *guest)
{
    guest->paused_ns = engine_clock();
    guest_request_add(guest, &(struct request){.kind = CHANGE_LET_GO,
                                               .done = on_let_go_done,
                                               .user_data = guest_ref(guest)});
}

static void on_let_go(const struct engine_reading *last, gpointer user_data)
{
    struct call *call = user_data;

    if (!call_is_late(call)) {
        call->guest->counts = last->ticks;
        guest_request_finish(call->guest, NULL);
    }
    call_free(call);
}

static void let_go(struct guest *guest, gboolean gently, delivery_ended_func ended)
{
    struct engine_reading reading;

    guest_read(guest, &reading); /* to be shown until the last ones are known */
    guest->counts = reading.ticks;
    guest->partition.routed = false;
    delivery_end(g_steal_pointer(&guest->delivery), gently, ended, call_new(guest));
}

/* A lease is left in two steps, so that every tick is heard: the guest may go on at any moment.
 * Then ticks go by the pin, until the lease is had again. */
void guest_make_let_go(struct guest *guest)
{
    if (guest->state != GUEST_PAUSED || guest->delivery == NULL || guest->attacher.attach == NULL ||
        guest_is_supervised(guest)) {
        guest_request_finish(guest, NULL);
    } else if (guest_is_leased(guest)) {
        g_strlcpy(guest->paused_injector, "auto", sizeof guest->paused_injector);
        guest_leave_lease(guest);
    } else {
        if (*guest->paused_injector == '\0') {
            g_strlcpy(guest->paused_injector, delivery_injector(guest->delivery)->ops->name,
                      sizeof guest->paused_injector);
        }
        let_go(guest, FALSE, on_let_go);
    }
}

static void on_had_again(const GError *error, gpointer user_data)
{
    struct guest *guest = user_data;

    if (error != NULL) {
        g_warning("what was set before the suspend can't be had again: %s", error->message);
    }
    guest_unref(guest);
}

void guest_resume_suspended(struct guest *guest)
{
    guest_request_add(guest, &(struct request){.kind = CHANGE_HAVE_AGAIN,
                                               .start_ns = guest->policy.catch_up_suspends
                                                               ? guest->paused_ns
                                                               : engine_clock(),
                                               .done = on_had_again,
                                               .user_data = guest_ref(guest)});
}

static void have_again(struct guest *guest, uint64_t start_ns)
{
    struct request request = *guest_request(guest);

    request.kind = CHANGE_BOTH;
    request.value = guest->partition.control;
    request.period = guest->partition.period;
    request.start_ns = start_ns;
    request.again = TRUE;
    g_strlcpy(request.injector, guest->paused_injector, sizeof request.injector);
    *guest->paused_injector = '\0';
    guest_request_replace(guest, &request);
}

/* The schedule goes on where the pin's was. */
static void on_pin_left(const struct engine_reading *last, gpointer user_data)
{
    struct call *call = user_data;

    if (!call_is_late(call)) {
        call->guest->counts = last->ticks;
        have_again(call->guest, last->began_ns);
    }
    call_free(call);
}

void guest_make_have_again(struct guest *guest)
{
    if (*guest->paused_injector == '\0' || guest_is_leased(guest) ||
        !partition_runs(&guest->partition)) {
        *guest->paused_injector = '\0';
        guest_request_finish(guest, NULL);
    } else if (guest->delivery == NULL) {
        have_again(guest, guest_request(guest)->start_ns);
    } else {
        let_go(guest, TRUE, on_pin_left);
    }
}

struct resume {
    struct guest *guest;
    struct guest_memory *memory;
};

static void on_resumed(const GError *error, gpointer user_data)
{
    g_autofree struct resume *resume = user_data;

    resume->memory->pending = FALSE;
    if (error != NULL) {
        g_warning("what was set before the daemon was restarted can't be had again: %s",
                  error->message);
    }
    guest_tell_changed(resume->guest);
    guest_unref(resume->guest);
}

void guest_resume(struct guest *guest, struct guest_memory *memory)
{
    struct resume *resume = g_new(struct resume, 1);
    struct request request = {.kind = CHANGE_BOTH,
                              .value = memory->control,
                              .period = memory->period,
                              .start_ns = memory->start_ns,
                              .again = TRUE,
                              .done = on_resumed,
                              .user_data = resume};

    *resume = (struct resume){guest_ref(guest), memory};
    if (memory->supervision.mode != SUPERVISION_OFF) {
        guest->partition.period = memory->period; /* that the counts are of */
        guest_supervise(guest, &memory->supervision, on_resumed, resume);
        return;
    }
    if (memory->period.numerator == 0) {
        guest_set_property(guest, HvPartitionPropertyEmulatedTimerControl, memory->control,
                           on_resumed, resume);
        return;
    }
    /* Whether a lease was asked for or only found possible, nobody knows any more. */
    g_strlcpy(request.injector, g_str_equal(memory->injector, "lapic") ? "auto" : memory->injector,
              sizeof request.injector);
    guest_request_add(guest, &request);
}
