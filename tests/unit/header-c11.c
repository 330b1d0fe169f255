/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The public headers as a C11 program gets them: built with -std=c11 -pedantic -Werror, nothing
 * included before them. hvapi.h comes first here, hvgdk.h in header-cxx.cc, so that each of the
 * two is seen to stand alone.
 */
#include <hvapi/hvapi.h>
#include <hvapi/hvgdk.h>

_Static_assert(sizeof(HV_STATUS) == 2, "a status has 16 bits");
_Static_assert(sizeof(HV_PARTITION_ID) == 8, "a partition id has 64 bits");
_Static_assert(sizeof(HV_PARTITION_PROPERTY) == 8, "a property has 64 bits");
_Static_assert(sizeof(HV_PARTITION_PROPERTY_CODE) == 4, "a code has 32 bits");
_Static_assert(sizeof(HV_EMULATED_TIMER_PERIOD) == 8, "a property has 64 bits");
_Static_assert(sizeof(HV_EMULATED_TIMER_CONTROL) == 8, "a property has 64 bits");
_Static_assert(sizeof(HV_EMULATED_TIMER_CONTROL_WIDE) == 8, "a property has 64 bits");

int main(void)
{
    HV_EMULATED_TIMER_CONTROL control = {.AsUINT64 = 0};

    control.Vector = 0x50;
    control.Enabled = 1;
    return control.AsUINT64 == 0x1050 ? 0 : 1;
}
