/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* OpenMetrics 1.0, read strictly: see openmetrics.h. The names of rules are the specification's. */
#include "tests/support/openmetrics.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

struct family {
    char *name, *type, *unit, *help; /* NULL: not told yet */
    gboolean sampled;
};

struct openmetrics {
    GPtrArray *samples;   /* struct openmetrics_sample */
    GHashTable *families; /* name -> struct family */
    GHashTable *series;   /* a set: what was there already */
    GHashTable *metrics;  /* a set: families' label sets that have come to an end */
    struct family *family;
    char *metric; /* the label set that is under way */

    /* Of a histogram's metric. */
    double last_bound, last_bucket;
    gboolean has_count, has_sum;
    double count;
};

static gboolean refuse(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
static gboolean refuse(GError **error, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    g_autofree char *text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    g_set_error_literal(error, G_MARKUP_ERROR, G_MARKUP_ERROR_PARSE, text);
    return FALSE;
}

/* ---- tokens: each takes itself from @text, or leaves it ---- */

static gboolean take(const char **text, const char *word)
{
    gboolean is = g_str_has_prefix(*text, word);

    *text += is ? strlen(word) : 0;
    return is;
}

/* metricname, or label-name, which has no colon. NULL: there is none. */
static char *take_name(const char **text, gboolean colon)
{
    const char *end = *text;

    while (g_ascii_isalpha(*end) || *end == '_' || (colon && *end == ':') ||
           (end > *text && g_ascii_isdigit(*end))) {
        end++;
    }
    char *name = end > *text ? g_strndup(*text, (gsize)(end - *text)) : NULL;
    *text = end;
    return name;
}

/* escaped-string up to the closing quote, which is taken; NULL: it is broken. */
static char *take_value(const char **text)
{
    g_autoptr(GString) value = g_string_new(NULL);

    for (; **text != '"'; (*text)++) {
        if (**text == '\0') {
            return NULL;
        }
        if (**text == '\\') {
            (*text)++;
            if (strchr("n\"\\", **text) == NULL || **text == '\0') {
                return NULL;
            }
            g_string_append_c(value, **text == 'n' ? '\n' : **text);
        } else {
            g_string_append_c(value, **text);
        }
    }
    (*text)++;
    return g_string_free(g_steal_pointer(&value), FALSE);
}

/* realnumber, or the infinite. */
static gboolean read_number(const char *text, double *ret_number)
{
    static GRegex *real;
    char *end;

    if (real == NULL) {
        real = g_regex_new("^[+-]?([0-9]+(\\.[0-9]*)?|\\.[0-9]+)(e[+-]?[0-9]+)?$|^[+-]Inf$|^NaN$",
                           0, 0, NULL);
    }
    *ret_number = g_ascii_strtod(text, &end);
    return g_regex_match(real, text, 0, NULL) && *end == '\0';
}

/* ---- metadata ---- */

static gboolean begin_family(struct openmetrics *m, const char *name, GError **error)
{
    if (g_hash_table_contains(m->families, name)) {
        return refuse(error, "family %s begins once more", name);
    }
    m->family = g_new0(struct family, 1);
    m->family->name = g_strdup(name);
    g_hash_table_insert(m->families, m->family->name, m->family);
    return TRUE;
}

static gboolean check_unit(const struct family *family, const char *unit, GError **error)
{
    g_autofree char *suffix = g_strdup_printf("_%s", unit);

    if (*unit == '\0' || !g_str_has_suffix(family->name, suffix)) {
        return refuse(error, "unit %s is no suffix of %s", unit, family->name);
    }
    return !g_str_equal(family->type, "info") || refuse(error, "an info has no unit");
}

static gboolean check_type(const char *type, GError **error)
{
    static const char *const types[] = {"counter", "gauge", "histogram", "info", NULL};

    return g_strv_contains(types, type) || refuse(error, "type %s", type);
}

static gboolean check_help(const char *help, GError **error)
{
    g_autofree char *quoted = g_strdup_printf("%s\"", help);
    const char *text = quoted;
    g_autofree char *value = take_value(&text);

    return (value != NULL && *value != '\0' && *text == '\0') || refuse(error, "help %s", help);
}

/* TYPE, UNIT, HELP, in this order and at most once, before the samples. */
static gboolean read_descriptor(struct openmetrics *m, const char *line, GError **error)
{
    const char *text = line;
    gboolean type = take(&text, "# TYPE "), unit = !type && take(&text, "# UNIT ");

    if (!type && !unit && !take(&text, "# HELP ")) {
        return refuse(error, "a comment is not allowed");
    }
    g_autofree char *name = take_name(&text, TRUE);
    if (name == NULL || !take(&text, " ")) {
        return refuse(error, "no metric name");
    }
    if (type) {
        if (!begin_family(m, name, error) || !check_type(text, error)) {
            return FALSE;
        }
        m->family->type = g_strdup(text);
        return TRUE;
    }
    struct family *family = m->family;
    if (family == NULL || !g_str_equal(family->name, name) || family->sampled ||
        family->help != NULL || (unit && family->unit != NULL)) {
        return refuse(error, "metadata of %s that is late, double or in another family", name);
    }
    *(unit ? &family->unit : &family->help) = g_strdup(text);
    return unit ? check_unit(family, text, error) : check_help(text, error);
}

/* ---- samples ---- */

static void sample_free(gpointer data)
{
    struct openmetrics_sample *sample = data;

    g_free(sample->name);
    g_hash_table_unref(sample->labels);
    g_free(sample);
}

static gboolean take_label(const char **text, GHashTable *labels, GError **error)
{
    g_autofree char *name = take_name(text, FALSE);
    g_autofree char *value = NULL;

    if (name == NULL || g_str_has_prefix(name, "_") || !take(text, "=\"")) {
        return refuse(error, "no label name at %s", *text);
    }
    value = take_value(text);
    if (value == NULL) {
        return refuse(error, "the value of label %s", name);
    }
    if (!g_hash_table_insert(labels, g_steal_pointer(&name), g_steal_pointer(&value))) {
        return refuse(error, "a label comes twice");
    }
    return TRUE;
}

static gboolean take_labels(const char **text, GHashTable *labels, GError **error)
{
    gboolean first = TRUE;

    if (!take(text, "{")) {
        return TRUE;
    }
    while (!take(text, "}")) {
        if (!first && !take(text, ",")) {
            return refuse(error, "no comma between labels at %s", *text);
        }
        if (!take_label(text, labels, error)) {
            return FALSE;
        }
        first = FALSE;
    }
    return TRUE;
}

/* One text for each label set, @leave_out excepted. */
static char *format_set(const char *name, GHashTable *labels, const char *leave_out)
{
    g_autoptr(GString) text = g_string_new(name);
    g_autoptr(GList) names =
        g_list_sort(g_hash_table_get_keys(labels), (GCompareFunc)(void (*)(void))strcmp);

    for (GList *label = names; label != NULL; label = label->next) {
        if (g_strcmp0(label->data, leave_out) != 0) {
            g_autofree char *value = g_strescape(g_hash_table_lookup(labels, label->data), NULL);
            g_string_append_printf(text, "|%s=%s", (char *)label->data, value);
        }
    }
    return g_string_free(g_steal_pointer(&text), FALSE);
}

/* ---- histograms ---- */

static gboolean end_histogram(struct openmetrics *m, GError **error)
{
    if (m->last_bound != INFINITY) {
        return refuse(error, "the histogram before has no bucket +Inf");
    }
    if (m->has_count != m->has_sum) {
        return refuse(error, "the histogram before has a count without a sum, or the reverse");
    }
    return !m->has_count || m->count == m->last_bucket ||
           refuse(error, "the count of the histogram before is not its last bucket");
}

static gboolean end_metric(struct openmetrics *m, GError **error)
{
    gboolean histogram = m->metric != NULL && g_str_equal(m->family->type, "histogram");

    if (m->metric != NULL) {
        g_hash_table_add(m->metrics, g_steal_pointer(&m->metric));
    }
    return !histogram || end_histogram(m, error);
}

static gboolean read_bucket(struct openmetrics *m, const struct openmetrics_sample *sample,
                            GError **error)
{
    const char *le = g_hash_table_lookup(sample->labels, "le");
    double bound;

    if (le == NULL || !read_number(le, &bound) || strpbrk(le, ".eI") == NULL) {
        return refuse(error, "le is no canonical number");
    }
    if (bound <= m->last_bound || sample->value < m->last_bucket || m->has_count || m->has_sum) {
        return refuse(error, "buckets are not in order, or not cumulative");
    }
    m->last_bound = bound;
    m->last_bucket = sample->value;
    return TRUE;
}

static gboolean read_histogram(struct openmetrics *m, const struct openmetrics_sample *sample,
                               const char *suffix, GError **error)
{
    gboolean bucket = g_str_equal(suffix, "_bucket"), sum = g_str_equal(suffix, "_sum");

    if (!sum && sample->value != floor(sample->value)) {
        return refuse(error, "a count that is not whole");
    }
    if (bucket) {
        return read_bucket(m, sample, error);
    }
    gboolean *seen = sum ? &m->has_sum : &m->has_count;
    if (*seen || g_hash_table_contains(sample->labels, "le")) {
        return refuse(error, "a second count or sum, or one with a bound");
    }
    *seen = TRUE;
    m->count = sum ? m->count : sample->value;
    return TRUE;
}

/* What is allowed for the family's type. */
static gboolean check_sample(struct openmetrics *m, const struct openmetrics_sample *sample,
                             GError **error)
{
    static const struct {
        const char *type, *suffix;
    } rows[] = {{"counter", "_total"},    {"gauge", ""},           {"info", "_info"},
                {"histogram", "_bucket"}, {"histogram", "_count"}, {"histogram", "_sum"}};
    const char *type = m->family->type, *suffix = sample->name;
    gboolean histogram = g_str_equal(type, "histogram"), known = FALSE;

    if (take(&suffix, m->family->name)) {
        for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
            known |= g_str_equal(rows[i].type, type) && g_str_equal(rows[i].suffix, suffix);
        }
    }
    if (!known) {
        return refuse(error, "sample %s in %s %s", sample->name, type, m->family->name);
    }
    if (!g_str_equal(type, "gauge") && !(sample->value >= 0)) {
        return refuse(error, "%s is below 0, or no number", sample->name);
    }
    if (g_str_equal(type, "info") && sample->value != 1) {
        return refuse(error, "an info that is not 1");
    }
    return histogram ? read_histogram(m, sample, suffix, error)
                     : !g_hash_table_contains(sample->labels, "le") || refuse(error, "le");
}

/* Samples of one label set stand together. */
static gboolean enter_metric(struct openmetrics *m, const struct openmetrics_sample *sample,
                             GError **error)
{
    g_autofree char *series = format_set(sample->name, sample->labels, NULL);
    g_autofree char *metric = format_set(m->family->name, sample->labels, "le");

    if (!g_hash_table_add(m->series, g_steal_pointer(&series))) {
        return refuse(error, "this sample was there already");
    }
    if (g_strcmp0(metric, m->metric) == 0) {
        return TRUE;
    }
    if (!end_metric(m, error)) {
        return FALSE;
    }
    if (g_hash_table_contains(m->metrics, metric)) {
        return refuse(error, "metrics are interleaved");
    }
    m->metric = g_steal_pointer(&metric);
    m->last_bound = -INFINITY;
    m->last_bucket = m->count = 0;
    m->has_count = m->has_sum = FALSE;
    return TRUE;
}

static gboolean read_sample(struct openmetrics *m, const char *line, GError **error)
{
    struct openmetrics_sample *sample = g_new0(struct openmetrics_sample, 1);
    const char *text = line;

    sample->labels = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    g_ptr_array_add(m->samples, sample);
    sample->name = take_name(&text, TRUE);
    if (sample->name == NULL || m->family == NULL) {
        return refuse(error, "no metric name, or no family yet");
    }
    if (!take_labels(&text, sample->labels, error)) {
        return FALSE;
    }
    if (!take(&text, " ") || !read_number(text, &sample->value)) {
        return refuse(error, "no number at '%s'", text);
    }
    m->family->sampled = TRUE;
    return enter_metric(m, sample, error) && check_sample(m, sample, error);
}

/* ---- the whole ---- */

static void family_free(gpointer data)
{
    struct family *family = data;

    g_free(family->name);
    g_free(family->type);
    g_free(family->unit);
    g_free(family->help);
    g_free(family);
}

void openmetrics_free(struct openmetrics *metrics)
{
    if (metrics != NULL) {
        g_ptr_array_unref(metrics->samples);
        g_hash_table_unref(metrics->families);
        g_hash_table_unref(metrics->series);
        g_hash_table_unref(metrics->metrics);
        g_free(metrics->metric);
        g_free(metrics);
    }
}

static gboolean read_line(struct openmetrics *m, const char *line, GError **error)
{
    if (*line != '#') {
        return read_sample(m, line, error);
    }
    return end_metric(m, error) && read_descriptor(m, line, error);
}

struct openmetrics *openmetrics_parse(const char *text, GError **error)
{
    g_autoptr(OpenMetrics) m = g_new0(struct openmetrics, 1);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    guint n = g_strv_length(lines);

    m->samples = g_ptr_array_new_with_free_func(sample_free);
    m->families = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, family_free);
    m->series = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    m->metrics = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    if (!g_utf8_validate(text, -1, NULL) || strstr(text, "\r\n") != NULL) {
        refuse(error, "not UTF-8, or a carriage return at the end of a line");
        return NULL;
    }
    if (n < 2 || *lines[n - 1] != '\0' || !g_str_equal(lines[n - 2], "# EOF")) {
        refuse(error, "the last line is not # EOF");
        return NULL;
    }
    for (guint i = 0; i < n - 2; i++) {
        if (!read_line(m, lines[i], error)) {
            g_prefix_error(error, "line %u, %s: ", i + 1, lines[i]);
            return NULL;
        }
    }
    return end_metric(m, error) ? g_steal_pointer(&m) : NULL;
}

static gboolean has_labels(const struct openmetrics_sample *sample, va_list pairs)
{
    const char *name;
    gboolean has = TRUE;

    while ((name = va_arg(pairs, const char *)) != NULL) {
        const char *value = va_arg(pairs, const char *);
        has = has && g_strcmp0(g_hash_table_lookup(sample->labels, name), value) == 0;
    }
    return has;
}

const struct openmetrics_sample *openmetrics_find(const struct openmetrics *metrics,
                                                  const char *name, ...)
{
    for (guint i = 0; i < metrics->samples->len; i++) {
        const struct openmetrics_sample *sample = metrics->samples->pdata[i];
        va_list pairs;

        va_start(pairs, name);
        gboolean found = g_str_equal(sample->name, name) && has_labels(sample, pairs);
        va_end(pairs);
        if (found) {
            return sample;
        }
    }
    return NULL;
}
