/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A libvirtd of the tests' own, with its real QEMU driver: in a mount namespace of the test
 * program, with fresh directories in the place of the system's. Whatever the program starts
 * afterwards, as virsh and hvtimerd, reaches it as qemu:///system.
 *
 * What libvirtd starts outlives it, as it should. So that nothing outlives the tests, a program
 * calls libvirt_guard() first.
 */
#pragma once

#include <gio/gio.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#define LIBVIRT_URI    "qemu:///system"
#define LIBVIRT_IMAGES "/var/lib/libvirt/images" /* for what domains need; ours */

struct libvirt {
    GSubprocess *daemon;
    virConnectPtr connection;
};

/* First of all in main(). Goes on in a child of its own, and ends with its exit status; when it has
 * ended, however that came about, all that it has left running is killed. */
void libvirt_guard(void);

/* The main() of a program the tests of which need libvirt: guarded, with @libvirt up while
 * @add_tests adds them and they run; where libvirt is missing, @name alone is there, and skipped.
 */
int libvirt_run_tests(int argc, char **argv, struct libvirt *libvirt, const char *name,
                      void (*add_tests)(void));

/* Why libvirt can't start KVM guests here, in words, for a test to skip with; NULL: it can. */
const char *libvirt_missing(void);

/* In the main thread: others that exist already stay in the system's namespace. */
void libvirt_up(struct libvirt *libvirt);
/* Destroys all domains. */
void libvirt_down(struct libvirt *libvirt);

/* kill -9. Domains run on. */
void libvirt_kill(struct libvirt *libvirt);
/* After libvirt_kill(); ready, and connected anew, when it returns. */
void libvirt_start(struct libvirt *libvirt);

/* Fails the test with libvirt's own words, unless @done. */
#define libvirt_assert(done)                                          \
    G_STMT_START                                                      \
    {                                                                 \
        if (!(done)) {                                                \
            libvirt_fail(G_STRFUNC, #done, virGetLastErrorMessage()); \
        }                                                             \
    }                                                                 \
    G_STMT_END
G_NORETURN void libvirt_fail(const char *function, const char *what, const char *why);
