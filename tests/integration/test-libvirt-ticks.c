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
    await(20, is_partition(), "hvtimerd sees the domain");
    struct timing timing = timing_before(1000, 0);
    g_free(ctl(&rig, DONE, ENABLE));
    timing_after(&timing);
    struct machine_rate rtc = machine_rate_begin(&rig.machine, machine_rtc);
    sleep_ms(10000);
    await(20, machine_rate_is(&rtc, MACHINE_RTC_HZ, 0.97), "the RTC's rate");
    await(20, keeps_time(&timing), "all ticks that are due");
    assert_status(&rig, "state", "running");
    assert_status(&rig, "source", "libvirt");
    assert_status(&rig, "accounting", "closed-loop");
    assert_status(&rig, "emulated_timer_control", CONTROL);
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
    await(20, machine_count_on(&rig.machine, 0, VECTOR) > 100, "ticks on vCPU 0");
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
    await_no_ticks(&rig, VECTOR);
    guint old = machine_count(&rig.machine, VECTOR);
    await_ticks(&rig, 0x61, 500, 20);
    g_assert_cmpuint(machine_count(&rig.machine, VECTOR), ==, old);
    hvapi_statistics last = catch_up_and_stop(&rig);
    await(20, machine_count(&rig.machine, 0x61) + old >= last.acknowledged, "all ticks counted");
    g_assert_cmpuint(machine_count(&rig.machine, 0x61) + old, ==, last.acknowledged);
    rig_down(&rig);
}

/* ---- What the guest has of its own ---- */

static void test_pic(void)
{
    struct rig rig;

    rig_boot(&rig, &(struct machine_options){.pic = TRUE});
    g_free(ctl(&rig, DONE, ENABLE));
    struct machine_rate rtc = machine_rate_begin(&rig.machine, machine_rtc);
    sleep_ms(5000);
    await(20, machine_rate_is(&rtc, MACHINE_RTC_HZ, 0.5), "the RTC's rate");
    assert_nothing_lost(&rig, VECTOR);
    rig_down(&rig);
}

/* Its local APIC timer is in use: it is not leased, and goes on at its own rate. */
static void test_own_timer(void)
{
    struct rig rig;

    rig_boot(&rig, &(struct machine_options){.timer_ns = 2000000});
    g_free(ctl(&rig, DONE, ENABLE));
    assert_status(&rig, "base_timer", "daemon");
    struct machine_rate timer = machine_rate_begin(&rig.machine, machine_timer);
    sleep_ms(5000);
    /* KVM drops some on a busy machine. */
    await(20, machine_rate_is(&timer, 500, 0.6), "the rate of its own timer");
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
