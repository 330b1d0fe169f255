/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Perf events that others have opened: see kvm-event.h. */
#include "daemon/base-timer/kvm-event.h"

#include "common/status.h"
#include <errno.h>
#include <glib/gstdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

unsigned kvm_event_rows(const struct attach_result *opened, unsigned row)
{
    return opened->n_fds / row;
}

int kvm_event_take(struct attach_result *opened, unsigned at)
{
    return g_steal_fd(&opened->fds[at]);
}

void kvm_event_enable(int fd)
{
    ioctl(fd, PERF_EVENT_IOC_ENABLE, 0);
}

struct perf_event_mmap_page *kvm_event_map(int fd, size_t size, GError **error)
{
    void *mapping = mmap(NULL, (size_t)sysconf(_SC_PAGESIZE) + size, PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_POPULATE, fd, 0);

    if (mapping == MAP_FAILED) {
        /* EPERM too: more memory would be locked than is allowed. */
        g_set_error(error, HV_STATUS_ERROR, HV_STATUS_INSUFFICIENT_MEMORY,
                    "mapping a perf event's ring: %s; raise hvtimerd's limit of locked memory "
                    "(LimitMEMLOCK)",
                    g_strerror(errno));
        return NULL;
    }
    return mapping;
}

void kvm_event_unmap(struct perf_event_mmap_page *page, size_t size)
{
    if (page != NULL) {
        munmap(page, (size_t)sysconf(_SC_PAGESIZE) + size);
    }
}

gboolean kvm_event_redirect(int fd, int ring_fd, GError **error)
{
    if (ioctl(fd, PERF_EVENT_IOC_SET_OUTPUT, ring_fd) != 0) {
        g_set_error(error, HV_STATUS_ERROR, HV_STATUS_OPERATION_DENIED,
                    "one ring for two perf events: %s; a newer kernel may help", g_strerror(errno));
        return FALSE;
    }
    return TRUE;
}

static void close_one(gpointer data, G_GNUC_UNUSED gpointer user_data)
{
    close(GPOINTER_TO_INT(data) - 1);
}

void kvm_event_close(int fd)
{
    static GThreadPool *closer; /* one thread, and only while there is something to be closed */

    if (closer == NULL) {
        closer = g_thread_pool_new(close_one, NULL, 1, FALSE, NULL);
    }
    g_thread_pool_push(closer, GINT_TO_POINTER(fd + 1), NULL);
}

void kvm_event_close_all(struct attach_result *opened)
{
    for (unsigned i = 0; opened != NULL && i < opened->n_fds; i++) {
        if (opened->fds[i] >= 0) {
            kvm_event_close(kvm_event_take(opened, i));
        }
    }
}
