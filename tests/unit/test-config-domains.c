/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * "domains" in the configuration: what the entries may hold, whom they match, how those of several
 * files add up, and each kind of mistake refused with its place named.
 */
#include "daemon/config.h"
#include "tests/support/config-files.h"
#include <string.h>

#define UUID "8f8a4c0e-2a3b-4c5d-9e6f-0123456789ab"

/* What an entry says is what this element of a domain's metadata would say. */
static void assert_says(const struct assist *assist, const char *xml)
{
    struct assist expected;
    g_autoptr(GError) error = NULL;

    g_assert_true(assist_parse_xml(xml, strlen(xml), &expected, &error));
    g_assert_no_error(error);
    g_assert_nonnull(assist);
    g_assert_true(assist_equal(assist, &expected));
}

static void test_values(struct config_files *f, G_GNUC_UNUSED gconstpointer data)
{
    static const struct {
        const char *entry, *xml;
    } rows[] = {
        {"", "<assist/>"},
        {",\"#\":\"a comment\",\"policy\":{\"#\":\"one more\"}", "<assist/>"},
        {",\"timer\":{\"period\":\"1ms\",\"vector\":\"0x50\"}",
         "<assist><timer period='1ms' vector='80'/></assist>"},
        {",\"timer\":{\"period\":\"1/1024s\",\"vector\":80,\"enabled\":true}",
         "<assist><timer period='1024Hz' vector='80'/></assist>"},
        {",\"timer\":{\"period\":\"1ms\",\"vector\":\"80\",\"destination\":\"logical:3\","
         "\"delivery\":\"lowest\",\"injector\":\"pin\",\"enabled\":false}",
         "<assist><timer period='1ms' vector='80' destination='logical:3' delivery='lowest' "
         "injector='pin' enabled='no'/></assist>"},
        {",\"policy\":{\"policy\":\"lazy\",\"threshold\":2,\"slew\":300,\"limit_ms\":4,"
         "\"on_resume\":\"catchup\"}",
         "<assist><catchup policy='lazy' threshold='2' slew='300' limit='4' on-resume='catchup'/>"
         "</assist>"},
        {",\"policy\":{\"policy\":\"catchup\"}", "<assist><catchup policy='catchup'/></assist>"},
        {",\"policy\":{\"threshold\":1}", "<assist><catchup threshold='1'/></assist>"},
        {",\"policy\":{\"slew\":100}", "<assist><catchup slew='100'/></assist>"},
        {",\"policy\":{\"limit_ms\":60000}", "<assist><catchup limit='60000'/></assist>"},
        {",\"policy\":{\"on_resume\":\"freeze\"}",
         "<assist><catchup on-resume='freeze'/></assist>"},
        {",\"policy\":{\"slew\":5},\"timer\":{\"period\":\"1ms\",\"vector\":\"0x50\"}",
         "<assist><timer period='1ms' vector='80'/><catchup slew='5'/></assist>"},
        {",\"rtc\":{\"mode\":\"slew\",\"force\":true}",
         "<assist><rtc mode='slew' force='yes'/></assist>"},
        {",\"rtc\":{\"force\":false,\"#\":\"a comment\",\"mode\":\"observe\"}",
         "<assist><rtc mode='observe'/></assist>"},
        {",\"pit\":{\"mode\":\"slew\"},\"policy\":{\"slew\":5},\"rtc\":{\"mode\":\"off\"}",
         "<assist><pit mode='slew'/><catchup slew='5'/></assist>"},
        {",\"rtc\":{\"mode\":\"off\",\"force\":true},\"pit\":{\"mode\":\"observe\"}",
         "<assist><pit mode='observe'/></assist>"},
        {",\"pit\":{\"mode\":\"off\",\"force\":true}", "<assist/>"},
        {",\"pit\":{\"mode\":\"off\"},\"timer\":{\"period\":\"1ms\",\"vector\":80}",
         "<assist><timer period='1ms' vector='80'/></assist>"},
        {",\"rtc\":{\"mode\":\"slew\"},"
         "\"timer\":{\"period\":\"1ms\",\"vector\":80,\"enabled\":false}",
         "<assist><timer period='1ms' vector='80' enabled='no'/><rtc mode='slew'/></assist>"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *text =
            g_strdup_printf("{\"domains\":[{\"match\":\"a\"%s}]}", rows[i].entry);

        g_test_message("%s", text);
        config_files_write(f, text);

        g_autoptr(Config) config = config_files_load(f);

        assert_says(config_find_assist(config, "a", NULL), rows[i].xml);
    }
}

static void test_matching(struct config_files *f, G_GNUC_UNUSED gconstpointer data)
{
    static const struct {
        const char *match, *name, *uuid;
        gboolean found;
    } rows[] = {
        {"win2003", "win2003", UUID, TRUE},
        {"win2003", "win2003", NULL, TRUE},
        {"win2003", "WIN2003", UUID, FALSE},
        {"win2003", "win2003-1", UUID, FALSE},
        {"win2003", "my-win2003", UUID, FALSE},
        {"win2003-*", "win2003-", UUID, TRUE},
        {"win2003-*", "win2003-a/b", UUID, TRUE},
        {"win2003-*", "win2003", UUID, FALSE},
        {"*-xp", "my-xp", UUID, TRUE},
        {"*-xp", "my-xp-2", UUID, FALSE},
        {"a?c", "abc", UUID, TRUE},
        {"a?c", "aäc", UUID, TRUE},
        {"a?c", "ac", UUID, FALSE},
        {"a[bc]", "ab", UUID, FALSE},
        {"a[bc]", "a[bc]", UUID, TRUE},
        {"*", "anything", NULL, TRUE},
        {UUID, "win2003", UUID, TRUE},
        {UUID, "win2003", "8F8A4C0E-2A3B-4C5D-9E6F-0123456789AB", TRUE},
        {"8F8A4C0E-2A3B-4C5D-9E6F-0123456789AB", "win2003", UUID, TRUE},
        {UUID, "win2003", "8f8a4c0e-2a3b-4c5d-9e6f-0123456789ac", FALSE},
        {UUID, "win2003", NULL, FALSE},
        {UUID, UUID, "8f8a4c0e-2a3b-4c5d-9e6f-0123456789ac", FALSE}, /* no name */
        {"8f8a4c0e-*", "win2003", UUID, FALSE},                      /* no UUID */
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *text =
            g_strdup_printf("{\"domains\":[{\"match\":\"%s\"}]}", rows[i].match);

        g_test_message("%s: %s, %s", rows[i].match, rows[i].name, rows[i].uuid);
        config_files_write(f, text);

        g_autoptr(Config) config = config_files_load(f);

        g_assert_cmpint(config_find_assist(config, rows[i].name, rows[i].uuid) != NULL, ==,
                        rows[i].found);
    }
}

static void assert_slew(const struct config *config, const char *name, uint32_t slew)
{
    const struct assist *assist = config_find_assist(config, name, UUID);

    g_assert_nonnull(assist);
    g_assert_cmpuint(assist->policy_given, ==, ASSIST_POLICY_SLEW);
    g_assert_cmpuint(assist->policy.slew, ==, slew);
}

/* The last entry that matches is all that counts: nothing of an earlier one is mixed in. */
static void test_last_counts(struct config_files *f, G_GNUC_UNUSED gconstpointer data)
{
    config_files_write(f, "{\"domains\":["
                          "{\"match\":\"a*\",\"policy\":{\"slew\":10,\"threshold\":7}},"
                          "{\"match\":\"ab*\",\"policy\":{\"slew\":20}},"
                          "{\"match\":\"abc*\",\"policy\":{\"slew\":30}},"
                          "{\"match\":\"*d\",\"policy\":{\"slew\":40}}]}");

    g_autoptr(Config) config = config_files_load(f);

    assert_slew(config, "ab", 20);
    assert_slew(config, "abc", 30);
    assert_slew(config, "abcd", 40);
    g_assert_cmpuint(config_find_assist(config, "a", NULL)->policy_given, ==,
                     ASSIST_POLICY_SLEW | ASSIST_POLICY_THRESHOLD);
    g_assert_null(config_find_assist(config, "b", NULL));
}

static void test_files_add_up(struct config_files *f, G_GNUC_UNUSED gconstpointer data)
{
    config_files_write(f, "{\"domains\":[{\"match\":\"a\",\"policy\":{\"slew\":10}},"
                          "{\"match\":\"b\",\"policy\":{\"slew\":11}}]}");
    config_files_write_drop_in(f, "20.json",
                               "{\"domains\":[{\"match\":\"?\",\"policy\":{\"slew\":20}},"
                               "{\"match\":\"c\",\"policy\":{\"slew\":21}}]}");
    config_files_write_drop_in(f, "10.json",
                               "{\"domains\":[{\"match\":\"*\",\"policy\":{\"slew\":30}}]}");
    config_files_write_drop_in(f, "30.json", "{\"domains\":[],\"policy\":{\"slew\":50}}");

    g_autoptr(Config) config = config_files_load(f);

    g_assert_cmpuint(config->domains->len, ==, 5);
    assert_slew(config, "a", 20);
    assert_slew(config, "c", 21);
    assert_slew(config, "dd", 30);
    g_assert_cmpuint(config->policy.slew, ==, 50);
}

/* What an entry leaves out is as the daemon has it, wherever that is said. */
static void test_policy_over_the_daemons(struct config_files *f, G_GNUC_UNUSED gconstpointer data)
{
    config_files_write(f, "{\"domains\":[{\"match\":\"a\",\"policy\":{\"slew\":10}}],"
                          "\"policy\":{\"slew\":300,\"limit_ms\":5,\"on_resume\":\"catchup\"}}");

    g_autoptr(Config) config = config_files_load(f);
    struct ticker_policy policy = config->policy;

    assist_apply_policy(config_find_assist(config, "a", NULL), &policy);
    g_assert_cmpuint(policy.slew, ==, 10);
    g_assert_cmpuint(policy.limit_ms, ==, 5);
    g_assert_true(policy.catch_up_suspends);
    g_assert_null(ticker_policy_problem(&policy));
}

static void test_refused(struct config_files *f, G_GNUC_UNUSED gconstpointer data)
{
    static const char *const rows[][3] = {
        {"{}", ": domains[0] has no match", "UUID"},
        {"5", ": domains[0] can't be 5", "an object"},
        {"null", ": domains[0] can't be null", "an object"},
        {"{\"match\":\"a\"},{\"timer\":{}}", ": domains[1].timer has no period", "1ms"},
        {"{\"match\":\"\"}", ": domains[0].match can't be \"\"", "1 to 255"},
        {"{\"match\":5}", ": domains[0].match can't be 5", "UUID"},
        {"{\"match\":\"a\\u0000b\"}", ": domains[0].match can't be", "printable"},
        {"{\"match\":\"a\",\"macth\":\"b\"}", ": domains[0].macth is not a key",
         "match, timer, rtc, pit, policy"},
        {"{\"match\":\"a\",\"#\":5}", ": domains[0].# can't be 5", "comment"},
        {"{\"match\":\"a\",\"timer\":[]}", ": domains[0].timer can't be", "an object"},
        {"{\"match\":\"a\",\"policy\":null}", ": domains[0].policy can't be", "an object"},
        {"{\"match\":\"a\",\"policy\":{\"slew\":4}}", ": domains[0].policy.slew can't be 4",
         "5 to 700"},
        {"{\"match\":\"a\",\"policy\":{\"limit\":4}}", ": domains[0].policy.limit is not a key",
         "policy, threshold, slew, limit_ms, on_resume"},
        {"{\"match\":\"a\",\"policy\":{\"policy\":\"slew\"}}", ": domains[0].policy.policy can't",
         "\"lazy\""},
        {"{\"match\":\"a\",\"policy\":{\"threshold\":\"0x1\"}}", ": domains[0].policy.threshold",
         "a whole number"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *text = g_strdup_printf("{\"domains\":[%s]}", rows[i][0]);

        config_files_write(f, text);
        config_files_assert_refused(f, CONFIG_ERROR, CONFIG_ERROR_VALUE, rows[i][1], rows[i][2]);
    }
    config_files_write(f, "{\"domains\":{}}");
    config_files_assert_refused(f, CONFIG_ERROR, CONFIG_ERROR_VALUE, "domains can't be", "array");
}

static void test_timer_refused(struct config_files *f, G_GNUC_UNUSED gconstpointer data)
{
    static const char *const rows[][3] = {
        {"\"vector\":80", ".timer has no period", "1ms"},
        {"\"period\":\"1ms\"", ".timer has no vector", "0x50"},
        {"\"perod\":\"1ms\"", ".timer.perod is not a key", "period, vector, destination"},
        {"\"period\":1000000", ".timer.period can't be 1000000", "\"1024Hz\""},
        {"\"period\":\"1\"", ".timer.period: '1' is not a period", "unit"},
        {"\"period\":\"\"", ".timer.period can't be \"\"", "\"1024Hz\""},
        {"\"period\":\"1ms\\u0000\"", ".timer.period can't be", "\"1024Hz\""},
        {"\"vector\":15", ".timer.vector: '15' is out of range", "16 to 255"},
        {"\"vector\":256", ".timer.vector: '256' is out of range", "16 to 255"},
        {"\"vector\":-80", ".timer.vector: '-80' is not a number", "16 to 255"},
        {"\"vector\":80.0", ".timer.vector can't be 80.0", "16 to 255"},
        {"\"vector\":true", ".timer.vector can't be true", "16 to 255"},
        {"\"vector\":\"0x5g\"", ".timer.vector: '0x5g' is not a number", "16 to 255"},
        {"\"vector\":18446744073709551696", ".timer.vector: ", "16 to 255"},
        {"\"destination\":0", ".timer.destination can't be 0", "physical:0"},
        {"\"destination\":\"0\"", ".timer.destination: '0'", "physical:N"},
        {"\"delivery\":\"nmi\"", ".timer.delivery: 'nmi'", "fixed or lowest"},
        {"\"delivery\":null", ".timer.delivery can't be null", "\"lowest\""},
        {"\"injector\":\"rtc\"", ".timer.injector can't be 'rtc'", "lapic"},
        {"\"injector\":1", ".timer.injector can't be 1", "\"lapic\""},
        {"\"enabled\":\"yes\"", ".timer.enabled can't be \"yes\"", "true or false"},
        {"\"enabled\":1", ".timer.enabled can't be 1", "true or false"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *text = g_strdup_printf(
            "{\"domains\":[{\"match\":\"a\"},{\"match\":\"b\",\"timer\":{%s}}]}", rows[i][0]);
        g_autofree char *place = g_strdup_printf("hvtimerd.json: domains[1]%s", rows[i][1]);

        config_files_write(f, text);
        config_files_assert_refused(f, CONFIG_ERROR, CONFIG_ERROR_VALUE, place, rows[i][2]);
    }
}

static void test_supervision_refused(struct config_files *f, G_GNUC_UNUSED gconstpointer data)
{
#define TIMER "\"timer\":{\"period\":\"1ms\",\"vector\":80}"
    static const char *const rows[][3] = {
        {"\"rtc\":{}", ".rtc has no mode", "\"observe\""},
        {"\"pit\":{\"force\":true}", ".pit has no mode", "{\"mode\": \"slew\"}"},
        {"\"rtc\":\"slew\"", ".rtc can't be \"slew\"", "an object"},
        {"\"rtc\":null", ".rtc can't be null", "an object"},
        {"\"rtc\":{\"mode\":\"Slew\"}", ".rtc.mode can't be \"Slew\"", "\"observe\", \"slew\""},
        {"\"rtc\":{\"mode\":2}", ".rtc.mode can't be 2", "\"slew\""},
        {"\"rtc\":{\"mode\":\"slew\\u0000\"}", ".rtc.mode can't be", "\"slew\""},
        {"\"pit\":{\"mode\":null}", ".pit.mode can't be null", "\"off\""},
        {"\"pit\":{\"mode\":\"slew\",\"force\":\"yes\"}", ".pit.force can't be \"yes\"",
         "true or false"},
        {"\"rtc\":{\"mode\":\"slew\",\"rate\":64}", ".rtc.rate is not a key", "mode, force"},
        {"\"rtc\":{\"mode\":\"slew\"},\"pit\":{\"mode\":\"observe\"}", " has both rtc and pit",
         "one timer"},
        {TIMER ",\"rtc\":{\"mode\":\"slew\"}", " has both an enabled timer and rtc", "disable"},
        {"\"pit\":{\"mode\":\"observe\"}," TIMER, " has both an enabled timer and pit", "remove"},
    };
#undef TIMER

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *text =
            g_strdup_printf("{\"domains\":[{\"match\":\"a\"},{\"match\":\"b\",%s}]}", rows[i][0]);
        g_autofree char *place = g_strdup_printf("hvtimerd.json: domains[1]%s", rows[i][1]);

        config_files_write(f, text);
        config_files_assert_refused(f, CONFIG_ERROR, CONFIG_ERROR_VALUE, place, rows[i][2]);
    }
}

/* A drop-in's mistake is the drop-in's, counted from its own beginning. */
static void test_drop_in_refused(struct config_files *f, G_GNUC_UNUSED gconstpointer data)
{
    config_files_write(f, "{\"domains\":[{\"match\":\"a\"}]}");
    config_files_write_drop_in(f, "10.json", "{\"domains\":[{\"match\":\"a\",\"timer\":{}}]}");
    config_files_assert_refused(f, CONFIG_ERROR, CONFIG_ERROR_VALUE,
                                "hvtimerd.d/10.json: domains[0].", "timer has no period");
}

#define add(name, test)                                                                       \
    g_test_add("/config-domains/" name, struct config_files, NULL, config_files_set_up, test, \
               config_files_tear_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("values", test_values);
    add("matching", test_matching);
    add("last-counts", test_last_counts);
    add("files-add-up", test_files_add_up);
    add("policy-over-the-daemons", test_policy_over_the_daemons);
    add("refused", test_refused);
    add("timer-refused", test_timer_refused);
    add("supervision-refused", test_supervision_refused);
    add("drop-in-refused", test_drop_in_refused);
    return g_test_run();
}
