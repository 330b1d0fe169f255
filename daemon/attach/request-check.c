/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whether a request makes sense: see request-check.h. */
#include "daemon/attach/request-check.h"

#include "daemon/attach/trace.h"
#include <inttypes.h>

static bool check_route(uint64_t entry, struct failure *failure)
{
    if ((entry & ATTACH_ENTRY_VECTOR) < 16 || (entry & ATTACH_ENTRY_DELIVERY) > UINT64_C(1) << 8) {
        return fail(failure, ATTACH_BAD_REQUEST,
                    "a redirection entry of %#" PRIx64
                    " was asked for: the vector must be 16 or more, "
                    "the delivery mode fixed or lowest priority",
                    entry);
    }
    return true;
}

static uint32_t known_flags(uint32_t kind)
{
    switch (kind) {
    case ATTACH_BORROW:
        return ATTACH_EDGE | ATTACH_LEASE | ATTACH_OR_PIN;
    case ATTACH_LISTEN:
        return ATTACH_WITH_PULSE;
    case ATTACH_REROUTE:
        return ATTACH_LEASE | ATTACH_END_LEASE;
    case ATTACH_READ:
    case ATTACH_RETURN:
        return ATTACH_LEASE;
    default:
        return 0;
    }
}

/* A lease goes with a pin that is edge-triggered: a level-triggered one would never fire again, as
 * the timer's edges make the EOI of its vector mean nothing to it. */
static bool lease_is_sound(const struct attach_request *request)
{
    bool leasing = (request->flags & ATTACH_LEASE) != 0;

    if (request->kind == ATTACH_BORROW && leasing) {
        return (request->flags & ATTACH_EDGE) != 0 && request->period_numerator != 0 &&
               request->period_denominator != 0;
    }
    return (request->flags & ATTACH_OR_PIN) == 0 &&
           (leasing || (request->flags & ATTACH_END_LEASE) == 0) &&
           (request->period_numerator == 0 ||
            (leasing && request->kind == ATTACH_REROUTE && request->period_denominator != 0));
}

static bool needs_pin(const struct attach_request *request)
{
    switch (request->kind) {
    case ATTACH_READ:
    case ATTACH_CHECK:
    case ATTACH_TRACE:
        return false;
    case ATTACH_BORROW:
        return request->pin != ATTACH_PIN_ANY;
    default:
        return true;
    }
}

bool request_check(const struct attach_request *request, struct failure *failure)
{
    bool changes = request->kind >= ATTACH_BORROW && request->kind <= ATTACH_RETURN;

    if (request->magic != ATTACH_MAGIC || request->version != ATTACH_VERSION ||
        request->kind < ATTACH_READ || request->kind > ATTACH_TRACE || request->pid <= 0 ||
        (request->flags & ~known_flags(request->kind)) != 0 || !lease_is_sound(request) ||
        (request->kind == ATTACH_TRACE && !trace_check(request))) {
        return fail(failure, ATTACH_BAD_REQUEST,
                    "the request can't be understood: daemon and helper are not of one build");
    }
    if (needs_pin(request) &&
        (request->pin >= ATTACH_PINS || (changes && request->pin < ATTACH_PIN_FIRST))) {
        return fail(failure, ATTACH_BAD_REQUEST, "pin %u was asked for: there are %u to %u",
                    request->pin, changes ? ATTACH_PIN_FIRST : 0, ATTACH_PINS - 1);
    }
    return !changes || request->kind == ATTACH_RETURN || check_route(request->entry, failure);
}
