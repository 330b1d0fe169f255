/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the service manager is told: ready, reloading, stopping; and its watchdog, fed for as long
 * as the engine's thread goes round, and in time. Without a service manager all of it does nothing.
 */
#pragma once

#include "daemon/engine.h"

struct service;

struct service *service_new(struct engine *engine);
void service_free(struct service *service);

void service_ready(void);
void service_reloading(void);
void service_stopping(void);
