/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A virtual machine that accesses I/O ports: see ports-vm.h. */
#include "tests/guest/ports-vm.h"

#include "common/status.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- The machine ---- */

/* The guest's memory: a segment of 64 KiB for each of the code, the steps, and what was read. */
#define SEGMENT  0x10000u
#define AT_CODE  0u
#define AT_STEPS SEGMENT
#define AT_READ  (2 * SEGMENT)
#define MEMORY   (3 * SEGMENT)

/* Three pages below 4 GiB that KVM needs on Intel, clear of everything else. */
#define TSS_ADDRESS 0xfffbd000ul

/* Goes through the steps at DS:SI until PORTS_END, and stores what it reads at ES:DI. */
static const uint8_t code[] = {
    0xad,       /* next: lodsw            the port */
    0x89, 0xc2, /*       mov   %ax, %dx */
    0xad,       /*       lodsw            AL the value, AH the kind */
    0xfe, 0xcc, /*       dec   %ah */
    0x78, 0x10, /*       js    end */
    0x74, 0x07, /*       jz    out */
    0xfe, 0xcc, /*       dec   %ah */
    0x74, 0x06, /*       jz    in */
    0xef,       /*       out   %ax, %dx   AH is 1 */
    0xeb, 0xef, /*       jmp   next */
    0xee,       /* out:  out   %al, %dx */
    0xeb, 0xec, /*       jmp   next */
    0xec,       /* in:   in    %dx, %al */
    0xaa,       /*       stosb */
    0xeb, 0xe8, /*       jmp   next */
    0xf4,       /* end:  hlt */
};

struct ports_vm {
    int kvm, vm, vcpu;
    struct kvm_run *run;
    size_t run_size;
    uint8_t *memory;
    char name[16];
    pthread_t thread;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    const struct ports_step *steps; /* NULL: nothing to do */
    unsigned n_steps;
    gboolean quit;
};

const char *ports_vm_missing(void)
{
    int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

    if (fd < 0) {
        return "/dev/kvm can't be opened";
    }
    close(fd);
    return NULL;
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

/* Real mode at the begin of the code, with the steps before it. */
static void set_registers(struct ports_vm *vm)
{
    struct kvm_regs regs = {.rip = AT_CODE, .rflags = 2};
    struct kvm_sregs sregs;

    vm_ioctl(vm->vcpu, KVM_GET_SREGS, &sregs);
    sregs.cs.base = sregs.cs.selector = 0;
    sregs.ds.base = AT_STEPS;
    sregs.ds.selector = AT_STEPS >> 4;
    sregs.es.base = AT_READ;
    sregs.es.selector = AT_READ >> 4;
    vm_ioctl(vm->vcpu, KVM_SET_SREGS, &sregs);
    vm_ioctl(vm->vcpu, KVM_SET_REGS, &regs);
}

/* Does one port access of the guest's; @step is the one that it must be. */
static void serve(struct ports_vm *vm, const struct ports_step *step)
{
    struct kvm_run *run = vm->run;
    uint8_t *data = (uint8_t *)run + run->io.data_offset;

    g_assert_cmpuint(run->io.port, ==, step->port);
    g_assert_cmpuint(run->io.count, ==, 1);
    g_assert_cmpuint(run->io.size, ==, step->kind == PORTS_OUT_WORD ? 2 : 1);
    if (step->kind == PORTS_IN) {
        g_assert_cmpuint(run->io.direction, ==, KVM_EXIT_IO_IN);
        *data = step->value;
    } else {
        g_assert_cmpuint(run->io.direction, ==, KVM_EXIT_IO_OUT);
        g_assert_cmphex(*data, ==, step->value);
    }
}

static void do_steps(struct ports_vm *vm)
{
    const struct ports_step end = {.kind = PORTS_END};
    unsigned done = 0, n_read = 0;

    memcpy(vm->memory + AT_STEPS, vm->steps, vm->n_steps * sizeof(*vm->steps));
    memcpy(vm->memory + AT_STEPS + vm->n_steps * sizeof(end), &end, sizeof(end));
    set_registers(vm);
    for (;;) {
        if (ioctl(vm->vcpu, KVM_RUN, 0) < 0) {
            g_assert_cmpint(errno, ==, EINTR);
            continue;
        }
        if (vm->run->exit_reason == KVM_EXIT_HLT) {
            break;
        }
        g_assert_cmpuint(vm->run->exit_reason, ==, KVM_EXIT_IO);
        g_assert_cmpuint(done, <, vm->n_steps);
        serve(vm, &vm->steps[done++]);
    }
    g_assert_cmpuint(done, ==, vm->n_steps);
    for (unsigned i = 0; i < vm->n_steps; i++) {
        if (vm->steps[i].kind == PORTS_IN) {
            g_assert_cmphex(vm->memory[AT_READ + n_read++], ==, vm->steps[i].value);
        }
    }
}

static void *run_vcpu(void *opaque)
{
    struct ports_vm *vm = opaque;

    pthread_setname_np(pthread_self(), vm->name);
    pthread_mutex_lock(&vm->lock);
    vm->name[0] = '\0';
    pthread_cond_broadcast(&vm->changed);
    while (!vm->quit) {
        if (vm->steps == NULL) {
            pthread_cond_wait(&vm->changed, &vm->lock);
            continue;
        }
        pthread_mutex_unlock(&vm->lock);
        do_steps(vm);
        pthread_mutex_lock(&vm->lock);
        vm->steps = NULL;
        pthread_cond_broadcast(&vm->changed);
    }
    pthread_mutex_unlock(&vm->lock);
    return NULL;
}

static void make_machine(struct ports_vm *vm)
{
    struct kvm_userspace_memory_region region = {.memory_size = MEMORY};

    vm->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    g_assert_cmpint(vm->kvm, >=, 0);
    vm->vm = vm_ioctl(vm->kvm, KVM_CREATE_VM, 0);
    vm_ioctl(vm->vm, KVM_SET_TSS_ADDR, TSS_ADDRESS);
    vm->memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    g_assert_true(vm->memory != MAP_FAILED);
    memcpy(vm->memory + AT_CODE, code, sizeof(code));
    region.userspace_addr = (uintptr_t)vm->memory;
    vm_ioctl(vm->vm, KVM_SET_USER_MEMORY_REGION, &region);
    vm->vcpu = vm_ioctl(vm->vm, KVM_CREATE_VCPU, 0);
    vm->run_size = (size_t)vm_ioctl(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    vm->run = mmap(NULL, vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vm->vcpu, 0);
    g_assert_true(vm->run != MAP_FAILED);
}

struct ports_vm *ports_vm_new(const char *thread)
{
    struct ports_vm *vm = g_new0(struct ports_vm, 1);

    make_machine(vm);
    g_strlcpy(vm->name, thread, sizeof(vm->name));
    pthread_mutex_init(&vm->lock, NULL);
    pthread_cond_init(&vm->changed, NULL);
    pthread_mutex_lock(&vm->lock);
    g_assert_cmpint(pthread_create(&vm->thread, NULL, run_vcpu, vm), ==, 0);
    while (vm->name[0] != '\0') { /* until the thread has taken it */
        pthread_cond_wait(&vm->changed, &vm->lock);
    }
    pthread_mutex_unlock(&vm->lock);
    return vm;
}

void ports_vm_free(struct ports_vm *vm)
{
    pthread_mutex_lock(&vm->lock);
    vm->quit = TRUE;
    pthread_cond_broadcast(&vm->changed);
    pthread_mutex_unlock(&vm->lock);
    pthread_join(vm->thread, NULL);
    pthread_mutex_destroy(&vm->lock);
    pthread_cond_destroy(&vm->changed);
    munmap(vm->run, vm->run_size);
    close(vm->vcpu);
    close(vm->vm);
    close(vm->kvm);
    munmap(vm->memory, MEMORY);
    g_free(vm);
}

void ports_vm_start(struct ports_vm *vm, const struct ports_step *steps, unsigned n_steps)
{
    g_assert_cmpuint(n_steps, <=, PORTS_STEPS_MAX);
    pthread_mutex_lock(&vm->lock);
    g_assert_null(vm->steps);
    vm->steps = steps;
    vm->n_steps = n_steps;
    pthread_cond_broadcast(&vm->changed);
    pthread_mutex_unlock(&vm->lock);
}

void ports_vm_wait(struct ports_vm *vm)
{
    pthread_mutex_lock(&vm->lock);
    while (vm->steps != NULL) {
        pthread_cond_wait(&vm->changed, &vm->lock);
    }
    pthread_mutex_unlock(&vm->lock);
}

void ports_vm_run(struct ports_vm *vm, const struct ports_step *steps, unsigned n_steps)
{
    ports_vm_start(vm, steps, n_steps);
    ports_vm_wait(vm);
}

gboolean ports_vm_is_refusal(const GError *error)
{
    return error != NULL && strstr(error->message, " event") != NULL &&
           (g_error_matches(error, HV_STATUS_ERROR, HV_STATUS_ACCESS_DENIED) ||
            (g_error_matches(error, HV_STATUS_ERROR, HV_STATUS_OPERATION_DENIED) &&
             (strstr(error->message, g_strerror(ENOENT)) != NULL ||
              strstr(error->message, g_strerror(ENODEV)) != NULL)));
}

/* ---- In a process of its own ---- */

/* A byte to its standard input for each round; one from its standard output when it is ready, and
 * after each round. */

static void send_byte(int fd)
{
    g_assert_cmpint(write(fd, "x", 1), ==, 1);
}

int ports_process_main(const char *thread, const struct ports_step *steps, unsigned n_steps)
{
    struct ports_vm *vm;
    char byte;

    prctl(PR_SET_PDEATHSIG, SIGKILL); /* should it hang; else the end of its input ends it */
    vm = ports_vm_new(thread);
    send_byte(STDOUT_FILENO);
    while (read(STDIN_FILENO, &byte, 1) == 1) {
        ports_vm_run(vm, steps, n_steps);
        send_byte(STDOUT_FILENO);
    }
    ports_vm_free(vm);
    return 0;
}

void ports_process_begin(struct ports_process *process, const char *argument)
{
    char *arguments[] = {(char *)"/proc/self/exe", (char *)argument, NULL};
    g_autoptr(GError) error = NULL;

    g_spawn_async_with_pipes(NULL, arguments, NULL, G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL,
                             &process->pid, &process->in, &process->out, NULL, &error);
    g_assert_no_error(error);
    ports_process_wait(process);
}

void ports_process_start(struct ports_process *process)
{
    send_byte(process->in);
}

void ports_process_wait(struct ports_process *process)
{
    char byte;

    g_assert_cmpint(read(process->out, &byte, 1), ==, 1);
}

void ports_process_run(struct ports_process *process)
{
    ports_process_start(process);
    ports_process_wait(process);
}

void ports_process_end(struct ports_process *process)
{
    int status;

    close(process->in);
    g_assert_cmpint(waitpid(process->pid, &status, 0), ==, process->pid);
    g_assert_cmpint(status, ==, 0);
    close(process->out);
}
