/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Requests to one VMM's process, one after the other: it can be attached to by one helper at a
 * time. Main loop only.
 */
#pragma once

#include "daemon/attach/client.h"

struct attach_queue;

/* @start_time: as process_start_time(). (transfer full) */
struct attach_queue *attach_queue_new(const char *helper, pid_t pid, uint64_t start_time);
struct attach_queue *attach_queue_ref(struct attach_queue *queue);
void attach_queue_unref(struct attach_queue *queue);
pid_t attach_queue_pid(const struct attach_queue *queue);

/* @result: (transfer full) (nullable); NULL with @error, of HV_STATUS_ERROR, the caller's. */
typedef void (*attach_queue_func)(struct attach_result *result, const GError *error,
                                  gpointer user_data);

/* pid and start_time of @job are filled in. @done is called once, when its turn has come and gone;
 * the queue lives until then. */
void attach_queue_run(struct attach_queue *queue, const struct attach_job *job,
                      attach_queue_func done, gpointer user_data);

/* Jobs of all queues that have not ended yet. */
unsigned attach_queue_pending(void);
