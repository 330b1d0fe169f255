/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What 'hvtimerctl verify' finds out about a host: see findings.h. */
#include "hvapi/verify/findings.h"

/* Characters. */
#define FOUND_MAX 300

const char *finding_level_name(enum finding_level level)
{
    static const char *const names[] = {
        [FINDING_OK] = "ok",
        [FINDING_INFO] = "info",
        [FINDING_WARN] = "warn",
        [FINDING_FAIL] = "fail",
    };

    return names[level];
}

static void finding_free(struct finding *finding)
{
    g_free(finding->found);
    g_free(finding->meaning);
    g_free(finding->remedy);
    g_free(finding);
}

GPtrArray *findings_new(void)
{
    return g_ptr_array_new_with_free_func((GDestroyNotify)finding_free);
}

/* @text, printable and in one line, and of it at most @most characters. @text: (nullable).
 * (transfer full) */
static char *as_line(const char *text, unsigned most)
{
    g_autofree char *valid = text != NULL ? g_utf8_make_valid(text, -1) : NULL;
    GString *line;
    unsigned length = 0;

    if (valid == NULL) {
        return NULL;
    }
    line = g_string_new(NULL);
    for (const char *c = g_strstrip(valid); *c != '\0'; c = g_utf8_next_char(c)) {
        gunichar character = g_utf8_get_char(c);

        if (++length > most) {
            g_string_append(line, "...");
            break;
        }
        g_string_append_unichar(line, g_unichar_isprint(character)   ? character
                                      : g_unichar_isspace(character) ? ' '
                                                                     : '?');
    }
    return g_string_free(line, FALSE);
}

void findings_add(GPtrArray *findings, const char *subject, enum finding_level level, char *found,
                  const char *meaning, const char *remedy)
{
    struct finding *finding = g_new(struct finding, 1);

    *finding = (struct finding){subject, level, as_line(found, FOUND_MAX),
                                as_line(meaning, G_MAXUINT), as_line(remedy, G_MAXUINT)};
    g_ptr_array_add(findings, finding);
    g_free(found);
}

guint findings_count(const GPtrArray *findings, enum finding_level level)
{
    guint count = 0;

    for (guint i = 0; i < findings->len; i++) {
        const struct finding *finding = findings->pdata[i];

        count += finding->level == level ? 1 : 0;
    }
    return count;
}
