/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hvtimerctl: the command line of hvtimer. Here: which verbs there are, the options common to
 * them, and the exit status.
 */
#include "hvapi/ctl.h"

#include "common/status.h"
#include "hvapi/ctl-print.h"
#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>

/* Of rtc and pit. */
#define SUPERVISION_MODES                                                                        \
    "  slew     What the guest loses is made up, smoothly, as its policy says. Where the VMM\n"  \
    "           does so itself, it is only counted, unless --force is given.\n"                  \
    "  observe  What it loses is only counted; 'hvtimerctl status DOMAIN' shows it.\n"           \
    "  off      Its timer is left alone.\n\n"                                                    \
    "The rate is the guest's own choice, and is learnt. A partition has one timer: the one of\n" \
    "'hvtimerctl enable' is to be disabled first."

static const struct ctl_verb verbs[] = {
    {"list", "", "List the partitions, one line each", ctl_list},
    {"status", "DOMAIN", "Show everything about one partition", ctl_status},
    {"get", "DOMAIN PROPERTY", "Print EmulatedTimerPeriod or EmulatedTimerControl", ctl_get},
    {"set", "DOMAIN PROPERTY VALUE", "Set EmulatedTimerPeriod or EmulatedTimerControl", ctl_set},
    {"enable", "DOMAIN", "Start the timer: period, vector and destination in one step", ctl_enable},
    {"disable", "DOMAIN", "Stop the timer", ctl_disable},
    {"rtc", "DOMAIN slew|observe|off",
     "Make up lost RTC interrupts: old Windows counts them to keep time\n\n"
     "Windows 2000, XP, 2003, Vista, 7 and 2008 add a fixed time per interrupt of the RTC:\n"
     "with each one that they lose, their clock falls behind.\n\n" SUPERVISION_MODES,
     ctl_rtc},
    {"pit", "DOMAIN slew|observe|off",
     "Make up lost PIT interrupts, for guests that count those\n\n" SUPERVISION_MODES, ctl_pit},
    {"policy", "DOMAIN", "Show the catch-up policy, or change parts of it", ctl_policy},
    {"reset-backlog", "DOMAIN", "Give up the ticks that are to be made up", ctl_reset_backlog},
    {"attach", "", "Make a KVM process that libvirt does not know a partition", ctl_attach},
    {"detach", "DOMAIN", "End a partition made by attach", ctl_detach},
    {"metrics", "",
     "Print all figures as OpenMetrics, for a monitoring system\n\n"
     "The same text as hvtimerd serves over HTTP, where the key metrics_listen of its\n"
     "configuration says so. It ends with '# EOF': what does not is not whole.",
     ctl_metrics},
    {"top", "",
     "Show all partitions live: is one losing ticks?\n\n"
     "One row per partition, on a terminal anew every second; without one, a plain table.\n\n"
     "  !        before the name (MARK): it is losing ticks; +: a backlog is being made up\n"
     "  RATE     Ticks per second that its timer stands for; ACK/s: that the guest has taken\n"
     "  LOST     Ticks given up; BACKLOG: still to be made up\n"
     "  CLOCK    How far a clock that counts the ticks is behind; its course on the right\n"
     "  P99us    99 of 100 ticks were raised no later than this, in microseconds\n"
     "  INJ      The injector; BASE: where its ticks come from: daemon, vmx (the VMX preemption\n"
     "           timer), hrtimer, rtc (QEMU's), pit (KVM's)\n\n"
     "Keys: q quit, < > or arrows: the column to sort by, r the other way round, h help.",
     ctl_top},
    {"monitor", "",
     "Print events as they happen, one per line\n\n"
     "daemon, present, partition-added, partition-removed, state, timer, injector, policy,\n"
     "supervision, problem, ticks-lost, backlog: with the time, the partition's name, and details.",
     ctl_monitor},
    {"verify", "",
     "Is this host fit? Each finding with its remedy\n\n"
     "One line per finding (a paragraph on a terminal): ok; info, where there is nothing to judge\n"
     "or it can't be told; warn, where hvtimer works, but could better; fail. The exit status is "
     "1\n"
     "if one fails. It asks the kernel, the CPU, libvirt and hvtimerd, for a few seconds at most,\n"
     "and changes nothing; root sees more.",
     ctl_verify},
};

static char *list_verbs(void)
{
    g_autoptr(GString) text = g_string_new("Verbs:\n");

    for (size_t i = 0; i < G_N_ELEMENTS(verbs); i++) {
        g_autofree char *call = g_strdup_printf("%s %s", verbs[i].name, verbs[i].arguments);

        g_string_append_printf(text, "  %-28s  %.*s\n", call, (int)strcspn(verbs[i].summary, "\n"),
                               verbs[i].summary);
    }
    g_string_append(text, "\nDOMAIN is a partition's name, UUID or id. "
                          "'hvtimerctl VERB --help' shows a verb's options.");
    return g_string_free(g_steal_pointer(&text), FALSE);
}

static unsigned count_words(const char *text)
{
    g_auto(GStrv) words = g_strsplit(text, " ", 0);

    return g_strv_length(words);
}

static gboolean check_arguments(const struct ctl_verb *verb, char **arguments, GError **error)
{
    if (g_strv_length(arguments) != count_words(verb->arguments)) {
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_FAILED, "%s takes %s; %u given",
                    verb->name, *verb->arguments != '\0' ? verb->arguments : "no arguments",
                    g_strv_length(arguments));
        return FALSE;
    }
    for (char **argument = arguments; *argument != NULL; argument++) {
        if (!g_utf8_validate(*argument, -1, NULL)) {
            g_autofree char *shown = g_utf8_make_valid(*argument, -1);

            g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                        "'%s' is not UTF-8; give UTF-8 (a partition can be named by its id, too)",
                        shown);
            return FALSE;
        }
    }
    return TRUE;
}

/* The options that may stand before the verb and behind it, and the rest. */
static void add_common_options(GOptionContext *context, struct ctl *ctl, char ***ret_rest,
                               const char *rest)
{
    const GOptionEntry entries[] = {
        {"bus", 'b', 0, G_OPTION_ARG_STRING, &ctl->bus,
         "Bus to meet hvtimerd on (default: HVTIMER_BUS_ADDRESS, or system)",
         "system|session|ADDRESS"},
        {"json", 'j', 0, G_OPTION_ARG_NONE, &ctl->json, "Print JSON", NULL},
        {G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, ret_rest, NULL, rest},
        G_OPTION_ENTRY_NULL,
    };

    g_option_context_add_main_entries(context, entries, NULL);
}

/* GLib takes "--live=no" for --live. */
static gboolean check_flags(const GOptionEntry *options, char **words, GError **error)
{
    for (; options != NULL && options->long_name != NULL; options++) {
        g_autofree char *wrong = g_strdup_printf("--%s=", options->long_name);

        for (char **word = words; options->arg == G_OPTION_ARG_NONE && *word != NULL; word++) {
            if (g_str_has_prefix(*word, wrong)) {
                g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                            "--%s takes no value; leave '%s' out", options->long_name,
                            *word + strlen(wrong) - 1);
                return FALSE;
            }
        }
    }
    return TRUE;
}

/* The values of options are in the character set of the locale; of one that is not, GLib doesn't
 * say which it is. */
static void name_bad_text(char **words, GError **error)
{
    const char *charset;

    if (error == NULL || (*error)->domain != G_CONVERT_ERROR) {
        return;
    }
    g_get_charset(&charset);
    for (; *words != NULL; words++) {
        g_autofree char *text = g_locale_to_utf8(*words, -1, NULL, NULL, NULL);

        if (text == NULL) {
            g_autofree char *shown = g_utf8_make_valid(*words, -1);

            g_clear_error(error);
            g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                        "'%s' is not text in %s, the character set of this locale; give it in "
                        "that, or set LC_ALL to another locale, such as C.UTF-8",
                        shown, charset);
            return;
        }
    }
}

/* As g_option_context_parse_strv(), with errors that name what is wrong. @options: with those that
 * take no value. */
static gboolean parse_words(GOptionContext *context, const GOptionEntry *options, char **given,
                            GError **error)
{
    static const GOptionEntry common[] = {{.long_name = "json", .arg = G_OPTION_ARG_NONE}, {0}};
    g_auto(GStrv) words = g_strdupv(given);

    if (!check_flags(options, given + 1, error) || !check_flags(common, given + 1, error)) {
        return FALSE;
    }
    if (!g_option_context_parse_strv(context, &words, error)) {
        name_bad_text(given + 1, error);
        return FALSE;
    }
    return TRUE;
}

char **ctl_parse(struct ctl *ctl, const GOptionEntry *options, GError **error)
{
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_auto(GStrv) arguments = NULL;
    g_autofree char *bus = g_steal_pointer(&ctl->bus); /* a second --bus would leak it */
    gboolean ok;

    g_option_context_set_summary(context, ctl->verb->summary);
    if (options != NULL) {
        g_option_context_add_main_entries(context, options, NULL);
    }
    add_common_options(context, ctl, &arguments, ctl->verb->arguments);
    ok = parse_words(context, options, ctl->words, error);
    if (ctl->bus == NULL) {
        ctl->bus = g_steal_pointer(&bus);
    }
    if (!ok) {
        return NULL;
    }
    if (arguments == NULL) {
        arguments = g_new0(char *, 1);
    }
    return check_arguments(ctl->verb, arguments, error) ? g_steal_pointer(&arguments) : NULL;
}

/* What stands before the verb; the verb and what follows it become @ctl's words. */
static gboolean parse_common(struct ctl *ctl, char **argv, gboolean *ret_version, GError **error)
{
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_autofree char *summary = list_verbs();
    const GOptionEntry entries[] = {
        {"version", 'V', 0, G_OPTION_ARG_NONE, ret_version, "Print the version, and end", NULL},
        G_OPTION_ENTRY_NULL,
    };

    add_common_options(context, ctl, &ctl->words, "VERB ...");
    g_option_context_add_main_entries(context, entries, NULL);
    g_option_context_set_summary(context, summary);
    g_option_context_set_strict_posix(context, TRUE);
    return parse_words(context, entries, argv, error);
}

static const struct ctl_verb *find_verb(char **words, GError **error)
{
    if (words == NULL) {
        g_set_error_literal(error, G_OPTION_ERROR, G_OPTION_ERROR_FAILED,
                            "there is no verb; give one of those that --help lists, such as list");
        return NULL;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(verbs); i++) {
        if (g_str_equal(words[0], verbs[i].name)) {
            return &verbs[i];
        }
    }
    g_autofree char *shown = g_utf8_make_valid(words[0], -1);
    g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_FAILED,
                "'%s' is not a verb; give one of those that --help lists", shown);
    return NULL;
}

static gboolean run(struct ctl *ctl, char **argv, GError **error)
{
    gboolean version = FALSE;

    if (!parse_common(ctl, argv, &version, error)) {
        return FALSE;
    }
    if (version) {
        printf("hvtimerctl %s\n", PACKAGE_VERSION);
        return TRUE;
    }
    ctl->verb = find_verb(ctl->words, error);
    if (ctl->verb == NULL) {
        return FALSE;
    }

    g_autofree char *name = g_strdup_printf("hvtimerctl %s", ctl->verb->name);

    /* --help begins with it. */
    g_set_prgname(name);
    return ctl->verb->run(ctl, error);
}

/* What could not be written was not done, for whoever reads it. */
static gboolean flush_output(GError **error)
{
    if (fflush(stdout) == 0 && !ferror(stdout)) {
        return TRUE;
    }
    g_set_error(error, G_FILE_ERROR, (gint)g_file_error_from_errno(errno),
                "can't write the output: %s", g_strerror(errno));
    return FALSE;
}

static enum ctl_exit exit_of_status(HV_STATUS status)
{
    switch (status) {
    case HV_STATUS_INVALID_PARTITION_ID:
        return CTL_EXIT_NO_PARTITION;
    case HV_STATUS_INVALID_PARTITION_STATE:
    case HV_STATUS_OPERATION_DENIED:
        return CTL_EXIT_UNSUPPORTED;
    case HV_STATUS_ACCESS_DENIED:
        return CTL_EXIT_NOT_ALLOWED;
    default:
        return CTL_EXIT_FAILED;
    }
}

static enum ctl_exit exit_of_bus_error(int code)
{
    switch (code) {
    case G_DBUS_ERROR_ACCESS_DENIED:
    case G_DBUS_ERROR_AUTH_FAILED:
        return CTL_EXIT_NOT_ALLOWED;
    case G_DBUS_ERROR_UNKNOWN_OBJECT:
        return CTL_EXIT_NO_PARTITION;
    case G_DBUS_ERROR_UNKNOWN_METHOD:
    case G_DBUS_ERROR_UNKNOWN_INTERFACE:
        return CTL_EXIT_UNSUPPORTED;
    default:
        return CTL_EXIT_FAILED;
    }
}

static enum ctl_exit exit_of_error(const GError *error)
{
    if (error->domain == G_OPTION_ERROR) {
        return CTL_EXIT_USAGE;
    }
    if (error->domain == HV_STATUS_ERROR) {
        return exit_of_status((HV_STATUS)error->code);
    }
    if (error->domain == G_DBUS_ERROR) {
        return exit_of_bus_error(error->code);
    }
    if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED)) {
        return CTL_EXIT_NOT_ALLOWED;
    }
    return CTL_EXIT_FAILED;
}

/* The bus's own words are about rules, sockets and replies. */
static const char *introduction(const GError *error)
{
    if (g_error_matches(error, G_DBUS_ERROR, G_DBUS_ERROR_ACCESS_DENIED)) {
        return "the bus does not allow this to you; try as root: ";
    }
    if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT) ||
        g_error_matches(error, G_DBUS_ERROR, G_DBUS_ERROR_NO_REPLY)) {
        return "hvtimerd, or the bus, does not answer; 'hvtimerctl verify' tells more: ";
    }
    return "";
}

static void print_error(GError *error)
{
    if (g_error_matches(error, G_DBUS_ERROR, G_DBUS_ERROR_SERVICE_UNKNOWN) ||
        g_error_matches(error, G_DBUS_ERROR, G_DBUS_ERROR_NAME_HAS_NO_OWNER)) {
        fputs("hvtimerctl: hvtimerd does not run on this bus: start it with 'systemctl start "
              "hvtimerd', or name its bus with --bus\n",
              stderr);
        return;
    }
    g_dbus_error_strip_remote_error(error);
    g_autofree char *message = ctl_printable(error->message);
    fprintf(stderr, "hvtimerctl: %s%s\n", introduction(error), message);
    if (error->domain == G_OPTION_ERROR) {
        fprintf(stderr, "Try '%s --help'.\n", g_get_prgname());
    }
}

int main(G_GNUC_UNUSED int argc, char **argv)
{
    struct ctl ctl = {0};
    g_autoptr(GError) error = NULL;
    gboolean done;

    /* Names are printed in the user's character set; numbers stay as programs expect them. */
    setlocale(LC_CTYPE, "");
    g_set_prgname("hvtimerctl");
    done = run(&ctl, argv, &error) && flush_output(&error);
    g_strfreev(ctl.words);
    g_free(ctl.bus);
    if (!done) {
        print_error(error);
    }
    return done ? CTL_EXIT_DONE : (int)exit_of_error(error);
}
