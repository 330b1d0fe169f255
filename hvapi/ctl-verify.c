/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verb verify: prints what is found out about this host. It needs no hvtimerd, and no bus. */
#include "hvapi/ctl.h"

#include "hvapi/verify/verify.h"
#include <gio/gio.h>
#include <json-c/json.h>
#include <stdio.h>

static void print_text(const GPtrArray *findings)
{
    for (guint i = 0; i < findings->len; i++) {
        const struct finding *f = findings->pdata[i];

        printf("%-4s  %s: %s; %s%s%s\n", finding_level_name(f->level), f->subject, f->found,
               f->meaning, f->remedy != NULL ? "; remedy: " : "",
               f->remedy != NULL ? f->remedy : "");
    }
}

static void add_string(json_object *object, const char *key, const char *value)
{
    json_object_object_add(object, key, json_object_new_string(value));
}

/* Every key is there in every object: a remedy that is none is "". */
static json_object *finding_to_json(const struct finding *finding)
{
    json_object *object = json_object_new_object();

    add_string(object, "subject", finding->subject);
    add_string(object, "level", finding_level_name(finding->level));
    add_string(object, "found", finding->found);
    add_string(object, "meaning", finding->meaning);
    add_string(object, "remedy", finding->remedy != NULL ? finding->remedy : "");
    return object;
}

static void print_json(const GPtrArray *findings)
{
    json_object *array = json_object_new_array();

    for (guint i = 0; i < findings->len; i++) {
        json_object_array_add(array, finding_to_json(findings->pdata[i]));
    }
    puts(json_object_to_json_string_ext(array,
                                        JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
    json_object_put(array);
}

gboolean ctl_verify(struct ctl *ctl, GError **error)
{
    g_auto(GStrv) arguments = ctl_parse(ctl, NULL, error);
    g_autoptr(GPtrArray) findings = arguments != NULL ? verify_host(&this_host) : NULL;
    guint failed;

    if (findings == NULL) {
        return FALSE;
    }
    if (ctl->json) {
        print_json(findings);
    } else {
        print_text(findings);
    }
    failed = findings_count(findings, FINDING_FAIL);
    if (failed != 0) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_FAILED,
                    "this host is not fit for hvtimer: %u of %u findings fail; each names its "
                    "remedy",
                    failed, findings->len);
    }
    return failed == 0;
}
