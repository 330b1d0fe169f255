/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The text forms of periods, numbers and Controls, read strictly: no sign, no blanks, nothing
 * behind.
 */
#include "common/values.h"

#include <hvapi/hvgdk.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#define NS_PER_S UINT64_C(1000000000)

/* Takes the digits at *@text, at least one, as further digits of *@number; *@scale, unless NULL,
 * grows tenfold with each. False also if there are too many. */
static bool take_digits(const char **text, uint64_t *number, uint64_t *scale)
{
    const char *start = *text;

    for (; g_ascii_isdigit(**text); (*text)++) {
        uint64_t digit = (uint64_t)g_ascii_digit_value(**text);

        if (__builtin_mul_overflow(*number, 10, number) ||
            __builtin_add_overflow(*number, digit, number) ||
            (scale != NULL && __builtin_mul_overflow(*scale, 10, scale))) {
            return false;
        }
    }
    return *text != start;
}

/* Takes "5", "1.25" or "1/1024" at *@text. */
static bool take_ratio(const char **text, uint64_t *ret_numerator, uint64_t *ret_denominator)
{
    uint64_t numerator = 0, denominator = 1;

    if (!take_digits(text, &numerator, NULL)) {
        return false;
    }
    if (**text == '.') {
        (*text)++;
        if (!take_digits(text, &numerator, &denominator)) {
            return false;
        }
    } else if (**text == '/') {
        (*text)++;
        denominator = 0;
        if (!take_digits(text, &denominator, NULL)) {
            return false;
        }
    }
    *ret_numerator = numerator;
    *ret_denominator = denominator;
    return true;
}

/* numerator / denominator * factor. False if that can't be kept exactly. */
static bool make_scaled(uint64_t numerator, uint64_t denominator, uint64_t factor,
                        struct period *ret_period)
{
    struct period ratio, rest;
    uint64_t product;

    /* Both reductions come before the product, so that it overflows only if the result does. */
    return period_make(numerator, denominator, &ratio) &&
           period_make(factor, ratio.denominator, &rest) &&
           !__builtin_mul_overflow(ratio.numerator, rest.numerator, &product) &&
           period_make(product, rest.denominator, ret_period);
}

/* NULL, or what is wrong with @text. */
static const char *read_period(const char *text, struct period *ret_period)
{
    static const struct {
        const char *name;
        uint64_t ns;
    } units[] = {{"ns", 1}, {"us", 1000}, {"ms", 1000000}, {"s", NS_PER_S}};
    uint64_t numerator, denominator, unit_ns = 0;

    if (!take_ratio(&text, &numerator, &denominator)) {
        return "a number is missing in it, or too long";
    }
    for (size_t i = 0; i < G_N_ELEMENTS(units); i++) {
        if (g_str_equal(text, units[i].name)) {
            unit_ns = units[i].ns;
        }
    }
    if (g_str_equal(text, "Hz")) {
        uint64_t swap = numerator;

        numerator = denominator;
        denominator = swap;
        unit_ns = NS_PER_S;
    }
    if (unit_ns == 0) {
        return *text == '\0' ? "its unit is missing" : "it does not end in a known unit";
    }
    if (numerator == 0 || denominator == 0) {
        return "a part of it is zero";
    }
    if (!make_scaled(numerator, denominator, unit_ns, ret_period)) {
        return "it is too long or too fine to be kept exactly";
    }
    return NULL;
}

gboolean value_parse_period(const char *text, struct period *ret_period, GError **error)
{
    const char *problem = read_period(text, ret_period);

    if (problem != NULL) {
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "'%s' is not a period: %s; give a number or a ratio with a unit "
                    "(ns, us, ms, s or Hz), such as 976.5625us, 1/1024s or 1024Hz",
                    text, problem);
    }
    return problem == NULL;
}

gboolean value_parse_number(const char *what, const char *text, uint64_t min, uint64_t max,
                            uint64_t *ret_number, GError **error)
{
    gboolean hex = g_str_has_prefix(text, "0x");
    g_autoptr(GError) reason = NULL;

    if (g_ascii_string_to_unsigned(hex ? text + 2 : text, hex ? 16 : 10, min, max, ret_number,
                                   &reason)) {
        return TRUE;
    }

    g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                "%s: '%s' is %s; give a number from %" PRIu64 " to %" PRIu64
                ", in decimal or as 0x...",
                what, text,
                g_error_matches(reason, G_NUMBER_PARSER_ERROR, G_NUMBER_PARSER_ERROR_OUT_OF_BOUNDS)
                    ? "out of range"
                    : "not a number",
                min, max);
    return FALSE;
}

gboolean value_parse_destination(const char *text, uint64_t *ret_bits, GError **error)
{
    gboolean logical = g_str_has_prefix(text, "logical:");
    uint64_t number;

    if (!logical && !g_str_has_prefix(text, "physical:")) {
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "'%s' is not a destination; give physical:N or logical:N, "
                    "such as physical:0 or logical:0x3",
                    text);
        return FALSE;
    }
    if (!value_parse_number("destination", strchr(text, ':') + 1, 0, UINT32_MAX, &number, error)) {
        return FALSE;
    }
    /* The wide layout is told by its bits 55:32: a destination that leaves them 0 would be read
     * as the narrow one. */
    if (number > UINT8_MAX && (number & 0xFFFFFF) == 0) {
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "'%s': a destination above 255 whose low 24 bits are all 0 has no form of its "
                    "own in EmulatedTimerControl; give another one",
                    text);
        return FALSE;
    }

    HV_EMULATED_TIMER_CONTROL bits = {.AsUINT64 = number << (number > UINT8_MAX ? 32 : 56)};

    bits.LogicalDestinationMode = logical ? 1 : 0;
    *ret_bits = bits.AsUINT64;
    return TRUE;
}

gboolean value_parse_delivery(const char *text, uint64_t *ret_bits, GError **error)
{
    HV_EMULATED_TIMER_CONTROL bits = {0};

    if (g_str_equal(text, "lowest")) {
        bits.DeliveryMode = HV_EMULATED_TIMER_DELIVERY_LOWEST_PRIORITY;
    } else if (!g_str_equal(text, "fixed")) {
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "'%s' is not a delivery mode; give fixed or lowest", text);
        return FALSE;
    }
    *ret_bits = bits.AsUINT64;
    return TRUE;
}

static gboolean parse_vector(const char *text, uint64_t *ret_bits, GError **error)
{
    return value_parse_number("vector", text, 0, UINT8_MAX, ret_bits, error);
}

/* @text: what follows the word "enabled". */
static gboolean parse_enabled(const char *text, uint64_t *ret_bits, GError **error)
{
    if (*text != '\0') {
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "'enabled' takes no value, and '%s' follows it", text);
        return FALSE;
    }
    *ret_bits = HV_EMULATED_TIMER_CONTROL_ENABLED;
    return TRUE;
}

/* One item of a list. @seen has a bit for each kind of item already met. */
static gboolean parse_control_item(const char *item, unsigned *seen, uint64_t *control,
                                   GError **error)
{
    static const struct {
        const char *prefix;
        gboolean (*parse)(const char *text, uint64_t *ret_bits, GError **error);
    } kinds[] = {{"vector=", parse_vector},
                 {"destination=", value_parse_destination},
                 {"delivery=", value_parse_delivery},
                 {"enabled", parse_enabled}};

    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
        uint64_t bits;

        if (!g_str_has_prefix(item, kinds[i].prefix)) {
            continue;
        }
        if (*seen & (1u << i)) {
            g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                        "'%s' is given a second time; give it once", item);
            return FALSE;
        }
        if (!kinds[i].parse(item + strlen(kinds[i].prefix), &bits, error)) {
            return FALSE;
        }
        *seen |= 1u << i;
        *control |= bits;
        return TRUE;
    }
    g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                "'%s' is not a part of it; give a number, or vector=N, "
                "destination=physical:N or logical:N, delivery=fixed or lowest, enabled, "
                "with commas between them",
                item);
    return FALSE;
}

static gboolean parse_control_list(const char *text, uint64_t *ret_control, GError **error)
{
    g_auto(GStrv) items = g_strsplit(text, ",", 0);
    unsigned seen = 0;
    uint64_t control = 0;

    for (char **item = items; *item; item++) {
        if (!parse_control_item(*item, &seen, &control, error)) {
            g_prefix_error(error, "EmulatedTimerControl '%s': ", text);
            return FALSE;
        }
    }
    *ret_control = control;
    return TRUE;
}

gboolean value_parse_control(const char *text, uint64_t *ret_control, GError **error)
{
    /* No item begins with a digit; and "" is an empty list to g_strsplit(). */
    if (*text == '\0' || g_ascii_isdigit(*text)) {
        return value_parse_number("EmulatedTimerControl", text, 0, UINT64_MAX, ret_control, error);
    }
    return parse_control_list(text, ret_control, error);
}

char *value_format_control(uint64_t control)
{
    static const char *const deliveries[] = {"fixed", "lowest", "2", "3", "4", "5", "6", "7"};
    HV_EMULATED_TIMER_CONTROL bits = {.AsUINT64 = control};

    return g_strdup_printf(bits.LogicalDestinationMode
                               ? "vector=0x%02x,destination=logical:0x%" PRIx32 ",delivery=%s%s"
                               : "vector=0x%02x,destination=physical:%" PRIu32 ",delivery=%s%s",
                           (unsigned)bits.Vector, value_control_destination(control),
                           deliveries[bits.DeliveryMode], bits.Enabled ? ",enabled" : "");
}

uint32_t value_control_destination(uint64_t control)
{
    HV_EMULATED_TIMER_CONTROL narrow = {.AsUINT64 = control};
    HV_EMULATED_TIMER_CONTROL_WIDE wide = {.AsUINT64 = control};

    return narrow.Reserved2 != 0 ? (uint32_t)wide.Mda : (uint32_t)narrow.Mda;
}
