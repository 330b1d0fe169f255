/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The changes of a guest that were asked for: one is made at a time, whole or not at all, by
 * guest-change.c; the others wait.
 */
#pragma once

#include "daemon/guest-private.h"

enum change_kind {
    CHANGE_PROPERTY,
    CHANGE_BOTH,
    CHANGE_RESET,
    CHANGE_SUPERVISE,
    CHANGE_PACED,      /* away from a leased timer */
    CHANGE_LET_GO,     /* of what is borrowed, while the guest is suspended */
    CHANGE_HAVE_AGAIN, /* what was let go of */
};

/* A change that waits for its turn, or is being made. */
struct request {
    enum change_kind kind;
    uint32_t code;
    uint64_t value; /* of CHANGE_BOTH: the control */
    struct period period;
    uint64_t start_ns; /* of CHANGE_BOTH: when the first period begins; 0: when all is done */
    char injector[16];
    gboolean again; /* nobody has asked for it anew: it was so before */
    struct supervision supervision;
    guest_done_func done;
    gpointer user_data;
};

/* Takes a copy; it is begun at once if no other is being made. */
void guest_request_add(struct guest *guest, const struct request *request);

/* The one that is being made. */
const struct request *guest_request(struct guest *guest);
/* It is done with: its caller is told, and the next one begins. @error: NULL on success. */
void guest_request_finish(struct guest *guest, const GError *error);
void guest_request_fail(struct guest *guest, HV_STATUS status, const char *reason);
/* It is begun once more, as what was in its way is gone. */
void guest_request_retry(struct guest *guest);
/* It is begun once more, as another one. */
void guest_request_replace(struct guest *guest, const struct request *request);

/* A call on behalf of one VM. If it comes back too late, whoever it was for is gone. */
struct call {
    struct guest *guest;
    unsigned life;
};

struct call *call_new(struct guest *guest);
gboolean call_is_late(const struct call *call);
void call_free(struct call *call);
