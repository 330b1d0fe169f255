/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One partition as the daemon keeps it: who it is, its properties, its injector and its timer in
 * the engine. Main loop only.
 *
 * A change of a property may have to wait for others (a VMM that makes the route), so it is
 * asynchronous: changes of one guest are made one after the other, each whole or not at all.
 */
#pragma once

#include "daemon/base-timer/supervision.h"
#include "daemon/engine.h"
#include "daemon/partition.h"

struct guest;

/* Who it is. Strings are never NULL. */
struct guest_identity {
    uint64_t id;
    const char *name;
    const char *uuid;   /* "" where it has none */
    const char *source; /* "vmm", "model", "libvirt", "process" */
};

enum guest_state {
    GUEST_OFF, /* has no VM: nothing can be set */
    GUEST_RUNNING,
    GUEST_PAUSED,
};

/* What of the configuration concerns a guest; it must outlive it, and may change under it. */
struct guest_settings {
    struct partition_limits limits;
    struct ticker_policy policy; /* what it starts with */
    gboolean keep_on_reset;
};

/* @error: NULL on success, of HV_STATUS_ERROR otherwise; not the receiver's to free. */
typedef void (*guest_done_func)(const GError *error, gpointer user_data);

/* Something that guest_…() getters tell has changed. */
typedef void (*guest_changed_func)(struct guest *guest, gpointer user_data);

/* @injector: (transfer full): with its route in force, or NULL with @error, of HV_STATUS_ERROR. */
typedef void (*guest_attached_func)(struct injector *injector, const GError *error,
                                    gpointer done_data);

struct guest_attach_wish {
    const char *injector; /* "auto" or a name */
    gboolean paced;       /* no other will do: it is to be silent at times */
    uint64_t control;
    struct period period;
};

/* How a guest whose VM was not handed over gets an injector, when its timer is to run. It is let go
 * of when the timer stops. */
struct guest_attacher {
    /* Calls @done once, now or later. */
    void (*attach)(const struct guest_attach_wish *wish, guest_attached_func done,
                   gpointer done_data, gpointer user_data);
    /* (nullable) To a timer that the guest has anyway: an injector that is supervised. Calls @done
     * once, now or later. */
    void (*watch)(enum base_timer timer, guest_attached_func done, gpointer done_data,
                  gpointer user_data);
    gpointer user_data;
    GDestroyNotify free; /* of user_data */
};

/* What outlives the daemon. */
struct guest_memory {
    struct period period;
    uint64_t control;
    char injector[16];
    struct ticker_policy policy;
    struct ticker_counts counts;
    struct supervision supervision;
    uint64_t start_ns; /* when the period began that was under way; 0: not known, or none was */
    gboolean pending;  /* guest_resume() has not come to its end yet */
};

/* Off, without a way to deliver ticks. */
struct guest *guest_new(const struct guest_identity *identity, struct engine *engine,
                        const struct guest_settings *settings, guest_changed_func changed,
                        gpointer user_data);

/* Ends it: pending changes fail with INVALID_PARTITION_ID, @changed is not called any more. */
void guest_remove(struct guest *guest);

/* Before it is started: it goes on counting from there, with that policy. */
void guest_remember(struct guest *guest, const struct guest_memory *memory);
/* Once it is started: its properties are as they were, and its timer runs on. @memory must outlive
 * the guest; it is `pending` until that is done, or has failed. */
void guest_resume(struct guest *guest, struct guest_memory *memory);

/* The VM runs, in process @pid (0: in none), and @injector is its for as long as it does. Takes
 * @injector, in every case. Errors: INSUFFICIENT_MEMORY if the engine is full. */
gboolean guest_start_with(struct guest *guest, uint32_t pid, struct injector *injector,
                          GError **error);
/* The VM runs, in process @pid; @attacher is copied, its user_data taken. */
void guest_start(struct guest *guest, uint32_t pid, const struct guest_attacher *attacher);
/* Suspended, or on again. A guest that is off stays so. */
void guest_set_running(struct guest *guest, gboolean running);
/* The VM is no more: properties and figures begin anew with the next. */
void guest_turn_off(struct guest *guest);

const struct guest_identity *guest_identity(const struct guest *guest);
const struct partition *guest_partition(const struct guest *guest);
const struct ticker_policy *guest_policy(const struct guest *guest);
/* What was asked for. */
const struct supervision *guest_supervision(const struct guest *guest);
/* The mode in force: OBSERVE where SLEW was asked for and would do harm. */
enum supervision_mode guest_supervision_mode(const struct guest *guest);
/* How the supervised timer's interrupts reach the guest. */
enum base_routing guest_base_routing(const struct guest *guest);
/* NULL: none at the moment. */
struct injector *guest_injector(struct guest *guest);
/* Its name; of a guest that is suspended, that of the one it is to have again; "auto": any. */
const char *guest_injector_name(const struct guest *guest);
enum guest_state guest_state(const struct guest *guest);
uint32_t guest_pid(const struct guest *guest);
/* What is wrong with its configuration, keeps it from being in force, or is noteworthy; NULL:
 * nothing. */
const char *guest_problem(const struct guest *guest);
void guest_set_problem(struct guest *guest, const char *problem);
/* Where its figures are published; FALSE: nowhere at the moment. */
gboolean guest_slot(const struct guest *guest, unsigned *ret_slot);
void guest_read(struct guest *guest, struct engine_reading *ret_reading);

/* @done is called once, possibly before the call returns. */
void guest_set_property(struct guest *guest, uint32_t code, uint64_t value, guest_done_func done,
                        gpointer user_data);
/* Both properties, the period exact. @injector: "auto" or a name. */
void guest_enable(struct guest *guest, struct period period, uint64_t control, const char *injector,
                  guest_done_func done, gpointer user_data);
/* Watches a timer that the guest has anyway; not while its own one runs. The properties then read
 * what is found, and can't be set. With a mode of OFF: not any more; the timer may be NONE then,
 * for whichever it is. */
void guest_supervise(struct guest *guest, const struct supervision *supervision,
                     guest_done_func done, gpointer user_data);
/* Could guest_enable() set these, the VM apart? Errors: of HV_STATUS_ERROR. */
gboolean guest_check_values(const struct guest *guest, struct period period, uint64_t control,
                            GError **error);
/* The guest was reset: forgets what was in flight; clears Enabled, unless configured otherwise. */
void guest_reset(struct guest *guest, guest_done_func done, gpointer user_data);

/* Errors: INVALID_PARAMETER. */
gboolean guest_set_policy(struct guest *guest, const struct ticker_policy *policy, GError **error);
void guest_reset_backlog(struct guest *guest);

/* Of all guests: so many leases have ended, whose last ticks are awaited before what is left of
 * them is used, or put back. */
unsigned guest_paced_pending(void);
