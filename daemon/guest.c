/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One partition as the daemon keeps it: see guest.h. */
#include "daemon/guest.h"

#include "common/status.h"

/* How long a tick in flight may take to be acknowledged before its route is changed under it. It
 * is not lost then: it is pending in the guest's local APIC, only its EOI won't be seen. */
#define DRAIN_MS 100

enum change_kind {
    CHANGE_PROPERTY,
    CHANGE_BOTH,
    CHANGE_RESET,
};

/* A change that waits for its turn, or is being made. */
struct request {
    enum change_kind kind;
    uint32_t code;
    uint64_t value; /* of CHANGE_BOTH: the control */
    struct period period;
    guest_done_func done;
    gpointer user_data;
};

struct guest {
    struct guest_identity identity;
    gatomicrefcount references; /* the owner, the timer, a route being made */
    gboolean removed;
    gboolean running;
    const struct guest_settings *settings;
    struct partition partition;
    struct ticker_policy policy;
    struct injector *injector;
    struct engine_timer *timer;
    guest_changed_func changed;
    gpointer user_data;

    GQueue requests; /* if `busy`, the first one is being made */
    gboolean busy;
    struct partition_change change; /* of the first one, while its route is made */
    guint drain_source;             /* waiting for a tick in flight */
};

static void start_first(struct guest *guest);

static void guest_unref(struct guest *guest)
{
    if (g_atomic_ref_count_dec(&guest->references)) {
        g_free((char *)guest->identity.name);
        g_free((char *)guest->identity.uuid);
        g_free(guest);
    }
}

static struct guest *guest_ref(struct guest *guest)
{
    g_atomic_ref_count_inc(&guest->references);
    return guest;
}

static void tell_changed(struct guest *guest)
{
    if (!guest->removed) {
        guest->changed(guest, guest->user_data);
    }
}

/* ---- the queue of changes ---- */

/* The first request is done with: its caller is told, and the next one starts. */
static void finish(struct guest *guest, const GError *error)
{
    g_autofree struct request *request = g_queue_pop_head(&guest->requests);

    guest_ref(guest);
    request->done(error, request->user_data);
    guest->busy = !guest->removed && !g_queue_is_empty(&guest->requests);
    if (guest->busy) {
        start_first(guest);
    }
    guest_unref(guest);
}

static void fail(struct guest *guest, HV_STATUS status, const char *reason)
{
    g_autoptr(GError) error =
        g_error_new(HV_STATUS_ERROR, status, "partition %" G_GUINT64_FORMAT " (%s): %s",
                    guest->identity.id, guest->identity.name, reason);
    finish(guest, error);
}

static void commit(struct guest *guest)
{
    const struct partition_change *change = &guest->change;

    partition_commit(&guest->partition, change);
    if (change->start) {
        engine_start(guest->timer, engine_clock(), change->period);
    } else if (change->stop) {
        engine_stop(guest->timer);
    }
    tell_changed(guest);
    finish(guest, NULL);
}

static void on_routed(const GError *error, gpointer user_data)
{
    struct guest *guest = user_data;

    if (!guest->removed) {
        engine_release(guest->timer, error == NULL);
        if (error != NULL) {
            fail(guest, HV_STATUS_INVALID_PARTITION_STATE, error->message);
        } else {
            commit(guest);
        }
    }
    guest_unref(guest);
}

static void make_route(struct guest *guest)
{
    g_clear_handle_id(&guest->drain_source, g_source_remove);
    guest->injector->ops->set_route(guest->injector, guest->change.control, on_routed,
                                    guest_ref(guest));
}

static gboolean on_drain_timeout(gpointer user_data)
{
    struct guest *guest = user_data;

    guest->drain_source = 0;
    make_route(guest);
    return G_SOURCE_REMOVE;
}

static const char *reason_for(HV_STATUS status)
{
    switch (status) {
    case HV_STATUS_UNKNOWN_PROPERTY:
        return "there is no such property; 0x30000 is EmulatedTimerPeriod, 0x30001 "
               "EmulatedTimerControl";
    case HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE:
        return "the period is shorter or longer than the configuration allows (limits.period_min "
               "and period_max)";
    case HV_STATUS_INVALID_PARAMETER:
        return "the control has a vector below 16, a delivery mode other than fixed (0) and lowest "
               "priority (1), or reserved bits set";
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

static void start_first(struct guest *guest)
{
    HV_STATUS status = plan(guest, g_queue_peek_head(&guest->requests));

    if (status != HV_STATUS_SUCCESS) {
        fail(guest, status, reason_for(status));
    } else if (guest->change.route) {
        guest->drain_source = g_timeout_add(DRAIN_MS, on_drain_timeout, guest);
        engine_hold(guest->timer);
    } else {
        commit(guest);
    }
}

static void enqueue(struct guest *guest, const struct request *request)
{
    g_queue_push_tail(&guest->requests, g_memdup2(request, sizeof *request));
    if (!guest->busy) {
        guest->busy = TRUE;
        start_first(guest);
    }
}

/* ---- events of the engine ---- */

static void on_feedback_lost(struct guest *guest)
{
    g_warning("partition %" G_GUINT64_FORMAT " (%s): the platform reports no EOIs, so the ticks "
              "that the guest misses can't be seen: open loop",
              guest->identity.id, guest->identity.name);
    tell_changed(guest);
}

static void on_engine_event(enum engine_event event, gpointer user_data)
{
    struct guest *guest = user_data;

    switch (event) {
    case ENGINE_HELD:
        if (!guest->removed && guest->drain_source != 0) {
            make_route(guest);
        }
        break;
    case ENGINE_SKIPPED:
        g_message("partition %" G_GUINT64_FORMAT " (%s): missed ticks are older than the limit of "
                  "%u ms; they are skipped",
                  guest->identity.id, guest->identity.name, guest->policy.limit_ms);
        break;
    case ENGINE_FEEDBACK_LOST:
        on_feedback_lost(guest);
        break;
    case ENGINE_REMOVED:
        guest->injector->ops->free(guest->injector);
        guest->injector = NULL;
        guest_unref(guest);
        break;
    }
}

/* ---- life ---- */

struct guest *guest_new(const struct guest_identity *identity, struct engine *engine,
                        struct injector *injector, const struct guest_settings *settings,
                        guest_changed_func changed, gpointer user_data, GError **error)
{
    struct guest *guest = g_new0(struct guest, 1);

    guest->timer = engine_add(engine, injector, &settings->policy, on_engine_event, guest);
    if (guest->timer == NULL) {
        g_set_error_literal(error, HV_STATUS_ERROR, HV_STATUS_INSUFFICIENT_MEMORY,
                            "there are as many partitions as configured (limits.partitions)");
        injector->ops->free(injector);
        g_free(guest);
        return NULL;
    }
    guest->identity = *identity;
    guest->identity.name = g_strdup(identity->name);
    guest->identity.uuid = g_strdup(identity->uuid);
    g_atomic_ref_count_init(&guest->references);
    guest_ref(guest); /* the timer's, until ENGINE_REMOVED */
    guest->running = TRUE;
    guest->settings = settings;
    guest->policy = settings->policy;
    guest->injector = injector;
    guest->changed = changed;
    guest->user_data = user_data;
    partition_init(&guest->partition, injector->wide_mda);
    return guest;
}

void guest_remove(struct guest *guest)
{
    g_autoptr(GError) error = g_error_new(HV_STATUS_ERROR, HV_STATUS_INVALID_PARTITION_ID,
                                          "partition %" G_GUINT64_FORMAT " (%s) has ended",
                                          guest->identity.id, guest->identity.name);
    g_autofree struct request *request = NULL;

    guest->removed = TRUE;
    g_clear_handle_id(&guest->drain_source, g_source_remove);
    while ((request = g_queue_pop_head(&guest->requests)) != NULL) {
        request->done(error, request->user_data);
        g_clear_pointer(&request, g_free);
    }
    engine_remove(guest->timer);
    guest_unref(guest);
}

/* ---- what can be asked ---- */

const struct guest_identity *guest_identity(const struct guest *guest)
{
    return &guest->identity;
}

const struct partition *guest_partition(const struct guest *guest)
{
    return &guest->partition;
}

const struct ticker_policy *guest_policy(const struct guest *guest)
{
    return &guest->policy;
}

struct injector *guest_injector(struct guest *guest)
{
    return guest->injector;
}

gboolean guest_is_running(const struct guest *guest)
{
    return guest->running;
}

gboolean guest_is_closed_loop(const struct guest *guest)
{
    struct engine_reading reading;

    engine_read(guest->timer, &reading);
    return reading.closed_loop;
}

void guest_read(struct guest *guest, struct engine_reading *ret_reading)
{
    engine_read(guest->timer, ret_reading);
}

/* ---- what can be changed ---- */

void guest_set_property(struct guest *guest, uint32_t code, uint64_t value, guest_done_func done,
                        gpointer user_data)
{
    enqueue(guest, &(struct request){.kind = CHANGE_PROPERTY,
                                     .code = code,
                                     .value = value,
                                     .done = done,
                                     .user_data = user_data});
}

void guest_enable(struct guest *guest, struct period period, uint64_t control, const char *injector,
                  guest_done_func done, gpointer user_data)
{
    const char *name = guest->injector->ops->name;

    if (!g_str_equal(injector, "auto") && !g_str_equal(injector, name)) {
        g_autoptr(GError) error =
            g_error_new(HV_STATUS_ERROR, HV_STATUS_INVALID_PARTITION_STATE,
                        "partition %" G_GUINT64_FORMAT " (%s): its ticks can't go by \"%s\", only "
                        "by \"%s\"",
                        guest->identity.id, guest->identity.name, injector, name);
        done(error, user_data);
        return;
    }
    enqueue(guest, &(struct request){.kind = CHANGE_BOTH,
                                     .value = control,
                                     .period = period,
                                     .done = done,
                                     .user_data = user_data});
}

void guest_reset(struct guest *guest, guest_done_func done, gpointer user_data)
{
    engine_guest_reset(guest->timer);
    enqueue(guest, &(struct request){.kind = CHANGE_RESET, .done = done, .user_data = user_data});
}

void guest_set_running(struct guest *guest, gboolean running)
{
    if (guest->running == running) {
        return;
    }
    guest->running = running;
    if (running) {
        engine_thaw(guest->timer);
    } else {
        engine_freeze(guest->timer);
    }
    tell_changed(guest);
}

gboolean guest_set_policy(struct guest *guest, const struct ticker_policy *policy, GError **error)
{
    const char *problem = ticker_policy_problem(policy);

    if (problem != NULL) {
        g_set_error(error, HV_STATUS_ERROR, HV_STATUS_INVALID_PARAMETER,
                    "partition %" G_GUINT64_FORMAT " (%s): %s", guest->identity.id,
                    guest->identity.name, problem);
        return FALSE;
    }
    guest->policy = *policy;
    engine_set_policy(guest->timer, policy);
    tell_changed(guest);
    return TRUE;
}

void guest_reset_backlog(struct guest *guest)
{
    engine_reset_backlog(guest->timer);
}
