/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The words for a policy in configuration, metadata and on the bus. */
#pragma once

#include "daemon/ticker.h"
#include <glib.h>

/* "catchup", "lazy", "observe". */
const char *policy_mode_name(enum ticker_mode mode);
gboolean policy_mode_from_name(const char *name, enum ticker_mode *ret_mode);

/* "freeze", "catchup". */
const char *policy_on_resume_name(bool catch_up_suspends);
gboolean policy_on_resume_from_name(const char *name, bool *ret_catch_up_suspends);
