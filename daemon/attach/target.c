/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What /proc tells of a VMM: see target.h. */
#include "daemon/attach/target.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define KVM_VM_LINK     "anon_inode:kvm-vm"
#define KVM_VCPU_PREFIX "anon_inode:kvm-vcpu"
#define FDS_MAX         (1u << 20)

/* A whole small file of /proc, bounded and NUL-terminated. */
static bool read_proc(const struct target *target, const char *path, char *buffer, size_t size)
{
    int fd = openat(target->proc, path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, buffer, size - 1) : -1;

    if (fd >= 0) {
        close(fd);
    }
    buffer[got > 0 ? got : 0] = '\0';
    return got > 0;
}

static bool read_link(int directory, const char *path, char *buffer, size_t size)
{
    ssize_t got = readlinkat(directory, path, buffer, size - 1);

    buffer[got > 0 ? got : 0] = '\0';
    return got > 0;
}

/* The number behind "Name:" in a status file; -1 if there is none. */
static long status_number(const char *status, const char *name)
{
    const char *line = strstr(status, name);

    return line != NULL ? strtol(line + strlen(name), NULL, 10) : -1;
}

static bool gone(const struct target *target, struct failure *failure)
{
    return fail(failure, ATTACH_GONE, "process %d has ended; nothing is left to attach to",
                target->pid);
}

/* With errno: what everybody may read of a process is not enough. */
static bool unreadable(const struct target *target, struct failure *failure)
{
    return errno == EACCES || errno == EPERM
               ? fail(failure, ATTACH_NOT_PERMITTED,
                      "the descriptors of process %d may not be read: the helper needs "
                      "CAP_SYS_PTRACE",
                      target->pid)
               : gone(target, failure);
}

/* The command name in there may hold anything, even ") ": the fields begin behind its last one. */
static bool check_stat(const struct target *target, uint64_t start_time, char *ret_state,
                       struct failure *failure)
{
    char stat[1024];
    uint64_t started;
    const char *fields;

    if (!read_proc(target, "stat", stat, sizeof(stat)) || (fields = strrchr(stat, ')')) == NULL ||
        sscanf(fields,
               ") %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
               "%*s %" SCNu64,
               ret_state, &started) != 2) {
        return gone(target, failure);
    }
    if (started != start_time) {
        return fail(failure, ATTACH_GONE,
                    "process %d is another one than was asked for: that has ended, and its number "
                    "was used again",
                    target->pid);
    }
    return strchr("ZXx", *ret_state) == NULL || gone(target, failure);
}

/* Nothing and nobody else keeps its threads from running, or handles them. */
static bool check_threads(const struct target *target, char state, struct failure *failure)
{
    char status[8192];
    const char *features;

    if (state == 'T') {
        return fail(failure, ATTACH_NOT_ATTACHABLE,
                    "process %d is stopped by a signal: attach once it was continued (SIGCONT)",
                    target->pid);
    }
    if (!read_proc(target, "status", status, sizeof(status))) {
        return gone(target, failure);
    }
    long tracer = status_number(status, "\nTracerPid:");
    if (tracer > 0) {
        return fail(
            failure, ATTACH_NOT_ATTACHABLE,
            "process %d is traced by process %ld already: end that debugger or tracer first",
            target->pid, tracer);
    }
    features = strstr(status, "\nx86_Thread_features:");
    if (features != NULL && memmem(features + 1, strcspn(features + 1, "\n"), "shstk", 5) != NULL) {
        return fail(failure, ATTACH_NOT_ATTACHABLE,
                    "process %d runs with shadow stacks, which the helper can't handle: start it "
                    "without (GLIBC_TUNABLES)",
                    target->pid);
    }
    return true;
}

static bool check_executable(struct target *target, struct failure *failure)
{
    static const char deleted[] = " (deleted)";
    unsigned char header[20] = {0};
    char path[4096];
    int fd = openat(target->proc, "exe", O_RDONLY | O_CLOEXEC);

    if (fd < 0 && errno == EACCES) {
        return unreadable(target, failure);
    }
    ssize_t got = fd >= 0 ? read(fd, header, sizeof(header)) : -1;

    if (fd >= 0) {
        close(fd);
    }
    if (got != sizeof(header) || memcmp(header, ELFMAG, SELFMAG) != 0 ||
        header[EI_CLASS] != ELFCLASS64 || header[18] != EM_X86_64 || header[19] != 0) {
        return fail(
            failure, ATTACH_NOT_A_VMM,
            "process %d is not a 64-bit x86 program, so it is no VMM that can be attached to",
            target->pid);
    }
    read_link(target->proc, "exe", path, sizeof(path));
    size_t length = strlen(path);
    if (length > strlen(deleted) && strcmp(path + length - strlen(deleted), deleted) == 0) {
        path[length - strlen(deleted)] = '\0'; /* a VMM that was upgraded while it ran */
    }
    const char *slash = strrchr(path, '/');
    snprintf(target->name, sizeof(target->name), "%.63s", slash != NULL ? slash + 1 : path);
    return true;
}

static DIR *open_directory(const struct target *target, const char *path)
{
    int fd = openat(target->proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd >= 0 ? fdopendir(fd) : NULL;
}

static void note_vcpu(struct target *target, const char *link, int fd)
{
    const char *number = link + strlen(KVM_VCPU_PREFIX);

    if (target->n_vcpus < TARGET_VCPUS_MAX && *number == ':') {
        target->vcpus[target->n_vcpus++] =
            (struct target_vcpu){.id = (unsigned)strtoul(number + 1, NULL, 10), .fd = fd};
    }
}

/* @ret_vms, @ret_vcpus: how many descriptors of each there are. */
static bool check_descriptors(struct target *target, unsigned *ret_vms, unsigned *ret_vcpus,
                              struct failure *failure)
{
    unsigned seen = 0;
    DIR *directory = open_directory(target, "fd");
    struct dirent *entry;
    char link[64];

    *ret_vms = *ret_vcpus = 0;
    if (directory == NULL) {
        return unreadable(target, failure);
    }
    while ((entry = readdir(directory)) != NULL && seen++ < FDS_MAX) {
        if (!read_link(dirfd(directory), entry->d_name, link, sizeof(link))) {
            continue;
        }
        if (strcmp(link, KVM_VM_LINK) == 0) {
            target->vm_fd = atoi(entry->d_name);
            ++*ret_vms;
        }
        if (strncmp(link, KVM_VCPU_PREFIX, strlen(KVM_VCPU_PREFIX)) == 0) {
            note_vcpu(target, link, atoi(entry->d_name));
            ++*ret_vcpus;
        }
    }
    closedir(directory);
    return *ret_vms > 0 ||
           fail(failure, ATTACH_NOT_A_VMM,
                "process %d (%s) has no KVM guest: give the number of a VMM that runs with KVM",
                target->pid, target->name);
}

/* What has to be so, for threads of it to be stopped and borrowed. */
static bool check_attachable(const struct target *target, char state, unsigned vms, unsigned vcpus,
                             struct failure *failure)
{
    if (!check_threads(target, state, failure)) {
        return false;
    }
    return (vms == 1 && vcpus > 0) ||
           fail(failure, ATTACH_NOT_ATTACHABLE,
                "process %d (%s) has %u KVM virtual machines and %u vCPUs, but one machine with "
                "vCPUs is needed: which one is meant can't be told",
                target->pid, target->name, vms, vcpus);
}

bool target_open(struct target *target, pid_t pid, uint64_t start_time, enum target_use use,
                 struct failure *failure)
{
    unsigned vms, vcpus;
    char path[32], state;

    snprintf(path, sizeof(path), "/proc/%d", pid);
    *target = (struct target){.pid = pid, .vm_fd = -1};
    target->vcpus = calloc(TARGET_VCPUS_MAX, sizeof(*target->vcpus));
    target->proc = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    target->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (target->vcpus == NULL) {
        fail(failure, ATTACH_INTERNAL, "out of memory");
    } else if (target->proc < 0 || target->pidfd < 0) {
        gone(target, failure);
    } else if (check_stat(target, start_time, &state, failure) &&
               check_executable(target, failure) &&
               check_descriptors(target, &vms, &vcpus, failure) &&
               (use == TARGET_LOOK || check_attachable(target, state, vms, vcpus, failure))) {
        return true;
    }
    target_close(target);
    return false;
}

void target_close(struct target *target)
{
    if (target->proc >= 0) {
        close(target->proc);
    }
    if (target->pidfd >= 0) {
        close(target->pidfd);
    }
    target->proc = target->pidfd = -1;
    free(target->vcpus);
    target->vcpus = NULL;
}

/* The best thread to borrow sleeps until another one wakes it up: nothing waits for it. The main
 * thread is the last choice, since the VMM's own work waits for that one. */
static void judge(const struct target *target, struct target_thread *thread)
{
    char path[64], text[256];
    unsigned number;
    uint64_t timeout;

    thread->maybe_vcpu = true;
    thread->score = 0;
    snprintf(path, sizeof(path), "task/%d/syscall", thread->tid);
    if (!read_proc(target, path, text, sizeof(text)) ||
        sscanf(text, "%u %*x %*x %*x %" SCNx64, &number, &timeout) != 2 || number == SYS_ioctl) {
        return; /* running, or in KVM_RUN */
    }
    thread->maybe_vcpu = false;
    thread->score = thread->tid == target->pid ? 1 : number == SYS_futex && timeout == 0 ? 3 : 2;
}

bool target_threads(const struct target *target, struct target_thread *ret_threads,
                    size_t *ret_count, struct failure *failure)
{
    DIR *directory = open_directory(target, "task");
    struct dirent *entry;
    size_t count = 0;

    if (directory == NULL) {
        return gone(target, failure);
    }
    while ((entry = readdir(directory)) != NULL && count < TARGET_THREADS_MAX) {
        pid_t tid = atoi(entry->d_name);
        if (tid > 0) {
            ret_threads[count].tid = tid;
            judge(target, &ret_threads[count++]);
        }
    }
    closedir(directory);
    *ret_count = count;
    return count < TARGET_THREADS_MAX ||
           fail(failure, ATTACH_NOT_ATTACHABLE,
                "process %d (%s) has %u threads or more: too many to be stopped for a moment",
                target->pid, target->name, TARGET_THREADS_MAX);
}

/* "CPU 0/KVM", as QEMU calls it where debug-threads is on, as with libvirt. */
static bool is_named_as_vcpu(const struct target *target, pid_t tid, unsigned *ret_number)
{
    char path[64], name[64];
    int length = 0;

    snprintf(path, sizeof(path), "task/%d/comm", tid);
    return read_proc(target, path, name, sizeof(name)) && strncmp(name, "CPU ", 4) == 0 &&
           name[4] >= '0' && name[4] <= '9' &&
           sscanf(name, "CPU %9u/KVM%n", ret_number, &length) == 1 && length > 0 &&
           strcmp(name + length, "\n") == 0;
}

struct named_thread {
    pid_t tid;
    unsigned number; /* QEMU's */
};

/* Of those named as vCPUs, or, if there is none, of all, the first TARGET_THREADS_MAX. Returns how
 * many there are. */
static unsigned list_threads(const struct target *target, struct named_thread *ret_threads,
                             bool *ret_named)
{
    DIR *directory = open_directory(target, "task");
    unsigned count = 0;
    struct dirent *entry;

    *ret_named = false;
    while (directory != NULL && (entry = readdir(directory)) != NULL) {
        struct named_thread thread = {.tid = atoi(entry->d_name)};
        bool named = thread.tid > 0 && is_named_as_vcpu(target, thread.tid, &thread.number);

        if (thread.tid <= 0 || (*ret_named && !named)) {
            continue;
        }
        count = named && !*ret_named ? 0 : count;
        *ret_named = *ret_named || named;
        if (count < TARGET_THREADS_MAX) {
            ret_threads[count] = thread;
        }
        count++;
    }
    if (directory != NULL) {
        closedir(directory);
    }
    return count;
}

/* How many vCPUs come before @vcpu; -1: there is none of that number, or several, or not @n_vcpus
 * in all. */
static int count_before(const struct target *target, unsigned vcpu, unsigned n_vcpus)
{
    unsigned before = 0, same = 0;

    for (unsigned i = 0; i < target->n_vcpus; i++) {
        before += target->vcpus[i].id < vcpu;
        same += target->vcpus[i].id == vcpu;
    }
    return same == 1 && target->n_vcpus == n_vcpus ? (int)before : -1;
}

/* The one that @before others come before; -1: there is none, or there are several. */
static int find_by_order(const struct named_thread *threads, unsigned count, int before)
{
    int found = -1, times = 0;

    for (unsigned i = 0; i < count; i++) {
        int smaller = 0;
        for (unsigned j = 0; j < count; j++) {
            smaller += threads[j].number < threads[i].number;
        }
        found = smaller == before ? (int)i : found;
        times += smaller == before;
    }
    return times == 1 ? found : -1;
}

bool target_vcpu_threads(const struct target *target, int64_t vcpu, pid_t *ret_threads,
                         unsigned max, unsigned *ret_count, struct failure *failure)
{
    static struct named_thread threads[TARGET_THREADS_MAX];
    bool named;
    unsigned count = list_threads(target, threads, &named);
    int one = -1;

    if (count == 0) {
        return gone(target, failure);
    }
    if (named && vcpu >= 0 && count <= TARGET_THREADS_MAX) {
        int before = count_before(target, (unsigned)vcpu, count);
        one = before >= 0 ? find_by_order(threads, count, before) : -1;
    }
    if (one < 0 && count > max) {
        return fail(failure, ATTACH_NOT_ATTACHABLE,
                    "process %d (%s) has %u threads that may run the guest, but %u can be traced "
                    "at most",
                    target->pid, target->name, count, max);
    }
    *ret_count = one >= 0 ? 1 : count;
    for (unsigned i = 0; i < *ret_count; i++) {
        ret_threads[i] = threads[one >= 0 ? (unsigned)one : i].tid;
    }
    return true;
}

bool target_has_thread(const struct target *target, pid_t tid)
{
    char path[32];

    snprintf(path, sizeof(path), "task/%d", tid);
    return faccessat(target->proc, path, F_OK, 0) == 0;
}

static long thread_status_number(const struct target *target, pid_t tid, const char *name)
{
    char path[64], status[8192];

    snprintf(path, sizeof(path), "task/%d/status", tid);
    return read_proc(target, path, status, sizeof(status)) ? status_number(status, name) : -1;
}

bool target_is_filtered(const struct target *target, pid_t tid)
{
    return thread_status_number(target, tid, "\nSeccomp:") != 0;
}

pid_t target_tracer(const struct target *target, pid_t tid)
{
    long tracer = thread_status_number(target, tid, "\nTracerPid:");

    return tracer > 0 ? (pid_t)tracer : 0;
}

/* QEMU's filter is a list of what is forbidden; the flags of worker.c's clone() are those of a
 * thread, which it lets through. */
bool target_filter_is_known(const struct target *target)
{
    return strcmp(target->name, "qemu-system-x86_64") == 0 || strcmp(target->name, "qemu-kvm") == 0;
}

static bool has_descriptor(const struct target *target, pid_t tid, int fd, const char *expected)
{
    char path[64], link[64];

    snprintf(path, sizeof(path), "task/%d/fd/%d", tid, fd);
    return read_link(target->proc, path, link, sizeof(link)) && strcmp(link, expected) == 0;
}

bool target_has_vm(const struct target *target, pid_t tid)
{
    return has_descriptor(target, tid, target->vm_fd, KVM_VM_LINK);
}

bool target_has_vcpu(const struct target *target, pid_t tid, const struct target_vcpu *vcpu)
{
    char expected[64];

    snprintf(expected, sizeof(expected), KVM_VCPU_PREFIX ":%u", vcpu->id);
    return has_descriptor(target, tid, vcpu->fd, expected);
}

const struct target_vcpu *target_vcpu(const struct target *target, unsigned id)
{
    for (unsigned i = 0; i < target->n_vcpus; i++) {
        if (target->vcpus[i].id == id) {
            return &target->vcpus[i];
        }
    }
    return NULL;
}

int target_last_fd(const struct target *target)
{
    int last = target->vm_fd;

    for (unsigned i = 0; i < target->n_vcpus; i++) {
        last = target->vcpus[i].fd > last ? target->vcpus[i].fd : last;
    }
    return last;
}

bool target_is_writable(const struct target *target, uint64_t from, uint64_t to)
{
    char line[4352], mode[5];
    uint64_t start, end;
    bool found = false;
    int fd = openat(target->proc, "maps", O_RDONLY | O_CLOEXEC);
    FILE *maps = fd >= 0 ? fdopen(fd, "r") : NULL;

    while (maps != NULL && !found && fgets(line, sizeof(line), maps) != NULL) {
        found = sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s", &start, &end, mode) == 3 &&
                start <= from && to <= end && mode[0] == 'r' && mode[1] == 'w';
    }
    if (maps != NULL) {
        fclose(maps);
    }
    return found;
}

bool target_read(const struct target *target, uint64_t address, void *buffer, size_t size)
{
    /* It is filled by way of the vector. */
    // cppcheck-suppress ctuuninitvar
    struct iovec local = {buffer, size}, remote = {(void *)(uintptr_t)address, size};

    return process_vm_readv(target->pid, &local, 1, &remote, 1, 0) == (ssize_t)size;
}

bool target_write(const struct target *target, uint64_t address, const void *buffer, size_t size)
{
    struct iovec local = {(void *)(uintptr_t)buffer, size};
    struct iovec remote = {(void *)(uintptr_t)address, size};

    return process_vm_writev(target->pid, &local, 1, &remote, 1, 0) == (ssize_t)size;
}
