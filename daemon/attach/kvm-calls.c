/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* KVM's calls, made by the worker: see kvm-calls.h. */
#include "daemon/attach/kvm-calls.h"

#include "daemon/attach/leftovers.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EVENTFD_LINK "anon_inode:[eventfd]"

/* Where in the worker's data what lies. */
#define IRQFD_OFFSET   0u
#define IRQCHIP_OFFSET 64u
_Static_assert(sizeof(struct kvm_irqfd) <= IRQCHIP_OFFSET, "in one another's way");
_Static_assert(IRQCHIP_OFFSET + sizeof(struct kvm_irqchip) <= WORKER_DATA_SIZE, "too large");
_Static_assert(sizeof(struct kvm_pit_state2) <= sizeof(struct kvm_irqchip), "too large");
_Static_assert(KVM_IOAPIC_NUM_PINS == ATTACH_PINS, "pins");

static uint64_t vm(const struct worker *worker)
{
    return (uint64_t)worker->target->vm_fd;
}

static bool is_eventfd(int fd)
{
    char path[32], link[sizeof(EVENTFD_LINK) + 1];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    ssize_t got = readlink(path, link, sizeof(link));
    return got == (ssize_t)strlen(EVENTFD_LINK) && memcmp(link, EVENTFD_LINK, (size_t)got) == 0;
}

/* A worker that shares the VMM's descriptors could have its eventfd swapped for another one by the
 * VMM. Ours was made with a count that is no other's. */
static bool has_count(int fd, uint64_t expected)
{
    uint64_t count;

    return read(fd, &count, sizeof(count)) == (ssize_t)sizeof(count) && count == expected;
}

/* The upper half tells ours from all others (leftovers.h), the lower one tells them apart. */
static uint64_t random_count(void)
{
    uint16_t random = 0;

    syscall(SYS_getrandom, &random, sizeof(random), 0);
    return LEFTOVERS_MARK << 16 | random;
}

bool kvm_eventfd(struct worker *worker, int *ret_fd, int *ret_remote, struct failure *failure)
{
    uint64_t count = random_count();
    long remote;

    if (!worker_call(worker, SYS_eventfd2, count, EFD_CLOEXEC | EFD_NONBLOCK, 0, &remote,
                     failure)) {
        return false;
    }
    if (remote < 0) {
        return fail(failure, ATTACH_NOT_ATTACHABLE,
                    "process %d (%s) could not make an eventfd (%s): raise its limit of open files",
                    worker->target->pid, worker->target->name, strerror((int)-remote));
    }
    if (!worker_will_close(worker, (int)remote, failure)) {
        return false;
    }
    int fd = (int)syscall(SYS_pidfd_getfd, worker->pidfd, (int)remote, 0);
    if (fd < 0) {
        return fail(failure, ATTACH_NOT_PERMITTED,
                    "an eventfd could not be taken over from process %d (%s): the helper needs "
                    "CAP_SYS_PTRACE and Linux 5.6",
                    worker->target->pid, strerror(errno));
    }
    if (!is_eventfd(fd) || !has_count(fd, count)) {
        close(fd);
        return fail(failure, ATTACH_NOT_ATTACHABLE,
                    "process %d (%s) changes descriptors that are not its own; it is not trusted",
                    worker->target->pid, worker->target->name);
    }
    *ret_fd = fd;
    *ret_remote = (int)remote;
    return true;
}

static bool ioctl_failed(const struct worker *worker, const char *what, long result,
                         struct failure *failure)
{
    pid_t pid = worker->target->pid;
    const char *name = worker->target->name;

    switch (-result) {
    case ENXIO:
    case EINVAL:
    case EAGAIN:
        return fail(
            failure, ATTACH_NOT_ATTACHABLE,
            "process %d (%s): %s failed (%s): its IOAPIC is not KVM's own (split irqchip, or "
            "none in the kernel); start it with kernel_irqchip=on",
            pid, name, what, strerror((int)-result));
    case EIO:
    case ENOTTY:
    case EBADF:
        return fail(failure, ATTACH_NOT_ATTACHABLE,
                    "process %d (%s): %s failed (%s): its virtual machine is not its own, is being "
                    "torn down, or was swapped for something else",
                    pid, name, what, strerror((int)-result));
    default:
        return fail(failure, ATTACH_INTERNAL, "process %d (%s): %s failed: %s", pid, name, what,
                    strerror((int)-result));
    }
}

bool kvm_check_machine(const struct worker *worker, struct failure *failure)
{
    return target_has_vm(worker->target, worker->thread.tid) ||
           ioctl_failed(worker, "a look at its virtual machine", -EBADF, failure);
}

static bool vm_ioctl(struct worker *worker, const char *what, unsigned long request,
                     unsigned offset, struct failure *failure)
{
    long result;

    return worker_call(worker, SYS_ioctl, vm(worker), request, worker->data + offset, &result,
                       failure) &&
           (result >= 0 || ioctl_failed(worker, what, result, failure));
}

static bool write_data(struct worker *worker, unsigned offset, const void *data, size_t size,
                       struct failure *failure)
{
    return target_write(worker->target, worker->data + offset, data, size) ||
           fail(failure, ATTACH_GONE, "process %d ended while it was attached to",
                worker->target->pid);
}

bool kvm_irqfd(struct worker *worker, int trigger_remote, unsigned gsi, int resample_remote,
               struct failure *failure)
{
    struct kvm_irqfd irqfd = {.fd = (uint32_t)trigger_remote, .gsi = gsi};

    if (resample_remote >= 0) {
        irqfd.flags = KVM_IRQFD_FLAG_RESAMPLE;
        irqfd.resamplefd = (uint32_t)resample_remote;
    }
    return write_data(worker, IRQFD_OFFSET, &irqfd, sizeof(irqfd), failure) &&
           vm_ioctl(worker, "KVM_IRQFD", KVM_IRQFD, IRQFD_OFFSET, failure);
}

bool kvm_make_gate(struct worker *worker, struct failure *failure)
{
    int fd, remote;

    if (!kvm_eventfd(worker, &fd, &remote, failure)) {
        return false;
    }
    worker_set_gate(worker, fd, remote);
    return true;
}

static bool prepare_get(struct worker *worker, uint32_t chip_id, struct failure *failure)
{
    struct kvm_irqchip chip = {.chip_id = chip_id};

    return write_data(worker, IRQCHIP_OFFSET, &chip, sizeof(chip), failure) &&
           worker_enter(worker, SYS_ioctl, vm(worker), KVM_GET_IRQCHIP,
                        worker->data + IRQCHIP_OFFSET, failure);
}

static bool finish_get(struct worker *worker, void *ret_state, size_t size, struct failure *failure)
{
    long result;

    if (!worker_leave(worker, &result, failure)) {
        return false;
    }
    if (result < 0) {
        return ioctl_failed(worker, "KVM_GET_IRQCHIP", result, failure);
    }
    return target_read(worker->target,
                       worker->data + IRQCHIP_OFFSET + offsetof(struct kvm_irqchip, chip),
                       ret_state, size) ||
           fail(failure, ATTACH_GONE, "process %d ended while it was attached to",
                worker->target->pid);
}

bool kvm_get_pic(struct worker *worker, unsigned pic, struct kvm_pic_state *ret_state,
                 struct failure *failure)
{
    return prepare_get(worker, pic == 0 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE,
                       failure) &&
           finish_get(worker, ret_state, sizeof(*ret_state), failure);
}

bool kvm_get_pit(struct worker *worker, struct kvm_pit_state2 *ret_state, struct failure *failure)
{
    long result;

    memset(ret_state, 0, sizeof(*ret_state));
    if (!worker_call(worker, SYS_ioctl, vm(worker), KVM_GET_PIT2, worker->data + IRQCHIP_OFFSET,
                     &result, failure)) {
        return false;
    }
    return result < 0 ||
           target_read(worker->target, worker->data + IRQCHIP_OFFSET, ret_state,
                       sizeof(*ret_state)) ||
           fail(failure, ATTACH_GONE, "process %d ended while it was attached to",
                worker->target->pid);
}

bool kvm_prepare_get_ioapic(struct worker *worker, struct failure *failure)
{
    return prepare_get(worker, KVM_IRQCHIP_IOAPIC, failure);
}

bool kvm_finish_get_ioapic(struct worker *worker, struct kvm_ioapic_state *ret_state,
                           struct failure *failure)
{
    return finish_get(worker, ret_state, sizeof(*ret_state), failure);
}

bool kvm_get_ioapic(struct worker *worker, struct kvm_ioapic_state *ret_state,
                    struct failure *failure)
{
    return kvm_prepare_get_ioapic(worker, failure) &&
           kvm_finish_get_ioapic(worker, ret_state, failure);
}

bool kvm_set_ioapic(struct worker *worker, const struct kvm_ioapic_state *state,
                    struct failure *failure)
{
    const struct worker_step set = {SYS_ioctl,
                                    {vm(worker), KVM_SET_IRQCHIP, worker->data + IRQCHIP_OFFSET}};
    uint64_t ignored;

    return write_data(worker, IRQCHIP_OFFSET + offsetof(struct kvm_irqchip, chip), state,
                      sizeof(*state), failure) &&
           worker_run(worker, &set, 1, 0, &ignored, failure);
}
