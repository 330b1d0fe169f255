/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What libvirt and hvtimerd answer. Neither is started for it, and one that hangs is left alone
 * after a few seconds.
 */
#pragma once

#include <gio/gio.h>

/* For an answer. */
#define SERVICES_PATIENCE_S 5

struct services_domain {
    char *name;
    char *xml; /* NULL: not to be had */
};

struct services_libvirt {
    char *uri;
    GError *error;      /* why there is no answer; NULL: there is, and this is it: */
    char *version;      /* "9.0.0" */
    char *hypervisor;   /* "QEMU 7.2.22" */
    GPtrArray *domains; /* those that run: struct services_domain */
};

struct services_hvtimerd {
    GError *error; /* why there is no answer; NULL: there is, and this is it: */
    char *version;
    guint32 pid; /* also where it does not answer, but is there; 0: not known */
};

struct services {
    struct services_libvirt *libvirt; /* NULL: not asked */
    struct services_hvtimerd *hvtimerd;
};

/* Asks both at once. @bus: for bus_open(). @libvirt_uri: NULL: libvirt is not asked.
 * (transfer full) */
struct services *services_ask(const char *bus, const char *libvirt_uri);
void services_free(struct services *services);

/* Of parts that a test makes itself. */
struct services_libvirt *services_libvirt_new(const char *uri);
void services_libvirt_free(struct services_libvirt *libvirt); /* NULL is fine */
void services_add_domain(struct services_libvirt *libvirt, const char *name, const char *xml);
