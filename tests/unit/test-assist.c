/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a guest is configured to have: the XML element read and written, mistakes and hostile
 * documents refused, and the schema at one with the code. `--seed` repeats a random round trip.
 */
#include "daemon/assist.h"

#include <libxml/parser.h>
#include <libxml/relaxng.h>
#include <string.h>

#define NS       "urn:hvtimer:domain:1.0"
#define ENABLED  HV_EMULATED_TIMER_CONTROL_ENABLED
#define TIMER(a) "<assist><timer " a "/></assist>"
#define PLAIN    "period='1ms' vector='80' "
/* What PLAIN says. */
#define PLAIN_CONTROL (ENABLED | 0x50)

static gboolean parse(const char *xml, struct assist *ret_assist, GError **error)
{
    return assist_parse_xml(xml, strlen(xml), ret_assist, error);
}

/* ---- good documents ---- */

struct good {
    const char *xml;
    struct assist assist;
};

#define MS(n)                                      \
    {                                              \
        .numerator = (n)*1000000, .denominator = 1 \
    }
#define WITH_TIMER(p, c, i)                                         \
    {                                                               \
        .timer = TRUE, .period = p, .control = (c), .injector = (i) \
    }
#define WITH_POLICY(given, ...)                            \
    {                                                      \
        .policy_given = (given), .policy = { __VA_ARGS__ } \
    }

static const struct good good[] = {
    /* Every attribute, and none that need not be. */
    {"<assist xmlns='" NS "'>\n"
     "  <timer period='976.5625us' vector='0x50' destination='logical:0x3' delivery='lowest'\n"
     "         injector='pin' enabled='no'/>\n"
     "  <catchup policy='lazy' threshold='7' slew='700' limit='0' on-resume='catchup'/>\n"
     "</assist>\n",
     {TRUE, {1953125, 2}, UINT64_C(0x0300000000000950), "pin", 31, {TICKER_LAZY, 7, 700, 0, true}}},
    {TIMER(PLAIN), WITH_TIMER(MS(1), PLAIN_CONTROL, "auto")},
    {TIMER("vector='0x50' period='1000Hz'"), WITH_TIMER(MS(1), PLAIN_CONTROL, "auto")},
    {TIMER(PLAIN "destination='physical:0' delivery='fixed' injector='auto' enabled='yes'"),
     WITH_TIMER(MS(1), PLAIN_CONTROL, "auto")},
    {TIMER("period='3Hz' vector='255'"),
     {TRUE, {1000000000, 3}, ENABLED | 255, "auto", 0, TICKER_POLICY_DEFAULT}},
    {TIMER("period='0.0010s' vector='016'"), WITH_TIMER(MS(1), ENABLED | 16, "auto")},
    {TIMER("period='1/1000s' vector='0x010'"), WITH_TIMER(MS(1), ENABLED | 16, "auto")},
    {TIMER(PLAIN "destination='physical:0x101'"),
     WITH_TIMER(MS(1), PLAIN_CONTROL | UINT64_C(0x101) << 32, "auto")},
    {TIMER(PLAIN "injector='msi'"), WITH_TIMER(MS(1), PLAIN_CONTROL, "msi")},
    {TIMER(PLAIN "injector='lapic'"), WITH_TIMER(MS(1), PLAIN_CONTROL, "lapic")},
    {TIMER(PLAIN "injector='model'"), WITH_TIMER(MS(1), PLAIN_CONTROL, "model")},
    /* Only a policy, in part. */
    {"<assist><catchup policy='observe'/></assist>",
     WITH_POLICY(ASSIST_POLICY_MODE, .mode = TICKER_OBSERVE)},
    {"<assist><catchup threshold='4294967295'/></assist>",
     WITH_POLICY(ASSIST_POLICY_THRESHOLD, .threshold = UINT32_MAX)},
    {"<assist><catchup slew='5'/></assist>", WITH_POLICY(ASSIST_POLICY_SLEW, .slew = 5)},
    {"<assist><catchup slew='0x2bc'/></assist>", WITH_POLICY(ASSIST_POLICY_SLEW, .slew = 700)},
    {"<assist><catchup limit='4294967295'/></assist>",
     WITH_POLICY(ASSIST_POLICY_LIMIT, .limit_ms = UINT32_MAX)},
    {"<assist><catchup on-resume='freeze'/></assist>", WITH_POLICY(ASSIST_POLICY_ON_RESUME, )},
    /* Nothing. */
    {"<assist/>", ASSIST_NONE},
    {"<assist><catchup/></assist>", ASSIST_NONE},
    /* As virsh shows it, as it is stored with a prefix, and as it is read with and without key. */
    {"<tick:assist xmlns:tick='" NS "'><tick:timer " PLAIN "/></tick:assist>",
     WITH_TIMER(MS(1), PLAIN_CONTROL, "auto")},
    {"<assist xmlns='" NS "' xmlns:tick='" NS "'>\n  <timer " PLAIN "/>\n</assist>",
     WITH_TIMER(MS(1), PLAIN_CONTROL, "auto")},
    {"<assist xmlns:tick='" NS "'><timer " PLAIN "/></assist>",
     WITH_TIMER(MS(1), PLAIN_CONTROL, "auto")},
    {"<a:assist xmlns:a='" NS "'><timer " PLAIN "/><b:catchup xmlns:b='" NS "'/></a:assist>",
     WITH_TIMER(MS(1), PLAIN_CONTROL, "auto")},
    /* What XML allows besides. */
    {"<?xml version='1.0' encoding='UTF-8'?><!-- a --><assist><!-- <!DOCTYPE a> --><?a b?>"
     "<catchup> <!-- c --> </catchup><timer period='&#49;ms' vector=\"80\"></timer></assist>\n",
     WITH_TIMER(MS(1), PLAIN_CONTROL, "auto")},
    {"<?xml version='1.0' encoding='ISO-8859-1'?><assist><!-- \xc3\xa4 --></assist>", ASSIST_NONE},
};

static void test_good(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(good); i++) {
        struct assist assist;
        g_autoptr(GError) error = NULL;

        g_test_message("%s", good[i].xml);
        g_assert_true(parse(good[i].xml, &assist, &error));
        g_assert_no_error(error);
        g_assert_true(assist_equal(&assist, &good[i].assist));
    }
}

/* ---- bad documents ---- */

static const struct bad {
    const char *xml;
    const char *names, *tells;    /* what must be in the error */
    gboolean schema_lets_it_pass; /* as RELAX NG can't say it */
} bad[] = {
    /* values */
    {TIMER("period='0ms' vector='80'"), "period of <timer>", "'0ms'", FALSE},
    {TIMER("period='0.000ms' vector='80'"), "period of <timer>", "'0.000ms'", FALSE},
    {TIMER("period='1/0ms' vector='80'"), "period of <timer>", "'1/0ms'", FALSE},
    {TIMER("period='1' vector='80'"), "period of <timer>", "unit", FALSE},
    {TIMER("period='1 ms' vector='80'"), "period of <timer>", "'1 ms'", FALSE},
    {TIMER("period=' 1ms' vector='80'"), "period of <timer>", "' 1ms'", FALSE},
    {TIMER("period='-1ms' vector='80'"), "period of <timer>", "'-1ms'", FALSE},
    {TIMER("period='.5ms' vector='80'"), "period of <timer>", "'.5ms'", FALSE},
    {TIMER("period='5.ms' vector='80'"), "period of <timer>", "'5.ms'", FALSE},
    {TIMER("period='1kHz' vector='80'"), "period of <timer>", "'1kHz'", FALSE},
    {TIMER("period='' vector='80'"), "period of <timer>", "''", FALSE},
    {TIMER("period='9999999999s' vector='80'"), "period of <timer>", "exactly", TRUE},
    {TIMER("period='1ms' vector='15'"), "vector of <timer>: '15'", "16 to 255", FALSE},
    {TIMER("period='1ms' vector='0xF'"), "vector of <timer>: '0xF'", "16 to 255", FALSE},
    {TIMER("period='1ms' vector='0x0f'"), "vector of <timer>: '0x0f'", "16 to 255", FALSE},
    {TIMER("period='1ms' vector='256'"), "vector of <timer>: '256'", "16 to 255", FALSE},
    {TIMER("period='1ms' vector='0x100'"), "vector of <timer>: '0x100'", "16 to 255", FALSE},
    {TIMER("period='1ms' vector='80 '"), "vector of <timer>: '80 '", "16 to 255", FALSE},
    {TIMER("period='1ms' vector='+80'"), "vector of <timer>: '+80'", "16 to 255", FALSE},
    {TIMER("period='1ms' vector='0X50'"), "vector of <timer>: '0X50'", "16 to 255", FALSE},
    {TIMER("period='1ms' vector=''"), "vector of <timer>: ''", "16 to 255", FALSE},
    {TIMER(PLAIN "destination='0'"), "destination of <timer>", "physical:N", FALSE},
    {TIMER(PLAIN "destination='physical:'"), "destination of <timer>", "''", FALSE},
    {TIMER(PLAIN "destination='logical:x'"), "destination of <timer>", "'x'", FALSE},
    {TIMER(PLAIN "destination='physical:4294967296'"), "destination of <timer>", "range", TRUE},
    {TIMER(PLAIN "destination='physical:0x1000000'"), "destination of <timer>", "24 bits", TRUE},
    {TIMER(PLAIN "delivery='Fixed'"), "delivery of <timer>", "'Fixed'", FALSE},
    {TIMER(PLAIN "delivery=' fixed'"), "delivery of <timer>", "' fixed'", FALSE},
    {TIMER(PLAIN "injector='rtc'"), "injector of <timer>", "'rtc'", FALSE},
    {TIMER(PLAIN "injector=''"), "injector of <timer>", "''", FALSE},
    {TIMER(PLAIN "enabled='true'"), "enabled of <timer>", "'true'", FALSE},
    {TIMER(PLAIN "enabled='1&#10;&#x85;'"), "enabled of <timer>", "'1\?\?'", FALSE},
    {"<assist><catchup policy='slew'/></assist>", "policy of <catchup>", "'slew'", FALSE},
    {"<assist><catchup threshold='0'/></assist>", "threshold of <catchup>: '0'", "1 to", FALSE},
    {"<assist><catchup threshold='4294967296'/></assist>", "threshold of <catchup>", "429", FALSE},
    {"<assist><catchup slew='4'/></assist>", "slew of <catchup>: '4'", "5 to 700", FALSE},
    {"<assist><catchup slew='701'/></assist>", "slew of <catchup>: '701'", "5 to 700", FALSE},
    {"<assist><catchup slew='0x2bd'/></assist>", "slew of <catchup>", "5 to 700", TRUE},
    {"<assist><catchup slew='100%'/></assist>", "slew of <catchup>: '100%'", "5 to", FALSE},
    {"<assist><catchup limit='-1'/></assist>", "limit of <catchup>: '-1'", "0 to", FALSE},
    {"<assist><catchup limit='1s'/></assist>", "limit of <catchup>: '1s'", "0 to", FALSE},
    {"<assist><catchup on-resume='thaw'/></assist>", "on-resume of <catchup>", "'thaw'", FALSE},
    /* attributes */
    {TIMER("vector='80'"), "<timer>", "no period", FALSE},
    {TIMER("period='1ms'"), "<timer>", "no vector", FALSE},
    {TIMER(PLAIN "perod='1ms'"), "<timer>", "'perod'", FALSE},
    {TIMER(PLAIN "slew='100'"), "<timer>", "'slew'", FALSE},
    {TIMER(PLAIN "xml:id='a'"), "<timer>", "'xml:id'", FALSE},
    {TIMER(PLAIN "a:enabled='yes' xmlns:a='" NS "'"), "<timer>", "'a:enabled'", FALSE},
    {"<assist><catchup limit_ms='5'/></assist>", "<catchup>", "'limit_ms', which is not", FALSE},
    {"<assist version='1'/>", "<assist>", "'version'", FALSE},
    /* elements */
    {"<assist><rtc mode='slew'/></assist>", "<assist>", "'rtc'", FALSE},
    {"<assist><Timer " PLAIN "/></assist>", "<assist>", "'Timer'", FALSE},
    {"<assist><timer " PLAIN "><timer/></timer></assist>", "<timer>", "'timer'", FALSE},
    {"<assist><catchup><a/></catchup></assist>", "<catchup>", "'a'", FALSE},
    {"<assist><timer " PLAIN "/><timer " PLAIN "/></assist>", "second <timer>", "", FALSE},
    {"<assist><catchup/><timer " PLAIN "/><catchup/></assist>", "second <catchup>", "", FALSE},
    {"<assist>slew</assist>", "<assist>", "'slew'", FALSE},
    {"<assist>&#48;</assist>", "<assist>", "'0'", FALSE},
    {"<assist><![CDATA[a]]></assist>", "<assist>", "'a'", FALSE},
    {"<assist><timer " PLAIN ">1ms</timer></assist>", "<timer>", "'1ms'", FALSE},
    {"<timer " PLAIN "/>", "<timer>", "<assist>", FALSE},
    {"<domain><metadata><assist/></metadata></domain>", "<domain>", "<assist>", FALSE},
    {"<assist xmlns='urn:hvtimer:domain:2.0'/>", "<assist>", "'urn:hvtimer:domain:2.0'", FALSE},
    {"<assist><a:timer " PLAIN "xmlns:a='urn:a'/></assist>", "<timer>", "'urn:a'", FALSE},
    {"<assist xmlns='" NS "'><catchup xmlns='a:b'/></assist>", "<catchup>", "'a:b'", FALSE},
};

/* It is refused with an error that has both in it, and *ret_assist stays as it was. */
static void assert_refused(const char *xml, gsize length, const char *names, const char *tells)
{
    struct assist assist, before;
    g_autoptr(GError) error = NULL;

    memset(&assist, 0x5a, sizeof assist);
    before = assist;
    g_assert_false(assist_parse_xml(xml, length, &assist, &error));
    g_assert_nonnull(error);
    g_assert_true(error->domain == G_MARKUP_ERROR || error->domain == G_OPTION_ERROR);
    g_test_message("%s", error->message);
    g_assert_nonnull(strstr(error->message, names));
    g_assert_nonnull(strstr(error->message, tells));
    g_assert_cmpuint(strlen(error->message), <, 600);
    g_assert_cmpmem(&assist, sizeof assist, &before, sizeof before);
}

static void test_bad(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        assert_refused(bad[i].xml, strlen(bad[i].xml), bad[i].names, bad[i].tells);
    }
}

/* ---- hostile documents ---- */

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

        g_assert_true(parse(xml, &assist, NULL));
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

    g_assert_true(parse(largest, &assist, NULL));
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

/* ---- round trips ---- */

static uint64_t random_bits(void)
{
    return (uint64_t)g_test_rand_int() << 32 | (uint32_t)g_test_rand_int();
}

/* Of any size, small ones as often as large ones. */
static uint64_t random_below(unsigned bits)
{
    return random_bits() >> (64 - g_test_rand_int_range(1, (gint32)bits + 1));
}

static struct period random_period(void)
{
    static const uint64_t whole[] = {1000000000, 1000000, 1000, 1};
    uint64_t unit = whole[g_test_rand_int_range(0, 4)];
    struct period period;

    /* Of a round length, of a round rate, or of none. */
    switch (g_test_rand_int_range(0, 3)) {
    case 0:
        return (struct period){(1 + random_below(32)) * unit, 1};
    case 1:
        g_assert_true(period_make(1000000000, 1 + random_below(61), &period));
        return period;
    default:
        g_assert_true(period_make(1 + random_below(61), 1 + random_below(61), &period));
        return period;
    }
}

static uint64_t random_control(void)
{
    HV_EMULATED_TIMER_CONTROL control = {.Vector = (unsigned)g_test_rand_int_range(16, 256),
                                         .DeliveryMode = g_test_rand_bit(),
                                         .LogicalDestinationMode = g_test_rand_bit(),
                                         .Enabled = g_test_rand_bit()};

    if (g_test_rand_bit()) {
        control.Mda = (unsigned)g_test_rand_int_range(0, 256);
        return control.AsUINT64;
    }

    HV_EMULATED_TIMER_CONTROL_WIDE wide = {.AsUINT64 = control.AsUINT64};

    wide.Mda = (uint32_t)random_below(32);
    return wide.AsUINT64;
}

static struct assist random_assist(void)
{
    static const char *const injectors[] = {"auto", "msi", "pin", "lapic", "model"};
    struct assist assist = {.timer = g_test_rand_bit(),
                            .period = random_period(),
                            .control = random_control(),
                            .policy_given = (unsigned)g_test_rand_int_range(0, 32),
                            .policy = {.mode = (enum ticker_mode)g_test_rand_int_range(0, 3),
                                       .threshold = (uint32_t)(1 + random_below(31)),
                                       .slew = (uint32_t)g_test_rand_int_range(5, 701),
                                       .limit_ms = (uint32_t)random_below(32),
                                       .catch_up_suspends = g_test_rand_bit()}};

    g_strlcpy(assist.injector, injectors[g_test_rand_int_range(0, 5)], sizeof assist.injector);
    return assist;
}

static void test_round_trips(void)
{
    for (unsigned i = 0; i < 5000; i++) {
        struct assist assist = random_assist(), again = ASSIST_NONE;
        g_autofree char *xml = assist_to_xml(&assist);
        g_autoptr(GError) error = NULL;

        if (!parse(xml, &again, &error) || !assist_equal(&assist, &again)) {
            g_test_fail_printf("%s: %s", xml, error != NULL ? error->message : "not the same");
        }
    }
}

static void test_written(void)
{
    static const struct {
        struct period period;
        const char *text;
    } rows[] = {
        {{1953125, 2}, "1024Hz"},
        {{15625000, 1}, "15625us"},
        {{1000000, 1}, "1ms"},
        {{3000000000, 1}, "3s"},
        {{100, 1}, "100ns"},
        {{1000000000, 3}, "3Hz"},
        {{50050000, 3}, "50050000/3ns"},
        {{2000000, 2}, "1ms"},
        {{UINT64_C(1) << 61, 3}, "2305843009213693952/3ns"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        struct assist assist = {
            .timer = TRUE, .period = rows[i].period, .control = 0x50, .injector = "pin"};
        g_autofree char *xml = assist_to_xml(&assist);
        g_autofree char *expected = g_strdup_printf(
            "<assist xmlns=\"" NS "\">"
            "<timer period=\"%s\" vector=\"0x50\" destination=\"physical:0\" delivery=\"fixed\" "
            "injector=\"pin\" enabled=\"no\"/></assist>",
            rows[i].text);

        g_assert_cmpstr(xml, ==, expected);
    }
}

/* ---- policies, and equality ---- */

static void test_apply_policy(void)
{
    const struct ticker_policy other = {TICKER_OBSERVE, 9, 300, 7, true};
    struct assist assist = {.policy = other};
    struct ticker_policy policy = TICKER_POLICY_DEFAULT;

    assist_apply_policy(&assist, &policy);
    g_assert_true(policy.mode == TICKER_CATCHUP && policy.threshold == 1 && policy.slew == 100 &&
                  policy.limit_ms == 60000 && !policy.catch_up_suspends);
    assist.policy_given = ASSIST_POLICY_SLEW | ASSIST_POLICY_ON_RESUME;
    assist_apply_policy(&assist, &policy);
    g_assert_true(policy.mode == TICKER_CATCHUP && policy.threshold == 1 && policy.slew == 300 &&
                  policy.limit_ms == 60000 && policy.catch_up_suspends);
    assist.policy_given = ASSIST_POLICY_MODE | ASSIST_POLICY_THRESHOLD | ASSIST_POLICY_LIMIT;
    assist_apply_policy(&assist, &policy);
    g_assert_true(policy.mode == TICKER_OBSERVE && policy.threshold == 9 && policy.limit_ms == 7);
}

/* Each in turn differs from all others. */
static void test_unequal(void)
{
    static const char *const documents[] = {
        "<assist/>",
        TIMER(PLAIN),
        TIMER("period='2ms' vector='80'"),
        TIMER("period='1ms' vector='81'"),
        TIMER(PLAIN "destination='physical:1'"),
        TIMER(PLAIN "destination='physical:257'"),
        TIMER(PLAIN "destination='logical:0'"),
        TIMER(PLAIN "delivery='lowest'"),
        TIMER(PLAIN "injector='pin'"),
        TIMER(PLAIN "enabled='no'"),
        "<assist><timer " PLAIN "/><catchup policy='catchup'/></assist>",
        "<assist><catchup policy='catchup'/></assist>",
        "<assist><catchup policy='lazy'/></assist>",
        "<assist><catchup threshold='1'/></assist>",
        "<assist><catchup threshold='2'/></assist>",
        "<assist><catchup slew='100'/></assist>",
        "<assist><catchup slew='101'/></assist>",
        "<assist><catchup limit='60000'/></assist>",
        "<assist><catchup limit='0'/></assist>",
        "<assist><catchup on-resume='freeze'/></assist>",
        "<assist><catchup on-resume='catchup'/></assist>",
    };
    struct assist assists[G_N_ELEMENTS(documents)];

    for (size_t i = 0; i < G_N_ELEMENTS(documents); i++) {
        g_assert_true(parse(documents[i], &assists[i], NULL));
        for (size_t j = 0; j <= i; j++) {
            g_assert_cmpint(assist_equal(&assists[i], &assists[j]), ==, i == j);
            g_assert_cmpint(assist_equal(&assists[j], &assists[i]), ==, i == j);
        }
    }
}

/* ---- the schema ---- */

static void ignore(G_GNUC_UNUSED void *context, G_GNUC_UNUSED const char *format, ...)
{
}

static xmlRelaxNG *load_schema(void)
{
    g_autofree char *path =
        g_test_build_filename(G_TEST_DIST, "..", "..", "conf", "assist.rng", NULL);
    xmlRelaxNGParserCtxt *context = xmlRelaxNGNewParserCtxt(path);
    xmlRelaxNG *schema = xmlRelaxNGParse(context);

    g_assert_nonnull(schema);
    xmlRelaxNGFreeParserCtxt(context);
    return schema;
}

static gboolean schema_accepts(xmlRelaxNG *schema, const char *xml)
{
    xmlDoc *document = xmlReadMemory(xml, (int)strlen(xml), NULL, NULL, XML_PARSE_NONET);
    xmlRelaxNGValidCtxt *context = xmlRelaxNGNewValidCtxt(schema);

    g_assert_nonnull(document);
    xmlRelaxNGSetValidErrors(context, ignore, ignore, NULL);

    int result = xmlRelaxNGValidateDoc(context, document);

    g_assert_cmpint(result, >=, 0);
    xmlRelaxNGFreeValidCtxt(context);
    xmlFreeDoc(document);
    return result == 0;
}

/* What one accepts or refuses, so does the other; and it accepts what is written. */
static void test_schema(void)
{
    xmlRelaxNG *schema = load_schema();

    for (size_t i = 0; i < G_N_ELEMENTS(good); i++) {
        g_test_message("%s", good[i].xml);
        g_assert_true(schema_accepts(schema, good[i].xml));
    }
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_test_message("%s", bad[i].xml);
        g_assert_cmpint(schema_accepts(schema, bad[i].xml), ==, bad[i].schema_lets_it_pass);
    }
    for (unsigned i = 0; i < 200; i++) {
        struct assist assist = random_assist();
        g_autofree char *xml = assist_to_xml(&assist);

        if (!schema_accepts(schema, xml)) {
            g_test_fail_printf("%s", xml);
        }
    }
    xmlRelaxNGFree(schema);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/assist/good", test_good);
    g_test_add_func("/assist/bad", test_bad);
    g_test_add_func("/assist/broken", test_broken);
    g_test_add_func("/assist/encodings", test_encodings);
    g_test_add_func("/assist/size", test_size);
    g_test_add_func("/assist/masses", test_masses);
    g_test_add_func("/assist/quiet", test_quiet);
    g_test_add_func("/assist/written", test_written);
    g_test_add_func("/assist/round-trips", test_round_trips);
    g_test_add_func("/assist/apply-policy", test_apply_policy);
    g_test_add_func("/assist/unequal", test_unequal);
    g_test_add_func("/assist/schema", test_schema);
    return g_test_run();
}
