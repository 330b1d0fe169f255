/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The figures of all partitions as text: see metrics.h. */
#include "daemon/metrics.h"

#include "daemon/policy-names.h"
#include <inttypes.h>
#include <string.h>

#define PREFIX "hvtimer_"

/* ---- words and numbers ---- */

/* A label's value: what OpenMetrics escapes, and nothing that is not UTF-8. */
static void append_value(GString *text, const char *value)
{
    g_autofree char *valid = g_utf8_make_valid(value, -1);

    for (const char *c = valid; *c != '\0'; c++) {
        switch (*c) {
        case '\n':
            g_string_append(text, "\\n");
            break;
        case '"':
        case '\\':
            g_string_append_c(text, '\\');
            G_GNUC_FALLTHROUGH;
        default:
            g_string_append_c(text, *c);
        }
    }
}

static void append_label(GString *text, const char *name, const char *value)
{
    g_string_append_printf(text, "%s%s=\"", text->len > 0 ? "," : "", name);
    append_value(text, value);
    g_string_append_c(text, '"');
}

/* Exact, and with a decimal point, as a number that is no count must have. */
static void append_seconds(GString *text, uint64_t ns)
{
    g_string_append_printf(text, "%" PRIu64 ".%09" PRIu64, ns / 1000000000, ns % 1000000000);
}

/* A period may have a part of a nanosecond; 15 digits are all that a double is sure of. */
static void append_period(GString *text, struct period period)
{
    char digits[G_ASCII_DTOSTR_BUF_SIZE];

    g_ascii_formatd(digits, sizeof digits, "%.15g", period_ns(period) / 1e9);
    g_string_append_printf(text, "%s%s", digits, strpbrk(digits, ".e") == NULL ? ".0" : "");
}

/* The value of an "le" label as OpenMetrics has it: the shortest digits, a number with a point. */
static void append_bound(GString *text, uint64_t ns)
{
    char digits[G_ASCII_DTOSTR_BUF_SIZE];

    g_ascii_formatd(digits, sizeof digits, "%.12g", (double)ns / 1e9);
    g_string_append(text, digits);
}

/* ---- families ---- */

struct family {
    const char *name; /* without the prefix and without what its type adds */
    const char *type; /* "counter", "gauge", "histogram", "info" */
    const char *unit; /* NULL: none */
    const char *help;
    /* Adds its samples of one partition, which is told by @labels. */
    void (*write)(GString *text, const struct family *family, const char *labels,
                  const struct metrics_partition *p);
    size_t offset; /* of a figure in struct metrics_partition */
};

static void append_sample(GString *text, const struct family *family, const char *suffix,
                          const char *labels)
{
    g_string_append_printf(text, PREFIX "%s%s{%s} ", family->name, suffix, labels);
}

static uint64_t figure(const struct family *family, const struct metrics_partition *p)
{
    return *(const uint64_t *)(const void *)((const char *)p + family->offset);
}

static void write_count(GString *text, const struct family *family, const char *labels,
                        const struct metrics_partition *p)
{
    append_sample(text, family, g_str_equal(family->type, "counter") ? "_total" : "", labels);
    g_string_append_printf(text, "%" PRIu64 "\n", figure(family, p));
}

static void write_duration(GString *text, const struct family *family, const char *labels,
                           const struct metrics_partition *p)
{
    append_sample(text, family, "", labels);
    append_seconds(text, figure(family, p));
    g_string_append_c(text, '\n');
}

static void write_period(GString *text, const struct family *family, const char *labels,
                         const struct metrics_partition *p)
{
    append_sample(text, family, "", labels);
    append_period(text, p->period);
    g_string_append_c(text, '\n');
}

static void write_lateness(GString *text, const struct family *family, const char *labels,
                           const struct metrics_partition *p)
{
    const struct lateness_reading *lateness = &p->reading.lateness;

    for (unsigned i = 0; i < LATENESS_BOUNDS; i++) {
        g_string_append_printf(text, PREFIX "%s_bucket{%s,le=\"", family->name, labels);
        append_bound(text, lateness_bounds_ns[i]);
        g_string_append_printf(text, "\"} %" PRIu64 "\n", lateness->at_most[i]);
    }
    g_string_append_printf(text, PREFIX "%s_bucket{%s,le=\"+Inf\"} %" PRIu64 "\n", family->name,
                           labels, lateness->count);
    append_sample(text, family, "_count", labels);
    g_string_append_printf(text, "%" PRIu64 "\n", lateness->count);
    append_sample(text, family, "_sum", labels);
    append_seconds(text, lateness->sum_ns);
    g_string_append_c(text, '\n');
}

static void write_info(GString *text, const struct family *family, const char *labels,
                       const struct metrics_partition *p)
{
    g_autoptr(GString) all = g_string_new(labels);
    char id[24];

    g_snprintf(id, sizeof id, "%" PRIu64, p->id);
    append_label(all, "id", id);
    append_label(all, "state", p->state);
    append_label(all, "source", p->source);
    append_label(all, "injector", p->injector);
    append_label(all, "accounting", p->accounting);
    append_label(all, "base_timer", p->base_timer);
    append_label(all, "policy", p->policy);
    append_label(all, "timer", p->timer);
    append_label(all, "mode", p->mode);
    append_sample(text, family, "_info", all->str);
    g_string_append(text, "1\n");
}

#define FIGURE(member) offsetof(struct metrics_partition, member)

static const struct family families[] = {
    {"ticks_injected", "counter", NULL, "Ticks that hvtimerd has raised", write_count,
     FIGURE(reading.ticks.injected)},
    {"ticks_acknowledged", "counter", NULL, "Ticks that the guest has taken, its own included",
     write_count, FIGURE(reading.ticks.acknowledged)},
    {"ticks_skipped", "counter", NULL, "Ticks that were lost and will not be made up", write_count,
     FIGURE(reading.ticks.skipped)},
    {"backlog_ticks", "gauge", "ticks", "Ticks that were missed and are to be made up", write_count,
     FIGURE(reading.ticks.backlog)},
    {"ticks_in_flight", "gauge", NULL, "Ticks that were raised and not yet taken", write_count,
     FIGURE(reading.ticks.in_flight)},
    {"clock_behind_seconds", "gauge", "seconds",
     "How far a clock that counts these ticks is behind, lost ticks included", write_duration,
     FIGURE(reading.behind_ns)},
    {"period_seconds", "gauge", "seconds", "Time from tick to tick; 0: no timer runs", write_period,
     0},
    {"injection_lateness_seconds", "histogram", "seconds",
     "How late hvtimerd has raised ticks, by its own fault or the host's", write_lateness, 0},
    {"attach_stall_seconds", "gauge", "seconds",
     "How long the VM stood still when it was last attached", write_duration,
     FIGURE(attach_stall_ns)},
    {"partition_problem", "gauge", NULL,
     "1: something is wrong, or noteworthy: see hvtimerctl status", write_count, FIGURE(problem)},
    {"partition", "info", NULL, "What a partition is, and how its ticks reach it", write_info, 0},
};

/* In the text format a name is that of the samples, where OpenMetrics has the family's, and there
 * are neither units nor infos. */
static void write_head(GString *text, enum metrics_format format, const struct family *family)
{
    gboolean info = g_str_equal(family->type, "info");
    gboolean open = format == METRICS_OPENMETRICS;
    const char *suffix = open                                   ? ""
                         : info                                 ? "_info"
                         : g_str_equal(family->type, "counter") ? "_total"
                                                                : "";

    g_string_append_printf(text, "# TYPE " PREFIX "%s%s %s\n", family->name, suffix,
                           info && !open ? "gauge" : family->type);
    if (open && family->unit != NULL) {
        g_string_append_printf(text, "# UNIT " PREFIX "%s %s\n", family->name, family->unit);
    }
    g_string_append_printf(text, "# HELP " PREFIX "%s%s %s.\n", family->name, suffix, family->help);
}

/* ---- the whole ---- */

static void write_daemon(GString *text, enum metrics_format format, gsize n)
{
    static const struct family build = {.name = "build", .type = "info", .help = "This hvtimerd"};
    static const struct family partitions = {
        .name = "partitions", .type = "gauge", .help = "Partitions that hvtimerd knows"};

    write_head(text, format, &build);
    g_string_append(text, PREFIX "build_info{version=\"" PACKAGE_VERSION "\"} 1\n");
    write_head(text, format, &partitions);
    g_string_append_printf(text, PREFIX "partitions %" G_GSIZE_FORMAT "\n", n);
}

/* The same for every sample of a partition: as libvirt's exporters call a domain's name. */
static char **format_labels(const struct metrics_partition *partitions, gsize n)
{
    char **labels = g_new0(char *, n + 1);

    for (gsize i = 0; i < n; i++) {
        g_autoptr(GString) text = g_string_new(NULL);

        append_label(text, "domain", partitions[i].name);
        append_label(text, "uuid", partitions[i].uuid);
        labels[i] = g_string_free(g_steal_pointer(&text), FALSE);
    }
    return labels;
}

char *metrics_format(const struct metrics_partition *partitions, gsize n,
                     enum metrics_format format)
{
    g_autoptr(GString) text = g_string_new(NULL);
    g_auto(GStrv) labels = format_labels(partitions, n);

    write_daemon(text, format, n);
    for (size_t f = 0; f < G_N_ELEMENTS(families); f++) {
        write_head(text, format, &families[f]);
        for (gsize i = 0; i < n; i++) {
            families[f].write(text, &families[f], labels[i], &partitions[i]);
        }
    }
    if (format == METRICS_OPENMETRICS) {
        g_string_append(text, "# EOF\n");
    }
    return g_string_free(g_steal_pointer(&text), FALSE);
}

const char *metrics_content_type(enum metrics_format format)
{
    return format == METRICS_OPENMETRICS
               ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
               : "text/plain; version=0.0.4; charset=utf-8";
}

/* ---- of the manager's partitions ---- */

static const char *const state_names[] = {
    [GUEST_OFF] = "shutoff",
    [GUEST_RUNNING] = "running",
    [GUEST_PAUSED] = "paused",
};

static void read_delivery(struct guest *guest, struct metrics_partition *p)
{
    struct injector *injector = guest_injector(guest);
    const char *known_by;

    p->injector = p->accounting = p->base_timer = "none";
    if (injector == NULL) {
        return;
    }
    p->injector = injector->ops->name;
    p->accounting = p->reading.closed_loop ? "closed-loop" : "open-loop";
    p->base_timer = injector->ops->find_base_timer != NULL
                        ? injector->ops->find_base_timer(injector, &known_by)
                        : injector->ops->base_timer;
    p->attach_stall_ns = injector->attach_stall_us * 1000;
}

static void read_partition(struct guest *guest, gpointer user_data)
{
    const struct guest_identity *identity = guest_identity(guest);
    const struct partition *partition = guest_partition(guest);
    struct metrics_partition p = {
        .id = identity->id,
        .name = identity->name,
        .uuid = identity->uuid,
        .state = state_names[guest_state(guest)],
        .source = identity->source,
        .policy = policy_mode_name(guest_policy(guest)->mode),
        .timer = base_timer_name(guest_supervision(guest)->timer),
        .mode = supervision_mode_name(guest_supervision_mode(guest)),
        .problem = guest_problem(guest) != NULL,
        .period = {.numerator = 0, .denominator = 1},
    };

    guest_read(guest, &p.reading);
    if (partition_runs(partition)) {
        p.period = partition->period;
    }
    read_delivery(guest, &p);
    g_array_append_val((GArray *)user_data, p);
}

static gint compare_ids(gconstpointer a, gconstpointer b)
{
    const struct metrics_partition *first = a, *second = b;

    return (first->id > second->id) - (first->id < second->id);
}

char *metrics_read(struct manager *manager, enum metrics_format format)
{
    g_autoptr(GArray) partitions = g_array_new(FALSE, FALSE, sizeof(struct metrics_partition));

    manager_foreach(manager, read_partition, partitions);
    g_array_sort(partitions, compare_ids);
    return metrics_format((const struct metrics_partition *)(void *)partitions->data,
                          partitions->len, format);
}
