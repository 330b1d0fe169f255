/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * <hvapi/hvgdk.h> against Microsoft's documents: sizes, codes, statuses and, byte for byte, the
 * layouts of EmulatedTimerControl. All expected numbers are written out, none is computed from
 * the header.
 */
#include <hvapi/hvgdk.h>
#include <glib.h>
#include <string.h>

/* One field at a time, at its largest and at a telling value. */
struct layout_row {
    const char *name;
    uint64_t vector, mode, logical, enabled, reserved1, reserved2, mda;
    uint64_t value;
    uint8_t bytes[8]; /* as they lie in memory */
};

static const struct layout_row narrow_rows[] = {
    {"zero", 0, 0, 0, 0, 0, 0, 0, 0, {0}},
    {"vector", 0xff, 0, 0, 0, 0, 0, 0, 0xff, {0xff}},
    {"delivery", 0, 7, 0, 0, 0, 0, 0, 0x700, {0, 0x07}},
    {"lowest", 0, 1, 0, 0, 0, 0, 0, 0x100, {0, 0x01}},
    {"logical", 0, 0, 1, 0, 0, 0, 0, 0x800, {0, 0x08}},
    {"enabled", 0, 0, 0, 1, 0, 0, 0, 0x1000, {0, 0x10}},
    {"reserved1", 0, 0, 0, 0, 0x7ffff, 0, 0, 0xffffe000, {0, 0xe0, 0xff, 0xff}},
    {"reserved2", 0, 0, 0, 0, 0, 0xffffff, 0, 0x00ffffff00000000, {0, 0, 0, 0, 0xff, 0xff, 0xff}},
    {"mda", 0, 0, 0, 0, 0, 0, 0xa5, 0xa500000000000000, {0, 0, 0, 0, 0, 0, 0, 0xa5}},
    {"documented", 0x50, 0, 0, 1, 0, 0, 0, 0x0000000000001050, {0x50, 0x10}},
    {"all", 0x31, 1, 1, 1, 0, 0, 0x03, 0x0300000000001931, {0x31, 0x19, 0, 0, 0, 0, 0, 0x03}},
};

static const struct layout_row wide_rows[] = {
    {"zero", 0, 0, 0, 0, 0, 0, 0, 0, {0}},
    {"vector", 0xff, 0, 0, 0, 0, 0, 0, 0xff, {0xff}},
    {"delivery", 0, 7, 0, 0, 0, 0, 0, 0x700, {0, 0x07}},
    {"logical", 0, 0, 1, 0, 0, 0, 0, 0x800, {0, 0x08}},
    {"enabled", 0, 0, 0, 1, 0, 0, 0, 0x1000, {0, 0x10}},
    {"reserved1", 0, 0, 0, 0, 0x7ffff, 0, 0, 0xffffe000, {0, 0xe0, 0xff, 0xff}},
    {"mda", 0, 0, 0, 0, 0, 0, 0xf2345678, 0xf234567800000000, {0, 0, 0, 0, 0x78, 0x56, 0x34, 0xf2}},
    {"documented", 0x50, 0, 0, 1, 0, 0, 0, 0x0000000000001050, {0x50, 0x10}},
};

/* The other way round, too: the value and the bytes give the fields. */
static void test_narrow_row(gconstpointer data)
{
    const struct layout_row *row = data;
    HV_EMULATED_TIMER_CONTROL written = {.AsUINT64 = 0}, read;

    written.Vector = row->vector;
    written.DeliveryMode = row->mode;
    written.LogicalDestinationMode = row->logical;
    written.Enabled = row->enabled;
    written.Reserved1 = row->reserved1;
    written.Reserved2 = row->reserved2;
    written.Mda = row->mda;
    g_assert_cmphex(written.AsUINT64, ==, row->value);
    g_assert_cmpmem(&written, sizeof written, row->bytes, sizeof row->bytes);

    memcpy(&read, row->bytes, sizeof read);
    g_assert_cmphex(read.Vector, ==, row->vector);
    g_assert_cmphex(read.DeliveryMode, ==, row->mode);
    g_assert_cmphex(read.LogicalDestinationMode, ==, row->logical);
    g_assert_cmphex(read.Enabled, ==, row->enabled);
    g_assert_cmphex(read.Reserved1, ==, row->reserved1);
    g_assert_cmphex(read.Reserved2, ==, row->reserved2);
    g_assert_cmphex(read.Mda, ==, row->mda);
}

static void test_wide_row(gconstpointer data)
{
    const struct layout_row *row = data;
    HV_EMULATED_TIMER_CONTROL_WIDE written = {.AsUINT64 = 0}, read;

    written.Vector = row->vector;
    written.DeliveryMode = row->mode;
    written.LogicalDestinationMode = row->logical;
    written.Enabled = row->enabled;
    written.Reserved1 = row->reserved1;
    written.Mda = row->mda;
    g_assert_cmphex(written.AsUINT64, ==, row->value);
    g_assert_cmpmem(&written, sizeof written, row->bytes, sizeof row->bytes);

    memcpy(&read, row->bytes, sizeof read);
    g_assert_cmphex(read.Vector, ==, row->vector);
    g_assert_cmphex(read.DeliveryMode, ==, row->mode);
    g_assert_cmphex(read.LogicalDestinationMode, ==, row->logical);
    g_assert_cmphex(read.Enabled, ==, row->enabled);
    g_assert_cmphex(read.Reserved1, ==, row->reserved1);
    g_assert_cmphex(read.Mda, ==, row->mda);
}

static void test_sizes(void)
{
    HV_EMULATED_TIMER_PERIOD period = {.AsUINT64 = 9766};
    static const uint8_t bytes[8] = {0x26, 0x26};

    g_assert_cmpuint(sizeof(HV_STATUS), ==, 2);
    g_assert_cmpuint(sizeof(HV_PARTITION_ID), ==, 8);
    g_assert_cmpuint(sizeof(HV_PARTITION_PROPERTY), ==, 8);
    g_assert_cmpuint(sizeof(HV_PARTITION_PROPERTY_CODE), ==, 4);
    g_assert_cmpuint(sizeof(HV_EMULATED_TIMER_PERIOD), ==, 8);
    g_assert_cmpuint(sizeof(HV_EMULATED_TIMER_CONTROL), ==, 8);
    g_assert_cmpuint(sizeof(HV_EMULATED_TIMER_CONTROL_WIDE), ==, 8);
    g_assert_cmpmem(&period, sizeof period, bytes, sizeof bytes);

    /* Unsigned, or a status above 0x7fff would compare wrongly. */
    g_assert_true((HV_STATUS)-1 > 0);
    g_assert_true((HV_PARTITION_ID)-1 > 0);
}

static void test_codes(void)
{
    g_assert_cmphex(HvPartitionPropertyEmulatedTimerPeriod, ==, 0x00030000);
    g_assert_cmphex(HvPartitionPropertyEmulatedTimerControl, ==, 0x00030001);
    g_assert_cmphex(HvPartitionPropertyPmTimerAssist, ==, 0x00030002);
    g_assert_cmphex(HV_EMULATED_TIMER_CONTROL_ENABLED, ==, 0x1000);
    g_assert_cmpuint(HV_EMULATED_TIMER_DELIVERY_FIXED, ==, 0);
    g_assert_cmpuint(HV_EMULATED_TIMER_DELIVERY_LOWEST_PRIORITY, ==, 1);
    g_assert_cmphex(HV_PARTITION_ID_INVALID, ==, 0);
    g_assert_cmphex(HV_PARTITION_ID_SELF, ==, G_MAXUINT64);
}

static void test_statuses(void)
{
    g_assert_cmphex(HV_STATUS_SUCCESS, ==, 0x0);
    g_assert_cmphex(HV_STATUS_INVALID_PARAMETER, ==, 0x5);
    g_assert_cmphex(HV_STATUS_ACCESS_DENIED, ==, 0x6);
    g_assert_cmphex(HV_STATUS_INVALID_PARTITION_STATE, ==, 0x7);
    g_assert_cmphex(HV_STATUS_OPERATION_DENIED, ==, 0x8);
    g_assert_cmphex(HV_STATUS_UNKNOWN_PROPERTY, ==, 0x9);
    g_assert_cmphex(HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE, ==, 0xa);
    g_assert_cmphex(HV_STATUS_INSUFFICIENT_MEMORY, ==, 0xb);
    g_assert_cmphex(HV_STATUS_INVALID_PARTITION_ID, ==, 0xd);
    g_assert_cmphex(HV_STATUS_OBJECT_IN_USE, ==, 0x19);
}

static void add_rows(const char *layout, const struct layout_row *rows, size_t n_rows,
                     GTestDataFunc func)
{
    for (size_t i = 0; i < n_rows; i++) {
        char *path = g_strdup_printf("/hvgdk/%s/%s", layout, rows[i].name);

        g_test_add_data_func(path, &rows[i], func);
        g_free(path);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add_rows("control", narrow_rows, G_N_ELEMENTS(narrow_rows), test_narrow_row);
    add_rows("control-wide", wide_rows, G_N_ELEMENTS(wide_rows), test_wide_row);
    g_test_add_func("/hvgdk/sizes", test_sizes);
    g_test_add_func("/hvgdk/codes", test_codes);
    g_test_add_func("/hvgdk/statuses", test_statuses);
    return g_test_run();
}
