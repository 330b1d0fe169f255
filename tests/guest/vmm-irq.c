/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The way of a tick: an irqfd with an MSI route into the guest, and a listener on an IOAPIC pin
 * that hears the guest's EOIs. The listener hears EOIs of its pin's vector at its pin's
 * destination, so the pin's redirection entry goes with the route. The entry is masked, as nothing
 * is ever to come from the pin itself.
 */
#include "tests/guest/vmm-private.h"

#include <errno.h>
#include <hvapi/hvgdk.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>

#define PIC_PINS     8u /* of each of the two */
#define IOAPIC_PINS  24u
#define LISTENER_PIN 23u
#define TICK_GSI     24u

#define MSI_ADDRESS           0xfee00000u
#define MSI_DESTINATION_SHIFT 12
#define MSI_REDIRECTION_HINT  (1u << 3) /* to one of those addressed: lowest priority */
#define MSI_LOGICAL           (1u << 2)
#define MSI_DELIVERY_SHIFT    8

#define MAX_DESTINATION 255u /* KVM_CAP_X2APIC_API could lift that */

/* Where ticks go. */
struct route {
    uint8_t vector;
    uint8_t delivery; /* HV_EMULATED_TIMER_DELIVERY_… */
    uint8_t logical;
    uint8_t destination;
};

static gboolean parse_control(uint64_t control, struct route *ret_route)
{
    HV_EMULATED_TIMER_CONTROL_WIDE wide = {.AsUINT64 = control};
    HV_EMULATED_TIMER_CONTROL narrow = {.AsUINT64 = control};
    uint64_t destination = narrow.Reserved2 ? wide.Mda : narrow.Mda;

    if (narrow.Vector < GUEST_VECTOR_FIRST || narrow.Reserved1 || destination > MAX_DESTINATION ||
        narrow.DeliveryMode > HV_EMULATED_TIMER_DELIVERY_LOWEST_PRIORITY)
        return FALSE;
    *ret_route = (struct route){
        .vector = narrow.Vector,
        .delivery = narrow.DeliveryMode,
        .logical = narrow.LogicalDestinationMode,
        .destination = destination,
    };
    return TRUE;
}

static void add_pin(struct kvm_irq_routing *table, uint32_t gsi, uint32_t irqchip, uint32_t pin)
{
    table->entries[table->nr++] = (struct kvm_irq_routing_entry){
        .gsi = gsi,
        .type = KVM_IRQ_ROUTING_IRQCHIP,
        .u.irqchip = {.irqchip = irqchip, .pin = pin},
    };
}

/* The whole table, as KVM takes no less: the pins as KVM wires them by itself, and the tick.
 * Returns 0 or an errno value. */
static int set_msi_route(Vmm *vmm, const struct route *route)
{
    gboolean lowest = route->delivery == HV_EMULATED_TIMER_DELIVERY_LOWEST_PRIORITY;
    g_autofree struct kvm_irq_routing *table =
        g_malloc0(sizeof *table + (2 * PIC_PINS + IOAPIC_PINS + 1) * sizeof table->entries[0]);

    for (uint32_t pin = 0; pin < PIC_PINS; pin++) {
        add_pin(table, pin, KVM_IRQCHIP_PIC_MASTER, pin);
        add_pin(table, PIC_PINS + pin, KVM_IRQCHIP_PIC_SLAVE, pin);
    }
    for (uint32_t pin = 0; pin < IOAPIC_PINS; pin++)
        add_pin(table, pin, KVM_IRQCHIP_IOAPIC, pin);
    table->entries[table->nr++] = (struct kvm_irq_routing_entry){
        .gsi = TICK_GSI,
        .type = KVM_IRQ_ROUTING_MSI,
        .u.msi.address_lo = MSI_ADDRESS | (uint32_t)route->destination << MSI_DESTINATION_SHIFT |
                            (lowest ? MSI_REDIRECTION_HINT : 0) |
                            (route->logical ? MSI_LOGICAL : 0),
        .u.msi.data = route->vector | (uint32_t)route->delivery << MSI_DELIVERY_SHIFT,
    };
    return ioctl(vmm->vm_fd, KVM_SET_GSI_ROUTING, table) < 0 ? errno : 0;
}

static void set_listener_entry(struct kvm_irqchip *ioapic, const struct route *route)
{
    ioapic->chip.ioapic.redirtbl[LISTENER_PIN].bits = 0;
    ioapic->chip.ioapic.redirtbl[LISTENER_PIN].fields.vector = route->vector;
    ioapic->chip.ioapic.redirtbl[LISTENER_PIN].fields.delivery_mode = route->delivery & 7;
    ioapic->chip.ioapic.redirtbl[LISTENER_PIN].fields.dest_mode = route->logical & 1;
    ioapic->chip.ioapic.redirtbl[LISTENER_PIN].fields.mask = 1;
    ioapic->chip.ioapic.redirtbl[LISTENER_PIN].fields.dest_id = route->destination;
}

/* The listener first: that can be undone. */
static int set_route(Vmm *vmm, const struct route *route)
{
    struct kvm_irqchip before = {.chip_id = KVM_IRQCHIP_IOAPIC}, after;
    int code;

    if (vmm->listener_fd < 0)
        return set_msi_route(vmm, route);
    if (ioctl(vmm->vm_fd, KVM_GET_IRQCHIP, &before) < 0)
        return errno;
    after = before;
    set_listener_entry(&after, route);
    if (ioctl(vmm->vm_fd, KVM_SET_IRQCHIP, &after) < 0)
        return errno;
    code = set_msi_route(vmm, route);
    if (code)
        ioctl(vmm->vm_fd, KVM_SET_IRQCHIP, &before);
    return code;
}

int vmm_set_route(Vmm *vmm, uint64_t control)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&vmm->lock);
    struct route route;

    return parse_control(control, &route) ? set_route(vmm, &route) : EINVAL;
}

static int make_eventfd(GError **error)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    if (fd < 0)
        vmm_set_error_from_errno(error, "eventfd");
    return fd;
}

gboolean vmm_add_tick(Vmm *vmm, gboolean listener, GError **error)
{
    struct kvm_irqfd tick = {.gsi = TICK_GSI};
    struct kvm_irqfd resample = {.gsi = LISTENER_PIN, .flags = KVM_IRQFD_FLAG_RESAMPLE};

    g_assert(vmm->tick_fd < 0);
    vmm->tick_fd = make_eventfd(error);
    if (vmm->tick_fd < 0)
        return FALSE;
    tick.fd = (uint32_t)vmm->tick_fd;
    if (vmm_ioctl(vmm->vm_fd, KVM_IRQFD, &tick, error) < 0)
        return FALSE;
    if (!listener)
        return TRUE;

    vmm->listener_fd = make_eventfd(error);
    if (vmm->listener_fd < 0)
        return FALSE;
    vmm->ack_fd = make_eventfd(error);
    if (vmm->ack_fd < 0)
        return FALSE;
    resample.fd = (uint32_t)vmm->listener_fd;
    resample.resamplefd = (uint32_t)vmm->ack_fd;
    return vmm_ioctl(vmm->vm_fd, KVM_IRQFD, &resample, error) >= 0;
}

int vmm_tick_fd(Vmm *vmm)
{
    return vmm->tick_fd;
}

int vmm_ack_fd(Vmm *vmm)
{
    return vmm->ack_fd;
}
