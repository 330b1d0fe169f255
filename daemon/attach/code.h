/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where a VMM's own code has the few instructions that a borrowed thread needs: the helper writes
 * no code into it.
 */
#pragma once

#include "daemon/attach/target.h"

struct code {
    uint64_t syscall_ret; /* syscall; ret */
    uint64_t sigreturn;   /* mov $15, %eax (or %rax); syscall */
};

/* Any C library has both. */
bool code_find(const struct target *target, struct code *ret_code, struct failure *failure);
