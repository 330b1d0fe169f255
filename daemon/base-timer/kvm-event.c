/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The kernel's trace events by perf_event_open(2): see kvm-event.h. Where the fields of an event
 * are, its file "format" says.
 */
#include "daemon/base-timer/kvm-event.h"

#include "common/status.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- Errors ---- */

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

    g_set_error(error, HV_STATUS_ERROR, status, "%s: %s; %s", what, g_strerror(code), remedy);
}

void kvm_event_set_ended(GError **error, pid_t pid)
{
    g_set_error(error, HV_STATUS_ERROR, HV_STATUS_INVALID_PARTITION_ID,
                "there is no process %d: it has ended, or the number is wrong", (int)pid);
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
static void read_field(const char *line, const char *const *fields, unsigned n_fields,
                       struct kvm_event *event)
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
    for (unsigned i = 0; i < n_fields; i++) {
        if (strcmp(name, fields[i]) == 0 && size >= 1 && size <= sizeof(uint64_t) &&
            offset <= KVM_EVENT_RAW_MAX - size) {
            event->fields[i].offset = offset;
            event->fields[i].size = size;
            event->raw_size = MAX(event->raw_size, offset + size);
        }
    }
}

/* FALSE, with errno. */
static gboolean read_event(int tracing, const char *name, const char *const *fields,
                           unsigned n_fields, struct kvm_event *ret_event)
{
    g_autofree char *id_path = g_strdup_printf("events/%s/id", name);
    g_autofree char *format_path = g_strdup_printf("events/%s/format", name);
    char id[32], format[4096];

    *ret_event = (struct kvm_event){.id = 0};
    if (!read_file(tracing, id_path, id, sizeof(id)) ||
        !read_file(tracing, format_path, format, sizeof(format))) {
        return FALSE;
    }
    ret_event->id = g_ascii_strtoull(id, NULL, 10);
    for (const char *line = format; (line = strstr(line, "field:")) != NULL; line++) {
        read_field(line, fields, n_fields, ret_event);
    }
    for (unsigned i = 0; i < n_fields; i++) {
        if (ret_event->fields[i].size == 0) {
            errno = EPROTO; /* such as kvm_pio before Linux 3.17, which had no val */
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

gboolean kvm_event_find(const char *name, const char *const *fields, unsigned n_fields,
                        struct kvm_event *ret_event, GError **error)
{
    static const char *const places[] = {"/sys/kernel/tracing", "/sys/kernel/debug/tracing", NULL};
    int code = 0;

    g_return_val_if_fail(n_fields <= KVM_EVENT_FIELDS_MAX, FALSE);

    for (unsigned i = 0; i < G_N_ELEMENTS(places); i++) {
        int tracing =
            places[i] != NULL ? open(places[i], O_PATH | O_DIRECTORY | O_CLOEXEC) : mount_tracing();
        gboolean found = tracing >= 0 && read_event(tracing, name, fields, n_fields, ret_event);
        code = errno;
        if (tracing >= 0) {
            close(tracing);
        }
        if (found) {
            return TRUE;
        }
    }
    const char *slash = strrchr(name, '/');
    g_autofree char *what =
        g_strdup_printf("the kernel's trace event %s", slash != NULL ? slash + 1 : name);
    set_error(error, status_of(code), code, what);
    return FALSE;
}

/* ---- The threads ---- */

struct thread {
    pid_t id;
    unsigned cpu; /* QEMU's number; only of a vCPU's */
};

/* "CPU 0/KVM", as QEMU calls it where debug-threads is on, as with libvirt. */
static gboolean is_vcpu(const char *comm, unsigned *ret_cpu)
{
    size_t digits;

    if (!g_str_has_prefix(comm, "CPU ")) {
        return FALSE;
    }
    comm += strlen("CPU ");
    digits = strspn(comm, "0123456789");
    *ret_cpu = (unsigned)g_ascii_strtoull(comm, NULL, 10);
    return digits > 0 && g_str_equal(comm + digits, "/KVM");
}

/* Threads, struct thread: @ret_vcpus, those that are named so; @ret_all. FALSE: there is no such
 * process. */
static gboolean list_threads(pid_t pid, GArray **ret_vcpus, GArray **ret_all, GError **error)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task", (int)pid);
    g_autoptr(GDir) directory = g_dir_open(path, 0, NULL);
    g_autoptr(GArray) vcpus = g_array_new(FALSE, FALSE, sizeof(struct thread));
    g_autoptr(GArray) all = g_array_new(FALSE, FALSE, sizeof(struct thread));
    const char *name;

    while (directory != NULL && (name = g_dir_read_name(directory)) != NULL) {
        g_autofree char *comm_path = g_build_filename(path, name, "comm", NULL);
        g_autofree char *comm = NULL;
        struct thread thread = {.id = (pid_t)g_ascii_strtoll(name, NULL, 10)};

        if (!g_file_get_contents(comm_path, &comm, NULL, NULL)) {
            continue; /* it has ended */
        }
        g_array_append_val(all, thread);
        if (is_vcpu(g_strchomp(comm), &thread.cpu)) {
            g_array_append_val(vcpus, thread);
        }
    }
    if (all->len == 0) {
        kvm_event_set_ended(error, pid);
        return FALSE;
    }
    *ret_vcpus = g_steal_pointer(&vcpus);
    *ret_all = g_steal_pointer(&all);
    return TRUE;
}

static GArray *ids_of(const GArray *threads)
{
    GArray *ids = g_array_sized_new(FALSE, FALSE, sizeof(pid_t), threads->len);

    for (unsigned i = 0; i < threads->len; i++) {
        g_array_append_val(ids, g_array_index(threads, struct thread, i).id);
    }
    return ids;
}

GArray *kvm_event_find_threads(pid_t pid, GError **error)
{
    g_autoptr(GArray) vcpus = NULL, all = NULL;

    if (!list_threads(pid, &vcpus, &all, error)) {
        return NULL;
    }
    return ids_of(vcpus->len > 0 ? vcpus : all);
}

static gint compare_cpus(gconstpointer a, gconstpointer b)
{
    const struct thread *left = a, *right = b;

    return left->cpu < right->cpu ? -1 : left->cpu > right->cpu;
}

/* How many vCPUs of the process come before @vcpu; -1: it has none of that number, or several, or
 * not @n_vcpus in all. */
static int count_before(pid_t pid, unsigned vcpu, unsigned n_vcpus)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/fd", (int)pid);
    g_autoptr(GDir) directory = g_dir_open(path, 0, NULL);
    unsigned before = 0, same = 0, n = 0, number;
    const char *name;

    while (directory != NULL && (name = g_dir_read_name(directory)) != NULL) {
        g_autofree char *fd_path = g_build_filename(path, name, NULL);
        g_autofree char *link = g_file_read_link(fd_path, NULL);

        if (link != NULL && sscanf(link, "anon_inode:kvm-vcpu:%u", &number) == 1) {
            n++;
            before += number < vcpu;
            same += number == vcpu;
        }
    }
    return same == 1 && n == n_vcpus ? (int)before : -1;
}

GArray *kvm_event_find_vcpu_threads(pid_t pid, unsigned vcpu, GError **error)
{
    g_autoptr(GArray) vcpus = NULL, all = NULL;

    if (!list_threads(pid, &vcpus, &all, error)) {
        return NULL;
    }
    int before = vcpus->len > 0 ? count_before(pid, vcpu, vcpus->len) : -1;
    if (before >= 0) {
        g_array_sort(vcpus, compare_cpus);
        g_array_index(vcpus, struct thread, 0) = g_array_index(vcpus, struct thread, before);
        g_array_set_size(vcpus, 1);
    }
    return ids_of(vcpus->len > 0 ? vcpus : all);
}

/* ---- In a thread ---- */

gboolean kvm_event_open(const struct kvm_event *event, pid_t thread,
                        const struct perf_event_attr *attr, const char *filter, int *ret_fd,
                        GError **error)
{
    struct perf_event_attr full = *attr;

    full.type = PERF_TYPE_TRACEPOINT;
    full.size = sizeof(full);
    full.config = event->id;
    full.disabled = 1;
    *ret_fd = (int)syscall(SYS_perf_event_open, &full, thread, -1, -1, PERF_FLAG_FD_CLOEXEC);
    if (*ret_fd < 0) {
        if (errno == ESRCH) {
            return TRUE;
        }
        set_error(error, status_of(errno), errno, "opening a perf event");
        return FALSE;
    }
    if (ioctl(*ret_fd, PERF_EVENT_IOC_SET_FILTER, filter) != 0) {
        set_error(error, status_of(errno), errno, "a perf event's filter");
        close(*ret_fd);
        *ret_fd = -1;
        return FALSE;
    }
    return TRUE;
}

struct perf_event_mmap_page *kvm_event_map(int fd, size_t size, GError **error)
{
    void *mapping = mmap(NULL, (size_t)sysconf(_SC_PAGESIZE) + size, PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_POPULATE, fd, 0);

    if (mapping == MAP_FAILED) {
        /* EPERM too: more memory would be locked than is allowed. */
        set_error(error, HV_STATUS_INSUFFICIENT_MEMORY, errno, "mapping a perf event's ring");
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

gboolean kvm_event_redirect(int fd, int ring_fd, GError **error)
{
    if (ioctl(fd, PERF_EVENT_IOC_SET_OUTPUT, ring_fd) != 0) {
        set_error(error, status_of(errno), errno, "one ring for two perf events");
        return FALSE;
    }
    return TRUE;
}
