/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A domain's life, and libvirtd's: the partition follows, and ticks go on afterwards. */
#include "tests/integration/test-libvirt.h"

#define VIRSH "virsh -c " LIBVIRT_URI " "

static void await_state(struct rig *rig, const char *state)
{
    await(20, status_is(rig, "state", state), "the partition's state is %s", state);
}

/* Its time stands still, and goes on where it stood. */
static void test_suspend(void)
{
    struct rig rig;

    rig_boot(&rig, &(struct machine_options){0});
    g_free(ctl(&rig, DONE, ENABLE));
    await_ticks(&rig, VECTOR, 200, 20);
    run(&rig, VIRSH "suspend guest");
    await_state(&rig, "paused");
    test_wait_until_still(20, statistics().due);
    uint64_t due = statistics().due;
    sleep_ms(1000);
    g_assert_cmpuint(statistics().due, ==, due);
    gint64 resumed = g_get_monotonic_time();
    run(&rig, VIRSH "resume guest");
    await_state(&rig, "running");
    uint64_t since = statistics().due - due;
    /* Of the first period a part had passed; of the time that stood still, none. */
    g_assert_cmpuint(since, <=, (uint64_t)(g_get_monotonic_time() - resumed + 1) / 1000 + 1);
    await_ticks(&rig, VECTOR, 200, 20);
    assert_nothing_lost(&rig, VECTOR);
    rig_down(&rig);
}

static void test_suspend_often(void)
{
    struct rig rig;

    rig_boot(&rig, &(struct machine_options){0});
    g_free(ctl(&rig, DONE, ENABLE));
    for (int i = 0; i < 30; i++) {
        machine_suspend(&rig.machine);
        sleep_ms(g_test_rand_int_range(0, 50));
        machine_resume(&rig.machine);
        sleep_ms(g_test_rand_int_range(0, 50));
    }
    await_state(&rig, "running");
    /* A tick of a leased timer may just have been on its way when the lease was left. */
    assert_little_lost(&rig, VECTOR, 5);
    rig_down(&rig);
}

/* What its ticks come by is what was asked for, also if something is changed while it is suspended,
 * or hvtimerd is killed. */
static void test_suspend_injector(gconstpointer killed)
{
    struct rig rig;

    rig_boot(&rig, &(struct machine_options){0});
    g_free(ctl(&rig, DONE, ENABLE " --injector pin"));
    await_ticks(&rig, VECTOR, 200, 20);
    run(&rig, VIRSH "suspend guest");
    await_state(&rig, "paused");
    if (killed != NULL) {
        fixture_kill_daemon(&rig.fixture);
        fixture_start_daemon(&rig.fixture);
        await_state(&rig, "paused");
    } else {
        g_free(ctl(&rig, DONE, "set guest EmulatedTimerPeriod 20000"));
    }
    run(&rig, VIRSH "resume guest");
    await_state(&rig, "running");
    await_ticks(&rig, VECTOR, 200, 20);
    assert_status(&rig, "injector", "pin");
    assert_little_lost(&rig, VECTOR, 2);
    rig_down(&rig);
}

/* The saved guest has the borrowed pin's entry in its IOAPIC; the new process has no irqfd. Nothing
 * must be raised in it that nobody lowers, or it would come again and again. */
static void test_save(void)
{
    struct rig rig;

    rig_up(&rig, &(struct machine_options){0});
    run(&rig, VIRSH "metadata guest --uri " DOMAIN_NAMESPACE
                    " --key tick --set '<assist><timer period=\"1ms\" vector=\"0x50\"/></assist>' "
                    "--config");
    machine_boot(&rig.machine);
    await_ticks(&rig, VECTOR, 500, 20);
    for (int i = 0; i < 10; i++) { /* more often than there are pins */
        machine_save(&rig.machine);
        await_state(&rig, "shutoff");
        machine_boot(&rig.machine);
        guint before = machine_count(&rig.machine, VECTOR);
        g_assert_cmpuint(machine_boots(&rig.machine), ==, 1);
        await_state(&rig, "running");
        await(20, status_is(&rig, "emulated_timer_control", CONTROL), "enabled again");
        await_ticks(&rig, VECTOR, 200, 20);
        guint taken = machine_count(&rig.machine, VECTOR) - before;
        /* A leased timer's figures are a few hundredths of a second old. */
        await(1, taken <= statistics().acknowledged + 2, "%u ticks are heard of", taken);
    }
    rig_down(&rig);
}

/* After a reset nothing comes to the new guest, until it is enabled again. */
static void check_after_reset(struct rig *rig)
{
    await(20, status_is(rig, "emulated_timer_control", CONTROL_CLEAR), "Enabled is cleared");
    machine_wait_ready(&rig->machine);
    await_no_ticks(rig, VECTOR);
    guint before = machine_count(&rig->machine, VECTOR);
    uint64_t acknowledged = statistics().acknowledged;

    g_free(ctl(rig, DONE, ENABLE));
    await_ticks(rig, VECTOR, 500, 20);
    await(60, statistics().backlog == 0, "caught up");
    g_free(ctl(rig, DONE, "disable guest"));
    await_no_ticks(rig, VECTOR);
    await(20, statistics().in_flight == 0, "the last tick is acknowledged");
    /* Whether its figures begin anew is not said. */
    uint64_t now = statistics().acknowledged;
    uint64_t taken = now >= acknowledged ? now - acknowledged : now;
    await(20, machine_count(&rig->machine, VECTOR) - before >= taken, "all ticks counted");
    g_assert_cmpuint(machine_count(&rig->machine, VECTOR) - before, ==, taken);
}

static void test_reset_by_guest(gconstpointer bios)
{
    struct rig rig;

    rig_boot(&rig, &(struct machine_options){.bios = bios != NULL});
    g_free(ctl(&rig, DONE, ENABLE));
    await_ticks(&rig, VECTOR, 200, 20);
    machine_reset_itself(&rig.machine);
    g_assert_cmpuint(machine_boots(&rig.machine), ==, 2);
    check_after_reset(&rig);
    rig_down(&rig);
}

static void test_reset_by_virsh(void)
{
    struct rig rig;

    rig_boot(&rig, &(struct machine_options){0});
    g_free(ctl(&rig, DONE, ENABLE));
    await_ticks(&rig, VECTOR, 200, 20);
    run(&rig, VIRSH "reset guest");
    await(30, machine_boots(&rig.machine) == 2, "the guest has started again");
    check_after_reset(&rig);
    rig_down(&rig);
}

static void start_again(struct rig *rig)
{
    await_state(rig, "shutoff");
    machine_boot(&rig->machine);
    await(20, is_partition(), "hvtimerd sees the domain");
    await_state(rig, "running");
    g_assert_cmpfloat(status_number(rig, "pid"), ==, rig->machine.pid);
    g_free(ctl(rig, DONE, ENABLE));
    await_ticks(rig, VECTOR, 500, 20);
}

static void test_end(void)
{
    struct rig rig;

    rig_boot(&rig, &(struct machine_options){0});
    g_free(ctl(&rig, DONE, ENABLE));
    await_ticks(&rig, VECTOR, 200, 20);
    run(&rig, VIRSH "destroy guest");
    machine_follow(&rig.machine);
    start_again(&rig);
    machine_crash(&rig.machine);
    start_again(&rig);
    assert_nothing_lost(&rig, VECTOR);
    rig_down(&rig);
}

/* ---- libvirtd ---- */

static void test_libvirtd_killed(void)
{
    struct machine second;
    struct rig rig;

    rig_boot(&rig, &(struct machine_options){0});
    g_free(ctl(&rig, DONE, ENABLE));
    await_ticks(&rig, VECTOR, 200, 20);
    libvirt_kill(&test_libvirt);
    await_ticks(&rig, VECTOR, 2000, 20);
    assert_status(&rig, "emulated_timer_control", CONTROL);
    libvirt_start(&test_libvirt);
    machine_define(&second, &test_libvirt, &(struct machine_options){.name = "second"});
    machine_boot(&second);
    await(20, fixture_run(&rig.fixture, NULL, "hvtimerctl status second") == DONE,
          "hvtimerd is connected again and sees a new domain");
    run(&rig, VIRSH "suspend guest");
    await_state(&rig, "paused");
    run(&rig, VIRSH "resume guest");
    await_state(&rig, "running");
    assert_nothing_lost(&rig, VECTOR);
    machine_down(&second);
    rig_down(&rig);
}

/* The domain ends while libvirtd is away. */
static void test_end_unseen(void)
{
    struct rig rig;

    rig_boot(&rig, &(struct machine_options){0});
    g_free(ctl(&rig, DONE, ENABLE));
    await_ticks(&rig, VECTOR, 200, 20);
    libvirt_kill(&test_libvirt);
    g_assert_cmpint(kill(rig.machine.pid, SIGKILL), ==, 0);
    sleep_ms(500);
    libvirt_start(&test_libvirt);
    await(20, g_str_equal(machine_state(&rig.machine), "shutoff"), "libvirtd has noticed");
    machine_follow(&rig.machine);
    start_again(&rig);
    rig_down(&rig);
}

/* hvtimerd is there first. */
static void test_libvirtd_late(void)
{
    struct rig rig;

    libvirt_kill(&test_libvirt);
    rig_up_daemon(&rig);
    sleep_ms(500);
    libvirt_start(&test_libvirt);
    machine_define(&rig.machine, &test_libvirt, &(struct machine_options){0});
    machine_boot(&rig.machine);
    await(20, is_partition(), "hvtimerd sees the domain");
    g_free(ctl(&rig, DONE, ENABLE));
    await_ticks(&rig, VECTOR, 500, 20);
    rig_down(&rig);
}

/* Where the configuration says so, ticks go on after a reset. */
static void test_reset_kept(void)
{
    struct rig rig;

    rig_boot(&rig, &(struct machine_options){0});
    fixture_reconfigure(&rig.fixture, "{\"guest_reset\": \"keep\"}");
    g_free(ctl(&rig, DONE, ENABLE));
    await_ticks(&rig, VECTOR, 200, 20);
    for (guint i = 0; i < 3; i++) {
        run(&rig, VIRSH "reset guest");
        await(30, machine_boots(&rig.machine) == 2 + i, "the guest has started again");
        await(20, status_is(&rig, "emulated_timer_control", CONTROL), "it is enabled still");
        uint64_t acknowledged = statistics().acknowledged;
        await_ticks(&rig, VECTOR, 1000, 20);
        await(20, statistics().acknowledged >= acknowledged + 900, "they are heard");
    }
    rig_down(&rig);
}

void add_life_tests(void)
{
    g_test_add_func("/libvirt/suspend", test_suspend);
    g_test_add_func("/libvirt/suspend/often", test_suspend_often);
    g_test_add_data_func("/libvirt/suspend/injector/change", NULL, test_suspend_injector);
    g_test_add_data_func("/libvirt/suspend/injector/killed", "killed", test_suspend_injector);
    g_test_add_func("/libvirt/save", test_save);
    g_test_add_data_func("/libvirt/reset/by-guest", NULL, test_reset_by_guest);
    g_test_add_data_func("/libvirt/reset/by-guest/bios", "bios", test_reset_by_guest);
    g_test_add_func("/libvirt/reset/by-virsh", test_reset_by_virsh);
    g_test_add_func("/libvirt/reset/kept", test_reset_kept);
    g_test_add_func("/libvirt/end", test_end);
    g_test_add_func("/libvirt/libvirtd/killed", test_libvirtd_killed);
    g_test_add_func("/libvirt/libvirtd/end-unseen", test_end_unseen);
    g_test_add_func("/libvirt/libvirtd/late", test_libvirtd_late);
}
