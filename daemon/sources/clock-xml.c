/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The catching up that a libvirt domain's own XML asks for: see clock-xml.h. libvirt hands the
 * document out, but whoever may edit a domain has a hand in it: as with the metadata's element
 * (assist-xml.c), it is bounded in size and depth, nothing is loaded or expanded for its sake, and
 * libxml2 has nothing to say on stderr. Unlike there, what is not known is passed over: the
 * document is libvirt's.
 */
#include "daemon/sources/clock-xml.h"

#include <libxml/parser.h>
#include <libxml/tree.h>
#include <string.h>

#define EXCERPT_MAX 80 /* bytes of foreign text in an error */

G_DEFINE_AUTOPTR_CLEANUP_FUNC(xmlDoc, xmlFreeDoc)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(xmlParserCtxt, xmlFreeParserCtxt)

/* As much of @text as an error and a line of a log can bear. (transfer full) */
static char *excerpt(const char *text)
{
    g_autofree char *head = g_strndup(text, EXCERPT_MAX);

    return g_strescape(head, NULL);
}

/* ---- the document ---- */

/* What is noted while libxml2 reads. */
struct reading {
    char *problem; /* its first; NULL: none */
    int line;      /* of it */
    gboolean doctype;
};

#if LIBXML_VERSION >= 21200
typedef const xmlError XmlProblem;
#else
typedef xmlError XmlProblem;
#endif

static void on_problem(void *context, XmlProblem *problem)
{
    struct reading *reading = ((xmlParserCtxt *)context)->_private;

    if (problem->level >= XML_ERR_ERROR && reading->problem == NULL) {
        g_autofree char *message = g_strdup(problem->message != NULL ? problem->message : "");

        reading->problem = excerpt(g_strchomp(message));
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

static gboolean check_text(const char *xml, gsize length, GError **error)
{
    if (length > CLOCK_XML_MAX) {
        g_set_error(error, G_MARKUP_ERROR, G_MARKUP_ERROR_PARSE,
                    "the domain's XML is %" G_GSIZE_FORMAT " bytes long; at most %d can be read",
                    length, CLOCK_XML_MAX);
        return FALSE;
    }
    if (!g_utf8_validate(xml, (gssize)length, NULL)) {
        g_set_error_literal(error, G_MARKUP_ERROR, G_MARKUP_ERROR_BAD_UTF8,
                            "the domain's XML is not UTF-8, or has a NUL in it; write it in UTF-8");
        return FALSE;
    }
    return TRUE;
}

static xmlDoc *load_document(const char *xml, gsize length, GError **error)
{
    g_autoptr(xmlParserCtxt) context = xmlNewParserCtxt();
    struct reading reading = {0};

    if (context == NULL) {
        g_error("out of memory");
    }
    context->_private = &reading;
    context->sax->serror = on_problem;
    context->sax->internalSubset = on_doctype;

    /* It is UTF-8, whatever it says itself. */
    g_autoptr(xmlDoc) document = xmlCtxtReadMemory(context, xml, (int)length, NULL, "UTF-8",
                                                   XML_PARSE_NONET | XML_PARSE_IGNORE_ENC);
    g_autofree char *problem = reading.problem;

    if (reading.doctype) {
        g_set_error_literal(error, G_MARKUP_ERROR, G_MARKUP_ERROR_INVALID_CONTENT,
                            "the domain's XML has a DOCTYPE; remove it");
        return NULL;
    }
    if (document == NULL || problem != NULL) {
        g_set_error(error, G_MARKUP_ERROR, G_MARKUP_ERROR_PARSE,
                    "the domain's XML can't be read: line %d: %s; correct it there or just before",
                    reading.line, problem != NULL ? problem : "it breaks off");
        return NULL;
    }
    return g_steal_pointer(&document);
}

/* ---- its element ---- */

/* @node, or the next one beside it that is an element of libvirt's of that name; NULL: none is. */
static const xmlNode *find_element(const xmlNode *node, const char *name)
{
    while (node != NULL && (node->type != XML_ELEMENT_NODE || node->ns != NULL ||
                            !g_str_equal((const char *)node->name, name))) {
        node = node->next;
    }
    return node;
}

static gboolean is_rtc(const xmlNode *timer)
{
    xmlChar *name = xmlGetNoNsProp(timer, BAD_CAST "name");
    gboolean result = name != NULL && g_str_equal((const char *)name, "rtc");

    xmlFree(name);
    return result;
}

/* libvirt itself hands one out at most for each timer, but lets a timer be there twice. */
static gboolean find_catchup(const xmlNode *root, const xmlNode **ret_catchup, GError **error)
{
    *ret_catchup = NULL;
    for (const xmlNode *clock = find_element(root->children, "clock"); clock != NULL;
         clock = find_element(clock->next, "clock")) {
        for (const xmlNode *timer = find_element(clock->children, "timer"); timer != NULL;
             timer = find_element(timer->next, "timer")) {
            const xmlNode *catchup =
                is_rtc(timer) ? find_element(timer->children, "catchup") : NULL;

            if (catchup == NULL) {
                continue;
            }
            if (*ret_catchup != NULL || find_element(catchup->next, "catchup") != NULL) {
                g_set_error_literal(error, G_MARKUP_ERROR, G_MARKUP_ERROR_INVALID_CONTENT,
                                    "the domain's <timer name='rtc'> has a second <catchup>; give "
                                    "one");
                return FALSE;
            }
            *ret_catchup = catchup;
        }
    }
    return TRUE;
}

static gboolean set_value(const char *name, const char *text, struct assist *assist, GError **error)
{
    g_autofree char *where = g_strdup_printf("%s of <catchup> in <timer name='rtc'>", name);
    g_autofree char *shown = excerpt(text);

    /* It goes into errors as it is. */
    if (!g_str_equal(shown, text)) {
        g_set_error(error, G_MARKUP_ERROR, G_MARKUP_ERROR_INVALID_CONTENT,
                    "%s can't be '%s'; give a number, in plain digits", where, shown);
        return FALSE;
    }
    return assist_find_value(assist_policy_values, name)->set(assist, where, text, error);
}

static gboolean read_catchup(const xmlNode *catchup, struct assist *assist, GError **error)
{
    static const char *const names[] = {"threshold", "slew", "limit"};

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        xmlChar *text = xmlGetNoNsProp(catchup, BAD_CAST names[i]);
        gboolean done = text == NULL || set_value(names[i], (const char *)text, assist, error);

        xmlFree(text);
        if (!done) {
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean check_root(const xmlNode *root, GError **error)
{
    if (find_element(root, "domain") == root) {
        return TRUE;
    }
    g_autofree char *name = excerpt((const char *)root->name);

    g_set_error(error, G_MARKUP_ERROR, G_MARKUP_ERROR_UNKNOWN_ELEMENT,
                "<%s> is not a libvirt domain's XML; give <domain>", name);
    return FALSE;
}

gboolean clock_xml_read_policy(const char *domain_xml, gsize length, struct assist *ret_assist,
                               GError **error)
{
    struct assist assist = ASSIST_NONE;
    const xmlNode *catchup;
    g_autoptr(xmlDoc) document =
        check_text(domain_xml, length, error) ? load_document(domain_xml, length, error) : NULL;
    const xmlNode *root = document != NULL ? xmlDocGetRootElement(document) : NULL;

    if (root == NULL || !check_root(root, error) || !find_catchup(root, &catchup, error) ||
        (catchup != NULL && !read_catchup(catchup, &assist, error))) {
        return FALSE;
    }
    ret_assist->policy_given = assist.policy_given;
    ret_assist->policy = assist.policy;
    return TRUE;
}
