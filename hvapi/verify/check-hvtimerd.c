/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whether hvtimerd runs, and as what. */
#include "hvapi/verify/verify.h"

#define SUBJECT_FILES  "configuration"
#define SUBJECT_DAEMON "hvtimerd"

void verify_configuration(const struct verify *verify)
{
    const GError *error = verify->settings->error;
    gboolean denied = g_error_matches(error, G_FILE_ERROR, G_FILE_ERROR_ACCES);

    if (error != NULL) {
        findings_add(verify->findings, SUBJECT_FILES, denied ? FINDING_INFO : FINDING_WARN,
                     g_strdup(error->message),
                     denied ? "what it says of the engine's CPU and priority is not known here"
                            : "hvtimerd does not start with it, nor take it when it is told to",
                     denied ? "run this as root" : "'hvtimerd --check-config' says what is wrong");
    }
}

/* ---- does it run ---- */

static gboolean is_absent(const GError *error)
{
    return g_error_matches(error, G_DBUS_ERROR, G_DBUS_ERROR_NAME_HAS_NO_OWNER) ||
           g_error_matches(error, G_DBUS_ERROR, G_DBUS_ERROR_SERVICE_UNKNOWN);
}

static gboolean is_late(const GError *error)
{
    return g_error_matches(error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT) ||
           g_error_matches(error, G_DBUS_ERROR, G_DBUS_ERROR_NO_REPLY) ||
           g_error_matches(error, G_DBUS_ERROR, G_DBUS_ERROR_TIMEOUT);
}

static void add_silent(const struct verify *verify, const struct services_hvtimerd *hvtimerd)
{
    const GError *error = hvtimerd->error;
    g_autofree char *text = NULL;

    if (is_absent(error)) {
        findings_add(verify->findings, SUBJECT_DAEMON, FINDING_WARN,
                     g_strdup("it does not run on this bus"),
                     "nobody makes up what guests lose, and nobody gives them ticks anew",
                     "systemctl enable --now hvtimerd; one on another bus: --bus");
    } else if (g_error_matches(error, G_DBUS_ERROR, G_DBUS_ERROR_ACCESS_DENIED)) {
        findings_add(
            verify->findings, SUBJECT_DAEMON, FINDING_INFO,
            hvtimerd->pid != 0
                ? g_strdup_printf("it runs (process %u), but you may not ask it", hvtimerd->pid)
                : g_strdup("you may not ask for it"),
            "which version it has is not known here",
            "run this as root, or as a member of the group libvirt");
    } else if (is_late(error)) {
        findings_add(verify->findings, SUBJECT_DAEMON, FINDING_WARN,
                     g_strdup_printf("no answer within %d s", SERVICES_PATIENCE_S),
                     "it, or the bus, hangs; the ticks themselves are another thread's",
                     "'journalctl -u hvtimerd' may say why; systemctl restart hvtimerd: guests "
                     "run on, and the ticks of the meantime are made up");
    } else {
        text = g_strdup(error->message);
        findings_add(verify->findings, SUBJECT_DAEMON, FINDING_WARN, g_steal_pointer(&text),
                     "whether it runs can't be told",
                     "systemctl start dbus; another bus: --bus, or HVTIMER_BUS_ADDRESS");
    }
}

void verify_hvtimerd(const struct verify *verify)
{
    const struct services_hvtimerd *hvtimerd = verify->services->hvtimerd;

    if (hvtimerd->error != NULL) {
        add_silent(verify, hvtimerd);
    } else if (g_str_equal(hvtimerd->version, PACKAGE_VERSION)) {
        findings_add(verify->findings, SUBJECT_DAEMON, FINDING_OK,
                     g_strdup_printf("%s runs (process %u)", hvtimerd->version, hvtimerd->pid),
                     "of the same version as this hvtimerctl", NULL);
    } else {
        findings_add(verify->findings, SUBJECT_DAEMON, FINDING_WARN,
                     g_strdup_printf("%s runs (process %u), and this hvtimerctl is "
                                     "of " PACKAGE_VERSION,
                                     hvtimerd->version, hvtimerd->pid),
                     "it was not restarted after an upgrade, or another one is meant",
                     "systemctl restart hvtimerd: guests run on, and the ticks of the meantime are "
                     "made up");
    }
}
