/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whether hvtimer-attach is there, and may stop a VMM for the moment that it takes. */
#include "hvapi/verify/engine-facts.h"
#include "hvapi/verify/verify.h"

#include <errno.h>
#include <sys/stat.h>

#define SUBJECT_HELPER "attach-helper"
#define SUBJECT_PTRACE "ptrace"

#define PROGRAM LIBEXECDIR "/hvtimer-attach"
#define SOCKET  RUNSTATEDIR "/hvtimer-attach.sock"

#define NO_GUEST "without it no running guest can be given ticks, whether by pin or by lapic"

/* ---- the helper ---- */

static void add_missing(const struct verify *verify, const char *path, int code, gboolean given)
{
    findings_add(
        verify->findings, SUBJECT_HELPER, FINDING_FAIL,
        g_strdup_printf("%s: %s", path, g_strerror(code)), NO_GUEST,
        given ? "correct the key attach_helper of hvtimerd.json, or leave it out; then systemctl "
                "restart hvtimerd"
              : "install all of hvtimer: its package, or 'make install'");
}

/* The helper's own permissions are root's business: hvtimerd, or systemd for it, starts it. */
static void judge_helper(const struct verify *verify, const char *path, gboolean given)
{
    g_autofree char *full = g_strconcat(verify->host->root, path, NULL);
    struct stat status;

    if (stat(full, &status) != 0) {
        add_missing(verify, path, errno, given);
    } else if (S_ISSOCK(status.st_mode)) {
        findings_add(verify->findings, SUBJECT_HELPER, FINDING_OK,
                     g_strdup_printf("%s, a socket", path),
                     "who listens there starts it for each request", NULL);
    } else if (!S_ISREG(status.st_mode) || (status.st_mode & 0111) == 0) {
        g_autofree char *remedy = g_strdup_printf("chmod 755 %s, or install hvtimer anew", path);

        findings_add(verify->findings, SUBJECT_HELPER, FINDING_FAIL,
                     g_strdup_printf("%s is not a program that can be run", path), NO_GUEST,
                     remedy);
    } else {
        findings_add(verify->findings, SUBJECT_HELPER, FINDING_OK, g_strdup(path),
                     "it gives guests their ticks, and takes them back", NULL);
    }
}

/* As config_default_attach_helper() has it: a hvtimerd that is not root asks by the socket. */
void verify_attach_helper(const struct verify *verify)
{
    const char *given = verify->settings->attach_helper;
    struct engine_facts facts;
    gboolean by_socket;

    engine_facts_read(&facts, verify->host, verify->services->hvtimerd->pid);
    by_socket = given == NULL && facts.uid_known && facts.uid != 0;
    engine_facts_clear(&facts);
    if (by_socket && host_has_file(verify->host, PROGRAM) && !host_has_file(verify->host, SOCKET)) {
        findings_add(verify->findings, SUBJECT_HELPER, FINDING_FAIL,
                     g_strdup("hvtimerd is not root, and there is no " SOCKET
                              " by which it could ask for one"),
                     NO_GUEST, "systemctl enable --now hvtimer-attach.socket");
        return;
    }
    judge_helper(verify, given != NULL ? given : PROGRAM, given != NULL);
}

/* ---- ptrace ---- */

/* Its value now and the one that waits to be committed: "1 1" (libselinux). */
static gboolean selinux_denies(const struct host *host)
{
    g_autofree char *boolean = host_read_text(host, "/sys/fs/selinux/booleans/deny_ptrace", NULL);
    gint64 enforcing = 0;

    return boolean != NULL && boolean[0] == '1' &&
           host_read_integer(host, "/sys/fs/selinux/enforce", &enforcing, NULL) && enforcing == 1;
}

/* Yama: Documentation/admin-guide/LSM/Yama.rst; SELinux: ptrace_selinux(8), whose boolean holds for
 * unconfined domains too. AppArmor asks both sides, but for an unconfined tracer lets QEMU's
 * profile be (profile_tracee_perm() in security/apparmor/ipc.c). Lockdown does not concern ptrace.
 */
void verify_ptrace(const struct verify *verify)
{
    g_autoptr(GError) error = NULL;
    gint64 scope = 0;
    gboolean yama =
        host_read_integer(verify->host, "/proc/sys/kernel/yama/ptrace_scope", &scope, &error);

    if (yama && scope >= 3) {
        findings_add(
            verify->findings, SUBJECT_PTRACE, FINDING_FAIL,
            g_strdup("nobody may, root neither (Yama's ptrace_scope is 3)"),
            "hvtimer-attach can't stop a VMM: " NO_GUEST,
            "set kernel.yama.ptrace_scope to 2 or less where it is set (grep -r "
            "ptrace_scope /etc/sysctl.d /etc/sysctl.conf /usr/lib/sysctl.d), and reboot: a "
            "running kernel does not go back from 3");
    } else if (selinux_denies(verify->host)) {
        findings_add(verify->findings, SUBJECT_PTRACE, FINDING_FAIL,
                     g_strdup("SELinux denies it (its boolean deny_ptrace is on)"),
                     "hvtimer-attach can't stop a VMM: " NO_GUEST, "setsebool -P deny_ptrace off");
    } else if (!yama && !g_error_matches(error, G_FILE_ERROR, G_FILE_ERROR_NOENT)) {
        verify_add_unknown(verify, SUBJECT_PTRACE, FINDING_INFO, g_steal_pointer(&error),
                           "hvtimer-attach needs it, to stop a VMM for less than a millisecond",
                           NULL);
    } else {
        findings_add(
            verify->findings, SUBJECT_PTRACE, FINDING_OK,
            yama ? g_strdup_printf("root may (Yama's ptrace_scope is %" G_GINT64_FORMAT ")", scope)
                 : g_strdup("root may (the kernel has no Yama)"),
            "hvtimer-attach can stop a VMM for the fraction of a millisecond that it takes", NULL);
    }
}
