/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whether a guest uses a vCPU's local APIC timer, from KVM's trace events kvm_apic and kvm_msr: see
 * lapic-watch.h. Both are filtered in the kernel (daemon/attach/trace.c says what is let through)
 * and go to one ring for each thread, of which only one thing is of interest: that there is
 * anything in it.
 */
#include "daemon/base-timer/lapic-watch.h"

#include "daemon/base-timer/kvm-event.h"
#include <glib-unix.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* As they come in a row. */
enum { EVENT_APIC, EVENT_MSR, EVENTS };

/* Of one thread. */
struct ring {
    struct lapic_watch *watch;
    int fds[EVENTS]; /* the first one's is the ring */
    struct perf_event_mmap_page *page;
    GSource *source; /* (nullable) */
};

struct lapic_watch {
    GPtrArray *rings;
    lapic_watch_func touched;
    gpointer user_data;
};

/* The smallest that there is. */
static size_t ring_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

static void drop_source(struct ring *ring)
{
    if (ring->source != NULL) {
        g_source_destroy(ring->source);
        g_clear_pointer(&ring->source, g_source_unref);
    }
}

static void free_ring(gpointer data)
{
    struct ring *ring = data;

    drop_source(ring);
    kvm_event_unmap(ring->page, ring_size());
    for (unsigned i = EVENTS; i-- > 0;) { /* what goes to the ring before the ring */
        kvm_event_close(ring->fds[i]);
    }
    g_free(ring);
}

/* ---- What has happened ---- */

/* A guest that has begun with it goes on: no more of that is of interest. */
static void stop(struct lapic_watch *watch)
{
    for (unsigned i = 0; i < watch->rings->len; i++) {
        struct ring *ring = g_ptr_array_index(watch->rings, i);
        drop_source(ring);
        for (unsigned j = 0; j < EVENTS; j++) {
            ioctl(ring->fds[j], PERF_EVENT_IOC_DISABLE, 0);
        }
    }
}

static gboolean on_event(G_GNUC_UNUSED gint fd, GIOCondition condition, gpointer user_data)
{
    struct ring *ring = user_data;
    struct lapic_watch *watch = ring->watch;

    if ((condition & ~G_IO_IN) != 0) {
        drop_source(ring); /* the thread has ended */
        return G_SOURCE_REMOVE;
    }
    if (__atomic_load_n(&ring->page->data_head, __ATOMIC_ACQUIRE) == 0) {
        return G_SOURCE_CONTINUE;
    }
    stop(watch);
    watch->touched(watch->user_data); /* may free it */
    return G_SOURCE_REMOVE;
}

/* ---- The threads ---- */

static gboolean map_ring(struct ring *ring, GError **error)
{
    ring->page = kvm_event_map(ring->fds[0], ring_size(), error);
    if (ring->page == NULL) {
        return FALSE;
    }
    for (unsigned i = 1; i < EVENTS; i++) {
        if (!kvm_event_redirect(ring->fds[i], ring->fds[0], error)) {
            return FALSE;
        }
    }
    return TRUE;
}

static void start_ring(struct ring *ring)
{
    g_autoptr(GMainContext) context = g_main_context_ref_thread_default();

    ring->source = g_unix_fd_source_new(ring->fds[0], G_IO_IN | G_IO_HUP | G_IO_ERR);
    g_source_set_callback(ring->source, G_SOURCE_FUNC(on_event), ring, NULL);
    g_source_attach(ring->source, context);
    for (unsigned i = 0; i < EVENTS; i++) {
        kvm_event_enable(ring->fds[i]);
    }
}

struct attach_job lapic_watch_job(unsigned vcpu)
{
    return (struct attach_job){.kind = ATTACH_TRACE, .trace = ATTACH_TRACE_LAPIC, .vcpu = vcpu};
}

static struct ring *add_ring(struct lapic_watch *watch, struct attach_result *opened, unsigned row)
{
    struct ring *ring = g_new0(struct ring, 1);

    ring->watch = watch;
    for (unsigned i = 0; i < EVENTS; i++) {
        ring->fds[i] = kvm_event_take(opened, row * EVENTS + i);
    }
    g_ptr_array_add(watch->rings, ring);
    return ring;
}

struct lapic_watch *lapic_watch_new(struct attach_result *opened, lapic_watch_func touched,
                                    gpointer user_data, GError **error)
{
    struct lapic_watch *watch = g_new0(struct lapic_watch, 1);
    gboolean done = TRUE;

    watch->rings = g_ptr_array_new_with_free_func(free_ring);
    watch->touched = touched;
    watch->user_data = user_data;
    for (unsigned i = 0; done && i < kvm_event_rows(opened, EVENTS); i++) {
        done = map_ring(add_ring(watch, opened, i), error);
    }
    kvm_event_close_all(opened);
    for (unsigned i = 0; done && i < watch->rings->len; i++) {
        start_ring(g_ptr_array_index(watch->rings, i));
    }
    if (!done) {
        g_clear_pointer(&watch, lapic_watch_free);
    }
    return watch;
}

void lapic_watch_free(struct lapic_watch *watch)
{
    if (watch != NULL) {
        g_ptr_array_unref(watch->rings);
        g_free(watch);
    }
}
