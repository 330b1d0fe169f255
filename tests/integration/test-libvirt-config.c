/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Configuration as operators write it: virsh metadata, host drop-ins; and what is refused. */
#include "tests/integration/test-libvirt.h"

#include <glib/gstdio.h>
#include <string.h>

#define VIRSH_METADATA "virsh -c " LIBVIRT_URI " metadata guest --uri " DOMAIN_NAMESPACE " "

static void set_metadata(struct rig *rig, const char *timer, const char *where)
{
    run(rig, VIRSH_METADATA "--key tick --set '<assist>%s</assist>' %s", timer, where);
}

/* ---- In the domain's metadata ---- */

/* No hvtimerctl call sets anything. Ticks may come while the firmware runs, and end there. */
static void test_before_start(gconstpointer bios)
{
    struct rig rig;

    rig_up(&rig, &(struct machine_options){.bios = bios != NULL});
    set_metadata(&rig, "<timer period=\"1ms\" vector=\"0x50\"/>", "--config");
    run(&rig, "virsh -c " LIBVIRT_URI " start guest");
    machine_follow(&rig.machine);
    machine_wait_ready(&rig.machine);
    await(20, is_partition(), "hvtimerd sees the domain");
    await(20, status_is(&rig, "emulated_timer_control", CONTROL), "enabled by the metadata");
    g_assert_cmpfloat(status_number(&rig, "period_ns"), ==, 1e6);
    await_ticks(&rig, VECTOR, 3000, 20);
    await(90, statistics().backlog == 0, "caught up");
    hvapi_statistics s = statistics();
    guint counted = machine_count(&rig.machine, VECTOR);
    g_assert_cmpuint(s.skipped, ==, 0);
    g_assert_cmpuint(counted + 16, >=, s.acknowledged);
    rig_down(&rig);
}

/* As part of the XML that defines it. */
static void test_in_xml(void)
{
    struct rig rig;

    rig_up(&rig, &(struct machine_options){
                     .metadata = "<tick:assist xmlns:tick='" DOMAIN_NAMESPACE "'>"
                                 "<tick:timer period='1ms' vector='0x50'/></tick:assist>"});
    machine_boot(&rig.machine);
    await_ticks(&rig, VECTOR, 1000, 20);
    rig_down(&rig);
}

static void test_live(void)
{
    struct rig rig;

    rig_boot(&rig, &(struct machine_options){0});
    await_no_ticks(&rig, VECTOR);
    set_metadata(&rig, "<timer period=\"1ms\" vector=\"0x50\"/>", "--live");
    await(20, status_is(&rig, "emulated_timer_control", CONTROL), "enabled by the metadata");
    await_ticks(&rig, VECTOR, 500, 20);

    set_metadata(&rig, "<timer period=\"10ms\" vector=\"0x51\"/>", "--live");
    await(20, status_number(&rig, "emulated_timer_period") == 100000, "the new period");
    await_ticks(&rig, 0x51, 50, 20);
    await_no_ticks(&rig, VECTOR);

    run(&rig, VIRSH_METADATA "--remove --live");
    await(20, status_is(&rig, "emulated_timer_control", "0x0000000000000051"),
          "disabled by the removal");
    await_no_ticks(&rig, 0x51);
    rig_down(&rig);
}

static gboolean reports(struct rig *rig, const char *what)
{
    g_autofree char *output = ctl(rig, DONE, "status guest");

    return strstr(output, what) != NULL;
}

/* What can't be understood changes nothing, and the status says so, naming it. */
static void test_invalid(void)
{
    static const struct {
        const char *timer;
        const char *named;
    } rows[] = {
        {"<timer period=\"1ms\" vector=\"0x05\"/>", "0x05"},
        {"<timer period=\"5parsec\" vector=\"0x50\"/>", "5parsec"},
        {"<timer period=\"1ms\"/>", "vector"},
        {"<chronometer period=\"1ms\" vector=\"0x50\"/>", "chronometer"},
    };
    struct rig rig;

    rig_boot(&rig, &(struct machine_options){0});
    set_metadata(&rig, "<timer period=\"1ms\" vector=\"0x50\"/>", "--live");
    await(20, status_is(&rig, "emulated_timer_control", CONTROL), "enabled by the metadata");
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        set_metadata(&rig, rows[i].timer, "--live");
        await(20, reports(&rig, rows[i].named), "status names %s", rows[i].named);
        assert_status(&rig, "emulated_timer_control", CONTROL);
        g_assert_cmpfloat(status_number(&rig, "emulated_timer_period"), ==, 10000);
        await_ticks(&rig, VECTOR, 100, 20);
    }
    set_metadata(&rig, "<timer period=\"10ms\" vector=\"0x50\"/>", "--live");
    await(20, status_number(&rig, "emulated_timer_period") == 100000, "the corrected period");
    g_assert_false(reports(&rig, "chronometer"));
    rig_down(&rig);
}

/* hvtimerctl --config is virsh metadata --config: for the next start, and not for now. */
static void test_ctl_config(void)
{
    struct rig rig;

    rig_boot(&rig, &(struct machine_options){0});
    g_free(ctl(&rig, DONE, ENABLE " --config"));
    await_no_ticks(&rig, VECTOR);
    run(&rig, VIRSH_METADATA "--config");
    machine_destroy(&rig.machine);
    machine_boot(&rig.machine);
    await_ticks(&rig, VECTOR, 500, 20);
    g_free(ctl(&rig, DONE, "disable guest --config"));
    machine_destroy(&rig.machine);
    machine_boot(&rig.machine);
    await(20, is_partition(), "hvtimerd sees the domain");
    await_no_ticks(&rig, VECTOR);
    rig_down(&rig);
}

/* ---- A host's drop-in ---- */

static const char drop_in[] = "{\"domains\": [{\"match\": \"gu*t\", \"timer\": {\"period\": "
                              "\"1ms\", \"vector\": \"0x50\"}}]}";

static void test_drop_in(void)
{
    g_autoptr(GError) error = NULL;
    struct rig rig;

    rig_up(&rig, &(struct machine_options){0});
    g_autofree char *directory = g_build_filename(rig.fixture.directory, "hvtimerd.d", NULL);
    g_autofree char *path = g_build_filename(directory, "guests.json", NULL);
    g_assert_cmpint(g_mkdir_with_parents(directory, 0755), ==, 0);
    g_file_set_contents(path, drop_in, -1, &error);
    g_assert_no_error(error);
    fixture_reconfigure(&rig.fixture, rig_config());
    machine_boot(&rig.machine);
    await_ticks(&rig, VECTOR, 1000, 20);
    g_unlink(path);
    g_rmdir(directory);
    rig_down(&rig);
}

/* ---- Refused ---- */

static void test_split_irqchip(void)
{
    struct rig rig;

    rig_boot(&rig, &(struct machine_options){.split_irqchip = TRUE, .no_rtc = TRUE});
    struct machine_resources before = machine_resources(&rig.machine);
    g_autofree char *output = ctl(&rig, UNSUPPORTED, ENABLE);
    g_assert_nonnull(strstr(output, "irqchip"));
    struct machine_resources after = machine_resources(&rig.machine);
    g_assert_cmpuint(after.eventfds, ==, before.eventfds);
    g_assert_cmpstr(machine_state(&rig.machine), ==, "running");
    rig_down(&rig);
}

static void test_refused(void)
{
    struct rig rig;

    rig_up(&rig, &(struct machine_options){0});
    g_free(ctl(&rig, NO_PARTITION, "enable nobody --period 1ms --vector 0x50"));
    g_free(ctl(&rig, NO_PARTITION, "status nobody"));
    g_free(ctl(&rig, UNSUPPORTED, ENABLE));
    machine_boot(&rig.machine);
    await(20, is_partition(), "hvtimerd sees the domain");
    machine_destroy(&rig.machine);
    await(20, status_is(&rig, "state", "shutoff"), "the partition is shut off");
    g_free(ctl(&rig, UNSUPPORTED, ENABLE));
    rig_down(&rig);
}

void add_config_tests(void)
{
    g_test_add_data_func("/libvirt/metadata/before-start", NULL, test_before_start);
    g_test_add_data_func("/libvirt/metadata/before-start/bios", "bios", test_before_start);
    g_test_add_func("/libvirt/metadata/in-xml", test_in_xml);
    g_test_add_func("/libvirt/metadata/live", test_live);
    g_test_add_func("/libvirt/metadata/invalid", test_invalid);
    g_test_add_func("/libvirt/metadata/hvtimerctl", test_ctl_config);
    g_test_add_func("/libvirt/drop-in", test_drop_in);
    g_test_add_func("/libvirt/refused/split-irqchip", test_split_irqchip);
    g_test_add_func("/libvirt/refused/not-running", test_refused);
}
