/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whether libvirt can be reached, which one it is, and whether hvtimerd may follow it. */
#include "hvapi/verify/verify.h"

#include <string.h>

#define SUBJECT_LIBVIRT "libvirt"
#define SUBJECT_GROUP   "libvirt-group"

#define DAEMON_USER   "hvtimer"
#define LIBVIRT_GROUP "libvirt"

static const char *remedy_for(const GError *error)
{
    if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT)) {
        return "systemctl restart libvirtd (virtqemud, where there is one); its domains run on";
    }
    return "run this as root, if you may not reach it; systemctl start libvirtd (virtqemud.socket, "
           "where there is one); on Debian it comes with libvirt-daemon-system; another "
           "connection: "
           "--libvirt URI, and the key libvirt of hvtimerd.json; none at all: --libvirt none";
}

void verify_libvirt(const struct verify *verify)
{
    const struct services_libvirt *libvirt = verify->services->libvirt;

    if (libvirt == NULL) {
        return;
    }
    if (libvirt->error != NULL) {
        findings_add(verify->findings, SUBJECT_LIBVIRT, FINDING_WARN,
                     g_strdup_printf("%s: %s", libvirt->uri, libvirt->error->message),
                     "hvtimerd does not see libvirt's domains while it is so; processes that are "
                     "attached, and VMMs that call libhvapi, are served all the same",
                     remedy_for(libvirt->error));
        return;
    }
    findings_add(
        verify->findings, SUBJECT_LIBVIRT, FINDING_OK,
        g_strdup_printf("%s: libvirt %s, %s", libvirt->uri, libvirt->version, libvirt->hypervisor),
        "its KVM domains are partitions of their own accord", NULL);
}

/* ---- the group ---- */

/* The fields of the line of @file (passwd(5), group(5)) whose first is @name; NULL: there is none.
 * (transfer full) */
static char **find_entry(const struct host *host, const char *file, const char *name)
{
    g_autofree char *text = host_read_text(host, file, NULL);
    g_auto(GStrv) lines = g_strsplit(text != NULL ? text : "", "\n", -1);

    for (char **line = lines; *line != NULL; line++) {
        g_auto(GStrv) fields = g_strsplit(*line, ":", -1);

        if (g_strv_length(fields) >= 4 && g_str_equal(fields[0], name)) {
            return g_steal_pointer(&fields);
        }
    }
    return NULL;
}

/* The user is there where the packaged unit is, which runs hvtimerd as that. Its right to
 * libvirt's socket comes by the group: unix_sock_group of libvirtd.conf as Debian has it, and
 * libvirt's polkit rule elsewhere. */
void verify_libvirt_group(const struct verify *verify)
{
    g_auto(GStrv) user = find_entry(verify->host, "/etc/passwd", DAEMON_USER);
    g_auto(GStrv) group = find_entry(verify->host, "/etc/group", LIBVIRT_GROUP);
    g_auto(GStrv) members = group != NULL ? g_strsplit(group[3], ",", -1) : NULL;

    if (verify->services->libvirt == NULL || user == NULL || group == NULL) {
        return;
    }
    if (g_strv_contains((const char *const *)members, DAEMON_USER) ||
        g_str_equal(user[3], group[2])) {
        findings_add(verify->findings, SUBJECT_GROUP, FINDING_OK,
                     g_strdup("the user " DAEMON_USER " is in the group " LIBVIRT_GROUP),
                     "hvtimerd may follow libvirt's domains, and write their metadata", NULL);
    } else {
        findings_add(verify->findings, SUBJECT_GROUP, FINDING_WARN,
                     g_strdup("the user " DAEMON_USER " is not in the group " LIBVIRT_GROUP),
                     "hvtimerd, which runs as that user, may not follow libvirt's domains",
                     "usermod -aG " LIBVIRT_GROUP " " DAEMON_USER "; systemctl restart hvtimerd");
    }
}
