/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Hyper-V's rules for the two properties of a partition. Every change is carried out on a fake
 * timer, so that what is tested is what a caller relies on: that the timer then does what the
 * properties say, and did not start anew unless it had to.
 */
#include "daemon/partition.h"
#include <glib.h>

#define PERIOD  HvPartitionPropertyEmulatedTimerPeriod
#define CONTROL HvPartitionPropertyEmulatedTimerControl
#define ENABLED UINT64_C(0x1000)
#define MDA(id) ((uint64_t)(id) << 56)

/* 100 us to 60 s. */
static const struct partition_limits limits = {.period_min = 1000, .period_max = 600000000};

/* A partition, and the timer that its changes were carried out on. */
struct rig {
    struct partition partition;
    bool running;
    unsigned starts; /* how often it was started, and so its next tick put off */
    struct period period;
    uint64_t route;
};

static void rig_init(struct rig *rig, bool wide_mda)
{
    *rig = (struct rig){.running = false};
    partition_init(&rig->partition, wide_mda);
}

static uint64_t rig_get(const struct rig *rig, uint32_t code)
{
    uint64_t value = 0xdeadbeef;

    g_assert_cmphex(partition_get(&rig->partition, code, &value), ==, HV_STATUS_SUCCESS);
    return value;
}

#define assert_properties(rig, period, control)              \
    do {                                                     \
        g_assert_cmpuint(rig_get(rig, PERIOD), ==, period);  \
        g_assert_cmphex(rig_get(rig, CONTROL), ==, control); \
    } while (0)

/* Whatever was asked for: the timer does what the properties say. */
static void rig_check(const struct rig *rig)
{
    bool enabled = rig_get(rig, CONTROL) & ENABLED;

    g_assert_true(partition_runs(&rig->partition) == rig->running);
    g_assert_true(rig->running == (enabled && rig_get(rig, PERIOD) != 0));
    if (rig->running) {
        g_assert_true(period_equal(rig->period, rig->partition.period));
        g_assert_cmphex(rig->route, ==, rig_get(rig, CONTROL) & ~ENABLED);
    }
}

static void rig_obey(struct rig *rig, const struct partition_change *change)
{
    g_assert_false(change->start && change->stop);
    if (change->route) {
        g_assert_cmphex(change->control & 0xff, >=, 16);
        rig->route = change->control & ~ENABLED;
    }
    if (change->start) {
        rig->running = true;
        rig->period = change->period;
        rig->starts++;
    }
    if (change->stop) {
        rig->running = false;
    }
    partition_commit(&rig->partition, change);
    rig_check(rig);
}

static HV_STATUS rig_finish(struct rig *rig, HV_STATUS status,
                            const struct partition_change *change)
{
    if (status == HV_STATUS_SUCCESS) {
        rig_obey(rig, change);
    }
    return status;
}

static HV_STATUS rig_try(struct rig *rig, uint32_t code, uint64_t value)
{
    struct partition_change change;

    return rig_finish(rig, partition_set(&rig->partition, &limits, code, value, &change), &change);
}

static void rig_set(struct rig *rig, uint32_t code, uint64_t value)
{
    g_assert_cmphex(rig_try(rig, code, value), ==, HV_STATUS_SUCCESS);
}

/* Runs, 1 ms, vector 0x50, to APIC id 0; started once. */
static void rig_init_running(struct rig *rig, bool wide_mda)
{
    rig_init(rig, wide_mda);
    rig_set(rig, PERIOD, 10000);
    rig_set(rig, CONTROL, 0x1050);
    g_assert_true(rig->running);
    g_assert_cmpuint(rig->starts, ==, 1);
}

/* Rule 2 */
static void test_period_zero(void)
{
    struct rig rig;

    rig_init_running(&rig, false);
    rig_set(&rig, CONTROL, MDA(3) | 0x1951);
    rig_set(&rig, PERIOD, 0);
    g_assert_false(rig.running);
    assert_properties(&rig, 0, MDA(3) | 0x951);

    /* Enabled is gone for good: a period alone starts nothing. */
    rig_set(&rig, PERIOD, 10000);
    g_assert_false(rig.running);
    g_assert_cmpuint(rig.starts, ==, 1);
    rig_set(&rig, CONTROL, MDA(3) | 0x1951);
    g_assert_cmpuint(rig.starts, ==, 2);

    rig_init(&rig, false); /* where it still waited for a period */
    rig_set(&rig, CONTROL, 0x1050);
    rig_set(&rig, PERIOD, 0);
    assert_properties(&rig, 0, 0x50);
    rig_set(&rig, PERIOD, 10000);
    g_assert_cmpuint(rig.starts, ==, 0);
}

/* Rule 3 */
static void test_period_then_control(void)
{
    struct rig rig;

    rig_init(&rig, false);
    rig_set(&rig, PERIOD, 10000);
    g_assert_cmpuint(rig.starts, ==, 0);
    rig_set(&rig, CONTROL, 0x50);
    g_assert_cmpuint(rig.starts, ==, 0);
    rig_set(&rig, CONTROL, 0x1050);
    g_assert_cmpuint(rig.starts, ==, 1);
    g_assert_cmphex(rig.route, ==, 0x50);
    g_assert_cmpuint(rig.period.numerator, ==, 1000000);
    g_assert_cmpuint(rig.period.denominator, ==, 1);
    assert_properties(&rig, 10000, 0x1050);
}

/* Rule 4 */
static void test_control_then_period(void)
{
    struct rig rig;

    rig_init(&rig, false);
    rig_set(&rig, CONTROL, 0x1050);
    g_assert_cmpuint(rig.starts, ==, 0);
    assert_properties(&rig, 0, 0x1050);
    rig_set(&rig, PERIOD, 10000);
    g_assert_cmpuint(rig.starts, ==, 1);
    g_assert_true(rig.running);
    g_assert_cmphex(rig.route, ==, 0x50);
}

/* Rule 4 */
static void test_new_period_starts_anew(void)
{
    struct rig rig;

    rig_init_running(&rig, false);
    rig_set(&rig, PERIOD, 20000);
    g_assert_cmpuint(rig.starts, ==, 2);
    g_assert_cmpuint(rig.period.numerator, ==, 2000000);
    rig_set(&rig, PERIOD, 20000);
    g_assert_cmpuint(rig.starts, ==, 3);
    assert_properties(&rig, 20000, 0x1050);
}

/* Rule 5: without starting anew, or the ticks missed so far would be lost. */
static void test_control_changes_while_enabled(void)
{
    static const uint64_t controls[] = {
        0x1051,            /* vector */
        0x1151,            /* lowest priority */
        0x1951,            /* logical */
        MDA(7) | 0x1951,   /* destination */
        MDA(255) | 0x19ff, /* all of them */
        0x1010,            /* the lowest vector there is */
    };
    struct rig rig;

    rig_init_running(&rig, false);
    for (size_t i = 0; i < G_N_ELEMENTS(controls); i++) {
        rig_set(&rig, CONTROL, controls[i]);
        g_assert_true(rig.running);
        g_assert_cmpuint(rig.starts, ==, 1);
        g_assert_cmphex(rig.route, ==, controls[i] & ~ENABLED);
        assert_properties(&rig, 10000, controls[i]);

        rig_set(&rig, CONTROL, controls[i]); /* nothing new */
        g_assert_cmpuint(rig.starts, ==, 1);
    }
}

static void test_disable_and_enable(void)
{
    struct rig rig;

    rig_init_running(&rig, false);
    rig_set(&rig, CONTROL, 0x50);
    g_assert_false(rig.running);
    assert_properties(&rig, 10000, 0x50);
    rig_set(&rig, CONTROL, 0x1050);
    g_assert_true(rig.running);
    g_assert_cmpuint(rig.starts, ==, 2);

    /* Another destination while it is disabled is in force when it is enabled. */
    rig_set(&rig, CONTROL, 0x60);
    rig_set(&rig, CONTROL, MDA(2) | 0x61);
    rig_set(&rig, CONTROL, MDA(2) | 0x1061);
    g_assert_cmpuint(rig.starts, ==, 3);
    g_assert_cmphex(rig.route, ==, MDA(2) | 0x61);
}

/* Rule 7 */
struct bad_row {
    const char *name;
    uint32_t code;
    uint64_t value;
    HV_STATUS status;
};

static const struct bad_row bad_rows[] = {
    {"period-1", PERIOD, 1, 0xa},
    {"period-below", PERIOD, 999, 0xa},
    {"period-above", PERIOD, 600000001, 0xa},
    {"period-part-limit", PERIOD, PERIOD_PART_LIMIT / 100, 0xa},
    {"period-overflows-to-100us", PERIOD, UINT64_MAX / 100 + 1001, 0xa},
    {"period-sign-bit-and-10000", PERIOD, (UINT64_C(1) << 63) + 10000, 0xa},
    {"period-max", PERIOD, UINT64_MAX, 0xa},
    {"vector-0", CONTROL, 0x1000, 0x5},
    {"vector-0-destination", CONTROL, MDA(1), 0x5},
    {"vector-15", CONTROL, 0x100f, 0x5},
    {"vector-15-disabled", CONTROL, 0x000f, 0x5},
    {"delivery-smi", CONTROL, 0x1250, 0x5},
    {"delivery-nmi", CONTROL, 0x1450, 0x5},
    {"delivery-extint", CONTROL, 0x1750, 0x5},
    {"delivery-nmi-disabled", CONTROL, 0x0450, 0x5},
    {"reserved-13", CONTROL, 0x3050, 0x5},
    {"reserved-31", CONTROL, 0x80001050, 0x5},
    {"reserved-32", CONTROL, 0x0000000100001050, 0x5},
    {"reserved-55", CONTROL, 0x0080000000001050, 0x5},
    {"control-max", CONTROL, UINT64_MAX, 0x5},
    {"pm-timer-assist", HvPartitionPropertyPmTimerAssist, 0, 0x9},
    {"code-3", 0x00030003, 10000, 0x9},
    {"code-max", UINT32_MAX, 10000, 0x9},
};

static void test_bad_value(gconstpointer data)
{
    const struct bad_row *row = data;
    struct rig rig;

    rig_init(&rig, false);
    g_assert_cmphex(rig_try(&rig, row->code, row->value), ==, row->status);
    assert_properties(&rig, 0, 0);

    rig_init_running(&rig, false);
    g_assert_cmphex(rig_try(&rig, row->code, row->value), ==, row->status);
    assert_properties(&rig, 10000, 0x1050);
    g_assert_true(partition_runs(&rig.partition));

    rig_set(&rig, CONTROL, MDA(9) | 0x51);
    g_assert_cmphex(rig_try(&rig, row->code, row->value), ==, row->status);
    assert_properties(&rig, 10000, MDA(9) | 0x51);
}

/* @limits with the value asked for; 0 is "no timer" whatever the limits. */
static void test_period_limits(void)
{
    static const struct {
        uint64_t min, max, value;
        HV_STATUS status;
    } rows[] = {
        {1000, 600000000, 1000, 0},
        {1000, 600000000, 600000000, 0},
        {10000, 10000, 9999, 0xa},
        {10000, 10000, 10000, 0},
        {10000, 10000, 10001, 0xa},
        {10000, 10000, 0, 0},
        {1, UINT64_C(864000000000), 1, 0},
        {1, UINT64_C(864000000000), UINT64_C(864000000000), 0},
        {1, UINT64_C(864000000000), UINT64_C(864000000001), 0xa},
        {1, UINT64_C(864000000000), UINT64_MAX, 0xa},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        struct partition_limits own = {.period_min = rows[i].min, .period_max = rows[i].max};
        struct partition_change change;
        struct rig rig;

        rig_init_running(&rig, false);
        g_assert_cmphex(partition_set(&rig.partition, &own, PERIOD, rows[i].value, &change), ==,
                        rows[i].status);
        if (rows[i].status == HV_STATUS_SUCCESS) {
            rig_obey(&rig, &change);
            g_assert_cmpuint(rig_get(&rig, PERIOD), ==, rows[i].value);
        } else {
            g_assert_cmpuint(rig_get(&rig, PERIOD), ==, 10000);
        }
    }
}

/* A 32-bit destination is for those who can bring a tick there. */
static void test_wide_destinations(void)
{
    static const uint64_t controls[] = {
        0x0000000100001050, 0x0000010000001050, 0x0080000000001850,
        0xffffffff00001050, 0x1234567800001951, 0x0001000000000050,
    };
    struct rig narrow, wide;

    rig_init_running(&narrow, false);
    rig_init_running(&wide, true);
    for (size_t i = 0; i < G_N_ELEMENTS(controls); i++) {
        g_assert_cmphex(rig_try(&narrow, CONTROL, controls[i]), ==, HV_STATUS_INVALID_PARAMETER);
        assert_properties(&narrow, 10000, 0x1050);
        rig_set(&wide, CONTROL, controls[i]);
        assert_properties(&wide, 10000, controls[i]);
    }

    /* All else stays forbidden there, and the narrow layout allowed. */
    g_assert_cmphex(rig_try(&wide, CONTROL, 0x1234567800003050), ==, HV_STATUS_INVALID_PARAMETER);
    g_assert_cmphex(rig_try(&wide, CONTROL, 0x123456780000100f), ==, HV_STATUS_INVALID_PARAMETER);
    g_assert_cmphex(rig_try(&wide, CONTROL, 0x1234567800001250), ==, HV_STATUS_INVALID_PARAMETER);
    g_assert_cmphex(rig_try(&wide, CONTROL, 0x1234567800000000), ==, HV_STATUS_INVALID_PARAMETER);
    rig_set(&wide, CONTROL, MDA(4) | 0x1050);
    assert_properties(&wide, 10000, MDA(4) | 0x1050);
}

/* Rule 1; and what a partition began with can always be written back. */
static void test_zeros(void)
{
    for (int wide_mda = 0; wide_mda < 2; wide_mda++) {
        struct rig rig;

        rig_init(&rig, wide_mda);
        assert_properties(&rig, 0, 0);
        g_assert_false(partition_runs(&rig.partition));
        rig_set(&rig, CONTROL, 0);
        assert_properties(&rig, 0, 0);

        rig_init_running(&rig, wide_mda);
        rig_set(&rig, CONTROL, 0);
        assert_properties(&rig, 10000, 0);
        rig_set(&rig, CONTROL, 0);
        rig_set(&rig, CONTROL, 0x1050);
        g_assert_cmpuint(rig.starts, ==, 2);
        g_assert_cmphex(rig.route, ==, 0x50);
    }
}

/* Rule 6 */
static void test_unknown_codes(void)
{
    struct rig rig;
    uint64_t value;

    rig_init_running(&rig, true);
    g_assert_cmphex(partition_get(&rig.partition, HvPartitionPropertyPmTimerAssist, &value), ==,
                    HV_STATUS_UNKNOWN_PROPERTY);
    for (unsigned i = 0; i < 10000; i++) {
        uint32_t code = (uint32_t)g_test_rand_int();

        if (i % 2) {
            code = 0x00030000 ^ (UINT32_C(1) << (code % 32)) ^ (code & 1);
        }
        if (code == PERIOD || code == CONTROL) {
            continue;
        }
        g_assert_cmphex(partition_get(&rig.partition, code, &value), ==,
                        HV_STATUS_UNKNOWN_PROPERTY);
        g_assert_cmphex(rig_try(&rig, code, 20000), ==, HV_STATUS_UNKNOWN_PROPERTY);
    }
    assert_properties(&rig, 10000, 0x1050);
}

static void test_uncommitted_change(void)
{
    struct partition_change change;
    struct rig rig;
    struct period exact;

    g_assert_true(period_make(1953125, 2, &exact));
    rig_init_running(&rig, false);
    g_assert_cmphex(partition_set(&rig.partition, &limits, PERIOD, 20000, &change), ==, 0);
    g_assert_cmphex(partition_set(&rig.partition, &limits, PERIOD, 0, &change), ==, 0);
    g_assert_cmphex(partition_set(&rig.partition, &limits, CONTROL, 0x1066, &change), ==, 0);
    g_assert_cmphex(partition_set(&rig.partition, &limits, CONTROL, 0, &change), ==, 0);
    g_assert_cmphex(partition_set_both(&rig.partition, &limits, exact, 0x1066, &change), ==, 0);
    partition_reset(&rig.partition, false, &change);
    assert_properties(&rig, 10000, 0x1050);
    rig_check(&rig);

    /* A route that could not be brought into force is asked for again. */
    g_assert_cmphex(partition_set(&rig.partition, &limits, CONTROL, 0x1066, &change), ==, 0);
    rig_set(&rig, CONTROL, 0x1066);
    g_assert_cmphex(rig.route, ==, 0x66);
}

static void test_guest_reset(void)
{
    struct partition_change change;
    struct rig rig;

    rig_init_running(&rig, false);
    partition_reset(&rig.partition, false, &change);
    rig_obey(&rig, &change);
    g_assert_false(rig.running);
    assert_properties(&rig, 10000, 0x50);
    rig_set(&rig, CONTROL, 0x1050);
    g_assert_cmpuint(rig.starts, ==, 2);

    rig_init(&rig, false);
    rig_set(&rig, CONTROL, MDA(1) | 0x1050); /* enabled, but without a period */
    partition_reset(&rig.partition, false, &change);
    rig_obey(&rig, &change);
    rig_set(&rig, PERIOD, 10000);
    assert_properties(&rig, 10000, MDA(1) | 0x50);
    g_assert_cmpuint(rig.starts, ==, 0);
}

/* A reset takes the route away, so the same Control has to be routed again: at once if the timer is
 * kept, with the next enabling call if not. */
static void test_route_after_reset(void)
{
    struct partition_change change;
    struct rig rig;

    rig_init_running(&rig, false);
    partition_reset(&rig.partition, true, &change);
    g_assert_true(change.route && !change.start && !change.stop);
    rig_obey(&rig, &change);
    assert_properties(&rig, 10000, 0x1050);

    partition_reset(&rig.partition, false, &change);
    rig_obey(&rig, &change);
    g_assert_cmphex(partition_set(&rig.partition, &limits, CONTROL, 0x1050, &change), ==, 0);
    g_assert_true(change.route && change.start);
}

static HV_STATUS rig_try_both(struct rig *rig, uint64_t numerator, uint64_t denominator,
                              uint64_t control)
{
    struct partition_change change;
    struct period period;

    g_assert_true(period_make(numerator, denominator, &period));
    return rig_finish(rig, partition_set_both(&rig->partition, &limits, period, control, &change),
                      &change);
}

static void test_both_exact(void)
{
    static const struct {
        uint64_t hz, units;
    } rows[] = {
        {64, 156250}, {128, 78125}, {256, 39063}, {512, 19531}, {1000, 10000},
        {1024, 9766}, {2048, 4883}, {4096, 2441}, {8192, 1221}, {3, 3333333},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        struct rig rig;

        rig_init(&rig, false);
        g_assert_cmphex(rig_try_both(&rig, 1000000000, rows[i].hz, 0x1050), ==, 0);
        g_assert_cmpuint(rig.starts, ==, 1);
        assert_properties(&rig, rows[i].units, 0x1050);
        g_assert_cmpuint(rig.period.numerator * rows[i].hz, ==,
                         rig.period.denominator * 1000000000);
    }
}

static void test_both(void)
{
    struct rig rig;

    rig_init(&rig, false);
    g_assert_cmphex(rig_try_both(&rig, 1953125, 2, 0x50), ==, 0);
    g_assert_false(rig.running);
    assert_properties(&rig, 9766, 0x50);
    rig_set(&rig, CONTROL, 0x1050); /* the exact period, not the one that is read */
    g_assert_cmpuint(rig.period.numerator, ==, 1953125);
    g_assert_cmpuint(rig.period.denominator, ==, 2);

    g_assert_cmphex(rig_try_both(&rig, 15625000, 1, MDA(2) | 0x1951), ==, 0);
    g_assert_cmpuint(rig.starts, ==, 2);
    g_assert_cmphex(rig.route, ==, MDA(2) | 0x951);
    assert_properties(&rig, 156250, MDA(2) | 0x1951);
}

/* One bad half, and neither is taken. */
static void test_both_bad(void)
{
    struct rig rig;

    rig_init_running(&rig, false);
    g_assert_cmphex(rig_try_both(&rig, 0, 1, 0x1051), ==, 0xa);
    g_assert_cmphex(rig_try_both(&rig, 99900, 1, 0x1051), ==, 0xa);
    g_assert_cmphex(rig_try_both(&rig, 1, 3, 0x1051), ==, 0xa);
    g_assert_cmphex(rig_try_both(&rig, UINT64_C(60000000100), 1, 0x1051), ==, 0xa);
    g_assert_cmphex(rig_try_both(&rig, PERIOD_PART_LIMIT - 1, 1, 0x1051), ==, 0xa);
    g_assert_cmphex(rig_try_both(&rig, 2000000, 1, 0x100f), ==, 0x5);
    g_assert_cmphex(rig_try_both(&rig, 2000000, 1, 0x3050), ==, 0x5);
    g_assert_cmphex(rig_try_both(&rig, 2000000, 1, 0x1250), ==, 0x5);
    g_assert_cmphex(rig_try_both(&rig, 2000000, 1, 0x0000000100001050), ==, 0x5);
    g_assert_cmphex(rig_try_both(&rig, 99900, 1, 0x100f), !=, 0);
    assert_properties(&rig, 10000, 0x1050);
    g_assert_cmpuint(rig.starts, ==, 1);
    g_assert_cmphex(rig.route, ==, 0x50);
}

/* What ought to become of Control, told independently of the implementation. */
static bool control_is_good(uint64_t control, bool wide_mda)
{
    uint64_t delivery = control >> 8 & 7;

    if (control == 0) {
        return true;
    }
    return (control & 0xff) >= 16 && delivery <= 1 && (control & 0xffffe000) == 0 &&
           (wide_mda || (control & 0x00ffffff00000000) == 0);
}

static uint64_t random_control(void)
{
    uint64_t control = (uint64_t)g_test_rand_int_range(0, 0x2000);

    control &= ~UINT64_C(0x600) | -(uint64_t)(g_test_rand_int_range(0, 8) == 0);
    control |= MDA(g_test_rand_int_range(0, 3));
    if (g_test_rand_int_range(0, 8) == 0) {
        control ^= UINT64_C(1) << g_test_rand_int_range(0, 64);
    }
    return g_test_rand_int_range(0, 16) ? control : 0;
}

static uint64_t random_period(void)
{
    static const uint64_t periods[] = {0, 999, 1000, 10000, 9766, 600000000, 600000001, UINT64_MAX};

    return periods[g_test_rand_int_range(0, G_N_ELEMENTS(periods))];
}

/* Any sequence of writes: the values read and the timer are those of a model. */
static void test_random_writes(gconstpointer data)
{
    bool wide_mda = GPOINTER_TO_INT(data);
    uint64_t period = 0, control = 0;
    unsigned starts = 0;
    struct rig rig;

    rig_init(&rig, wide_mda);
    for (unsigned i = 0; i < 200000; i++) {
        if (g_test_rand_int_range(0, 2)) {
            uint64_t value = random_period();
            bool good = value == 0 || (value >= 1000 && value <= 600000000);

            g_assert_cmphex(rig_try(&rig, PERIOD, value), ==, good ? 0 : 0xa);
            period = good ? value : period;
            control &= value ? UINT64_MAX : ~ENABLED;
            starts += good && period && (control & ENABLED);
        } else {
            uint64_t value = random_control();
            bool good = control_is_good(value, wide_mda);

            g_assert_cmphex(rig_try(&rig, CONTROL, value), ==, good ? 0 : 0x5);
            starts += good && period && (value & ENABLED) && !(control & ENABLED);
            control = good ? value : control;
        }
        assert_properties(&rig, period, control);
        g_assert_cmpuint(rig.starts, ==, starts);
    }
    g_assert_cmpuint(starts, >, 1000);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/partition/period-zero", test_period_zero);
    g_test_add_func("/partition/period-then-control", test_period_then_control);
    g_test_add_func("/partition/control-then-period", test_control_then_period);
    g_test_add_func("/partition/new-period-starts-anew", test_new_period_starts_anew);
    g_test_add_func("/partition/control-while-enabled", test_control_changes_while_enabled);
    g_test_add_func("/partition/disable-and-enable", test_disable_and_enable);
    for (size_t i = 0; i < G_N_ELEMENTS(bad_rows); i++) {
        char *path = g_strdup_printf("/partition/bad/%s", bad_rows[i].name);

        g_test_add_data_func(path, &bad_rows[i], test_bad_value);
        g_free(path);
    }
    g_test_add_func("/partition/period-limits", test_period_limits);
    g_test_add_func("/partition/wide-destinations", test_wide_destinations);
    g_test_add_func("/partition/starts-as-zeros", test_zeros);
    g_test_add_func("/partition/unknown-codes", test_unknown_codes);
    g_test_add_func("/partition/uncommitted-change", test_uncommitted_change);
    g_test_add_func("/partition/guest-reset", test_guest_reset);
    g_test_add_func("/partition/route-after-reset", test_route_after_reset);
    g_test_add_func("/partition/both-exact", test_both_exact);
    g_test_add_func("/partition/both", test_both);
    g_test_add_func("/partition/both-bad", test_both_bad);
    g_test_add_data_func("/partition/random", GINT_TO_POINTER(false), test_random_writes);
    g_test_add_data_func("/partition/random-wide", GINT_TO_POINTER(true), test_random_writes);
    return g_test_run();
}
