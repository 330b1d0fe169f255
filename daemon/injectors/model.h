/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Ticks for a software local APIC: for tests, and to try the daemon without KVM. */
#pragma once

#include "daemon/injector.h"

/* (transfer full) */
struct injector *injector_model_new(void);

/* NULL if @injector is of another kind. */
struct injector *injector_as_model(struct injector *injector);

/* The vCPU takes no interrupts for so long, from now on. Any thread. */
void injector_model_hold(struct injector *model, uint64_t microseconds);

/* Interrupts taken since it was made. Any thread. */
uint64_t injector_model_taken(struct injector *model);
