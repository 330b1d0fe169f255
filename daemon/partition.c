/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Hyper-V's rules for the two properties of one partition: see partition.h. */
#include "daemon/partition.h"

#include <string.h>

/* Vectors below 16 are not deliverable: the local APIC rejects them (Intel SDM 3A, 10.5.2). */
#define VECTOR_MIN 16

void partition_init(struct partition *p, bool wide_mda)
{
    memset(p, 0, sizeof *p);
    p->period.denominator = 1;
    p->wide_mda = wide_mda;
}

static bool runs(struct period period, uint64_t control)
{
    return period.numerator != 0 && (control & HV_EMULATED_TIMER_CONTROL_ENABLED) != 0;
}

bool partition_runs(const struct partition *p)
{
    return runs(p->period, p->control);
}

HV_STATUS partition_get(const struct partition *p, uint32_t code, uint64_t *ret_value)
{
    switch (code) {
    case HvPartitionPropertyEmulatedTimerPeriod:
        *ret_value = period_to_units(p->period);
        return HV_STATUS_SUCCESS;
    case HvPartitionPropertyEmulatedTimerControl:
        *ret_value = p->control;
        return HV_STATUS_SUCCESS;
    default:
        return HV_STATUS_UNKNOWN_PROPERTY;
    }
}

/* All zeros is what Control starts as, so it can always be written, although 0 is no vector. */
static bool control_valid(const struct partition *p, uint64_t value)
{
    HV_EMULATED_TIMER_CONTROL control = {.AsUINT64 = value};

    if (value == 0) {
        return true;
    }
    return control.Vector >= VECTOR_MIN &&
           (control.DeliveryMode == HV_EMULATED_TIMER_DELIVERY_FIXED ||
            control.DeliveryMode == HV_EMULATED_TIMER_DELIVERY_LOWEST_PRIORITY) &&
           control.Reserved1 == 0 && (control.Reserved2 == 0 || p->wide_mda);
}

static bool period_in_limits(struct period period, const struct partition_limits *limits)
{
    double ns = period_ns(period);

    return ns >= (double)limits->period_min * PERIOD_UNIT_NS &&
           ns <= (double)limits->period_max * PERIOD_UNIT_NS;
}

/* From the properties as they are to those in @change: what has to happen? */
static void plan(const struct partition *p, bool restart, struct partition_change *change)
{
    bool will_run = runs(change->period, change->control);
    uint64_t route = change->control & ~HV_EMULATED_TIMER_CONTROL_ENABLED;

    change->route = will_run && !(p->routed && p->route == route);
    change->start = will_run && (restart || !partition_runs(p));
    change->stop = !will_run && partition_runs(p);
}

static HV_STATUS set_period(const struct partition *p, const struct partition_limits *limits,
                            uint64_t value, struct partition_change *change)
{
    if (value == 0) {
        change->period = (struct period){.numerator = 0, .denominator = 1};
        change->control &= ~HV_EMULATED_TIMER_CONTROL_ENABLED;
    } else if (value < limits->period_min || value > limits->period_max) {
        return HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE;
    } else {
        change->period = period_from_units(value);
    }
    plan(p, true, change);
    return HV_STATUS_SUCCESS;
}

HV_STATUS partition_set(const struct partition *p, const struct partition_limits *limits,
                        uint32_t code, uint64_t value, struct partition_change *ret_change)
{
    struct partition_change change = {.period = p->period, .control = p->control};
    HV_STATUS status = HV_STATUS_SUCCESS;

    switch (code) {
    case HvPartitionPropertyEmulatedTimerPeriod:
        status = set_period(p, limits, value, &change);
        break;
    case HvPartitionPropertyEmulatedTimerControl:
        if (!control_valid(p, value)) {
            return HV_STATUS_INVALID_PARAMETER;
        }
        change.control = value;
        plan(p, false, &change);
        break;
    default:
        return HV_STATUS_UNKNOWN_PROPERTY;
    }
    if (status == HV_STATUS_SUCCESS) {
        *ret_change = change;
    }
    return status;
}

HV_STATUS partition_set_both(const struct partition *p, const struct partition_limits *limits,
                             struct period period, uint64_t control,
                             struct partition_change *ret_change)
{
    struct partition_change change = {.period = period, .control = control};

    if (!control_valid(p, control)) {
        return HV_STATUS_INVALID_PARAMETER;
    }
    if (!period_in_limits(period, limits)) {
        return HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE;
    }
    plan(p, true, &change);
    *ret_change = change;
    return HV_STATUS_SUCCESS;
}

void partition_reset(const struct partition *p, bool keep, struct partition_change *ret_change)
{
    *ret_change = (struct partition_change){
        .period = p->period,
        .control = keep ? p->control : p->control & ~HV_EMULATED_TIMER_CONTROL_ENABLED,
    };
    plan(p, false, ret_change);
    ret_change->route = keep && partition_runs(p);
    ret_change->unrouted = true;
}

void partition_commit(struct partition *p, const struct partition_change *change)
{
    p->period = change->period;
    p->control = change->control;
    p->routed = p->routed && !change->unrouted;
    if (change->route) {
        p->routed = true;
        p->route = change->control & ~HV_EMULATED_TIMER_CONTROL_ENABLED;
    }
}
