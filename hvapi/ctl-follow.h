/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * All partitions, followed live over D-Bus: what top and monitor stand on. Nothing here waits for
 * an answer: what happens is told by callbacks, from the default main context.
 */
#pragma once

#include <gio/gio.h>
#include <hvapi/hvapi.h>

/* Can figures be read once in @seconds? Errors: G_OPTION_ERROR. */
gboolean follow_check_interval(double seconds, GError **error);

struct followed {
    uint64_t id;
    GHashTable *properties; /* of org.hvtimer1.Partition: name -> GVariant */
    gboolean read;          /* what follows is known */
    gint64 read_at;         /* g_get_monotonic_time() */
    hvapi_statistics statistics;
};

/* A property, or "" and 0 where it is not there. */
const char *followed_text(const struct followed *p, const char *property);
guint64 followed_number(const struct followed *p, const char *property);
double followed_double(const struct followed *p, const char *property);
/* (nullable) */
GVariant *followed_value(const struct followed *p, const char *property);
/* EmulatedTimerControl's Enabled. */
gboolean followed_enabled(const struct followed *p);

/* Each may be NULL. */
struct follow_events {
    /* It has come to the bus, or it has gone and with it all partitions. Told at the start, too. */
    void (*daemon)(gboolean here, gpointer user_data);
    /* @is_new: it has come just now. Otherwise it was there before hvtimerd was met. */
    void (*found)(const struct followed *p, gboolean is_new, gpointer user_data);
    void (*ended)(const struct followed *p, gpointer user_data);
    /* @names: the properties whose values are others now, NULL at the end. */
    void (*changed)(const struct followed *p, const char *const *names, gpointer user_data);
    /* @before: the reading before; NULL: the first of one that was there before. */
    void (*read)(const struct followed *p, const hvapi_statistics *before, gpointer user_data);
    /* All that follow_read() has asked for is there. */
    void (*settled)(gpointer user_data);
    /* hvtimerd is there but does not tell: not allowed, no answer in time. */
    void (*failed)(const GError *error, gpointer user_data);
};

struct follow;
typedef struct follow Follow;

/* @bus: for bus_open(), which is all that is waited for. A bus that ends is looked for again. */
Follow *follow_new(const char *bus, const struct follow_events *events, gpointer user_data,
                   GError **error);
void follow_free(Follow *follow);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Follow, follow_free)

/* Reads the figures of all partitions; the first reading, when hvtimerd is met, comes by itself.
 * FALSE: the answers to the last one are still to come, or hvtimerd is not there. */
gboolean follow_read(Follow *follow);

/* In the order of their ids: an array of struct followed. (transfer container) */
GPtrArray *follow_partitions(Follow *follow);
