/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a guest is configured to have: the XML element read and written, mistakes refused, and the
 * schema at one with the code. `--seed` repeats a random round trip.
 */
#include "tests/unit/test-assist.h"

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

#define SUPERVISED(t, m, f)                                       \
    {                                                             \
        .supervision = {.timer = (t), .mode = (m), .force = (f) } \
    }

static const struct good good[] = {
    /* Every attribute, and none that need not be. */
    {"<assist xmlns='" NS "'>\n"
     "  <timer period='976.5625us' vector='0x50' destination='logical:0x3' delivery='lowest'\n"
     "         injector='pin' enabled='no'/>\n"
     "  <catchup policy='lazy' threshold='7' slew='700' limit='0' on-resume='catchup'/>\n"
     "</assist>\n",
     {.timer = TRUE,
      .period = {1953125, 2},
      .control = UINT64_C(0x0300000000000950),
      .injector = "pin",
      .policy_given = 31,
      .policy = {TICKER_LAZY, 7, 700, 0, true}}},
    {TIMER(PLAIN), WITH_TIMER(MS(1), PLAIN_CONTROL, "auto")},
    {TIMER("vector='0x50' period='1000Hz'"), WITH_TIMER(MS(1), PLAIN_CONTROL, "auto")},
    {TIMER(PLAIN "destination='physical:0' delivery='fixed' injector='auto' enabled='yes'"),
     WITH_TIMER(MS(1), PLAIN_CONTROL, "auto")},
    {TIMER("period='3Hz' vector='255'"),
     {.timer = TRUE, .period = {1000000000, 3}, .control = ENABLED | 255, .injector = "auto"}},
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
    /* A timer of the guest's own. */
    {"<assist><rtc mode='slew'/></assist>", SUPERVISED(BASE_TIMER_RTC, SUPERVISION_SLEW, FALSE)},
    {"<assist><rtc mode='observe' force='no'/></assist>",
     SUPERVISED(BASE_TIMER_RTC, SUPERVISION_OBSERVE, FALSE)},
    {"<assist><rtc force='yes' mode='slew'/></assist>",
     SUPERVISED(BASE_TIMER_RTC, SUPERVISION_SLEW, TRUE)},
    {"<a:assist xmlns:a='" NS "'><a:pit mode='slew'></a:pit></a:assist>",
     SUPERVISED(BASE_TIMER_PIT, SUPERVISION_SLEW, FALSE)},
    {"<assist><pit mode='observe' force='yes'/></assist>",
     SUPERVISED(BASE_TIMER_PIT, SUPERVISION_OBSERVE, TRUE)},
    {"<assist><catchup slew='5'/><rtc mode='slew'/></assist>",
     {.supervision = {.timer = BASE_TIMER_RTC, .mode = SUPERVISION_SLEW},
      .policy_given = ASSIST_POLICY_SLEW,
      .policy = {.slew = 5}}},
    /* One that is off is in nobody's way; nor is a timer that is not enabled. */
    {"<assist><rtc mode='off'/></assist>", ASSIST_NONE},
    {"<assist><pit mode='off' force='yes'/><rtc mode='off'/></assist>", ASSIST_NONE},
    {"<assist><rtc mode='off' force='yes'/><pit mode='slew'/></assist>",
     SUPERVISED(BASE_TIMER_PIT, SUPERVISION_SLEW, FALSE)},
    {"<assist><rtc mode='slew'/><pit mode='off' force='yes'/></assist>",
     SUPERVISED(BASE_TIMER_RTC, SUPERVISION_SLEW, FALSE)},
    {"<assist><pit mode='off'/><timer " PLAIN "/><rtc mode='off'/></assist>",
     WITH_TIMER(MS(1), PLAIN_CONTROL, "auto")},
    {"<assist><rtc mode='slew'/><catchup/><timer enabled='no' " PLAIN "/></assist>",
     {.timer = TRUE,
      .period = MS(1),
      .control = 0x50,
      .injector = "auto",
      .supervision = {.timer = BASE_TIMER_RTC, .mode = SUPERVISION_SLEW}}},
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
    {"<assist><rtc mode='Slew'/></assist>", "mode of <rtc>", "'Slew'; give slew, obs", FALSE},
    {"<assist><rtc mode='catchup'/></assist>", "mode of <rtc>", "'catchup'", FALSE},
    {"<assist><pit mode=''/></assist>", "mode of <pit>", "slew, observe or off", FALSE},
    {"<assist><rtc mode='slew ' force='yes'/></assist>", "mode of <rtc>", "'slew '", FALSE},
    {"<assist><rtc mode='slew' force='true'/></assist>", "force of <rtc>", "yes or no", FALSE},
    {"<assist><pit mode='off' force=''/></assist>", "force of <pit>", "yes or no", FALSE},
    /* attributes */
    {TIMER("vector='80'"), "<timer>", "no period", FALSE},
    {TIMER("period='1ms'"), "<timer>", "no vector", FALSE},
    {TIMER(PLAIN "perod='1ms'"), "<timer>", "'perod'", FALSE},
    {TIMER(PLAIN "slew='100'"), "<timer>", "'slew'", FALSE},
    {TIMER(PLAIN "xml:id='a'"), "<timer>", "'xml:id'", FALSE},
    {TIMER(PLAIN "a:enabled='yes' xmlns:a='" NS "'"), "<timer>", "'a:enabled'", FALSE},
    {"<assist><catchup limit_ms='5'/></assist>", "<catchup>", "'limit_ms', which is not", FALSE},
    {"<assist><rtc/></assist>", "<rtc> has no mode", "slew, observe, off", FALSE},
    {"<assist><pit force='yes'/></assist>", "<pit> has no mode", "<pit mode=\"slew\"/>", FALSE},
    {"<assist><rtc mode='slew' rate='64Hz'/></assist>", "<rtc>", "'rate', which is not", FALSE},
    {"<assist><rtc mode='slew' rate='64Hz'/></assist>", "<rtc>", "one of mode, force", FALSE},
    {"<assist><rtc a:mode='slew' xmlns:a='" NS "'/></assist>", "<rtc>", "'a:mode'", FALSE},
    {"<assist version='1'/>", "<assist>", "'version'", FALSE},
    /* elements */
    {"<assist><hpet mode='slew'/></assist>", "'hpet'", "timer, rtc, pit, catchup", FALSE},
    {"<assist><RTC mode='slew'/></assist>", "<assist>", "'RTC'", FALSE},
    {"<assist><Timer " PLAIN "/></assist>", "<assist>", "'Timer'", FALSE},
    {"<assist><timer " PLAIN "><timer/></timer></assist>", "<timer>", "'timer'", FALSE},
    {"<assist><catchup><a/></catchup></assist>", "<catchup>", "'a'", FALSE},
    {"<assist><timer " PLAIN "/><timer " PLAIN "/></assist>", "second <timer>", "", FALSE},
    {"<assist><catchup/><timer " PLAIN "/><catchup/></assist>", "second <catchup>", "", FALSE},
    {"<assist><rtc mode='off'/><rtc mode='slew'/></assist>", "second <rtc>", "", FALSE},
    {"<assist><pit mode='slew'/><pit mode='slew'/></assist>", "second <pit>", "", FALSE},
    {"<assist><rtc mode='slew'><a/></rtc></assist>", "<rtc>", "'a'", FALSE},
    {"<assist><rtc>slew</rtc></assist>", "<rtc>", "'slew'", FALSE},
    {"<assist>slew</assist>", "<assist>", "'slew'", FALSE},
    {"<assist>&#48;</assist>", "<assist>", "'0'", FALSE},
    {"<assist><![CDATA[a]]></assist>", "<assist>", "'a'", FALSE},
    {"<assist><timer " PLAIN ">1ms</timer></assist>", "<timer>", "'1ms'", FALSE},
    {"<timer " PLAIN "/>", "<timer>", "<assist>", FALSE},
    {"<domain><metadata><assist/></metadata></domain>", "<domain>", "<assist>", FALSE},
    {"<assist xmlns='urn:hvtimer:domain:2.0'/>", "<assist>", "'urn:hvtimer:domain:2.0'", FALSE},
    {"<assist><a:timer " PLAIN "xmlns:a='urn:a'/></assist>", "<timer>", "'urn:a'", FALSE},
    {"<assist xmlns='" NS "'><catchup xmlns='a:b'/></assist>", "<catchup>", "'a:b'", FALSE},
    {"<assist><a:rtc mode='slew' xmlns:a='urn:a'/></assist>", "<rtc>", "'urn:a'", FALSE},
    /* A partition has one timer. */
    {"<assist><rtc mode='slew'/><timer " PLAIN "/></assist>", "an enabled timer and rtc",
     "one timer; remove one", FALSE},
    {"<assist><timer enabled='yes' " PLAIN "/><pit mode='observe'/></assist>",
     "an enabled timer and pit", "disable the timer", FALSE},
    {"<assist><timer " PLAIN "/><pit mode='off'/><rtc mode='slew'/></assist>",
     "an enabled timer and rtc", "mode of rtc to off", FALSE},
    {"<assist><rtc mode='slew'/><pit mode='slew'/></assist>", "both rtc and pit", "one timer",
     FALSE},
    {"<assist><pit mode='observe'/><timer enabled='no' " PLAIN "/><rtc mode='observe'/></assist>",
     "both rtc and pit", "mode to off", FALSE},
};

void assert_refused(const char *xml, gsize length, const char *names, const char *tells)
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

static struct supervision random_supervision(void)
{
    struct supervision supervision = SUPERVISION_NONE;

    if (g_test_rand_bit()) {
        supervision.timer = g_test_rand_bit() ? BASE_TIMER_RTC : BASE_TIMER_PIT;
        supervision.mode = g_test_rand_bit() ? SUPERVISION_OBSERVE : SUPERVISION_SLEW;
    }
    supervision.force = g_test_rand_bit();
    return supervision;
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
    assist.supervision = random_supervision();
    if (assist_conflict(&assist) != NULL) {
        assist.control &= ~ENABLED;
    }
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

static void test_supervision_written(void)
{
    struct assist assist = {
        .supervision = {.timer = BASE_TIMER_PIT, .mode = SUPERVISION_OBSERVE, .force = TRUE},
        .policy_given = ASSIST_POLICY_SLEW,
        .policy = {.slew = 50}};
    g_autofree char *forced = assist_to_xml(&assist);

    g_assert_cmpstr(forced, ==,
                    "<assist xmlns=\"" NS "\"><pit mode=\"observe\" force=\"yes\"/>"
                    "<catchup slew=\"50\"/></assist>");
    assist = (struct assist){.supervision = {.timer = BASE_TIMER_RTC, .mode = SUPERVISION_SLEW}};

    g_autofree char *plain = assist_to_xml(&assist);

    g_assert_cmpstr(plain, ==,
                    "<assist xmlns=\"" NS "\"><rtc mode=\"slew\" force=\"no\"/></assist>");
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
        "<assist><rtc mode='slew'/></assist>",
        "<assist><rtc mode='slew' force='yes'/></assist>",
        "<assist><rtc mode='observe'/></assist>",
        "<assist><pit mode='slew'/></assist>",
        "<assist><pit mode='slew'/><catchup slew='100'/></assist>",
        "<assist><pit mode='slew'/><timer " PLAIN "enabled='no'/></assist>",
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

/* ---- the words of a supervision ---- */

static void test_words(void)
{
    static const char *const none[] = {"", "none", "RTC", "rtc ", "slew", "hpet"};
    static const char *const no_modes[] = {"", "none", "Slew", "slew ", "on", "rtc"};
    enum base_timer timer;
    enum supervision_mode mode;

    g_assert_true(base_timer_from_name("rtc", &timer) && timer == BASE_TIMER_RTC);
    g_assert_true(base_timer_from_name("pit", &timer) && timer == BASE_TIMER_PIT);
    for (size_t i = 0; i < G_N_ELEMENTS(none); i++) {
        g_assert_false(base_timer_from_name(none[i], &timer));
    }
    g_assert_true(timer == BASE_TIMER_PIT);
    g_assert_cmpstr(base_timer_name(BASE_TIMER_NONE), ==, "none");
    g_assert_cmpstr(base_timer_name(BASE_TIMER_RTC), ==, "rtc");
    g_assert_cmpstr(base_timer_name(BASE_TIMER_PIT), ==, "pit");

    g_assert_true(supervision_mode_from_name("off", &mode) && mode == SUPERVISION_OFF);
    g_assert_true(supervision_mode_from_name("observe", &mode) && mode == SUPERVISION_OBSERVE);
    g_assert_true(supervision_mode_from_name("slew", &mode) && mode == SUPERVISION_SLEW);
    for (size_t i = 0; i < G_N_ELEMENTS(no_modes); i++) {
        g_assert_false(supervision_mode_from_name(no_modes[i], &mode));
    }
    g_assert_true(mode == SUPERVISION_SLEW);
    g_assert_cmpstr(supervision_mode_name(SUPERVISION_OFF), ==, "off");
    g_assert_cmpstr(supervision_mode_name(SUPERVISION_OBSERVE), ==, "observe");
    g_assert_cmpstr(supervision_mode_name(SUPERVISION_SLEW), ==, "slew");
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
    add_hostile_tests();
    g_test_add_func("/assist/written", test_written);
    g_test_add_func("/assist/supervision-written", test_supervision_written);
    g_test_add_func("/assist/words", test_words);
    g_test_add_func("/assist/round-trips", test_round_trips);
    g_test_add_func("/assist/apply-policy", test_apply_policy);
    g_test_add_func("/assist/unequal", test_unequal);
    g_test_add_func("/assist/schema", test_schema);
    return g_test_run();
}
