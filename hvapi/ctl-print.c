/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What hvtimerctl prints: see ctl-print.h. The JSON is a contract, the text is for eyes. */
#include "hvapi/ctl-print.h"

#include "common/values.h"
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>

#define CONTROL_FORMAT "0x%016" PRIx64

/* ---- JSON ---- */

static void print_json(json_object *object)
{
    puts(json_object_to_json_string_ext(object,
                                        JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
    json_object_put(object);
}

static void add_string(json_object *object, const char *key, const char *value)
{
    json_object_object_add(object, key, json_object_new_string(value));
}

static void add_integer(json_object *object, const char *key, uint64_t value)
{
    json_object_object_add(object, key, json_object_new_uint64(value));
}

/* With 15 digits, which a double keeps: json-c's own 17 make 12.345 12.345000000000001. */
static void add_number(json_object *object, const char *key, double value)
{
    char text[G_ASCII_DTOSTR_BUF_SIZE];

    g_ascii_formatd(text, sizeof(text), "%.15g", value);
    json_object_object_add(object, key, json_object_new_double_s(value, text));
}

/* As text: many readers of JSON keep numbers in 53 bits. */
static void add_control(json_object *object, const char *key, uint64_t control)
{
    g_autofree char *text = g_strdup_printf(CONTROL_FORMAT, control);

    add_string(object, key, text);
}

static json_object *policy_to_json(const CtlPartition *p)
{
    json_object *object = json_object_new_object();

    add_string(object, "name", p->policy.mode);
    add_integer(object, "threshold", p->policy.threshold);
    add_integer(object, "slew", p->policy.slew);
    add_integer(object, "limit_ms", p->policy.limit_ms);
    add_string(object, "on_resume", p->policy.on_resume);
    return object;
}

/* With the keys that the daemon tells. */
static json_object *supervision_to_json(GVariant *supervision)
{
    static const char *const keys[] = {"timer", "mode", "force", "effective", "learned", "routing"};
    json_object *object = json_object_new_object();

    for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
        g_autoptr(GVariant) value = g_variant_lookup_value(supervision, keys[i], NULL);

        if (value != NULL && g_variant_is_of_type(value, G_VARIANT_TYPE_STRING)) {
            add_string(object, keys[i], g_variant_get_string(value, NULL));
        } else if (value != NULL && g_variant_is_of_type(value, G_VARIANT_TYPE_BOOLEAN)) {
            json_object_object_add(object, keys[i],
                                   json_object_new_boolean(g_variant_get_boolean(value)));
        }
    }
    return object;
}

static json_object *ticks_to_json(const hvapi_statistics *s)
{
    json_object *object = json_object_new_object();

    add_integer(object, "due", s->due);
    add_integer(object, "injected", s->injected);
    add_integer(object, "acknowledged", s->acknowledged);
    add_integer(object, "in_flight", s->in_flight);
    add_integer(object, "backlog", s->backlog);
    add_integer(object, "skipped", s->skipped);
    return object;
}

static json_object *lateness_to_json(const hvapi_statistics *s)
{
    json_object *object = json_object_new_object();

    add_number(object, "p50", (double)s->lateness_p50_ns / 1000);
    add_number(object, "p99", (double)s->lateness_p99_ns / 1000);
    add_number(object, "max", (double)s->lateness_max_ns / 1000);
    return object;
}

/* "" where there is nothing to be told, as with a daemon that doesn't know of it. */
static const char *base_timer_source(HvtDbusPartition *proxy)
{
    const char *source = hvt_dbus_partition_get_base_timer_source(proxy);

    return source != NULL ? source : "";
}

static json_object *status_to_json(const CtlPartition *p)
{
    HvtDbusPartition *proxy = p->proxy;
    json_object *object = json_object_new_object();

    add_integer(object, "id", hvt_dbus_partition_get_id(proxy));
    add_string(object, "name", hvt_dbus_partition_get_name(proxy));
    add_string(object, "uuid", hvt_dbus_partition_get_uuid(proxy));
    add_string(object, "state", hvt_dbus_partition_get_state(proxy));
    add_string(object, "source", hvt_dbus_partition_get_source(proxy));
    add_integer(object, "pid", hvt_dbus_partition_get_pid(proxy));
    add_string(object, "injector", hvt_dbus_partition_get_injector(proxy));
    add_string(object, "accounting", hvt_dbus_partition_get_accounting(proxy));
    add_string(object, "base_timer", hvt_dbus_partition_get_base_timer(proxy));
    if (*base_timer_source(proxy) != '\0') {
        add_string(object, "base_timer_source", base_timer_source(proxy));
    }
    add_integer(object, "emulated_timer_period",
                hvt_dbus_partition_get_emulated_timer_period(proxy));
    add_control(object, "emulated_timer_control",
                hvt_dbus_partition_get_emulated_timer_control(proxy));
    add_number(object, "period_ns", hvt_dbus_partition_get_period_ns(proxy));
    json_object_object_add(object, "policy", policy_to_json(p));
    if (p->supervision != NULL) {
        json_object_object_add(object, "supervision", supervision_to_json(p->supervision));
    }
    json_object_object_add(object, "ticks", ticks_to_json(&p->statistics));
    add_number(object, "clock_behind_us", (double)p->statistics.clock_behind_ns / 1000);
    json_object_object_add(object, "lateness_us", lateness_to_json(&p->statistics));
    add_integer(object, "attach_stall_us", hvt_dbus_partition_get_attach_stall_us(proxy));
    if (*hvt_dbus_partition_get_problem(proxy) != '\0') {
        add_string(object, "problem", hvt_dbus_partition_get_problem(proxy));
    }
    return object;
}

/* ---- text ---- */

char *ctl_printable(const char *text)
{
    g_autofree char *valid = g_utf8_make_valid(text, -1);
    GString *printable = g_string_new(NULL);

    for (const char *c = valid; *c != '\0'; c = g_utf8_next_char(c)) {
        gunichar character = g_utf8_get_char(c);

        g_string_append_unichar(printable, g_unichar_isprint(character)   ? character
                                           : g_unichar_isspace(character) ? ' '
                                                                          : '?');
    }
    return g_string_free(printable, FALSE);
}

G_GNUC_PRINTF(2, 3) static void print_line(const char *label, const char *format, ...)
{
    va_list arguments;

    printf("%-21s ", label);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
}

/* "976.5625us", as --period takes it; "none". */
static char *format_period(double ns)
{
    static const struct {
        double ns;
        const char *name;
    } units[] = {{1e9, "s"}, {1e6, "ms"}, {1e3, "us"}, {1, "ns"}};
    size_t i = 0;

    if (ns == 0) {
        return g_strdup("none");
    }
    while (i < G_N_ELEMENTS(units) - 1 && ns < units[i].ns) {
        i++;
    }
    return g_strdup_printf("%.10g%s", ns / units[i].ns, units[i].name);
}

static const char *or_dash(const char *text)
{
    return *text != '\0' ? text : "-";
}

static void print_identity(const CtlPartition *p)
{
    HvtDbusPartition *proxy = p->proxy;
    unsigned pid = hvt_dbus_partition_get_pid(proxy);
    g_autofree char *name = ctl_printable(hvt_dbus_partition_get_name(proxy));
    g_autofree char *problem = ctl_printable(hvt_dbus_partition_get_problem(proxy));

    print_line("Id", "%" PRIu64, hvt_dbus_partition_get_id(proxy));
    print_line("Name", "%s", name);
    print_line("UUID", "%s", or_dash(hvt_dbus_partition_get_uuid(proxy)));
    print_line("State", "%s", hvt_dbus_partition_get_state(proxy));
    print_line("Source", "%s", hvt_dbus_partition_get_source(proxy));
    print_line("Process", pid != 0 ? "%u" : "-", pid);
    print_line("Injector", "%s, %s, ticks from %s%s", hvt_dbus_partition_get_injector(proxy),
               hvt_dbus_partition_get_accounting(proxy), hvt_dbus_partition_get_base_timer(proxy),
               g_str_equal(base_timer_source(proxy), "module") ? " (as the host's KVM module says)"
                                                               : "");
    if (*problem != '\0') {
        print_line("Problem", "%s", problem);
    }
    print_line("Attach stall", "%" PRIu64 " us", hvt_dbus_partition_get_attach_stall_us(proxy));
}

static void print_properties(const CtlPartition *p)
{
    uint64_t control = hvt_dbus_partition_get_emulated_timer_control(p->proxy);
    g_autofree char *period = format_period(hvt_dbus_partition_get_period_ns(p->proxy));
    g_autofree char *control_text = value_format_control(control);

    print_line("EmulatedTimerPeriod", "%" PRIu64 " (%s)",
               hvt_dbus_partition_get_emulated_timer_period(p->proxy), period);
    print_line("EmulatedTimerControl", CONTROL_FORMAT " (%s)", control, control_text);
}

/* "64 Hz known from trace" */
static void append_rate(GString *text, const char *learned, double period_ns)
{
    if (g_str_equal(learned, "no")) {
        g_string_append(text, ", rate not known yet");
    } else if (period_ns > 0) {
        g_string_append_printf(text, ", %.6g Hz known from %s", 1e9 / period_ns, learned);
    } else {
        g_string_append_printf(text, ", off in the guest, known from %s", learned);
    }
}

static const char *routing_text(const char *routing)
{
    static const char *const rows[][2] = {{"ioapic", "by the IOAPIC"},
                                          {"pic", "by the PIC"},
                                          {"none", "masked by the guest"},
                                          {"unknown", "by a route not known"}};

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        if (g_str_equal(routing, rows[i][0])) {
            return rows[i][1];
        }
    }
    return routing;
}

/* "slew, 64 Hz known from trace, by the IOAPIC": as much of it as the daemon tells. */
static void print_supervision(const CtlPartition *p)
{
    const char *timer = "", *mode = "", *effective = NULL, *learned = NULL, *routing = NULL;
    g_autoptr(GString) text = g_string_new(NULL);
    gboolean force = FALSE;

    (void)g_variant_lookup(p->supervision, "timer", "&s", &timer);
    (void)g_variant_lookup(p->supervision, "mode", "&s", &mode);
    (void)g_variant_lookup(p->supervision, "force", "b", &force);
    (void)g_variant_lookup(p->supervision, "effective", "&s", &effective);
    (void)g_variant_lookup(p->supervision, "learned", "&s", &learned);
    (void)g_variant_lookup(p->supervision, "routing", "&s", &routing);

    g_autofree char *label = g_ascii_strup(timer, -1);

    g_string_append_printf(text, "%s%s", mode, force ? " by force" : "");
    if (learned != NULL) {
        append_rate(text, learned, hvt_dbus_partition_get_period_ns(p->proxy));
    }
    if (routing != NULL) {
        g_string_append_printf(text, ", %s", routing_text(routing));
    }
    print_line(label, "%s", text->str);
    if (effective != NULL && !g_str_equal(effective, mode)) {
        print_line("  in force", "%s", effective);
    }
}

static void print_policy(const CtlPartition *p)
{
    print_line("Policy", "%s", p->policy.mode);
    print_line("  threshold", "%" PRIu32 " ticks", p->policy.threshold);
    print_line("  slew", "%" PRIu32 " %%", p->policy.slew);
    print_line("  limit", "%" PRIu32 " ms", p->policy.limit_ms);
    print_line("  on resume", "%s", p->policy.on_resume);
}

static void print_statistics(const hvapi_statistics *s)
{
    print_line("Ticks due", "%" PRIu64, s->due);
    print_line("  injected", "%" PRIu64, s->injected);
    print_line("  acknowledged", "%" PRIu64, s->acknowledged);
    print_line("  in flight", "%" PRIu64, s->in_flight);
    print_line("  backlog", "%" PRIu64, s->backlog);
    print_line("  skipped", "%" PRIu64, s->skipped);
    print_line("Clock", "%.3f ms behind", (double)s->clock_behind_ns / 1000000);
    print_line("Lateness", "p50 %.1f us, p99 %.1f us, max %.1f us",
               (double)s->lateness_p50_ns / 1000, (double)s->lateness_p99_ns / 1000,
               (double)s->lateness_max_ns / 1000);
}

static const char *const list_headings[] = {"ID",     "NAME",    "STATE",  "INJECTOR",
                                            "PERIOD", "ENABLED", "BACKLOG"};

#define LIST_COLUMNS G_N_ELEMENTS(list_headings)

/* The cells of one line, NULL at the end. (transfer full) */
static char **format_cells(const CtlPartition *p)
{
    uint64_t control = hvt_dbus_partition_get_emulated_timer_control(p->proxy);
    char **cells = g_new0(char *, LIST_COLUMNS + 1);

    cells[0] = g_strdup_printf("%" PRIu64, p->id);
    cells[1] = ctl_printable(hvt_dbus_partition_get_name(p->proxy));
    cells[2] = g_strdup(hvt_dbus_partition_get_state(p->proxy));
    cells[3] = g_strdup(hvt_dbus_partition_get_injector(p->proxy));
    cells[4] = format_period(hvt_dbus_partition_get_period_ns(p->proxy));
    cells[5] = g_strdup((control & HV_EMULATED_TIMER_CONTROL_ENABLED) != 0 ? "yes" : "no");
    cells[6] = g_strdup_printf("%" PRIu64, p->statistics.backlog);
    return cells;
}

static void print_cells(const char *const *cells, const glong *widths)
{
    for (size_t i = 0; i < LIST_COLUMNS - 1; i++) {
        /* In characters, where printf() would count bytes. */
        printf("%s%*s  ", cells[i], (int)(widths[i] - g_utf8_strlen(cells[i], -1)), "");
    }
    puts(cells[LIST_COLUMNS - 1]);
}

static void widen(glong *widths, const char *const *cells)
{
    for (size_t i = 0; i < LIST_COLUMNS; i++) {
        widths[i] = MAX(widths[i], g_utf8_strlen(cells[i], -1));
    }
}

static void print_table(GPtrArray *partitions)
{
    g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func((GDestroyNotify)g_strfreev);
    glong widths[LIST_COLUMNS] = {0};

    widen(widths, list_headings);
    for (guint i = 0; i < partitions->len; i++) {
        char **cells = format_cells(partitions->pdata[i]);

        g_ptr_array_add(lines, cells);
        widen(widths, (const char *const *)cells);
    }
    print_cells(list_headings, widths);
    for (guint i = 0; i < lines->len; i++) {
        print_cells(lines->pdata[i], widths);
    }
}

/* ---- either ---- */

void ctl_print_list(GPtrArray *partitions, gboolean json)
{
    json_object *array;

    if (!json) {
        print_table(partitions);
        return;
    }
    array = json_object_new_array();
    for (guint i = 0; i < partitions->len; i++) {
        json_object_array_add(array, status_to_json(partitions->pdata[i]));
    }
    print_json(array);
}

void ctl_print_status(const CtlPartition *p, gboolean json)
{
    if (json) {
        print_json(status_to_json(p));
        return;
    }
    print_identity(p);
    print_properties(p);
    if (p->supervision != NULL) {
        print_supervision(p);
    }
    print_policy(p);
    print_statistics(&p->statistics);
}

void ctl_print_policy(const CtlPartition *p, gboolean json)
{
    if (json) {
        print_json(policy_to_json(p));
        return;
    }
    print_policy(p);
}

void ctl_print_property(HV_PARTITION_PROPERTY_CODE code, uint64_t value, gboolean json)
{
    gboolean control = code == HvPartitionPropertyEmulatedTimerControl;
    json_object *object;

    if (!json) {
        printf(control ? CONTROL_FORMAT "\n" : "%" PRIu64 "\n", value);
        return;
    }
    object = json_object_new_object();
    if (control) {
        add_string(object, "property", "EmulatedTimerControl");
        add_control(object, "value", value);
    } else {
        add_string(object, "property", "EmulatedTimerPeriod");
        add_integer(object, "value", value);
    }
    print_json(object);
}
