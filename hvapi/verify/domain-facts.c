/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a running domain's XML says of its interrupts: see domain-facts.h. How libvirt's elements
 * become QEMU's options was tried with libvirt 9.0 (tickpolicy), or is as libvirt's documentation
 * of the domain's format has it (<ioapic>: "kvm", the default of KVM's domains, or "qemu"). Its
 * <apic/> says nothing: QEMU's machines have local APICs with it and without it.
 */
#include "hvapi/verify/domain-facts.h"

#include <libxml/parser.h>
#include <libxml/tree.h>
#include <string.h>

/* As long as a string can be that libvirt's protocol carries (VIR_NET_MESSAGE_STRING_MAX). */
#define XML_MAX (4 * 1024 * 1024)

#define ASSIST_NAMESPACE "urn:hvtimer:domain:1.0"

/* The one machine of QEMU's whose IOAPIC is not KVM's unless it is told so, for one release
 * (pc_q35_4_0_machine_options() in hw/i386/pc_q35.c). */
#define SPLIT_MACHINE "pc-q35-4.0"

/* @node, or the next beside it that is an element of that name and namespace (NULL: none). */
static const xmlNode *find(const xmlNode *node, const char *namespace, const char *name)
{
    for (; node != NULL; node = node->next) {
        const char *href = node->type == XML_ELEMENT_NODE && node->ns != NULL
                               ? (const char *)node->ns->href
                               : NULL;

        if (node->type == XML_ELEMENT_NODE && g_strcmp0(href, namespace) == 0 &&
            g_str_equal((const char *)node->name, name)) {
            return node;
        }
    }
    return NULL;
}

static const xmlNode *find_child(const xmlNode *node, const char *namespace, const char *name)
{
    return node != NULL ? find(node->children, namespace, name) : NULL;
}

/* Whether @node has the attribute, and with that value. */
static gboolean has(const xmlNode *node, const char *attribute, const char *value)
{
    xmlChar *text = node != NULL ? xmlGetNoNsProp(node, BAD_CAST attribute) : NULL;
    gboolean result = g_strcmp0((const char *)text, value) == 0;

    xmlFree(text);
    return result;
}

static const xmlNode *find_timer(const xmlNode *root, const char *name)
{
    const xmlNode *clock = find_child(root, NULL, "clock");
    const xmlNode *timer = find_child(clock, NULL, "timer");

    while (timer != NULL && !has(timer, "name", name)) {
        timer = find(timer->next, NULL, "timer");
    }
    return timer;
}

static gboolean is_split(const xmlNode *root)
{
    const xmlNode *ioapic = find_child(find_child(root, NULL, "features"), NULL, "ioapic");

    if (ioapic != NULL) {
        return has(ioapic, "driver", "qemu");
    }
    return has(find_child(find_child(root, NULL, "os"), NULL, "type"), "machine", SPLIT_MACHINE);
}

/* A timer of the guest's own that hvtimer is to make up for, unless another does. */
static gboolean wants(const xmlNode *root, const char *name)
{
    const xmlNode *metadata = find_child(root, NULL, "metadata");
    const xmlNode *assist = find_child(metadata, ASSIST_NAMESPACE, "assist");
    const xmlNode *timer = find_child(assist, ASSIST_NAMESPACE, name);

    return has(timer, "mode", "slew") && !has(timer, "force", "yes");
}

static void read_facts(const xmlNode *root, struct domain_facts *facts)
{
    const xmlNode *pit = find_timer(root, "pit");

    facts->kvm = has(root, "type", "kvm");
    facts->split = is_split(root);
    facts->qemu_slews_rtc = has(find_timer(root, "rtc"), "tickpolicy", "catchup");
    /* KVM's PIT does unless it is told not to; QEMU's own, of a split one, does not. */
    facts->kvm_slews_pit =
        !facts->split && !has(pit, "present", "no") && !has(pit, "tickpolicy", "discard");
    facts->wants_rtc = wants(root, "rtc");
    facts->wants_pit = wants(root, "pit");
}

gboolean domain_facts_read(const char *xml, struct domain_facts *ret_facts, GError **error)
{
    size_t length = strlen(xml);
    xmlDoc *document =
        length <= XML_MAX ? xmlReadMemory(xml, (int)length, NULL, NULL,
                                          XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING)
                          : NULL;
    const xmlNode *root = document != NULL ? xmlDocGetRootElement(document) : NULL;
    gboolean is_domain = root != NULL && find(root, NULL, "domain") == root;

    if (is_domain) {
        read_facts(root, ret_facts);
    } else {
        g_set_error_literal(error, G_MARKUP_ERROR, G_MARKUP_ERROR_PARSE,
                            "its XML is not that of a domain");
    }
    xmlFreeDoc(document);
    return is_domain;
}
