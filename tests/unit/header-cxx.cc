/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The public headers as a C++ program gets them: built with -std=c++11 -pedantic -Werror, nothing
 * included before them. hvgdk.h comes first here, hvapi.h in header-c11.c.
 */
#include <hvapi/hvgdk.h>
#include <hvapi/hvapi.h>

static_assert(sizeof(HV_STATUS) == 2, "a status has 16 bits");
static_assert(sizeof(HV_PARTITION_PROPERTY_CODE) == 4, "a code has 32 bits");
static_assert(sizeof(HV_EMULATED_TIMER_CONTROL) == 8, "a property has 64 bits");
static_assert(sizeof(HV_EMULATED_TIMER_CONTROL_WIDE) == 8, "a property has 64 bits");

int main()
{
    HV_EMULATED_TIMER_CONTROL control;

    control.AsUINT64 = 0;
    control.Vector = 0x50;
    control.Enabled = 1;
    return control.AsUINT64 == 0x1050 ? 0 : 1;
}
