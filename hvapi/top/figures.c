/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Figures and names as text of a bounded width: see figures.h. */
#include "hvapi/top/figures.h"

#include <inttypes.h>

struct unit {
    double size;
    const char *name;
};

/* @value with as many digits, @digits at most, as leave it and @prefix and @unit in @width. */
static char *with_digits(const char *prefix, double value, const char *unit, int digits,
                         unsigned width)
{
    char *text = NULL;

    for (int decimals = digits - 1; decimals >= 0; decimals--) {
        g_free(text);
        text = g_strdup_printf("%s%.*f%s", prefix, decimals, value, unit);
        /* 9.996 with two decimals is 10.00: counted as it is printed. */
        unsigned printed = 0;
        for (const char *c = text; *c != '\0'; c++) {
            printed += g_ascii_isdigit(*c) ? 1 : 0;
        }
        if (strlen(text) <= width && (int)printed <= digits) {
            break;
        }
    }
    return text;
}

/* In the greatest unit of which there is one; 999.9 of one, which rounds to 1000, is 1 of the next.
 */
static char *in_units(const char *prefix, double value, const struct unit *units, size_t count,
                      unsigned width)
{
    size_t i = 0;

    while (i < count - 1 && value >= 0.9995 * units[i + 1].size) {
        i++;
    }
    return with_digits(prefix, value / units[i].size, units[i].name, 3, width);
}

char *figure_count(uint64_t n, unsigned width)
{
    static const struct unit units[] = {{1e3, "k"},  {1e6, "M"},  {1e9, "G"},
                                        {1e12, "T"}, {1e15, "P"}, {1e18, "E"}};
    char *text = g_strdup_printf("%" PRIu64, n);

    if (strlen(text) <= width) {
        return text;
    }
    g_free(text);
    return in_units("", (double)n, units, G_N_ELEMENTS(units), width);
}

char *figure_rate(double per_second, unsigned width)
{
    if (per_second >= 999.5) {
        return figure_count((uint64_t)(per_second + 0.5), width);
    }
    return with_digits("", per_second, "", per_second < 0.05 ? 1 : 3, width);
}

char *figure_behind(uint64_t ns, unsigned width)
{
    static const struct unit units[] = {{1, "ns"},      {1e3, "us"},      {1e6, "ms"},
                                        {1e9, "s"},     {60e9, "min"},    {3600e9, "h"},
                                        {86400e9, "d"}, {31557600e9, "y"}};
    size_t i = 0;

    if (ns == 0) {
        return g_strdup("0");
    }
    /* From seconds on, not before there are two of the next: 90s, not 1.50min. */
    while (i < G_N_ELEMENTS(units) - 1 &&
           (double)ns >= (i < 3 ? 0.9995 : 1.9995) * units[i + 1].size) {
        i++;
    }
    return with_digits("-", (double)ns / units[i].size, units[i].name, 3, width);
}

char *figure_microseconds(uint64_t ns, unsigned width)
{
    if (ns >= 100000) {
        return figure_count((ns + 500) / 1000, width);
    }
    return ns == 0 ? g_strdup("0") : g_strdup_printf("%.1f", (double)ns / 1000);
}

/* ---- names ---- */

static gunichar shown(gunichar c, gboolean utf8)
{
    if (!g_unichar_isprint(c) || (!utf8 && c >= 0x80)) {
        return '?';
    }
    return c;
}

static unsigned columns_of(gunichar c)
{
    if (g_unichar_iszerowidth(c)) {
        return 0;
    }
    return g_unichar_iswide(c) ? 2 : 1;
}

unsigned figure_columns(const char *text, gboolean utf8)
{
    unsigned columns = 0;

    for (; *text != '\0'; text = g_utf8_next_char(text)) {
        columns += columns_of(shown(g_utf8_get_char(text), utf8));
    }
    return columns;
}

char *figure_fit(const char *text, unsigned width, gboolean utf8)
{
    gboolean cut = figure_columns(text, utf8) > width;
    unsigned used = 0, room = cut && width > 0 ? width - 1 : width;
    GString *fit = g_string_new(NULL);

    for (; *text != '\0'; text = g_utf8_next_char(text)) {
        gunichar c = shown(g_utf8_get_char(text), utf8);

        if (used + columns_of(c) > room) {
            break;
        }
        g_string_append_unichar(fit, c);
        used += columns_of(c);
    }
    if (cut && width > 0) {
        g_string_append(fit, utf8 ? "\xe2\x80\xa6" : "~");
        used++;
    }
    for (; used < width; used++) {
        g_string_append_c(fit, ' ');
    }
    return g_string_free(fit, FALSE);
}
