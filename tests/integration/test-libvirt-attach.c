/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Attaching leaves nothing behind: neither a daemon that is killed, nor one that detaches. */
#include "tests/integration/test-libvirt.h"

#include <stdlib.h>

/* ---- The daemon is killed ---- */

static guint kills(void)
{
    const char *text = g_getenv("HVTIMER_TEST_KILLS");

    return text != NULL ? (guint)atoi(text) : 20;
}

static void assert_no_leak(const struct machine *machine, const struct machine_resources *before)
{
    struct machine_resources now = machine_resources(machine);

    g_assert_cmpuint(now.eventfds, <=, before->eventfds);
    g_assert_cmpuint(now.fds, <=, before->fds);
}

/* Killed when it has been up for @ms. Returns the last figures that it gave away. */
static hvapi_statistics kill_after(struct rig *rig, gint64 ms)
{
    sleep_ms(ms);
    hvapi_statistics last = is_partition() ? statistics() : (hvapi_statistics){0};
    guint counted = machine_count(&rig->machine, VECTOR);

    fixture_kill_daemon(&rig->fixture);
    guint rtc = machine_rtc(&rig->machine);
    await(20, machine_rtc(&rig->machine) > rtc + 20, "the guest runs on");
    g_assert_cmpuint(machine_count(&rig->machine, VECTOR), >=, counted);
    return last;
}

/* @before: figures that go on; NULL: they may begin anew. */
static void assert_back(struct rig *rig, const hvapi_statistics *before)
{
    await_ticks(rig, VECTOR, 10, 20); /* a leased timer ticks without a daemon too */
    await(20, status_is(rig, "emulated_timer_control", CONTROL), "it is as it was");
    g_assert_cmpfloat(status_number(rig, "period_ns"), ==, 1e6);
    hvapi_statistics now = statistics();
    if (before != NULL) {
        g_assert_cmpuint(now.due, >=, before->due);
        g_assert_cmpuint(now.acknowledged, >=, before->acknowledged);
    }
}

/* Attached for a while, each time. */
static void test_killed_attached(void)
{
    struct rig rig;

    rig_boot(&rig, &(struct machine_options){0});
    sleep_ms(500);
    struct machine_resources before = machine_resources(&rig.machine);
    g_free(ctl(&rig, DONE, ENABLE));
    for (guint i = 0; i < kills(); i++) {
        hvapi_statistics last = kill_after(&rig, g_test_rand_int_range(0, 500));
        assert_no_leak(&rig.machine, &before);
        fixture_start_daemon(&rig.fixture);
        assert_back(&rig, &last);
        assert_no_leak(&rig.machine, &before);
    }
    g_assert_cmpstr(machine_state(&rig.machine), ==, "running");
    rig_down(&rig);
}

/* At any moment from its start on: most likely in the midst of attaching. */
static void test_killed_attaching(void)
{
    struct rig rig;

    rig_boot(&rig, &(struct machine_options){.cpus = 2});
    sleep_ms(500);
    struct machine_resources before = machine_resources(&rig.machine);
    g_free(ctl(&rig, DONE, ENABLE));
    hvapi_statistics last = statistics();
    for (guint i = 0; i < kills(); i++) {
        kill_after(&rig, g_test_rand_int_range(0, 30));
        fixture_start_daemon(&rig.fixture);
    }
    assert_back(&rig, &last);
    assert_no_leak(&rig.machine, &before);
    struct machine_resources now = machine_resources(&rig.machine);
    g_test_message("threads %u, were %u; mappings %u, were %u", now.threads, before.threads,
                   now.mappings, before.mappings);
    g_assert_cmpuint(now.threads, ==, before.threads);
    g_assert_cmpuint(now.mappings, <=, before.mappings + 2);
    rig_down(&rig);
}

/* SIGTERM: what was borrowed is given back, and is taken again. */
static void test_stopped(void)
{
    struct rig rig;

    rig_boot(&rig, &(struct machine_options){0});
    struct machine_resources before = machine_resources(&rig.machine);
    g_free(ctl(&rig, DONE, ENABLE));
    for (int i = 0; i < 10; i++) {
        sleep_ms(200);
        g_assert_cmpint(fixture_stop_daemon(&rig.fixture), ==, 0);
        assert_no_leak(&rig.machine, &before);
        fixture_start_daemon(&rig.fixture);
        assert_back(&rig, NULL);
    }
    rig_down(&rig);
}

/* ---- A process that libvirt does not know ---- */

static void assert_same(const struct machine_resources *a, const struct machine_resources *b)
{
    g_assert_cmpuint(a->fds, ==, b->fds);
    g_assert_cmpuint(a->eventfds, ==, b->eventfds);
    g_assert_cmpuint(a->threads, ==, b->threads);
    g_assert_cmpuint(a->mappings, ==, b->mappings);
}

static void test_process(void)
{
    struct rig rig;

    rig_up_daemon(&rig);
    machine_spawn(&rig.machine, &(struct machine_options){0});
    sleep_ms(500);
    struct machine_resources before = machine_resources(&rig.machine);
    for (int i = 0; i < 5; i++) {
        guint counted = machine_count(&rig.machine, VECTOR);
        g_free(ctl(&rig, DONE, "attach --pid %d --name guest", rig.machine.pid));
        g_assert_cmpfloat(status_number(&rig, "pid"), ==, rig.machine.pid);
        g_free(ctl(&rig, DONE, ENABLE));
        sleep_ms(1000);
        hvapi_statistics last = catch_up_and_stop(&rig);
        await(20, machine_count(&rig.machine, VECTOR) - counted >= last.acknowledged,
              "all ticks counted");
        g_assert_cmpuint(machine_count(&rig.machine, VECTOR) - counted, ==, last.acknowledged);
        g_free(ctl(&rig, DONE, "detach guest"));
        g_free(ctl(&rig, NO_PARTITION, "status guest"));
        struct machine_resources after = machine_resources(&rig.machine);
        assert_same(&after, &before);
    }
    guint rtc = machine_rtc(&rig.machine);
    await(20, machine_rtc(&rig.machine) > rtc + 100, "the guest runs on");
    rig_down(&rig);
}

/* What is no virtual machine is refused. */
static void test_no_vmm(void)
{
    struct rig rig;

    rig_up_daemon(&rig);
    g_free(ctl(&rig, UNSUPPORTED, "attach --pid %d --name bus",
               atoi(g_subprocess_get_identifier(rig.fixture.bus))));
    fixture_down(&rig.fixture);
}

void add_attach_tests(void)
{
    g_test_add_func("/libvirt/daemon/killed-attached", test_killed_attached);
    g_test_add_func("/libvirt/daemon/killed-attaching", test_killed_attaching);
    g_test_add_func("/libvirt/daemon/stopped", test_stopped);
    g_test_add_func("/libvirt/process", test_process);
    g_test_add_func("/libvirt/process/no-vmm", test_no_vmm);
}
