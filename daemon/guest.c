/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One partition as the daemon keeps it: see guest.h. Here: who it is, and how its VM lives. */
#include "common/status.h"
#include "daemon/guest-private.h"

struct guest *guest_ref(struct guest *guest)
{
    guest->references++;
    return guest;
}

void guest_unref(struct guest *guest)
{
    if (--guest->references == 0) {
        g_free((char *)guest->identity.name);
        g_free((char *)guest->identity.uuid);
        g_free(guest->problem);
        g_free(guest);
    }
}

void guest_tell_changed(struct guest *guest)
{
    if (!guest->removed) {
        guest->changed(guest, guest->user_data);
    }
}

GError *guest_error(const struct guest *guest, HV_STATUS status, const char *reason)
{
    return g_error_new(HV_STATUS_ERROR, status, "partition %" G_GUINT64_FORMAT " (%s): %s",
                       guest->identity.id, guest->identity.name, reason);
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
        guest_tell_changed(guest);
        break;
    case ENGINE_FOUND:
        guest_base_found(guest);
        break;
    case ENGINE_UNANSWERED:
        g_message("partition %" G_GUINT64_FORMAT " (%s): the guest has taken the way of its ticks "
                  "away, as a reset does",
                  guest->identity.id, guest->identity.name);
        guest_reset(guest, ignore_done, NULL);
        break;
    case ENGINE_TAKEN_BACK:
        g_message("partition %" G_GUINT64_FORMAT " (%s): the guest has begun to use its local APIC "
                  "timer, so it gets it back, and its ticks go by a borrowed pin",
                  guest->identity.id, guest->identity.name);
        guest->uses_lapic = TRUE;
        guest_become_paced(guest);
        break;
    default:
        break;
    }
}

gboolean guest_deliver_with(struct guest *guest, struct injector *injector, uint64_t control,
                            uint64_t since_ns)
{
    struct ticker_policy policy = guest_effective_policy(guest);
    /* After a restart the counts are of the period that is only about to be set. */
    struct period period = guest->partition.period;
    if (period.numerator == 0 && guest->change.period.numerator != 0) {
        period = guest->change.period;
    }
    struct engine_past past = {guest->counts, period, injector->ticked_on ? 0 : since_ns};

    guest->delivery =
        delivery_new(guest->engine, injector, control, &policy, &past, on_delivery_event, guest);
    if (guest->delivery != NULL && guest->state == GUEST_PAUSED) {
        engine_freeze(delivery_timer(guest->delivery));
    }
    return guest->delivery != NULL;
}

const char guest_engine_full[] = "there are as many partitions as configured (limits.partitions)";

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
    *guest->paused_injector = '\0';
    guest->uses_lapic = guest->prefers_lapic = FALSE;
    guest_base_forget(guest);
}

void guest_remove(struct guest *guest)
{
    guest->removed = TRUE;
    guest_fail_all(guest, HV_STATUS_INVALID_PARTITION_ID, "it has ended");
    end_vm(guest, guest->state != GUEST_OFF);
    guest_unref(guest);
}

void guest_turn_off(struct guest *guest)
{
    if (guest->state == GUEST_OFF) {
        return;
    }
    guest->state = GUEST_OFF;
    guest_fail_all(guest, HV_STATUS_INVALID_PARTITION_STATE, "its VM has ended");
    end_vm(guest, FALSE);
    guest_tell_changed(guest);
}

void guest_remember(struct guest *guest, const struct guest_memory *memory)
{
    guest->counts = memory->counts;
    guest->policy = memory->policy;
}

gboolean guest_start_with(struct guest *guest, uint32_t pid, struct injector *injector,
                          GError **error)
{
    bool wide_mda = injector->wide_mda;

    if (!guest_deliver_with(guest, injector, 0, 0)) {
        g_propagate_error(error,
                          guest_error(guest, HV_STATUS_INSUFFICIENT_MEMORY, guest_engine_full));
        return FALSE;
    }
    partition_init(&guest->partition, wide_mda);
    guest->state = GUEST_RUNNING;
    guest->pid = pid;
    guest_tell_changed(guest);
    return TRUE;
}

void guest_start(struct guest *guest, uint32_t pid, const struct guest_attacher *attacher)
{
    guest_turn_off(guest); /* an end that was not noticed */
    guest->attacher = *attacher;
    guest->state = GUEST_RUNNING;
    guest->pid = pid;
    guest_tell_changed(guest);
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
    (running ? guest_resume_suspended : guest_let_go_suspended)(guest);
    guest_tell_changed(guest);
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

const char *guest_injector_name(const struct guest *guest)
{
    if (guest->delivery != NULL) {
        return delivery_injector(guest->delivery)->ops->name;
    }
    return *guest->paused_injector != '\0' ? guest->paused_injector : "auto";
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
    if (guest->problem != NULL) {
        return guest->problem;
    }
    return guest->uses_lapic && guest->prefers_lapic
               ? "the guest uses its local APIC timer itself, so ticks don't come from there, but "
                 "by "
                 "a borrowed pin"
               : guest_base_problem(guest);
}

void guest_set_problem(struct guest *guest, const char *problem)
{
    if (g_strcmp0(guest->problem, problem) != 0) {
        g_free(guest->problem);
        guest->problem = g_strdup(problem);
        guest_tell_changed(guest);
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
        *ret_reading = (struct engine_reading){
            .ticks = guest->counts,
            .behind_ns = ticker_behind_ns(&guest->counts, guest->partition.period),
        };
    }
}

/* ---- what can be changed at once ---- */

gboolean guest_set_policy(struct guest *guest, const struct ticker_policy *policy, GError **error)
{
    const char *problem = ticker_policy_problem(policy);

    if (problem != NULL) {
        g_propagate_error(error, guest_error(guest, HV_STATUS_INVALID_PARAMETER, problem));
        return FALSE;
    }
    guest->policy = *policy;
    if (guest->delivery != NULL) {
        struct ticker_policy effective = guest_effective_policy(guest);
        engine_set_policy(delivery_timer(guest->delivery), &effective);
        if (policy->mode == TICKER_OBSERVE) {
            guest_become_paced(guest); /* a leased timer would go on ticking */
        }
    }
    guest_tell_changed(guest);
    return TRUE;
}

void guest_reset_backlog(struct guest *guest)
{
    if (guest->delivery != NULL) {
        engine_reset_backlog(delivery_timer(guest->delivery));
    }
}
