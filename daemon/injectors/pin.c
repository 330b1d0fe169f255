/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Ticks by a borrowed IOAPIC pin: see pin.h. */
#include "daemon/injectors/pin.h"

#include "common/status.h"
#include <sys/eventfd.h>
#include <unistd.h>

#define AVIC_PARAMETER "/sys/module/kvm_amd/parameters/avic"

struct pin {
    struct injector injector;
    struct attach_queue *queue;
    uint32_t pin;
    int trigger_fd;
    int listener_fd;    /* edge: keeps the listener there; never written. Level: -1 */
    uint64_t old_entry; /* what it had before, to be put back */
    uint64_t entry;     /* what it has now */
    gboolean lost;
    int references; /* the engine's, and those of requests under way */
};

static bool inject(struct injector *injector, G_GNUC_UNUSED uint64_t now)
{
    return eventfd_write(((struct pin *)injector)->trigger_fd, 1) == 0;
}

static uint64_t acknowledged(struct injector *injector, G_GNUC_UNUSED uint64_t now)
{
    eventfd_t eois;

    return eventfd_read(injector->ack_fd, &eois) == 0 ? eois : 0;
}

static void unref(struct pin *pin)
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
    unref(reroute->pin);
}

static void set_route(struct injector *injector, uint64_t control, injector_routed_func done,
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

static void on_read(struct attach_result *result, G_GNUC_UNUSED const GError *error,
                    gpointer user_data)
{
    g_autofree struct reading *reading = user_data;
    g_autoptr(AttachResult) owned = result;
    gboolean lost = result != NULL && !is_ours(reading->pin, result);

    reading->pin->lost = reading->pin->lost || lost;
    reading->done(lost, reading->done_data);
    unref(reading->pin);
}

static void check(struct injector *injector, injector_checked_func done, gpointer user_data)
{
    struct reading *reading = g_new(struct reading, 1);

    *reading = (struct reading){(struct pin *)injector, done, user_data};
    reading->pin->references++;
    attach_queue_run(reading->pin->queue, &(struct attach_job){.kind = ATTACH_READ}, on_read,
                     reading);
}

/* ---- putting it back ---- */

/* A VM that is gone, or a pin that the guest has taken back, leaves nothing to put back. */
static void on_returned(struct attach_result *result, const GError *error, gpointer user_data)
{
    struct pin *pin = user_data;
    g_autoptr(AttachResult) owned = result;

    if (error != NULL) {
        g_debug("IOAPIC pin %u is not put back: %s", pin->pin, error->message);
    }
    unref(pin);
}

static void free_pin(struct injector *injector)
{
    struct pin *pin = (struct pin *)injector;
    struct attach_job job = {
        .kind = ATTACH_RETURN, .pin = pin->pin, .entry = pin->old_entry, .expected = pin->entry};

    close(pin->trigger_fd); /* with the last copies go the irqfds */
    if (pin->listener_fd >= 0) {
        close(pin->listener_fd);
    }
    close(injector->ack_fd);
    if (pin->lost || injector->gone) {
        unref(pin);
    } else {
        attach_queue_run(pin->queue, &job, on_returned, pin);
    }
}

static const struct injector_ops pin_ops = {
    .name = "pin",
    .base_timer = "daemon",
    .inject = inject,
    .acknowledged = acknowledged,
    .set_route = set_route,
    .check = check,
    .free = free_pin,
};

/* ---- borrowing it ---- */

/* With AVIC the EOIs of edges don't reach KVM (Linux, arch/x86/kvm/ioapic.c). Otherwise an edge is
 * better: a level that was not lowered when the guest was saved would come for ever where it is
 * restored and nobody hears its EOIs. */
static gboolean edges_are_heard(void)
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

static struct injector *pin_new(const struct borrowing *borrowing, struct attach_result *result)
{
    struct pin *pin = g_new0(struct pin, 1);

    pin->injector.ops = &pin_ops;
    pin->trigger_fd = result->fds[0];
    pin->listener_fd = borrowing->edge ? result->fds[1] : -1;
    pin->injector.ack_fd = result->fds[borrowing->edge ? 2 : 1];
    result->fds[0] = result->fds[1] = result->fds[2] = -1;
    pin->injector.attach_stall_us = result->stall_ns / 1000;
    pin->injector.tick_in_flight =
        (result->entries[result->pin] & ATTACH_ENTRY_REMOTE_IRR) != 0; /* an earlier daemon's */
    pin->queue = attach_queue_ref(borrowing->queue);
    pin->pin = result->pin;
    pin->old_entry = result->old_entry;
    pin->entry = borrowing->entry;
    pin->references = 1;
    return &pin->injector;
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
                             .edge = edges_are_heard(),
                             .entry = attach_entry(control)};

    *borrowing = (struct borrowing){attach_queue_ref(queue), job.edge, job.entry, done, user_data};
    attach_queue_run(queue, &job, on_borrowed, borrowing);
}
