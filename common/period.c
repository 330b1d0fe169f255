/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Exact periods: ratios of 64-bit numbers, in lowest terms.
 */
#include "common/period.h"

__extension__ typedef unsigned __int128 uint128;

static uint64_t greatest_common_divisor(uint64_t a, uint64_t b)
{
    while (b != 0) {
        uint64_t rest = a % b;

        a = b;
        b = rest;
    }
    return a;
}

struct period period_from_units(uint64_t units)
{
    return (struct period){.numerator = units * PERIOD_UNIT_NS, .denominator = 1};
}

uint64_t period_to_units(struct period period)
{
    uint128 unit = (uint128)period.denominator * PERIOD_UNIT_NS;
    uint64_t units = (uint64_t)((period.numerator + unit / 2) / unit);

    /* 0 would mean that there is no timer. */
    return units == 0 && period.numerator != 0 ? 1 : units;
}

bool period_make(uint64_t numerator, uint64_t denominator, struct period *ret_period)
{
    if (denominator == 0) {
        return false;
    }

    uint64_t divisor = greatest_common_divisor(numerator, denominator);

    numerator /= divisor;
    denominator /= divisor;
    if (numerator >= PERIOD_PART_LIMIT || denominator >= PERIOD_PART_LIMIT) {
        return false;
    }

    *ret_period = (struct period){.numerator = numerator, .denominator = denominator};
    return true;
}

double period_ns(struct period period)
{
    return (double)period.numerator / (double)period.denominator;
}

bool period_equal(struct period a, struct period b)
{
    return (uint128)a.numerator * b.denominator == (uint128)b.numerator * a.denominator;
}
