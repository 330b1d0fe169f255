/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a call costs: its caller, beside a bare ping of the same daemon on the same bus, call by
 * call in turns; and the VM, which stands still while it is attached to.
 */
#include "tests/bench/calls.h"

#include "tests/support/libvirt.h"

int main(int argc, char **argv)
{
    libvirt_guard();
    struct figures *figures = figures_new(
        "calls", "What a property call costs beside a ping, and a VM that is attached to", NULL,
        argc, argv);

    calls_measure_bus(figures);
    calls_measure_stalls(figures);
    return figures_finish(figures);
}
