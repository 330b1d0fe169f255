/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Ticks on top of those of a timer that the guest has: see shared-line.h. */
#include "daemon/injectors/shared-line.h"

#include "common/status.h"
#include "daemon/base-timer/kvm-trace.h"
#include "daemon/base-timer/pit-ports.h"
#include "daemon/base-timer/rtc-ports.h"
#include <hvapi/hvgdk.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Lines of the PICs: the slave's come through line 2 of the master. */
#define PIC_CASCADE 2
#define PIC_LINES   8
#define PIC_MASTER  0

struct shared_line;

/* What is particular to a timer. */
struct line_kind {
    struct injector_ops ops;
    struct supervisor_clock clock;
    uint32_t gsi;
    unsigned pin;      /* of the IOAPIC: the PIT's is not its GSI */
    uint16_t ports[2]; /* by which a guest programs it */
    void (*access)(struct shared_line *line, const struct port_access *access,
                   struct base_event *ret_event);
};

struct shared_line {
    struct injector injector;
    const struct line_kind *kind;
    struct attach_queue *queue;
    struct kvm_trace *trace; /* NULL: there is none */
    union {
        struct rtc_ports rtc;
        struct pit_ports pit;
    } ports;
    int listener_fd; /* keeps the listener there; never written (it would hold the line up) */
    int pulse_fd;
    int references; /* the engine's, and those of requests under way */
};

/* ---- engine thread ---- */

static bool inject(struct injector *injector, G_GNUC_UNUSED uint64_t now)
{
    return eventfd_write(((struct shared_line *)injector)->pulse_fd, 1) == 0;
}

static uint64_t acknowledged(struct injector *injector, G_GNUC_UNUSED uint64_t now)
{
    eventfd_t eois;

    return eventfd_read(injector->ack_fd, &eois) == 0 ? eois : 0;
}

static void access_rtc(struct shared_line *line, const struct port_access *access,
                       struct base_event *ret_event)
{
    rtc_ports_access(&line->ports.rtc, access, ret_event);
}

static void access_pit(struct shared_line *line, const struct port_access *access,
                       struct base_event *ret_event)
{
    pit_ports_access(&line->ports.pit, access, ret_event);
}

static void forget_ports(struct shared_line *line)
{
    if (line->kind->access == access_rtc) {
        rtc_ports_init(&line->ports.rtc);
    } else {
        pit_ports_init(&line->ports.pit);
    }
}

/* What was told from acknowledgements completes what the ports tell. */
static void assume_rate(struct shared_line *line, const struct supervisor *s)
{
    if (line->kind->access == access_rtc && s->learned == LEARNED_ACKNOWLEDGEMENTS) {
        rtc_ports_assume(&line->ports.rtc, s->length);
    }
}

static void follow(struct injector *injector, struct supervisor *supervisor, uint64_t now)
{
    struct shared_line *line = (struct shared_line *)injector;
    struct port_access access;
    struct base_event event;

    if (line->trace == NULL) {
        return;
    }
    assume_rate(line, supervisor);
    do {
        while (kvm_trace_next(line->trace, now, &access)) {
            line->kind->access(line, &access, &event);
            supervisor_event(supervisor, &event);
        }
        if (!kvm_trace_lost(line->trace)) {
            return;
        }
        forget_ports(line);
        supervisor_events_lost(supervisor);
    } while (true);
}

static void was_reset(struct injector *injector)
{
    struct shared_line *line = (struct shared_line *)injector;

    if (line->kind->access == access_rtc) {
        rtc_ports_reset(&line->ports.rtc);
    } else {
        pit_ports_init(&line->ports.pit);
    }
}

/* ---- main loop ---- */

static void unref(struct shared_line *line)
{
    if (--line->references == 0) {
        attach_queue_unref(line->queue);
        g_free(line);
    }
}

/* Where the timer is, the VMM has said for good. */
static void set_route(G_GNUC_UNUSED struct injector *injector, G_GNUC_UNUSED uint64_t control,
                      G_GNUC_UNUSED struct period period, injector_routed_func done,
                      gpointer user_data)
{
    done(NULL, user_data);
}

static gboolean pic_line_is_open(const struct attach_result *result, unsigned gsi)
{
    unsigned pic = gsi / PIC_LINES, line = gsi % PIC_LINES;

    return (result->pic_mask[pic] >> line & 1) == 0 &&
           (pic == PIC_MASTER || (result->pic_mask[PIC_MASTER] >> PIC_CASCADE & 1) == 0);
}

/* The IOAPIC comes first: systems that use it leave the PICs as they were, if masked. */
static enum base_routing routing_of(const struct line_kind *kind,
                                    const struct attach_result *result, uint64_t *ret_control)
{
    uint64_t entry = result->entries[kind->pin];
    HV_EMULATED_TIMER_CONTROL control = {0};
    enum base_routing routing = BASE_ROUTING_NONE;

    if ((entry & ATTACH_ENTRY_MASKED) == 0) {
        routing = BASE_ROUTING_IOAPIC;
        control.Vector = entry & ATTACH_ENTRY_VECTOR;
        control.DeliveryMode = (entry & ATTACH_ENTRY_DELIVERY) >> 8;
        control.LogicalDestinationMode = (entry & ATTACH_ENTRY_LOGICAL) != 0;
        control.Mda = entry >> 56;
    } else if (pic_line_is_open(result, kind->gsi)) {
        routing = BASE_ROUTING_PIC;
        control.Vector = (uint8_t)(result->pic_base[kind->gsi / PIC_LINES] + kind->gsi % PIC_LINES);
    }
    *ret_control = control.AsUINT64;
    return routing;
}

struct finding {
    struct shared_line *line;
    injector_found_func done;
    gpointer done_data;
};

static void on_read(struct attach_result *result, const GError *error, gpointer user_data)
{
    g_autofree struct finding *finding = user_data;
    g_autoptr(AttachResult) owned = result;
    enum base_routing routing = BASE_ROUTING_UNKNOWN;
    uint64_t control = 0;

    if (result != NULL) {
        routing = routing_of(finding->line->kind, result, &control);
    } else {
        g_debug("where the timer's interrupts go can't be read: %s", error->message);
    }
    finding->done(routing, control, finding->done_data);
    unref(finding->line);
}

static void find_route(struct injector *injector, injector_found_func done, gpointer user_data)
{
    struct finding *finding = g_new(struct finding, 1);

    *finding = (struct finding){(struct shared_line *)injector, done, user_data};
    finding->line->references++;
    attach_queue_run(finding->line->queue, &(struct attach_job){.kind = ATTACH_READ}, on_read,
                     finding);
}

/* Nothing is left in the VMM: with the last copies of the eventfds go the irqfds. */
static void free_line(struct injector *injector)
{
    struct shared_line *line = (struct shared_line *)injector;

    close(line->pulse_fd);
    close(line->listener_fd);
    close(injector->ack_fd);
    g_clear_pointer(&line->trace, kvm_trace_free);
    unref(line);
}

/* ---- making one ---- */

/* 8192 Hz; and kvm.min_timer_period_us, 200 where nobody has changed it, below which KVM does not
 * let a guest's timer go (arch/x86/kvm/i8254.c). */
#define RTC_SHORTEST 4
#define PIT_SHORTEST (PIT_CLOCK_HZ / 5000)

#define LINE_OPS(timer, base)                                                              \
    {                                                                                      \
        .name = timer, .base_timer = base, .inject = inject, .acknowledged = acknowledged, \
        .follow = follow, .was_reset = was_reset, .set_route = set_route,                  \
        .find_route = find_route, .free = free_line,                                       \
    }

/* QEMU and KVM connect the PIT to the IOAPIC's pin 2, as PCs do (MP specification: the ISA
 * interrupt that the cascade leaves free). */
static const struct line_kind kinds[] = {
    [BASE_TIMER_RTC] = {.ops = LINE_OPS("rtc", "qemu-rtc"),
                        .clock = {.hz = RTC_CLOCK_HZ,
                                  .shortest = RTC_SHORTEST,
                                  .powers_of_two = true},
                        .gsi = 8,
                        .pin = 8,
                        .ports = {0x70, 0x71},
                        .access = access_rtc},
    [BASE_TIMER_PIT] = {.ops = LINE_OPS("pit", "kvm-pit"),
                        .clock = {.hz = PIT_CLOCK_HZ, .shortest = PIT_SHORTEST, .restarts = true},
                        .gsi = 0,
                        .pin = 2,
                        .ports = {0x40, 0x43},
                        .access = access_pit},
};

struct opening {
    const struct line_kind *kind;
    struct attach_queue *queue;
    struct kvm_trace *trace; /* NULL: there is none */
    gboolean makes_up;
    injector_shared_line_func done;
    gpointer user_data;
};

static struct injector *line_new(struct opening *opening, struct attach_result *result)
{
    struct shared_line *line = g_new0(struct shared_line, 1);

    line->injector.ops = &opening->kind->ops;
    line->injector.clock = &opening->kind->clock;
    line->injector.traced = opening->trace != NULL;
    line->injector.makes_up = opening->makes_up;
    line->injector.length = opening->kind->access == access_pit ? result->pit_length : 0;
    line->injector.attach_stall_us = result->stall_ns / 1000;
    line->injector.ack_fd = result->fds[1];
    line->listener_fd = result->fds[0];
    line->pulse_fd = result->fds[2];
    result->fds[0] = result->fds[1] = result->fds[2] = -1;
    line->kind = opening->kind;
    line->queue = attach_queue_ref(opening->queue);
    line->trace = g_steal_pointer(&opening->trace);
    line->references = 1;
    forget_ports(line);
    return &line->injector;
}

static void on_opened(struct attach_result *result, const GError *error, gpointer user_data)
{
    g_autofree struct opening *opening = user_data;
    g_autoptr(AttachResult) owned = result;

    opening->done(result != NULL ? line_new(opening, result) : NULL, error, opening->user_data);
    g_clear_pointer(&opening->trace, kvm_trace_free);
    attach_queue_unref(opening->queue);
}

/* Without it the rate has to be told from what the guest takes, which is less sure. */
static void on_traced(struct attach_result *result, const GError *error, gpointer user_data)
{
    struct opening *opening = user_data;
    g_autoptr(AttachResult) owned = result;
    g_autoptr(GError) problem = error != NULL ? g_error_copy(error) : NULL;

    if (result != NULL) {
        opening->trace = kvm_trace_new(result, &problem);
    }
    if (g_error_matches(problem, HV_STATUS_ERROR, HV_STATUS_INVALID_PARTITION_ID)) {
        g_debug("%s", problem->message); /* nothing else will come of it either */
    } else if (problem != NULL) {
        g_warning("process %d: what the guest tells its timer can't be seen: %s",
                  (int)attach_queue_pid(opening->queue), problem->message);
    }
}

/* Traced first: what the guest does from when it is listened to is known. */
void injector_shared_line_open(struct attach_queue *queue, enum base_timer timer, gboolean makes_up,
                               injector_shared_line_func done, gpointer user_data)
{
    const struct line_kind *kind = &kinds[timer];
    struct opening *opening = g_new(struct opening, 1);
    struct attach_job trace = kvm_trace_job(kind->ports, G_N_ELEMENTS(kind->ports));
    struct attach_job listen = {.kind = ATTACH_LISTEN, .pin = kind->gsi, .pulse = TRUE};

    *opening = (struct opening){kind, attach_queue_ref(queue), NULL, makes_up, done, user_data};
    attach_queue_run(queue, &trace, on_traced, opening);
    attach_queue_run(queue, &listen, on_opened, opening);
}
