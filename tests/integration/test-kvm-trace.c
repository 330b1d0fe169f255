/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Port accesses of real KVM guests, as the kernel's trace event shows them: each one, in order,
 * with what was written or read, and of the process that was asked for only.
 *
 * With the argument --guest this program is such a process.
 */
#include "common/status.h"
#include "daemon/base-timer/kvm-trace.h"
#include "tests/guest/ports-vm.h"
#include "tests/integration/attach-run.h"
#include "tests/support/test.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const uint16_t rtc[] = {0x70, 0x71};

/* More than a thread's ring holds (RING_SIZE in kvm-trace.c, 48 bytes each). */
#define RING_HOLDS 2730u

/* Between the kernel's clock for trace events and CLOCK_MONOTONIC (ktime_get_mono_fast_ns() may be
 * off by ns as the clock is adjusted). */
#define CLOCK_SLACK_NS 1000u

static uint64_t now_ns(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* @start_time: 0 for the process that has the number now. */
static struct kvm_trace *try_trace(pid_t pid, uint64_t start_time, GError **error)
{
    struct attach_job job = kvm_trace_job(rtc, G_N_ELEMENTS(rtc));

    job.pid = pid;
    job.start_time = start_time;
    g_autoptr(AttachResult) opened = attach_run(&job, error);
    return opened != NULL ? kvm_trace_new(opened, error) : NULL;
}

/* NULL: it can't be had here, and the test was skipped. */
static struct kvm_trace *trace_of(pid_t pid)
{
    g_autoptr(GError) error = NULL;
    struct kvm_trace *trace = try_trace(pid, 0, &error);

    if (ports_vm_is_refusal(error)) {
        test_skip(error->message);
        return NULL;
    }
    g_assert_no_error(error);
    return trace;
}

/* ---- What guests do ---- */

static gboolean is_traced(const struct ports_step *step)
{
    return step->kind != PORTS_OUT_WORD && (step->port == 0x70 || step->port == 0x71);
}

/* From 1 to @most. */
static unsigned random_up_to(GRand *random, unsigned most)
{
    return (unsigned)g_rand_int_range(random, 1, (int)most + 1);
}

/* All of them on the RTC's ports. */
static struct ports_step *random_steps(GRand *random, unsigned n)
{
    struct ports_step *steps = g_new0(struct ports_step, n);

    for (unsigned i = 0; i < n; i++) {
        steps[i].port = rtc[g_rand_int_range(random, 0, 2)];
        steps[i].value = (uint8_t)g_rand_int(random);
        steps[i].kind = g_rand_boolean(random) ? PORTS_OUT : PORTS_IN;
    }
    return steps;
}

/* Moves some of them to other ports, and makes others wider: not to be seen. */
static void mix(GRand *random, struct ports_step *steps, unsigned n)
{
    static const uint16_t others[] = {0x0, 0x40, 0x43, 0x6f, 0x72, 0x170, 0x7071};

    for (unsigned i = 0; i < n; i++) {
        int what = g_rand_int_range(random, 0, 4);
        if (what == 0) {
            steps[i].port = others[g_rand_int_range(random, 0, G_N_ELEMENTS(others))];
        } else if (what == 1 && steps[i].kind == PORTS_OUT) {
            steps[i].kind = PORTS_OUT_WORD;
        }
    }
}

/* ---- What is read of it ---- */

struct reading {
    struct kvm_trace *trace;
    uint64_t last_ns; /* no access is before it */
    uint64_t n;
};

static void assert_access(struct reading *reading, const struct port_access *access,
                          const struct ports_step *step)
{
    g_assert_cmphex(access->port, ==, step->port);
    g_assert_cmpint(access->write, ==, step->kind == PORTS_OUT);
    g_assert_cmphex(access->value, ==, step->value);
    g_assert_cmpuint(access->time_ns + CLOCK_SLACK_NS, >=, reading->last_ns);
    reading->last_ns = access->time_ns;
    reading->n++;
}

static void assert_nothing_left(struct reading *reading)
{
    struct port_access access;

    g_assert_false(kvm_trace_next(reading->trace, UINT64_MAX, &access));
    g_assert_false(kvm_trace_lost(reading->trace));
}

/* Those of the steps that are to be seen, and nothing else, all of them until now. */
static void assert_steps(struct reading *reading, const struct ports_step *steps, unsigned n)
{
    struct port_access access;
    uint64_t after = now_ns();

    for (unsigned i = 0; i < n; i++) {
        if (is_traced(&steps[i])) {
            g_assert_true(kvm_trace_next(reading->trace, UINT64_MAX, &access));
            assert_access(reading, &access, &steps[i]);
        }
    }
    g_assert_cmpuint(reading->last_ns, <=, after + CLOCK_SLACK_NS);
    assert_nothing_left(reading);
}

/* ---- Guests in this process ---- */

#define VMS_MAX 3u

struct rig {
    struct reading reading;
    GRand *random;
    struct ports_step *steps;
    struct ports_vm *vms[VMS_MAX];
};

static gboolean no_kvm(void)
{
    if (ports_vm_missing() != NULL) {
        test_skip(ports_vm_missing());
        return TRUE;
    }
    return FALSE;
}

static void rig_down(struct rig *rig)
{
    for (unsigned i = 0; i < VMS_MAX && rig->vms[i] != NULL; i++) {
        ports_vm_free(rig->vms[i]);
    }
    kvm_trace_free(rig->reading.trace);
    g_free(rig->steps);
    g_rand_free(rig->random);
}

/* Guests whose threads are called so (NULL: no more), random steps for them, and the trace of this
 * process. FALSE: it can't be had here, and the test was skipped. */
static gboolean rig_up(struct rig *rig, unsigned n_steps, const char *const names[VMS_MAX])
{
    guint32 seed = (guint32)g_test_rand_int();

    if (no_kvm()) {
        return FALSE;
    }
    g_test_message("seed %u", seed);
    *rig = (struct rig){.random = g_rand_new_with_seed(seed)};
    rig->steps = random_steps(rig->random, n_steps);
    for (unsigned i = 0; i < VMS_MAX && names[i] != NULL; i++) {
        rig->vms[i] = ports_vm_new(names[i]);
    }
    /* Before it is traced: not seen. */
    ports_vm_run(rig->vms[0], rig->steps, MIN(10, n_steps));
    rig->reading = (struct reading){.trace = trace_of(getpid()), .last_ns = now_ns()};
    if (rig->reading.trace == NULL) {
        rig_down(rig);
        return FALSE;
    }
    assert_nothing_left(&rig->reading);
    return TRUE;
}

static const char *const one_vcpu[VMS_MAX] = {"CPU 0/KVM"};

static void next_is(struct rig *rig, uint64_t until_ns, const struct ports_step *step)
{
    struct port_access access;

    g_assert_true(kvm_trace_next(rig->reading.trace, until_ns, &access));
    assert_access(&rig->reading, &access, step);
}

static void test_sequence(void)
{
    struct rig rig;
    enum { N = 1500 };

    if (!rig_up(&rig, N, one_vcpu)) {
        return;
    }
    mix(rig.random, rig.steps, N);
    for (unsigned i = 0; i < 5; i++) {
        ports_vm_run(rig.vms[0], rig.steps, N);
        assert_steps(&rig.reading, rig.steps, N);
    }
    g_assert_cmpuint(rig.reading.n, >, N);
    rig_down(&rig);
}

/* What came later stays for later. */
static void test_until(void)
{
    struct port_access access;
    struct rig rig;
    enum { N = 100 };

    if (!rig_up(&rig, 2 * N, one_vcpu)) {
        return;
    }
    uint64_t begin = rig.reading.last_ns;
    ports_vm_run(rig.vms[0], rig.steps, N);
    uint64_t between = now_ns() + CLOCK_SLACK_NS;
    while (now_ns() <= between + CLOCK_SLACK_NS) {
    }
    ports_vm_run(rig.vms[0], rig.steps + N, N);

    g_assert_false(kvm_trace_next(rig.reading.trace, begin - CLOCK_SLACK_NS, &access));
    for (unsigned i = 0; i < N; i++) {
        next_is(&rig, between, &rig.steps[i]);
    }
    g_assert_false(kvm_trace_next(rig.reading.trace, between, &access));
    g_assert_false(kvm_trace_lost(rig.reading.trace));
    assert_steps(&rig.reading, rig.steps + N, N);
    rig_down(&rig);
}

/* A reader beside the guest, many rings' worth: nothing is lost, mixed up or seen twice. */
static void test_beside(void)
{
    struct port_access access;
    struct rig rig;
    enum { N = 10000 };

    if (!rig_up(&rig, N, one_vcpu)) {
        return;
    }
    for (unsigned done = 0; done < N;) {
        /* Never more than fits, for this thread may be kept from running. */
        unsigned n = random_up_to(rig.random, MIN(RING_HOLDS / 2, N - done)), read = 0;
        ports_vm_start(rig.vms[0], rig.steps + done, n);
        uint64_t before = now_ns();
        while (read < n) {
            if (kvm_trace_next(rig.reading.trace, UINT64_MAX, &access)) {
                assert_access(&rig.reading, &access, &rig.steps[done + read++]);
                g_assert_cmpuint(access.time_ns, <=, now_ns() + CLOCK_SLACK_NS);
            } else {
                g_assert_false(kvm_trace_lost(rig.reading.trace));
                g_assert_cmpuint(now_ns() - before, <, 60 * UINT64_C(1000000000));
            }
        }
        ports_vm_wait(rig.vms[0]);
        assert_nothing_left(&rig.reading);
        done += n;
    }
    rig_down(&rig);
}

/* Reads what is there: the first of @steps, without a gap, then the loss. How many? */
static unsigned read_until_lost(struct reading *reading, const struct ports_step *steps, unsigned n)
{
    struct port_access access;
    unsigned read = 0;

    while (kvm_trace_next(reading->trace, UINT64_MAX, &access)) {
        g_assert_cmpuint(read, <, n);
        assert_access(reading, &access, &steps[read++]);
    }
    g_assert_false(
        kvm_trace_next(reading->trace, UINT64_MAX, &access)); /* not before it is asked */
    g_assert_true(kvm_trace_lost(reading->trace));
    g_assert_false(kvm_trace_lost(reading->trace));
    return read;
}

/* Nobody reads for long: that is said, after what was before it, and once. */
static void test_lost(void)
{
    struct rig rig;
    enum { N = 4000 };

    if (!rig_up(&rig, N, one_vcpu)) {
        return;
    }
    for (unsigned round = 0; round < 3; round++) {
        ports_vm_run(rig.vms[0], rig.steps, N);
        unsigned read = read_until_lost(&rig.reading, rig.steps, N);
        g_test_message("%u of %u were kept", read, (unsigned)N);
        g_assert_cmpuint(read, >=, RING_HOLDS - 3);
        g_assert_cmpuint(read, <=, RING_HOLDS);
        assert_nothing_left(&rig.reading);
        /* As before from here on. The kernel's own word for the loss comes with the next one. */
        ports_vm_run(rig.vms[0], rig.steps, N / 4);
        assert_steps(&rig.reading, rig.steps, N / 4);
    }
    rig_down(&rig);
}

/* Lost in the middle: what came after it comes after it is told. */
static void test_lost_between(void)
{
    struct rig rig;
    enum { N = 4000, FEW = 10, AFTER = 5 };

    if (!rig_up(&rig, N, one_vcpu)) {
        return;
    }
    ports_vm_run(rig.vms[0], rig.steps, N);
    for (unsigned i = 0; i < FEW; i++) { /* now there is room for a few */
        next_is(&rig, UINT64_MAX, &rig.steps[i]);
    }
    ports_vm_run(rig.vms[0], rig.steps, AFTER);
    unsigned read = FEW + read_until_lost(&rig.reading, rig.steps + FEW, N - FEW);
    g_assert_cmpuint(read, >=, RING_HOLDS - 3);
    assert_steps(&rig.reading, rig.steps, AFTER);
    rig_down(&rig);
}

/* Two vCPUs in turns, so each knows what the other did before: that is their order. A third thread,
 * which is no vCPU's by its name, is not seen. */
static void test_threads(void)
{
    static const char *const names[VMS_MAX] = {"CPU 0/KVM", "CPU 12/KVM", "CPU x/KVM"};
    unsigned read = 0;
    struct rig rig;
    enum { N = 1000 };

    if (!rig_up(&rig, N, names)) {
        return;
    }
    for (unsigned done = 0; done < N;) {
        unsigned n = random_up_to(rig.random, MIN(3, N - done));
        ports_vm_run(rig.vms[g_rand_int_range(rig.random, 0, 2)], rig.steps + done, n);
        ports_vm_run(rig.vms[2], rig.steps, 1);
        done += n;
        if (done == N || g_rand_int_range(rig.random, 0, 50) == 0) {
            assert_steps(&rig.reading, rig.steps + read, done - read);
            read = done;
        }
    }
    rig_down(&rig);
}

struct turns {
    struct rig *rig;
    unsigned n;
    gboolean done; /* atomic */
};

static void *take_turns(void *opaque)
{
    struct turns *turns = opaque;

    for (unsigned i = 0; i < turns->n; i++) {
        ports_vm_run(turns->rig->vms[i % 2], turns->rig->steps + i, 1);
    }
    __atomic_store_n(&turns->done, TRUE, __ATOMIC_RELEASE);
    return NULL;
}

/* The same with a reader who looks all the time: between one thread's access and the other's too.
 */
static void test_threads_beside(void)
{
    static const char *const names[VMS_MAX] = {"CPU 0/KVM", "CPU 1/KVM"};
    enum { N = 4000 }; /* a ring holds half of them, should the reader be kept from running */
    struct port_access access;
    pthread_t thread;
    struct rig rig;

    if (!rig_up(&rig, N, names)) {
        return;
    }
    struct turns turns = {.rig = &rig, .n = N};
    struct reading *reading = &rig.reading;
    g_assert_cmpint(pthread_create(&thread, NULL, take_turns, &turns), ==, 0);
    for (gboolean done = FALSE; !done;) {
        done = __atomic_load_n(&turns.done, __ATOMIC_ACQUIRE);
        while (kvm_trace_next(reading->trace, UINT64_MAX, &access)) {
            g_assert_cmpuint(reading->n, <, N);
            assert_access(reading, &access, &rig.steps[reading->n]);
        }
        g_assert_false(kvm_trace_lost(reading->trace));
    }
    g_assert_cmpuint(reading->n, ==, N);
    pthread_join(thread, NULL);
    rig_down(&rig);
}

/* A VMM that calls its threads something else. */
static void test_other_names(void)
{
    static const char *const names[VMS_MAX] = {"CPU 1", "CPU /KVM"};
    struct rig rig;
    enum { N = 100 };

    if (!rig_up(&rig, N, names)) {
        return;
    }
    for (unsigned i = 0; i < 2; i++) {
        ports_vm_run(rig.vms[i], rig.steps, N);
        assert_steps(&rig.reading, rig.steps, N);
    }
    rig_down(&rig);
}

/* ---- Several processes ---- */

#define GUEST_STEPS 500u

static struct ports_step *guest_steps(void)
{
    g_autoptr(GRand) random = g_rand_new_with_seed(4711);

    return random_steps(random, GUEST_STEPS);
}

/* Only those of the one that was asked for; and what it did is known when it is no more. */
static void test_processes(void)
{
    g_autofree struct ports_step *steps = guest_steps();

    if (no_kvm()) {
        return;
    }
    struct ports_process ours, other;
    ports_process_begin(&ours, "--guest");
    ports_process_begin(&other, "--guest");
    struct reading reading = {.trace = trace_of(ours.pid), .last_ns = now_ns()};
    if (reading.trace != NULL) {
        ports_process_run(&other);
        assert_nothing_left(&reading);
        ports_process_run(&ours);
        ports_process_run(&other);
        assert_steps(&reading, steps, GUEST_STEPS);
        ports_process_start(&other); /* both at once */
        ports_process_run(&ours);
        ports_process_wait(&other);
    }
    ports_process_end(&ours);
    if (reading.trace != NULL) {
        assert_steps(&reading, steps, GUEST_STEPS);
        ports_process_run(&other);
        assert_nothing_left(&reading);
        kvm_trace_free(reading.trace);
    }
    ports_process_end(&other);
}

/* ---- What is refused, and where the kernel's tracing directory may be ---- */

static void test_no_process(void)
{
    g_autoptr(GError) error = NULL, late = NULL;
    pid_t ended = fork();

    if (ended == 0) {
        _exit(0);
    }
    waitpid(ended, NULL, 0);
    g_assert_null(try_trace(ended, 0, &error));
    g_assert_error(error, HV_STATUS_ERROR, HV_STATUS_INVALID_PARTITION_ID);
    g_assert_null(try_trace(ended, 1, &late)); /* it was there when it was asked for */
    g_assert_error(late, HV_STATUS_ERROR, HV_STATUS_INVALID_PARTITION_ID);
    kvm_trace_free(NULL);
}

/* The helper through @command, which ends with the name of a program to be run. Returns 0, the
 * trace was had; else the HV_STATUS of the error, which says @reason. */
static int try_through(const char *command, const char *reason)
{
    g_autoptr(GError) error = NULL;

    attach_use_script("%s", command);
    struct kvm_trace *trace = try_trace(getpid(), 0, &error);
    attach_use_helper(NULL);
    kvm_trace_free(trace);
    if (error != NULL) {
        g_test_message("%s", error->message);
        g_assert_nonnull(strstr(error->message, reason));
    }
    return error != NULL ? error->code : 0;
}

#define MOUNTS_OF_ITS_OWN "unshare --mount --propagation private "
/* @how: what is done before the helper, "$0", takes its place. */
#define UNMOUNTED(how)                                                           \
    MOUNTS_OF_ITS_OWN "sh -c 'while umount -l /sys/kernel/tracing; do :; done; " \
                      "while umount -l /sys/kernel/debug; do :; done; "          \
                      "test ! -e /sys/kernel/tracing/events && " how "' 2>/dev/null"

/* It may not mount it anywhere else. Debian's kernels know a third degree, and then CAP_PERFMON is
 * not enough for the events. */
static const char *mounted(void)
{
    g_autofree char *degree = NULL;

    return g_file_get_contents("/proc/sys/kernel/perf_event_paranoid", &degree, NULL, NULL) &&
                   g_ascii_strtoll(degree, NULL, 10) > 2
               ? UNMOUNTED("mount -t tracefs tracefs /sys/kernel/tracing && exec \"$0\"")
               : UNMOUNTED("mount -t tracefs tracefs /sys/kernel/tracing && "
                           "exec setpriv --bounding-set=-sys_admin \"$0\"");
}

/* Some other file system is where it should be. */
static const char misled[] = UNMOUNTED("mount -t tmpfs tmpfs /sys/kernel/tracing && exec \"$0\"");

static void test_places(void)
{
    g_autofree char *before = NULL, *after = NULL;
    struct ports_vm *vm;

    if (no_kvm()) {
        return;
    }
    if (system(MOUNTS_OF_ITS_OWN "true 2>/dev/null") != 0) {
        test_skip("only root may try other mounts");
        return;
    }
    vm = ports_vm_new("CPU 0/KVM");
    g_file_get_contents("/proc/self/mountinfo", &before, NULL, NULL);
    struct kvm_trace *trace = trace_of(getpid());
    if (trace != NULL) {
        kvm_trace_free(trace);
        g_file_get_contents("/proc/self/mountinfo", &after, NULL, NULL);
        g_assert_cmpstr(before, ==, after);
        g_assert_cmpint(try_through(UNMOUNTED("exec \"$0\""), ""), ==, 0);
        g_assert_cmpint(try_through(mounted(), ""), ==, 0);
        g_assert_cmpint(try_through(misled, ""), ==, 0);
        g_assert_cmpint(try_through("setpriv --bounding-set=-all", "CAP_SYS_PTRACE"), ==,
                        HV_STATUS_ACCESS_DENIED);
        g_assert_cmpint(try_through("setpriv --bounding-set=-all,+sys_ptrace", "CAP_PERFMON"), ==,
                        HV_STATUS_ACCESS_DENIED);
    }
    ports_vm_free(vm);
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--guest") == 0) {
        g_autofree struct ports_step *steps = guest_steps();
        return ports_process_main("CPU 0/KVM", steps, GUEST_STEPS);
    }
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/kvm-trace/no-process", test_no_process);
    g_test_add_func("/kvm-trace/places", test_places);
    g_test_add_func("/kvm-trace/sequence", test_sequence);
    g_test_add_func("/kvm-trace/until", test_until);
    g_test_add_func("/kvm-trace/beside", test_beside);
    g_test_add_func("/kvm-trace/lost", test_lost);
    g_test_add_func("/kvm-trace/lost-between", test_lost_between);
    g_test_add_func("/kvm-trace/threads", test_threads);
    g_test_add_func("/kvm-trace/threads-beside", test_threads_beside);
    g_test_add_func("/kvm-trace/other-names", test_other_names);
    g_test_add_func("/kvm-trace/processes", test_processes);
    return g_test_run();
}
