/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What 'hvtimerctl verify' says of a host's kernel, of its clock, and of what limits its threads.
 */
#include "tests/unit/test-verify.h"

#include <sched.h>
#include <string.h>

static void test_kernel(struct fake *f, G_GNUC_UNUSED gconstpointer data)
{
    write_intel(f);
    write_file(f, RELEASE, "5.11.0\n");
    assert_finding(f, "kernel", FINDING_OK, "5.11.0");
    write_file(f, RELEASE, "10.0-rc1\n");
    assert_finding(f, "kernel", FINDING_OK, "10.0-rc1");
    write_file(f, RELEASE, "5.10.0-35-amd64\n");
    assert_finding(f, "kernel", FINDING_FAIL, "5.11 or later");
    write_file(f, RELEASE, "4.19.0-26-amd64\n");
    assert_finding(f, "kernel", FINDING_FAIL, "5.11 or later");
    write_file(f, RELEASE, "Linux\n");
    assert_finding(f, "kernel", FINDING_INFO, "unknown");
    remove_path(f, RELEASE);
    assert_finding(f, "kernel", FINDING_INFO, "unknown");
}

/* ---- the clock ---- */

static void test_clocksource(struct fake *f, G_GNUC_UNUSED gconstpointer data)
{
    write_intel(f);
    write_file(f, SOURCE, "kvm-clock\n"); /* nested */
    assert_finding(f, "clocksource", FINDING_OK, "kvm-clock");
    write_file(f, SOURCE, "hyperv_clocksource_tsc_page\n");
    assert_finding(f, "clocksource", FINDING_OK, "hyperv");
    /* Somebody chose it, though there is better. */
    write_file(f, SOURCE, "hpet\n");
    assert_finding(f, "clocksource", FINDING_WARN, "echo tsc > ");
    /* The kernel found the TSC to be bad: it can't be chosen. */
    write_file(f, SOURCES, "hpet acpi_pm \n");
    assert_finding(f, "clocksource", FINDING_WARN, "dmesg");
    write_file(f, SOURCE, "acpi_pm\n");
    remove_path(f, SOURCES);
    assert_finding(f, "clocksource", FINDING_WARN, "dmesg");
    write_file(f, SOURCE, "\n");
    assert_finding(f, "clocksource", FINDING_INFO, "nothing is known");
    remove_path(f, SOURCE);
    assert_finding(f, "clocksource", FINDING_INFO, "unknown");
}

static void test_tsc(struct fake *f, G_GNUC_UNUSED gconstpointer data)
{
    write_intel(f);
    write_cpu(f, "GenuineIntel", XEON, "fpu vmx constant_tsc", VMX_FLAGS);
    assert_finding(f, "tsc", FINDING_WARN, "does not have nonstop_tsc");
    assert_finding(f, "tsc", FINDING_WARN, "preemption_timer=0");
    write_cpu(f, "GenuineIntel", XEON, "fpu vmx hypervisor", VMX_FLAGS);
    assert_finding(f, "tsc", FINDING_WARN, "constant_tsc, nonstop_tsc");
    assert_finding(f, "tsc", FINDING_WARN, "invtsc");
    /* Nothing is timed by it but by Linux's leave. */
    write_file(f, TIMER, "N\n");
    assert_finding(f, "tsc", FINDING_INFO, "invtsc");
    write_amd(f, "N\n");
    write_cpu(f, "AuthenticAMD", 25, 1, 1, "fpu svm nonstop_tsc", NULL);
    assert_finding(f, "tsc", FINDING_INFO, "does not have constant_tsc");
    remove_path(f, CPU);
    assert_no_finding(f, "tsc");
}

static void test_timers(struct fake *f, G_GNUC_UNUSED gconstpointer data)
{
    write_intel(f);
    timer_resolution = 4000000; /* HZ=250 */
    assert_finding(f, "high-resolution-timers", FINDING_FAIL, "4000 us");
    write_file(f, SLACK, "1000000\n");
    assert_finding(f, "timer-slack", FINDING_OK, "1000000 ns for this process");
    remove_path(f, SLACK);
    assert_finding(f, "timer-slack", FINDING_OK, "none");
    write_hvtimerd(f, 0, SCHED_FIFO, "0-7");
    assert_finding(f, "timer-slack", FINDING_OK, "hvtimerd's");
}

/* ---- limits ---- */

static void test_rt_limit(struct fake *f, G_GNUC_UNUSED gconstpointer data)
{
    write_intel(f);
    assert_finding(f, "rt-throttling", FINDING_OK, "95 %");
    write_file(f, RUNTIME, "-1\n");
    assert_finding(f, "rt-throttling", FINDING_OK, "off");
    write_file(f, RUNTIME, "500000\n");
    assert_finding(f, "rt-throttling", FINDING_OK, "50 %");
    write_file(f, RUNTIME, "499999\n");
    assert_finding(f, "rt-throttling", FINDING_WARN, "sched_rt_runtime_us=950000 ");
    write_file(f, RUNTIME, "0\n");
    assert_finding(f, "rt-throttling", FINDING_WARN, "0 us of each 1000000 us");
    /* Of another period, so much of that. */
    write_file(f, RUNTIME, "10000\n");
    write_file(f, RTPERIOD, "100000\n");
    assert_finding(f, "rt-throttling", FINDING_WARN, "sched_rt_runtime_us=95000 ");
    write_file(f, RTPERIOD, "0\n");
    assert_finding(f, "rt-throttling", FINDING_WARN, "us of each 0 us");
    write_file(f, RTPERIOD, "long\n");
    assert_finding(f, "rt-throttling", FINDING_INFO, "unknown: " RTPERIOD " holds 'long'");
    remove_path(f, RUNTIME);
    assert_finding(f, "rt-throttling", FINDING_INFO, "unknown");
}

/* ---- the engine's CPU ---- */

static void test_cpu(struct fake *f, G_GNUC_UNUSED gconstpointer data)
{
    write_intel(f);
    assert_finding(f, "engine-cpu", FINDING_OK, "any");
    write_file(f, CONFIG, "{\"engine\": {\"cpu\": 3}}");
    assert_finding(f, "engine-cpu", FINDING_OK, "engine.cpu is 3");
    write_file(f, ISOLATED, "1,3-4\n");
    assert_finding(f, "engine-cpu", FINDING_INFO, "isolated");
    assert_finding(f, "engine-cpu", FINDING_INFO, "vcpupin");
    write_file(f, ISOLATED, "1-2,4-7\n");
    assert_finding(f, "engine-cpu", FINDING_OK, "engine.cpu is 3");
    /* A drop-in wins; the host has not as many. */
    write_file(f, DROP_IN "a.json", "{\"engine\": {\"cpu\": 8}}");
    write_file(f, DROP_IN "b.json~", "{\"engine\": {\"cpu\": 3}}");
    assert_finding(f, "engine-cpu", FINDING_WARN, "engine.cpu is 8; the host has 0-7");
    remove_path(f, ONLINE);
    assert_finding(f, "engine-cpu", FINDING_OK, "engine.cpu is 8");
}

/* The last by name holds, whatever order the directory has. */
static void test_drop_ins(struct fake *f, G_GNUC_UNUSED gconstpointer data)
{
    write_intel(f);
    for (unsigned i = 0; i < 8; i++) {
        g_autofree char *path = g_strdup_printf(DROP_IN "%u.json", i * 5 % 8);
        g_autofree char *text = g_strdup_printf("{\"engine\": {\"cpu\": %u}}", i * 5 % 8);
        g_autofree char *expected = NULL;

        write_file(f, path, text);
        expected = g_strdup_printf("engine.cpu is %u", (unsigned[]){0, 5, 5, 7, 7, 7, 7, 7}[i]);
        assert_finding(f, "engine-cpu", FINDING_OK, expected);
    }
}

/* Of a hvtimerd that runs. */
static void test_cpu_allowed(struct fake *f, G_GNUC_UNUSED gconstpointer data)
{
    write_intel(f);
    write_hvtimerd(f, 0, SCHED_FIFO, "0-1");
    assert_finding(f, "engine-cpu", FINDING_OK, "any of 0-1");
    write_file(f, CONFIG, "{\"engine\": {\"cpu\": 3}}");
    assert_finding(f, "engine-cpu", FINDING_WARN, "engine.cpu is 3; the engine may run on 0-1");
    write_hvtimerd(f, 0, SCHED_FIFO, "0-7"); /* the key is newer than it */
    assert_finding(f, "engine-cpu", FINDING_WARN, "systemctl restart hvtimerd");
    write_hvtimerd(f, 0, SCHED_FIFO, "3");
    assert_finding(f, "engine-cpu", FINDING_OK, "engine.cpu is 3");
}

/* ---- lists of CPUs ---- */

static void test_list(void)
{
    g_assert_true(host_list_has_cpu("0-3,8", 0));
    g_assert_true(host_list_has_cpu("0-3,8", 3));
    g_assert_true(host_list_has_cpu("0-3,8", 8));
    g_assert_false(host_list_has_cpu("0-3,8", 4));
    g_assert_false(host_list_has_cpu("0-3,8", 80));
    g_assert_false(host_list_has_cpu("", 0));
    g_assert_false(host_list_has_cpu("\n", 0));
    g_assert_false(host_list_has_cpu(NULL, 0));
}

void add_host_tests(void)
{
    g_test_add_func("/verify/host/list-of-cpus", test_list);
    add_verify_test("host/kernel", test_kernel);
    add_verify_test("host/clocksource", test_clocksource);
    add_verify_test("host/tsc", test_tsc);
    add_verify_test("host/timers", test_timers);
    add_verify_test("host/rt-limit", test_rt_limit);
    add_verify_test("host/cpu", test_cpu);
    add_verify_test("host/cpu-allowed", test_cpu_allowed);
    add_verify_test("host/drop-ins", test_drop_ins);
}
