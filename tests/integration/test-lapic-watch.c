/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is told of a vCPU's local APIC timer, with real KVM guests: that the guest uses it, each way
 * to do so by itself, and of the vCPU and process that were asked for only; and what runs it.
 *
 * With the argument --guest this program is a process whose guest uses it.
 */
#include "common/status.h"
#include "daemon/base-timer/hv-timer.h"
#include "daemon/base-timer/lapic-watch.h"
#include "tests/guest/lapic-vm.h"
#include "tests/guest/ports-vm.h"
#include "tests/integration/attach-run.h"
#include "tests/support/test.h"
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define APIC_BASE_ENABLED 0xfee00800u
#define APIC_BASE_BSP     0x100u
#define APIC_BASE_X2APIC  0x400u

struct guest_touch {
    const char *name;
    struct lapic_step step;
};

/* With what an operating system would write. No interrupt follows: they are off. */
static const struct guest_touch touches[] = {
    {"lvtt", {LAPIC_WRITE, 0x320, 0x20050}},
    {"lvtt-masked", {LAPIC_WRITE, 0x320, 0x10000}},
    {"initial-count", {LAPIC_WRITE, 0x380, 1000000}},
    {"initial-count-off", {LAPIC_WRITE, 0x380, 0}},
    {"divide", {LAPIC_WRITE, 0x3e0, 0xb}},
    {"current-count", {LAPIC_READ, 0x390, 0}},
    {"current-count-part", {LAPIC_READ_BYTE, 0x392, 0}},
    {"software-disable", {LAPIC_WRITE, 0xf0, 0xff}},
    {"tsc-deadline", {LAPIC_WRMSR, 0x6e0, 0}},
    {"apic-base", {LAPIC_WRMSR, 0x1b, APIC_BASE_ENABLED | APIC_BASE_BSP}},
};

/* What guests do all the time, and when they boot. */
static const struct lapic_step harmless[] = {
    {LAPIC_WRITE, 0xf0, 0x1ff},                              /* software enable */
    {LAPIC_WRITE, 0xd0, 0x1000000},                          /* logical destination */
    {LAPIC_WRITE, 0xe0, 0xffffffff},                         /* and its format */
    {LAPIC_WRITE, 0xb0, 0},                                  /* EOI */
    {LAPIC_WRITE, 0x80, 0x10},                               /* task priority */
    {LAPIC_WRITE, 0x80, 0},          {LAPIC_READ, 0x20, 0},  /* ID */
    {LAPIC_READ, 0x30, 0},                                   /* version */
    {LAPIC_READ, 0xd0, 0},                                   /* logical destination */
    {LAPIC_READ, 0xf0, 0},                                   /* spurious interrupt vector */
    {LAPIC_READ, 0x320, 0},                                  /* LVT timer */
    {LAPIC_READ, 0x380, 0},                                  /* initial count */
    {LAPIC_READ, 0x3e0, 0},                                  /* divide configuration */
    {LAPIC_WRITE, 0x280, 0},                                 /* error status */
    {LAPIC_WRITE, 0x310, 0},                                 /* interrupt command, high */
    {LAPIC_WRITE, 0x330, 0x10000},                           /* the neighbour of LVT timer */
    {LAPIC_WRITE, 0x350, 0x10000},                           /* LVT LINT0 */
    {LAPIC_READ_BYTE, 0x20, 0},      {LAPIC_RDMSR, 0x1b, 0}, /* APIC base */
    {LAPIC_RDMSR, 0x10, 0},                                  /* TSC */
    {LAPIC_WRMSR, 0x174, 0},                                 /* SYSENTER_CS */
};

static gboolean no_kvm(void)
{
    if (lapic_vm_missing() != NULL) {
        test_skip(lapic_vm_missing());
        return TRUE;
    }
    return FALSE;
}

static void run(struct lapic_vm *vm, unsigned cpu, const struct lapic_step *step)
{
    lapic_vm_run(vm, cpu, step, 1);
}

/* All that has happened until now is dealt with, for what a guest has done is known as soon as it
 * has done it. */
static void settle(void)
{
    while (g_main_context_iteration(NULL, FALSE)) {
    }
}

static void on_touched(gpointer user_data)
{
    ++*(unsigned *)user_data;
}

static struct lapic_watch *try_watch(pid_t pid, unsigned vcpu, lapic_watch_func touched,
                                     gpointer user_data, GError **error)
{
    struct attach_job job = lapic_watch_job(vcpu);

    job.pid = pid;
    g_autoptr(AttachResult) opened = attach_run(&job, error);
    return opened != NULL ? lapic_watch_new(opened, touched, user_data, error) : NULL;
}

static struct hv_timer *try_hv_timer(pid_t pid, unsigned vcpu, GError **error)
{
    struct attach_job job = hv_timer_job(vcpu);

    job.pid = pid;
    g_autoptr(AttachResult) opened = attach_run(&job, error);
    return opened != NULL ? hv_timer_new(opened) : NULL;
}

/* NULL: it can't be had here, and the test was skipped. */
static struct lapic_watch *watch_of(pid_t pid, unsigned vcpu, lapic_watch_func touched,
                                    gpointer user_data)
{
    g_autoptr(GError) error = NULL;
    struct lapic_watch *watch = try_watch(pid, vcpu, touched, user_data, &error);

    if (ports_vm_is_refusal(error)) {
        test_skip(error->message);
        return NULL;
    }
    g_assert_no_error(error);
    return watch;
}

/* ---- One guest in this process, and a watch over its first vCPU ---- */

struct rig {
    struct lapic_vm *vm;
    struct lapic_watch *watch;
    unsigned touched;
};

static const struct lapic_cpu two_cpus[] = {{0, "CPU 0/KVM"}, {1, "CPU 1/KVM"}};

/* FALSE: the test was skipped. */
static gboolean rig_up(struct rig *rig)
{
    *rig = (struct rig){.vm = NULL};
    if (no_kvm()) {
        return FALSE;
    }
    rig->vm = lapic_vm_new(two_cpus, G_N_ELEMENTS(two_cpus));
    run(rig->vm, 0, &touches[0].step); /* before it is watched: not seen */
    rig->watch = watch_of(getpid(), 0, on_touched, &rig->touched);
    if (rig->watch == NULL) {
        lapic_vm_free(rig->vm);
        return FALSE;
    }
    return TRUE;
}

static void rig_down(struct rig *rig)
{
    lapic_watch_free(rig->watch);
    lapic_vm_free(rig->vm);
}

static void assert_untouched(const struct rig *rig)
{
    settle();
    g_assert_cmpuint(rig->touched, ==, 0);
}

/* In the end, and only once. */
static void assert_touched(const struct rig *rig)
{
    test_wait_until(20, rig->touched > 0);
    settle();
    g_assert_cmpuint(rig->touched, ==, 1);
}

static void test_touch(gconstpointer data)
{
    const struct guest_touch *touch = data;
    struct rig rig;

    if (!rig_up(&rig)) {
        return;
    }
    lapic_vm_run(rig.vm, 0, harmless, G_N_ELEMENTS(harmless));
    assert_untouched(&rig);
    run(rig.vm, 0, &touch->step);
    assert_touched(&rig);
    rig_down(&rig);
}

/* It is told of once, whatever follows. */
static void test_once(void)
{
    struct rig rig;

    if (!rig_up(&rig)) {
        return;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(touches); i++) {
        run(rig.vm, 0, &touches[i].step);
    }
    assert_touched(&rig);
    for (unsigned i = 0; i < G_N_ELEMENTS(touches); i++) {
        run(rig.vm, 0, &touches[i].step);
    }
    assert_touched(&rig);
    rig_down(&rig);
}

/* The same registers by MSRs, once the guest has changed to x2APIC; which is a touch too. */
static void test_x2apic(void)
{
    static const struct lapic_step enable = {LAPIC_WRMSR, 0x1b,
                                             APIC_BASE_ENABLED | APIC_BASE_BSP | APIC_BASE_X2APIC};
    static const struct lapic_step x2apic_harmless[] = {
        {LAPIC_WRMSR, 0x80b, 0}, /* EOI */
        {LAPIC_WRMSR, 0x808, 0}, /* task priority */
        {LAPIC_RDMSR, 0x802, 0}, /* ID */
        {LAPIC_RDMSR, 0x832, 0}, /* LVT timer */
        {LAPIC_RDMSR, 0x80d, 0}, /* logical destination */
    };
    static const struct lapic_step x2apic_touches[] = {
        {LAPIC_WRMSR, 0x832, 0x20050}, /* LVT timer */
        {LAPIC_WRMSR, 0x83e, 0xb},     /* divide configuration */
        {LAPIC_WRMSR, 0x838, 1000000}, /* initial count */
        {LAPIC_RDMSR, 0x839, 0},       /* current count */
        {LAPIC_WRMSR, 0x80f, 0xff},    /* software disable */
        {LAPIC_WRMSR, 0x6e0, 0},       /* TSC deadline */
    };
    struct rig rig;

    if (!rig_up(&rig)) {
        return;
    }
    run(rig.vm, 0, &enable);
    assert_touched(&rig);
    for (unsigned i = 0; i < G_N_ELEMENTS(x2apic_touches); i++) {
        lapic_watch_free(rig.watch);
        rig.touched = 0;
        rig.watch = watch_of(getpid(), 0, on_touched, &rig.touched);
        lapic_vm_run(rig.vm, 0, x2apic_harmless, G_N_ELEMENTS(x2apic_harmless));
        assert_untouched(&rig);
        run(rig.vm, 0, &x2apic_touches[i]);
        assert_touched(&rig);
    }
    rig_down(&rig);
}

static void test_other_vcpu(void)
{
    struct rig rig;

    if (!rig_up(&rig)) {
        return;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(touches); i++) {
        run(rig.vm, 1, &touches[i].step);
    }
    assert_untouched(&rig);
    run(rig.vm, 0, &touches[0].step);
    assert_touched(&rig);
    rig_down(&rig);
}

/* ---- Whose threads are whose ---- */

/* Watches vCPU @vcpu while the @cpu-th of @cpus uses its timer. Was it told? -1: skipped. */
static int is_told(const struct lapic_cpu *cpus, unsigned n_cpus, unsigned vcpu, unsigned cpu)
{
    struct rig rig = {.vm = lapic_vm_new(cpus, n_cpus)};
    int told = -1;

    rig.watch = watch_of(getpid(), vcpu, on_touched, &rig.touched);
    if (rig.watch != NULL) {
        run(rig.vm, cpu, &touches[0].step);
        settle();
        told = (int)rig.touched;
        rig_down(&rig);
    } else {
        lapic_vm_free(rig.vm);
    }
    return told;
}

/* Two sockets of two cores each, had they room for a third: KVM's numbers have a gap, the names
 * have not. They are in no order, as after hotplug. */
static void test_numbers(void)
{
    static const struct lapic_cpu cpus[] = {
        {0, "CPU 0/KVM"}, {5, "CPU 3/KVM"}, {1, "CPU 1/KVM"}, {4, "CPU 2/KVM"}};

    if (no_kvm()) {
        return;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(cpus); i++) {
        for (unsigned j = 0; j < G_N_ELEMENTS(cpus); j++) {
            int told = is_told(cpus, G_N_ELEMENTS(cpus), cpus[i].id, j);
            if (told < 0) {
                return;
            }
            g_assert_cmpint(told, ==, i == j);
        }
    }
}

/* Where it can't be told which thread it is: rather a word too many. */
static void test_names(void)
{
    static const struct {
        struct lapic_cpu cpus[3];
        gboolean told[3]; /* of the last one, which is asked for, by each of them */
    } rows[] = {
        {{{0, "CPU 0/KVM"}, {1, "CPU 1/KVM"}, {2, "CPU 2/KVM"}}, {FALSE, FALSE, TRUE}},
        {{{0, "CPU 0/TCG"}, {1, "CPU 1/TCG"}, {2, "CPU 2/TCG"}}, {TRUE, TRUE, TRUE}},
        {{{0, "vcpu0"}, {1, "CPU /KVM"}, {2, "CPU 2"}}, {TRUE, TRUE, TRUE}},
        /* QEMU keeps the descriptor of one that was unplugged. */
        {{{0, "CPU 0/KVM"}, {1, "worker"}, {2, "CPU 2/KVM"}}, {TRUE, FALSE, TRUE}},
    };

    if (no_kvm()) {
        return;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        for (unsigned j = 0; j < G_N_ELEMENTS(rows[i].cpus); j++) {
            int told = is_told(rows[i].cpus, G_N_ELEMENTS(rows[i].cpus), 2, j);
            if (told < 0) {
                return;
            }
            g_assert_cmpint(told, ==, rows[i].told[j]);
        }
    }
}

/* Several threads that may be it, and have all done it: it is told of once. */
static void test_several(void)
{
    static const struct lapic_cpu cpus[] = {{0, "a"}, {1, "b"}, {2, "c"}};
    struct rig rig = {.vm = NULL};

    if (no_kvm()) {
        return;
    }
    rig.vm = lapic_vm_new(cpus, G_N_ELEMENTS(cpus));
    rig.watch = watch_of(getpid(), 0, on_touched, &rig.touched);
    for (unsigned i = 0; rig.watch != NULL && i < G_N_ELEMENTS(cpus); i++) {
        run(rig.vm, i, &touches[0].step);
    }
    if (rig.watch != NULL) {
        assert_touched(&rig);
    }
    rig_down(&rig);
}

/* ---- When it is told ---- */

static void test_free(void)
{
    struct rig rig;

    lapic_watch_free(NULL);
    if (!rig_up(&rig)) {
        return;
    }
    run(rig.vm, 0, &touches[0].step);
    gint64 before = g_get_monotonic_time();
    lapic_watch_free(g_steal_pointer(&rig.watch));
    g_test_message("lapic_watch_free() took %" G_GINT64_FORMAT " us",
                   g_get_monotonic_time() - before);
    assert_untouched(&rig);
    rig_down(&rig);
}

static void free_when_touched(gpointer user_data)
{
    struct rig *rig = user_data;

    rig->touched++;
    lapic_watch_free(g_steal_pointer(&rig->watch));
}

static void test_free_within(void)
{
    struct rig rig;

    if (!rig_up(&rig)) {
        return;
    }
    lapic_watch_free(rig.watch);
    rig.watch = watch_of(getpid(), 0, free_when_touched, &rig);
    run(rig.vm, 0, &touches[0].step);
    assert_touched(&rig);
    g_assert_null(rig.watch);
    run(rig.vm, 0, &touches[0].step);
    assert_touched(&rig);
    rig_down(&rig);
}

/* By the main context that was the thread's when it was made. */
static void test_context(void)
{
    g_autoptr(GMainContext) context = g_main_context_new();
    struct rig rig;

    g_main_context_push_thread_default(context);
    gboolean up = rig_up(&rig);
    g_main_context_pop_thread_default(context);
    if (!up) {
        return;
    }
    run(rig.vm, 0, &touches[0].step);
    assert_untouched(&rig);
    while (rig.touched == 0) { /* it blocks: the end of the test's time ends it */
        g_main_context_iteration(context, TRUE);
    }
    assert_touched(&rig);
    rig_down(&rig);
}

/* ---- Several processes ---- */

/* One that, for each byte, uses the timer of its guest; see ports_process_begin(). */
static int be_guest(void)
{
    static const struct lapic_cpu cpu = {0, "CPU 0/KVM"};
    struct lapic_vm *vm;
    char byte = 'x';

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    vm = lapic_vm_new(&cpu, 1);
    do {
        g_assert_cmpint(write(STDOUT_FILENO, &byte, 1), ==, 1);
    } while (read(STDIN_FILENO, &byte, 1) == 1 && (run(vm, 0, &touches[0].step), TRUE));
    lapic_vm_free(vm);
    return 0;
}

/* Of the one that was asked for; and its end is no touch. */
static void test_processes(void)
{
    struct ports_process ours, other;
    unsigned touched = 0, ended = 0;

    if (no_kvm()) {
        return;
    }
    ports_process_begin(&ours, "--guest");
    ports_process_begin(&other, "--guest");
    struct lapic_watch *watch = watch_of(ours.pid, 0, on_touched, &touched);
    struct lapic_watch *of_ended = watch_of(other.pid, 0, on_touched, &ended);
    if (watch != NULL && of_ended != NULL) {
        ports_process_end(&other);
        settle(); /* and does not go on for ever */
        g_assert_cmpuint(touched + ended, ==, 0);
        ports_process_run(&ours);
        test_wait_until(20, touched > 0);
        ports_process_end(&ours);
        settle();
        g_assert_cmpuint(touched, ==, 1);
        g_assert_cmpuint(ended, ==, 0);
    } else {
        ports_process_end(&other);
        ports_process_end(&ours);
    }
    lapic_watch_free(watch);
    lapic_watch_free(of_ended);
}

static void test_no_process(void)
{
    g_autoptr(GError) error = NULL, hv_error = NULL;
    pid_t ended = fork();

    if (ended == 0) {
        _exit(0);
    }
    waitpid(ended, NULL, 0);
    g_assert_null(try_watch(ended, 0, on_touched, NULL, &error));
    g_assert_error(error, HV_STATUS_ERROR, HV_STATUS_INVALID_PARTITION_ID);
    g_assert_null(try_hv_timer(ended, 0, &hv_error));
    g_assert_error(hv_error, HV_STATUS_ERROR, HV_STATUS_INVALID_PARTITION_ID);
}

/* A helper that may look at the process, but not trace it. */
static void test_not_allowed(void)
{
    g_autoptr(GError) error = NULL, hv_error = NULL;

    if (no_kvm()) {
        return;
    }
    if (getuid() != 0) {
        test_skip("only root may take rights from the helper");
        return;
    }
    struct lapic_vm *vm = lapic_vm_new(two_cpus, G_N_ELEMENTS(two_cpus));
    attach_use_script("setpriv --bounding-set=-all,+sys_ptrace");
    g_assert_null(try_watch(getpid(), 0, on_touched, NULL, &error));
    g_assert_error(error, HV_STATUS_ERROR, HV_STATUS_ACCESS_DENIED);
    g_assert_null(try_hv_timer(getpid(), 0, &hv_error));
    g_assert_error(hv_error, HV_STATUS_ERROR, HV_STATUS_ACCESS_DENIED);
    g_assert_nonnull(strstr(hv_error->message, "CAP_PERFMON"));
    attach_use_helper(NULL);
    lapic_vm_free(vm);
}

/* ---- What runs the timer ---- */

static gboolean has_preemption_timer(void)
{
    g_autofree char *text = NULL;

    return g_file_get_contents("/sys/module/kvm_intel/parameters/preemption_timer", &text, NULL,
                               NULL) &&
           text[0] == 'Y';
}

/* With the numbers of KVM's, which the event has too. */
static void test_hv_timer(void)
{
    static const struct lapic_cpu cpus[] = {{0, "CPU 0/KVM"}, {2, "CPU 1/KVM"}};
    static const struct lapic_step start[] = {
        {LAPIC_WRITE, 0x320, 0x30050}, {LAPIC_WRITE, 0x3e0, 0xb}, {LAPIC_WRITE, 0x380, 1000000}};
    g_autoptr(GError) error = NULL;

    if (no_kvm()) {
        return;
    }
    struct lapic_vm *vm = lapic_vm_new(cpus, G_N_ELEMENTS(cpus));
    struct hv_timer *timer = try_hv_timer(getpid(), 2, &error);
    if (ports_vm_is_refusal(error)) {
        test_skip(error->message);
    } else {
        g_assert_no_error(error);
        lapic_vm_run(vm, 1, harmless, G_N_ELEMENTS(harmless));
        g_assert_cmpint(hv_timer_read(timer), ==, HV_TIMER_UNKNOWN);
        lapic_vm_run(vm, 0, start, G_N_ELEMENTS(start));
        g_assert_cmpint(hv_timer_read(timer), ==, HV_TIMER_UNKNOWN);
        lapic_vm_run(vm, 1, start, G_N_ELEMENTS(start));
        lapic_vm_run(vm, 1, harmless, G_N_ELEMENTS(harmless)); /* none of it halts the vCPU */
        g_assert_cmpint(hv_timer_read(timer), ==,
                        has_preemption_timer() ? HV_TIMER_USED : HV_TIMER_NOT_USED);
    }
    hv_timer_free(timer);
    lapic_vm_free(vm);
}

static void add_touches(void)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(touches); i++) {
        g_autofree char *path = g_strdup_printf("/lapic-watch/touches/%s", touches[i].name);
        g_test_add_data_func(path, &touches[i], test_touch);
    }
}

int main(int argc, char **argv)
{
    if (argc == 2 && g_str_equal(argv[1], "--guest")) {
        return be_guest();
    }
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/lapic-watch/no-process", test_no_process);
    g_test_add_func("/lapic-watch/not-allowed", test_not_allowed);
    add_touches();
    g_test_add_func("/lapic-watch/once", test_once);
    g_test_add_func("/lapic-watch/x2apic", test_x2apic);
    g_test_add_func("/lapic-watch/other-vcpu", test_other_vcpu);
    g_test_add_func("/lapic-watch/numbers", test_numbers);
    g_test_add_func("/lapic-watch/names", test_names);
    g_test_add_func("/lapic-watch/several", test_several);
    g_test_add_func("/lapic-watch/free", test_free);
    g_test_add_func("/lapic-watch/free-within", test_free_within);
    g_test_add_func("/lapic-watch/context", test_context);
    g_test_add_func("/lapic-watch/processes", test_processes);
    g_test_add_func("/hv-timer/on-kvm", test_hv_timer);
    return g_test_run();
}
