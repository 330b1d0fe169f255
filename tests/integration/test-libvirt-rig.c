/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The rig of test-libvirt itself, without a hvtimerd: a libvirtd of its own, and QEMU guests that
 * count what they should. Where this fails, test-libvirt has nothing to say about hvtimerd.
 */
#include "tests/support/libvirt-machine.h"
#include "tests/support/test.h"
#include <stdlib.h>
#include <string.h>

static struct libvirt libvirt;

static void sleep_ms(gint64 ms)
{
    gint64 end = g_get_monotonic_time() + ms * 1000;

    while (g_get_monotonic_time() < end) {
        test_iterate();
    }
}

/* QEMU drops ticks of the RTC on a busy machine, but for tickpolicy catchup, which only is late. */
static void assert_ticks(struct machine *machine, double part)
{
    struct machine_rate rtc = machine_rate_begin(machine, machine_rtc);

    sleep_ms(3000);
    test_wait_until(20, machine_rate_is(&rtc, MACHINE_RTC_HZ, part));
    g_assert_false(machine_failed(machine));
    g_assert_cmpuint(machine_spurious(machine), ==, 0);
    g_assert_cmpuint(machine_count(machine, 0x50), ==, 0);
}

static void test_ticks(gconstpointer data)
{
    const struct machine_options *options = data;
    struct machine machine;

    machine_define(&machine, &libvirt, options);
    g_assert_cmpstr(machine_state(&machine), ==, "shutoff");
    machine_boot(&machine);
    g_assert_cmpstr(machine_state(&machine), ==, "running");
    g_assert_cmpuint(machine_boots(&machine), ==, 1);
    assert_ticks(&machine, options->rtc_policy != NULL ? 0.97 : 0.3);
    machine_down(&machine);
}

static void test_timer(void)
{
    struct machine machine;

    machine_define(&machine, &libvirt, &(struct machine_options){.timer_ns = 2000000});
    machine_boot(&machine);
    struct machine_rate timer = machine_rate_begin(&machine, machine_timer);
    sleep_ms(3000);
    test_wait_until(20, machine_rate_is(&timer, 500, 0.5));
    machine_down(&machine);
}

static void test_mask(void)
{
    struct machine machine;

    machine_define(&machine, &libvirt, &(struct machine_options){.cpus = 2});
    machine_boot(&machine);
    machine_mask(&machine, 0);
    guint before = machine_rtc(&machine);
    sleep_ms(300);
    g_assert_cmpuint(machine_rtc(&machine), ==, before);
    machine_unmask(&machine, 0);
    test_wait_until(10, machine_rtc(&machine) > before + 50);
    machine_down(&machine);
}

static void test_resets(gconstpointer bios)
{
    struct machine machine;

    machine_define(&machine, &libvirt, &(struct machine_options){.bios = bios != NULL, .cpus = 2});
    machine_boot(&machine);
    test_wait_until(10, machine_rtc(&machine) > 100);
    machine_reset_itself(&machine);
    g_assert_cmpuint(machine_boots(&machine), ==, 2);
    guint before = machine_rtc(&machine);
    g_assert_cmpuint(before, >=, 100);
    test_wait_until(10, machine_rtc(&machine) > before + 50);
    machine_reset(&machine);
    test_wait_until(60, machine_boots(&machine) == 3);
    machine_wait_ready(&machine);
    machine_down(&machine);
}

/* Suspended it stands still; saved and restored, killed and started, it goes on. */
static void test_life(void)
{
    struct machine machine;

    machine_define(&machine, &libvirt, &(struct machine_options){0});
    machine_boot(&machine);
    machine_suspend(&machine);
    g_assert_cmpstr(machine_state(&machine), ==, "paused");
    guint before = machine_rtc(&machine);
    sleep_ms(200);
    g_assert_cmpuint(machine_rtc(&machine), ==, before);
    machine_resume(&machine);
    test_wait_until(10, machine_rtc(&machine) > before + 50);

    before = machine_rtc(&machine);
    machine_save(&machine);
    g_assert_cmpstr(machine_state(&machine), ==, "shutoff");
    machine_boot(&machine);
    g_assert_cmpuint(machine_boots(&machine), ==, 1);
    test_wait_until(10, machine_rtc(&machine) > before + 50);

    machine_crash(&machine);
    machine_boot(&machine);
    machine_destroy(&machine);
    g_assert_null(machine.memory);
    machine_boot(&machine);
    machine_down(&machine);
}

static void test_libvirtd_killed(void)
{
    struct machine machine;

    machine_define(&machine, &libvirt, &(struct machine_options){0});
    machine_boot(&machine);
    libvirt_kill(&libvirt);
    guint before = machine_rtc(&machine);
    test_wait_until(10, machine_rtc(&machine) > before + 50);
    libvirt_start(&libvirt);
    g_assert_cmpstr(machine_state(&machine), ==, "running");
    machine_destroy(&machine);
    machine_down(&machine);
}

static void test_spawned(void)
{
    struct machine machine;

    machine_spawn(&machine, &(struct machine_options){.cpus = 2});
    assert_ticks(&machine, 0.3);
    struct machine_resources r = machine_resources(&machine);
    g_test_message("%u descriptors, %u eventfds, %u threads, %u mappings", r.fds, r.eventfds,
                   r.threads, r.mappings);
    g_assert_cmpuint(r.eventfds, >, 0);
    g_assert_cmpuint(r.threads, >=, 3);
    g_assert_cmpuint(r.mappings, >, 10);
    machine_down(&machine);
}

static void test_split_irqchip(void)
{
    struct machine machine;

    machine_define(&machine, &libvirt,
                   &(struct machine_options){.split_irqchip = TRUE, .no_rtc = TRUE});
    machine_boot(&machine);
    sleep_ms(200);
    g_assert_false(machine_failed(&machine));
    g_assert_cmpuint(machine_rtc(&machine), ==, 0);
    machine_down(&machine);
}

/* virsh of this program reaches this libvirtd, and metadata is kept as configuration. */
static void test_metadata(void)
{
    const char *const argv[] = {"virsh",
                                "-c",
                                LIBVIRT_URI,
                                "metadata",
                                "guest",
                                "--uri",
                                DOMAIN_NAMESPACE,
                                "--key",
                                "tick",
                                "--set",
                                "<assist><timer period='1ms'/></assist>",
                                "--config",
                                NULL};
    g_autoptr(GError) error = NULL;
    struct machine machine;

    machine_define(&machine, &libvirt, &(struct machine_options){0});
    g_autoptr(GSubprocess) virsh =
        g_subprocess_newv(argv, G_SUBPROCESS_FLAGS_STDOUT_SILENCE, &error);
    g_assert_no_error(error);
    g_assert_true(g_subprocess_wait_check(virsh, NULL, &error));
    machine_boot(&machine);
    virDomainPtr handle = virDomainLookupByName(libvirt.connection, "guest");
    char *metadata = virDomainGetMetadata(handle, VIR_DOMAIN_METADATA_ELEMENT, DOMAIN_NAMESPACE,
                                          VIR_DOMAIN_AFFECT_LIVE);
    libvirt_assert(metadata != NULL);
    g_test_message("%s", metadata);
    g_assert_nonnull(strstr(metadata, "period=\"1ms\"") != NULL ? metadata
                                                                : strstr(metadata, "period='1ms'"));
    free(metadata);
    virDomainFree(handle);
    machine_down(&machine);
}

static const struct machine_options plain = {.name = "plain"};
static const struct machine_options catchup = {.name = "catchup", .rtc_policy = "catchup"};
static const struct machine_options pic = {.name = "pic", .pic = TRUE};
static const struct machine_options smp = {.name = "smp", .cpus = 2};
static const struct machine_options bios = {.name = "bios", .bios = TRUE};
static const struct machine_options bios_pic = {.name = "bios-pic", .bios = TRUE, .pic = TRUE};

static void add_tests(void)
{
    g_test_add_data_func("/rig/ticks/plain", &plain, test_ticks);
    g_test_add_data_func("/rig/ticks/catchup", &catchup, test_ticks);
    g_test_add_data_func("/rig/ticks/pic", &pic, test_ticks);
    g_test_add_data_func("/rig/ticks/smp", &smp, test_ticks);
    g_test_add_data_func("/rig/ticks/bios", &bios, test_ticks);
    g_test_add_data_func("/rig/ticks/bios-pic", &bios_pic, test_ticks);
    g_test_add_func("/rig/timer", test_timer);
    g_test_add_func("/rig/mask", test_mask);
    g_test_add_data_func("/rig/reset", NULL, test_resets);
    g_test_add_data_func("/rig/reset/bios", "bios", test_resets);
    g_test_add_func("/rig/life", test_life);
    g_test_add_func("/rig/libvirtd-killed", test_libvirtd_killed);
    g_test_add_func("/rig/spawned", test_spawned);
    g_test_add_func("/rig/split-irqchip", test_split_irqchip);
    g_test_add_func("/rig/metadata", test_metadata);
}

int main(int argc, char **argv)
{
    return libvirt_run_tests(argc, argv, &libvirt, "/rig", add_tests);
}
