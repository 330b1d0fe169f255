/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What people write, read exactly or refused by name; and the arithmetic of periods beneath.
 */
#include "common/values.h"

#include <hvapi/hvgdk.h>
#include <string.h>

/* Names @text and, unless NULL, @part. */
static void assert_refused(GError **error, const char *text, const char *part)
{
    g_assert_error(*error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE);
    g_test_message("%s", (*error)->message);
    g_assert_nonnull(strstr((*error)->message, text));
    if (part != NULL) {
        g_assert_nonnull(strstr((*error)->message, part));
    }
    g_clear_error(error);
}

static void test_period_make(void)
{
    struct period period = {.numerator = 7, .denominator = 7};

    g_assert_true(period_make(6, 4, &period));
    g_assert_cmpuint(period.numerator, ==, 3);
    g_assert_cmpuint(period.denominator, ==, 2);
    g_assert_false(period_make(6, 0, &period));
    g_assert_false(period_make(PERIOD_PART_LIMIT, 1, &period));
    g_assert_false(period_make(1, PERIOD_PART_LIMIT, &period));
    g_assert_cmpuint(period.numerator, ==, 3);

    g_assert_true(period_make(PERIOD_PART_LIMIT - 1, PERIOD_PART_LIMIT - 2, &period));
    g_assert_true(period_make(UINT64_MAX, UINT64_MAX, &period));
    g_assert_cmpuint(period.numerator, ==, 1);
    g_assert_true(period_make(0, 5, &period));
    g_assert_cmpuint(period.numerator, ==, 0);
    g_assert_cmpuint(period.denominator, ==, 1);
}

static void test_period_units(void)
{
    static const struct {
        uint64_t numerator, denominator, units;
    } rows[] = {
        {0, 1, 0},
        {1, 1, 1},
        {49, 1, 1},
        {149, 1, 1},
        {150, 1, 2},
        {1953125, 2, 9766},
        {1000000, 3, 3333},
        {PERIOD_PART_LIMIT - 1, 1, UINT64_C(46116860184273879)},
        {1, PERIOD_PART_LIMIT - 1, 1},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        struct period period = {rows[i].numerator, rows[i].denominator};

        g_assert_cmpuint(period_to_units(period), ==, rows[i].units);
    }
    for (uint64_t units = 0; units < 1000; units++) {
        g_assert_cmpuint(period_to_units(period_from_units(units)), ==, units);
    }
}

static void test_period_equal(void)
{
    const struct period large = {PERIOD_PART_LIMIT - 1, PERIOD_PART_LIMIT - 2};
    const struct period one = {1, 1};

    g_assert_true(period_equal((struct period){3, 2}, (struct period){6, 4}));
    g_assert_false(period_equal((struct period){3, 2}, (struct period){2, 3}));
    /* They differ by less than a double can tell. */
    g_assert_false(period_equal(large, one));
    g_assert_cmpfloat(period_ns(large), ==, period_ns(one));
    g_assert_cmpfloat(period_ns((struct period){1953125, 2}), ==, 976562.5);
}

static void test_period_text(void)
{
    static const struct {
        const char *text;
        uint64_t numerator, denominator;
    } rows[] = {
        {"976.5625us", 1953125, 2},
        {"1/1024s", 1953125, 2},
        {"1024Hz", 1953125, 2},
        {"0.0009765625s", 1953125, 2},
        {"100ns", 100, 1},
        {"1ms", 1000000, 1},
        {"001ms", 1000000, 1},
        {"0.5s", 500000000, 1},
        {"1.50ms", 1500000, 1},
        {"1/3us", 1000, 3},
        {"3/1ns", 3, 1},
        {"64Hz", 15625000, 1},
        {"1/2Hz", 2000000000, 1},
        {"18.2Hz", UINT64_C(5000000000), 91},
        {"1193182/65536Hz", UINT64_C(32768000000000), 596591},
        {"0.000000001s", 1, 1},
        {"0.000000000000000001s", 1, 1000000000},
        {"4611686018s", UINT64_C(4611686018000000000), 1},
        {"4611686018427387903ns", PERIOD_PART_LIMIT - 1, 1},
        {"4611686018.427387903s", PERIOD_PART_LIMIT - 1, 1},
        {"4611686018427387903Hz", 1000000000, PERIOD_PART_LIMIT - 1},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        struct period period = {0};
        g_autoptr(GError) error = NULL;

        g_test_message("%s", rows[i].text);
        g_assert_true(value_parse_period(rows[i].text, &period, &error));
        g_assert_no_error(error);
        g_assert_cmpuint(period.numerator, ==, rows[i].numerator);
        g_assert_cmpuint(period.denominator, ==, rows[i].denominator);
    }
}

static void test_period_refused(void)
{
    static const struct {
        const char *text, *part;
    } rows[] = {
        {"", "number is missing"},
        {"us", "number is missing"},
        {".5us", "number is missing"},
        {"5.us", "number is missing"},
        {"1/us", "number is missing"},
        {"-1us", "number is missing"},
        {"+1us", "number is missing"},
        {" 1us", "number is missing"},
        {"99999999999999999999us", "too long"},
        {"0.00000000000000000001s", "too long"},
        {"1/99999999999999999999us", "too long"},
        {"100", "unit is missing"},
        {"1 us", "known unit"},
        {"1us ", "known unit"},
        {"1US", "known unit"},
        {"1hz", "known unit"},
        {"1usec", "known unit"},
        {"1.5/3us", "known unit"},
        {"1/2/3us", "known unit"},
        {"1.5.3us", "known unit"},
        {"1e3us", "known unit"},
        {"0x10us", "known unit"},
        {"1,5us", "known unit"},
        {"0us", "zero"},
        {"0.0us", "zero"},
        {"0/5us", "zero"},
        {"1/0us", "zero"},
        {"0Hz", "zero"},
        {"1/0Hz", "zero"},
        {"4611686019s", "exactly"},
        {"4611686018427387904ns", "exactly"},
        {"1/4611686018427387904ns", "exactly"},
        {"18446744073709551615s", "exactly"},
        {"4611686018427387903/4611686018427387902s", "exactly"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        struct period period = {.numerator = 5, .denominator = 7};
        g_autofree char *quoted = g_strdup_printf("'%s'", rows[i].text);
        g_autoptr(GError) error = NULL;

        g_assert_false(value_parse_period(rows[i].text, &period, &error));
        assert_refused(&error, quoted, rows[i].part);
        g_assert_cmpuint(period.numerator, ==, 5);
        g_assert_cmpuint(period.denominator, ==, 7);
    }
}

static void test_number(void)
{
    static const struct {
        const char *text;
        uint64_t number;
    } good[] = {{"0", 0},
                {"10", 10},
                {"010", 10},
                {"0x50", 0x50},
                {"0xfF", 0xFF},
                {"18446744073709551615", UINT64_MAX},
                {"0xffffffffffffffff", UINT64_MAX}};
    static const char *const bad[] = {"",
                                      " ",
                                      "-1",
                                      "+1",
                                      " 1",
                                      "1 ",
                                      "1x",
                                      "0x",
                                      "0x-1",
                                      "0x 1",
                                      "0x0x1",
                                      "0b1",
                                      "1.0",
                                      "ten",
                                      "50h",
                                      "1e3",
                                      "0X50",
                                      "18446744073709551616",
                                      "0x10000000000000000"};

    for (size_t i = 0; i < G_N_ELEMENTS(good); i++) {
        uint64_t number = 77;
        g_autoptr(GError) error = NULL;

        g_assert_true(value_parse_number("it", good[i].text, 0, UINT64_MAX, &number, &error));
        g_assert_no_error(error);
        g_assert_cmpuint(number, ==, good[i].number);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        uint64_t number = 77;
        g_autofree char *quoted = g_strdup_printf("--slew: '%s'", bad[i]);
        g_autoptr(GError) error = NULL;

        g_assert_false(value_parse_number("--slew", bad[i], 0, UINT64_MAX, &number, &error));
        assert_refused(&error, quoted, NULL);
        g_assert_cmpuint(number, ==, 77);
    }
}

static void test_number_range(void)
{
    g_autoptr(GError) error = NULL;
    uint64_t number = 77;

    g_assert_true(value_parse_number("vector", "16", 16, 255, &number, &error));
    g_assert_true(value_parse_number("vector", "0xff", 16, 255, &number, &error));
    g_assert_cmpuint(number, ==, 255);
    g_assert_false(value_parse_number("vector", "15", 16, 255, &number, &error));
    assert_refused(&error, "vector: '15' is out of range", "from 16 to 255");
    g_assert_false(value_parse_number("vector", "256", 16, 255, &number, &error));
    assert_refused(&error, "vector: '256' is out of range", "from 16 to 255");
    g_assert_cmpuint(number, ==, 255);
}

static void test_control(void)
{
    static const struct {
        const char *text;
        uint64_t control;
    } rows[] = {
        {"0x1050", 0x1050},
        {"4176", 0x1050},
        {"0xffffffffffffffff", UINT64_MAX},
        {"vector=0x50", 0x50},
        {"vector=80,destination=physical:0,delivery=fixed,enabled", 0x1050},
        {"enabled,delivery=lowest,destination=logical:0x3,vector=0xfe", 0x03000000000019FE},
        {"destination=physical:255,vector=0", 0xFF00000000000000},
        {"destination=physical:256,vector=0x50", 0x0000010000000050},
        {"destination=logical:0xffffffff,vector=0x50", 0xFFFFFFFF00000850},
        {"enabled", 0x1000},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        uint64_t control = 0;
        g_autoptr(GError) error = NULL;

        g_test_message("%s", rows[i].text);
        g_assert_true(value_parse_control(rows[i].text, &control, &error));
        g_assert_no_error(error);
        g_assert_cmphex(control, ==, rows[i].control);
    }
}

static void test_control_refused(void)
{
    static const struct {
        const char *text, *part;
    } rows[] = {
        {"", "not a number"},
        {"0x1050,enabled", "not a number"},
        {"0x10000000000000000", "out of range"},
        {",", "'' is not a part"},
        {"enabled,", "'' is not a part"},
        {"enabled, vector=5", "' vector=5' is not a part"},
        {"Enabled", "'Enabled' is not a part"},
        {"vector", "'vector' is not a part"},
        {"mda=5", "'mda=5' is not a part"},
        {"-5", "'-5' is not a part"},
        {"vector=", "vector: '' is not a number"},
        {"vector=256", "vector: '256' is out of range"},
        {"enabled=1", "'enabled' takes no value, and '=1'"},
        {"vector=5,enabled,vector=5", "'vector=5' is given a second time"},
        {"enabled,enabled", "'enabled' is given a second time"},
        {"delivery=nmi", "'nmi' is not a delivery mode"},
        {"delivery=", "'' is not a delivery mode"},
        {"destination=0", "'0' is not a destination"},
        {"destination=physical:", "destination: '' is not a number"},
        {"destination=physical: 1", "destination: ' 1' is not a number"},
        {"destination=physical:4294967296", "destination: '4294967296' is out of range"},
        /* Written in the wide layout, it would be read as physical:1 of the narrow one. */
        {"destination=physical:0x1000000", "'physical:0x1000000'"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        uint64_t control = 77;
        g_autofree char *quoted = g_strdup_printf("'%s'", rows[i].text);
        g_autoptr(GError) error = NULL;

        g_assert_false(value_parse_control(rows[i].text, &control, &error));
        assert_refused(&error, quoted, rows[i].part);
        g_assert_cmpuint(control, ==, 77);
    }
}

/* What is printed is read back as the same. */
static void test_control_printed(void)
{
    static const struct {
        uint64_t control;
        const char *text;
    } rows[] = {
        {0, "vector=0x00,destination=physical:0,delivery=fixed"},
        {0x1050, "vector=0x50,destination=physical:0,delivery=fixed,enabled"},
        {0x03000000000019FE, "vector=0xfe,destination=logical:0x3,delivery=lowest,enabled"},
        {0xFF00000000000050, "vector=0x50,destination=physical:255,delivery=fixed"},
        {0x0000010000001050, "vector=0x50,destination=physical:256,delivery=fixed,enabled"},
        {0xFFFFFFFF00000850, "vector=0x50,destination=logical:0xffffffff,delivery=fixed"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *text = value_format_control(rows[i].control);
        uint64_t control = 77;

        g_assert_cmpstr(text, ==, rows[i].text);
        g_assert_true(value_parse_control(text, &control, NULL));
        g_assert_cmphex(control, ==, rows[i].control);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/period/make", test_period_make);
    g_test_add_func("/period/units", test_period_units);
    g_test_add_func("/period/equal", test_period_equal);
    g_test_add_func("/values/period", test_period_text);
    g_test_add_func("/values/period-refused", test_period_refused);
    g_test_add_func("/values/number", test_number);
    g_test_add_func("/values/number-range", test_number_range);
    g_test_add_func("/values/control", test_control);
    g_test_add_func("/values/control-refused", test_control_refused);
    g_test_add_func("/values/control-printed", test_control_printed);
    return g_test_run();
}
