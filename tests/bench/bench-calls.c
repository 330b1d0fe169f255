/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* To be written. */
#include "tests/bench/figures.h"

int main(int argc, char **argv)
{
    return figures_finish(figures_new("calls", "to be written", NULL, argc, argv));
}
