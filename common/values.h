/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The text forms of values that people write and read: on the command line, in configuration.
 * Every error names the text given, what is wrong with it, and what would be right.
 */
#pragma once

#include "common/period.h"
#include <glib.h>
#include <stdint.h>

/* "976.5625us", "1ms", "0.5s", "100ns", "1/1024s", "1024Hz": a number or a ratio with a unit,
 * kept exactly. Errors: G_OPTION_ERROR_BAD_VALUE. */
gboolean value_parse_period(const char *text, struct period *ret_period, GError **error);

/* A number: decimal or 0x… (64 bits), without sign. @what names it in the error. */
gboolean value_parse_number(const char *what, const char *text, uint64_t min, uint64_t max,
                            uint64_t *ret_number, GError **error);

/* HV_EMULATED_TIMER_CONTROL, as a number, or as a list in any order of vector=N,
 * destination=physical:N|logical:N, delivery=fixed|lowest, enabled. A destination above 255
 * makes it the wide layout. */
gboolean value_parse_control(const char *text, uint64_t *ret_control, GError **error);

/* "physical:N" or "logical:N" into the bits of a Control: LogicalDestinationMode and Mda. */
gboolean value_parse_destination(const char *text, uint64_t *ret_bits, GError **error);

/* "fixed" or "lowest" into the bits of a Control. */
gboolean value_parse_delivery(const char *text, uint64_t *ret_bits, GError **error);

/* "vector=0x50,destination=physical:0,delivery=fixed,enabled". (transfer full) */
char *value_format_control(uint64_t control);

/* The destination in a Control of either layout: bits 63:56, or 63:32 where 55:32 are not 0. */
uint32_t value_control_destination(uint64_t control);
