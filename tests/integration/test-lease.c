/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A local APIC timer leased by hvtimer-attach, in a real QEMU with KVM: it ticks with nobody
 * raising anything, is changed without a gap, is given back as it was, and is not to be had where
 * the guest uses it, or where it isn't one vCPU's.
 */
#include "daemon/attach/local-apic.h"
#include "tests/integration/attach-run.h"
#include "tests/integration/qemu.h"
#include "tests/support/test.h"
#include <string.h>
#include <sys/eventfd.h>

#define VECTOR       0x50u
#define OTHER_VECTOR 0x51u
#define OWN_VECTOR   0x60u
#define TPR          0x80u
#define SVR          0xf0u
#define SVR_ON       0x1ffu
#define MS           UINT64_C(1000000)

static struct qemu *qemu;

/* Interrupts of all vectors that the guest had counted before the lease. */
static uint32_t counted_before;

static gboolean start(const char *const *arguments)
{
    const char *problem = qemu_problem();
    g_autofree char *file = attach_built("tests/guest/qemu-ioapic.bin");

    if (problem != NULL) {
        test_skip(problem);
        return FALSE;
    }
    qemu = qemu_start(file, arguments);
    return TRUE;
}

static void end(void)
{
    g_assert_true(qemu_is_alive(qemu));
    g_assert_true(qemu_rtc_goes_on(qemu));
    g_clear_pointer(&qemu, qemu_free);
}

/* A host may be too busy to stop all of a VMM's threads in time; it is left as it was then. */
static struct attach_result *run_patiently(const struct attach_job *job, GError **error)
{
    for (unsigned tries = 20;; tries--) {
        g_autoptr(GError) problem = NULL;
        struct attach_result *result = attach_run(job, &problem);

        if (problem == NULL || tries == 0 || strstr(problem->message, "in time") == NULL) {
            if (problem != NULL) {
                g_test_message("%s", problem->message);
                g_propagate_error(error, g_steal_pointer(&problem));
            }
            return result;
        }
    }
}

static struct attach_job lease_job(uint64_t entry, uint64_t period_ns)
{
    return (struct attach_job){.kind = ATTACH_BORROW,
                               .pid = qemu->pid,
                               .pin = ATTACH_PIN_ANY,
                               .edge = TRUE,
                               .entry = entry,
                               .period = {period_ns, 1}};
}

static uint32_t counted(void)
{
    uint32_t sum = 0;

    for (unsigned i = 0; i < G_N_ELEMENTS(qemu->counts->vectors); i++) {
        sum += qemu->counts->vectors[i];
    }
    return sum;
}

static struct attach_result *lease(uint64_t entry, uint64_t period_ns)
{
    struct attach_job job = lease_job(entry, period_ns);
    g_autoptr(GError) error = NULL;

    counted_before = counted();
    struct attach_result *result = run_patiently(&job, &error);
    g_assert_no_error(error);
    g_assert_true(result->leased);
    g_assert_null(result->why_not);
    g_test_message("leased: stall %.0f us", (double)result->stall_ns / 1000);
    return result;
}

/* A job on what @held is, in the form that the daemon gives. */
static struct attach_job job_on(enum attach_kind kind, const struct attach_result *held)
{
    return (struct attach_job){.kind = kind,
                               .pid = qemu->pid,
                               .pin = held->pin,
                               .expected = held->lease.ours.lvtt & LOCAL_APIC_LVTT_VECTOR,
                               .leased = TRUE,
                               .lease = held->lease};
}

static struct attach_timer timer_now(const struct attach_result *held)
{
    struct attach_job job = job_on(ATTACH_READ, held);
    g_autoptr(GError) error = NULL;
    g_autoptr(AttachResult) result = run_patiently(&job, &error);

    g_assert_no_error(error);
    return result->lease.ours;
}

static void give_back(const struct attach_result *held)
{
    struct attach_job job = job_on(ATTACH_RETURN, held);
    g_autoptr(GError) error = NULL;

    job.entry = held->old_entry;
    g_autoptr(AttachResult) result = run_patiently(&job, &error);
    g_assert_no_error(error);
}

static void assert_unused(const struct attach_timer *timer)
{
    g_assert_cmphex(timer->lvtt, ==, LOCAL_APIC_LVTT_MASKED);
    g_assert_cmpuint(timer->divide, ==, 0);
    g_assert_cmpuint(timer->initial, ==, 0);
    g_assert_cmpuint(timer->current, ==, 0);
}

/* The guest writes to a register of its local APIC. */
static void poke(unsigned offset, uint32_t value)
{
    qemu->counts->value = value;
    qemu->counts->poke = offset;
    test_wait_until(10, qemu->counts->poke == 0);
}

static uint64_t acknowledged(const struct attach_result *held)
{
    eventfd_t count = 0;

    return eventfd_read(held->fds[2], &count) == 0 ? count : 0;
}

static uint64_t now_ns(void)
{
    return (uint64_t)g_get_monotonic_time() * 1000;
}

/* Ticks until the guest has taken @ticks; never more than had become due. */
static void check_ticks(unsigned vector, const struct attach_lease *lease, unsigned ticks)
{
    uint32_t before = qemu->counts->vectors[vector];

    test_wait_until(60, qemu->counts->vectors[vector] - before >= ticks);
    uint32_t taken = counted() - counted_before;
    g_assert_cmpuint(taken, <=, (now_ns() + 1000 - lease->started_ns) / lease->tick_ns);
}

static void assert_silent(unsigned vector)
{
    g_assert_true(qemu_rtc_goes_on(qemu)); /* what was pending is taken */
    uint32_t before = qemu->counts->vectors[vector];
    g_assert_cmpuint(qemu_rtc_ticks_within(qemu, 300), >, 0);
    g_assert_cmpuint(qemu->counts->vectors[vector], ==, before);
}

/* ---- */

static void test_ticks(void)
{
    if (!start(NULL)) {
        return;
    }
    struct qemu_footprint before = qemu_footprint(qemu);
    g_autoptr(AttachResult) held = lease(VECTOR, MS);

    g_assert_cmpuint(held->lease.vcpu, ==, 0);
    g_assert_cmpuint(held->lease.tick_ns, ==, MS);
    assert_unused(&held->lease.old);
    check_ticks(VECTOR, &held->lease, 500);
    struct attach_timer now = timer_now(held);
    g_assert_cmphex(now.lvtt, ==, LOCAL_APIC_LVTT_PERIODIC | VECTOR);
    g_assert_cmpuint(now.initial, ==, MS);
    g_assert_cmpuint(now.current, <=, MS);

    /* Nothing is raised any more: what the guest has counted was acknowledged, but for one that it
     * may have taken when the pin was back already. */
    give_back(held);
    assert_silent(VECTOR);
    uint64_t heard = acknowledged(held);
    g_assert_cmpuint(heard, <=, qemu->counts->vectors[VECTOR]);
    g_assert_cmpuint(heard, >=, qemu->counts->vectors[VECTOR] - 1);
    now = timer_now(held);
    assert_unused(&now);
    g_assert_cmpuint(qemu_footprint(qemu).threads, ==, before.threads);
    end();
}

/* Each of them is a period that the timer can't have exactly, or only with another divider. */
static void test_periods(void)
{
    static const struct {
        uint64_t period_ns, tick_ns;
    } cases[] = {{UINT64_C(250000), UINT64_C(250000)},
                 {UINT64_C(4294967297), UINT64_C(4294967298)}};

    if (!start(NULL)) {
        return;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(AttachResult) held = lease(VECTOR, cases[i].period_ns);
        g_assert_cmpuint(held->lease.tick_ns, ==, cases[i].tick_ns);
        give_back(held);
    }
    struct attach_job job = lease_job(VECTOR, 1);
    job.period = (struct period){1953125, 2};

    counted_before = counted();
    g_autoptr(AttachResult) held = run_patiently(&job, NULL);
    g_assert_cmpuint(held->lease.tick_ns, ==, 976563);
    check_ticks(VECTOR, &held->lease, 300);
    give_back(held);
    end();
}

/* Another vector: the phase stays, so that the next tick comes when it was due. Another period:
 * begins at once. */
static void test_changes(void)
{
    if (!start(NULL)) {
        return;
    }
    g_autoptr(AttachResult) held = lease(VECTOR, 50 * MS);
    check_ticks(VECTOR, &held->lease, 3);
    struct attach_job job = job_on(ATTACH_REROUTE, held);
    job.entry = OTHER_VECTOR;
    g_autoptr(AttachResult) moved = run_patiently(&job, NULL);
    g_assert_nonnull(moved);
    g_assert_cmpuint(moved->lease.started_ns, ==, held->lease.started_ns);
    uint32_t taken = qemu->counts->vectors[VECTOR];
    check_ticks(OTHER_VECTOR, &moved->lease, 5);
    /* One may have been pending. */
    g_assert_cmpuint(qemu->counts->vectors[VECTOR] - taken, <=, moved->unseen);

    job = job_on(ATTACH_REROUTE, moved);
    job.entry = OTHER_VECTOR;
    job.period = (struct period){2 * MS, 1};
    uint64_t asked = now_ns();
    g_autoptr(AttachResult) faster = run_patiently(&job, NULL);
    g_assert_nonnull(faster);
    g_assert_cmpuint(faster->lease.started_ns, >=, asked);
    g_assert_cmpuint(faster->lease.tick_ns, ==, 2 * MS);
    taken = qemu->counts->vectors[OTHER_VECTOR];
    test_wait_until(60, qemu->counts->vectors[OTHER_VECTOR] - taken >= 200);
    struct attach_timer now = timer_now(faster);
    g_assert_cmpuint(now.initial, ==, 2 * MS);
    assert_unused(&faster->lease.old);
    for (unsigned i = 0; i < ATTACH_FDS; i++) { /* they stay those of the first lease */
        g_assert_cmpint(faster->fds[i], ==, -1);
    }
    give_back(faster);
    assert_silent(OTHER_VECTOR);
    end();
}

static void assert_refused(const struct attach_job *job, const char *why)
{
    struct attach_job or_pin = *job;
    g_autoptr(GError) error = NULL;
    g_autoptr(AttachResult) result = run_patiently(job, &error);

    g_assert_null(result);
    g_assert_nonnull(error);
    g_assert_nonnull(strstr(error->message, why));

    or_pin.or_pin = TRUE;
    g_clear_error(&error);
    result = run_patiently(&or_pin, &error);
    g_assert_no_error(error);
    g_assert_false(result->leased);
    g_assert_nonnull(strstr(result->why_not, why));
    struct attach_job back = {.kind = ATTACH_RETURN,
                              .pid = qemu->pid,
                              .pin = result->pin,
                              .entry = result->old_entry,
                              .expected = job->entry};
    g_autoptr(AttachResult) returned = run_patiently(&back, NULL);
    g_assert_nonnull(returned);
}

/* A guest's own timer is left to it. */
static void test_in_use(void)
{
    if (!start(NULL)) {
        return;
    }
    struct attach_job job = lease_job(VECTOR, MS);

    poke(LOCAL_APIC_LVTT, LOCAL_APIC_LVTT_PERIODIC | OWN_VECTOR);
    poke(LOCAL_APIC_INITIAL, 5 * MS);
    test_wait_until(30, qemu->counts->vectors[OWN_VECTOR] > 10);
    assert_refused(&job, "uses it itself");
    uint32_t before = qemu->counts->vectors[OWN_VECTOR];
    test_wait_until(30, qemu->counts->vectors[OWN_VECTOR] - before > 10);

    poke(LOCAL_APIC_LVTT, LOCAL_APIC_LVTT_MASKED | LOCAL_APIC_LVTT_PERIODIC | OWN_VECTOR);
    assert_refused(&job, "counts, though it is masked");
    poke(LOCAL_APIC_INITIAL, 0);
    g_autoptr(AttachResult) held = lease(VECTOR, MS);
    check_ticks(VECTOR, &held->lease, 50);
    give_back(held);
    struct attach_timer now = timer_now(held);
    g_assert_cmphex(now.lvtt, ==, LOCAL_APIC_LVTT_MASKED | LOCAL_APIC_LVTT_PERIODIC | OWN_VECTOR);
    end();
}

/* What the guest has written meanwhile is left as it is. */
static void test_taken_back(void)
{
    if (!start(NULL)) {
        return;
    }
    g_autoptr(AttachResult) held = lease(VECTOR, MS);
    check_ticks(VECTOR, &held->lease, 20);
    poke(LOCAL_APIC_LVTT, LOCAL_APIC_LVTT_PERIODIC | OWN_VECTOR);
    poke(LOCAL_APIC_INITIAL, 5 * MS);

    struct attach_job job = job_on(ATTACH_REROUTE, held);
    g_autoptr(GError) error = NULL;
    job.entry = OTHER_VECTOR;
    g_autoptr(AttachResult) moved = run_patiently(&job, &error);
    g_assert_null(moved);
    g_assert_nonnull(strstr(error->message, "begun to use its local APIC timer"));

    give_back(held);
    struct attach_timer now = timer_now(held);
    g_assert_cmphex(now.lvtt, ==, LOCAL_APIC_LVTT_PERIODIC | OWN_VECTOR);
    g_assert_cmpuint(now.initial, ==, 5 * MS);
    g_assert_cmpuint(now.divide, ==, 0); /* the guest's own, which was ours meanwhile */
    uint32_t before = qemu->counts->vectors[OWN_VECTOR];
    test_wait_until(30, qemu->counts->vectors[OWN_VECTOR] - before > 10);
    end();
}

/* One vCPU, and one that takes interrupts. */
static void test_destinations(void)
{
    static const char *const two[] = {"-smp", "2", NULL};
    static const struct {
        uint64_t entry;
        const char *why;
    } cases[] = {{VECTOR | UINT64_C(1) << 56, "switched off"}, /* it was never started */
                 {VECTOR | UINT64_C(7) << 56, "no vCPU answers"},
                 {VECTOR | UINT64_C(0xff) << 56, "more than one vCPU"},
                 {VECTOR | ATTACH_ENTRY_LOGICAL | UINT64_C(4) << 56, "no vCPU answers"}};

    if (!start(two)) {
        return;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct attach_job job = lease_job(cases[i].entry, MS);
        assert_refused(&job, cases[i].why);
    }
    poke(0xe0, UINT32_MAX); /* flat */
    poke(0xd0, UINT32_C(4) << 24);
    g_autoptr(AttachResult) held = lease(VECTOR | ATTACH_ENTRY_LOGICAL | UINT64_C(6) << 56, MS);
    check_ticks(VECTOR, &held->lease, 50);
    g_assert_cmpuint(held->lease.vcpu, ==, 0);
    struct attach_job back = job_on(ATTACH_RETURN, held);
    back.entry = held->old_entry;
    back.expected = VECTOR | ATTACH_ENTRY_LOGICAL | UINT64_C(6) << 56;
    g_autoptr(AttachResult) returned = run_patiently(&back, NULL);
    g_assert_nonnull(returned);
    end();
}

/* A lease whose owner was killed is leased again, and then given back as what it was. */
static void test_left_over(void)
{
    if (!start(NULL)) {
        return;
    }
    attach_result_free(lease(VECTOR, MS));
    uint32_t before = qemu->counts->vectors[VECTOR];
    test_wait_until(30, qemu->counts->vectors[VECTOR] - before > 20);
    g_autoptr(AttachResult) held = lease(OTHER_VECTOR, 2 * MS);
    g_assert_cmphex(held->lease.old.lvtt, ==, LOCAL_APIC_LVTT_MASKED);
    test_wait_until(30, qemu->counts->vectors[OTHER_VECTOR] > 20);
    give_back(held);
    assert_silent(VECTOR);
    assert_silent(OTHER_VECTOR);
    end();
}

/* Killed at any moment: the guest goes on, and its timer is leased or not, but nothing between. */
static void test_killed(void)
{
    if (!start(NULL)) {
        return;
    }
    struct attach_job job = lease_job(VECTOR, MS);

    for (unsigned at = 1; attach_killed_at(&job, at);
         at += 1 + (unsigned)g_test_rand_int_range(0, 4)) {
        g_test_message("killed at its chance %u", at);
        g_assert_true(qemu_is_alive(qemu));
        g_assert_true(qemu_rtc_goes_on(qemu));
    }
    g_autoptr(AttachResult) held = lease(VECTOR, MS);
    uint32_t before = qemu->counts->vectors[VECTOR];
    test_wait_until(30, qemu->counts->vectors[VECTOR] - before > 20);
    give_back(held);
    struct attach_timer now = timer_now(held);
    g_assert_cmphex(now.lvtt, ==, LOCAL_APIC_LVTT_MASKED);
    assert_silent(VECTOR);
    end();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/lease/ticks", test_ticks);
    g_test_add_func("/lease/periods", test_periods);
    g_test_add_func("/lease/changes", test_changes);
    g_test_add_func("/lease/in-use", test_in_use);
    g_test_add_func("/lease/taken-back", test_taken_back);
    g_test_add_func("/lease/destinations", test_destinations);
    g_test_add_func("/lease/left-over", test_left_over);
    g_test_add_func("/lease/killed", test_killed);
    return g_test_run();
}
