/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Guests that keep time by counting ticks of the PIT, which is KVM's own. */
#include "tests/integration/test-rtc.h"

#define COUNT  1193 /* 1000.15 Hz */
#define PERIOD 9998 /* of 100 ns */

static const struct clock_kind kinds[] = {
    {.name = "IOAPIC, PIT", .pit_count = COUNT},
    {.name = "PIC, PIT", .pit_count = COUNT, .pic = TRUE},
};

static struct guest *add(struct rig *rig, const struct clock_kind *kind, const char *policy)
{
    struct machine_options options = clock_machine_options(kind, NULL);

    options.pit_policy = policy;
    return rig_add(rig, kind, &options);
}

static void test_slew(void)
{
    struct rig rig;

    rig_up(&rig);
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
        add(&rig, &kinds[i], "discard");
    }
    supervise_all(&rig, "slew");
    for (guint i = 0; i < rig.n; i++) {
        g_assert_true(status_is(&rig, &rig.guests[i], "supervision.timer", "pit"));
        g_assert_cmpfloat(status_number(&rig, &rig.guests[i], "emulated_timer_period"), ==, PERIOD);
    }
    sleep_ms(500);
    take_references(&rig);
    stop_all_often(&rig, 150, 500, 4);
    stop_all(&rig, 1000);
    await_right(&rig, 10);
    assert_all_right(&rig);
    rig_down(&rig);
}

/* KVM raises what was lost by itself, without a limit, unless it is told not to. */
static void test_tickpolicy(void)
{
    struct rig rig;

    rig_up(&rig);
    struct guest *guest = add(&rig, &kinds[0], "delay");
    await(10, status_is(&rig, guest, "state", "running"), "hvtimerd sees the guest");
    g_free(ctl(&rig, DONE, "pit %s slew", guest_name(guest)));
    await_supervision(&rig, guest, "observe");
    g_assert_true(status_is(&rig, guest, "supervision.mode", "slew"));
    rig_down(&rig);
}

void add_pit_tests(void)
{
    g_test_add_func("/rtc/pit/slew", test_slew);
    g_test_add_func("/rtc/pit/tickpolicy", test_tickpolicy);
}
