/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A running process of an unmodified KVM VMM: see vm-process.h. */
#include "daemon/sources/vm-process.h"

#include "common/status.h"
#include "daemon/attach/process.h"
#include "daemon/base-timer/qemu-options.h"
#include "daemon/injectors/lapic.h"
#include "daemon/injectors/shared-line.h"
#include <errno.h>
#include <glib-unix.h>
#include <sys/syscall.h>
#include <unistd.h>

struct vm_process {
    struct guest *guest;
    const struct config *config;
    struct attach_queue *queue;
    pid_t pid;
    int pidfd;
    guint watch; /* of pidfd: readable when the process has ended */
    vm_process_ended_func ended;
    gpointer user_data;
};

static uint32_t pin_mask(const struct config_pins *pins)
{
    uint32_t mask = 0;

    for (unsigned i = 0; i < pins->length; i++) {
        mask |= UINT32_C(1) << pins->pins[i];
    }
    return mask;
}

/* NULL, or why no local APIC timer may be leased for it, whatever the guest does. */
static const char *lease_problem(const struct guest_attach_wish *wish)
{
    if (wish->paced) {
        return "the guest uses it itself, or the policy is \"observe\", with which nothing may "
               "tick";
    }
    if (!pin_edges_are_heard()) {
        return "with AVIC (kvm_amd.avic) KVM does not see what the guest takes of its ticks";
    }
    return injector_lapic_problem(wish->period);
}

/* NULL, or what is wrong with the wish on this host. */
static GError *attach_problem(const struct vm_process *process,
                              const struct guest_attach_wish *wish)
{
    const char *name = wish->injector;

    if (process->config->pins.length == 0) {
        return g_error_new_literal(
            HV_STATUS_ERROR, HV_STATUS_INVALID_PARTITION_STATE,
            "no pin may be borrowed: \"pins\" of the configuration is empty");
    }
    if (g_str_equal(name, "auto") || g_str_equal(name, "pin")) {
        return NULL;
    }
    if (!g_str_equal(name, "lapic")) {
        return g_error_new(
            HV_STATUS_ERROR, HV_STATUS_INVALID_PARTITION_STATE,
            "ticks of a VM that was not handed over can't go by \"%s\"; by \"lapic\" "
            "or \"pin\" they can",
            name);
    }
    return lease_problem(wish) != NULL
               ? g_error_new(HV_STATUS_ERROR, HV_STATUS_INVALID_PARTITION_STATE,
                             "the local APIC timer can't be leased: %s; use \"pin\", or \"auto\"",
                             lease_problem(wish))
               : NULL;
}

static void attach(const struct guest_attach_wish *wish, guest_attached_func done,
                   gpointer done_data, gpointer user_data)
{
    struct vm_process *process = user_data;
    g_autoptr(GError) error = attach_problem(process, wish);
    uint32_t pins = pin_mask(&process->config->pins);

    if (error != NULL) {
        done(NULL, error, done_data);
    } else if (g_str_equal(wish->injector, "pin") || lease_problem(wish) != NULL) {
        injector_pin_borrow(process->queue, pins, wish->control, done, done_data);
    } else {
        struct lapic_wish lapic = {.pins = pins,
                                   .control = wish->control,
                                   .period = wish->period,
                                   .or_pin = g_str_equal(wish->injector, "auto")};
        injector_lapic_lease(process->queue, &lapic, done, done_data);
    }
}

static void watch(enum base_timer timer, guest_attached_func done, gpointer done_data,
                  gpointer user_data)
{
    struct vm_process *process = user_data;
    g_autoptr(GError) error = NULL;
    gboolean makes_up;

    if (!qemu_makes_up(process->pid, timer, &makes_up, &error)) {
        done(NULL, error, done_data);
        return;
    }
    injector_shared_line_open(process->queue, timer, makes_up, done, done_data);
}

static void free_process(gpointer data)
{
    struct vm_process *process = data;

    g_clear_handle_id(&process->watch, g_source_remove);
    close(process->pidfd);
    attach_queue_unref(process->queue);
    g_free(process);
}

static gboolean on_ended(G_GNUC_UNUSED gint fd, G_GNUC_UNUSED GIOCondition condition,
                         gpointer user_data)
{
    struct vm_process *process = user_data;

    struct guest *guest = process->guest;
    vm_process_ended_func ended = process->ended;
    gpointer ended_data = process->user_data;

    process->watch = 0;
    guest_turn_off(guest); /* frees the process */
    if (ended != NULL) {
        ended(guest, ended_data);
    }
    return G_SOURCE_REMOVE;
}

static int open_process(pid_t pid, uint64_t *ret_start_time, GError **error)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);

    if (fd < 0) {
        g_set_error(error, HV_STATUS_ERROR, HV_STATUS_INVALID_PARTITION_ID,
                    "process %d can't be watched: %s", (int)pid, g_strerror(errno));
        return -1;
    }
    if (!process_start_time(pid, ret_start_time, error)) {
        close(fd);
        return -1;
    }
    return fd;
}

gboolean vm_process_start(struct guest *guest, pid_t pid, const struct config *config,
                          vm_process_ended_func ended, gpointer user_data, GError **error)
{
    uint64_t start_time;
    int fd = open_process(pid, &start_time, error);

    if (fd < 0) {
        return FALSE;
    }
    struct vm_process *process = g_new0(struct vm_process, 1);
    process->guest = guest;
    process->config = config;
    process->ended = ended;
    process->user_data = user_data;
    process->pid = pid;
    process->queue = attach_queue_new(config->attach_helper, pid, start_time);
    process->pidfd = fd;
    process->watch = g_unix_fd_add(fd, G_IO_IN, on_ended, process);
    guest_start(guest, (uint32_t)pid,
                &(struct guest_attacher){attach, watch, process, free_process});
    return TRUE;
}
