/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* hvtimerctl as scripts use it: what it prints, its JSON, and its exit status for each kind of
 * error. */
#include "tests/integration/test-hvtimerctl.h"

#include "tests/support/test.h"
#include <hvapi/hvapi.h>
#include <string.h>

static const char config[] = "{\"models\": [\"m0\", \"m1\"], \"engine\": {\"priority\": 0}}";

void up(struct fixture *fixture)
{
    HV_PARTITION_ID id;

    fixture_up(fixture, config);
    test_wait_until(10, hvapi_lookup_partition("m1", &id) == HV_STATUS_SUCCESS);
}

static Json *json_of(struct fixture *f, const char *command)
{
    g_autofree char *output = NULL;

    g_assert_cmpint(fixture_run(f, &output, "%s", command), ==, DONE);
    Json *json = json_tokener_parse(output);
    g_assert_nonnull(json);
    return json;
}

Json *member(Json *json, const char *path)
{
    g_auto(GStrv) names = g_strsplit(path, ".", -1);

    for (char **name = names; *name != NULL; name++) {
        g_assert_true(json_object_object_get_ex(json, *name, &json));
    }
    return json;
}

gboolean has_member(Json *json, const char *name)
{
    return json_object_object_get_ex(json, name, NULL);
}

/* Every key of the contract, of its type. */
static void test_status(void)
{
    static const struct {
        const char *path;
        json_type type;
    } rows[] = {
        {"id", json_type_int},
        {"name", json_type_string},
        {"uuid", json_type_string},
        {"state", json_type_string},
        {"source", json_type_string},
        {"pid", json_type_int},
        {"injector", json_type_string},
        {"accounting", json_type_string},
        {"base_timer", json_type_string},
        {"emulated_timer_period", json_type_int},
        {"emulated_timer_control", json_type_string},
        {"policy.name", json_type_string},
        {"policy.threshold", json_type_int},
        {"policy.slew", json_type_int},
        {"policy.limit_ms", json_type_int},
        {"policy.on_resume", json_type_string},
        {"ticks.due", json_type_int},
        {"ticks.injected", json_type_int},
        {"ticks.acknowledged", json_type_int},
        {"ticks.in_flight", json_type_int},
        {"ticks.backlog", json_type_int},
        {"ticks.skipped", json_type_int},
        {"attach_stall_us", json_type_int},
    };
    struct fixture f = {0};

    up(&f);
    g_autoptr(Json) status = json_of(&f, "hvtimerctl --json status m0");
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_assert_cmpint(json_object_get_type(member(status, rows[i].path)), ==, rows[i].type);
    }
    assert_number(status, "clock_behind_us", 0);
    member(status, "lateness_us.p50");
    member(status, "lateness_us.p99");
    member(status, "lateness_us.max");
    g_assert_false(has_member(status, "supervision")); /* of nothing */
    assert_number(status, "period_ns", 0);
    assert_text(status, "emulated_timer_control", "0x0000000000000000");
    g_autoptr(Json) list = json_of(&f, "hvtimerctl list --json");
    g_assert_cmpuint(json_object_array_length(list), ==, 2);
    assert_text(json_object_array_get_idx(list, 1), "name", "m1");
    fixture_down(&f);
}

/* 1/1024 s is kept exactly, although the property can't say it. */
static void test_enable(void)
{
    struct fixture f = {0};

    up(&f);
    g_assert_cmpint(fixture_run(&f, NULL, "hvtimerctl enable m0 --period 976.5625us --vector 0x50"),
                    ==, DONE);
    g_autoptr(Json) status = json_of(&f, "hvtimerctl status 1 --json");
    assert_number(status, "emulated_timer_period", 9766);
    assert_number(status, "period_ns", 976562.5);
    assert_text(status, "emulated_timer_control", "0x0000000000001050");
    g_assert_cmpint(fixture_run(&f, NULL,
                                "hvtimerctl enable m0 --period 1/64s --vector 0x61 --destination "
                                "logical:0x3 --delivery lowest --injector model"),
                    ==, DONE);
    g_autoptr(Json) second = json_of(&f, "hvtimerctl --json status m0");
    assert_text(second, "emulated_timer_control", "0x0300000000001961");
    assert_number(second, "period_ns", 15625000);

    g_assert_cmpint(fixture_run(&f, NULL, "hvtimerctl disable m0"), ==, DONE);
    g_autoptr(Json) third = json_of(&f, "hvtimerctl --json status m0");
    assert_text(third, "emulated_timer_control", "0x0300000000000961");
    assert_number(third, "emulated_timer_period", 156250);
    fixture_down(&f);
}

static void test_policy(void)
{
    struct fixture f = {0};

    up(&f);
    g_assert_cmpint(fixture_run(&f, NULL,
                                "hvtimerctl policy m0 --policy lazy --threshold 3 --slew 50 "
                                "--limit 1000 --on-resume catchup"),
                    ==, DONE);
    g_autoptr(Json) status = json_of(&f, "hvtimerctl --json status m0");
    assert_text(status, "policy.name", "lazy");
    assert_number(status, "policy.threshold", 3);
    assert_number(status, "policy.slew", 50);
    assert_number(status, "policy.limit_ms", 1000);
    assert_text(status, "policy.on_resume", "catchup");
    g_assert_cmpint(fixture_run(&f, NULL, "hvtimerctl policy m0 --slew 200"), ==, DONE);
    g_autoptr(Json) second = json_of(&f, "hvtimerctl --json status m0");
    assert_text(second, "policy.name", "lazy");
    assert_number(second, "policy.slew", 200);
    g_assert_cmpint(fixture_run(&f, NULL, "hvtimerctl policy m0 --slew 4"), !=, DONE);
    g_autoptr(Json) third = json_of(&f, "hvtimerctl --json status m0");
    assert_number(third, "policy.slew", 200);
    fixture_down(&f);
}

static void hold_model(struct fixture *f, guint64 microseconds)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GVariant) reply = g_dbus_connection_call_sync(
        f->connection, "org.hvtimer1", "/org/hvtimer1/partition/1", "org.hvtimer1.Model", "Hold",
        g_variant_new("(t)", microseconds), NULL, G_DBUS_CALL_FLAGS_NONE, -1, NULL, &error);

    g_assert_no_error(error);
}

static void test_reset_backlog(void)
{
    struct fixture f = {0};
    hvapi_statistics s;

    up(&f);
    g_assert_cmpint(fixture_run(&f, NULL, "hvtimerctl enable m0 --period 1ms --vector 0x50"), ==,
                    DONE);
    hold_model(&f, 60 * G_USEC_PER_SEC);
    test_wait_until(10, hvapi_get_statistics(1, &s) == HV_STATUS_SUCCESS && s.backlog >= 100);
    g_assert_cmpuint(s.clock_behind_ns, ==, s.backlog * 1000000);
    g_assert_cmpint(fixture_run(&f, NULL, "hvtimerctl reset-backlog m0"), ==, DONE);
    /* The engine obeys as soon as it runs. */
    test_wait_until(10, hvapi_get_statistics(1, &s) == HV_STATUS_SUCCESS && s.skipped >= 100);
    fixture_down(&f);
}

static void test_errors(void)
{
    static const struct {
        const char *command;
        int status;
        const char *says; /* in the message */
    } rows[] = {
        {"hvtimerctl", USAGE, ""},
        {"hvtimerctl frobnicate", USAGE, "frobnicate"},
        {"hvtimerctl status", USAGE, "DOMAIN"},
        {"hvtimerctl list too many", USAGE, ""},
        {"hvtimerctl list --colour", USAGE, "--colour"},
        {"hvtimerctl status nobody", NO_PARTITION, "nobody"},
        {"hvtimerctl get nobody EmulatedTimerPeriod", NO_PARTITION, "nobody"},
        {"hvtimerctl disable 4711", NO_PARTITION, "4711"},
        {"hvtimerctl get m0 EmulatedTimer", USAGE, "EmulatedTimer"},
        {"hvtimerctl set m0 EmulatedTimerPeriod 12x", USAGE, "12x"},
        {"hvtimerctl set m0 EmulatedTimerPeriod -1", USAGE, "-1"},
        {"hvtimerctl set m0 EmulatedTimerPeriod 1", FAILED, "period_min"},
        {"hvtimerctl set m0 EmulatedTimerControl 5", FAILED, "vector"},
        {"hvtimerctl set m0 EmulatedTimerControl vector=0x50,speed=3", USAGE, "speed"},
        {"hvtimerctl enable m0", USAGE, "--period"},
        {"hvtimerctl enable m0 --period 1parsec --vector 0x50", USAGE, "1parsec"},
        {"hvtimerctl enable m0 --period 1ms --vector 5", USAGE, "5"},
        {"hvtimerctl enable m0 --period 1us --vector 0x50", FAILED, "period_min"},
        {"hvtimerctl enable m0 --period 1ms --vector 0x50 --injector pin", UNSUPPORTED, "model"},
        {"hvtimerctl enable m0 --period 1ms --vector 0x50 --config", UNSUPPORTED, "libvirt"},
        {"hvtimerctl rtc m0", USAGE, "rtc takes DOMAIN slew|observe|off; 1 given"},
        {"hvtimerctl pit m0 slew observe", USAGE, "pit takes DOMAIN slew|observe|off; 3 given"},
        {"hvtimerctl rtc m0 quickly", USAGE, "'quickly' is not a mode; give slew, observe or off"},
        {"hvtimerctl pit m0 Slew --config", USAGE, "'Slew' is not a mode"},
        {"hvtimerctl rtc m0 ''", USAGE, "give slew, observe or off"},
        {"hvtimerctl rtc m0 slew --slowly", USAGE, "--slowly"},
        {"hvtimerctl rtc nobody slew", NO_PARTITION, "nobody"},
        {"hvtimerctl pit nobody off --config", NO_PARTITION, "nobody"},
        {"hvtimerctl policy m0 --policy frantic", FAILED, "frantic"},
        {"hvtimerctl policy m0 --threshold 0", FAILED, "threshold"},
        {"hvtimerctl --bus unix:path=/nowhere list", FAILED, "/nowhere"},
    };
    struct fixture f = {0};

    up(&f);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *output = NULL;
        g_assert_cmpint(fixture_run(&f, &output, "%s", rows[i].command), ==, rows[i].status);
        g_assert_nonnull(strstr(output, rows[i].says));
    }
    g_autoptr(Json) status = json_of(&f, "hvtimerctl --json status m0");
    assert_number(status, "emulated_timer_period", 0);
    assert_text(status, "emulated_timer_control", "0x0000000000000000");
    fixture_down(&f);
}

/* Without a daemon: said so, with what to do. */
static void test_no_daemon(void)
{
    g_autofree char *output = NULL;
    struct fixture f = {0};

    up(&f);
    g_assert_cmpint(fixture_stop_daemon(&f), ==, 0);
    g_assert_cmpint(fixture_run(&f, &output, "hvtimerctl list"), ==, FAILED);
    g_assert_nonnull(strstr(output, "hvtimerd"));
    fixture_down(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/hvtimerctl/status", test_status);
    g_test_add_func("/hvtimerctl/enable", test_enable);
    g_test_add_func("/hvtimerctl/policy", test_policy);
    g_test_add_func("/hvtimerctl/reset-backlog", test_reset_backlog);
    g_test_add_func("/hvtimerctl/errors", test_errors);
    g_test_add_func("/hvtimerctl/no-daemon", test_no_daemon);
    add_supervision_tests();
    return g_test_run();
}
