/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hvtimerd with unmodified QEMU guests under a real libvirt, and QEMU's own word on it: what the
 * guest has counted. The tests are in test-libvirt-*.c; here is what they share.
 */
#include "tests/integration/test-libvirt.h"

#include <string.h>

struct libvirt test_libvirt;

/* ---- The rig ---- */

const char *rig_config(void)
{
    static char *config;

    if (config == NULL) {
        const char *directory = g_getenv("HVTIMER_BUILDDIR");
        g_autofree char *helper =
            g_canonicalize_filename("daemon/attach/hvtimer-attach", directory);
        config = g_strdup_printf("{\"attach_helper\": \"%s\"}", helper);
    }
    return config;
}

void rig_up_daemon(struct rig *rig)
{
    *rig = (struct rig){.fixture = {.libvirt = LIBVIRT_URI}};
    fixture_up(&rig->fixture, rig_config());
}

void rig_up(struct rig *rig, const struct machine_options *options)
{
    rig_up_daemon(rig);
    machine_define(&rig->machine, &test_libvirt, options);
}

gboolean is_partition(void)
{
    HV_PARTITION_ID id;

    return hvapi_lookup_partition("guest", &id) == HV_STATUS_SUCCESS;
}

void rig_boot(struct rig *rig, const struct machine_options *options)
{
    rig_up(rig, options);
    machine_boot(&rig->machine);
    await(10, is_partition(), "hvtimerd sees the domain");
}

void rig_down(struct rig *rig)
{
    if (rig->machine.memory != NULL) {
        g_assert_false(machine_failed(&rig->machine));
    }
    machine_down(&rig->machine);
    fixture_down(&rig->fixture);
}

/* ---- Asking ---- */

char *ctl(struct rig *rig, int status, const char *command, ...)
{
    va_list arguments;

    va_start(arguments, command);
    char *output = asking_ctl(&rig->fixture, status, command, arguments);
    va_end(arguments);
    return output;
}

void run(struct rig *rig, const char *command, ...)
{
    g_autofree char *output = NULL;
    va_list arguments;

    va_start(arguments, command);
    g_autofree char *line = g_strdup_vprintf(command, arguments);
    va_end(arguments);
    int got = fixture_run(&rig->fixture, &output, "%s", line);
    if (got != 0) {
        g_error("%s: exit status %d: %s", line, got, output);
    }
}

/* Whatever is asked of a partition must be there. */
static Json *member(Json *json, const char *path)
{
    Json *found = asking_member(json, path);

    if (found == NULL) {
        g_error("status --json has no %s", path);
    }
    return found;
}

char *status_text(struct rig *rig, const char *path)
{
    g_autoptr(Json) json = asking_status(&rig->fixture, rig->machine.name);

    if (json == NULL) {
        return g_strdup(g_str_equal(path, "state") ? "shutoff" : "");
    }
    return g_strdup(json_object_get_string(member(json, path)));
}

double status_number(struct rig *rig, const char *path)
{
    g_autoptr(Json) json = asking_status(&rig->fixture, rig->machine.name);

    return json != NULL ? json_object_get_double(member(json, path)) : -1;
}

gboolean status_is(struct rig *rig, const char *path, const char *text)
{
    g_autofree char *found = status_text(rig, path);

    return g_strcmp0(found, text) == 0;
}

void assert_status(struct rig *rig, const char *path, const char *text)
{
    g_autofree char *found = status_text(rig, path);

    g_assert_cmpstr(found, ==, text);
}

hvapi_statistics statistics(void)
{
    return asking_statistics("guest");
}

/* ---- Judging ---- */

void await_ticks(struct rig *rig, guint vector, guint count, double seconds)
{
    guint before = machine_count(&rig->machine, vector);
    gint64 end = g_get_monotonic_time() + (gint64)(seconds * G_USEC_PER_SEC);

    while (machine_count(&rig->machine, vector) < before + count) {
        if (g_get_monotonic_time() > end) {
            g_autofree char *output = NULL;
            fixture_run(&rig->fixture, &output, "hvtimerctl status %s", rig->machine.name);
            g_error("%u ticks counted within %g s, not %u: %s",
                    machine_count(&rig->machine, vector) - before, seconds, count, output);
        }
        test_iterate();
    }
}

hvapi_statistics catch_up_and_stop(struct rig *rig)
{
    await(60, statistics().backlog == 0, "caught up, backlog %u", (guint)statistics().backlog);
    g_assert_cmpuint(statistics().skipped, ==, 0);
    g_free(ctl(rig, DONE, "disable %s", rig->machine.name));
    test_wait_until_still(20, statistics().due);
    await(20, statistics().in_flight == 0, "the last tick is acknowledged");
    return statistics();
}

void assert_nothing_lost(struct rig *rig, guint vector)
{
    assert_little_lost(rig, vector, 0);
}

void assert_little_lost(struct rig *rig, guint vector, guint slack)
{
    hvapi_statistics s = catch_up_and_stop(rig);

    await(20, machine_count(&rig->machine, vector) + slack >= s.acknowledged,
          "%u ticks counted of %u", machine_count(&rig->machine, vector), (guint)s.acknowledged);
    guint counted = machine_count(&rig->machine, vector);
    g_test_message("due %u, acknowledged %u, given up by the stop %u; the guest counted %u",
                   (guint)s.due, (guint)s.acknowledged, (guint)s.skipped, counted);
    g_assert_cmpuint(counted, <=, s.acknowledged + slack);
    g_assert_cmpuint(machine_spurious(&rig->machine), ==, 0);
}

void await_no_ticks(struct rig *rig, guint vector)
{
    test_wait_until_still(20, machine_count(&rig->machine, vector));
}

gboolean keeps_time(const struct timing *timing)
{
    gint64 before = g_get_monotonic_time();
    uint64_t due = statistics().due;

    return timing_keeps(timing, due, before, g_get_monotonic_time());
}

/* ---- main ---- */

static void add_tests(void)
{
    add_ticks_tests();
    add_config_tests();
    add_life_tests();
    add_attach_tests();
}

int main(int argc, char **argv)
{
    return libvirt_run_tests(argc, argv, &test_libvirt, "/libvirt", add_tests);
}
