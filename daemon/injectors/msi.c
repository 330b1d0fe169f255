/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Ticks by an irqfd on an MSI route: see msi.h. */
#include "daemon/injectors/msi.h"

#include "daemon/descriptor.h"
#include <gio/gio.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* With AVIC the CPU handles an edge-triggered vector's EOI by itself and KVM never hears of it. If
 * none is heard of for so long, none will be. */
#define AVIC_PARAMETER           "/sys/module/kvm_amd/parameters/avic"
#define AVIC_FEEDBACK_TIMEOUT_NS (2 * UINT64_C(1000000000))

struct msi {
    struct injector injector;
    int tick_fd;
    injector_msi_route_func route;
    gpointer user_data;
    GDestroyNotify free_user_data;
};

static bool inject(struct injector *injector, G_GNUC_UNUSED uint64_t now)
{
    return eventfd_write(((struct msi *)injector)->tick_fd, 1) == 0;
}

static uint64_t acknowledged(struct injector *injector, G_GNUC_UNUSED uint64_t now)
{
    eventfd_t eois;

    return eventfd_read(injector->ack_fd, &eois) == 0 ? eois : 0;
}

static void set_route(struct injector *injector, uint64_t control,
                      G_GNUC_UNUSED struct period period, injector_routed_func done,
                      gpointer done_data)
{
    struct msi *msi = (struct msi *)injector;

    msi->route(control, done, done_data, msi->user_data);
}

static void free_msi(struct injector *injector)
{
    struct msi *msi = (struct msi *)injector;

    if (msi->tick_fd >= 0) {
        close(msi->tick_fd);
    }
    if (injector->ack_fd >= 0) {
        close(injector->ack_fd);
    }
    msi->free_user_data(msi->user_data);
    g_free(msi);
}

#define MSI_OPS                                                                      \
    .name = "msi", .base_timer = "daemon", .inject = inject, .set_route = set_route, \
    .free = free_msi

static const struct injector_ops closed_loop_ops = {MSI_OPS, .acknowledged = acknowledged};
static const struct injector_ops open_loop_ops = {MSI_OPS};

static uint64_t feedback_timeout(void)
{
    g_autofree char *avic = NULL;

    if (g_file_get_contents(AVIC_PARAMETER, &avic, NULL, NULL) && (*avic == 'Y' || *avic == '1')) {
        return AVIC_FEEDBACK_TIMEOUT_NS;
    }
    return 0;
}

struct injector *injector_msi_new(int tick_fd, int ack_fd, injector_msi_route_func route,
                                  gpointer user_data, GDestroyNotify free_user_data, GError **error)
{
    struct msi *msi = g_new0(struct msi, 1);

    msi->injector.ops = ack_fd >= 0 ? &closed_loop_ops : &open_loop_ops;
    msi->injector.ack_fd = ack_fd;
    msi->injector.feedback_timeout_ns = feedback_timeout();
    msi->injector.wide_mda = true;
    msi->tick_fd = tick_fd;
    msi->route = route;
    msi->user_data = user_data;
    msi->free_user_data = free_user_data;
    if (!descriptor_prepare_eventfd(tick_fd, error) ||
        (ack_fd >= 0 && !descriptor_prepare_eventfd(ack_fd, error))) {
        free_msi(&msi->injector);
        return NULL;
    }
    return &msi->injector;
}
