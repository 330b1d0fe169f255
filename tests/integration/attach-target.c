/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A process for hvtimer-attach to be tried on: it has a KVM virtual machine, and one of the habits
 * named below. It writes a line when it is ready.
 *
 *   attach-target futex|poll PROGRESS  a thread sleeps in that system call, again and again, and
 * checks that registers, FPU and red zone are as they were: aborts if not; the uint64_t in the file
 * PROGRESS counts attach-target filter               under a strict system call filter
 *   attach-target storm                threads come and go without end
 *   attach-target threads              has 300 of them
 *   attach-target swap                 the machine's descriptor is something else half of the time
 *   attach-target split                its IOAPIC is not KVM's
 *   attach-target two                  two virtual machines
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define REGISTERS 5u
#define RED_ZONE  16u
#define VECTORS   16u

/* What must survive a system call. */
struct kept {
    uint64_t registers[REGISTERS];
    uint64_t red_zone[RED_ZONE];
    uint64_t vectors[VECTORS][2];
    uint64_t mxcsr;
};

static _Atomic uint32_t word;
static volatile uint64_t *progress;

static void pause_us(unsigned us)
{
    struct timespec time = {us / 1000000, us % 1000000 * 1000};

    nanosleep(&time, NULL);
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static int make_machine(int split)
{
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    int vm = kvm >= 0 ? ioctl(kvm, KVM_CREATE_VM, 0) : -1;

    if (vm < 0) {
        die("KVM_CREATE_VM");
    }
    if (split) {
        struct kvm_enable_cap cap = {.cap = KVM_CAP_SPLIT_IRQCHIP, .args = {24}};
        if (ioctl(vm, KVM_ENABLE_CAP, &cap) < 0) {
            die("KVM_CAP_SPLIT_IRQCHIP");
        }
    } else if (ioctl(vm, KVM_CREATE_IRQCHIP, 0) < 0) {
        die("KVM_CREATE_IRQCHIP");
    }
    if (ioctl(vm, KVM_CREATE_VCPU, 0) < 0) {
        die("KVM_CREATE_VCPU");
    }
    close(kvm);
    return vm;
}

/* ---- futex, poll: everything is checked ---- */

/* Loads all from @in, makes the call, stores all to @out. */
static long call_and_keep(long number, long a, long b, long c, const struct kept *in,
                          struct kept *out)
{
    register long r10 __asm__("r10") = 0;
    register const void *r8 __asm__("r8") = in;
    register void *r9 __asm__("r9") = out;
    long result = number;

    __asm__ volatile(
        "ldmxcsr %c[mxcsr](%%r8)\n\t"
        "sub $256, %%rsp\n\t"
        ".set i, 0\n\t"
        ".rept 16\n\t"
        "mov %c[zone]+8*i(%%r8), %%r11\n\t"
        "mov %%r11, -128+8*i(%%rsp)\n\t"
        ".set i, i+1\n\t"
        ".endr\n\t"
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n\t"
        "movups %c[vectors]+16*\\n(%%r8), %%xmm\\n\n\t"
        ".endr\n\t"
        "mov 0(%%r8), %%rbx\n\t"
        "mov 8(%%r8), %%r12\n\t"
        "mov 16(%%r8), %%r13\n\t"
        "mov 24(%%r8), %%r14\n\t"
        "mov 32(%%r8), %%r15\n\t"
        "syscall\n\t"
        "mov %%rbx, 0(%%r9)\n\t"
        "mov %%r12, 8(%%r9)\n\t"
        "mov %%r13, 16(%%r9)\n\t"
        "mov %%r14, 24(%%r9)\n\t"
        "mov %%r15, 32(%%r9)\n\t"
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n\t"
        "movups %%xmm\\n, %c[vectors]+16*\\n(%%r9)\n\t"
        ".endr\n\t"
        ".set i, 0\n\t"
        ".rept 16\n\t"
        "mov -128+8*i(%%rsp), %%r11\n\t"
        "mov %%r11, %c[zone]+8*i(%%r9)\n\t"
        ".set i, i+1\n\t"
        ".endr\n\t"
        "add $256, %%rsp\n\t"
        "stmxcsr %c[mxcsr](%%r9)\n\t"
        : "+a"(result), "+r"(r10), "+r"(r8), "+r"(r9)
        : "D"(a), "S"(b), "d"(c), [mxcsr] "i"(offsetof(struct kept, mxcsr)),
          [zone] "i"(offsetof(struct kept, red_zone)), [vectors] "i"(offsetof(struct kept, vectors))
        : "rbx", "rcx", "r11", "r12", "r13", "r14", "r15", "memory", "cc", "xmm0", "xmm1", "xmm2",
          "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",
          "xmm13", "xmm14", "xmm15");
    if (r8 != in || r9 != out) {
        abort();
    }
    return result;
}

static void check_call(long number, long a, long b, long c, uint64_t seed)
{
    struct kept in, out;

    memset(&in, 0, sizeof(in));
    memset(&out, 0, sizeof(out));
    for (size_t i = 0; i < sizeof(in) / sizeof(uint64_t) - 1; i++) {
        ((uint64_t *)&in)[i] = seed * 0x9e3779b97f4a7c15u + i * 0x0123456789abcdefu;
    }
    in.mxcsr = 0x1f80 | (seed % 4) << 13; /* the rounding mode */
    long result = call_and_keep(number, a, b, c, &in, &out);
    uint32_t usual = 0x1f80;
    __asm__ volatile("ldmxcsr %0" : : "m"(usual));
    if (memcmp(&in, &out, sizeof(in)) != 0 ||
        (result < 0 && result != -EAGAIN && result != -EINTR)) {
        fprintf(stderr, "attach-target: a system call came back changed (%ld)\n", result);
        abort();
    }
}

static void *sleep_in_futex(void *unused)
{
    for (uint64_t i = 0;; i++) {
        uint32_t value = word;
        check_call(SYS_futex, (long)&word, FUTEX_WAIT, value, i);
        *progress = i;
    }
    return unused;
}

static void *sleep_in_poll(void *unused)
{
    for (uint64_t i = 0;; i++) {
        check_call(SYS_poll, 0, 0, 3, i);
        *progress = i;
    }
    return unused;
}

static void map_progress(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0 || ftruncate(fd, sizeof(*progress)) < 0) {
        die(path);
    }
    progress = mmap(NULL, sizeof(*progress), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
}

/* ---- storm, swap, filter ---- */

static void *come_and_go(void *unused)
{
    pause_us(100);
    return unused;
}

static void *create(void *unused)
{
    pthread_t thread;

    for (;;) {
        if (pthread_create(&thread, NULL, come_and_go, NULL) == 0) {
            pthread_detach(thread);
        }
        pause_us(50);
    }
    return unused;
}

static int machine;

static void *swap(void *unused)
{
    int keep = dup(machine), null = open("/dev/null", O_RDWR);
    /* A number of its own, so that there is never more than one. */
    fcntl(keep, F_SETFD, FD_CLOEXEC);
    for (;;) {
        dup2(null, machine);
        pause_us(100);
        dup2(keep, machine);
        close(keep);
        pause_us(100);
        keep = dup(machine);
    }
    return unused;
}

static void start(void *(*function)(void *))
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, function, NULL) != 0) {
        die("pthread_create");
    }
}

static void *sleep_for_ever(void *unused)
{
    for (;;) {
        pause();
    }
    return unused;
}

static void filter(void)
{
    static const int allowed[] = {SYS_read,      SYS_write,           SYS_exit_group,
                                  SYS_nanosleep, SYS_clock_nanosleep, SYS_restart_syscall};
    struct sock_filter code[2 * sizeof(allowed) / sizeof(int) + 2];
    unsigned n = 0;

    code[n++] =
        (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (unsigned i = 0; i < sizeof(allowed) / sizeof(int); i++) {
        code[n++] =
            (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)allowed[i], 0, 1);
        code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    }
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    struct sock_fprog program = {(unsigned short)n, code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0) {
        die("seccomp");
    }
}

static void say_ready(void)
{
    if (write(STDOUT_FILENO, "ready\n", 6) != 6) {
        exit(1);
    }
}

int main(int argc, char **argv)
{
    const char *habit = argc > 1 ? argv[1] : "";

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    machine = make_machine(strcmp(habit, "split") == 0);
    if (strcmp(habit, "two") == 0) {
        make_machine(0);
    } else if (strcmp(habit, "futex") == 0 && argc > 2) {
        map_progress(argv[2]);
        start(sleep_in_futex);
    } else if (strcmp(habit, "poll") == 0 && argc > 2) {
        map_progress(argv[2]);
        start(sleep_in_poll);
    } else if (strcmp(habit, "storm") == 0) {
        for (int i = 0; i < 8; i++) {
            start(create);
        }
    } else if (strcmp(habit, "threads") == 0) {
        for (int i = 0; i < 300; i++) {
            start(sleep_for_ever);
        }
    } else if (strcmp(habit, "swap") == 0) {
        start(swap);
    } else if (strcmp(habit, "filter") == 0) {
        filter();
    }
    say_ready();
    for (;;) {
        word++;
        if (strcmp(habit, "futex") == 0) {
            syscall(SYS_futex, &word, FUTEX_WAKE, 1, NULL, NULL, 0);
        }
        pause_us(300);
    }
}
