/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Asking polkit: see bus-polkit.h. */
#include "daemon/bus-polkit.h"

#define POLKIT_NAME      "org.freedesktop.PolicyKit1"
#define POLKIT_PATH      "/org/freedesktop/PolicyKit1/Authority"
#define POLKIT_INTERFACE "org.freedesktop.PolicyKit1.Authority"

/* Of CheckAuthorization's flags, in polkit's interface description. */
#define ALLOW_USER_INTERACTION 1u

/* Its rules are JavaScript, and it may have to be started first. */
#define RULES_SECONDS 20

struct question {
    GDBusConnection *connection;
    char *cancellation; /* the name by which it can be called off; "": nobody is asked */
    bus_polkit_answer_func answer;
    gpointer user_data;
};

static void question_free(struct question *question)
{
    g_object_unref(question->connection);
    g_free(question->cancellation);
    g_free(question);
}

/* Otherwise the question would stay on somebody's screen. */
static void call_off(const struct question *question)
{
    if (*question->cancellation != '\0') {
        g_dbus_connection_call(question->connection, POLKIT_NAME, POLKIT_PATH, POLKIT_INTERFACE,
                               "CancelCheckAuthorization",
                               g_variant_new("(s)", question->cancellation), NULL,
                               G_DBUS_CALL_FLAGS_NO_AUTO_START, -1, NULL, NULL, NULL);
    }
}

static void answer_with_error(const struct question *question, GError *error)
{
    if (g_error_matches(error, G_DBUS_ERROR, G_DBUS_ERROR_SERVICE_UNKNOWN) ||
        g_error_matches(error, G_DBUS_ERROR, G_DBUS_ERROR_NAME_HAS_NO_OWNER)) {
        question->answer(BUS_POLKIT_ABSENT, NULL, question->user_data);
        return;
    }
    g_dbus_error_strip_remote_error(error);
    g_autofree char *reason = g_strdup_printf("polkit could not be asked (%s)", error->message);

    g_warning("%s", reason);
    call_off(question);
    question->answer(BUS_POLKIT_REFUSED, reason, question->user_data);
}

static const char *reason_of(gboolean challenge, GVariant *details)
{
    const char *dismissed;

    if (challenge) {
        return "polkit wants an administrator's password for it, and has nobody to ask";
    }
    if (g_variant_lookup(details, "polkit.dismissed", "&s", &dismissed)) {
        return "nobody gave polkit the password that it asked for";
    }
    return "polkit does not grant it";
}

static void on_answer(GObject *object, GAsyncResult *result, gpointer user_data)
{
    struct question *question = user_data;
    g_autoptr(GError) error = NULL;
    g_autoptr(GVariant) details = NULL;
    g_autoptr(GVariant) reply =
        g_dbus_connection_call_finish(G_DBUS_CONNECTION(object), result, &error);
    gboolean granted = FALSE, challenge = FALSE;

    if (reply != NULL) {
        g_variant_get(reply, "((bb@a{ss}))", &granted, &challenge, &details);
        question->answer(granted ? BUS_POLKIT_GRANTED : BUS_POLKIT_REFUSED,
                         granted ? NULL : reason_of(challenge, details), question->user_data);
    } else if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CANCELLED)) {
        call_off(question); /* and user_data may be gone */
    } else {
        answer_with_error(question, error);
    }
    question_free(question);
}

static GVariant *parameters_of(const struct bus_polkit_question *question, const char *cancellation)
{
    GVariantBuilder subject = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE_VARDICT);
    GVariantBuilder details = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("a{ss}"));

    g_variant_builder_add(&subject, "{sv}", "name", g_variant_new_string(question->sender));
    g_variant_builder_add(&details, "{ss}", "partition", question->partition);
    return g_variant_new("((sa{sv})sa{ss}us)", "system-bus-name", &subject, question->action,
                         &details, question->interactive ? ALLOW_USER_INTERACTION : 0,
                         cancellation);
}

void bus_polkit_ask(GDBusConnection *connection, const struct bus_polkit_question *question,
                    GCancellable *cancellable, bus_polkit_answer_func answer, gpointer user_data)
{
    struct question *asked = g_new(struct question, 1);
    int seconds = question->interactive ? BUS_POLKIT_PASSWORD_SECONDS : RULES_SECONDS;

    /* The name need only differ from that of any other question that waits. */
    *asked = (struct question){.connection = g_object_ref(connection),
                               .cancellation = question->interactive
                                                   ? g_strdup_printf("hvtimer-%p", (void *)asked)
                                                   : g_strdup(""),
                               .answer = answer,
                               .user_data = user_data};
    g_dbus_connection_call(connection, POLKIT_NAME, POLKIT_PATH, POLKIT_INTERFACE,
                           "CheckAuthorization", parameters_of(question, asked->cancellation),
                           G_VARIANT_TYPE("((bba{ss}))"), G_DBUS_CALL_FLAGS_NONE, seconds * 1000,
                           cancellable, on_answer, asked);
}

guint bus_polkit_watch(GDBusConnection *connection, GDBusSignalCallback changed, gpointer user_data)
{
    return g_dbus_connection_signal_subscribe(connection, POLKIT_NAME, POLKIT_INTERFACE, "Changed",
                                              POLKIT_PATH, NULL, G_DBUS_SIGNAL_FLAGS_NONE, changed,
                                              user_data, NULL);
}
