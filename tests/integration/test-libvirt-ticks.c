/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Ticks for domains: all that are due are taken, and what the guest has of its own is left alone.
 */
#include "tests/integration/test-libvirt.h"

#include <signal.h>

/* virsh start, hvtimerctl enable: ten seconds later all is there. */
static void test_ten_seconds(void)
{
    struct rig rig;

    rig_up(&rig, &(struct machine_options){.rtc_policy = "catchup"});
    run(&rig, "virsh -c " LIBVIRT_URI " start guest");
    machine_follow(&rig.machine);
    machine_wait_ready(&rig.machine);
    await(10, is_partition(), "hvtimerd sees the domain");
    gint64 before = g_get_monotonic_time();
    g_free(ctl(&rig, DONE, ENABLE));
    gint64 after = g_get_monotonic_time();
    struct rtc_mark rtc = rtc_mark(&rig);
    sleep_ms(10000);
    assert_rtc_since(&rig, rtc, TRUE);
    double least = (double)(g_get_monotonic_time() - after) / 1e3 - 2;
    hvapi_statistics s = statistics();
    double most = (double)(g_get_monotonic_time() - before) / 1e3 + 1;
    g_assert_cmpfloat((double)s.due, >=, least);
    g_assert_cmpfloat((double)s.due, <=, most);
    g_assert_true(status_is(&rig, "state", "running"));
    g_assert_true(status_is(&rig, "source", "libvirt"));
    g_assert_true(status_is(&rig, "accounting", "closed-loop"));
    g_assert_true(status_is(&rig, "emulated_timer_control", CONTROL));
    g_assert_cmpfloat(status_number(&rig, "pid"), ==, rig.machine.pid);
    assert_nothing_lost(&rig, VECTOR);
    rig_down(&rig);
}

/* ---- Outages ---- */

static void stop(struct rig *rig, gint64 ms)
{
    g_assert_cmpint(kill(rig->machine.pid, SIGSTOP), ==, 0);
    sleep_ms(ms);
    g_assert_cmpint(kill(rig->machine.pid, SIGCONT), ==, 0);
}

static void mask(struct rig *rig, gint64 ms)
{
    machine_mask(&rig->machine, 0);
    sleep_ms(ms);
    machine_unmask(&rig->machine, 0);
}

/* QEMU does not run for a while, or the guest keeps interrupts off; for 15 s. */
static void test_outages(gconstpointer period)
{
    static const gint64 outages_ms[] = {2000, 5, 20, 100, 500};
    struct rig rig;
    guint i = 0;

    rig_boot(&rig, &(struct machine_options){0});
    g_free(ctl(&rig, DONE, "enable guest --period %s --vector 0x50", (const char *)period));
    gint64 end = g_get_monotonic_time() + 15 * G_USEC_PER_SEC;
    while (g_get_monotonic_time() < end) {
        gint64 ms = outages_ms[i++ % G_N_ELEMENTS(outages_ms)];
        if (g_test_rand_bit()) {
            stop(&rig, ms);
        } else {
            mask(&rig, ms);
        }
        sleep_ms(ms + g_test_rand_int_range(1, 100));
    }
    assert_nothing_lost(&rig, VECTOR);
    rig_down(&rig);
}

/* ---- Destinations ---- */

static void tick_for(struct rig *rig, const char *where, gint64 ms)
{
    g_free(ctl(rig, DONE, ENABLE " %s", where));
    sleep_ms(ms);
}

static void test_destinations(void)
{
    struct rig rig;

    rig_boot(&rig, &(struct machine_options){.cpus = 2});
    tick_for(&rig, "--destination physical:1", 500);
    g_assert_cmpuint(machine_count_on(&rig.machine, 0, VECTOR), ==, 0);
    tick_for(&rig, "--destination logical:0x2", 500);
    g_assert_cmpuint(machine_count_on(&rig.machine, 0, VECTOR), ==, 0);
    tick_for(&rig, "--destination logical:0x1", 500);
    g_assert_cmpuint(machine_count_on(&rig.machine, 0, VECTOR), >, 100);
    tick_for(&rig, "--destination logical:0x3 --delivery lowest", 1000);
    g_test_message("vCPU 0: %u, vCPU 1: %u", machine_count_on(&rig.machine, 0, VECTOR),
                   machine_count_on(&rig.machine, 1, VECTOR));
    assert_nothing_lost(&rig, VECTOR);
    rig_down(&rig);
}

/* Another vector from the next tick on; what was on its way is not lost. */
static void test_change_of_vector(void)
{
    struct rig rig;

    rig_boot(&rig, &(struct machine_options){0});
    g_free(ctl(&rig, DONE, ENABLE));
    sleep_ms(500);
    g_free(ctl(&rig, DONE,
               "set guest EmulatedTimerControl vector=0x61,destination=physical:0,enabled"));
    sleep_ms(50);
    guint old = machine_count(&rig.machine, VECTOR);
    sleep_ms(500);
    g_assert_cmpuint(machine_count(&rig.machine, VECTOR), ==, old);
    hvapi_statistics last = catch_up_and_stop(&rig);
    await(5, machine_count(&rig.machine, 0x61) + old >= last.acknowledged, "all ticks counted");
    g_assert_cmpuint(machine_count(&rig.machine, 0x61) + old, ==, last.acknowledged);
    rig_down(&rig);
}

/* ---- What the guest has of its own ---- */

static void test_pic(void)
{
    struct rig rig;

    rig_boot(&rig, &(struct machine_options){.pic = TRUE});
    g_free(ctl(&rig, DONE, ENABLE));
    struct rtc_mark rtc = rtc_mark(&rig);
    sleep_ms(5000);
    assert_rtc_since(&rig, rtc, FALSE);
    assert_nothing_lost(&rig, VECTOR);
    rig_down(&rig);
}

/* Its local APIC timer is in use: it is not leased, and goes on at its own rate. */
static void test_own_timer(void)
{
    struct rig rig;

    rig_boot(&rig, &(struct machine_options){.timer_ns = 2000000});
    g_free(ctl(&rig, DONE, ENABLE));
    g_assert_true(status_is(&rig, "base_timer", "daemon"));
    guint before = machine_timer(&rig.machine);
    gint64 start = g_get_monotonic_time();
    sleep_ms(5000);
    double rate =
        (machine_timer(&rig.machine) - before) * 1e6 / (double)(g_get_monotonic_time() - start);
    g_test_message("its own timer: %.1f ticks a second, of 500", rate);
    g_assert_cmpfloat(rate, >, 500 * 0.6); /* KVM drops some on a busy machine */
    g_assert_cmpfloat(rate, <, 500 * 1.03);
    assert_nothing_lost(&rig, VECTOR);
    rig_down(&rig);
}

void add_ticks_tests(void)
{
    g_test_add_func("/libvirt/ten-seconds", test_ten_seconds);
    g_test_add_data_func("/libvirt/outages/1ms", "1ms", test_outages);
    g_test_add_data_func("/libvirt/outages/10ms", "10ms", test_outages);
    g_test_add_func("/libvirt/destinations", test_destinations);
    g_test_add_func("/libvirt/change-of-vector", test_change_of_vector);
    g_test_add_func("/libvirt/pic", test_pic);
    g_test_add_func("/libvirt/own-timer", test_own_timer);
}
