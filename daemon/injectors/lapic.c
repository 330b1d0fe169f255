/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Ticks by a leased local APIC timer: see lapic.h. */
#include "daemon/injectors/lapic.h"

#include "common/status.h"
#include "daemon/base-timer/hv-timer.h"
#include "daemon/base-timer/kvm-event.h"
#include "daemon/base-timer/lapic-watch.h"
#include "daemon/injectors/pin-private.h"

#define NS_PER_S UINT64_C(1000000000)

#define FLOOR_PARAMETER      "/sys/module/kvm/parameters/min_timer_period_us"
#define PREEMPTION_PARAMETER "/sys/module/kvm_intel/parameters/preemption_timer"
/* kvm.min_timer_period_us where it can't be read (Linux, arch/x86/kvm/x86.c). */
#define FLOOR_US_DEFAULT 200

struct lapic {
    struct pin pin; /* with the lease */
    struct supervisor_clock clock;
    struct lapic_watch *watch; /* NULL: the guest's accesses can't be traced, or not yet */
    struct hv_timer *hv_timer; /* NULL: nor can this */
    gboolean freed;            /* only requests under way refer to it */
};

/* ---- what can be had ---- */

static uint64_t floor_ns(void)
{
    g_autofree char *text = NULL;
    guint64 us = FLOOR_US_DEFAULT;

    if (g_file_get_contents(FLOOR_PARAMETER, &text, NULL, NULL)) {
        us = g_ascii_strtoull(text, NULL, 10);
    }
    return us * 1000;
}

/* The supervisor counts parts of a nanosecond, as small as the period needs. */
const char *injector_lapic_problem(struct period period)
{
    if (period.denominator > SUPERVISOR_HZ_MAX / NS_PER_S) {
        return "a leased local APIC timer can't have a period of so fine a fraction of a "
               "nanosecond";
    }
    return period.numerator / period.denominator < floor_ns()
               ? "KVM lets no local APIC timer be that fast (kvm.min_timer_period_us)"
               : NULL;
}

/* ---- the lease ---- */

/* Of our own making: what KVM was told, it does. */
static void take_lease(struct lapic *lapic, const struct attach_lease *lease, struct period period)
{
    struct injector *injector = &lapic->pin.injector;

    lapic->pin.lease = *lease;
    if (period.numerator != 0) {
        lapic->clock = (struct supervisor_clock){.hz = NS_PER_S * period.denominator,
                                                 .shortest = 1,
                                                 .own_length = lease->tick_ns * period.denominator,
                                                 .restarts = true,
                                                 .quiet = true};
        injector->length = period.numerator;
        injector->started_ns = lease->started_ns;
    }
}

static void on_touched(gpointer user_data)
{
    struct lapic *lapic = user_data;
    struct injector *injector = &lapic->pin.injector;

    if (injector->lost != NULL) {
        injector->lost(INJECTOR_LOST_TIMER, injector->lost_data);
    }
}

/* ---- what the guest does with it, and what runs it ---- */

struct watching {
    struct lapic *lapic;
    unsigned vcpu; /* that is asked about */
};

static void ask_trace(struct lapic *lapic, const struct attach_job *job, attach_queue_func done)
{
    struct watching *watching = g_new(struct watching, 1);

    *watching = (struct watching){lapic, job->vcpu};
    lapic->pin.references++;
    attach_queue_run(lapic->pin.queue, job, done, watching);
}

/* Of @result nothing is wanted any more: the lease has ended, or moved on. */
static gboolean drop_if_late(const struct watching *watching, struct attach_result *result)
{
    const struct lapic *lapic = watching->lapic;
    gboolean late = lapic->freed || !lapic->pin.leased || lapic->pin.lease.vcpu != watching->vcpu;

    if (late) {
        kvm_event_close_all(result);
    }
    return late;
}

static void warn(const struct lapic *lapic, const char *consequence, const GError *error)
{
    if (!g_error_matches(error, HV_STATUS_ERROR, HV_STATUS_INVALID_PARTITION_ID)) {
        g_warning("process %d: KVM's trace events can't be had, so %s: %s",
                  (int)attach_queue_pid(lapic->pin.queue), consequence, error->message);
    } /* else it has ended, and its guest ends now */
}

static void on_hv_timer_traced(struct attach_result *result, const GError *error,
                               gpointer user_data)
{
    g_autofree struct watching *watching = user_data;
    g_autoptr(AttachResult) owned = result;
    struct lapic *lapic = watching->lapic;

    if (drop_if_late(watching, result)) {
        /* nobody asks */
    } else if (result != NULL) {
        g_clear_pointer(&lapic->hv_timer, hv_timer_free);
        lapic->hv_timer = hv_timer_new(result);
    } else {
        warn(lapic, "what runs its local APIC timer is known from the host's module only", error);
    }
    pin_unref(&lapic->pin);
}

static void on_lapic_traced(struct attach_result *result, const GError *error, gpointer user_data)
{
    g_autofree struct watching *watching = user_data;
    g_autoptr(AttachResult) owned = result;
    g_autoptr(GError) problem = error != NULL ? g_error_copy(error) : NULL;
    struct lapic *lapic = watching->lapic;

    if (!drop_if_late(watching, result)) {
        g_clear_pointer(&lapic->watch, lapic_watch_free);
        if (result != NULL) {
            lapic->watch = lapic_watch_new(result, on_touched, lapic, &problem);
        }
        if (lapic->watch != NULL) {
            struct attach_job job = hv_timer_job(watching->vcpu);
            ask_trace(lapic, &job, on_hv_timer_traced);
        } else {
            warn(lapic, "a guest that begins to use its local APIC timer is noticed late", problem);
        }
    }
    pin_unref(&lapic->pin);
}

/* It ticks meanwhile. Without them the guest's own use is noticed by the ticks that don't come, and
 * what runs the timer is what the host's module says. */
static void watch(struct lapic *lapic)
{
    struct attach_job job = lapic_watch_job(lapic->pin.lease.vcpu);

    g_clear_pointer(&lapic->watch, lapic_watch_free);
    g_clear_pointer(&lapic->hv_timer, hv_timer_free);
    ask_trace(lapic, &job, on_lapic_traced);
}

/* ---- another route, or period ---- */

struct change {
    struct lapic *lapic;
    uint64_t entry;
    struct period period;
    injector_routed_func done;
    gpointer done_data;
};

static void on_changed(struct attach_result *result, const GError *error, gpointer user_data)
{
    g_autofree struct change *change = user_data;
    g_autoptr(AttachResult) owned = result;
    struct lapic *lapic = change->lapic;

    if (result != NULL) {
        gboolean moved = result->lease.vcpu != lapic->pin.lease.vcpu;

        take_lease(lapic, &result->lease, change->period);
        lapic->pin.entry = change->entry;
        lapic->pin.injector.unseen = result->unseen;
        if (moved) {
            watch(lapic);
        }
    }
    change->done(error, change->done_data);
    pin_unref(&lapic->pin);
}

static struct attach_job job_for(const struct lapic *lapic, uint64_t entry)
{
    return (struct attach_job){.kind = ATTACH_REROUTE,
                               .pin = lapic->pin.pin,
                               .entry = entry,
                               .expected = lapic->pin.entry,
                               .leased = TRUE,
                               .lease = lapic->pin.lease};
}

static void set_route(struct injector *injector, uint64_t control, struct period period,
                      injector_routed_func done, gpointer done_data)
{
    struct lapic *lapic = (struct lapic *)injector;
    const char *problem = period.numerator != 0 ? injector_lapic_problem(period) : NULL;
    struct attach_job job = job_for(lapic, attach_entry(control));

    if (problem != NULL) {
        g_autoptr(GError) error =
            g_error_new_literal(HV_STATUS_ERROR, HV_STATUS_INVALID_PARTITION_STATE, problem);
        done(error, done_data);
        return;
    }
    struct change *change = g_new(struct change, 1);
    *change = (struct change){lapic, job.entry, period, done, done_data};
    job.period = period;
    lapic->pin.references++;
    attach_queue_run(lapic->pin.queue, &job, on_changed, change);
}

/* ---- giving it back ---- */

struct ending {
    struct lapic *lapic;
    injector_paced_func done;
    gpointer done_data;
};

static void on_lease_ended(struct attach_result *result, const GError *error, gpointer user_data)
{
    g_autofree struct ending *ending = user_data;
    g_autoptr(AttachResult) owned = result;
    g_autoptr(GError) problem = NULL;
    struct lapic *lapic = ending->lapic;
    struct injector *paced = NULL;

    if (result != NULL) {
        lapic->pin.leased = FALSE;
        paced = pin_copy(&lapic->pin);
        lapic->pin.injector.gone = paced != NULL;
    }
    if (paced != NULL) {
        paced->unseen = result->unseen;
    }
    if (paced == NULL) {
        problem = error != NULL
                      ? g_error_copy(error)
                      : g_error_new_literal(HV_STATUS_ERROR, HV_STATUS_INSUFFICIENT_MEMORY,
                                            "hvtimerd has no more descriptors: raise its "
                                            "limit of open files (LimitNOFILE)");
    }
    ending->done(paced, problem, ending->done_data);
    pin_unref(&lapic->pin);
}

static void become_paced(struct injector *injector, injector_paced_func done, gpointer user_data)
{
    struct lapic *lapic = (struct lapic *)injector;
    struct ending *ending = g_new(struct ending, 1);
    struct attach_job job = job_for(lapic, lapic->pin.entry);

    *ending = (struct ending){lapic, done, user_data};
    job.end_lease = TRUE;
    lapic->pin.references++;
    attach_queue_run(lapic->pin.queue, &job, on_lease_ended, ending);
}

static void free_lapic(struct injector *injector)
{
    struct lapic *lapic = (struct lapic *)injector;

    g_clear_pointer(&lapic->watch, lapic_watch_free);
    g_clear_pointer(&lapic->hv_timer, hv_timer_free);
    lapic->freed = TRUE;
    pin_free(injector);
}

/* ---- what runs it ---- */

static gboolean module_says_preemption_timer(void)
{
    g_autofree char *text = NULL;

    return g_file_get_contents(PREEMPTION_PARAMETER, &text, NULL, NULL) &&
           (*text == 'Y' || *text == '1');
}

static const char *find_base_timer(struct injector *injector, const char **ret_known_by)
{
    struct lapic *lapic = (struct lapic *)injector;
    gboolean used;

    if (lapic->hv_timer != NULL) {
        *ret_known_by = "trace";
        used = hv_timer_read(lapic->hv_timer) == HV_TIMER_USED;
    } else {
        *ret_known_by = "module";
        used = module_says_preemption_timer();
    }
    return used ? "vmx-preemption-timer" : "hrtimer";
}

static const struct injector_ops lapic_ops = {
    .name = "lapic",
    .base_timer = "hrtimer",
    .find_base_timer = find_base_timer,
    .inject = pin_inject,
    .acknowledged = pin_acknowledged,
    .set_route = set_route,
    .check = pin_check,
    .become_paced = become_paced,
    .free = free_lapic,
};

/* ---- making one ---- */

struct leasing {
    struct attach_queue *queue;
    struct lapic_wish wish;
    uint64_t entry;
    injector_pin_func done;
    gpointer user_data;
};

static struct injector *lapic_new(const struct leasing *leasing, struct attach_result *result)
{
    struct lapic *lapic = g_new0(struct lapic, 1);
    struct injector *injector = &lapic->pin.injector;

    pin_init(&lapic->pin, leasing->queue, TRUE, leasing->entry, result);
    if (!result->leased) {
        g_message("process %d: %s; ticks go by a borrowed pin",
                  (int)attach_queue_pid(leasing->queue), result->why_not);
        return injector; /* "pin" */
    }
    injector->ops = &lapic_ops;
    injector->clock = &lapic->clock;
    injector->traced = true; /* as we have set it up, it is */
    lapic->pin.leased = TRUE;
    take_lease(lapic, &result->lease, leasing->wish.period);
    watch(lapic);
    return injector;
}

static void on_leased(struct attach_result *result, const GError *error, gpointer user_data)
{
    g_autofree struct leasing *leasing = user_data;
    g_autoptr(AttachResult) owned = result;

    leasing->done(result != NULL ? lapic_new(leasing, result) : NULL, error, leasing->user_data);
    attach_queue_unref(leasing->queue);
}

void injector_lapic_lease(struct attach_queue *queue, const struct lapic_wish *wish,
                          injector_pin_func done, gpointer user_data)
{
    struct leasing *leasing = g_new(struct leasing, 1);
    struct attach_job job = {.kind = ATTACH_BORROW,
                             .pin = ATTACH_PIN_ANY,
                             .pins = wish->pins,
                             .edge = TRUE,
                             .entry = attach_entry(wish->control),
                             .period = wish->period,
                             .or_pin = wish->or_pin};

    *leasing = (struct leasing){attach_queue_ref(queue), *wish, job.entry, done, user_data};
    attach_queue_run(queue, &job, on_leased, leasing);
}
