/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whether KVM's trace events can be had, by which hvtimer learns what a guest does to its timers.
 */
#include "hvapi/verify/verify.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define SUBJECT "tracing"

/* perf_event_open(2): the file's existence says whether the kernel has it. What it holds concerns
 * those without privileges; hvtimer-attach has them. */
#define PERF "/proc/sys/kernel/perf_event_paranoid"

#define LOCKDOWN "/sys/kernel/security/lockdown"

#define WITHOUT                                                                                 \
    "hvtimer works without, but less surely: an RTC's or PIT's rate is guessed from the ticks " \
    "that are taken, and a guest that begins to use its local APIC timer gets it back seconds " \
    "later"

/* Those that hvtimer-attach opens. */
static const char *const events[] = {"kvm_pio", "kvm_hv_timer_state", "kvm_apic", "kvm_msr"};

/* The tracing directory: where it is mounted, or else as the helper gets it. -1, and errno. */
static int open_directory(const struct host *host)
{
    static const char *const places[] = {"/sys/kernel/tracing", "/sys/kernel/debug/tracing"};
    int code = ENOENT;

    for (size_t i = 0; i < G_N_ELEMENTS(places); i++) {
        int fd = host_open(host, places[i], O_PATH | O_DIRECTORY);

        /* It is there, empty, where nothing is mounted. */
        if (fd >= 0 && faccessat(fd, "events", F_OK, 0) == 0) {
            return fd;
        }
        code = errno == ENOENT ? code : errno;
        if (fd >= 0) {
            close(fd);
        }
    }
    if (code != ENOENT) {
        errno = code;
        return -1;
    }
    return host->open_tracing();
}

/* Of the events, those that are not there, as a list; "": all are. NULL, and errno: the first that
 * is there can't be read. (transfer full) */
static char *list_missing(int directory)
{
    g_autoptr(GString) missing = g_string_new(NULL);

    for (size_t i = 0; i < G_N_ELEMENTS(events); i++) {
        g_autofree char *path = g_strdup_printf("events/kvm/%s/id", events[i]);
        int fd = openat(directory, path, O_RDONLY | O_CLOEXEC);

        if (fd >= 0) {
            close(fd);
        } else if (errno == ENOENT) {
            g_string_append_printf(missing, "%s%s", missing->len > 0 ? ", " : "", events[i]);
        } else {
            return NULL;
        }
    }
    return g_string_free(g_steal_pointer(&missing), FALSE);
}

static void add_unreadable(const struct verify *verify, int code)
{
    if ((code == EACCES || code == EPERM) && geteuid() != 0) {
        findings_add(verify->findings, SUBJECT, FINDING_INFO, g_strdup("only root can tell"),
                     "hvtimer-attach, which is root, opens KVM's trace events", "run this as root");
        return;
    }
    findings_add(
        verify->findings, SUBJECT, FINDING_WARN,
        g_strdup_printf("the kernel's tracing directory can't be had: %s", g_strerror(code)),
        WITHOUT,
        code == EPERM || code == EACCES
            ? "in a container, run this on its host"
            : "boot a kernel with CONFIG_FTRACE and tracefs, as distributions have it");
}

static void judge_events(const struct verify *verify, int directory)
{
    g_autofree char *missing = list_missing(directory);

    if (missing == NULL) {
        add_unreadable(verify, errno);
    } else if (*missing != '\0') {
        findings_add(
            verify->findings, SUBJECT, FINDING_WARN,
            g_strdup_printf("this kernel's KVM has no event %s", missing), WITHOUT,
            "boot a kernel whose KVM has trace events (CONFIG_FTRACE, CONFIG_TRACEPOINTS), "
            "as distributions have it");
    } else {
        findings_add(verify->findings, SUBJECT, FINDING_OK,
                     g_strdup("KVM's events and perf are there"),
                     "hvtimer sees at once which rate a guest gives its RTC or PIT, when it begins "
                     "to use its local APIC timer, and what times its ticks",
                     NULL);
    }
}

/* Lockdown: only the level "confidentiality" bars tracefs and perf (LOCKDOWN_TRACEFS, LOCKDOWN_PERF
 * in include/linux/security.h); the level in force is in brackets. */
void verify_tracing(const struct verify *verify)
{
    g_autofree char *lockdown = host_read_text(verify->host, LOCKDOWN, NULL);
    int directory;

    if (verify->kvm_module == NULL) {
        return; /* its events come with it */
    }
    if (lockdown != NULL && strstr(lockdown, "[confidentiality]") != NULL) {
        findings_add(verify->findings, SUBJECT, FINDING_WARN,
                     g_strdup("barred: the kernel is locked down (confidentiality)"), WITHOUT,
                     "'lockdown=integrity' on the kernel's command line instead of "
                     "'lockdown=confidentiality', and reboot: a running kernel does not go back");
        return;
    }
    if (!host_has_file(verify->host, PERF)) {
        findings_add(verify->findings, SUBJECT, FINDING_WARN,
                     g_strdup("the kernel has no perf events"), WITHOUT,
                     "boot a kernel with CONFIG_PERF_EVENTS, as distributions have it");
        return;
    }
    directory = open_directory(verify->host);
    if (directory < 0) {
        add_unreadable(verify, errno);
        return;
    }
    judge_events(verify, directory);
    close(directory);
}
