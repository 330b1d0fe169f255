/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What 'hvtimerctl verify' says of hvtimer-attach: is it there, may it stop a VMM, can it trace. */
#include "tests/unit/test-verify.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOBODY 65534

/* ---- the helper ---- */

static void make_socket(struct fake *f, const char *path)
{
    g_autofree char *full = g_strconcat(f->root, path, NULL);
    g_autofree char *directory = g_path_get_dirname(full);

    g_assert_cmpint(g_mkdir_with_parents(directory, 0755), ==, 0);
    g_assert_cmpint(mknod(full, S_IFSOCK | 0600, 0), ==, 0);
}

static void test_helper(struct fake *f, G_GNUC_UNUSED gconstpointer data)
{
    write_intel(f);
    assert_finding(f, "attach-helper", FINDING_OK, HELPER);
    write_file(f, HELPER, "not to be run");
    assert_finding(f, "attach-helper", FINDING_FAIL, "chmod 755 " HELPER);
    remove_path(f, HELPER);
    assert_finding(f, "attach-helper", FINDING_FAIL, "make install");
    write_file(f, CONFIG, "{\"attach_helper\": \"/opt/helper\"}");
    assert_finding(f, "attach-helper", FINDING_FAIL, "/opt/helper: No such file");
    assert_finding(f, "attach-helper", FINDING_FAIL, "attach_helper of hvtimerd.json");
    write_program(f, "/opt/helper");
    assert_finding(f, "attach-helper", FINDING_OK, "/opt/helper");
    write_file(f, CONFIG, "{\"attach_helper\": \"/s\"}");
    make_socket(f, "/s");
    assert_finding(f, "attach-helper", FINDING_OK, "a socket");
}

/* An hvtimerd without privileges asks for one by a socket. */
static void test_helper_by_socket(struct fake *f, G_GNUC_UNUSED gconstpointer data)
{
    write_intel(f);
    write_hvtimerd(f, 0, SCHED_FIFO, "0-7");
    assert_finding(f, "attach-helper", FINDING_OK, HELPER);
    write_hvtimerd(f, 998, SCHED_FIFO, "0-7");
    assert_finding(f, "attach-helper", FINDING_FAIL,
                   "systemctl enable --now hvtimer-attach.socket");
    make_socket(f, SOCKET);
    assert_finding(f, "attach-helper", FINDING_OK, HELPER);
    remove_path(f, HELPER);
    assert_finding(f, "attach-helper", FINDING_FAIL, "make install");
    remove_path(f, SOCKET);
    assert_finding(f, "attach-helper", FINDING_FAIL, "make install");
}

/* ---- ptrace ---- */

static void test_yama(struct fake *f, G_GNUC_UNUSED gconstpointer data)
{
    write_intel(f);
    for (char scope = '0'; scope <= '2'; scope++) {
        const char text[] = {scope, '\n', '\0'};
        write_file(f, YAMA, text);
        assert_finding(f, "ptrace", FINDING_OK, "root may (Yama");
    }
    write_file(f, YAMA, "3\n");
    assert_finding(f, "ptrace", FINDING_FAIL, "reboot");
    write_file(f, YAMA, "?\n");
    assert_finding(f, "ptrace", FINDING_INFO, "unknown");
    remove_path(f, YAMA);
    assert_finding(f, "ptrace", FINDING_OK, "no Yama");
}

static void test_selinux(struct fake *f, G_GNUC_UNUSED gconstpointer data)
{
    write_intel(f);
    write_file(f, SELINUX "enforce", "1");
    write_file(f, SELINUX "booleans/deny_ptrace", "0 0");
    assert_finding(f, "ptrace", FINDING_OK, "root may");
    write_file(f, SELINUX "booleans/deny_ptrace", "1 1");
    assert_finding(f, "ptrace", FINDING_FAIL, "setsebool -P deny_ptrace off");
    write_file(f, SELINUX "enforce", "0");
    assert_finding(f, "ptrace", FINDING_OK, "root may");
}

/* ---- tracing ---- */

static void test_tracing(struct fake *f, G_GNUC_UNUSED gconstpointer data)
{
    write_intel(f);
    remove_path(f, TRACING EVENTS "kvm_pio");
    remove_path(f, TRACING EVENTS "kvm_msr");
    assert_finding(f, "tracing", FINDING_WARN, "no event kvm_pio, kvm_msr");
    remove_path(f, PERF);
    assert_finding(f, "tracing", FINDING_WARN, "CONFIG_PERF_EVENTS");
    write_file(f, LOCKDOWN, "none integrity [confidentiality]\n");
    assert_finding(f, "tracing", FINDING_WARN, "lockdown=integrity");
    write_intel(f);
    write_file(f, LOCKDOWN, "none [integrity] confidentiality\n");
    assert_finding(f, "tracing", FINDING_OK, "are there");
}

/* At one of the places where it may be mounted, or at none. */
static void test_tracing_places(struct fake *f, G_GNUC_UNUSED gconstpointer data)
{
    g_autofree char *here = g_strconcat(f->root, TRACING, NULL);
    g_autofree char *there = g_strconcat(f->root, "/sys/kernel/debug/tracing", NULL);
    g_autofree char *parent = g_path_get_dirname(there);
    g_autofree char *nowhere = g_strconcat(f->root, "/nowhere", NULL);

    write_intel(f);
    g_assert_cmpint(g_mkdir_with_parents(parent, 0755), ==, 0);
    g_assert_cmpint(g_rename(here, there), ==, 0);
    assert_finding(f, "tracing", FINDING_OK, "are there");
    /* The mount points are there, empty. */
    g_assert_cmpint(g_rename(there, nowhere), ==, 0);
    g_assert_cmpint(g_mkdir(here, 0755), ==, 0);
    assert_finding(f, "tracing", FINDING_WARN, "can't be had: No such device");
    unmounted_tracing = "/nowhere";
    assert_finding(f, "tracing", FINDING_OK, "are there");
}

/* It says what only root can tell, and what root can't either. */
static void test_tracing_denied(struct fake *f, G_GNUC_UNUSED gconstpointer data)
{
    g_autofree char *tracing = g_strconcat(f->root, TRACING, NULL);
    gboolean root = geteuid() == 0;

    write_intel(f);
    g_assert_cmpint(g_chmod(tracing, 0), ==, 0);
    g_assert_true(!root || seteuid(NOBODY) == 0);
    assert_finding(f, "tracing", FINDING_INFO, "only root can tell");
    g_assert_true(!root || seteuid(0) == 0);
    g_assert_cmpint(g_chmod(tracing, 0755), ==, 0);
    remove_path(f, TRACING);
    tracing_error = EPERM;
    assert_finding(f, "tracing", root ? FINDING_WARN : FINDING_INFO, root ? "container" : "root");
}

void add_attach_tests(void)
{
    add_verify_test("attach/helper", test_helper);
    add_verify_test("attach/helper-by-socket", test_helper_by_socket);
    add_verify_test("attach/yama", test_yama);
    add_verify_test("attach/selinux", test_selinux);
    add_verify_test("attach/tracing", test_tracing);
    add_verify_test("attach/tracing-places", test_tracing_places);
    add_verify_test("attach/tracing-denied", test_tracing_denied);
}
