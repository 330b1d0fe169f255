/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What hvtimer-attach refuses, with its reason and without harm; and what it does to processes that
 * make it hard. Needs KVM, but no guest runs.
 */
#include "common/status.h"
#include "daemon/attach/process.h"
#include "tests/integration/attach-run.h"
#include "tests/integration/qemu.h"
#include <glib/gstdio.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <fcntl.h>
#include <unistd.h>

#define VECTOR 0x50u
#define ROUNDS 30u

static gboolean skipped(void)
{
    const char *problem = access("/dev/kvm", R_OK | W_OK) != 0 ? "/dev/kvm can't be opened"
                          : getuid() != 0 ? "only root may attach to other processes"
                                          : NULL;

    if (problem != NULL && g_getenv("HVTIMER_TEST_NO_SKIP") != NULL) {
        g_test_fail_printf("may not be skipped: %s", problem);
    } else if (problem != NULL) {
        g_test_skip(problem);
    }
    return problem != NULL;
}

static void expect_refusal(pid_t pid, HV_STATUS status, const char *reason)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(AttachResult) result = attach_borrow(pid, ATTACH_PIN_ANY, VECTOR, &error);

    g_assert_null(result);
    g_assert_error(error, HV_STATUS_ERROR, (int)status);
    if (strstr(error->message, reason) == NULL) {
        g_error("\"%s\" does not say \"%s\"", error->message, reason);
    }
    g_test_message("%s", error->message);
}

static void expect_success(pid_t pid)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(AttachResult) result = attach_borrow(pid, ATTACH_PIN_ANY, VECTOR, &error);

    g_assert_no_error(error);
    g_autoptr(AttachResult) returned = attach_return(pid, result, VECTOR, &error);
    g_assert_no_error(error);
}

static void test_not_a_vmm(void)
{
    char *arguments[] = {(char *)"sleep", (char *)"60", NULL};
    g_autoptr(GError) error = NULL;
    GPid pid;

    if (skipped()) {
        return;
    }
    g_spawn_async(NULL, arguments, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD, NULL,
                  NULL, &pid, &error);
    g_assert_no_error(error);
    expect_refusal(pid, HV_STATUS_INVALID_PARTITION_STATE, "has no KVM guest");
    g_assert_true(attach_target_is_alive(pid));
    attach_target_end(pid);
    expect_refusal(pid, HV_STATUS_INVALID_PARTITION_ID, "no process");
}

static void test_another_process(void)
{
    g_autoptr(GError) error = NULL;
    struct attach_job job = {.kind = ATTACH_READ};

    if (skipped()) {
        return;
    }
    job.pid = attach_target_start("none", NULL);
    g_assert_true(process_start_time(job.pid, &job.start_time, &error));
    job.start_time++;
    g_assert_null(attach_run(&job, &error));
    g_assert_error(error, HV_STATUS_ERROR, HV_STATUS_INVALID_PARTITION_ID);
    attach_target_end(job.pid);
}

static void test_bad_requests(void)
{
    const struct attach_job jobs[] = {
        {.kind = 0},
        {.kind = ATTACH_TRACE + 1},
        {.kind = ATTACH_LISTEN, .pin = ATTACH_PINS},
        {.kind = ATTACH_LISTEN, .pin = 8, .edge = TRUE},
        {.kind = ATTACH_READ, .pulse = TRUE},
        {.kind = ATTACH_PULSE, .pin = 8, .pulse = TRUE},
        {.kind = ATTACH_BORROW, .pin = ATTACH_PIN_ANY, .entry = VECTOR, .pulse = TRUE},
        {.kind = ATTACH_BORROW, .pin = ATTACH_PIN_FIRST - 1, .entry = VECTOR},
        {.kind = ATTACH_BORROW, .pin = ATTACH_PIN_ANY, .entry = 15},
        {.kind = ATTACH_BORROW, .pin = ATTACH_PIN_ANY, .entry = VECTOR | 4 << 8}, /* NMI */
        {.kind = ATTACH_CHECK, .pulse = TRUE},
        {.kind = ATTACH_TRACE},
        {.kind = ATTACH_TRACE, .trace = ATTACH_TRACE_LAPIC + 1},
        {.kind = ATTACH_TRACE, .trace = ATTACH_TRACE_LAPIC, .edge = TRUE},
        {.kind = ATTACH_TRACE, .trace = ATTACH_TRACE_LAPIC, .n_ports = 1},
        {.kind = ATTACH_TRACE, .trace = ATTACH_TRACE_PORTS},
        {.kind = ATTACH_TRACE, .trace = ATTACH_TRACE_PORTS, .n_ports = ATTACH_PORTS + 1},
        {.kind = ATTACH_TRACE, .trace = ATTACH_TRACE_PORTS, .n_ports = 1, .vcpu = 1},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(jobs); i++) {
        struct attach_job job = jobs[i];
        g_autoptr(GError) error = NULL;
        job.pid = getpid();
        g_assert_null(attach_run(&job, &error));
        g_assert_error(error, HV_STATUS_ERROR, HV_STATUS_INVALID_PARAMETER);
    }
}

static void test_no_helper(void)
{
    struct attach_job job = {.kind = ATTACH_READ, .pid = getpid()};
    g_autoptr(GError) missing = NULL, silent = NULL;

    attach_use_helper("/nonexistent/hvtimer-attach");
    g_assert_null(attach_run(&job, &missing));
    g_assert_error(missing, HV_STATUS_ERROR, HV_STATUS_OPERATION_DENIED);
    attach_use_helper("/bin/true");
    g_assert_null(attach_run(&job, &silent));
    g_assert_error(silent, HV_STATUS_ERROR, HV_STATUS_OPERATION_DENIED);
    attach_use_helper(NULL);
}

static void test_two_machines(void)
{
    if (!skipped()) {
        pid_t pid = attach_target_start("two", NULL);
        expect_refusal(pid, HV_STATUS_INVALID_PARTITION_STATE, "2 KVM virtual machines");
        g_assert_true(attach_target_is_alive(pid));
        attach_target_end(pid);
    }
}

static void test_split_irqchip(void)
{
    if (!skipped()) {
        pid_t pid = attach_target_start("split", NULL);
        expect_refusal(pid, HV_STATUS_INVALID_PARTITION_STATE, "split irqchip");
        g_assert_true(attach_target_is_alive(pid));
        attach_target_end(pid);
    }
}

/* With the privilege to suspend the filter it can be done; without, it must not be tried. */
static void test_filter(void)
{
    g_autofree char *setpriv = g_find_program_in_path("setpriv");

    if (skipped()) {
        return;
    }
    pid_t pid = attach_target_start("filter", NULL);
    expect_success(pid);
    g_assert_true(attach_target_is_alive(pid));
    if (setpriv != NULL) {
        attach_use_script("%s --bounding-set -sys_admin --inh-caps -sys_admin", setpriv);
        expect_refusal(pid, HV_STATUS_ACCESS_DENIED, "system call filter");
        attach_use_helper(NULL);
        g_usleep(20000);
        g_assert_true(attach_target_is_alive(pid));
    }
    attach_target_end(pid);
}

static void test_traced(void)
{
    if (!skipped()) {
        pid_t pid = attach_target_start("none", NULL);
        g_assert_cmpint(ptrace(PTRACE_SEIZE, pid, NULL, NULL), ==, 0);
        expect_refusal(pid, HV_STATUS_INVALID_PARTITION_STATE, "is traced by process");
        g_assert_true(attach_target_is_alive(pid));
        attach_target_end(pid);
    }
}

static char state_of(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/stat", (int)pid);
    g_autofree char *stat = NULL;

    g_assert_true(g_file_get_contents(path, &stat, NULL, NULL));
    return strrchr(stat, ')')[2];
}

static void test_stopped(void)
{
    if (!skipped()) {
        pid_t pid = attach_target_start("none", NULL);
        kill(pid, SIGSTOP);
        while (state_of(pid) != 'T') {
            g_usleep(1000);
        }
        expect_refusal(pid, HV_STATUS_INVALID_PARTITION_STATE, "stopped by a signal");
        g_assert_cmpint(state_of(pid), ==, 'T');
        kill(pid, SIGCONT);
        expect_success(pid);
        attach_target_end(pid);
    }
}

/* ---- looking only: checks and traces ---- */

static const struct attach_job looks[] = {
    {.kind = ATTACH_CHECK},
    {.kind = ATTACH_TRACE, .trace = ATTACH_TRACE_PORTS, .n_ports = 2, .ports = {0x70, 0x71}},
    {.kind = ATTACH_TRACE, .trace = ATTACH_TRACE_HV_TIMER},
    {.kind = ATTACH_TRACE, .trace = ATTACH_TRACE_LAPIC},
};

static struct attach_result *look(unsigned i, pid_t pid, GError **error)
{
    struct attach_job job = looks[i];

    job.pid = pid;
    return attach_run(&job, error);
}

static void expect_look_refused(unsigned i, pid_t pid, HV_STATUS status, const char *reason)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(look(i, pid, &error));
    g_assert_error(error, HV_STATUS_ERROR, (int)status);
    if (strstr(error->message, reason) == NULL) {
        g_error("\"%s\" does not say \"%s\"", error->message, reason);
    }
}

/* Of a process without KVM, nothing; nor of one that is no more. */
static void test_look_not_a_vmm(void)
{
    char *arguments[] = {(char *)"sleep", (char *)"60", NULL};
    g_autoptr(GError) error = NULL;
    GPid pid;

    if (skipped()) {
        return;
    }
    g_spawn_async(NULL, arguments, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD, NULL,
                  NULL, &pid, &error);
    g_assert_no_error(error);
    for (unsigned i = 0; i < G_N_ELEMENTS(looks); i++) {
        expect_look_refused(i, pid, HV_STATUS_INVALID_PARTITION_STATE, "has no KVM guest");
    }
    attach_target_end(pid);
    for (unsigned i = 0; i < G_N_ELEMENTS(looks); i++) {
        expect_look_refused(i, pid, HV_STATUS_INVALID_PARTITION_ID, "no process");
    }
}

/* One that stands still, or is traced, is looked at all the same, and stays as it is. */
static void test_look_stopped(void)
{
    if (skipped()) {
        return;
    }
    pid_t pid = attach_target_start("two", NULL);
    kill(pid, SIGSTOP);
    while (state_of(pid) != 'T') {
        g_usleep(1000);
    }
    g_assert_cmpint(ptrace(PTRACE_SEIZE, pid, NULL, NULL), ==, 0);
    for (unsigned i = 0; i < G_N_ELEMENTS(looks); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(AttachResult) result = look(i, pid, &error);
        g_assert_no_error(error);
        g_assert_cmpuint(result->n_fds, ==, i < 2 ? i : 2); /* it has one thread */
        g_assert_cmpuint(result->stall_ns, ==, 0);
    }
    attach_target_end(pid);
}

/* More descriptors than can come at once. */
static void test_look_too_many(void)
{
    if (skipped()) {
        return;
    }
    pid_t pid = attach_target_start("threads", NULL);
    g_autoptr(AttachResult) checked = look(0, pid, NULL);
    g_assert_nonnull(checked);
    for (unsigned i = 1; i < G_N_ELEMENTS(looks); i++) {
        expect_look_refused(i, pid, HV_STATUS_INVALID_PARTITION_STATE, "301 threads");
    }
    g_assert_true(attach_target_is_alive(pid));
    attach_target_end(pid);
}

/* Threads that are gone when they are to be traced. Now and then there are too many. */
static void test_look_storm(void)
{
    unsigned done = 0;

    if (skipped()) {
        return;
    }
    pid_t pid = attach_target_start("storm", NULL);
    for (unsigned i = 0; i < ROUNDS; i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(AttachResult) result = look(1 + i % 3, pid, &error);
        if (result == NULL && strstr(error->message, "can be traced at most") != NULL) {
            continue;
        }
        g_assert_no_error(error);
        g_assert_cmpuint(result->n_fds, >=, 9); /* those that stay */
        g_assert_cmpuint(result->n_fds % (i % 3 == 0 ? 1 : 2), ==, 0);
        done++;
    }
    g_test_message("%u of %u were done, of the others there were too many", done, ROUNDS);
    g_assert_true(attach_target_is_alive(pid));
    attach_target_end(pid);
}

/* Whose machine is not always there: until it is. */
static void return_at_last(pid_t pid, struct attach_result *borrowed)
{
    struct attach_result *returned = NULL;

    for (unsigned i = 0; i < 1000 && returned == NULL; i++) {
        returned = attach_return(pid, borrowed, VECTOR, NULL);
    }
    g_assert_nonnull(returned);
    attach_result_free(returned);
}

/* Either way it comes out unharmed. */
static void try_often(const char *habit)
{
    pid_t pid = attach_target_start(habit, NULL);
    unsigned done = 0;

    for (unsigned i = 0; i < ROUNDS; i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(AttachResult) result = attach_borrow(pid, ATTACH_PIN_ANY, VECTOR, &error);
        done += result != NULL;
        if (result != NULL) {
            return_at_last(pid, result);
        } else {
            g_assert_error(error, HV_STATUS_ERROR, HV_STATUS_INVALID_PARTITION_STATE);
        }
        g_assert_true(attach_target_is_alive(pid));
    }
    g_test_message("%s: %u of %u were done, the others refused", habit, done, ROUNDS);
    attach_target_end(pid);
}

static void test_storm(void)
{
    if (!skipped()) {
        try_often("storm");
    }
}

static void test_swap(void)
{
    if (!skipped()) {
        try_often("swap");
    }
}

static gboolean kill_it(gpointer pid)
{
    kill(GPOINTER_TO_INT(pid), SIGKILL);
    return G_SOURCE_REMOVE;
}

static void on_result(G_GNUC_UNUSED GObject *source, GAsyncResult *result, gpointer user_data)
{
    g_autoptr(AttachResult) ignored = attach_run_finish(result, NULL);

    *(gboolean *)user_data = TRUE;
}

static void test_exits_meanwhile(void)
{
    g_autofree char *helper = attach_built("daemon/attach/hvtimer-attach");

    for (unsigned i = 0; i < ROUNDS && !skipped(); i++) {
        gboolean done = FALSE;
        struct attach_job job = {.kind = ATTACH_BORROW, .pin = ATTACH_PIN_ANY, .entry = VECTOR};
        job.pid = attach_target_start("storm", NULL);
        gint64 begun = g_get_monotonic_time();
        attach_run_async(helper, &job, NULL, on_result, &done);
        g_usleep((gulong)g_test_rand_int_range(0, 6000));
        g_idle_add(kill_it, GINT_TO_POINTER(job.pid));
        while (!done) {
            g_main_context_iteration(NULL, TRUE);
        }
        g_assert_cmpint(g_get_monotonic_time() - begun, <, 5 * G_USEC_PER_SEC);
        attach_target_end(job.pid);
    }
}

/* ---- registers, FPU and red zone of the thread that is borrowed ---- */

static void wait_for_progress(const volatile uint64_t *progress, pid_t pid)
{
    uint64_t before = *progress;
    gint64 until = g_get_monotonic_time() + 5 * G_USEC_PER_SEC;

    while (*progress < before + 3) {
        g_assert_true(attach_target_is_alive(pid));
        g_assert_cmpint(g_get_monotonic_time(), <, until);
        g_usleep(500);
    }
}

static void check_kept(const char *habit)
{
    g_autofree char *path = g_build_filename(g_get_tmp_dir(), "hvtimer-progress-XXXXXX", NULL);
    struct attach_job job = {.kind = ATTACH_LISTEN, .pin = 8};
    gboolean killed = TRUE;
    int fd = g_mkstemp(path);

    g_assert_cmpint(fd, >=, 0);
    job.pid = attach_target_start(habit, path);
    const volatile uint64_t *progress = mmap(NULL, sizeof(*progress), PROT_READ, MAP_SHARED, fd, 0);
    g_assert_true(progress != MAP_FAILED);
    for (unsigned at = 0; killed; at++) {
        killed = attach_killed_at(&job, at);
        wait_for_progress(progress, job.pid);
    }
    for (unsigned i = 0; i < ROUNDS; i++) {
        expect_success(job.pid);
        wait_for_progress(progress, job.pid);
    }
    attach_target_end(job.pid);
    munmap((void *)(uintptr_t)progress, sizeof(*progress));
    close(fd);
    g_unlink(path);
}

static void test_kept_futex(void)
{
    if (!skipped()) {
        check_kept("futex");
    }
}

static void test_kept_poll(void)
{
    if (!skipped()) {
        check_kept("poll");
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/attach/refuse/not-a-vmm", test_not_a_vmm);
    g_test_add_func("/attach/refuse/another-process", test_another_process);
    g_test_add_func("/attach/refuse/bad-requests", test_bad_requests);
    g_test_add_func("/attach/refuse/no-helper", test_no_helper);
    g_test_add_func("/attach/refuse/two-machines", test_two_machines);
    g_test_add_func("/attach/refuse/split-irqchip", test_split_irqchip);
    g_test_add_func("/attach/refuse/filter", test_filter);
    g_test_add_func("/attach/refuse/traced", test_traced);
    g_test_add_func("/attach/refuse/stopped", test_stopped);
    g_test_add_func("/attach/look/not-a-vmm", test_look_not_a_vmm);
    g_test_add_func("/attach/look/stopped", test_look_stopped);
    g_test_add_func("/attach/look/too-many", test_look_too_many);
    g_test_add_func("/attach/look/storm", test_look_storm);
    g_test_add_func("/attach/hard/storm", test_storm);
    g_test_add_func("/attach/hard/swap", test_swap);
    g_test_add_func("/attach/hard/exits-meanwhile", test_exits_meanwhile);
    g_test_add_func("/attach/kept/futex", test_kept_futex);
    g_test_add_func("/attach/kept/poll", test_kept_poll);
    return g_test_run();
}
