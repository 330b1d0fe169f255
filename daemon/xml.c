/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Foreign XML: see xml.h. */
#include "daemon/xml.h"

G_DEFINE_AUTOPTR_CLEANUP_FUNC(xmlParserCtxt, xmlFreeParserCtxt)

/* As much of @text as an error and a line of a log can bear. (transfer full) */
char *xml_excerpt(const char *text)
{
    g_autoptr(GString) result = g_string_new(NULL);
    unsigned length = 0;

    for (; *text != '\0'; text = g_utf8_next_char(text)) {
        gunichar character = g_utf8_get_char(text);

        if (++length > XML_EXCERPT_MAX) {
            g_string_append(result, "...");
            break;
        }
        g_string_append_unichar(result, g_unichar_isprint(character) ? character : '?');
    }
    return g_string_free(g_steal_pointer(&result), FALSE);
}

/* What is noted while libxml2 reads. */
struct reading {
    char *problem; /* its first; NULL: none */
    int line;      /* of it */
    gboolean doctype;
};
typedef struct reading Reading;

static void reading_clear(struct reading *reading)
{
    g_free(reading->problem);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Reading, reading_clear)

#if LIBXML_VERSION >= 21200
typedef const xmlError XmlProblem;
#else
typedef xmlError XmlProblem;
#endif

static void on_problem(void *context, XmlProblem *problem)
{
    struct reading *reading = ((xmlParserCtxt *)context)->_private;

    if (problem->level >= XML_ERR_ERROR && reading->problem == NULL) {
        g_autofree char *valid = g_utf8_make_valid(problem->message ? problem->message : "", -1);

        reading->problem = xml_excerpt(g_strchomp(valid));
        reading->line = problem->line;
    }
}

/* Before anything of a document type is read, internal or external: no entity is ever declared. */
static void on_doctype(void *context, G_GNUC_UNUSED const xmlChar *name,
                       G_GNUC_UNUSED const xmlChar *external_id,
                       G_GNUC_UNUSED const xmlChar *system_id)
{
    struct reading *reading = ((xmlParserCtxt *)context)->_private;

    reading->doctype = TRUE;
    xmlStopParser(context);
}

static gboolean check_text(const char *what, const char *xml, gsize length, gsize most,
                           GError **error)
{
    if (length > most) {
        g_set_error(error, G_MARKUP_ERROR, G_MARKUP_ERROR_PARSE,
                    "%s is %" G_GSIZE_FORMAT " bytes long; at most %" G_GSIZE_FORMAT " can be read",
                    what, length, most);
        return FALSE;
    }
    if (!g_utf8_validate(xml, (gssize)length, NULL)) {
        g_set_error(error, G_MARKUP_ERROR, G_MARKUP_ERROR_BAD_UTF8,
                    "%s is not UTF-8, or has a NUL in it; write it in UTF-8", what);
        return FALSE;
    }
    return TRUE;
}

xmlDoc *xml_load(const char *what, const char *xml, gsize length, gsize most, GError **error)
{
    if (!check_text(what, xml, length, most, error)) {
        return NULL;
    }
    g_autoptr(xmlParserCtxt) context = xmlNewParserCtxt();
    g_auto(Reading) reading = {0};
    if (context == NULL) {
        g_error("out of memory");
    }
    context->_private = &reading;
    context->sax->serror = on_problem;
    context->sax->internalSubset = on_doctype;

    /* It is UTF-8, whatever it says itself. */
    g_autoptr(xmlDoc) document = xmlCtxtReadMemory(context, xml, (int)length, NULL, "UTF-8",
                                                   XML_PARSE_NONET | XML_PARSE_IGNORE_ENC);

    if (reading.doctype) {
        g_set_error(error, G_MARKUP_ERROR, G_MARKUP_ERROR_INVALID_CONTENT,
                    "%s comes with a DOCTYPE; remove it", what);
        return NULL;
    }
    if (document == NULL || reading.problem != NULL) {
        g_set_error(error, G_MARKUP_ERROR, G_MARKUP_ERROR_PARSE,
                    "%s can't be read as XML: line %d: %s; correct it there or just before", what,
                    reading.line, reading.problem != NULL ? reading.problem : "it breaks off");
        return NULL;
    }
    return g_steal_pointer(&document);
}
