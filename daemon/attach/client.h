/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The daemon's side of hvtimer-attach: runs one for a request and takes over the eventfds. Main
 * loop only; never waits.
 */
#pragma once

#include "common/period.h"
#include "daemon/attach/protocol.h"
#include <gio/gio.h>

/* What came of a request. Descriptors are eventfds, close-on-exec and non-blocking, or, for TRACE,
 * perf events, in the order that protocol.h gives for the kind; -1 where there is none. */
struct attach_result {
    int fds[ATTACH_FDS];
    unsigned n_fds;
    uint32_t pin;
    gboolean tick_dropped;
    uint64_t stall_ns;
    uint64_t old_entry;
    uint64_t entries[ATTACH_PINS];
    uint8_t pic_base[ATTACH_PICS];
    uint8_t pic_mask[ATTACH_PICS];
    uint32_t pit_length;
    gboolean leased;           /* BORROW */
    struct attach_lease lease; /* in force; READ: what its registers are now */
    unsigned unseen;           /* REROUTE: ticks in the guest whose EOIs won't be seen */
    gboolean left_over;        /* BORROW: the guest has had ticks by an earlier daemon's lease */
    char *why_not;             /* BORROW: not leased, though asked for */
    struct attach_place fields[ATTACH_FIELDS]; /* TRACE of PORTS */
};

/* What a request is about; the rest of struct attach_request is filled in. @start_time: 0 for the
 * process that has the number now. */
struct attach_job {
    enum attach_kind kind;
    pid_t pid;
    uint64_t start_time;
    uint32_t pin;      /* a GSI for LISTEN and PULSE; ATTACH_PIN_ANY for BORROW */
    uint32_t pins;     /* ATTACH_PIN_ANY: those that may be taken, a bit each; 0: all */
    gboolean edge;     /* BORROW */
    gboolean pulse;    /* LISTEN: a plain irqfd too */
    uint64_t entry;    /* BORROW, REROUTE, RETURN; see attach_entry() */
    uint64_t expected; /* REROUTE, RETURN */
    /* BORROW, REROUTE: of the lease; numerator 0: none is asked for; it stays as it is. */
    struct period period;
    gboolean or_pin;    /* BORROW: without the lease, if it can't be had */
    gboolean leased;    /* all but BORROW: `lease` is in force */
    gboolean end_lease; /* REROUTE: give it back, and keep the pin */
    struct attach_lease lease;
    enum attach_trace trace; /* TRACE */
    uint32_t vcpu;           /* TRACE of HV_TIMER and LAPIC */
    uint32_t n_ports;        /* TRACE of PORTS */
    uint16_t ports[ATTACH_PORTS];
};

/* The redirection entry for a destination (HV_EMULATED_TIMER_CONTROL; Enabled is of no interest).
 */
uint64_t attach_entry(uint64_t control);

/* @helper: the path of hvtimer-attach. Cancelling ends it, which does the VMM no harm, but may
 * leave a borrowed pin with an entry that nothing raises. Ends by itself within a few seconds. */
void attach_run_async(const char *helper, const struct attach_job *job, GCancellable *cancellable,
                      GAsyncReadyCallback callback, gpointer user_data);

/* The helper has ended by then. Errors: HV_STATUS_ERROR with the helper's own words, or
 * G_IO_ERROR_CANCELLED. (transfer full) */
struct attach_result *attach_run_finish(GAsyncResult *result, GError **error);

/* It has failed because a thread of the VMM did not run, and so did not stop, for too long: the
 * next attempt may well succeed. */
gboolean attach_run_timed_out(GAsyncResult *result);

/* Closes the descriptors that are still in there (not -1). */
void attach_result_free(struct attach_result *result);
typedef struct attach_result AttachResult;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(AttachResult, attach_result_free)
