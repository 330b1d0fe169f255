/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What 'hvtimerctl verify' finds out about a host: see findings.h. */
#include "hvapi/verify/findings.h"

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
    g_free(finding);
}

GPtrArray *findings_new(void)
{
    return g_ptr_array_new_with_free_func((GDestroyNotify)finding_free);
}

void findings_add(GPtrArray *findings, const char *subject, enum finding_level level, char *found,
                  const char *meaning, const char *remedy)
{
    struct finding *finding = g_new(struct finding, 1);

    *finding = (struct finding){subject, level, found, meaning, remedy};
    g_ptr_array_add(findings, finding);
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
