/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The verb verify: prints what is found out about this host. It works without a hvtimerd, without a
 * bus and without libvirt; that they are not there is a finding.
 */
#include "hvapi/ctl.h"

#include "hvapi/verify/verify.h"
#include <gio/gio.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define LIBVIRT_DEFAULT "qemu:///system"

/* ---- text ---- */

/* Of a terminal that does not tell; and the widest that is read well. */
#define COLUMNS_DEFAULT 80
#define COLUMNS_MAX     100
#define COLUMNS_MIN     40

/* As wide as "warn  ". */
#define INDENT 6

static int get_columns(void)
{
    struct winsize size = {0};

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) {
        return COLUMNS_DEFAULT;
    }
    return CLAMP((int)size.ws_col, COLUMNS_MIN, COLUMNS_MAX);
}

/* @text, in lines of at most @columns, those behind the first indented; a word that is longer has a
 * line of its own. @column: where the first begins. */
static void print_wrapped(const char *text, int column, int columns)
{
    g_auto(GStrv) words = g_strsplit(text, " ", -1);

    for (char **word = words; *word != NULL; word++) {
        int length = (int)g_utf8_strlen(*word, -1);

        if (column > INDENT && column + 1 + length > columns) {
            printf("\n%*s%s", INDENT, "", *word);
            column = INDENT + length;
        } else {
            printf("%s%s", word == words ? "" : " ", *word);
            column += length + (word == words ? 0 : 1);
        }
    }
    putchar('\n');
}

/* To be read by people: what was found, and below it what it means and what to do. */
static void print_paragraph(const struct finding *f, int columns)
{
    g_autofree char *found = g_strdup_printf("%s: %s", f->subject, f->found);

    printf("%-*s", INDENT, finding_level_name(f->level));
    print_wrapped(found, INDENT, columns);
    printf("%*s", INDENT, "");
    print_wrapped(f->meaning, INDENT, columns);
    if (f->remedy != NULL) {
        g_autofree char *remedy = g_strdup_printf("Remedy: %s", f->remedy);

        printf("%*s", INDENT, "");
        print_wrapped(remedy, INDENT, columns);
    }
}

static void print_line(const struct finding *f)
{
    printf("%-4s  %s: %s; %s%s%s\n", finding_level_name(f->level), f->subject, f->found, f->meaning,
           f->remedy != NULL ? "; remedy: " : "", f->remedy != NULL ? f->remedy : "");
}

static void print_text(const GPtrArray *findings)
{
    gboolean terminal = isatty(STDOUT_FILENO);
    int columns = terminal ? get_columns() : 0;

    for (guint i = 0; i < findings->len; i++) {
        if (terminal) {
            print_paragraph(findings->pdata[i], columns);
        } else {
            print_line(findings->pdata[i]);
        }
    }
    if (terminal) {
        printf("\n%u ok, %u info, %u warn, %u fail\n", findings_count(findings, FINDING_OK),
               findings_count(findings, FINDING_INFO), findings_count(findings, FINDING_WARN),
               findings_count(findings, FINDING_FAIL));
    }
}

/* ---- JSON ---- */

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

/* ---- the verb ---- */

/* @given: --libvirt, or NULL: then the connection that hvtimerd has. */
static GPtrArray *find_out(const char *bus, const char *given)
{
    struct settings settings;
    struct services *services;
    const char *uri = given;
    GPtrArray *findings;

    settings_read(&settings, &this_host);
    if (uri == NULL) {
        uri = settings.libvirt != NULL ? settings.libvirt : LIBVIRT_DEFAULT;
    }
    services = services_ask(bus, g_str_equal(uri, "none") ? NULL : uri);
    findings = verify_host(&this_host, services);
    services_free(services);
    settings_clear(&settings);
    return findings;
}

gboolean ctl_verify(struct ctl *ctl, GError **error)
{
    g_autofree char *libvirt = NULL;
    const GOptionEntry options[] = {
        {"libvirt", 'l', 0, G_OPTION_ARG_STRING, &libvirt,
         "libvirt connection whose domains are looked at (default: hvtimerd.json's)", "URI|none"},
        G_OPTION_ENTRY_NULL,
    };
    g_auto(GStrv) arguments = ctl_parse(ctl, options, error);
    g_autoptr(GPtrArray) findings = NULL;
    guint failed;

    if (arguments == NULL) {
        return FALSE;
    }
    findings = find_out(ctl->bus, libvirt);
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
