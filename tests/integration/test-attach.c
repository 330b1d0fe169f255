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
#define RTC_GSI      8u
#define PULSES       1000u
#define ATTACHES     100u
#define KILLS        200u
#define ACK_US       (20 * G_USEC_PER_SEC) /* as long as it takes */
/* A busy host takes ticks from QEMU's RTC by itself; one that was harmed gives none at all. */
#define RTC_AT_LEAST(ms) (QEMU_GUEST_RTC_HZ * (ms) / 1000 / 8)
/* The most that QEMU's RTC gives by itself: what it missed in a stall before may come too. */
#define RTC_AT_MOST(us)   (QEMU_GUEST_RTC_HZ * ((us) / 1000 + 500) / 1000)
#define IOAPIC_RTC_VECTOR 0x30u /* tests/guest/qemu-ioapic.S */

static const char *const sandbox[] = {
    "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny", NULL};

/* Where a BIOS leaves IRQ 0 and IRQ 8. */
static const uint8_t pic_bases[ATTACH_PICS] = {0x08, 0x70};

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

    if (problem != NULL) {
        test_skip(problem);
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

/* A host may be too busy to stop all of a VMM's threads in time; it is left as it was then. */
static struct attach_result *run_patiently(const struct attach_job *job)
{
    for (unsigned tries = 20;; tries--) {
        g_autoptr(GError) error = NULL;
        struct attach_result *result = attach_run(job, &error);

        if (error == NULL || tries == 0 || strstr(error->message, "did not stop in time") == NULL) {
            g_assert_no_error(error);
            return result;
        }
    }
}

static struct attach_result *borrow(uint64_t entry)
{
    struct attach_job job = {
        .kind = ATTACH_BORROW, .pid = qemu->pid, .pin = ATTACH_PIN_ANY, .entry = entry};

    return run_patiently(&job);
}

static void give_back(struct attach_result *pin, uint64_t expected)
{
    struct attach_job job = {.kind = ATTACH_RETURN,
                             .pid = qemu->pid,
                             .pin = pin->pin,
                             .entry = pin->old_entry,
                             .expected = expected};

    if (pin->fds[0] >= 0) {
        close(pin->fds[0]);
        pin->fds[0] = -1;
    }
    g_autoptr(AttachResult) done = run_patiently(&job);
}

/* ---- the job ---- */

static void check_job(void)
{
    struct qemu_footprint before = qemu_footprint(qemu);
    g_autoptr(GError) error = NULL;
    uint32_t taken = qemu->counts->vectors[VECTOR], rtc = qemu->counts->rtc;
    gint64 begun = g_get_monotonic_time();
    struct attach_result *pin = borrow(VECTOR);

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
    g_autoptr(AttachResult) rerouted = run_patiently(&job);
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

/* ---- a listener, alone and with a pulse, on a timer that QEMU drives ---- */

struct rtc_reading {
    uint64_t heard; /* in all */
    uint32_t counted;
};

/* What the listener has heard and what the guest has counted, as of one moment, nearly. */
static void read_rtc(int resamplefd, struct rtc_reading *reading)
{
    gint64 begun;
    unsigned tries = 0;

    do {
        eventfd_t count = 0;

        begun = g_get_monotonic_time();
        eventfd_read(resamplefd, &count);
        reading->heard += count;
        reading->counted = qemu->counts->rtc;
    } while (g_get_monotonic_time() - begun > 1000 && ++tries < 100);
}

static void expect_heard_all(const struct rtc_reading *first, const struct rtc_reading *last)
{
    int64_t heard = (int64_t)(last->heard - first->heard);
    int64_t counted = (int64_t)(last->counted - first->counted);

    g_assert_cmpint(counted, >, 0);
    /* The RTC ticks between two readings, and an EOI may be on its way, at both ends. */
    g_assert_cmpint(ABS(counted - heard), <=, 20);
}

static void check_listener(void)
{
    g_autoptr(GError) error = NULL;
    struct qemu_footprint before = qemu_footprint(qemu);
    g_autoptr(AttachResult) listener = attach_listen(qemu->pid, RTC_GSI, &error);
    struct rtc_reading first = {0}, last;

    g_assert_no_error(error);
    g_assert_cmpuint(listener->stall_ns, ==, 0);
    read_rtc(listener->fds[1], &first);
    g_usleep(G_USEC_PER_SEC);
    last = first;
    read_rtc(listener->fds[1], &last);
    expect_heard_all(&first, &last);
    expect_footprint(before);
}

/* As many pulses as it takes, one after the other, until the guest has had more ticks than the RTC
 * could have given. */
static void pulse_beside_rtc(const struct attach_result *listener)
{
    gint64 begun = g_get_monotonic_time();
    struct rtc_reading first = {0}, last;
    unsigned pulses = 0;

    read_rtc(listener->fds[1], &first);
    last = first;
    while (last.counted - first.counted <= RTC_AT_MOST(g_get_monotonic_time() - begun) + 500) {
        g_assert_cmpint(g_get_monotonic_time() - begun, <, 30 * G_USEC_PER_SEC);
        g_assert_cmpint(eventfd_write(listener->fds[2], 1), ==, 0);
        pulses++;
        last.heard += acknowledged_within(listener->fds[1], ACK_US);
        last.counted = qemu->counts->rtc;
    }
    read_rtc(listener->fds[1], &last);
    g_test_message("%u pulses beside the RTC in %.1f s: %u ticks", pulses,
                   (double)(g_get_monotonic_time() - begun) / 1e6, last.counted - first.counted);
    expect_heard_all(&first, &last);
}

static struct attach_result *listen_with_pulse(void)
{
    g_autoptr(GError) error = NULL;
    struct attach_job job = {
        .kind = ATTACH_LISTEN, .pid = qemu->pid, .pin = RTC_GSI, .pulse = TRUE};
    struct attach_result *listener = attach_run(&job, &error);

    g_assert_no_error(error);
    g_assert_cmpuint(listener->stall_ns, ==, 0);
    for (unsigned i = 0; i < ATTACH_EVENTFDS; i++) {
        g_assert_cmpint(listener->fds[i], >=, 0);
    }
    return listener;
}

static void check_pulse(void)
{
    struct qemu_footprint before = qemu_footprint(qemu);
    struct attach_result *listener = listen_with_pulse();

    pulse_beside_rtc(listener);
    expect_rtc();
    expect_footprint(before);
    attach_result_free(listener);
    expect_rtc();
}

/* READ and LISTEN tell the same. @rtc_entry: without what a tick in flight changes. */
static void check_told(uint64_t rtc_entry, const uint8_t masks[ATTACH_PICS])
{
    const uint64_t of_interest = ATTACH_ENTRY_ROUTE | ATTACH_ENTRY_LEVEL | ATTACH_ENTRY_MASKED;
    g_autoptr(GError) error = NULL;
    g_autoptr(AttachResult) listener = attach_listen(qemu->pid, RTC_GSI, &error);
    g_assert_no_error(error);
    g_autoptr(AttachResult) listener_with_pulse = listen_with_pulse();
    g_autoptr(AttachResult) reader = attach_read(qemu->pid, &error);
    g_assert_no_error(error);
    const struct attach_result *const results[] = {reader, listener, listener_with_pulse};

    g_assert_cmpint(reader->fds[0], ==, -1);
    g_assert_cmpint(listener->fds[1], >=, 0);
    g_assert_cmpint(listener->fds[2], ==, -1);
    for (size_t i = 0; i < G_N_ELEMENTS(results); i++) {
        g_assert_cmphex(results[i]->entries[RTC_GSI] & of_interest, ==, rtc_entry);
        g_assert_cmphex(results[i]->entries[ATTACH_PINS - 1] & of_interest, ==,
                        ATTACH_ENTRY_MASKED);
        g_assert_cmpmem(results[i]->pic_base, ATTACH_PICS, pic_bases, ATTACH_PICS);
        g_assert_cmpmem(results[i]->pic_mask, ATTACH_PICS, masks, ATTACH_PICS);
    }
}

static void test_ioapic(void)
{
    if (!skipped()) {
        start_guest("tests/guest/qemu-ioapic.bin", NULL);
        check_told(IOAPIC_RTC_VECTOR, (const uint8_t[]){0xff, 0xff});
        check_job();
        check_listener();
        check_pulse();
        end_guest();
    }
}

static void test_pic(void)
{
    if (!skipped()) {
        start_guest("tests/guest/qemu-pic.bin", NULL);
        check_told(ATTACH_ENTRY_MASKED, (const uint8_t[]){0xfb, 0xfe});
        check_job();
        check_listener();
        check_pulse();
        end_guest();
    }
}

/* Where QEMU has the IOAPIC, nobody hears its EOIs. */
static void test_split(void)
{
    static const char *const split[] = {"-machine", "kernel_irqchip=split", NULL};
    const struct attach_job jobs[] = {
        {.kind = ATTACH_READ},
        {.kind = ATTACH_LISTEN, .pin = RTC_GSI},
        {.kind = ATTACH_LISTEN, .pin = RTC_GSI, .pulse = TRUE},
    };

    if (skipped()) {
        return;
    }
    start_guest("tests/guest/qemu-ioapic.bin", split);
    struct qemu_footprint before = qemu_footprint(qemu);
    for (size_t i = 0; i < G_N_ELEMENTS(jobs); i++) {
        struct attach_job job = jobs[i];
        g_autoptr(GError) error = NULL;

        job.pid = qemu->pid;
        g_assert_null(attach_run(&job, &error));
        g_assert_error(error, HV_STATUS_ERROR, HV_STATUS_INVALID_PARTITION_STATE);
        g_assert_nonnull(strstr(error->message, "split irqchip"));
        expect_footprint(before);
    }
    g_assert_true(qemu_rtc_goes_on(qemu));
    end_guest();
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
    struct attach_job job = {
        .kind = ATTACH_BORROW, .pin = ATTACH_PIN_ANY, .edge = TRUE, .entry = VECTOR};

    if (skipped()) {
        return;
    }
    start_guest("tests/guest/qemu-ioapic.bin", NULL);
    job.pid = qemu->pid;
    g_autoptr(AttachResult) pin = run_patiently(&job);
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
    g_autoptr(AttachResult) first = borrow(VECTOR);
    g_autoptr(AttachResult) second = borrow(OTHER_VECTOR);
    g_assert_cmpuint(second->pin, ==, first->pin - 1);
    /* What has the very entry was left by a daemon that was killed: that one is had again. */
    g_autoptr(AttachResult) again = borrow(VECTOR);
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
        g_autoptr(AttachResult) pin = borrow(VECTOR);
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

static void kill_anywhere(struct attach_job job)
{
    struct qemu_footprint before = qemu_footprint(qemu);
    gboolean killed = TRUE;

    job.pid = qemu->pid;
    for (unsigned at = 0; killed; at++) {
        killed = attach_killed_at(&job, at);
        g_assert_true(qemu_rtc_goes_on(qemu));
        expect_footprint(before);
        tidy_pins();
    }
}

static void test_killed_anywhere(void)
{
    if (!skipped()) {
        start_guest("tests/guest/qemu-ioapic.bin", sandbox);
        kill_anywhere(
            (struct attach_job){.kind = ATTACH_BORROW, .pin = ATTACH_PIN_ANY, .entry = VECTOR});
        kill_anywhere((struct attach_job){.kind = ATTACH_LISTEN, .pin = RTC_GSI, .pulse = TRUE});
        check_job();
        check_pulse();
        end_guest();
    }
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
    g_test_add_func("/attach/split", test_split);
    g_test_add_func("/attach/sandbox", test_sandbox);
    g_test_add_func("/attach/sandbox-unprivileged", test_sandbox_unprivileged);
    g_test_add_func("/attach/edge", test_edge);
    g_test_add_func("/attach/pins", test_pins);
    g_test_add_func("/attach/stall", test_stall);
    g_test_add_func("/attach/killed-anywhere", test_killed_anywhere);
    g_test_add_func("/attach/killed-sometime", test_killed_sometime);
    return g_test_run();
}
