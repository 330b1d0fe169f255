/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * KVM's trace event kvm_pio by perf_event_open(2): see kvm-trace.h. What the kernel promises of a
 * ring and of the records in it is in linux/perf_event.h; where the fields of the event are, its
 * file "format" says.
 */
#include "daemon/base-timer/kvm-trace.h"

#include "common/status.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PORTS_MAX 4u

/* A power of two, as perf wants it. */
#define RING_SIZE UINT64_C(0x20000)

/* Positions in a ring count the bytes since its begin; this one is never reached. */
#define NOWHERE UINT64_MAX

/* The longest raw data that are understood; the event's are 28 bytes. */
#define RAW_MAX 128u

/* A PERF_RECORD_SAMPLE with PERF_SAMPLE_TIME | PERF_SAMPLE_RAW. */
struct sample {
    struct perf_event_header header;
    uint64_t time_ns;
    uint32_t raw_size;
    uint8_t raw[RAW_MAX];
};
#define SAMPLE_HEAD offsetof(struct sample, raw)

/* @rw: 0 is IN, 1 is OUT (KVM_PIO_IN and _OUT, arch/x86/kvm/trace.h); @val is the first one's. */
enum { FIELD_RW, FIELD_PORT, FIELD_SIZE, FIELD_COUNT, FIELD_VAL, FIELDS };
static const char *const field_names[FIELDS] = {"rw", "port", "size", "count", "val"};

/* kvm_pio, as this kernel has it. */
struct event {
    uint64_t id;
    struct {
        uint32_t offset, size;
    } fields[FIELDS];
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
    struct event event;
    GArray *rings; /* struct ring */
    uint64_t last_ns;
    bool lost; /* to be told of, before anything else is returned */
};

static void set_error(GError **error, HV_STATUS status, int code, const char *what)
{
    const char *remedy =
        status == HV_STATUS_ACCESS_DENIED
            ? "run hvtimerd as root, or with CAP_PERFMON and CAP_SYS_ADMIN, and without kernel "
              "lockdown"
        : status == HV_STATUS_INSUFFICIENT_MEMORY
            ? "raise hvtimerd's limits of open files and of locked memory (LimitNOFILE, "
              "LimitMEMLOCK)"
            : "it takes the kvm module, and a kernel with perf events and trace events "
              "(CONFIG_PERF_EVENTS, CONFIG_FTRACE)";

    g_set_error(error, HV_STATUS_ERROR, status, "port accesses can't be traced: %s: %s; %s", what,
                g_strerror(code), remedy);
}

static HV_STATUS status_of(int code)
{
    switch (code) {
    case EACCES:
    case EPERM:
        return HV_STATUS_ACCESS_DENIED;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
        return HV_STATUS_INSUFFICIENT_MEMORY;
    default:
        return HV_STATUS_OPERATION_DENIED;
    }
}

/* ---- The event ---- */

/* Of a small file; @buffer becomes a string. FALSE, with errno. */
static gboolean read_file(int directory, const char *name, char *buffer, size_t size)
{
    int fd = openat(directory, name, O_RDONLY | O_CLOEXEC);
    size_t length = 0;
    ssize_t got = -1;
    int code;

    while (fd >= 0 && (got = read(fd, buffer + length, size - 1 - length)) > 0) {
        length += (size_t)got;
    }
    buffer[length] = '\0';
    code = errno;
    if (fd >= 0) {
        close(fd);
    }
    errno = code;
    return got == 0;
}

/* A line as "field:unsigned int port;	offset:12;	size:4;	signed:0;". */
static void read_field(struct event *event, const char *line)
{
    char name[32];
    unsigned offset, size;

    /* The type may be several words: the name is the last one before the semicolon. */
    const char *end = strchr(line, ';');
    const char *last = end != NULL ? g_strrstr_len(line, end - line, " ") : NULL;
    if (last == NULL ||
        sscanf(last, " %31[a-z_]; offset:%u; size:%u;", name, &offset, &size) != 3) {
        return;
    }
    for (unsigned i = 0; i < FIELDS; i++) {
        if (strcmp(name, field_names[i]) == 0 && size >= 1 && size <= sizeof(uint64_t) &&
            offset <= RAW_MAX - size) {
            event->fields[i].offset = offset;
            event->fields[i].size = size;
            event->raw_size = MAX(event->raw_size, offset + size);
        }
    }
}

/* FALSE, with errno. */
static gboolean read_event(int tracing, struct event *ret_event)
{
    char id[32], format[4096];

    *ret_event = (struct event){.id = 0};
    if (!read_file(tracing, "events/kvm/kvm_pio/id", id, sizeof(id)) ||
        !read_file(tracing, "events/kvm/kvm_pio/format", format, sizeof(format))) {
        return FALSE;
    }
    ret_event->id = g_ascii_strtoull(id, NULL, 10);
    for (const char *line = format; (line = strstr(line, "field:")) != NULL; line++) {
        read_field(ret_event, line);
    }
    for (unsigned i = 0; i < FIELDS; i++) {
        if (ret_event->fields[i].size == 0) {
            errno = EPROTO; /* before Linux 3.17 there was no val */
            return FALSE;
        }
    }
    return TRUE;
}

/* The tracing directory of a host where nobody has mounted it: a mount at no place, seen by nobody
 * and gone with its descriptor. -1, with errno. */
static int mount_tracing(void)
{
    int fs = (int)syscall(SYS_fsopen, "tracefs", FSOPEN_CLOEXEC);
    int fd = -1, code;

    if (fs < 0) {
        return -1;
    }
    if (syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0) {
        fd = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC,
                          MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    }
    code = errno;
    close(fs);
    errno = code;
    return fd;
}

static gboolean find_event(struct event *ret_event, GError **error)
{
    static const char *const places[] = {"/sys/kernel/tracing", "/sys/kernel/debug/tracing", NULL};
    int code = 0;

    for (unsigned i = 0; i < G_N_ELEMENTS(places); i++) {
        int tracing =
            places[i] != NULL ? open(places[i], O_PATH | O_DIRECTORY | O_CLOEXEC) : mount_tracing();
        gboolean found = tracing >= 0 && read_event(tracing, ret_event);
        code = errno;
        if (tracing >= 0) {
            close(tracing);
        }
        if (found) {
            return TRUE;
        }
    }
    set_error(error, status_of(code), code, "the kernel's trace event kvm_pio");
    return FALSE;
}

/* ---- The threads ---- */

/* "CPU 0/KVM", as QEMU calls it where debug-threads is on, as with libvirt. */
static gboolean is_vcpu(const char *comm)
{
    size_t digits;

    if (!g_str_has_prefix(comm, "CPU ")) {
        return FALSE;
    }
    comm += strlen("CPU ");
    digits = strspn(comm, "0123456789");
    return digits > 0 && g_str_equal(comm + digits, "/KVM");
}

/* The threads to be traced, pid_t; NULL: there is no such process. */
static GArray *find_threads(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task", (int)pid);
    g_autoptr(GDir) directory = g_dir_open(path, 0, NULL);
    g_autoptr(GArray) vcpus = g_array_new(FALSE, FALSE, sizeof(pid_t));
    g_autoptr(GArray) all = g_array_new(FALSE, FALSE, sizeof(pid_t));
    const char *name;

    while (directory != NULL && (name = g_dir_read_name(directory)) != NULL) {
        g_autofree char *comm_path = g_build_filename(path, name, "comm", NULL);
        g_autofree char *comm = NULL;
        pid_t thread = (pid_t)g_ascii_strtoll(name, NULL, 10);

        if (!g_file_get_contents(comm_path, &comm, NULL, NULL)) {
            continue; /* it has ended */
        }
        g_array_append_val(all, thread);
        if (is_vcpu(g_strchomp(comm))) {
            g_array_append_val(vcpus, thread);
        }
    }
    if (all->len == 0) {
        return NULL;
    }
    return vcpus->len > 0 ? g_steal_pointer(&vcpus) : g_steal_pointer(&all);
}

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

    if (ring->page != NULL) {
        munmap(ring->page, (size_t)sysconf(_SC_PAGESIZE) + RING_SIZE);
    }
    if (ring->fd >= 0) {
        close(ring->fd);
    }
}

/* FALSE, with errno. */
static gboolean open_event(struct ring *ring, pid_t thread, const struct event *event)
{
    struct perf_event_attr attr = {
        .type = PERF_TYPE_TRACEPOINT,
        .size = sizeof(attr),
        .config = event->id,
        .sample_period = 1,
        .sample_type = PERF_SAMPLE_TIME | PERF_SAMPLE_RAW,
        .disabled = 1,
        .use_clockid = 1,
        .clockid = CLOCK_MONOTONIC,
    };

    ring->fd = (int)syscall(SYS_perf_event_open, &attr, thread, -1, -1, PERF_FLAG_FD_CLOEXEC);
    return ring->fd >= 0;
}

/* All of it is there when the reader comes: a page fault is no business of a real-time thread. */
static gboolean map_ring(struct ring *ring)
{
    size_t page_size = (size_t)sysconf(_SC_PAGESIZE);
    void *mapping = mmap(NULL, page_size + RING_SIZE, PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_POPULATE, ring->fd, 0);

    if (mapping == MAP_FAILED) {
        return FALSE;
    }
    ring->page = mapping;
    ring->data = (const uint8_t *)mapping + page_size;
    __atomic_store_n(&ring->page->data_tail, 0, __ATOMIC_RELEASE);
    return TRUE;
}

/* TRUE without a new ring if the thread has ended. */
static gboolean add_ring(struct kvm_trace *trace, pid_t thread, const char *filter, GError **error)
{
    struct ring ring = {.full_at = NOWHERE, .told_at = NOWHERE};

    if (!open_event(&ring, thread, &trace->event)) {
        if (errno == ESRCH) {
            return TRUE;
        }
        set_error(error, status_of(errno), errno, "opening a perf event");
        return FALSE;
    }
    g_array_append_val(trace->rings, ring);
    struct ring *added = &g_array_index(trace->rings, struct ring, trace->rings->len - 1);
    if (ioctl(added->fd, PERF_EVENT_IOC_SET_FILTER, filter) != 0) {
        set_error(error, status_of(errno), errno, "a perf event's filter");
        return FALSE;
    }
    if (!map_ring(added)) {
        set_error(error, HV_STATUS_INSUFFICIENT_MEMORY, errno, "mapping a perf event's ring");
        return FALSE;
    }
    return TRUE;
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

    threads = find_threads(pid);
    done = threads == NULL || find_event(&trace->event, error);
    for (unsigned i = 0; done && threads != NULL && i < threads->len; i++) {
        done = add_ring(trace, g_array_index(threads, pid_t, i), filter, error);
    }
    if (done && trace->rings->len == 0) {
        g_set_error(error, HV_STATUS_ERROR, HV_STATUS_INVALID_PARTITION_ID,
                    "there is no process %d: it has ended, or the number is wrong", (int)pid);
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
static uint64_t field(const struct event *event, const struct sample *sample, unsigned i)
{
    uint64_t value = 0;

    memcpy(&value, sample->raw + event->fields[i].offset, event->fields[i].size);
    return value;
}

/* What the record at the ring's tail, of @size bytes, says. FALSE: not what was asked for. */
static bool read_sample(const struct ring *ring, const struct event *event, size_t size,
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
static void note_full(struct ring *ring, const struct event *event, uint64_t head)
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
static bool read_record(struct ring *ring, const struct event *event, uint64_t head)
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
static void fill_next(struct ring *ring, const struct event *event)
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
