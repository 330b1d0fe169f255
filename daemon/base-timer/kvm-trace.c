/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * KVM's trace event kvm_pio as perf events: see kvm-trace.h. What the kernel promises of a
 * ring and of the records in it is in linux/perf_event.h.
 */
#include "daemon/base-timer/kvm-trace.h"

#include "common/status.h"
#include "daemon/base-timer/kvm-event.h"
#include <string.h>
#include <unistd.h>

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

/* Where it has what. */
struct layout {
    struct attach_place fields[ATTACH_FIELDS];
    uint32_t raw_size; /* up to the end of the last of them */
};

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
    struct layout layout;
    GArray *rings; /* struct ring */
    uint64_t last_ns;
    bool lost; /* to be told of, before anything else is returned */
};

/* ---- The threads ---- */

struct attach_job kvm_trace_job(const uint16_t *ports, unsigned n_ports)
{
    struct attach_job job = {.kind = ATTACH_TRACE, .trace = ATTACH_TRACE_PORTS, .n_ports = n_ports};

    memcpy(job.ports, ports, MIN(n_ports, ATTACH_PORTS) * sizeof(*ports)); /* more are refused */
    return job;
}

static gboolean read_layout(struct layout *layout, const struct attach_result *opened,
                            GError **error)
{
    for (unsigned i = 0; i < ATTACH_FIELDS; i++) {
        const struct attach_place *place = &opened->fields[i];

        if (place->size < 1 || place->size > sizeof(uint64_t) ||
            place->offset > KVM_EVENT_RAW_MAX - place->size) {
            g_set_error_literal(error, HV_STATUS_ERROR, HV_STATUS_OPERATION_DENIED,
                                "this kernel's kvm_pio is not as it was known when hvtimer was "
                                "built: a newer hvtimer may know it");
            return FALSE;
        }
        layout->fields[i] = *place;
        layout->raw_size = MAX(layout->raw_size, place->offset + place->size);
    }
    return TRUE;
}

static void close_ring(gpointer data)
{
    struct ring *ring = data;

    kvm_event_unmap(ring->page, RING_SIZE);
    kvm_event_close(ring->fd);
}

/* Takes @fd. */
static gboolean add_ring(struct kvm_trace *trace, int fd, GError **error)
{
    struct ring ring = {.fd = fd, .full_at = NOWHERE, .told_at = NOWHERE};

    /* Mapped now: a page fault is no business of a real-time thread. */
    ring.page = kvm_event_map(fd, RING_SIZE, error);
    if (ring.page != NULL) {
        ring.data = (const uint8_t *)ring.page + sysconf(_SC_PAGESIZE);
        __atomic_store_n(&ring.page->data_tail, 0, __ATOMIC_RELEASE);
    }
    g_array_append_val(trace->rings, ring);
    return ring.page != NULL;
}

struct kvm_trace *kvm_trace_new(struct attach_result *opened, GError **error)
{
    struct kvm_trace *trace = g_new0(struct kvm_trace, 1);

    trace->rings = g_array_new(FALSE, TRUE, sizeof(struct ring));
    g_array_set_clear_func(trace->rings, close_ring);
    gboolean done = read_layout(&trace->layout, opened, error);
    for (unsigned i = 0; done && i < kvm_event_rows(opened, 1); i++) {
        done = add_ring(trace, kvm_event_take(opened, i), error);
    }
    kvm_event_close_all(opened);
    for (unsigned i = 0; done && i < trace->rings->len; i++) {
        kvm_event_enable(g_array_index(trace->rings, struct ring, i).fd);
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
static uint64_t field(const struct layout *layout, const struct sample *sample, unsigned i)
{
    uint64_t value = 0;

    memcpy(&value, sample->raw + layout->fields[i].offset, layout->fields[i].size);
    return value;
}

/* What the record at the ring's tail, of @size bytes, says. FALSE: not what was asked for. */
static bool read_sample(const struct ring *ring, const struct layout *layout, size_t size,
                        struct port_access *ret_access)
{
    struct sample sample = {.raw_size = 0};

    copy_out(ring, ring->tail, &sample, MIN(size, sizeof(sample)));
    if (size < SAMPLE_HEAD + layout->raw_size || sample.raw_size < layout->raw_size ||
        field(layout, &sample, ATTACH_PIO_SIZE) != 1 ||
        field(layout, &sample, ATTACH_PIO_COUNT) != 1) {
        return false;
    }
    *ret_access = (struct port_access){
        .time_ns = sample.time_ns,
        .port = (uint16_t)field(layout, &sample, ATTACH_PIO_PORT),
        .write = field(layout, &sample, ATTACH_PIO_RW) != 0,
        .value = (uint8_t)field(layout, &sample, ATTACH_PIO_VAL),
    };
    return true;
}

/*
 * After an overflow the kernel says so only with the next record that has room, which may be long
 * in coming. So a ring that had no room for one more is taken to have overflown, unless another
 * record follows, and tells.
 */
static void note_full(struct ring *ring, const struct layout *layout, uint64_t head)
{
    uint64_t record = SAMPLE_HEAD + layout->raw_size;

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
static bool read_record(struct ring *ring, const struct layout *layout, uint64_t head)
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
        ring->have_next = read_sample(ring, layout, header.size, &ring->next);
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
static void fill_next(struct ring *ring, const struct layout *layout)
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
    note_full(ring, layout, head);
    while (!ring->have_next && ring->tail != head) {
        if (!read_record(ring, layout, head)) {
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
        fill_next(ring, &trace->layout);
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
