/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * KVM's trace event kvm_pio by perf_event_open(2): see kvm-trace.h. What the kernel promises of a
 * ring and of the records in it is in linux/perf_event.h.
 */
#include "daemon/base-timer/kvm-trace.h"

#include "daemon/base-timer/kvm-event.h"
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define PORTS_MAX 4u

/* A power of two, as perf wants it. */
#define RING_SIZE UINT64_C(0x20000)

/* Positions in a ring count the bytes since its begin; this one is never reached. */
#define NOWHERE UINT64_MAX

/* A PERF_RECORD_SAMPLE with PERF_SAMPLE_TIME | PERF_SAMPLE_RAW. */
struct sample {
    struct perf_event_header header;
    uint64_t time_ns;
    uint32_t raw_size;
    uint8_t raw[KVM_EVENT_RAW_MAX];
};
#define SAMPLE_HEAD offsetof(struct sample, raw)

/* @rw: 0 is IN, 1 is OUT (KVM_PIO_IN and _OUT, arch/x86/kvm/trace.h); @val is the first one's. */
enum { FIELD_RW, FIELD_PORT, FIELD_SIZE, FIELD_COUNT, FIELD_VAL, FIELDS };
static const char *const field_names[FIELDS] = {"rw", "port", "size", "count", "val"};

/* The accesses of one thread. */
struct ring {
    int fd;
    struct perf_event_mmap_page *page; /* and behind it @data */
    const uint8_t *data;

    uint64_t tail;    /* how far it is read */
    uint64_t full_at; /* where it ended when there was no room left; or NOWHERE */
    uint64_t told_at; /* where there is a gap that is told of already; or NOWHERE */
    bool gap;         /* before @next some were lost */
    bool have_next;
    struct port_access next; /* taken out of the ring, but not yet returned */
};

struct kvm_trace {
    struct kvm_event event; /* kvm_pio */
    GArray *rings;          /* struct ring */
    uint64_t last_ns;
    bool lost; /* to be told of, before anything else is returned */
};

/* ---- The threads ---- */

static char *filter_for(const uint16_t *ports, unsigned n_ports)
{
    GString *filter = g_string_new("size == 1 && count == 1 && (");

    for (unsigned i = 0; i < n_ports; i++) {
        g_string_append_printf(filter, "%sport == %#x", i > 0 ? " || " : "", ports[i]);
    }
    return g_string_free(g_string_append_c(filter, ')'), FALSE);
}

static void close_ring(gpointer data)
{
    struct ring *ring = data;

    kvm_event_unmap(ring->page, RING_SIZE);
    kvm_event_close(ring->fd);
}

/* TRUE without a new ring if the thread has ended. */
static gboolean add_ring(struct kvm_trace *trace, pid_t thread, const char *filter, GError **error)
{
    static const struct perf_event_attr attr = {
        .sample_period = 1,
        .sample_type = PERF_SAMPLE_TIME | PERF_SAMPLE_RAW,
        .use_clockid = 1,
        .clockid = CLOCK_MONOTONIC,
    };
    struct ring ring = {.full_at = NOWHERE, .told_at = NOWHERE};

    if (!kvm_event_open(&trace->event, thread, &attr, filter, &ring.fd, error)) {
        return FALSE;
    }
    if (ring.fd < 0) {
        return TRUE;
    }
    /* Mapped now: a page fault is no business of a real-time thread. */
    ring.page = kvm_event_map(ring.fd, RING_SIZE, error);
    g_array_append_val(trace->rings, ring);
    struct ring *added = &g_array_index(trace->rings, struct ring, trace->rings->len - 1);
    if (added->page == NULL) {
        return FALSE;
    }
    added->data = (const uint8_t *)added->page + sysconf(_SC_PAGESIZE);
    __atomic_store_n(&added->page->data_tail, 0, __ATOMIC_RELEASE);
    return TRUE;
}

static gboolean add_rings(struct kvm_trace *trace, const GArray *threads, const char *filter,
                          GError **error)
{
    gboolean done = kvm_event_find("kvm/kvm_pio", field_names, FIELDS, &trace->event, error);

    for (unsigned i = 0; done && i < threads->len; i++) {
        done = add_ring(trace, g_array_index(threads, pid_t, i), filter, error);
    }
    if (!done) {
        g_prefix_error(error, "port accesses can't be traced: ");
    }
    return done;
}

struct kvm_trace *kvm_trace_new(pid_t pid, const uint16_t *ports, unsigned n_ports, GError **error)
{
    g_autoptr(GArray) threads = NULL;
    struct kvm_trace *trace;
    gboolean done;

    g_return_val_if_fail(n_ports >= 1 && n_ports <= PORTS_MAX, NULL);

    g_autofree char *filter = filter_for(ports, n_ports);
    trace = g_new0(struct kvm_trace, 1);
    trace->rings = g_array_new(FALSE, TRUE, sizeof(struct ring));
    g_array_set_clear_func(trace->rings, close_ring);

    threads = kvm_event_find_threads(pid, error);
    done = threads != NULL && add_rings(trace, threads, filter, error);
    if (done && trace->rings->len == 0) {
        kvm_event_set_ended(error, pid);
        done = FALSE;
    }
    for (unsigned i = 0; done && i < trace->rings->len; i++) {
        ioctl(g_array_index(trace->rings, struct ring, i).fd, PERF_EVENT_IOC_ENABLE, 0);
    }
    if (!done) {
        g_clear_pointer(&trace, kvm_trace_free);
    }
    return trace;
}

void kvm_trace_free(struct kvm_trace *trace)
{
    if (trace != NULL) {
        g_array_unref(trace->rings);
        g_free(trace);
    }
}

/* ---- Reading, without system calls, locks and memory of its own ---- */

static void copy_out(const struct ring *ring, uint64_t position, void *to, size_t length)
{
    uint64_t at = position & (RING_SIZE - 1);
    size_t first = MIN(length, (size_t)(RING_SIZE - at));

    memcpy(to, ring->data + at, first);
    memcpy((uint8_t *)to + first, ring->data, length - first);
}

/* x86 is little-endian, and so are the event's fields. */
static uint64_t field(const struct kvm_event *event, const struct sample *sample, unsigned i)
{
    uint64_t value = 0;

    memcpy(&value, sample->raw + event->fields[i].offset, event->fields[i].size);
    return value;
}

/* What the record at the ring's tail, of @size bytes, says. FALSE: not what was asked for. */
static bool read_sample(const struct ring *ring, const struct kvm_event *event, size_t size,
                        struct port_access *ret_access)
{
    struct sample sample = {.raw_size = 0};

    copy_out(ring, ring->tail, &sample, MIN(size, sizeof(sample)));
    if (size < SAMPLE_HEAD + event->raw_size || sample.raw_size < event->raw_size ||
        field(event, &sample, FIELD_SIZE) != 1 || field(event, &sample, FIELD_COUNT) != 1) {
        return false;
    }
    *ret_access = (struct port_access){
        .time_ns = sample.time_ns,
        .port = (uint16_t)field(event, &sample, FIELD_PORT),
        .write = field(event, &sample, FIELD_RW) != 0,
        .value = (uint8_t)field(event, &sample, FIELD_VAL),
    };
    return true;
}

/*
 * After an overflow the kernel says so only with the next record that has room, which may be long
 * in coming. So a ring that had no room for one more is taken to have overflown, unless another
 * record follows, and tells.
 */
static void note_full(struct ring *ring, const struct kvm_event *event, uint64_t head)
{
    uint64_t record = SAMPLE_HEAD + event->raw_size;

    if (head - ring->tail + record >= RING_SIZE) {
        ring->full_at = head;
    }
}

static void note_drained(struct ring *ring)
{
    if (ring->full_at == ring->tail) {
        ring->full_at = NOWHERE;
        ring->told_at = ring->tail;
        ring->gap = true;
    }
}

/* One record at the tail. FALSE: this can't be one. */
static bool read_record(struct ring *ring, const struct kvm_event *event, uint64_t head)
{
    struct perf_event_header header;
    uint64_t left = head - ring->tail;

    if (left < sizeof(header) || left > RING_SIZE) {
        return false;
    }
    copy_out(ring, ring->tail, &header, sizeof(header));
    if (header.size < sizeof(header) || header.size > left) {
        return false;
    }
    if (header.type == PERF_RECORD_SAMPLE) {
        ring->have_next = read_sample(ring, event, header.size, &ring->next);
    } else if (header.type == PERF_RECORD_LOST && ring->tail != ring->told_at) {
        ring->gap = true;
    } else if (header.type == PERF_RECORD_THROTTLE) {
        ring->gap = true;
    }
    ring->tail += header.size;
    return true;
}

/* Takes the oldest access out of the ring. Ends: each record has a length, and those that come
 * meanwhile are left for the next time. */
static void fill_next(struct ring *ring, const struct kvm_event *event)
{
    uint64_t head;

    if (ring->have_next) {
        return;
    }
    /* What is before the head was written before it. */
    head = __atomic_load_n(&ring->page->data_head, __ATOMIC_ACQUIRE);
    if (head == ring->tail) {
        note_drained(ring);
        return;
    }
    note_full(ring, event, head);
    while (!ring->have_next && ring->tail != head) {
        if (!read_record(ring, event, head)) {
            ring->tail = head;
            ring->gap = true;
        }
    }
    /* All was read before the kernel may write there again. */
    __atomic_store_n(&ring->page->data_tail, ring->tail, __ATOMIC_RELEASE);
}

static struct ring *oldest_found(struct kvm_trace *trace)
{
    struct ring *found = NULL;

    for (unsigned i = 0; i < trace->rings->len; i++) {
        struct ring *ring = &g_array_index(trace->rings, struct ring, i);
        fill_next(ring, &trace->event);
        if (ring->have_next && (found == NULL || ring->next.time_ns < found->next.time_ns)) {
            found = ring;
        }
    }
    return found;
}

/* What one thread did before it let another do something may have come to its ring when that had
 * been looked at, and the other's had not yet. So if there is any, all are looked at again: what
 * was before it is there by now. */
static struct ring *oldest(struct kvm_trace *trace)
{
    return oldest_found(trace) != NULL ? oldest_found(trace) : NULL;
}

/* Losses after which nothing came. */
static bool take_gaps_at_end(struct kvm_trace *trace)
{
    bool any = false;

    for (unsigned i = 0; i < trace->rings->len; i++) {
        struct ring *ring = &g_array_index(trace->rings, struct ring, i);
        if (ring->gap && !ring->have_next) {
            ring->gap = false;
            any = true;
        }
    }
    return any;
}

bool kvm_trace_next(struct kvm_trace *trace, uint64_t until_ns, struct port_access *ret_access)
{
    struct ring *ring;

    if (trace->lost) {
        return false;
    }
    ring = oldest(trace);
    if (ring == NULL || ring->next.time_ns > until_ns) {
        trace->lost = take_gaps_at_end(trace);
        return false;
    }
    if (ring->gap) {
        ring->gap = false;
        trace->lost = true;
        return false;
    }
    ring->have_next = false;
    *ret_access = ring->next;
    /* The kernel's fast clock may go back by some ns as the clock's rate is adjusted. */
    ret_access->time_ns = trace->last_ns = MAX(ret_access->time_ns, trace->last_ns);
    return true;
}

bool kvm_trace_lost(struct kvm_trace *trace)
{
    bool lost = trace->lost;

    trace->lost = false;
    return lost;
}
