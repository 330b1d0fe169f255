/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The verb monitor: what happens to the partitions, one line per event, as it happens. As text
 *     TIME NAME EVENT KEY=VALUE ...
 * or as one JSON object per line with the same keys: time, event, and, but for daemon, id, name,
 * uuid.
 *
 *   daemon             change: appeared, vanished. The first line says which it is. With
 *                      vanished, all partitions have gone
 *   present            it was there before: state, source, pid, injector, enabled, period_ns;
 *                      problem, if there is one
 *   partition-added    it has come, be it with a daemon that has just begun: the same
 *   partition-removed  it has gone
 *   state              state: running, paused, shutoff
 *   timer              enabled, period_ns, emulated_timer_period, emulated_timer_control
 *   injector           injector, accounting, base_timer; base_timer_source, if there is one
 *   policy             policy: an object as in status; in the text, its keys: name, threshold, ...
 *   supervision        supervision: an object; in the text, its keys: timer, mode, effective, ...
 *   problem            problem: what is wrong; "": it is put right
 *   ticks-lost         lost: ticks given up since the last reading; skipped: in all;
 *                      clock_behind_us
 *   backlog            change: began, cleared; backlog, clock_behind_us
 *
 * The last two are found by a reading of the figures per interval: what begins and ends within one
 * is not seen. Everything else comes from hvtimerd's own signals.
 */
#include "hvapi/ctl.h"

#include "common/status.h"
#include "hvapi/ctl-behind.h"
#include "hvapi/ctl-follow.h"
#include "hvapi/ctl-print.h"
#include <errno.h>
#include <glib-unix.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

struct monitor {
    GMainLoop *loop;
    Follow *follow;
    gboolean json;
    const char *domain;  /* NULL: all */
    gboolean looked;     /* it was said if there is no such partition, */
    gboolean complained; /* and that hvtimerd does not tell */
    GError *error;       /* what ended it; NULL: it was asked to end */
};

/* ---- values ---- */

static void add_string(json_object *object, const char *key, const char *value)
{
    json_object_object_add(object, key, json_object_new_string(value));
}

static void add_integer(json_object *object, const char *key, uint64_t value)
{
    json_object_object_add(object, key, json_object_new_uint64(value));
}

/* With 15 digits, which a double keeps. */
static void add_number(json_object *object, const char *key, double value)
{
    char text[G_ASCII_DTOSTR_BUF_SIZE];

    g_ascii_formatd(text, sizeof text, "%.15g", value);
    json_object_object_add(object, key, json_object_new_double_s(value, text));
}

static void add_behind(json_object *object, const hvapi_statistics *s)
{
    add_number(object, "clock_behind_us", (double)s->clock_behind_ns / 1000);
}

static json_object *basic_to_json(GVariant *value)
{
    switch (g_variant_classify(value)) {
    case G_VARIANT_CLASS_BOOLEAN:
        return json_object_new_boolean(g_variant_get_boolean(value));
    case G_VARIANT_CLASS_UINT32:
        return json_object_new_uint64(g_variant_get_uint32(value));
    case G_VARIANT_CLASS_UINT64:
        return json_object_new_uint64(g_variant_get_uint64(value));
    case G_VARIANT_CLASS_STRING:
        return json_object_new_string(g_variant_get_string(value, NULL));
    default:
        return NULL;
    }
}

/* Of @dict, an a{sv} or NULL, the keys that it has, in the order of @keys: {theirs, ours}. */
static json_object *dict_to_json(GVariant *dict, const char *const (*keys)[2])
{
    json_object *object = json_object_new_object();

    for (; dict != NULL && (*keys)[0] != NULL; keys++) {
        g_autoptr(GVariant) value = g_variant_lookup_value(dict, (*keys)[0], NULL);

        if (value != NULL) {
            json_object_object_add(object, (*keys)[1], basic_to_json(value));
        }
    }
    return object;
}

/* ---- lines ---- */

static void finish(struct monitor *monitor, GError *error)
{
    if (monitor->error == NULL) {
        monitor->error = error;
    } else {
        g_clear_error(&error);
    }
    g_main_loop_quit(monitor->loop);
}

/* At once and whole: whoever reads a pipe waits for it. */
static void write_line(struct monitor *monitor, const char *line)
{
    g_autofree char *text = g_strconcat(line, "\n", NULL);

    for (size_t done = 0, length = strlen(text); done < length;) {
        ssize_t n = write(STDOUT_FILENO, text + done, length - done);

        if (n >= 0) {
            done += (size_t)n;
        } else if (errno == EPIPE) {
            finish(monitor, NULL); /* nobody reads any more */
            return;
        } else if (errno == EAGAIN) {
            GPollFD writable = {.fd = STDOUT_FILENO, .events = G_IO_OUT};
            (void)g_poll(&writable, 1, -1);
        } else if (errno != EINTR) {
            finish(monitor, g_error_new(G_FILE_ERROR, (gint)g_file_error_from_errno(errno),
                                        "can't write the output: %s", g_strerror(errno)));
            return;
        }
    }
}

/* As it is, or in quotes if it would not be one word. */
static void append_word(GString *line, const char *text)
{
    gboolean plain = *text != '\0';

    for (const char *c = text; *c != '\0'; c = g_utf8_next_char(c)) {
        gunichar character = g_utf8_get_char(c);

        plain = plain && g_unichar_isprint(character) && !g_unichar_isspace(character) &&
                *c != '"' && *c != '=';
    }
    if (plain) {
        g_string_append(line, text);
        return;
    }
    json_object *object = json_object_new_string(text);
    /* JSON lets control characters beyond ASCII be as they are. */
    g_autofree char *quoted = ctl_printable(json_object_to_json_string_ext(
        object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
    g_string_append(line, quoted);
    json_object_put(object);
}

static void append_details(GString *line, json_object *details)
{
    json_object_object_foreach(details, key, value)
    {
        if (json_object_is_type(value, json_type_object)) {
            append_details(line, value);
            continue;
        }
        g_string_append_printf(line, " %s=", key);
        append_word(line, json_object_get_string(value));
    }
}

static char *format_text(const char *time, const char *event, const struct followed *p,
                         json_object *details)
{
    g_autoptr(GString) line = g_string_new(time);

    g_string_append_c(line, ' ');
    append_word(line, p != NULL ? followed_text(p, "Name") : "-");
    g_string_append_printf(line, " %s", event);
    append_details(line, details);
    return g_string_free(g_steal_pointer(&line), FALSE);
}

static char *format_json(const char *time, const char *event, const struct followed *p,
                         json_object *details)
{
    json_object *object = json_object_new_object();

    add_string(object, "time", time);
    add_string(object, "event", event);
    if (p != NULL) {
        add_integer(object, "id", p->id);
        add_string(object, "name", followed_text(p, "Name"));
        add_string(object, "uuid", followed_text(p, "Uuid"));
    }
    json_object_object_foreach(details, key, value)
    {
        json_object_object_add(object, key, json_object_get(value));
    }
    char *line = g_strdup(json_object_to_json_string_ext(
        object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
    json_object_put(object);
    return line;
}

/* "2026-03-29T14:00:00.123+02:00" */
static char *format_now(void)
{
    g_autoptr(GDateTime) now = g_date_time_new_now_local();
    g_autofree char *seconds = g_date_time_format(now, "%Y-%m-%dT%H:%M:%S");
    g_autofree char *offset = g_date_time_format(now, "%:z");

    return g_strdup_printf("%s.%03d%s", seconds, g_date_time_get_microsecond(now) / 1000, offset);
}

static gboolean is_wanted(const struct monitor *monitor, const struct followed *p)
{
    g_autofree char *id = g_strdup_printf("%" PRIu64, p->id);

    return monitor->domain == NULL || g_str_equal(monitor->domain, followed_text(p, "Name")) ||
           g_ascii_strcasecmp(monitor->domain, followed_text(p, "Uuid")) == 0 ||
           g_str_equal(monitor->domain, id);
}

/* @p: NULL: of the daemon. Takes @details over. */
static void emit(struct monitor *monitor, const char *event, const struct followed *p,
                 json_object *details)
{
    if (p == NULL || is_wanted(monitor, p)) {
        g_autofree char *time = format_now();
        g_autofree char *line = monitor->json ? format_json(time, event, p, details)
                                              : format_text(time, event, p, details);

        write_line(monitor, line);
    }
    json_object_put(details);
}

/* ---- what the events tell ---- */

static json_object *state_details(const struct followed *p)
{
    json_object *details = json_object_new_object();

    add_string(details, "state", followed_text(p, "State"));
    return details;
}

static json_object *timer_details(const struct followed *p)
{
    json_object *details = json_object_new_object();
    g_autofree char *control =
        g_strdup_printf("0x%016" PRIx64, followed_number(p, "EmulatedTimerControl"));

    json_object_object_add(details, "enabled", json_object_new_boolean(followed_enabled(p)));
    add_number(details, "period_ns", followed_double(p, "PeriodNs"));
    add_integer(details, "emulated_timer_period", followed_number(p, "EmulatedTimerPeriod"));
    add_string(details, "emulated_timer_control", control);
    return details;
}

static json_object *injector_details(const struct followed *p)
{
    json_object *details = json_object_new_object();
    const char *source = followed_text(p, "BaseTimerSource");

    add_string(details, "injector", followed_text(p, "Injector"));
    add_string(details, "accounting", followed_text(p, "Accounting"));
    add_string(details, "base_timer", followed_text(p, "BaseTimer"));
    if (*source != '\0') {
        add_string(details, "base_timer_source", source);
    }
    return details;
}

static json_object *policy_details(const struct followed *p)
{
    static const char *const keys[][2] = {{"policy", "name"},         {"threshold", "threshold"},
                                          {"slew", "slew"},           {"limit_ms", "limit_ms"},
                                          {"on_resume", "on_resume"}, {NULL, NULL}};
    json_object *details = json_object_new_object();

    json_object_object_add(details, "policy", dict_to_json(followed_value(p, "Policy"), keys));
    return details;
}

static json_object *supervision_details(const struct followed *p)
{
    static const char *const keys[][2] = {{"timer", "timer"},
                                          {"mode", "mode"},
                                          {"force", "force"},
                                          {"effective", "effective"},
                                          {"learned", "learned"},
                                          {"routing", "routing"},
                                          {NULL, NULL}};
    json_object *details = json_object_new_object();

    json_object_object_add(details, "supervision",
                           dict_to_json(followed_value(p, "Supervision"), keys));
    return details;
}

static json_object *problem_details(const struct followed *p)
{
    json_object *details = json_object_new_object();

    add_string(details, "problem", followed_text(p, "Problem"));
    return details;
}

static json_object *partition_details(const struct followed *p)
{
    json_object *details = json_object_new_object();

    add_string(details, "state", followed_text(p, "State"));
    add_string(details, "source", followed_text(p, "Source"));
    add_integer(details, "pid", followed_number(p, "Pid"));
    add_string(details, "injector", followed_text(p, "Injector"));
    json_object_object_add(details, "enabled", json_object_new_boolean(followed_enabled(p)));
    add_number(details, "period_ns", followed_double(p, "PeriodNs"));
    if (*followed_text(p, "Problem") != '\0') {
        add_string(details, "problem", followed_text(p, "Problem"));
    }
    return details;
}

/* Which properties make which event. */
static const struct {
    const char *event;
    const char *properties[5];
    json_object *(*details)(const struct followed *p);
} changes[] = {
    {"state", {"State"}, state_details},
    {"timer", {"EmulatedTimerPeriod", "EmulatedTimerControl", "PeriodNs"}, timer_details},
    {"injector", {"Injector", "Accounting", "BaseTimer", "BaseTimerSource"}, injector_details},
    {"policy", {"Policy"}, policy_details},
    {"supervision", {"Supervision"}, supervision_details},
    {"problem", {"Problem"}, problem_details},
};

/* ---- what happens ---- */

static void on_daemon(gboolean here, gpointer user_data)
{
    json_object *details = json_object_new_object();

    add_string(details, "change", here ? "appeared" : "vanished");
    emit(user_data, "daemon", NULL, details);
}

static void on_found(const struct followed *p, gboolean is_new, gpointer user_data)
{
    emit(user_data, is_new ? "partition-added" : "present", p, partition_details(p));
}

static void on_ended(const struct followed *p, gpointer user_data)
{
    emit(user_data, "partition-removed", p, json_object_new_object());
}

static gboolean has_any(const char *const *names, const char *const *wanted)
{
    for (; *wanted != NULL; wanted++) {
        if (g_strv_contains(names, *wanted)) {
            return TRUE;
        }
    }
    return FALSE;
}

static void on_changed(const struct followed *p, const char *const *names, gpointer user_data)
{
    for (size_t i = 0; i < G_N_ELEMENTS(changes); i++) {
        if (has_any(names, changes[i].properties)) {
            emit(user_data, changes[i].event, p, changes[i].details(p));
        }
    }
}

static void emit_backlog(struct monitor *monitor, const struct followed *p, const char *change)
{
    json_object *details = json_object_new_object();

    add_string(details, "change", change);
    add_integer(details, "backlog", p->statistics.backlog);
    add_behind(details, &p->statistics);
    emit(monitor, "backlog", p, details);
}

static void emit_lost(struct monitor *monitor, const struct followed *p, uint64_t lost)
{
    json_object *details = json_object_new_object();

    add_integer(details, "lost", lost);
    add_integer(details, "skipped", p->statistics.skipped);
    add_behind(details, &p->statistics);
    emit(monitor, "ticks-lost", p, details);
}

static void on_read(const struct followed *p, const hvapi_statistics *before, gpointer user_data)
{
    struct monitor *monitor = user_data;
    const hvapi_statistics *now = &p->statistics;
    gboolean was_behind = before != NULL && statistics_are_behind(before);

    monitor->complained = FALSE;
    if (before != NULL && now->skipped > before->skipped) {
        emit_lost(monitor, p, now->skipped - before->skipped);
    } else if (before != NULL && now->skipped < before->skipped && now->skipped != 0) {
        emit_lost(monitor, p, now->skipped); /* counted anew since */
    }
    if (statistics_are_behind(now) != was_behind) {
        emit_backlog(monitor, p, was_behind ? "cleared" : "began");
    }
}

static void on_settled(gpointer user_data)
{
    struct monitor *monitor = user_data;
    g_autoptr(GPtrArray) partitions = follow_partitions(monitor->follow);
    gboolean there = FALSE;

    for (guint i = 0; i < partitions->len; i++) {
        there = there || is_wanted(monitor, partitions->pdata[i]);
    }
    if (!there && monitor->domain != NULL && !monitor->looked) {
        fprintf(stderr, "hvtimerctl: there is no partition '%s' yet; waiting for it\n",
                monitor->domain);
    }
    monitor->looked = TRUE;
}

static void on_failed(const GError *error, gpointer user_data)
{
    struct monitor *monitor = user_data;

    if (g_error_matches(error, G_DBUS_ERROR, G_DBUS_ERROR_ACCESS_DENIED) ||
        g_error_matches(error, HV_STATUS_ERROR, HV_STATUS_ACCESS_DENIED)) {
        finish(monitor, g_error_copy(error));
    } else if (!monitor->complained) {
        g_autoptr(GError) copy = g_error_copy(error);

        g_dbus_error_strip_remote_error(copy);
        g_autofree char *message = ctl_printable(copy->message);
        fprintf(stderr, "hvtimerctl: hvtimerd does not tell: %s; trying again\n", message);
        monitor->complained = TRUE;
    }
}

static const struct follow_events events = {
    .daemon = on_daemon,
    .found = on_found,
    .ended = on_ended,
    .changed = on_changed,
    .read = on_read,
    .settled = on_settled,
    .failed = on_failed,
};

/* ---- the verb ---- */

static gboolean on_time(gpointer user_data)
{
    struct monitor *monitor = user_data;

    follow_read(monitor->follow);
    return G_SOURCE_CONTINUE;
}

static gboolean on_reader_gone(G_GNUC_UNUSED gint fd, G_GNUC_UNUSED GIOCondition condition,
                               gpointer user_data)
{
    finish(user_data, NULL);
    return G_SOURCE_REMOVE;
}

/* Every line is out when it is made: nothing is left to do. Also where a full pipe or a bus that
 * hangs keeps the main loop from running. */
static void on_signal(G_GNUC_UNUSED int number)
{
    _exit(CTL_EXIT_DONE);
}

static void set_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};

    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    action.sa_handler = SIG_IGN; /* write() tells */
    sigaction(SIGPIPE, &action, NULL);
}

static gboolean run(struct monitor *monitor, const char *bus, double interval, GError **error)
{
    g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
    guint reader, timer;

    set_signals();
    monitor->loop = loop;
    monitor->follow = follow_new(bus, &events, monitor, error);
    if (monitor->follow == NULL) {
        return FALSE;
    }
    reader = g_unix_fd_add(STDOUT_FILENO, G_IO_ERR | G_IO_HUP, on_reader_gone, monitor);
    timer = g_timeout_add((guint)(interval * 1000), on_time, monitor);
    g_main_loop_run(loop);
    g_source_remove(timer);
    if (g_main_context_find_source_by_id(NULL, reader) != NULL) {
        g_source_remove(reader);
    }
    follow_free(monitor->follow);
    if (monitor->error != NULL) {
        g_propagate_error(error, monitor->error);
        return FALSE;
    }
    return TRUE;
}

gboolean ctl_monitor(struct ctl *ctl, GError **error)
{
    g_autofree char *domain = NULL;
    double interval = 1;
    const GOptionEntry options[] = {
        {"interval", 'i', 0, G_OPTION_ARG_DOUBLE, &interval,
         "Time between two readings of the figures (default: 1)", "SECONDS"},
        {"domain", 'd', 0, G_OPTION_ARG_STRING, &domain, "Follow one partition only", "DOMAIN"},
        G_OPTION_ENTRY_NULL,
    };
    g_auto(GStrv) arguments = ctl_parse(ctl, options, error);
    struct monitor monitor = {.json = ctl->json};

    if (arguments == NULL || !follow_check_interval(interval, error)) {
        return FALSE;
    }
    monitor.domain = domain;
    return run(&monitor, ctl->bus, interval, error);
}
