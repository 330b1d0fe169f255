/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The two properties as every client sees them: libhvapi, hvtimerctl, busctl, gdbus. Real daemon,
 * real bus, software guests.
 */
#include "tests/support/fixture.h"
#include "tests/support/test.h"
#include "tests/support/timing.h"
#include <errno.h>
#include <fcntl.h>
#include <gio/gunixfdlist.h>
#include <hvapi/hvapi.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define PERIOD  HvPartitionPropertyEmulatedTimerPeriod
#define CONTROL HvPartitionPropertyEmulatedTimerControl

/* Vector 0x50, fixed, physical 0. */
#define ENABLED  0x1050ull
#define DISABLED 0x0050ull

static const char config[] = "{\"models\": [\"m0\", \"m1\"], \"engine\": {\"priority\": 0}}";

static void up(struct fixture *fixture)
{
    fixture_up(fixture, config);
    HV_PARTITION_ID id;
    test_wait_until(10, hvapi_lookup_partition("m1", &id) == HV_STATUS_SUCCESS);
}

static HV_PARTITION_ID lookup(const char *name)
{
    HV_PARTITION_ID id = 0;

    g_assert_cmpuint(hvapi_lookup_partition(name, &id), ==, HV_STATUS_SUCCESS);
    return id;
}

static void set(HV_PARTITION_ID id, HV_PARTITION_PROPERTY_CODE code, uint64_t value)
{
    g_assert_cmpuint(HvSetPartitionProperty(id, code, value), ==, HV_STATUS_SUCCESS);
}

static uint64_t get(HV_PARTITION_ID id, HV_PARTITION_PROPERTY_CODE code)
{
    uint64_t value = 0;

    g_assert_cmpuint(HvGetPartitionProperty(id, code, &value), ==, HV_STATUS_SUCCESS);
    return value;
}

static hvapi_statistics statistics(HV_PARTITION_ID id)
{
    hvapi_statistics s;

    g_assert_cmpuint(hvapi_get_statistics(id, &s), ==, HV_STATUS_SUCCESS);
    g_assert_cmpuint(s.due, ==, s.acknowledged + s.in_flight + s.backlog + s.skipped);
    return s;
}

#define assert_output(fixture, expected, ...)                                \
    G_STMT_START                                                             \
    {                                                                        \
        g_autofree char *output_ = NULL;                                     \
        g_assert_cmpint(fixture_run(fixture, &output_, __VA_ARGS__), ==, 0); \
        g_assert_nonnull(strstr(output_, expected));                         \
    }                                                                        \
    G_STMT_END

/* Each client writes, and all of them read what it wrote. */
static void assert_all_read(struct fixture *f, HV_PARTITION_ID id, uint64_t period,
                            uint64_t control)
{
    g_autofree char *period_text = g_strdup_printf("%" G_GUINT64_FORMAT, period);
    g_autofree char *control_hex = g_strdup_printf("0x%016" G_GINT64_MODIFIER "x", control);
    g_autofree char *control_text = g_strdup_printf("%" G_GUINT64_FORMAT, control);
    const char *address = f->address;

    g_assert_cmpuint(get(id, PERIOD), ==, period);
    g_assert_cmphex(get(id, CONTROL), ==, control);
    assert_output(f, period_text, "hvtimerctl get m0 EmulatedTimerPeriod");
    assert_output(f, control_hex, "hvtimerctl get m0 EmulatedTimerControl");
    assert_output(f, control_text,
                  "gdbus call --address %s --dest org.hvtimer1 --object-path /org/hvtimer1 "
                  "--method org.hvtimer1.Manager.GetPartitionProperty %" G_GUINT64_FORMAT " 196609",
                  address, id);
    assert_output(f, period_text,
                  "gdbus call --address %s --dest org.hvtimer1 "
                  "--object-path /org/hvtimer1/partition/%" G_GUINT64_FORMAT
                  " --method org.freedesktop.DBus.Properties.Get org.hvtimer1.Partition "
                  "EmulatedTimerPeriod",
                  address, id);
}

static void test_clients(void)
{
    struct fixture f = {0};

    up(&f);
    HV_PARTITION_ID id = lookup("m0");
    const char *address = f.address;

    assert_all_read(&f, id, 0, 0);
    set(id, PERIOD, 10000);
    set(id, CONTROL, ENABLED);
    assert_all_read(&f, id, 10000, ENABLED);

    g_assert_cmpint(fixture_run(&f, NULL, "hvtimerctl set m0 EmulatedTimerPeriod 0x4e20"), ==, 0);
    g_assert_cmpint(
        fixture_run(&f, NULL,
                    "hvtimerctl set m0 EmulatedTimerControl vector=0x61,destination=logical:3"),
        ==, 0);
    assert_all_read(&f, id, 20000, 0x0300000000000861ull);

    g_assert_cmpint(
        fixture_run(&f, NULL,
                    "gdbus call --address %s --dest org.hvtimer1 --object-path "
                    "/org/hvtimer1/partition/%" G_GUINT64_FORMAT
                    " --method org.freedesktop.DBus.Properties.Set org.hvtimer1.Partition "
                    "EmulatedTimerPeriod '<uint64 30000>'",
                    address, id),
        ==, 0);
    g_assert_cmpint(fixture_run(&f, NULL,
                                "gdbus call --address %s --dest org.hvtimer1 --object-path "
                                "/org/hvtimer1 --method org.hvtimer1.Manager.SetPartitionProperty "
                                "%" G_GUINT64_FORMAT " 196609 4176",
                                address, id),
                    ==, 0);
    assert_all_read(&f, id, 30000, ENABLED);
    g_assert_cmpuint(get(lookup("m1"), PERIOD), ==, 0); /* the other one was left alone */
    fixture_down(&f);
}

/* systemd's busctl, where it is installed: plain set-property works, and bad values are refused. */
static void test_busctl(void)
{
    g_autofree char *busctl = g_find_program_in_path("busctl");
    struct fixture f = {0};

    if (busctl == NULL) {
        test_skip("busctl is not installed (package systemd)");
        return;
    }
    up(&f);
    HV_PARTITION_ID id = lookup("m0");
    const char *call =
        "busctl --address=%s set-property org.hvtimer1 "
        "/org/hvtimer1/partition/%" G_GUINT64_FORMAT " org.hvtimer1.Partition %s t %s";
    const char *address = f.address;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    g_assert_cmpint(fixture_run(&f, NULL, call, address, id, "EmulatedTimerPeriod", "10000"), ==,
                    0);
    g_assert_cmpint(fixture_run(&f, NULL, call, address, id, "EmulatedTimerControl", "4176"), ==,
                    0);
    g_assert_cmpint(fixture_run(&f, NULL, call, address, id, "EmulatedTimerControl", "5"), !=, 0);
#pragma GCC diagnostic pop
    assert_all_read(&f, id, 10000, ENABLED);
    fixture_down(&f);
}

/* A bad value gets its status, and nothing has changed. */
static void test_bad_values(void)
{
    static const struct {
        uint32_t code;
        uint64_t value;
        HV_STATUS status;
    } rows[] = {
        {PERIOD, 1, HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE},
        {PERIOD, UINT64_MAX, HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE},
        {CONTROL, ENABLED & ~0xffull, HV_STATUS_INVALID_PARAMETER},
        {CONTROL, (ENABLED & ~0xffull) | 15, HV_STATUS_INVALID_PARAMETER},
        {CONTROL, ENABLED | 0x200, HV_STATUS_INVALID_PARAMETER},
        {CONTROL, ENABLED | 1ull << 13, HV_STATUS_INVALID_PARAMETER},
        {CONTROL, ENABLED | 1ull << 31, HV_STATUS_INVALID_PARAMETER},
        {CONTROL, ENABLED | 1ull << 32, HV_STATUS_INVALID_PARAMETER},
        {CONTROL, ENABLED | 1ull << 55, HV_STATUS_INVALID_PARAMETER},
        {HvPartitionPropertyPmTimerAssist, 1, HV_STATUS_UNKNOWN_PROPERTY},
        {0x12345678, 1, HV_STATUS_UNKNOWN_PROPERTY},
    };
    struct fixture f = {0};

    up(&f);
    HV_PARTITION_ID id = lookup("m0");
    set(id, PERIOD, 10000);
    set(id, CONTROL, ENABLED);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_assert_cmpuint(
            HvSetPartitionProperty(id, (HV_PARTITION_PROPERTY_CODE)rows[i].code, rows[i].value), ==,
            rows[i].status);
        g_assert_cmpstr(hvapi_last_error(), !=, "");
        g_assert_cmpuint(get(id, PERIOD), ==, 10000);
        g_assert_cmphex(get(id, CONTROL), ==, ENABLED);
    }
    g_assert_cmpuint(HvSetPartitionProperty(77, PERIOD, 10000), ==, HV_STATUS_INVALID_PARTITION_ID);
    g_assert_cmpuint(HvGetPartitionProperty(id, PERIOD, NULL), ==, HV_STATUS_INVALID_PARAMETER);
    fixture_down(&f);
}

/* Sets the property that starts the timer, which stands still. */
static struct timing start(HV_PARTITION_ID id, HV_PARTITION_PROPERTY_CODE code, uint64_t value,
                           double period_us)
{
    struct timing timing = timing_before(period_us, statistics(id).due);

    set(id, code, value);
    timing_after(&timing);
    return timing;
}

static gboolean keeps_time(HV_PARTITION_ID id, const struct timing *timing)
{
    gint64 before = g_get_monotonic_time();
    uint64_t due = statistics(id).due;

    return timing_keeps(timing, due, before, g_get_monotonic_time());
}

static void assert_ticks(HV_PARTITION_ID id, const struct timing *timing)
{
    g_usleep(200000);
    test_wait_until(20, keeps_time(id, timing));
}

static void assert_stands_still(HV_PARTITION_ID id)
{
    test_wait_until_still(20, statistics(id).due);
}

static void test_order(void)
{
    struct fixture f = {0};

    up(&f);
    HV_PARTITION_ID id = lookup("m0");

    /* Control first: nothing until there is a period. */
    set(id, CONTROL, ENABLED);
    g_usleep(50000);
    g_assert_cmpuint(statistics(id).due, ==, 0);
    struct timing timing = start(id, PERIOD, 10000, 1000);
    assert_ticks(id, &timing);

    /* Period 0 clears Enabled and stops. */
    set(id, PERIOD, 0);
    g_assert_cmphex(get(id, CONTROL), ==, DISABLED);
    assert_stands_still(id);

    /* A period alone does not start it. */
    uint64_t due = statistics(id).due;
    set(id, PERIOD, 10000);
    g_usleep(50000);
    g_assert_cmpuint(statistics(id).due, ==, due);
    timing = start(id, CONTROL, ENABLED, 1000);
    assert_ticks(id, &timing);
    fixture_down(&f);
}

/* A long first period: the first tick falls one period after the call, never before. */
static void test_first_tick(void)
{
    struct fixture f = {0};

    up(&f);
    HV_PARTITION_ID id = lookup("m0");
    set(id, PERIOD, 5000000); /* 500 ms */
    struct timing timing = start(id, CONTROL, ENABLED, 500000);
    test_wait_until(10, keeps_time(id, &timing) && statistics(id).due >= 1);
    g_assert_cmpint(g_get_monotonic_time() - timing.called, >=, 500000);
    fixture_down(&f);
}

/* While it runs: a new period starts it anew; a new vector does not. */
static void test_change_while_running(void)
{
    struct fixture f = {0};

    up(&f);
    HV_PARTITION_ID id = lookup("m0");
    set(id, PERIOD, 100000);
    struct timing timing = start(id, CONTROL, ENABLED, 10000);
    assert_ticks(id, &timing);
    set(id, PERIOD, 10000000000); /* 1000 s: the tick that was to come is not to come now */
    assert_stands_still(id);
    timing = start(id, PERIOD, 10000, 1000);
    assert_ticks(id, &timing);
    uint64_t due = statistics(id).due;
    for (unsigned vector = 0x40; vector < 0xa0; vector++) {
        set(id, CONTROL, (ENABLED & ~0xffull) | vector);
        g_assert_cmpuint(statistics(id).due, >=, due);
        due = statistics(id).due;
    }
    assert_ticks(id, &timing); /* as if nothing had been changed: none lost, none early */
    /* As long as it was held for all these changes, so long does it take to make up. */
    test_wait_until(60, statistics(id).backlog == 0);
    g_assert_cmpuint(statistics(id).skipped, ==, 0);
    fixture_down(&f);
}

static void test_children(void)
{
    HV_PARTITION_ID id = HV_PARTITION_ID_INVALID;
    unsigned n = 0;
    struct fixture f = {0};

    up(&f);
    do {
        HV_PARTITION_ID next = 0;
        g_assert_cmpuint(HvGetNextChildPartition(HV_PARTITION_ID_SELF, id, &next), ==,
                         HV_STATUS_SUCCESS);
        g_assert_true(next == 0 || next > id);
        id = next;
        n += id != 0;
    } while (id != 0);
    g_assert_cmpuint(n, ==, 2);
    g_assert_cmpuint(HvGetNextChildPartition(1, 0, &id), ==, HV_STATUS_INVALID_PARTITION_ID);
    g_assert_cmpuint(hvapi_lookup_partition("nobody", &id), ==, HV_STATUS_INVALID_PARTITION_ID);
    fixture_down(&f);
}

/* kill -9, and again: the same process's calls fail while it is away, and work when it is back. */
static void test_daemon_killed(void)
{
    struct fixture f = {0};
    uint64_t value;

    up(&f);
    set(lookup("m0"), PERIOD, 10000);
    for (int i = 0; i < 3; i++) {
        fixture_kill_daemon(&f);
        g_assert_cmpuint(HvGetPartitionProperty(1, PERIOD, &value), ==, HV_STATUS_OPERATION_DENIED);
        fixture_start_daemon(&f);
        HV_PARTITION_ID id;
        test_wait_until(10, hvapi_lookup_partition("m0", &id) == HV_STATUS_SUCCESS);
        set(id, PERIOD, 10000);
        set(id, CONTROL, ENABLED);
        test_wait_until(10, statistics(id).due >= 50);
    }
    fixture_down(&f);
}

static gpointer hammer(gpointer data)
{
    HV_PARTITION_ID id = *(HV_PARTITION_ID *)data;

    for (uint64_t i = 0; i < 200; i++) {
        set(id, PERIOD, 10000 + i);
        get(id, CONTROL);
        statistics(id);
    }
    return NULL;
}

/* Every call from any thread. */
static void test_threads(void)
{
    GThread *threads[8];
    struct fixture f = {0};

    up(&f);
    HV_PARTITION_ID ids[2] = {lookup("m0"), lookup("m1")};
    set(ids[0], CONTROL, ENABLED);
    for (int i = 0; i < 8; i++) {
        threads[i] = g_thread_new("hammer", hammer, &ids[i % 2]);
    }
    for (int i = 0; i < 8; i++) {
        g_thread_join(threads[i]);
    }
    g_assert_cmpuint(get(ids[0], PERIOD), ==, 10199);
    fixture_down(&f);
}

/* ---- handing a VM over, as far as it can go wrong without KVM ---- */

static int routed(G_GNUC_UNUSED uint64_t control, void *opaque)
{
    return g_atomic_int_add((gint *)opaque, 1) == 0 ? 0 : EIO;
}

static void test_hand_over(void)
{
    gint routes = 0;
    int tick = eventfd(0, EFD_CLOEXEC), file = open("/dev/null", O_RDWR | O_CLOEXEC);
    hvapi_vmm_config vmm = {
        .name = "own", .tick_fd = tick, .ack_fd = -1, .set_route = routed, .opaque = &routes};
    hvapi_vmm *handle = NULL, *second = NULL;
    HV_PARTITION_ID id = 0, other;
    struct fixture f = {0};

    up(&f);
    vmm.ack_fd = file;
    g_assert_cmpuint(hvapi_vmm_hand_over(&vmm, &handle, &id), ==, HV_STATUS_INVALID_PARAMETER);
    vmm.ack_fd = -1;
    vmm.uuid = "not a uuid";
    g_assert_cmpuint(hvapi_vmm_hand_over(&vmm, &handle, &id), ==, HV_STATUS_INVALID_PARAMETER);
    vmm.uuid = "4dea22b3-1d52-d8f3-2516-782e98ab3fa0";
    g_assert_cmpuint(hvapi_vmm_hand_over(&vmm, &handle, &id), ==, HV_STATUS_SUCCESS);
    g_assert_cmpuint(hvapi_vmm_hand_over(&vmm, &second, &other), ==, HV_STATUS_OBJECT_IN_USE);
    g_assert_cmpuint(lookup("4DEA22B3-1D52-D8F3-2516-782E98AB3FA0"), ==, id);

    set(id, PERIOD, 100000);
    set(id, CONTROL, ENABLED | 0x100ull << 32); /* the wide layout: destination 0x100 */
    g_assert_cmpint(g_atomic_int_get(&routes), ==, 1);
    /* The VMM refuses the next route: the property keeps its value, and ticks go on. */
    g_assert_cmpuint(HvSetPartitionProperty(id, CONTROL, ENABLED), ==,
                     HV_STATUS_INVALID_PARTITION_STATE);
    g_assert_cmphex(get(id, CONTROL), ==, (ENABLED | 0x100ull << 32));
    uint64_t due = statistics(id).due;
    test_wait_until(10, statistics(id).due >= due + 5);
    hvapi_vmm_take_back(handle);
    g_assert_cmpuint(hvapi_lookup_partition("own", &other), ==, HV_STATUS_INVALID_PARTITION_ID);
    fixture_down(&f);
    close(tick);
    close(file);
}

/* Which of the descriptors that came along is meant, only the daemon checks. */
static void test_no_such_descriptor(void)
{
    static const gint32 handles[] = {1, G_MAXINT32, -1, G_MININT32};
    struct fixture f = {0};

    up(&f);
    for (size_t i = 0; i < G_N_ELEMENTS(handles); i++) {
        g_autoptr(GUnixFDList) sent = g_unix_fd_list_new();
        g_autoptr(GError) error = NULL;
        int tick = eventfd(0, EFD_CLOEXEC);

        g_unix_fd_list_append(sent, tick, NULL);
        close(tick);
        g_dbus_connection_call_with_unix_fd_list_sync(
            f.connection, "org.hvtimer1", "/org/hvtimer1", "org.hvtimer1.Manager", "AttachVmm",
            g_variant_new_parsed("('own', '', uint64 0, objectpath '/vmm', [handle %h])",
                                 handles[i]),
            NULL, G_DBUS_CALL_FLAGS_NONE, -1, sent, NULL, NULL, &error);
        g_assert_nonnull(error);
        g_assert_nonnull(strstr(error->message, "announced but not sent"));
    }
    fixture_down(&f);
}

/* Somebody else's partition is not to be suspended, reset or ended. */
static void test_not_the_owner(void)
{
    static const char *const calls[] = {
        "--object-path /org/hvtimer1 --method org.hvtimer1.Manager.Detach 1",
        "--object-path /org/hvtimer1/partition/1 --method org.hvtimer1.Partition.SetRunning false",
        "--object-path /org/hvtimer1/partition/1 --method org.hvtimer1.Partition.GuestReset",
    };
    struct fixture f = {0};

    up(&f);
    for (size_t i = 0; i < G_N_ELEMENTS(calls); i++) {
        g_autofree char *output = NULL;
        g_assert_cmpint(fixture_run(&f, &output, "gdbus call --address %s --dest org.hvtimer1 %s",
                                    f.address, calls[i]),
                        !=, 0);
        g_assert_true(strstr(output, "org.hvtimer1.Error.AccessDenied") != NULL ||
                      strstr(output, "org.hvtimer1.Error.OperationDenied") != NULL);
    }
    fixture_down(&f);
}

static gboolean has(const char *name)
{
    HV_PARTITION_ID id;

    return hvapi_lookup_partition(name, &id) == HV_STATUS_SUCCESS;
}

/* SIGHUP: models come and go; a broken file changes nothing. */
static void test_reload(void)
{
    struct fixture f = {0};

    up(&f);
    set(lookup("m0"), PERIOD, 10000);
    fixture_reconfigure(&f, "{\"models\": [\"m0\", \"m2\"], \"engine\": {\"priority\": 0}, "
                            "\"limits\": {\"period_min\": 20000}}");
    test_wait_until(10, has("m2") && !has("m1"));
    g_assert_cmpuint(get(lookup("m0"), PERIOD), ==, 10000);
    g_assert_cmpuint(HvSetPartitionProperty(lookup("m0"), PERIOD, 10000), ==,
                     HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE);
    fixture_reconfigure(&f, "{\"modells\": []}");
    g_usleep(200000); /* nothing happens, so there is nothing to wait for */
    g_assert_true(has("m0") && has("m2"));
    fixture_down(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/properties/clients", test_clients);
    g_test_add_func("/properties/busctl", test_busctl);
    g_test_add_func("/properties/bad-values", test_bad_values);
    g_test_add_func("/properties/order", test_order);
    g_test_add_func("/properties/first-tick", test_first_tick);
    g_test_add_func("/properties/change-while-running", test_change_while_running);
    g_test_add_func("/properties/children", test_children);
    g_test_add_func("/properties/daemon-killed", test_daemon_killed);
    g_test_add_func("/properties/threads", test_threads);
    g_test_add_func("/properties/hand-over", test_hand_over);
    g_test_add_func("/properties/no-such-descriptor", test_no_such_descriptor);
    g_test_add_func("/properties/not-the-owner", test_not_the_owner);
    g_test_add_func("/properties/reload", test_reload);
    return g_test_run();
}
