/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How a guest's properties are changed: see guest.h and guest-request.h. */
#include "common/status.h"
#include "daemon/guest-request.h"

/* What was not made up by the end of a timer is given up: the next one's ticks are others. */
static void keep_counts(struct guest *guest, const struct ticker_counts *counts)
{
    guest->counts = *counts;
    guest->counts.skipped += counts->in_flight + counts->backlog;
    guest->counts.in_flight = guest->counts.backlog = 0;
    guest->counts.lost_ns = 0;
}

static void on_stopped(const struct engine_reading *last, gpointer user_data)
{
    struct call *call = user_data;

    if (!call_is_late(call)) {
        keep_counts(call->guest, &last->ticks);
        guest_tell_changed(call->guest);
        guest_request_finish(call->guest, NULL);
    }
    call_free(call);
}

/* A timer that does not run leaves nothing behind in a VM that was not handed over. */
static gboolean let_go(struct guest *guest)
{
    struct engine_reading reading;

    if (guest->delivery == NULL || guest->attacher.attach == NULL) {
        return FALSE;
    }
    guest_read(guest, &reading); /* to be shown until the last ones are known */
    keep_counts(guest, &reading.ticks);
    guest->partition.routed = false;
    delivery_end(g_steal_pointer(&guest->delivery), TRUE, on_stopped, call_new(guest));
    return TRUE;
}

void guest_commit(struct guest *guest)
{
    const struct partition_change *change = &guest->change;
    const struct request *request = guest_request(guest);

    partition_commit(&guest->partition, change);
    if (change->start && !guest_is_leased(guest)) {
        gboolean goes_on = request->start_ns != 0 && !delivery_injector(guest->delivery)->ticked_on;
        engine_start(delivery_timer(guest->delivery), goes_on ? request->start_ns : engine_clock(),
                     change->period);
    } else if (change->stop && guest->delivery != NULL) {
        engine_stop(delivery_timer(guest->delivery));
    }
    if (change->stop && let_go(guest)) {
        guest_tell_changed(guest);
        return;
    }
    /* Whoever has asked for it hears first. The main loop is still here, so that nobody gets to
     * read what was before. */
    guest_ref(guest);
    guest_request_finish(guest, NULL);
    guest_tell_changed(guest);
    guest_unref(guest);
}

static void on_routed(const GError *error, gpointer user_data)
{
    struct guest *guest = user_data;

    if (error != NULL && guest_is_leased(guest) && !guest->prefers_lapic) {
        g_message("partition %" G_GUINT64_FORMAT " (%s): %s", guest->identity.id,
                  guest->identity.name, error->message);
        guest_leave_lease(guest); /* and the change is tried again */
    } else if (error != NULL) {
        guest->partition.routed = false; /* who knows where it is now: to be made again */
        guest_request_fail(guest, HV_STATUS_INVALID_PARTITION_STATE, error->message);
    } else {
        guest_commit(guest);
    }
}

/* Nobody waits for what has come too late: it is put back. */
static gboolean drop_if_late(const struct call *call, struct injector *injector)
{
    gboolean late = call_is_late(call);

    if (late && injector != NULL) {
        injector->ops->free(injector);
    }
    return late;
}

static void on_attached(struct injector *injector, const GError *error, gpointer user_data)
{
    struct call *call = user_data;
    struct guest *guest = call->guest;

    if (drop_if_late(call, injector)) {
        /* its request has failed already */
    } else if (injector == NULL) {
        guest_request_fail(guest, hv_status_from_error(error), error->message);
    } else if (!guest_deliver_with(guest, injector, guest->change.control,
                                   guest_request(guest)->start_ns)) {
        guest_request_fail(guest, HV_STATUS_INSUFFICIENT_MEMORY, guest_engine_full);
    } else {
        guest->change.start = true;
        if (guest->uses_lapic || guest->policy.mode == TICKER_OBSERVE) {
            guest_become_paced(guest); /* it has become so while the lease was made */
        }
        guest_commit(guest);
    }
    call_free(call);
}

/* A guest that is suspended may be saved, so nothing is leased before it goes on. */
static void attach_suspended(struct guest *guest, struct guest_attach_wish *wish)
{
    g_strlcpy(guest->paused_injector, g_str_equal(wish->injector, "pin") ? "" : "auto",
              sizeof guest->paused_injector);
    if (g_str_equal(wish->injector, "lapic")) {
        wish->injector = "auto";
    }
    wish->paced = TRUE;
}

static void attach(struct guest *guest, const struct request *request)
{
    const char *asked = *request->injector != '\0' ? request->injector : guest->paused_injector;
    g_autofree char *injector = g_strdup(*asked != '\0' ? asked : "auto");
    struct guest_attach_wish wish = {.injector = injector,
                                     .paced =
                                         guest->uses_lapic || guest->policy.mode == TICKER_OBSERVE,
                                     .control = guest->change.control,
                                     .period = guest->change.period};

    if (!request->again && request->kind != CHANGE_RESET) {
        guest->prefers_lapic = g_str_equal(wish.injector, "lapic");
    }
    if (guest->state == GUEST_PAUSED) {
        attach_suspended(guest, &wish);
    }
    guest->attacher.attach(&wish, on_attached, call_new(guest), guest->attacher.user_data);
}

static const char *reason_for(HV_STATUS status)
{
    switch (status) {
    case HV_STATUS_UNKNOWN_PROPERTY:
        return "there is no such property; 0x30000 is EmulatedTimerPeriod, 0x30001 "
               "EmulatedTimerControl";
    case HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE:
        return "the period is shorter or longer than the configuration allows (limits.period_min "
               "and period_max); give one within them, or change them";
    case HV_STATUS_INVALID_PARAMETER:
        return "the control has a vector below 16, a delivery mode other than fixed (0) and lowest "
               "priority (1), reserved bits set, or a destination above 255, which only a VMM "
               "that routes by MSI takes";
    default:
        return "the change is not possible";
    }
}

static HV_STATUS plan(struct guest *guest, const struct request *request)
{
    const struct partition_limits *limits = &guest->settings->limits;

    switch (request->kind) {
    case CHANGE_PROPERTY:
        return partition_set(&guest->partition, limits, request->code, request->value,
                             &guest->change);
    case CHANGE_BOTH:
        return partition_set_both(&guest->partition, limits, request->period, request->value,
                                  &guest->change);
    case CHANGE_RESET:
    default:
        partition_reset(&guest->partition, guest->settings->keep_on_reset, &guest->change);
        return HV_STATUS_SUCCESS;
    }
}

/* An injector that can't be the one asked for, as that which delivers is another. */
static gboolean wants_another(const struct guest *guest, const struct request *request)
{
    const char *wanted = request->injector;

    return guest->delivery != NULL && *wanted != '\0' && !g_str_equal(wanted, "auto") &&
           !g_str_equal(wanted, delivery_injector(guest->delivery)->ops->name);
}

static void refuse_another(struct guest *guest, const struct request *request)
{
    g_autofree char *reason = g_strdup_printf(
        "its ticks can't go by \"%s\" now, only by \"%s\"; %s", request->injector,
        delivery_injector(guest->delivery)->ops->name,
        guest->attacher.attach != NULL ? "`hvtimerctl disable` it first" : "give that, or auto");

    guest_request_fail(guest, HV_STATUS_INVALID_PARTITION_STATE, reason);
}

static void on_forgotten(const struct engine_reading *last, gpointer user_data)
{
    struct call *call = user_data;

    if (!call_is_late(call)) {
        keep_counts(call->guest, &last->ticks);
        guest_request_retry(call->guest);
    }
    call_free(call);
}

/* The route went with the reset. What a VMM has handed over it will route again; what was borrowed
 * is gone, and with it the tick in flight and the backlog. A lease is given back, should it have
 * outlived the reset, before anything is borrowed anew. TRUE: the request is begun once more then.
 */
static gboolean forget_route(struct guest *guest)
{
    struct engine_reading reading;

    if (guest->delivery == NULL || guest->attacher.attach == NULL) {
        return FALSE;
    }
    guest_read(guest, &reading); /* to be shown until the last ones are known */
    keep_counts(guest, &reading.ticks);
    guest->partition.routed = false;
    delivery_end(g_steal_pointer(&guest->delivery), FALSE, on_forgotten, call_new(guest));
    return TRUE;
}

/* ---- supervision ---- */

static void fail_supervision(struct guest *guest, HV_STATUS status, const char *reason)
{
    guest_base_forget(guest);
    guest_tell_changed(guest);
    guest_request_fail(guest, status, reason);
}

static void on_watched(struct injector *injector, const GError *error, gpointer user_data)
{
    struct call *call = user_data;
    struct guest *guest = call->guest;

    if (drop_if_late(call, injector)) {
        /* its request has failed already */
    } else if (injector == NULL) {
        fail_supervision(guest, hv_status_from_error(error), error->message);
    } else if (!guest_deliver_with(guest, injector, 0, 0)) {
        fail_supervision(guest, HV_STATUS_INSUFFICIENT_MEMORY, guest_engine_full);
    } else {
        guest_update_supervision(guest);
        guest_request_finish(guest, NULL);
    }
    call_free(call);
}

static void end_supervision(struct guest *guest)
{
    gboolean letting_go = let_go(guest);

    guest_base_forget(guest);
    guest_tell_changed(guest);
    if (!letting_go) {
        guest_request_finish(guest, NULL);
    }
}

static void supervise(struct guest *guest, const struct supervision *wanted)
{
    struct supervision *now = &guest->base.supervision;

    if (wanted->mode == SUPERVISION_OFF) {
        if (guest_is_supervised(guest) &&
            (wanted->timer == BASE_TIMER_NONE || wanted->timer == now->timer)) {
            end_supervision(guest);
        } else {
            guest_request_finish(guest, NULL);
        }
    } else if (guest->attacher.watch == NULL) {
        guest_request_fail(guest, HV_STATUS_INVALID_PARTITION_STATE,
                           "it has no timer that could be watched: only guests of QEMU have; "
                           "`hvtimerctl enable` gives it one");
    } else if (guest_is_supervised(guest) && now->timer != wanted->timer) {
        guest_request_fail(
            guest, HV_STATUS_OBJECT_IN_USE,
            "its other timer is watched already: `hvtimerctl rtc DOMAIN off` or `hvtimerctl pit "
            "DOMAIN off` first");
    } else if (guest_is_supervised(guest)) {
        *now = *wanted;
        guest_update_supervision(guest);
        guest_request_finish(guest, NULL);
    } else if (guest->delivery != NULL || partition_runs(&guest->partition)) {
        guest_request_fail(
            guest, HV_STATUS_OBJECT_IN_USE,
            "its timer runs, and a partition has one only: `hvtimerctl disable` it first");
    } else {
        *now = *wanted;
        guest->attacher.watch(wanted->timer, on_watched, call_new(guest),
                              guest->attacher.user_data);
    }
}

/* What the properties are is found, not set. True: this change was dealt with here. */
static gboolean change_supervised(struct guest *guest, const struct request *request)
{
    if (request->kind == CHANGE_SUPERVISE) {
        supervise(guest, &request->supervision);
    } else if (!guest_is_supervised(guest)) {
        return FALSE;
    } else if (request->kind == CHANGE_RESET) {
        guest_base_was_reset(guest);
        guest_request_finish(guest, NULL);
    } else {
        guest_request_fail(
            guest, HV_STATUS_OBJECT_IN_USE,
            "its own timer is watched, and a partition has one only: `hvtimerctl rtc DOMAIN off` "
            "(or pit) first");
    }
    return TRUE;
}

static void make_paced(struct guest *guest)
{
    if (guest_is_leased(guest)) {
        guest_leave_lease(guest);
    } else {
        guest_request_finish(guest, NULL);
    }
}

static void change_properties(struct guest *guest, const struct request *request)
{
    if (request->kind == CHANGE_RESET) {
        guest->uses_lapic = FALSE; /* another system may boot now */
        if (forget_route(guest)) {
            return;
        }
    }
    HV_STATUS status = plan(guest, request);
    if (status != HV_STATUS_SUCCESS) {
        guest_request_fail(guest, status, reason_for(status));
    } else if (wants_another(guest, request)) {
        refuse_another(guest, request);
    } else if (guest->change.stop && guest_is_leased(guest)) {
        guest_leave_lease(guest); /* it stops first, and is heard until it has */
    } else if (!guest->change.route && !(guest->change.start && guest_is_leased(guest))) {
        guest_commit(guest);
    } else if (guest->delivery == NULL) {
        attach(guest, request);
    } else {
        struct period none = {.numerator = 0, .denominator = 1};
        delivery_route(guest->delivery, guest->change.control,
                       guest->change.start ? guest->change.period : none, on_routed, guest);
    }
}

void guest_make_change(struct guest *guest)
{
    const struct request *request = guest_request(guest);

    if (guest->state == GUEST_OFF) {
        guest_request_fail(guest, HV_STATUS_INVALID_PARTITION_STATE,
                           "its VM does not run; start it first");
    } else if (request->kind == CHANGE_LET_GO) {
        guest_make_let_go(guest);
    } else if (request->kind == CHANGE_HAVE_AGAIN) {
        guest_make_have_again(guest);
    } else if (request->kind == CHANGE_PACED) {
        make_paced(guest);
    } else if (!change_supervised(guest, request)) {
        change_properties(guest, request);
    }
}

/* ---- what can be asked for ---- */

void guest_set_property(struct guest *guest, uint32_t code, uint64_t value, guest_done_func done,
                        gpointer user_data)
{
    guest_request_add(guest, &(struct request){.kind = CHANGE_PROPERTY,
                                               .code = code,
                                               .value = value,
                                               .done = done,
                                               .user_data = user_data});
}

void guest_enable(struct guest *guest, struct period period, uint64_t control, const char *injector,
                  guest_done_func done, gpointer user_data)
{
    struct request request = {.kind = CHANGE_BOTH,
                              .value = control,
                              .period = period,
                              .done = done,
                              .user_data = user_data};

    g_strlcpy(request.injector, injector, sizeof request.injector);
    guest_request_add(guest, &request);
}

gboolean guest_check_values(const struct guest *guest, struct period period, uint64_t control,
                            GError **error)
{
    struct partition_change change;
    HV_STATUS status =
        partition_set_both(&guest->partition, &guest->settings->limits, period, control, &change);

    if (status != HV_STATUS_SUCCESS) {
        g_propagate_error(error, guest_error(guest, status, reason_for(status)));
    }
    return status == HV_STATUS_SUCCESS;
}

void guest_reset(struct guest *guest, guest_done_func done, gpointer user_data)
{
    if (guest->delivery != NULL) {
        engine_guest_reset(delivery_timer(guest->delivery));
    }
    guest_request_add(
        guest, &(struct request){.kind = CHANGE_RESET, .done = done, .user_data = user_data});
}
void guest_supervise(struct guest *guest, const struct supervision *supervision,
                     guest_done_func done, gpointer user_data)
{
    guest_request_add(guest, &(struct request){.kind = CHANGE_SUPERVISE,
                                               .supervision = *supervision,
                                               .done = done,
                                               .user_data = user_data});
}
