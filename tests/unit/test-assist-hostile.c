/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Documents that no honest hand writes: broken, huge, in other encodings, changed at random. Each
 * is refused in no time and without a word on stderr. `--seed` repeats the random ones.
 */
#include "tests/unit/test-assist.h"

#include <string.h>

/* What is wrong with them, libxml2 has words for. */
static const char *const broken[][2] = {
    {"", "as XML"},
    {" ", "as XML"},
    {"assist", "line 1"},
    {"<assist>", "line 1"},
    {"<assist", "line 1"},
    {"<assist/><assist/>", "line 1"},
    {"<assist>\n<timer>\n</assist>", "line 3"},
    {"<assist><timer period='1ms' period='2ms'/></assist>", "period"},
    {"<assist><timer period=1ms/></assist>", "line 1"},
    {"<assist><timer period='<'/></assist>", "line 1"},
    {"<hv:assist/>", "hv"},
    {"<assist><hv:timer/></assist>", "hv"},
    {"<assist xmlns:hv=''/>", "hv"},
    {"<assist>&lol;</assist>", "lol"},
    {"<assist>&#0;</assist>", "line 1"},
    {"<assist><catchup slew='&lol;'/></assist>", "lol"},
    {"<assist>\x01</assist>", "line 1"},
    {"\xef\xbf\xbe<assist/>", "line 1"},
    {"<!DOCTYPE assist><assist/>", "DOCTYPE"},
    {"<!DOCTYPE assist [<!ENTITY a \"1ms\">]><assist><timer period='&a;' vector='80'/></assist>",
     "DOCTYPE"},
    {"<!DOCTYPE assist [<!ATTLIST catchup slew CDATA '5'>]><assist><catchup/></assist>", "DOCTYPE"},
    {"<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><assist>&b;</assist>", "DOCTYPE"},
    {"<!DOCTYPE a [<!ENTITY % b SYSTEM 'http://127.0.0.1:1/'> %b;]><assist/>", "DOCTYPE"},
    {"<!DOCTYPE a PUBLIC 'b' 'http://127.0.0.1:1/c.dtd'><assist/>", "DOCTYPE"},
    {"<!DOCTYPE lolz [<!ENTITY a 'lol'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;'>"
     "<!ENTITY c '&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;'><!ENTITY d '&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;'>"
     "<!ENTITY e '&d;&d;&d;&d;&d;&d;&d;&d;&d;&d;'><!ENTITY f '&e;&e;&e;&e;&e;&e;&e;&e;&e;&e;'>"
     "<!ENTITY g '&f;&f;&f;&f;&f;&f;&f;&f;&f;&f;'><!ENTITY h '&g;&g;&g;&g;&g;&g;&g;&g;&g;&g;'>"
     "]><assist><catchup slew='&h;'/>&h;</assist>",
     "DOCTYPE"},
};

static void assert_refused_bytes(const char *xml, gsize length, const char *tells)
{
    assert_refused(xml, length, "<assist>", tells);
}

static void test_encodings(void)
{
    static const char *const labels[] = {"utf-8", "ISO-8859-1", "UTF-16", "UTF-32", "EBCDIC", "x"};
    static const char utf16[] = "\xff\xfe<\0a\0s\0s\0i\0s\0t\0/\0>\0";

    assert_refused_bytes("<assist>\xff</assist>", strlen("<assist>\xff</assist>"), "UTF-8");
    assert_refused_bytes("<assist/>\0", 10, "NUL");
    assert_refused_bytes("<assist/>\0<assist/>", 19, "NUL");
    assert_refused_bytes(utf16, sizeof utf16 - 1, "UTF-8");
    assert_refused_bytes("<assist/>", 8, "line 1"); /* not a byte behind the length */
    assert_refused_bytes("<assist/>", 0, "as XML");
    /* UTF-8 it is, as libvirt's strings are, whatever else it says. */
    for (size_t i = 0; i < G_N_ELEMENTS(labels); i++) {
        g_autofree char *xml =
            g_strdup_printf("<?xml version='1.0' encoding='%s'?><assist/>", labels[i]);
        struct assist assist;

        g_assert_true(assist_parse_xml(xml, strlen(xml), &assist, NULL));
    }
}

/* @before, @unit as often as it fits into @length, @after. */
static char *fill(gsize length, const char *before, const char *unit, const char *after)
{
    GString *text = g_string_new(before);

    while (text->len + strlen(unit) + strlen(after) <= length) {
        g_string_append(text, unit);
    }
    g_string_append(text, after);
    return g_string_free(text, FALSE);
}

static void assert_filled_refused(gsize length, const char *before, const char *unit,
                                  const char *after, const char *tells)
{
    g_autofree char *xml = fill(length, before, unit, after);

    assert_refused(xml, strlen(xml), "", tells);
}

static void test_size(void)
{
    g_autofree char *largest = fill(ASSIST_XML_MAX, "<assist>", " ", "</assist>");
    struct assist assist;

    g_assert_true(assist_parse_xml(largest, strlen(largest), &assist, NULL));
    assert_filled_refused(ASSIST_XML_MAX + 1, "<assist>", " ", "</assist>", "65537 bytes");
    assert_filled_refused(1 << 20, "<assist>", "<!---->", "</assist>", "at most 65536");
    /* An int would wrap; not a byte is read. */
    assert_refused("", (gsize)UINT32_MAX + 2, "<assist>", "at most 65536");
}

/* As much as goes of each: it takes no time, and the error stays short. */
static void test_masses(void)
{
    gint64 start = g_get_monotonic_time();

    assert_filled_refused(ASSIST_XML_MAX, "", "<assist>", "", "line 1");
    assert_filled_refused(ASSIST_XML_MAX, "", "<a>", "<b/>", "line 1");
    assert_filled_refused(40000, "<assist ", "a", "='1'/>", "...'");
    assert_filled_refused(40000, "<assist><", "a", "/></assist>", "...'");
    assert_filled_refused(40000, "<assist xmlns='a:", "a", "'/>", "...'");
    assert_filled_refused(ASSIST_XML_MAX, "<", "a", "/>", "");
    assert_filled_refused(ASSIST_XML_MAX, "<assist>", "<catchup/>", "</assist>", "second");
    assert_filled_refused(ASSIST_XML_MAX, "<assist>", "&amp;", "</assist>", "&&");
    assert_filled_refused(ASSIST_XML_MAX, "<assist><catchup slew='", "1", "'/></assist>", "...'");
    assert_filled_refused(ASSIST_XML_MAX, "<assist><catchup slew='", "&#9;", "'/></assist>",
                          "\?\?");
    assert_filled_refused(ASSIST_XML_MAX, "<assist><catchup ", "a='' ", "/></assist>", "line 1");
    assert_filled_refused(ASSIST_XML_MAX, "<assist", " xmlns:a='a:b'", "/>", "line 1");
    assert_filled_refused(ASSIST_XML_MAX, "<assist>", "]]>", "</assist>", "line 1");
    assert_filled_refused(ASSIST_XML_MAX, "<!DOCTYPE a [<!ENTITY b '", "b", "'>]><assist/>",
                          "DOCTYPE");
    g_assert_cmpint(g_get_monotonic_time() - start, <, 10 * G_USEC_PER_SEC);
}

static void test_broken(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(broken); i++) {
        assert_refused_bytes(broken[i][0], strlen(broken[i][0]), broken[i][1]);
    }
}

/* libxml2 would rather tell the world. */
static void test_quiet(void)
{
    if (g_test_subprocess()) {
        test_broken();
        test_encodings();
        test_size();
        test_masses();
        return;
    }
    g_test_trap_subprocess(NULL, 0, G_TEST_SUBPROCESS_DEFAULT);
    g_test_trap_assert_passed();
    g_test_trap_assert_stderr("");
}

/* ---- at random ---- */

static const char *const samples[] = {
    "<assist><timer period='976.5625us' vector='0x50' destination='logical:0x3' injector='pin' "
    "enabled='no'/><rtc mode='slew' force='yes'/><pit mode='off'/></assist>",
    "<a:assist xmlns:a='" ASSIST_NAMESPACE "'><a:pit mode='observe' force='no'/><a:catchup "
    "policy='lazy' threshold='7' slew='700' limit='0x10' on-resume='catchup'/></a:assist>",
};

/* What is most likely to lead somewhere. */
static char random_character(void)
{
    static const char characters[] = "<>/='\"& :!?-[]%;x019abesnoyrtcpi\n\x01\x7f\xc3\xa4";

    return characters[g_test_rand_int_range(0, sizeof characters - 1)];
}

/* One to four of its characters are replaced, taken out, doubled or added. */
static void mutate(GString *xml)
{
    for (int i = g_test_rand_int_range(1, 5); i > 0 && xml->len > 0; i--) {
        gssize at = g_test_rand_int_range(0, (gint32)xml->len);

        switch (g_test_rand_int_range(0, 4)) {
        case 0:
            xml->str[at] = random_character();
            break;
        case 1:
            g_string_erase(xml, at, g_test_rand_int_range(0, (gint32)xml->len - (gint32)at) % 16);
            break;
        case 2:
            g_string_insert_c(xml, at, xml->str[at]);
            break;
        default:
            g_string_insert_c(xml, at, random_character());
        }
    }
}

/* What is accepted all the same is whole: it can be written, and read again. */
static void assert_whole(const char *xml, const struct assist *assist)
{
    g_autofree char *written = assist_to_xml(assist);
    g_autoptr(GError) error = NULL;
    struct assist again;

    if (assist_conflict(assist) != NULL ||
        (assist->supervision.timer == BASE_TIMER_NONE) !=
            (assist->supervision.mode == SUPERVISION_OFF) ||
        !assist_parse_xml(written, strlen(written), &again, &error) ||
        !assist_equal(assist, &again)) {
        g_test_fail_printf("%s: %s", xml, error != NULL ? error->message : written);
    }
}

static void test_random(void)
{
    unsigned accepted = 0;

    for (unsigned i = 0; i < 20000; i++) {
        g_autoptr(GString) xml = g_string_new(samples[i % G_N_ELEMENTS(samples)]);
        g_autoptr(GError) error = NULL;
        struct assist assist;

        mutate(xml);
        if (assist_parse_xml(xml->str, xml->len, &assist, &error)) {
            accepted++;
            assert_whole(xml->str, &assist);
        } else {
            g_assert_cmpuint(strlen(error->message), <, 600);
        }
    }
    g_test_message("%u accepted", accepted);
    g_assert_cmpuint(accepted, >, 0);
}

void add_hostile_tests(void)
{
    g_test_add_func("/assist/broken", test_broken);
    g_test_add_func("/assist/encodings", test_encodings);
    g_test_add_func("/assist/size", test_size);
    g_test_add_func("/assist/masses", test_masses);
    g_test_add_func("/assist/quiet", test_quiet);
    g_test_add_func("/assist/random", test_random);
}
