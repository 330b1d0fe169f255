/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The element in a libvirt domain's metadata: see assist.h, and conf/assist.rng for its schema.
 */
#include "daemon/assist.h"

#include "common/values.h"
#include "daemon/policy-names.h"
#include "daemon/xml.h"
#include <inttypes.h>
#include <string.h>

#define NS_PER_S UINT64_C(1000000000)

/* ---- writing ---- */

/* Exactly: as a whole number of a unit of time or of Hz, or else as a ratio. */
static char *format_period(struct period period)
{
    static const struct {
        const char *name;
        uint64_t ns;
    } units[] = {{"s", NS_PER_S}, {"ms", 1000000}, {"us", 1000}, {"ns", 1}};
    struct period p = period;
    uint64_t hz;

    (void)period_make(period.numerator, period.denominator, &p);
    for (size_t i = 0; p.denominator == 1 && i < G_N_ELEMENTS(units); i++) {
        if (p.numerator % units[i].ns == 0) {
            return g_strdup_printf("%" PRIu64 "%s", p.numerator / units[i].ns, units[i].name);
        }
    }
    if (NS_PER_S % p.numerator == 0 &&
        !__builtin_mul_overflow(NS_PER_S / p.numerator, p.denominator, &hz) &&
        hz < PERIOD_PART_LIMIT) {
        return g_strdup_printf("%" PRIu64 "Hz", hz);
    }
    return g_strdup_printf("%" PRIu64 "/%" PRIu64 "ns", p.numerator, p.denominator);
}

static void write_timer(GString *xml, const struct assist *assist)
{
    HV_EMULATED_TIMER_CONTROL control = {.AsUINT64 = assist->control};
    uint32_t destination = value_control_destination(assist->control);
    g_autofree char *period = format_period(assist->period);

    g_string_append_printf(xml, "<timer period=\"%s\" vector=\"0x%02x\"", period,
                           (unsigned)control.Vector);
    g_string_append_printf(xml,
                           control.LogicalDestinationMode ? " destination=\"logical:0x%" PRIx32 "\""
                                                          : " destination=\"physical:%" PRIu32 "\"",
                           destination);
    g_string_append_printf(
        xml, " delivery=\"%s\" injector=\"%s\" enabled=\"%s\"/>",
        control.DeliveryMode == HV_EMULATED_TIMER_DELIVERY_LOWEST_PRIORITY ? "lowest" : "fixed",
        assist->injector, control.Enabled ? "yes" : "no");
}

static void write_supervision(GString *xml, const struct supervision *supervision)
{
    g_string_append_printf(
        xml, "<%s mode=\"%s\" force=\"%s\"/>", base_timer_name(supervision->timer),
        supervision_mode_name(supervision->mode), supervision->force ? "yes" : "no");
}

static void write_policy(GString *xml, const struct assist *assist)
{
    const struct ticker_policy *policy = &assist->policy;

    g_string_append(xml, "<catchup");
    if (assist->policy_given & ASSIST_POLICY_MODE) {
        g_string_append_printf(xml, " policy=\"%s\"", policy_mode_name(policy->mode));
    }
    if (assist->policy_given & ASSIST_POLICY_THRESHOLD) {
        g_string_append_printf(xml, " threshold=\"%" PRIu32 "\"", policy->threshold);
    }
    if (assist->policy_given & ASSIST_POLICY_SLEW) {
        g_string_append_printf(xml, " slew=\"%" PRIu32 "\"", policy->slew);
    }
    if (assist->policy_given & ASSIST_POLICY_LIMIT) {
        g_string_append_printf(xml, " limit=\"%" PRIu32 "\"", policy->limit_ms);
    }
    if (assist->policy_given & ASSIST_POLICY_ON_RESUME) {
        g_string_append_printf(xml, " on-resume=\"%s\"",
                               policy_on_resume_name(policy->catch_up_suspends));
    }
    g_string_append(xml, "/>");
}

/* Without blanks between elements: libvirt then indents it as it does the rest of a domain. */
char *assist_to_xml(const struct assist *assist)
{
    g_autoptr(GString) xml = g_string_new("<assist xmlns=\"" ASSIST_NAMESPACE "\">");

    if (assist->timer) {
        write_timer(xml, assist);
    }
    if (assist->supervision.mode != SUPERVISION_OFF) {
        write_supervision(xml, &assist->supervision);
    }
    if (assist->policy_given != 0) {
        write_policy(xml, assist);
    }
    g_string_append(xml, "</assist>");
    return g_string_free(g_steal_pointer(&xml), FALSE);
}

/* ---- errors ---- */

static gboolean set_content_error(GError **error, const char *element, const char *text)
{
    g_autofree char *shown = xml_excerpt(text);

    g_set_error(error, G_MARKUP_ERROR, G_MARKUP_ERROR_INVALID_CONTENT,
                "<%s> holds the text '%s'; remove it: values are attributes", element, shown);
    return FALSE;
}

/* @what: "element" or "attribute"; @known: those that there are, NULL for none. */
static gboolean set_unknown_error(GError **error, GMarkupError code, const char *parent,
                                  const char *what, const char *name, const char *known)
{
    g_autofree char *shown = xml_excerpt(name);

    g_set_error(error, G_MARKUP_ERROR, (gint)code,
                "<%s> has the %s '%s', which is not known; remove it%s%s", parent, what, shown,
                known != NULL ? ", or name one of " : ": it takes none",
                known != NULL ? known : "");
    return FALSE;
}

/* ---- reading: its elements ---- */

/* An element of the root element. */
struct part {
    const char *name;
    const struct assist_value *values;
    gboolean (*read)(const struct part *part, const xmlNode *element, struct assist *assist,
                     GError **error);
};

/* No namespace is as good as ours: virDomainGetMetadata() takes it away. */
static gboolean is_ours(const xmlNode *node)
{
    return node->ns == NULL || xmlStrEqual(node->ns->href, BAD_CAST ASSIST_NAMESPACE);
}

static gboolean check_namespace(const xmlNode *node, GError **error)
{
    if (is_ours(node)) {
        return TRUE;
    }

    g_autofree char *name = xml_excerpt((const char *)node->name);
    g_autofree char *namespace = xml_excerpt((const char *)node->ns->href);

    g_set_error(error, G_MARKUP_ERROR, G_MARKUP_ERROR_UNKNOWN_ELEMENT,
                "<%s> is in the namespace '%s'; put it in " ASSIST_NAMESPACE, name, namespace);
    return FALSE;
}

/* Of what stands in @parent: an element? Blanks, comments and processing instructions may stand
 * anywhere, text nowhere. */
static gboolean check_node(const xmlNode *parent, xmlNode *node, gboolean *ret_element,
                           GError **error)
{
    switch (node->type) {
    case XML_ELEMENT_NODE:
    case XML_COMMENT_NODE:
    case XML_PI_NODE:
        *ret_element = node->type == XML_ELEMENT_NODE;
        return TRUE;
    default:
        *ret_element = FALSE;
        return xmlIsBlankNode(node) ||
               set_content_error(error, (const char *)parent->name,
                                 node->content != NULL ? (const char *)node->content : "");
    }
}

static char *list_values(const struct assist_value *values)
{
    g_autoptr(GString) list = g_string_new(values->name);

    for (values++; values->name != NULL; values++) {
        g_string_append_printf(list, ", %s", values->name);
    }
    return g_string_free(g_steal_pointer(&list), FALSE);
}

static gboolean set_value(const struct part *part, const struct assist_value *value,
                          const char *text, struct assist *assist, GError **error)
{
    g_autofree char *where = g_strdup_printf("%s of <%s>", value->name, part->name);
    g_autofree char *shown = xml_excerpt(text);

    /* It goes into errors as it is. */
    if (!g_str_equal(shown, text)) {
        g_set_error(error, G_MARKUP_ERROR, G_MARKUP_ERROR_INVALID_CONTENT,
                    "%s can't be '%s'; give at most %d printable characters", where, shown,
                    XML_EXCERPT_MAX);
        return FALSE;
    }
    return value->set(assist, where, text, error);
}

static gboolean read_attribute(const struct part *part, xmlAttr *attribute, struct assist *assist,
                               GError **error)
{
    const char *name = (const char *)attribute->name;
    const struct assist_value *value =
        attribute->ns == NULL ? assist_find_value(part->values, name) : NULL;

    if (value == NULL) {
        g_autofree char *full = attribute->ns == NULL || attribute->ns->prefix == NULL
                                    ? g_strdup(name)
                                    : g_strdup_printf("%s:%s", attribute->ns->prefix, name);
        g_autofree char *known = list_values(part->values);

        return set_unknown_error(error, G_MARKUP_ERROR_UNKNOWN_ATTRIBUTE, part->name, "attribute",
                                 full, known);
    }

    xmlChar *text = xmlNodeListGetString(attribute->doc, attribute->children, 1);
    gboolean done = set_value(part, value, text != NULL ? (char *)text : "", assist, error);

    xmlFree(text);
    return done;
}

static gboolean read_values(const struct part *part, const xmlNode *element, struct assist *assist,
                            GError **error)
{
    for (xmlAttr *a = element->properties; a != NULL; a = a->next) {
        if (!read_attribute(part, a, assist, error)) {
            return FALSE;
        }
    }
    for (xmlNode *node = element->children; node != NULL; node = node->next) {
        gboolean is_element;

        if (!check_node(element, node, &is_element, error)) {
            return FALSE;
        }
        if (is_element) {
            return set_unknown_error(error, G_MARKUP_ERROR_UNKNOWN_ELEMENT, part->name, "element",
                                     (const char *)node->name, NULL);
        }
    }
    return TRUE;
}

static gboolean read_timer(const struct part *part, const xmlNode *element, struct assist *assist,
                           GError **error)
{
    if (!read_values(part, element, assist, error)) {
        return FALSE;
    }

    const char *missing = assist_timer_lacks(assist);

    if (missing != NULL) {
        g_set_error(error, G_MARKUP_ERROR, G_MARKUP_ERROR_MISSING_ATTRIBUTE,
                    "<timer> has no %s; give one, as in <timer period=\"1ms\" vector=\"0x50\"/>",
                    missing);
        return FALSE;
    }
    assist->timer = TRUE;
    return TRUE;
}

/* @problem: what it has, NULL for none that is wrong. */
static gboolean check_whole(const char *problem, GError **error)
{
    if (problem != NULL) {
        g_set_error(error, G_MARKUP_ERROR, G_MARKUP_ERROR_INVALID_CONTENT, "<assist> has %s",
                    problem);
    }
    return problem == NULL;
}

static gboolean read_supervision(const struct part *part, const xmlNode *element,
                                 struct assist *assist, GError **error)
{
    struct assist alone = ASSIST_NONE; /* the other one's mode and force are not touched */

    if (!read_values(part, element, &alone, error)) {
        return FALSE;
    }
    if (xmlHasProp(element, BAD_CAST "mode") == NULL) {
        g_set_error(error, G_MARKUP_ERROR, G_MARKUP_ERROR_MISSING_ATTRIBUTE,
                    "<%s> has no mode; give one of slew, observe, off, as in <%s mode=\"slew\"/>",
                    part->name, part->name);
        return FALSE;
    }
    base_timer_from_name(part->name, &alone.supervision.timer);
    return check_whole(assist_supervise(assist, &alone.supervision), error);
}

static const struct part parts[] = {
    {"timer", assist_timer_values, read_timer},
    {"rtc", assist_supervision_values, read_supervision},
    {"pit", assist_supervision_values, read_supervision},
    {"catchup", assist_policy_values, read_values},
};

/* @seen has a bit for each part already met. */
static gboolean read_child(const xmlNode *element, unsigned *seen, struct assist *assist,
                           GError **error)
{
    const char *name = (const char *)element->name;

    if (!check_namespace(element, error)) {
        return FALSE;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(parts); i++) {
        if (!g_str_equal(parts[i].name, name)) {
            continue;
        }
        if (*seen & (1u << i)) {
            g_set_error(error, G_MARKUP_ERROR, G_MARKUP_ERROR_INVALID_CONTENT,
                        "<assist> has a second <%s>; give one", name);
            return FALSE;
        }
        *seen |= 1u << i;
        return parts[i].read(&parts[i], element, assist, error);
    }
    return set_unknown_error(error, G_MARKUP_ERROR_UNKNOWN_ELEMENT, "assist", "element", name,
                             "timer, rtc, pit, catchup");
}

static gboolean check_root(const xmlNode *root, GError **error)
{
    if (!g_str_equal((const char *)root->name, "assist")) {
        g_autofree char *name = xml_excerpt((const char *)root->name);

        g_set_error(error, G_MARKUP_ERROR, G_MARKUP_ERROR_UNKNOWN_ELEMENT,
                    "<%s> is not the element for a guest's timer; give <assist>", name);
        return FALSE;
    }
    if (!check_namespace(root, error)) {
        return FALSE;
    }
    return root->properties == NULL ||
           set_unknown_error(error, G_MARKUP_ERROR_UNKNOWN_ATTRIBUTE, "assist", "attribute",
                             (const char *)root->properties->name, NULL);
}

gboolean assist_parse_xml(const char *xml, gsize length, struct assist *ret_assist, GError **error)
{
    struct assist assist = ASSIST_NONE;
    unsigned seen = 0;
    g_autoptr(xmlDoc) document = xml_load("<assist>", xml, length, ASSIST_XML_MAX, error);
    const xmlNode *root = document != NULL ? xmlDocGetRootElement(document) : NULL;

    if (root == NULL || !check_root(root, error)) {
        return FALSE;
    }
    for (xmlNode *node = root->children; node != NULL; node = node->next) {
        gboolean is_element;

        if (!check_node(root, node, &is_element, error) ||
            (is_element && !read_child(node, &seen, &assist, error))) {
            return FALSE;
        }
    }
    if (!check_whole(assist_conflict(&assist), error)) {
        return FALSE;
    }
    *ret_assist = assist;
    return TRUE;
}
