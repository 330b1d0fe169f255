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

static void check_status(struct rig *rig, const struct guest *guest, const char *effective)
{
    g_assert_true(status_is(rig, guest, "supervision.timer", "pit"));
    g_assert_true(status_is(rig, guest, "supervision.mode", "slew"));
    g_assert_true(status_is(rig, guest, "supervision.effective", effective));
    g_assert_cmpfloat(status_number(rig, guest, "emulated_timer_period"), ==, PERIOD);
}

/* One of them is KVM's: it raises what was lost by itself, without a limit, unless it is told not
 * to. */
static void test_slew(void)
{
    struct rig rig;

    rig_up(&rig);
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
        add(&rig, &kinds[i], "discard");
    }
    supervise_all(&rig, "slew");
    struct guest *kvms = add(&rig, &kinds[0], "delay");
    await(10, status_is(&rig, kvms, "state", "running"), "hvtimerd sees the guest");
    g_free(ctl(&rig, DONE, "pit %s slew", guest_name(kvms)));
    await_supervision(&rig, kvms, "observe");
    kvms->observed = TRUE;
    for (guint i = 0; i < rig.n; i++) {
        check_status(&rig, &rig.guests[i], rig.guests[i].observed ? "observe" : "slew");
    }
    take_references(&rig);
    stop_all_often(&rig, 150, 500, 3);
    stop_all(&rig, 1000);
    await_right(&rig, 10);
    assert_all_right(&rig);
    g_assert_cmpuint(statistics(kvms).injected, ==, 0);
    rig_down(&rig);
}

void add_pit_tests(void)
{
    g_test_add_func("/rtc/pit", test_slew);
}
