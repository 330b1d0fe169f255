/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The catching up that a libvirt domain's own XML asks for: see clock-xml.h. libvirt hands the
 * document out, but whoever may edit a domain has a hand in it. Unlike in the metadata's element
 * (assist-xml.c), what is not known is passed over: the document is libvirt's.
 */
#include "daemon/sources/clock-xml.h"

#include "daemon/xml.h"
#include <string.h>

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
    g_autofree char *shown = xml_excerpt(text);

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
    g_autofree char *name = xml_excerpt((const char *)root->name);

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
        xml_load("the domain's XML", domain_xml, length, CLOCK_XML_MAX, error);
    const xmlNode *root = document != NULL ? xmlDocGetRootElement(document) : NULL;

    if (root == NULL || !check_root(root, error) || !find_catchup(root, &catchup, error) ||
        (catchup != NULL && !read_catchup(catchup, &assist, error))) {
        return FALSE;
    }
    ret_assist->policy_given = assist.policy_given;
    ret_assist->policy = assist.policy;
    return TRUE;
}
