/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The policy that a libvirt domain's own <clock> gives: read, and mistakes and hostile documents
 * refused. */
#include "daemon/sources/clock-xml.h"

#include <string.h>

#define NS "urn:hvtimer:domain:1.0"

#define DOMAIN(inner)      "<domain type='kvm'>" inner "</domain>"
#define CLOCK(inner)       DOMAIN("<clock offset='utc'>" inner "</clock>")
#define RTC(inner)         CLOCK("<timer name='rtc' tickpolicy='catchup'>" inner "</timer>")
#define CATCHUP(attribute) RTC("<catchup " attribute "/>")

#define THRESHOLD ASSIST_POLICY_THRESHOLD
#define SLEW      ASSIST_POLICY_SLEW
#define LIMIT     ASSIST_POLICY_LIMIT

/* As libvirt 9.0 hands it out, with what stands around it. */
static const char whole[] =
    "<domain type='kvm' id='1' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>\n"
    "  <name>catchup</name>\n"
    "  <metadata>\n"
    "    <hvtimer:assist xmlns:hvtimer='" NS "'>\n"
    "      <hvtimer:catchup threshold='9' slew='9' limit='9'/>\n"
    "    </hvtimer:assist>\n"
    "    <a:a xmlns:a='urn:a'><clock><timer name='rtc'><catchup slew='8'/></timer></clock></a:a>\n"
    "  </metadata>\n"
    "  <!-- <catchup/> -->\n"
    "  <features>\n    <hyperv mode='custom'/>\n  </features>\n"
    "  <clock offset='localtime' basis='utc'>\n"
    "    <timer name='pit' tickpolicy='catchup'>\n"
    "      <catchup threshold='7' slew='7' limit='7'/>\n"
    "    </timer>\n"
    "    <timer name='rtc' track='guest' tickpolicy='catchup'>\n"
    "      <catchup threshold='123' slew='120' limit='10000'/>\n"
    "    </timer>\n"
    "    <timer name='hpet' present='no'/>\n"
    "  </clock>\n"
    "  <devices>\n    <rng model='virtio'/>\n  </devices>\n"
    "  <qemu:commandline>\n    <qemu:arg value='-name'/>\n  </qemu:commandline>\n"
    "</domain>\n";

static const struct good {
    const char *xml;
    unsigned given;
    uint32_t threshold, slew, limit_ms;
} good[] = {
    {whole, THRESHOLD | SLEW | LIMIT, 123, 120, 10000},
    /* Each attribute alone, at its bounds. */
    {CATCHUP("threshold='1'"), THRESHOLD, 1, 0, 0},
    {CATCHUP("threshold='4294967295'"), THRESHOLD, UINT32_MAX, 0, 0},
    {CATCHUP("slew='5'"), SLEW, 0, 5, 0},
    {CATCHUP("slew='700'"), SLEW, 0, 700, 0},
    {CATCHUP("limit='0'"), LIMIT, 0, 0, 0},
    {CATCHUP("limit='4294967295'"), LIMIT, 0, 0, UINT32_MAX},
    {CATCHUP("slew='&#49;&#x30;'"), SLEW, 0, 10, 0},
    {CATCHUP(""), 0, 0, 0, 0},
    /* What libvirt may come to write besides. */
    {CATCHUP("slew='10' policy='lazy' on-resume='catchup' new='x'"), SLEW, 0, 10, 0},
    {RTC("text<new/><catchup slew='10'><a/>b</catchup><!-- c --><?d e?>"), SLEW, 0, 10, 0},
    {"<?xml version='1.0' encoding='ISO-8859-1'?><!-- \xc3\xa4 -->" CATCHUP("slew='10'"), SLEW, 0,
     10, 0},
    /* Two of the same timer, of which one says something. */
    {CLOCK("<timer name='rtc'/><timer name='rtc'><catchup slew='10'/></timer>"), SLEW, 0, 10, 0},
    /* None. */
    {DOMAIN(""), 0, 0, 0, 0},
    {CLOCK(""), 0, 0, 0, 0},
    {CLOCK("<timer name='rtc' tickpolicy='delay'/>"), 0, 0, 0, 0},
    {CLOCK("<timer><catchup slew='10'/></timer>"), 0, 0, 0, 0},
    {CLOCK("<timer name='pit'><catchup slew='10'/></timer>"), 0, 0, 0, 0},
    {CLOCK("<timer name='RTC'><catchup slew='10'/></timer>"), 0, 0, 0, 0},
    {CLOCK("<timer name='rtc'/><catchup slew='10'/>"), 0, 0, 0, 0},
    {DOMAIN("<timer name='rtc'><catchup slew='10'/></timer>"), 0, 0, 0, 0},
    {DOMAIN("<a><clock><timer name='rtc'><catchup slew='10'/></timer></clock></a>"), 0, 0, 0, 0},
    {RTC("<a><catchup slew='10'/></a>"), 0, 0, 0, 0},
    /* Not libvirt's. */
    {RTC("<catchup xmlns='urn:a' slew='10'/>"), 0, 0, 0, 0},
    {DOMAIN("<a:clock xmlns:a='urn:a'><timer name='rtc'><catchup slew='1'/></timer></a:clock>"), 0,
     0, 0, 0},
    {CLOCK("<timer xmlns:a='urn:a' a:name='rtc'><catchup slew='10'/></timer>"), 0, 0, 0, 0},
    {CATCHUP("xmlns:a='urn:a' a:slew='10'"), 0, 0, 0, 0},
};

static void test_good(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(good); i++) {
        const struct good *g = &good[i];
        gsize length = strlen(g->xml);
        /* To the byte: no NUL behind it. */
        g_autofree char *exact = g_memdup2(g->xml, length);
        struct assist assist, before;
        g_autoptr(GError) error = NULL;

        g_test_message("%s", g->xml);
        memset(&assist, 0x5a, sizeof assist);
        before = assist;
        g_assert_true(clock_xml_read_policy(exact, length, &assist, &error));
        g_assert_no_error(error);
        g_assert_cmphex(assist.policy_given, ==, g->given);
        g_assert_null(ticker_policy_problem(&assist.policy));
        if (g->given & THRESHOLD) {
            g_assert_cmpuint(assist.policy.threshold, ==, g->threshold);
        }
        if (g->given & SLEW) {
            g_assert_cmpuint(assist.policy.slew, ==, g->slew);
        }
        if (g->given & LIMIT) {
            g_assert_cmpuint(assist.policy.limit_ms, ==, g->limit_ms);
        }
        /* The rest is as it was. */
        before.policy_given = assist.policy_given;
        before.policy = assist.policy;
        g_assert_cmpmem(&assist, sizeof assist, &before, sizeof before);
    }
}

/* It is refused with an error that has both in it, and nothing is written. */
static void assert_refused(const char *xml, gsize length, const char *names, const char *tells)
{
    g_autofree char *exact = g_memdup2(xml, length);
    struct assist assist, before;
    g_autoptr(GError) error = NULL;

    memset(&assist, 0x5a, sizeof assist);
    before = assist;
    g_assert_false(clock_xml_read_policy(exact, length, &assist, &error));
    g_assert_nonnull(error);
    g_assert_true(error->domain == G_MARKUP_ERROR || error->domain == G_OPTION_ERROR);
    g_test_message("%s", error->message);
    g_assert_nonnull(strstr(error->message, names));
    g_assert_nonnull(strstr(error->message, tells));
    g_assert_cmpuint(strlen(error->message), <, 600);
    g_assert_true(g_utf8_validate(error->message, -1, NULL));
    for (const char *c = error->message; *c != '\0'; c = g_utf8_next_char(c)) {
        g_assert_true(g_unichar_isprint(g_utf8_get_char(c)));
    }
    g_assert_cmpmem(&assist, sizeof assist, &before, sizeof before);
}

static const struct bad {
    const char *xml;
    const char *names, *tells; /* what must be in the error */
} bad[] = {
    {CATCHUP("threshold='0'"), "threshold of <catchup>", "1 to 4294967295"},
    {CATCHUP("threshold='4294967296'"), "threshold of <catchup>", "1 to 4294967295"},
    {CATCHUP("threshold='18446744073709551617'"), "threshold of <catchup>", "1 to 4294967295"},
    {CATCHUP("slew='4'"), "slew of <catchup> in <timer name='rtc'>: '4'", "5 to 700"},
    {CATCHUP("slew='701'"), "slew of <catchup>", "5 to 700"},
    {CATCHUP("slew='-1'"), "slew of <catchup>", "5 to 700"},
    {CATCHUP("slew='120%'"), "slew of <catchup>", "5 to 700"},
    {CATCHUP("slew=' 120'"), "slew of <catchup>", "5 to 700"},
    {CATCHUP("slew='120 '"), "slew of <catchup>", "'120 ' is not a number"},
    {CATCHUP("slew=''"), "slew of <catchup>", "5 to 700"},
    {CATCHUP("limit='4294967296'"), "limit of <catchup>", "0 to 4294967295"},
    {CATCHUP("limit='10s'"), "limit of <catchup>", "0 to 4294967295"},
    /* The first are right. */
    {CATCHUP("threshold='1' slew='100' limit='x'"), "limit of <catchup>", "'x'"},
    /* Text that no log should have. */
    {CATCHUP("slew='1&#10;2'"), "slew of <catchup>", "give a number"},
    {CATCHUP("slew='\xc3\xa4'"), "slew of <catchup>", "give a number"},
    {CATCHUP("slew='1&quot;'"), "slew of <catchup>", "give a number"},
    /* More than one. */
    {RTC("<catchup slew='10'/><catchup slew='11'/>"), "<timer name='rtc'>", "second <catchup>"},
    {CLOCK("<timer name='rtc'><catchup/></timer><timer name='rtc'><catchup/></timer>"),
     "<timer name='rtc'>", "second <catchup>"},
    /* Not a domain. */
    {"<clock><timer name='rtc'><catchup slew='10'/></timer></clock>", "<clock>", "<domain>"},
    {"<domainsnapshot><domain/></domainsnapshot>", "<domainsnapshot>", "<domain>"},
    {"<domain xmlns='urn:a'/>", "<domain>", "libvirt"},
    /* Not XML. */
    {"", "domain's XML", "can't be read"},
    {"{}", "domain's XML", "line 1"},
    {"<domain>", "domain's XML", "line 1"},
    {"<domain>\n<clock></domain>", "domain's XML", "line 2"},
    {"<domain a='1' a='2'/>", "domain's XML", "line 1"},
    {"<domain/><domain/>", "domain's XML", "line 1"},
    {"<a:domain/>", "", ""},
    {CATCHUP("slew='&slew;'"), "domain's XML", "slew"},
    /* Documents that want to be more than they are. */
    {"<!DOCTYPE domain>" DOMAIN(""), "domain's XML", "DOCTYPE"},
    {"<!DOCTYPE domain [<!ENTITY s '120'>]>" CATCHUP("slew='&s;'"), "domain's XML", "DOCTYPE"},
    {"<!DOCTYPE domain [<!ENTITY s SYSTEM 'file:///etc/passwd'>]>" DOMAIN("&s;"), "domain's XML",
     "DOCTYPE"},
    {"<!DOCTYPE domain SYSTEM 'file:///nonexistent.dtd'>" DOMAIN(""), "domain's XML", "DOCTYPE"},
    {"<!DOCTYPE domain [<!ATTLIST catchup slew CDATA '120'>]>" CATCHUP(""), "domain's XML",
     "DOCTYPE"},
    {"<!DOCTYPE l [<!ENTITY a 'lol'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;'>"
     "<!ENTITY c '&b;&b;&b;&b;&b;&b;&b;&b;'>]><domain>&c;</domain>",
     "domain's XML", "DOCTYPE"},
    /* Encodings. */
    {"<domain>\xff</domain>", "domain's XML", "UTF-8"},
    {"<domain>\xed\xa0\x80</domain>", "domain's XML", "UTF-8"},
    {"\xff\xfe<\0d\0", "domain's XML", "UTF-8"},
};

static void test_bad(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_test_message("%s", bad[i].xml);
        assert_refused(bad[i].xml, strlen(bad[i].xml), bad[i].names, bad[i].tells);
    }
    assert_refused("<domain/>\0<domain/>", 19, "domain's XML", "NUL");
}

/* ---- size and depth ---- */

static void append_many(GString *xml, const char *text, unsigned times)
{
    while (times-- > 0) {
        g_string_append(xml, text);
    }
}

static void test_large(void)
{
    g_autoptr(GString) xml = g_string_new("<domain>");
    struct assist assist = ASSIST_NONE;
    g_autoptr(GError) error = NULL;

    append_many(xml, "<a b='c'/>\n", (CLOCK_XML_MAX - 200) / 11);
    g_string_append(xml, "<clock><timer name='rtc'><catchup slew='10'/></timer></clock></domain>");
    g_assert_cmpuint(xml->len, <=, CLOCK_XML_MAX);
    g_assert_true(clock_xml_read_policy(xml->str, xml->len, &assist, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(assist.policy.slew, ==, 10);
    append_many(xml, "\n", (unsigned)(CLOCK_XML_MAX + 1 - xml->len));
    assert_refused(xml->str, xml->len, "domain's XML", G_STRINGIFY(4194305));
}

static void test_deep(void)
{
    g_autoptr(GString) xml = g_string_new("<domain>");

    append_many(xml, "<a>", 100000);
    append_many(xml, "</a>", 100000);
    g_string_append(xml, "</domain>");
    assert_refused(xml->str, xml->len, "domain's XML", "line 1");
}

static void test_long(void)
{
    g_autoptr(GString) value = g_string_new("<domain><clock><timer name='rtc'><catchup slew='");
    g_autoptr(GString) name = g_string_new("<");

    append_many(value, "1", 100000);
    g_string_append(value, "'/></timer></clock></domain>");
    assert_refused(value->str, value->len, "slew of <catchup>", "give a number");
    append_many(name, "\xc3\xa4", 20000);
    g_string_append(name, "/>");
    assert_refused(name->str, name->len, "", "");
}

/* Broken off or damaged anywhere: read or refused, nothing else. */
static void test_damaged(void)
{
    gsize length = strlen(whole);

    for (gsize end = 0; end < length; end++) {
        g_autofree char *part = g_memdup2(whole, end);
        struct assist assist;
        g_autoptr(GError) error = NULL;

        /* The last character is a line's end. */
        g_assert_true(clock_xml_read_policy(part, end, &assist, &error) == (end == length - 1));
    }
    for (unsigned i = 0; i < 2000; i++) {
        g_autofree char *damaged = g_memdup2(whole, length);
        struct assist assist = ASSIST_NONE;
        g_autoptr(GError) error = NULL;

        for (unsigned n = 0; n < 3; n++) {
            gsize at = (gsize)g_test_rand_int_range(0, (gint32)length);
            damaged[at] = (char)g_test_rand_int_range(0, 256);
        }
        gboolean read = clock_xml_read_policy(damaged, length, &assist, &error);
        g_assert_true(read == (error == NULL));
        g_assert_null(ticker_policy_problem(&assist.policy));
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/clock-xml/good", test_good);
    g_test_add_func("/clock-xml/bad", test_bad);
    g_test_add_func("/clock-xml/large", test_large);
    g_test_add_func("/clock-xml/deep", test_deep);
    g_test_add_func("/clock-xml/long", test_long);
    g_test_add_func("/clock-xml/damaged", test_damaged);
    return g_test_run();
}
