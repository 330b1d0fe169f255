/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hvtimer-attach on a real QEMU with KVM: what it does, how long the guest stands still, and that
 * nothing remains in the VMM, even if the helper is killed at any moment. What it refuses is in
 * test-attach-refuse.c.
 */
#include "common/status.h"
#include "daemon/attach/process.h"
#include "tests/integration/attach-run.h"
#include "tests/integration/qemu.h"
#include "tests/support/test.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define VECTOR       0x50u
#define OTHER_VECTOR 0x51u
#define PULSES       1000u
#define ATTACHES     100u
#define KILLS        200u
#define ACK_US       (500 * 1000)
/* A busy host takes ticks from QEMU's RTC by itself. */
#define RTC_AT_LEAST(ms) (QEMU_GUEST_RTC_HZ * (ms) / 1000 / 2)

static const char *const sandbox[] = {
    "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny", NULL};

static struct qemu *qemu;

/* An acknowledgement may be ahead of the guest's own count. */
static void await_count(unsigned vector, unsigned count)
{
    test_wait_until(5, qemu->counts->vectors[vector] >= count);
    g_assert_cmpuint(qemu->counts->vectors[vector], ==, count);
}

static gboolean skipped(void)
{
    const char *problem = qemu_problem();

    if (problem != NULL && g_getenv("HVTIMER_TEST_NO_SKIP") != NULL) {
        g_test_fail_printf("may not be skipped: %s", problem);
    } else if (problem != NULL) {
        g_test_skip(problem);
    }
    return problem != NULL;
}

static void start_guest(const char *boot_sector, const char *const *arguments)
{
    g_autofree char *file = attach_built(boot_sector);

    qemu = qemu_start(file, arguments);
}

static void end_guest(void)
{
    g_clear_pointer(&qemu, qemu_free);
}

static uint64_t acknowledged_within(int resamplefd, gint64 us)
{
    gint64 until = g_get_monotonic_time() + us;
    eventfd_t count = 0;

    while (eventfd_read(resamplefd, &count) != 0 && g_get_monotonic_time() < until) {
        g_usleep(50);
    }
    return count;
}

/* One tick a millisecond, each after the acknowledgement of the one before. */
static uint64_t pulse(const struct attach_result *pin, unsigned pulses)
{
    uint64_t acknowledged = 0;

    for (unsigned i = 0; i < pulses; i++) {
        gint64 next = g_get_monotonic_time() + 1000;
        g_assert_cmpint(eventfd_write(pin->fds[0], 1), ==, 0);
        acknowledged += acknowledged_within(pin->fds[1], ACK_US);
        gint64 left = next - g_get_monotonic_time();
        g_usleep(left > 0 ? (gulong)left : 0);
    }
    return acknowledged;
}

static void expect_rtc(void)
{
    g_assert_cmpuint(qemu_rtc_ticks_within(qemu, 500), >=, RTC_AT_LEAST(500));
}

static void expect_footprint(struct qemu_footprint before)
{
    gint64 until = g_get_monotonic_time() + 2 * G_USEC_PER_SEC;
    struct qemu_footprint now = qemu_footprint(qemu);

    while ((now.fds != before.fds || now.threads != before.threads ||
            now.mappings > before.mappings) &&
           g_get_monotonic_time() < until) {
        g_usleep(1000);
        now = qemu_footprint(qemu);
    }
    g_assert_cmpuint(now.fds, ==, before.fds);
    g_assert_cmpuint(now.threads, ==, before.threads);
    g_assert_cmpuint(now.mappings, <=, before.mappings);
}

static struct attach_result *borrow(void)
{
    g_autoptr(GError) error = NULL;
    struct attach_result *pin = attach_borrow(qemu->pid, ATTACH_PIN_ANY, VECTOR, &error);

    g_assert_no_error(error);
    return pin;
}

static void give_back(struct attach_result *pin, uint64_t expected)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(AttachResult) done = attach_return(qemu->pid, pin, expected, &error);

    g_assert_no_error(error);
}

/* ---- the job ---- */

static void check_job(void)
{
    struct qemu_footprint before = qemu_footprint(qemu);
    g_autoptr(GError) error = NULL;
    uint32_t taken = qemu->counts->vectors[VECTOR], rtc = qemu->counts->rtc;
    gint64 begun = g_get_monotonic_time();
    struct attach_result *pin = borrow();

    g_assert_cmpuint(pin->pin, ==, 23);
    g_assert_cmpuint(pulse(pin, PULSES), ==, PULSES);
    await_count(VECTOR, taken + PULSES);
    g_assert_cmpuint(qemu->counts->rtc - rtc, >=,
                     RTC_AT_LEAST((g_get_monotonic_time() - begun) / 1000));

    struct attach_job job = {.kind = ATTACH_REROUTE,
                             .pid = qemu->pid,
                             .pin = pin->pin,
                             .entry = OTHER_VECTOR,
                             .expected = VECTOR};
    g_autoptr(AttachResult) rerouted = attach_run(&job, &error);
    g_assert_no_error(error);
    taken = qemu->counts->vectors[OTHER_VECTOR];
    g_assert_cmpuint(pulse(pin, 100), ==, 100);
    await_count(OTHER_VECTOR, taken + 100);

    give_back(pin, OTHER_VECTOR);
    g_autoptr(AttachResult) entries = attach_read(qemu->pid, &error);
    g_assert_no_error(error);
    g_assert_cmphex(entries->entries[pin->pin], ==, pin->old_entry);
    attach_result_free(pin);
    expect_footprint(before);
    expect_rtc();
}

static void check_listener(void)
{
    g_autoptr(GError) error = NULL;
    struct qemu_footprint before = qemu_footprint(qemu);
    g_autoptr(AttachResult) listener = attach_listen(qemu->pid, 8, &error);

    g_assert_no_error(error);
    g_assert_cmpuint(listener->stall_ns, ==, 0);
    acknowledged_within(listener->fds[1], ACK_US);
    uint32_t rtc = qemu->counts->rtc;
    g_usleep(G_USEC_PER_SEC);
    int64_t counted = (int64_t)(qemu->counts->rtc - rtc);
    int64_t heard = (int64_t)acknowledged_within(listener->fds[1], ACK_US);
    /* The two were not read at once. */
    g_assert_cmpint(ABS(counted - heard), <=, 20);
    expect_footprint(before);
}

static void test_ioapic(void)
{
    if (!skipped()) {
        start_guest("tests/guest/qemu-ioapic.bin", NULL);
        check_job();
        check_listener();
        end_guest();
    }
}

static void test_pic(void)
{
    if (!skipped()) {
        start_guest("tests/guest/qemu-pic.bin", NULL);
        check_job();
        check_listener();
        end_guest();
    }
}

static void test_sandbox(void)
{
    if (!skipped()) {
        start_guest("tests/guest/qemu-ioapic.bin", sandbox);
        check_job();
        check_listener();
        end_guest();
    }
}

/* Without the privilege to suspend QEMU's filter, which lets the helper's calls through. */
static void test_sandbox_unprivileged(void)
{
    g_autofree char *setpriv = g_find_program_in_path("setpriv");
    g_autoptr(GError) error = NULL;

    if (skipped() || setpriv == NULL) {
        return;
    }
    start_guest("tests/guest/qemu-ioapic.bin", sandbox);
    attach_use_script("%s --bounding-set -sys_admin --inh-caps -sys_admin", setpriv);
    g_autoptr(AttachResult) pin = attach_borrow(qemu->pid, ATTACH_PIN_ANY, VECTOR, &error);
    attach_use_helper(NULL);
    g_assert_no_error(error);
    g_assert_cmpuint(pulse(pin, 100), ==, 100);
    expect_rtc();
    end_guest();
}

static void test_edge(void)
{
    g_autoptr(GError) error = NULL;
    struct attach_job job = {
        .kind = ATTACH_BORROW, .pin = ATTACH_PIN_ANY, .edge = TRUE, .entry = VECTOR};

    if (skipped()) {
        return;
    }
    start_guest("tests/guest/qemu-ioapic.bin", NULL);
    job.pid = qemu->pid;
    g_autoptr(AttachResult) pin = attach_run(&job, &error);
    g_assert_no_error(error);
    for (unsigned i = 0; i < 100; i++) {
        g_assert_cmpint(eventfd_write(pin->fds[0], 1), ==, 0);
        g_assert_cmpuint(acknowledged_within(pin->fds[2], ACK_US), ==, 1);
    }
    await_count(VECTOR, 100);
    end_guest();
}

static void test_pins(void)
{
    static const char uuid[] = "5a1c0b6e-0d57-4d0c-9c0e-6a1f6f0e7a01";
    static const char *const named[] = {"-uuid", uuid, NULL};
    g_autoptr(GError) error = NULL, in_use = NULL, lost = NULL;

    if (skipped()) {
        return;
    }
    start_guest("tests/guest/qemu-ioapic.bin", named);
    g_assert_cmpint(process_find_qemu(uuid, &error), ==, qemu->pid);
    g_assert_no_error(error);
    g_autoptr(AttachResult) first = borrow();
    g_autoptr(AttachResult) second = attach_borrow(qemu->pid, ATTACH_PIN_ANY, OTHER_VECTOR, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(second->pin, ==, first->pin - 1);
    /* What has the very entry was left by a daemon that was killed: that one is had again. */
    g_autoptr(AttachResult) again = attach_borrow(qemu->pid, ATTACH_PIN_ANY, VECTOR, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(again->pin, ==, first->pin);
    g_assert_cmphex(again->old_entry, ==, ATTACH_ENTRY_MASKED);
    g_autoptr(AttachResult) same = attach_borrow(qemu->pid, first->pin, OTHER_VECTOR, &in_use);
    g_assert_error(in_use, HV_STATUS_ERROR, HV_STATUS_OBJECT_IN_USE);
    struct attach_job job = {.kind = ATTACH_REROUTE,
                             .pid = qemu->pid,
                             .pin = first->pin,
                             .entry = OTHER_VECTOR,
                             .expected = OTHER_VECTOR};
    g_autoptr(AttachResult) rerouted = attach_run(&job, &lost);
    g_assert_error(lost, HV_STATUS_ERROR, HV_STATUS_INVALID_PARTITION_STATE);
    expect_rtc();
    end_guest();
}

/* ---- the stall ---- */

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static void test_stall(void)
{
    uint64_t stalls[ATTACHES];

    if (skipped()) {
        return;
    }
    start_guest("tests/guest/qemu-ioapic.bin", NULL);
    struct qemu_footprint before = qemu_footprint(qemu);
    for (unsigned i = 0; i < ATTACHES; i++) {
        g_autoptr(AttachResult) pin = borrow();
        stalls[i] = pin->stall_ns;
        give_back(pin, VECTOR);
    }
    qsort(stalls, ATTACHES, sizeof(stalls[0]), compare);
    g_test_message("stall of %u attaches: median %.0f us, 90 %% %.0f us, max %.0f us", ATTACHES,
                   (double)stalls[ATTACHES / 2] / 1e3, (double)stalls[ATTACHES * 9 / 10] / 1e3,
                   (double)stalls[ATTACHES - 1] / 1e3);
    if (g_getenv("HVTIMER_TEST_TIMING") != NULL) { /* on a quiet machine only */
        g_assert_cmpuint(stalls[ATTACHES / 2], <, 300000);
        g_assert_cmpuint(stalls[ATTACHES - 1], <, 2000000);
    }
    expect_footprint(before);
    expect_rtc();
    end_guest();
}

/* ---- a helper that is killed ---- */

/* What a killed helper may leave: a pin with an entry, and nothing that could raise it. */
static void tidy_pins(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(AttachResult) now = attach_read(qemu->pid, &error);

    g_assert_no_error(error);
    for (unsigned pin = ATTACH_PIN_FIRST; pin < ATTACH_PINS; pin++) {
        struct attach_result left = {
            .fds = {-1, -1, -1}, .pin = pin, .old_entry = ATTACH_ENTRY_MASKED};
        if ((now->entries[pin] & ATTACH_ENTRY_MASKED) == 0) {
            give_back(&left, VECTOR);
        }
    }
}

static void test_killed_anywhere(void)
{
    struct attach_job job = {.kind = ATTACH_BORROW, .pin = ATTACH_PIN_ANY, .entry = VECTOR};
    gboolean killed = TRUE;

    if (skipped()) {
        return;
    }
    start_guest("tests/guest/qemu-ioapic.bin", sandbox);
    job.pid = qemu->pid;
    struct qemu_footprint before = qemu_footprint(qemu);
    for (unsigned at = 0; killed; at++) {
        killed = attach_killed_at(&job, at);
        g_assert_true(qemu_rtc_goes_on(qemu));
        expect_footprint(before);
        tidy_pins();
    }
    check_job();
    end_guest();
}

static gboolean cancel(gpointer cancellable)
{
    g_cancellable_cancel(cancellable);
    return G_SOURCE_REMOVE;
}

struct waiting {
    gboolean done;
    struct attach_result *result;
};

static void on_waited(G_GNUC_UNUSED GObject *source, GAsyncResult *result, gpointer user_data)
{
    struct waiting *waiting = user_data;

    waiting->done = TRUE;
    waiting->result = attach_run_finish(result, NULL);
}

/* At moments that nobody chose, as the daemon's own cancelling does it. */
static void test_killed_sometime(void)
{
    g_autofree char *helper = attach_built("daemon/attach/hvtimer-attach");

    if (skipped()) {
        return;
    }
    start_guest("tests/guest/qemu-ioapic.bin", NULL);
    struct qemu_footprint before = qemu_footprint(qemu);
    struct attach_job job = {
        .kind = ATTACH_BORROW, .pid = qemu->pid, .pin = ATTACH_PIN_ANY, .entry = VECTOR};
    for (unsigned i = 0; i < KILLS; i++) {
        g_autoptr(GCancellable) cancellable = g_cancellable_new();
        struct waiting waiting = {FALSE, NULL};
        attach_run_async(helper, &job, cancellable, on_waited, &waiting);
        g_usleep((gulong)g_test_rand_int_range(0, 6000));
        g_idle_add(cancel, cancellable);
        while (!waiting.done) {
            g_main_context_iteration(NULL, TRUE);
        }
        attach_result_free(waiting.result);
        g_assert_true(qemu_rtc_goes_on(qemu));
        expect_footprint(before);
        tidy_pins();
    }
    check_job();
    end_guest();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/attach/ioapic", test_ioapic);
    g_test_add_func("/attach/pic", test_pic);
    g_test_add_func("/attach/sandbox", test_sandbox);
    g_test_add_func("/attach/sandbox-unprivileged", test_sandbox_unprivileged);
    g_test_add_func("/attach/edge", test_edge);
    g_test_add_func("/attach/pins", test_pins);
    g_test_add_func("/attach/stall", test_stall);
    g_test_add_func("/attach/killed-anywhere", test_killed_anywhere);
    g_test_add_func("/attach/killed-sometime", test_killed_sometime);
    return g_test_run();
}
