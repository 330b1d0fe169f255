/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What there is to tell a monitoring system: the figures of all partitions as text. Two forms of
 * it: OpenMetrics 1.0, and the Prometheus text format 0.0.4, which older scrapers know.
 *
 * Counters are what only grows, until a VM ends: ticks injected, acknowledged, skipped. `due` is
 * none, as a new period restates the backlog (see ticker.h), and `due` with it; it is the sum of
 * acknowledged, skipped, backlog and in flight.
 */
#pragma once

#include "daemon/manager.h"
#include <glib.h>

enum metrics_format {
    METRICS_OPENMETRICS, /* https://prometheus.io/docs/specs/om/open_metrics_spec/ */
    METRICS_TEXT,        /* https://prometheus.io/docs/instrumenting/exposition_formats/ */
};

/* Of one partition, at one moment. Strings are in any character set, and never NULL. */
struct metrics_partition {
    uint64_t id;
    const char *name, *uuid;
    const char *state, *source, *injector, *accounting, *base_timer, *policy;
    const char *timer, *mode; /* of the guest's own timer that is supervised; "none", "off" */
    uint64_t problem;         /* 1: there is one */
    uint64_t attach_stall_ns;
    struct period period; /* of the timer that runs; numerator 0: none does */
    struct engine_reading reading;
};

/* Pure. (transfer full) */
char *metrics_format(const struct metrics_partition *partitions, gsize n,
                     enum metrics_format format);

/* Of all partitions, as of now, in the order of their ids. (transfer full) */
char *metrics_read(struct manager *manager, enum metrics_format format);

/* The Content-Type. */
const char *metrics_content_type(enum metrics_format format);
