/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * HV_STATUS as a GError domain and as D-Bus error names (org.hvtimer1.Error.…). The code of an
 * error in this domain is its HV_STATUS. Registered with GDBus at the first use, so that errors
 * cross the bus in both directions by themselves.
 */
#pragma once

#include <gio/gio.h>
#include <hvapi/hvgdk.h>

#define HV_STATUS_ERROR (hv_status_error_quark())
GQuark hv_status_error_quark(void);

/* "INVALID_PARAMETER"; "UNKNOWN" for a number that is none of ours. Static. */
const char *hv_status_name(HV_STATUS status);

/* The status that an error of any kind stands for: of this domain its code; the bus's
 * AccessDenied ACCESS_DENIED; anything else OPERATION_DENIED. */
HV_STATUS hv_status_from_error(const GError *error);
