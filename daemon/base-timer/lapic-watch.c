/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whether a guest uses a vCPU's local APIC timer, from KVM's trace events kvm_apic and kvm_msr: see
 * lapic-watch.h. Both are filtered in the kernel and go to one ring for each thread, of which only
 * one thing is of interest: that there is anything in it.
 */
#include "daemon/base-timer/lapic-watch.h"

#include "daemon/base-timer/kvm-event.h"
#include <glib-unix.h>
#include <sys/ioctl.h>
#include <unistd.h>

/*
 * What is seen: arch/x86/kvm/lapic.c has kvm_apic in kvm_lapic_reg_write() and _read(). There come
 * the accesses by memory; those by x2APIC MSRs and by Hyper-V's (kvm_x2apic_msr_write(),
 * kvm_hv_vapic_msr_write()); and, where the hardware does the rest by itself (APICv, AVIC), the
 * writes that it leaves to KVM (kvm_apic_write_nodecode()), all of these among them. Registers that
 * are set by the VMM (KVM_SET_LAPIC) or by a reset don't come there.
 */
enum { EVENT_APIC, EVENT_MSR, EVENTS };

static const struct {
    const char *name;
    const char *fields[3];
    const char *filter;
} events[EVENTS] = {
    /* Registers by their offset (Intel SDM volume 3, table 11-1). @rw: 1 is a write. The count is
     * read by who uses the timer, and may be read in parts; a write always comes whole. A system
     * that boots switches its APIC on, which it is already, and sets its logical ID: that does the
     * timer no harm. */
    [EVENT_APIC] = {"kvm/kvm_apic",
                    {"rw", "reg", "val"},
                    "(rw == 1 && ("
                    "reg == 0x320 || "                      /* LVT timer */
                    "reg == 0x380 || "                      /* initial count */
                    "reg == 0x3e0 || "                      /* divide configuration */
                    "(reg == 0xf0 && !(val & 0x100)))) || " /* software disable */
                    "(rw == 0 && reg >= 0x390 && reg <= 0x393)" /* current count */},
    /* (Intel SDM volume 4, table 2-2.) */
    [EVENT_MSR] = {"kvm/kvm_msr",
                   {"write", "ecx", "data"},
                   "write == 1 && ("
                   "ecx == 0x1b || " /* APIC base: its address, x2APIC, or off */
                   "ecx == 0x6e0)" /* TSC deadline */},
};

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
        if (ring->fds[i] >= 0) {
            kvm_event_close(ring->fds[i]);
        }
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

/* TRUE without a page: the thread has ended. */
static gboolean open_ring(struct ring *ring, pid_t thread, const struct kvm_event *found,
                          GError **error)
{
    /* Records without contents, and a wakeup with the first one. */
    static const struct perf_event_attr attr = {.sample_period = 1, .wakeup_events = 1};

    for (unsigned i = 0; i < EVENTS; i++) {
        if (!kvm_event_open(&found[i], thread, &attr, events[i].filter, &ring->fds[i], error)) {
            return FALSE;
        }
        if (ring->fds[i] < 0) {
            return TRUE;
        }
    }
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
        ioctl(ring->fds[i], PERF_EVENT_IOC_ENABLE, 0);
    }
}

static gboolean open_rings(struct lapic_watch *watch, const GArray *threads, GError **error)
{
    struct kvm_event found[EVENTS];

    for (unsigned i = 0; i < EVENTS; i++) {
        if (!kvm_event_find(events[i].name, events[i].fields, G_N_ELEMENTS(events[i].fields),
                            &found[i], error)) {
            return FALSE;
        }
    }
    for (unsigned i = 0; i < threads->len; i++) {
        struct ring *ring = g_new0(struct ring, 1);
        *ring = (struct ring){.watch = watch, .fds = {-1, -1}};
        g_ptr_array_add(watch->rings, ring);
        if (!open_ring(ring, g_array_index(threads, pid_t, i), found, error)) {
            return FALSE;
        }
        if (ring->page == NULL) {
            g_ptr_array_set_size(watch->rings, (gint)watch->rings->len - 1);
        }
    }
    return TRUE;
}

struct lapic_watch *lapic_watch_new(pid_t pid, unsigned vcpu, lapic_watch_func touched,
                                    gpointer user_data, GError **error)
{
    g_autoptr(GArray) threads = kvm_event_find_vcpu_threads(pid, vcpu, error);
    struct lapic_watch *watch;

    if (threads == NULL) {
        return NULL;
    }
    watch = g_new0(struct lapic_watch, 1);
    watch->rings = g_ptr_array_new_with_free_func(free_ring);
    watch->touched = touched;
    watch->user_data = user_data;
    if (!open_rings(watch, threads, error)) {
        g_prefix_error(error, "the guest's use of its local APIC timer can't be watched: ");
        g_clear_pointer(&watch, lapic_watch_free);
    } else if (watch->rings->len == 0) {
        kvm_event_set_ended(error, pid);
        g_clear_pointer(&watch, lapic_watch_free);
    } else {
        for (unsigned i = 0; i < watch->rings->len; i++) {
            start_ring(g_ptr_array_index(watch->rings, i));
        }
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
