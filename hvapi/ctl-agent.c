/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Asking for a password: see ctl-agent.h. */
#include "hvapi/ctl-agent.h"

#include "common/bus-address.h"
#include <unistd.h>
/* Its interface may yet change, it says; it has not since 2012. */
#define POLKIT_AGENT_I_KNOW_API_IS_SUBJECT_TO_CHANGE
#include <polkitagent/polkitagent.h>

/* A little longer than hvtimerd waits for the password, so that its answer is heard. */
#define PASSWORD_MS (130 * 1000)

/* In the thread that sends. @message is locked by then. */
static GDBusMessage *allow_interaction(G_GNUC_UNUSED GDBusConnection *connection,
                                       GDBusMessage *message, gboolean incoming,
                                       G_GNUC_UNUSED gpointer user_data)
{
    GDBusMessage *copy;

    if (incoming || g_dbus_message_get_message_type(message) != G_DBUS_MESSAGE_TYPE_METHOD_CALL) {
        return message;
    }
    copy = g_dbus_message_copy(message, NULL);
    if (copy == NULL) {
        return message; /* it goes without a password, or not at all */
    }
    g_dbus_message_set_flags(copy, g_dbus_message_get_flags(copy) |
                                       G_DBUS_MESSAGE_FLAGS_ALLOW_INTERACTIVE_AUTHORIZATION);
    g_object_unref(message);
    return copy;
}

/* Where that fails there is no polkit, or no terminal of ours, and nobody is asked. Not as a
 * fallback for a desktop's agent: without a session polkit would not take it. */
static void register_agent(GDBusConnection *connection)
{
    g_autoptr(PolkitAgentListener) agent = polkit_agent_text_listener_new(NULL, NULL);
    g_autoptr(PolkitSubject) self = polkit_unix_process_new_for_owner(getpid(), 0, (gint)getuid());
    gpointer registration = NULL;

    if (agent != NULL) {
        registration = polkit_agent_listener_register(
            agent, POLKIT_AGENT_REGISTER_FLAGS_RUN_IN_THREAD, self, NULL, NULL, NULL);
    }
    if (registration != NULL) {
        g_object_set_data_full(G_OBJECT(connection), "hvtimer-agent", registration,
                               polkit_agent_listener_unregister);
    }
}

int ctl_agent_start(GDBusConnection *connection, const char *bus)
{
    if (getuid() == 0 || !bus_is_system(bus)) {
        return -1; /* nobody will be asked for anything */
    }
    g_dbus_connection_add_filter(connection, allow_interaction, NULL, NULL);
    if (isatty(STDIN_FILENO)) {
        register_agent(connection);
    }
    return PASSWORD_MS;
}
