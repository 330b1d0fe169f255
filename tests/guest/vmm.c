/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Making a virtual machine of KVM's, running its vCPUs, and taking them away again.
 */
#include "tests/guest/vmm-private.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

/* Three pages below 4 GiB that KVM needs on Intel, clear of everything else. */
#define TSS_ADDRESS 0xfffbd000ul

#define CPUID_ENTRIES 256u

/* How often to look at guest memory, which has no event to wait for. */
#define POLL_US 1000

void vmm_set_error_from_errno(GError **error, const char *what)
{
    int code = errno;

    g_set_error(error, G_IO_ERROR, g_io_error_from_errno(code), "%s: %s", what, g_strerror(code));
}

int vmm_named_ioctl(int fd, unsigned long request, const char *name, unsigned long argument,
                    GError **error)
{
    int result = ioctl(fd, request, argument);

    if (result < 0)
        vmm_set_error_from_errno(error, name);
    return result;
}

/* /dev/kvm, if it is fit for us; or -1. */
static int open_kvm(GError **error)
{
    static const struct {
        int capability;
        const char *name;
    } needed[] = {
        {KVM_CAP_IRQCHIP, "in-kernel interrupt controllers"},
        {KVM_CAP_USER_MEMORY, "user memory regions"},
        {KVM_CAP_EXT_CPUID, "KVM_GET_SUPPORTED_CPUID"},
        {KVM_CAP_MP_STATE, "KVM_SET_MP_STATE"},
        {KVM_CAP_IRQ_ROUTING, "KVM_SET_GSI_ROUTING"},
        {KVM_CAP_IRQFD_RESAMPLE, "resampling irqfds"},
        {KVM_CAP_IMMEDIATE_EXIT, "immediate_exit"},
    };
    int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

    if (fd < 0) {
        vmm_set_error_from_errno(error, "/dev/kvm");
        return -1;
    }
    if (ioctl(fd, KVM_GET_API_VERSION, 0) != KVM_API_VERSION) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                    "/dev/kvm: not KVM, or a version of it other than %d", KVM_API_VERSION);
        close(fd);
        return -1;
    }
    for (guint i = 0; i < G_N_ELEMENTS(needed); i++) {
        if (ioctl(fd, KVM_CHECK_EXTENSION, needed[i].capability) > 0)
            continue;
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED, "/dev/kvm: this KVM has no %s",
                    needed[i].name);
        close(fd);
        return -1;
    }
    return fd;
}

const char *vmm_kvm_missing(void)
{
    g_autoptr(GError) error = NULL;
    int fd = open_kvm(&error);

    if (fd < 0)
        return g_intern_string(error->message);
    close(fd);
    return NULL;
}

/* ---- Making it ---- */

static gboolean make_memory(Vmm *vmm, GError **error)
{
    struct kvm_userspace_memory_region region = {.memory_size = GUEST_MEMORY_SIZE};
    void *memory =
        mmap(NULL, GUEST_MEMORY_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED) {
        vmm_set_error_from_errno(error, "memory for the guest");
        return FALSE;
    }
    vmm->memory = memory;
    memcpy(vmm->memory + GUEST_LOAD, guest_tick_start, (size_t)(guest_tick_end - guest_tick_start));
    region.userspace_addr = (uintptr_t)memory;
    return vmm_ioctl(vmm->vm_fd, KVM_SET_USER_MEMORY_REGION, &region, error) >= 0;
}

/* Real mode at the guest's entry, as tick.S wants it. */
static gboolean set_registers(struct vmm_cpu *cpu, GError **error)
{
    struct kvm_regs regs = {.rip = GUEST_LOAD, .rsp = GUEST_PAGE_SIZE, .rflags = 2};
    uint16_t page = GUEST_PAGES + cpu->index * GUEST_PAGE_SIZE;
    struct kvm_sregs sregs = {0};

    if (vmm_ioctl(cpu->fd, KVM_GET_SREGS, &sregs, error) < 0)
        return FALSE;
    sregs.cs.base = sregs.cs.selector = 0;
    sregs.ss.base = sregs.gs.base = page;
    sregs.ss.selector = sregs.gs.selector = page >> 4;
    sregs.fs.limit = 0xffffffff;
    sregs.fs.g = 1;
    return vmm_ioctl(cpu->fd, KVM_SET_SREGS, &sregs, error) >= 0 &&
           vmm_ioctl(cpu->fd, KVM_SET_REGS, &regs, error) >= 0;
}

static gboolean make_cpu(Vmm *vmm, guint index, struct kvm_cpuid2 *cpuid, GError **error)
{
    /* All of them start at once, rather than wait for the first one's INIT and SIPI. */
    struct kvm_mp_state runnable = {.mp_state = KVM_MP_STATE_RUNNABLE};
    struct vmm_cpu *cpu = &vmm->cpus[index];
    void *run;

    cpu->vmm = vmm;
    cpu->index = index;
    cpu->page = (struct guest_page *)(vmm->memory + GUEST_PAGES + index * GUEST_PAGE_SIZE);
    cpu->fd = vmm_ioctl(vmm->vm_fd, KVM_CREATE_VCPU, index, error);
    if (cpu->fd < 0)
        return FALSE;
    run = mmap(NULL, vmm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, cpu->fd, 0);
    if (run == MAP_FAILED) {
        vmm_set_error_from_errno(error, "mapping a vCPU");
        return FALSE;
    }
    cpu->run = run;
    return vmm_ioctl(cpu->fd, KVM_SET_CPUID2, cpuid, error) >= 0 && set_registers(cpu, error) &&
           vmm_ioctl(cpu->fd, KVM_SET_MP_STATE, &runnable, error) >= 0;
}

static gboolean make_machine(Vmm *vmm, int kvm_fd, GError **error)
{
    g_autofree struct kvm_cpuid2 *cpuid =
        g_malloc0(sizeof *cpuid + CPUID_ENTRIES * sizeof cpuid->entries[0]);
    int run_size = vmm_ioctl(kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0, error);

    cpuid->nent = CPUID_ENTRIES;
    if (run_size < 0 || vmm_ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, cpuid, error) < 0)
        return FALSE;
    vmm->run_size = (size_t)run_size;
    vmm->vm_fd = vmm_ioctl(kvm_fd, KVM_CREATE_VM, 0, error);
    if (vmm->vm_fd < 0 || vmm_ioctl(vmm->vm_fd, KVM_SET_TSS_ADDR, TSS_ADDRESS, error) < 0 ||
        vmm_ioctl(vmm->vm_fd, KVM_CREATE_IRQCHIP, 0, error) < 0 || !make_memory(vmm, error))
        return FALSE;
    for (guint i = 0; i < vmm->n_cpus; i++)
        if (!make_cpu(vmm, i, cpuid, error))
            return FALSE;
    return TRUE;
}

Vmm *vmm_new(guint n_cpus, GError **error)
{
    g_autoptr(Vmm) vmm = NULL;
    gboolean made;
    int kvm_fd;

    g_return_val_if_fail(n_cpus >= 1 && n_cpus <= VMM_MAX_CPUS, NULL);

    kvm_fd = open_kvm(error);
    if (kvm_fd < 0)
        return NULL;
    vmm = g_new0(Vmm, 1);
    vmm->n_cpus = n_cpus;
    vmm->vm_fd = vmm->tick_fd = vmm->listener_fd = vmm->ack_fd = -1;
    for (guint i = 0; i < VMM_MAX_CPUS; i++)
        vmm->cpus[i].fd = -1;
    g_mutex_init(&vmm->lock);
    g_cond_init(&vmm->changed);
    made = make_machine(vmm, kvm_fd, error);
    close(kvm_fd);
    return made ? g_steal_pointer(&vmm) : NULL;
}

static void close_if_open(int fd)
{
    if (fd >= 0)
        close(fd);
}

void vmm_free(Vmm *vmm)
{
    g_assert(!vmm->handed_over);
    vmm_stop(vmm);
    close_if_open(vmm->tick_fd);
    close_if_open(vmm->listener_fd);
    close_if_open(vmm->ack_fd);
    for (guint i = 0; i < vmm->n_cpus; i++) {
        if (vmm->cpus[i].run)
            munmap(vmm->cpus[i].run, vmm->run_size);
        close_if_open(vmm->cpus[i].fd);
    }
    close_if_open(vmm->vm_fd);
    if (vmm->memory)
        munmap(vmm->memory, GUEST_MEMORY_SIZE);
    g_mutex_clear(&vmm->lock);
    g_cond_clear(&vmm->changed);
    g_free(vmm->failure);
    g_free(vmm);
}

/* ---- Running it ---- */

/* On the vCPU's thread, before each entry into the guest: waits while it is held. FALSE: end. */
static gboolean may_enter(struct vmm_cpu *cpu)
{
    Vmm *vmm = cpu->vmm;
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&vmm->lock);

    cpu->run->immediate_exit = 0;
    while (!vmm->stopping && g_get_monotonic_time() < cpu->hold_until) {
        if (!cpu->away) {
            cpu->away = TRUE;
            g_cond_broadcast(&vmm->changed);
        }
        g_cond_wait_until(&vmm->changed, &vmm->lock, cpu->hold_until);
    }
    cpu->away = FALSE;
    return !vmm->stopping;
}

/* Enters the guest once. Returns NULL if it was only interrupted; why it can't go on. */
static char *enter(struct vmm_cpu *cpu)
{
    struct kvm_run *run = cpu->run;

    if (ioctl(cpu->fd, KVM_RUN, 0) < 0) {
        if (errno == EINTR || errno == EAGAIN)
            return NULL;
        return g_strdup_printf("vCPU %u: KVM_RUN: %s", cpu->index, g_strerror(errno));
    }
    if (run->exit_reason == KVM_EXIT_INTR)
        return NULL;
    if (run->exit_reason == KVM_EXIT_IO && run->io.port == GUEST_PORT_EXCEPTION)
        return g_strdup_printf("vCPU %u: the guest met an exception", cpu->index);
    return g_strdup_printf("vCPU %u: unexpected KVM exit reason %u", cpu->index, run->exit_reason);
}

static void *run_cpu(void *opaque)
{
    g_autofree char *failure = NULL;
    struct vmm_cpu *cpu = opaque;
    Vmm *vmm = cpu->vmm;
    sigset_t kick;

    sigemptyset(&kick);
    sigaddset(&kick, SIGUSR1);
    pthread_sigmask(SIG_UNBLOCK, &kick, NULL);

    while (!failure && may_enter(cpu))
        failure = enter(cpu);

    g_mutex_lock(&vmm->lock);
    cpu->in_loop = FALSE;
    if (failure && !vmm->failure)
        vmm->failure = g_steal_pointer(&failure);
    g_cond_broadcast(&vmm->changed);
    g_mutex_unlock(&vmm->lock);
    return NULL;
}

static void on_kick(int signal_number)
{
    (void)signal_number; /* having interrupted KVM_RUN is all that it is for */
}

gboolean vmm_start(Vmm *vmm, GError **error)
{
    struct sigaction action = {.sa_handler = on_kick}; /* without SA_RESTART */
    int code = 0;

    sigaction(SIGUSR1, &action, NULL);
    g_mutex_lock(&vmm->lock);
    vmm->stopping = FALSE;
    for (guint i = 0; i < vmm->n_cpus && !code; i++) {
        struct vmm_cpu *cpu = &vmm->cpus[i];

        g_assert(!cpu->started);
        code = pthread_create(&cpu->thread, NULL, run_cpu, cpu);
        cpu->started = cpu->in_loop = code == 0;
    }
    g_mutex_unlock(&vmm->lock);
    if (!code)
        return TRUE;
    vmm_stop(vmm);
    g_set_error(error, G_IO_ERROR, g_io_error_from_errno(code), "a thread for a vCPU: %s",
                g_strerror(code));
    return FALSE;
}

/* Under the lock. Brings the vCPU's thread out of the guest, and to may_enter(): wherever it is
 * since it was there last, immediate_exit or the signal catches it. */
static void kick(struct vmm_cpu *cpu)
{
    if (!cpu->in_loop)
        return;
    cpu->run->immediate_exit = 1;
    pthread_kill(cpu->thread, SIGUSR1);
}

void vmm_stop(Vmm *vmm)
{
    g_mutex_lock(&vmm->lock);
    vmm->stopping = TRUE;
    for (guint i = 0; i < vmm->n_cpus; i++)
        kick(&vmm->cpus[i]);
    g_cond_broadcast(&vmm->changed);
    g_mutex_unlock(&vmm->lock);

    for (guint i = 0; i < vmm->n_cpus; i++) {
        if (vmm->cpus[i].started)
            pthread_join(vmm->cpus[i].thread, NULL);
        vmm->cpus[i].started = FALSE;
    }
}

void vmm_hold(Vmm *vmm, guint cpu_index, gint64 duration_us)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&vmm->lock);
    struct vmm_cpu *cpu = &vmm->cpus[cpu_index];

    g_assert(cpu_index < vmm->n_cpus);
    cpu->hold_until = duration_us < 0 ? G_MAXINT64 : g_get_monotonic_time() + duration_us;
    kick(cpu);
    g_cond_broadcast(&vmm->changed); /* it may be held already, with another end */
    while (cpu->in_loop && !cpu->away && g_get_monotonic_time() < cpu->hold_until)
        g_cond_wait_until(&vmm->changed, &vmm->lock, cpu->hold_until);
}

void vmm_release(Vmm *vmm, guint cpu)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&vmm->lock);

    g_assert(cpu < vmm->n_cpus);
    vmm->cpus[cpu].hold_until = 0;
    g_cond_broadcast(&vmm->changed);
}

const char *vmm_failure(Vmm *vmm)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&vmm->lock);

    return vmm->failure;
}

/* ---- The guest's pages ---- */

/* Guest and host share these words; each has one writer. */
static guint peek(const uint32_t *word)
{
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static struct guest_page *guest_page(Vmm *vmm, guint cpu)
{
    g_assert(cpu < vmm->n_cpus);
    return vmm->cpus[cpu].page;
}

gboolean vmm_wait_ready(Vmm *vmm, gint64 timeout_us, GError **error)
{
    gint64 deadline = g_get_monotonic_time() + timeout_us;

    for (guint cpu = 0; cpu < vmm->n_cpus; cpu++) {
        while (!peek(&guest_page(vmm, cpu)->ready)) {
            const char *failure = vmm_failure(vmm);

            if (failure || g_get_monotonic_time() > deadline) {
                g_set_error(error, G_IO_ERROR, failure ? G_IO_ERROR_FAILED : G_IO_ERROR_TIMED_OUT,
                            "the guest is not ready: %s", failure ? failure : "it takes too long");
                return FALSE;
            }
            g_usleep(POLL_US);
        }
    }
    return TRUE;
}

guint vmm_count(Vmm *vmm, guint cpu, guint vector)
{
    g_assert(vector < GUEST_VECTORS);
    return peek(&guest_page(vmm, cpu)->counts[vector]);
}

gboolean vmm_wait_count(Vmm *vmm, guint cpu, guint vector, guint count, gint64 timeout_us)
{
    gint64 deadline = g_get_monotonic_time() + timeout_us;

    while (vmm_count(vmm, cpu, vector) < count) {
        if (g_get_monotonic_time() > deadline)
            return FALSE;
        g_usleep(POLL_US);
    }
    return TRUE;
}

guint vmm_total(Vmm *vmm, guint cpu)
{
    return peek(&guest_page(vmm, cpu)->total);
}

guint vmm_spurious(Vmm *vmm, guint cpu)
{
    return peek(&guest_page(vmm, cpu)->spurious);
}

void vmm_set_mask(Vmm *vmm, guint cpu, gboolean mask)
{
    __atomic_store_n(&guest_page(vmm, cpu)->mask, mask ? 1 : 0, __ATOMIC_RELEASE);
}

gboolean vmm_masked(Vmm *vmm, guint cpu)
{
    return peek(&guest_page(vmm, cpu)->masked) != 0;
}
