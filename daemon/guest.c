/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One partition as the daemon keeps it: see guest.h. */
#include "daemon/guest.h"

#include "common/status.h"
#include "daemon/delivery.h"

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
    uint64_t start_ns; /* of CHANGE_BOTH: when the first period begins; 0: when all is done */
    char injector[16];
    guest_done_func done;
    gpointer user_data;
};

struct guest {
    struct guest_identity identity;
    int references; /* the owner's, and those of calls under way */
    gboolean removed;
    enum guest_state state;
    uint32_t pid;
    char *problem; /* of its configuration */
    unsigned life; /* which VM it is that runs: a call for an earlier one has come too late */
    struct engine *engine;
    const struct guest_settings *settings;
    guest_changed_func changed;
    gpointer user_data;

    struct partition partition;
    struct ticker_policy policy;
    struct guest_attacher attacher; /* attach NULL: its injector was handed over */
    struct delivery *delivery;      /* NULL: nothing is delivered */
    struct ticker_counts counts;    /* while there is no delivery */

    GQueue requests; /* if `busy`, the first one is being made */
    gboolean busy;
    struct partition_change change; /* of the first one */
};

static void start_first(struct guest *guest);

static struct guest *guest_ref(struct guest *guest)
{
    guest->references++;
    return guest;
}

static void guest_unref(struct guest *guest)
{
    if (--guest->references == 0) {
        g_free((char *)guest->identity.name);
        g_free((char *)guest->identity.uuid);
        g_free(guest->problem);
        g_free(guest);
    }
}

static void tell_changed(struct guest *guest)
{
    if (!guest->removed) {
        guest->changed(guest, guest->user_data);
    }
}

static GError *error_about(const struct guest *guest, HV_STATUS status, const char *reason)
{
    return g_error_new(HV_STATUS_ERROR, status, "partition %" G_GUINT64_FORMAT " (%s): %s",
                       guest->identity.id, guest->identity.name, reason);
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
    g_autoptr(GError) error = error_about(guest, status, reason);

    finish(guest, error);
}

static void fail_all(struct guest *guest, HV_STATUS status, const char *reason)
{
    g_autoptr(GError) error = error_about(guest, status, reason);
    struct request *request;

    while ((request = g_queue_pop_head(&guest->requests)) != NULL) {
        request->done(error, request->user_data);
        g_free(request);
    }
    guest->busy = FALSE;
}

/* ---- making the first change ---- */

/* A call on behalf of one VM. If it comes back too late, whoever it was for is gone. */
struct call {
    struct guest *guest;
    unsigned life;
};

static struct call *call_new(struct guest *guest)
{
    struct call *call = g_new(struct call, 1);

    *call = (struct call){guest_ref(guest), guest->life};
    return call;
}

static gboolean call_is_late(const struct call *call)
{
    return call->guest->removed || call->guest->life != call->life;
}

static void call_free(struct call *call)
{
    guest_unref(call->guest);
    g_free(call);
}

static void on_stopped(const struct ticker_counts *counts, gpointer user_data)
{
    struct call *call = user_data;

    if (!call_is_late(call)) {
        call->guest->counts = *counts;
        tell_changed(call->guest);
        finish(call->guest, NULL);
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
    guest->counts = reading.ticks;
    guest->partition.routed = false;
    delivery_end(g_steal_pointer(&guest->delivery), TRUE, on_stopped, call_new(guest));
    return TRUE;
}

static void commit(struct guest *guest)
{
    const struct partition_change *change = &guest->change;
    const struct request *request = g_queue_peek_head(&guest->requests);

    partition_commit(&guest->partition, change);
    if (change->start) {
        engine_start(delivery_timer(guest->delivery),
                     request->start_ns != 0 ? request->start_ns : engine_clock(), change->period);
    } else if (change->stop && guest->delivery != NULL) {
        engine_stop(delivery_timer(guest->delivery));
    }
    tell_changed(guest);
    if (!change->stop || !let_go(guest)) {
        finish(guest, NULL);
    }
}

static void on_routed(const GError *error, gpointer user_data)
{
    struct guest *guest = user_data;

    if (error != NULL) {
        fail(guest, HV_STATUS_INVALID_PARTITION_STATE, error->message);
    } else {
        commit(guest);
    }
}

static void on_delivery_event(enum engine_event event, gpointer user_data);

static gboolean deliver_with(struct guest *guest, struct injector *injector, uint64_t control)
{
    guest->delivery = delivery_new(guest->engine, injector, control, &guest->policy, &guest->counts,
                                   on_delivery_event, guest);
    if (guest->delivery != NULL && guest->state == GUEST_PAUSED) {
        engine_freeze(delivery_timer(guest->delivery));
    }
    return guest->delivery != NULL;
}

static const char full[] = "there are as many partitions as configured (limits.partitions)";

static void on_attached(struct injector *injector, const GError *error, gpointer user_data)
{
    struct call *call = user_data;
    struct guest *guest = call->guest;

    if (call_is_late(call)) {
        if (injector != NULL) {
            injector->ops->free(injector);
        }
    } else if (injector == NULL) {
        fail(guest, hv_status_from_error(error), error->message);
    } else if (!deliver_with(guest, injector, guest->change.control)) {
        fail(guest, HV_STATUS_INSUFFICIENT_MEMORY, full);
    } else {
        guest->change.start = true;
        commit(guest);
    }
    call_free(call);
}

static void attach(struct guest *guest, const struct request *request)
{
    guest->attacher.attach(*request->injector != '\0' ? request->injector : "auto",
                           guest->change.control, on_attached, call_new(guest),
                           guest->attacher.user_data);
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
    g_autofree char *reason =
        g_strdup_printf("its ticks can't go by \"%s\" now, only by \"%s\"; `hvtimerctl disable` it "
                        "first, if its VM "
                        "was not handed over",
                        request->injector, delivery_injector(guest->delivery)->ops->name);

    fail(guest, HV_STATUS_INVALID_PARTITION_STATE, reason);
}

/* The route went with the reset. What a VMM has handed over it will route again; what was borrowed
 * is gone, and with it the tick in flight and the backlog. */
static void forget_route(struct guest *guest)
{
    struct engine_reading reading;

    if (guest->delivery == NULL || guest->attacher.attach == NULL) {
        return;
    }
    guest_read(guest, &reading);
    guest->counts = reading.ticks;
    guest->counts.skipped += guest->counts.in_flight + guest->counts.backlog;
    guest->counts.in_flight = guest->counts.backlog = 0;
    delivery_end(g_steal_pointer(&guest->delivery), FALSE, NULL, NULL);
}

static void start_first(struct guest *guest)
{
    const struct request *request = g_queue_peek_head(&guest->requests);

    if (guest->state == GUEST_OFF) {
        fail(guest, HV_STATUS_INVALID_PARTITION_STATE, "its VM does not run; start it first");
        return;
    }
    HV_STATUS status = plan(guest, request);
    if (request->kind == CHANGE_RESET) {
        forget_route(guest);
    }
    if (status != HV_STATUS_SUCCESS) {
        fail(guest, status, reason_for(status));
    } else if (wants_another(guest, request)) {
        refuse_another(guest, request);
    } else if (!guest->change.route) {
        commit(guest);
    } else if (guest->delivery == NULL) {
        attach(guest, request);
    } else {
        delivery_route(guest->delivery, guest->change.control, on_routed, guest);
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

static void ignore_done(G_GNUC_UNUSED const GError *error, G_GNUC_UNUSED gpointer user_data)
{
}

static void on_delivery_event(enum engine_event event, gpointer user_data)
{
    struct guest *guest = user_data;

    switch (event) {
    case ENGINE_SKIPPED:
        g_message("partition %" G_GUINT64_FORMAT " (%s): missed ticks are older than the limit of "
                  "%u ms; they are skipped",
                  guest->identity.id, guest->identity.name, guest->policy.limit_ms);
        break;
    case ENGINE_FEEDBACK_LOST:
        g_warning("partition %" G_GUINT64_FORMAT " (%s): the platform reports no EOIs, so the "
                  "ticks that the guest misses can't be seen: open loop",
                  guest->identity.id, guest->identity.name);
        tell_changed(guest);
        break;
    case ENGINE_UNANSWERED:
        g_message("partition %" G_GUINT64_FORMAT " (%s): the guest has taken the way of its ticks "
                  "away, as a reset does",
                  guest->identity.id, guest->identity.name);
        guest_reset(guest, ignore_done, NULL);
        break;
    default:
        break;
    }
}

/* ---- life ---- */

struct guest *guest_new(const struct guest_identity *identity, struct engine *engine,
                        const struct guest_settings *settings, guest_changed_func changed,
                        gpointer user_data)
{
    struct guest *guest = g_new0(struct guest, 1);

    guest->identity = *identity;
    guest->identity.name = g_strdup(identity->name);
    guest->identity.uuid = g_strdup(identity->uuid);
    guest->references = 1;
    guest->engine = engine;
    guest->settings = settings;
    guest->policy = settings->policy;
    guest->changed = changed;
    guest->user_data = user_data;
    partition_init(&guest->partition, false);
    return guest;
}

/* What belonged to the VM goes with it. */
static void end_vm(struct guest *guest, gboolean gently)
{
    guest->life++;
    if (guest->delivery != NULL) {
        delivery_end(g_steal_pointer(&guest->delivery), gently, NULL, NULL);
    }
    if (guest->attacher.free != NULL) {
        guest->attacher.free(guest->attacher.user_data);
    }
    guest->attacher = (struct guest_attacher){0};
    guest->counts = (struct ticker_counts){0};
    guest->policy = guest->settings->policy;
    guest->pid = 0;
    partition_init(&guest->partition, false);
}

void guest_remove(struct guest *guest)
{
    guest->removed = TRUE;
    fail_all(guest, HV_STATUS_INVALID_PARTITION_ID, "it has ended");
    end_vm(guest, guest->state != GUEST_OFF);
    guest_unref(guest);
}

void guest_turn_off(struct guest *guest)
{
    if (guest->state == GUEST_OFF) {
        return;
    }
    guest->state = GUEST_OFF;
    fail_all(guest, HV_STATUS_INVALID_PARTITION_STATE, "its VM has ended");
    end_vm(guest, FALSE);
    tell_changed(guest);
}

void guest_remember(struct guest *guest, const struct guest_memory *memory)
{
    guest->counts = memory->counts;
    guest->policy = memory->policy;
}

static void on_resumed(const GError *error, gpointer user_data)
{
    g_autofree char *name = user_data;

    if (error != NULL) {
        g_warning("%s had a timer before the daemon was restarted, and can't have it again: %s",
                  name, error->message);
    }
}

void guest_resume(struct guest *guest, const struct guest_memory *memory)
{
    struct request request = {.kind = CHANGE_BOTH,
                              .value = memory->control,
                              .period = memory->period,
                              .start_ns = memory->start_ns,
                              .done = on_resumed};

    if (memory->period.numerator == 0) {
        guest_set_property(guest, HvPartitionPropertyEmulatedTimerControl, memory->control,
                           on_resumed, g_strdup(guest->identity.name));
        return;
    }
    g_strlcpy(request.injector, memory->injector, sizeof request.injector);
    request.user_data = g_strdup(guest->identity.name);
    enqueue(guest, &request);
}

gboolean guest_start_with(struct guest *guest, uint32_t pid, struct injector *injector,
                          GError **error)
{
    bool wide_mda = injector->wide_mda;

    if (!deliver_with(guest, injector, 0)) {
        g_propagate_error(error, error_about(guest, HV_STATUS_INSUFFICIENT_MEMORY, full));
        return FALSE;
    }
    partition_init(&guest->partition, wide_mda);
    guest->state = GUEST_RUNNING;
    guest->pid = pid;
    tell_changed(guest);
    return TRUE;
}

void guest_start(struct guest *guest, uint32_t pid, const struct guest_attacher *attacher)
{
    guest_turn_off(guest); /* an end that was not noticed */
    guest->attacher = *attacher;
    guest->state = GUEST_RUNNING;
    guest->pid = pid;
    tell_changed(guest);
}

void guest_set_running(struct guest *guest, gboolean running)
{
    enum guest_state state = running ? GUEST_RUNNING : GUEST_PAUSED;

    if (guest->state == GUEST_OFF || guest->state == state) {
        return;
    }
    guest->state = state;
    if (guest->delivery != NULL) {
        (running ? engine_thaw : engine_freeze)(delivery_timer(guest->delivery));
    }
    tell_changed(guest);
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
    return guest->delivery != NULL ? delivery_injector(guest->delivery) : NULL;
}

enum guest_state guest_state(const struct guest *guest)
{
    return guest->state;
}

uint32_t guest_pid(const struct guest *guest)
{
    return guest->pid;
}

const char *guest_problem(const struct guest *guest)
{
    return guest->problem;
}

void guest_set_problem(struct guest *guest, const char *problem)
{
    if (g_strcmp0(guest->problem, problem) != 0) {
        g_free(guest->problem);
        guest->problem = g_strdup(problem);
        tell_changed(guest);
    }
}

gboolean guest_slot(const struct guest *guest, unsigned *ret_slot)
{
    if (guest->delivery != NULL) {
        *ret_slot = engine_slot(delivery_timer(guest->delivery));
    }
    return guest->delivery != NULL;
}

void guest_read(struct guest *guest, struct engine_reading *ret_reading)
{
    if (guest->delivery != NULL) {
        engine_read(delivery_timer(guest->delivery), ret_reading);
    } else {
        *ret_reading = (struct engine_reading){.ticks = guest->counts};
    }
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
    struct request request = {.kind = CHANGE_BOTH,
                              .value = control,
                              .period = period,
                              .done = done,
                              .user_data = user_data};

    g_strlcpy(request.injector, injector, sizeof request.injector);
    enqueue(guest, &request);
}

void guest_reset(struct guest *guest, guest_done_func done, gpointer user_data)
{
    if (guest->delivery != NULL) {
        engine_guest_reset(delivery_timer(guest->delivery));
    }
    enqueue(guest, &(struct request){.kind = CHANGE_RESET, .done = done, .user_data = user_data});
}

gboolean guest_set_policy(struct guest *guest, const struct ticker_policy *policy, GError **error)
{
    const char *problem = ticker_policy_problem(policy);

    if (problem != NULL) {
        g_propagate_error(error, error_about(guest, HV_STATUS_INVALID_PARAMETER, problem));
        return FALSE;
    }
    guest->policy = *policy;
    if (guest->delivery != NULL) {
        engine_set_policy(delivery_timer(guest->delivery), policy);
    }
    tell_changed(guest);
    return TRUE;
}

void guest_reset_backlog(struct guest *guest)
{
    if (guest->delivery != NULL) {
        engine_reset_backlog(delivery_timer(guest->delivery));
    }
}
