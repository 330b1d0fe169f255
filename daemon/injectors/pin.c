/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Ticks by a borrowed IOAPIC pin: see pin.h. */
#include "daemon/injectors/pin-private.h"

#include "common/status.h"
#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define AVIC_PARAMETER "/sys/module/kvm_amd/parameters/avic"

bool pin_inject(struct injector *injector, G_GNUC_UNUSED uint64_t now)
{
    return eventfd_write(((struct pin *)injector)->trigger_fd, 1) == 0;
}

uint64_t pin_acknowledged(struct injector *injector, G_GNUC_UNUSED uint64_t now)
{
    eventfd_t eois;

    return eventfd_read(injector->ack_fd, &eois) == 0 ? eois : 0;
}

void pin_unref(struct pin *pin)
{
    if (--pin->references == 0) {
        attach_queue_unref(pin->queue);
        g_free(pin);
    }
}

/* ---- another route ---- */

struct reroute {
    struct pin *pin;
    uint64_t entry;
    injector_routed_func done;
    gpointer done_data;
};

static void on_rerouted(struct attach_result *result, const GError *error, gpointer user_data)
{
    g_autofree struct reroute *reroute = user_data;
    g_autoptr(AttachResult) owned = result;

    if (result != NULL) {
        reroute->pin->entry = reroute->entry;
    }
    reroute->done(error, reroute->done_data);
    pin_unref(reroute->pin);
}

static void set_route(struct injector *injector, uint64_t control,
                      G_GNUC_UNUSED struct period period, injector_routed_func done,
                      gpointer done_data)
{
    struct pin *pin = (struct pin *)injector;
    struct reroute *reroute = g_new(struct reroute, 1);
    struct attach_job job = {.kind = ATTACH_REROUTE,
                             .pin = pin->pin,
                             .entry = attach_entry(control),
                             .expected = pin->entry};

    *reroute = (struct reroute){pin, job.entry, done, done_data};
    pin->references++;
    attach_queue_run(pin->queue, &job, on_rerouted, reroute);
}

/* ---- is it still ours? ---- */

static gboolean is_ours(const struct pin *pin, const struct attach_result *result)
{
    uint64_t entry = result->entries[pin->pin];

    return ((entry ^ pin->entry) & ATTACH_ENTRY_ROUTE) == 0 && (entry & ATTACH_ENTRY_MASKED) == 0;
}

struct reading {
    struct pin *pin;
    injector_checked_func done;
    gpointer done_data;
};

static enum injector_loss loss_of(const struct pin *pin, const struct attach_result *result)
{
    const struct attach_timer *ours = &pin->lease.ours, *now = &result->lease.ours;

    if (!is_ours(pin, result)) {
        return INJECTOR_LOST_ROUTE;
    }
    return pin->leased && (now->lvtt != ours->lvtt || now->divide != ours->divide ||
                           now->initial != ours->initial)
               ? INJECTOR_LOST_TIMER
               : INJECTOR_LOST_NOTHING;
}

static void on_read(struct attach_result *result, G_GNUC_UNUSED const GError *error,
                    gpointer user_data)
{
    g_autofree struct reading *reading = user_data;
    g_autoptr(AttachResult) owned = result;
    enum injector_loss loss =
        result != NULL ? loss_of(reading->pin, result) : INJECTOR_LOST_NOTHING;

    reading->pin->lost = reading->pin->lost || loss == INJECTOR_LOST_ROUTE;
    reading->done(loss, reading->done_data);
    pin_unref(reading->pin);
}

void pin_check(struct injector *injector, injector_checked_func done, gpointer user_data)
{
    struct pin *pin = (struct pin *)injector;
    struct reading *reading = g_new(struct reading, 1);
    struct attach_job job = {.kind = ATTACH_READ, .leased = pin->leased, .lease = pin->lease};

    *reading = (struct reading){pin, done, user_data};
    pin->references++;
    attach_queue_run(pin->queue, &job, on_read, reading);
}

/* ---- putting it back ---- */

/* A lease must not stay: its timer would go on ticking with nobody to know of it. */
#define RETURN_AGAIN_S 1u
#define RETURN_LAST_S  64u

static void give_back(struct pin *pin);

static gboolean on_give_back_again(gpointer user_data)
{
    give_back(user_data);
    return G_SOURCE_REMOVE;
}

/* A VM that is gone, or a pin that the guest has taken back, leaves nothing to put back. */
static void on_returned(struct attach_result *result, const GError *error, gpointer user_data)
{
    struct pin *pin = user_data;
    g_autoptr(AttachResult) owned = result;

    if (error != NULL && pin->leased &&
        !g_error_matches(error, HV_STATUS_ERROR, HV_STATUS_INVALID_PARTITION_ID)) {
        g_warning(
            "a guest's local APIC timer can't be given back, and ticks on; trying again in %u "
            "s: %s",
            pin->return_again_s, error->message);
        g_timeout_add_seconds(pin->return_again_s, on_give_back_again, pin);
        pin->return_again_s = MIN(2 * pin->return_again_s, RETURN_LAST_S);
        return;
    }
    if (error != NULL) {
        g_debug("IOAPIC pin %u is not put back: %s", pin->pin, error->message);
    }
    pin_unref(pin);
}

static void give_back(struct pin *pin)
{
    struct attach_job job = {.kind = ATTACH_RETURN,
                             .pin = pin->pin,
                             .entry = pin->old_entry,
                             .expected = pin->entry,
                             .leased = pin->leased,
                             .lease = pin->lease};

    attach_queue_run(pin->queue, &job, on_returned, pin);
}

static void close_descriptor(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

void pin_free(struct injector *injector)
{
    struct pin *pin = (struct pin *)injector;

    /* With the last copies go the irqfds. */
    close_descriptor(&pin->trigger_fd);
    close_descriptor(&pin->listener_fd);
    close_descriptor(&injector->ack_fd);
    /* What was gone with a reset, a lease may have outlived. */
    if ((pin->lost || injector->gone) && !pin->leased) {
        pin_unref(pin);
    } else {
        pin->return_again_s = RETURN_AGAIN_S;
        give_back(pin);
    }
}

static const struct injector_ops pin_ops = {
    .name = "pin",
    .base_timer = "daemon",
    .inject = pin_inject,
    .acknowledged = pin_acknowledged,
    .set_route = set_route,
    .check = pin_check,
    .free = pin_free,
};

/* ---- borrowing it ---- */

/* With AVIC the EOIs of edges don't reach KVM (Linux, arch/x86/kvm/ioapic.c). Otherwise an edge is
 * better: a level that was not lowered when the guest was saved would come for ever where it is
 * restored and nobody hears its EOIs. */
gboolean pin_edges_are_heard(void)
{
    g_autofree char *avic = NULL;

    return !g_file_get_contents(AVIC_PARAMETER, &avic, NULL, NULL) || *avic == 'N' || *avic == '0';
}

struct borrowing {
    struct attach_queue *queue;
    gboolean edge;
    uint64_t entry;
    injector_pin_func done;
    gpointer user_data;
};

void pin_init(struct pin *pin, struct attach_queue *queue, gboolean edge, uint64_t entry,
              struct attach_result *result)
{
    pin->injector.ops = &pin_ops;
    pin->trigger_fd = result->fds[0];
    pin->listener_fd = edge ? result->fds[1] : -1;
    pin->injector.ack_fd = result->fds[edge ? 2 : 1];
    result->fds[0] = result->fds[1] = result->fds[2] = -1;
    pin->injector.attach_stall_us = result->stall_ns / 1000;
    pin->injector.tick_in_flight =
        (result->entries[result->pin] & ATTACH_ENTRY_REMOTE_IRR) != 0; /* an earlier daemon's */
    pin->queue = attach_queue_ref(queue);
    pin->injector.ticked_on = result->left_over;
    pin->pin = result->pin;
    pin->old_entry = result->old_entry;
    pin->entry = entry;
    pin->references = 1;
}

static struct injector *pin_new(const struct borrowing *borrowing, struct attach_result *result)
{
    struct pin *pin = g_new0(struct pin, 1);

    pin_init(pin, borrowing->queue, borrowing->edge, borrowing->entry, result);
    return &pin->injector;
}

struct injector *pin_copy(const struct pin *pin)
{
    struct pin *copy = g_new0(struct pin, 1);

    copy->injector.ops = &pin_ops;
    copy->trigger_fd = fcntl(pin->trigger_fd, F_DUPFD_CLOEXEC, 0);
    copy->listener_fd = fcntl(pin->listener_fd, F_DUPFD_CLOEXEC, 0);
    copy->injector.ack_fd = fcntl(pin->injector.ack_fd, F_DUPFD_CLOEXEC, 0);
    copy->injector.attach_stall_us = pin->injector.attach_stall_us;
    copy->queue = attach_queue_ref(pin->queue);
    copy->pin = pin->pin;
    copy->old_entry = pin->old_entry;
    copy->entry = pin->entry;
    copy->references = 1;
    if (copy->trigger_fd < 0 || copy->listener_fd < 0 || copy->injector.ack_fd < 0) {
        pin_free(&copy->injector);
        return NULL;
    }
    return &copy->injector;
}

static void on_borrowed(struct attach_result *result, const GError *error, gpointer user_data)
{
    g_autofree struct borrowing *borrowing = user_data;
    g_autoptr(AttachResult) owned = result;

    borrowing->done(result != NULL ? pin_new(borrowing, result) : NULL, error,
                    borrowing->user_data);
    attach_queue_unref(borrowing->queue);
}

void injector_pin_borrow(struct attach_queue *queue, uint32_t pins, uint64_t control,
                         injector_pin_func done, gpointer user_data)
{
    struct borrowing *borrowing = g_new(struct borrowing, 1);
    struct attach_job job = {.kind = ATTACH_BORROW,
                             .pin = ATTACH_PIN_ANY,
                             .pins = pins,
                             .edge = pin_edges_are_heard(),
                             .entry = attach_entry(control)};

    *borrowing = (struct borrowing){attach_queue_ref(queue), job.edge, job.entry, done, user_data};
    attach_queue_run(queue, &job, on_borrowed, borrowing);
}
