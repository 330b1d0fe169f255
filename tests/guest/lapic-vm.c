/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A virtual machine that accesses its local APICs: see lapic-vm.h. */
#include "tests/guest/lapic-vm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <semaphore.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- The machine ---- */

/* The guest's memory: a segment of 64 KiB for vectors and code, and one for each vCPU's steps. */
#define SEGMENT       0x10000u
#define AT_CODE       0x1000u
#define AT_STEPS(cpu) ((1 + (cpu)) * SEGMENT)
#define MEMORY        AT_STEPS(LAPIC_CPUS_MAX)

/* Three pages below 4 GiB that KVM needs on Intel, clear of everything else. */
#define TSS_ADDRESS 0xfffbd000ul

#define APIC_ADDRESS  0xfee00000u
#define CPUID_ENTRIES 256u

#define PORT_DONE  0x80u
#define PORT_FAULT 0x81u

/* Goes through the steps at DS:SI until LAPIC_END, with the local APIC at FS:0; then PORT_DONE, and
 * those that are there by then. */
static const uint8_t code[] = {
    0x31, 0xf6,                  /* again: xor   %si, %si */
    0xe6, PORT_DONE,             /*        out   %al, $PORT_DONE */
    0xad,                        /* next:  lodsw            the kind */
    0x89, 0xc2,                  /*        mov   %ax, %dx */
    0xad,                        /*        lodsw            the register */
    0x89, 0xc3,                  /*        mov   %ax, %bx */
    0x66, 0xad,                  /*        lodsl            the value */
    0x4a,                        /*        dec   %dx */
    0x78, 0xf1,                  /*        js    again */
    0x74, 0x18,                  /*        jz    write */
    0x4a,                        /*        dec   %dx */
    0x74, 0x1b,                  /*        jz    read */
    0x4a,                        /*        dec   %dx */
    0x74, 0x1e,                  /*        jz    byte */
    0x66, 0x0f,      0xb7, 0xcb, /*        movzx %bx, %ecx */
    0x4a,                        /*        dec   %dx */
    0x75, 0x07,                  /*        jnz   rdmsr */
    0x66, 0x31,      0xd2,       /*        xor   %edx, %edx */
    0x0f, 0x30,                  /*        wrmsr */
    0xeb, 0xdf,                  /*        jmp   next */
    0x0f, 0x32,                  /* rdmsr: rdmsr */
    0xeb, 0xdb,                  /*        jmp   next */
    0x64, 0x66,      0x89, 0x07, /* write: mov   %eax, %fs:(%bx) */
    0xeb, 0xd5,                  /*        jmp   next */
    0x64, 0x66,      0x8b, 0x07, /* read:  mov   %fs:(%bx), %eax */
    0xeb, 0xcf,                  /*        jmp   next */
    0x64, 0x8a,      0x07,       /* byte:  mov   %fs:(%bx), %al */
    0xeb, 0xca,                  /*        jmp   next */
};

/* All vectors go here: an exception is not expected, and interrupts are off. */
static const uint8_t fault[] = {
    0xe6, PORT_FAULT, /* fault: out   %al, $PORT_FAULT */
    0xeb, 0xfc,       /*        jmp   fault */
};
#define AT_FAULT (AT_CODE + sizeof(code))

struct cpu {
    unsigned index;
    const char *name;
    int fd;
    struct kvm_run *run;
    pthread_t thread;
    sem_t go, done;
    gboolean quit;
};

struct lapic_vm {
    int kvm, vm;
    size_t run_size;
    uint8_t *memory;
    struct cpu cpus[LAPIC_CPUS_MAX];
    unsigned n_cpus;
};

const char *lapic_vm_missing(void)
{
    int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    gboolean fit = fd >= 0 && ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_IRQCHIP) > 0;

    if (fd < 0) {
        return "/dev/kvm can't be opened";
    }
    close(fd);
    return fit ? NULL : "this KVM has no in-kernel interrupt controllers";
}

static int checked_ioctl(int fd, unsigned long request, unsigned long argument, const char *name)
{
    int result = ioctl(fd, request, argument);

    if (result < 0) {
        g_error("%s: %s", name, g_strerror(errno));
    }
    return result;
}
#define vm_ioctl(fd, request, argument) \
    checked_ioctl(fd, request, (unsigned long)(argument), #request)

static void make_memory(struct lapic_vm *vm)
{
    struct kvm_userspace_memory_region region = {.memory_size = MEMORY};

    vm->memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    g_assert_true(vm->memory != MAP_FAILED);
    for (unsigned vector = 0; vector < 256; vector++) {
        const uint16_t entry[] = {AT_FAULT, 0};
        memcpy(vm->memory + vector * sizeof(entry), entry, sizeof(entry));
    }
    memcpy(vm->memory + AT_CODE, code, sizeof(code));
    memcpy(vm->memory + AT_FAULT, fault, sizeof(fault));
    region.userspace_addr = (uintptr_t)vm->memory;
    vm_ioctl(vm->vm, KVM_SET_USER_MEMORY_REGION, &region);
}

/* Real mode at the begin of the code, with interrupts off. */
static void set_registers(const struct cpu *cpu)
{
    struct kvm_regs regs = {.rip = AT_CODE, .rflags = 2};
    struct kvm_sregs sregs;

    vm_ioctl(cpu->fd, KVM_GET_SREGS, &sregs);
    sregs.cs.base = sregs.cs.selector = 0;
    sregs.ds.base = AT_STEPS(cpu->index);
    sregs.ds.selector = (uint16_t)(AT_STEPS(cpu->index) >> 4);
    /* A base that no selector could give it stays until FS is loaded. */
    sregs.fs.base = APIC_ADDRESS;
    vm_ioctl(cpu->fd, KVM_SET_SREGS, &sregs);
    vm_ioctl(cpu->fd, KVM_SET_REGS, &regs);
}

/* ---- The vCPUs ---- */

/* Until it has done what is there for it. */
static void run_steps(struct cpu *cpu)
{
    while (ioctl(cpu->fd, KVM_RUN, 0) < 0) {
        g_assert_cmpint(errno, ==, EINTR);
    }
    g_assert_cmpuint(cpu->run->exit_reason, ==, KVM_EXIT_IO);
    g_assert_cmphex(cpu->run->io.port, ==, PORT_DONE); /* or it had an exception */
}

static void wait_for(sem_t *semaphore)
{
    while (sem_wait(semaphore) != 0) {
        g_assert_cmpint(errno, ==, EINTR);
    }
}

static void *run_cpu(void *opaque)
{
    struct cpu *cpu = opaque;

    pthread_setname_np(pthread_self(), cpu->name);
    while (!cpu->quit) {
        run_steps(cpu);
        sem_post(&cpu->done);
        wait_for(&cpu->go);
    }
    return NULL;
}

static void make_cpu(struct lapic_vm *vm, struct cpu *cpu, const struct lapic_cpu *wanted)
{
    g_autofree struct kvm_cpuid2 *cpuid =
        g_malloc0(sizeof(*cpuid) + CPUID_ENTRIES * sizeof(cpuid->entries[0]));
    struct kvm_mp_state runnable = {.mp_state = KVM_MP_STATE_RUNNABLE};

    cpu->index = (unsigned)(cpu - vm->cpus);
    cpu->name = wanted->thread;
    cpu->fd = vm_ioctl(vm->vm, KVM_CREATE_VCPU, wanted->id);
    cpu->run = mmap(NULL, vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, cpu->fd, 0);
    g_assert_true(cpu->run != MAP_FAILED);
    /* Without it there is no x2APIC, and no periodic mode. */
    cpuid->nent = CPUID_ENTRIES;
    vm_ioctl(vm->kvm, KVM_GET_SUPPORTED_CPUID, cpuid);
    vm_ioctl(cpu->fd, KVM_SET_CPUID2, cpuid);
    set_registers(cpu);
    vm_ioctl(cpu->fd, KVM_SET_MP_STATE, &runnable);
    sem_init(&cpu->go, 0, 0);
    sem_init(&cpu->done, 0, 0);
    g_assert_cmpint(pthread_create(&cpu->thread, NULL, run_cpu, cpu), ==, 0);
    wait_for(&cpu->done); /* it has its name, and nothing to do */
}

static void free_cpu(struct lapic_vm *vm, struct cpu *cpu)
{
    cpu->quit = TRUE;
    sem_post(&cpu->go);
    pthread_join(cpu->thread, NULL);
    sem_destroy(&cpu->go);
    sem_destroy(&cpu->done);
    munmap(cpu->run, vm->run_size);
    close(cpu->fd);
}

struct lapic_vm *lapic_vm_new(const struct lapic_cpu *cpus, unsigned n_cpus)
{
    struct lapic_vm *vm = g_new0(struct lapic_vm, 1);

    g_assert_cmpuint(n_cpus, <=, LAPIC_CPUS_MAX);
    vm->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    g_assert_cmpint(vm->kvm, >=, 0);
    vm->vm = vm_ioctl(vm->kvm, KVM_CREATE_VM, 0);
    vm->run_size = (size_t)vm_ioctl(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    vm_ioctl(vm->vm, KVM_SET_TSS_ADDR, TSS_ADDRESS);
    vm_ioctl(vm->vm, KVM_CREATE_IRQCHIP, 0);
    make_memory(vm);
    for (; vm->n_cpus < n_cpus; vm->n_cpus++) {
        make_cpu(vm, &vm->cpus[vm->n_cpus], &cpus[vm->n_cpus]);
    }
    return vm;
}

void lapic_vm_free(struct lapic_vm *vm)
{
    if (vm == NULL) {
        return;
    }
    for (unsigned i = 0; i < vm->n_cpus; i++) {
        free_cpu(vm, &vm->cpus[i]);
    }
    close(vm->vm);
    close(vm->kvm);
    munmap(vm->memory, MEMORY);
    g_free(vm);
}

void lapic_vm_run(struct lapic_vm *vm, unsigned cpu, const struct lapic_step *steps,
                  unsigned n_steps)
{
    const struct lapic_step end = {.kind = LAPIC_END};
    uint8_t *at = vm->memory + AT_STEPS(cpu);

    g_assert_cmpuint(cpu, <, vm->n_cpus);
    g_assert_cmpuint(n_steps, <=, LAPIC_STEPS_MAX);
    memcpy(at, steps, n_steps * sizeof(*steps));
    memcpy(at + n_steps * sizeof(end), &end, sizeof(end));
    sem_post(&vm->cpus[cpu].go);
    wait_for(&vm->cpus[cpu].done);
}
