/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the parts of test-assist share.
 */
#pragma once

#include "daemon/assist.h"

/* It is refused with an error that has both in it, and what was read before stays as it was. */
void assert_refused(const char *xml, gsize length, const char *names, const char *tells);

/* test-assist-hostile.c */
void add_hostile_tests(void);
