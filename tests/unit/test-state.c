/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What outlives the daemon: written by one, read by the next; and files that are not what they
 * should be. */
#include "daemon/injectors/model.h"
#include "daemon/state.h"
#include "daemon/ticks-file.h"
#include "tests/support/test.h"
#include "tests/support/timing.h"
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

struct rig {
    char *directory, *json, *ticks;
    struct config *config;
    struct state *state;
    struct engine *engine;
    struct manager *manager;
};

static void rig_start(struct rig *rig)
{
    g_autoptr(GError) error = NULL;

    rig->state = state_new(rig->directory);
    struct engine_config engine = {
        .cpu = -1, .timers = 4, .ticks_file = state_ticks_file(rig->state)};
    rig->engine = engine_new(&engine, &error);
    g_assert_no_error(error);
    rig->manager = manager_new(rig->engine, rig->config);
}

static void rig_stop(struct rig *rig)
{
    g_clear_pointer(&rig->manager, manager_free);
    g_clear_pointer(&rig->engine, engine_free);
    g_clear_pointer(&rig->state, state_free);
}

static void rig_up(struct rig *rig)
{
    g_autoptr(GError) error = NULL;

    *rig = (struct rig){.directory = g_dir_make_tmp("hvtimer-state-XXXXXX", &error)};
    g_assert_no_error(error);
    rig->json = g_build_filename(rig->directory, "state.json", NULL);
    rig->ticks = g_build_filename(rig->directory, "ticks", NULL);
    rig->config = config_new_default();
    rig_start(rig);
}

static void rig_down(struct rig *rig)
{
    g_autofree char *broken = g_strconcat(rig->json, ".broken", NULL);

    rig_stop(rig);
    config_free(rig->config);
    g_unlink(rig->json);
    g_unlink(rig->ticks);
    g_unlink(broken);
    g_assert_cmpint(g_rmdir(rig->directory), ==, 0); /* and nothing else was left there */
    g_free(rig->json);
    g_free(rig->ticks);
    g_free(rig->directory);
}

static void on_done(const GError *error, gpointer user_data)
{
    g_assert_no_error(error);
    *(gboolean *)user_data = TRUE;
}

/* A guest of this process's, with a model's timer at 1 ms. */
static struct guest *add_ticking(struct rig *rig, const char *name)
{
    struct guest_identity identity = {.id = 7, .name = name, .uuid = "", .source = "vmm"};
    struct ticker_policy policy = TICKER_POLICY_DEFAULT;
    gboolean done = FALSE;
    g_autoptr(GError) error = NULL;
    struct guest *guest = manager_add(rig->manager, &identity, &error);

    g_assert_no_error(error);
    g_assert_true(guest_start_with(guest, (uint32_t)getpid(), injector_model_new(), &error));
    policy.slew = 50;
    g_assert_true(guest_set_policy(guest, &policy, &error));
    guest_enable(guest, period_from_units(10000), 0x1050, "auto", on_done, &done);
    test_wait_until(10, done);
    return guest;
}

static uint64_t due(struct guest *guest)
{
    struct engine_reading reading;

    guest_read(guest, &reading);
    return reading.ticks.due;
}

/* What the next daemon would find, as soon as the engine has published that @ticks were due: it may
 * not have run just now, or be in the midst of it. */
static struct memory *await_memory(struct rig *rig, struct state **ret_state, uint64_t ticks)
{
    gint64 deadline = g_get_monotonic_time() + 10 * G_USEC_PER_SEC;

    for (;;) {
        *ret_state = state_new(rig->directory);
        struct memory *memory =
            state_find_running(*ret_state, "vmm", "one", "", (uint32_t)getpid());
        g_assert_nonnull(memory);
        if (memory->guest.counts.due >= ticks && memory->guest.start_ns > 0) {
            return memory;
        }
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        state_free(*ret_state);
        test_iterate();
    }
}

static void test_round_trip(void)
{
    struct state *next;
    struct rig rig;

    rig_up(&rig);
    struct guest *guest = add_ticking(&rig, "one");
    test_wait_until(10, due(guest) >= 50);
    state_save(rig.state, rig.manager);

    /* As if killed: what the engine has published stands in the file, newer than what was saved. */
    uint64_t saved = due(guest);
    struct memory *memory = await_memory(&rig, &next, saved + 10);
    g_assert_cmpuint(memory->id, ==, 7);
    g_assert_cmphex(memory->guest.control, ==, 0x1050);
    g_assert_cmpuint(period_to_units(memory->guest.period), ==, 10000);
    g_assert_cmpuint(memory->guest.policy.slew, ==, 50);
    g_assert_cmpuint(memory->guest.start_ns, <=, engine_clock());

    g_assert_null(state_find_running(next, "vmm", "one", "", (uint32_t)getppid()));
    g_assert_null(state_find(next, "libvirt", "one", ""));
    g_assert_null(state_find(next, "vmm", "two", ""));
    state_free(next);
    rig_down(&rig);
}

static gboolean keeps_time(struct guest *guest, const struct timing *timing)
{
    gint64 before = g_get_monotonic_time();
    uint64_t ticks = due(guest);

    return timing_keeps(timing, ticks, before, g_get_monotonic_time());
}

/* The next daemon's guest counts on from there, and its ticks fall when they would have. */
static void test_resume(void)
{
    struct rig rig;

    rig_up(&rig);
    struct guest *guest = add_ticking(&rig, "one");
    test_wait_until(10, due(guest) >= 100);
    state_save(rig.state, rig.manager);
    rig_stop(&rig);
    g_usleep(100000);

    rig_start(&rig);
    struct memory *memory = state_find_running(rig.state, "vmm", "one", "", (uint32_t)getpid());
    g_assert_nonnull(memory);
    struct guest_identity identity = {.id = 7, .name = "one", .uuid = "", .source = "vmm"};
    g_autoptr(GError) error = NULL;
    guest = manager_add(rig.manager, &identity, &error);
    guest_remember(guest, &memory->guest);
    g_assert_true(guest_start_with(guest, (uint32_t)getpid(), injector_model_new(), &error));
    guest_resume(guest, &memory->guest);
    gint64 begun = (gint64)memory->guest.start_ns / 1000;
    g_assert_cmpint(begun, >, 0);
    struct timing timing = {
        .period_us = 1000, .due = memory->guest.counts.due, .called = begun, .returned = begun + 1};
    test_wait_until(10, keeps_time(guest, &timing));
    g_assert_cmphex(guest_partition(guest)->control, ==, 0x1050);
    rig_down(&rig);
}

/* Killed again before it could be resumed: the one after that has it all the same, figures and all.
 */
static void test_killed_before_resume(void)
{
    struct rig rig;

    rig_up(&rig);
    struct guest *guest = add_ticking(&rig, "one");
    test_wait_until(10, due(guest) >= 50);
    state_save(rig.state, rig.manager);
    rig_stop(&rig);

    rig.state = state_new(rig.directory);
    state_save(rig.state, NULL);
    rig_stop(&rig);
    rig_start(&rig); /* replaces the ticks file */
    struct memory *memory = state_find_running(rig.state, "vmm", "one", "", (uint32_t)getpid());
    g_assert_nonnull(memory);
    g_assert_cmphex(memory->guest.control, ==, 0x1050);
    g_assert_cmpuint(memory->guest.counts.due, >=, 49);
    g_assert_cmpuint(memory->guest.start_ns, >, 0);
    rig_down(&rig);
}

/* Set aside and reported, never fatal. */
static void test_broken(gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    struct rig rig;

    rig_up(&rig);
    g_file_set_contents(rig.json, data, -1, &error);
    g_assert_no_error(error);
    g_test_expect_message("hvtimer", G_LOG_LEVEL_WARNING, "*set aside*");
    struct state *next = state_new(rig.directory);
    g_test_assert_expected_messages();
    g_assert_null(state_find(next, "vmm", "one", ""));
    g_assert_false(g_file_test(rig.json, G_FILE_TEST_EXISTS));
    state_free(next);
    rig_down(&rig);
}

/* Of an earlier boot: not broken, but nothing of it is still there. */
static void test_earlier_boot(void)
{
    struct rig rig;
    g_autofree char *text = NULL;

    rig_up(&rig);
    add_ticking(&rig, "one");
    state_save(rig.state, rig.manager);
    g_assert_true(g_file_get_contents(rig.json, &text, NULL, NULL));
    char *boot = strstr(text, "boot_id") + strlen("boot_id\": \"");
    *boot = *boot == 'a' ? 'b' : 'a';
    g_assert_true(g_file_set_contents(rig.json, text, -1, NULL));
    struct state *next = state_new(rig.directory);
    g_assert_null(state_find(next, "vmm", "one", ""));
    state_free(next);
    rig_down(&rig);
}

/* Figures that were never written, or of another build: the properties count, the figures begin
 * anew. */
static void test_without_ticks(void)
{
    struct rig rig;

    rig_up(&rig);
    add_ticking(&rig, "one");
    state_save(rig.state, rig.manager);
    g_assert_true(g_file_set_contents(rig.ticks, "no ticks", -1, NULL));
    struct state *next = state_new(rig.directory);
    struct memory *memory = state_find(next, "vmm", "one", "");
    g_assert_nonnull(memory);
    g_assert_cmpuint(memory->guest.counts.due, ==, 0);
    g_assert_cmpuint(memory->guest.start_ns, ==, 0);
    state_free(next);
    rig_down(&rig);
}

/* Changes share a write, which nobody has to wait for; one that was not made yet is made by the
 * next state_save(), and is dropped by state_free(). */
static void test_soon(void)
{
    struct rig rig;

    rig_up(&rig);
    add_ticking(&rig, "one");
    state_save_soon(rig.state, rig.manager);
    state_save_soon(rig.state, rig.manager);
    g_assert_false(g_file_test(rig.json, G_FILE_TEST_EXISTS));
    test_wait_until(10, g_file_test(rig.json, G_FILE_TEST_EXISTS));
    struct state *next = state_new(rig.directory);
    g_assert_nonnull(state_find(next, "vmm", "one", ""));
    state_free(next);

    g_assert_cmpint(g_unlink(rig.json), ==, 0);
    gint64 until = g_get_monotonic_time() + 100000;
    test_wait_until(10, g_get_monotonic_time() > until);
    g_assert_false(g_file_test(rig.json, G_FILE_TEST_EXISTS)); /* once for both */

    state_save_soon(rig.state, rig.manager);
    state_save(rig.state, rig.manager);
    g_assert_cmpint(g_unlink(rig.json), ==, 0);
    until = g_get_monotonic_time() + 100000;
    test_wait_until(10, g_get_monotonic_time() > until);
    g_assert_false(g_file_test(rig.json, G_FILE_TEST_EXISTS));
    state_save_soon(rig.state, rig.manager);
    rig_down(&rig);
    g_assert_false(g_main_context_pending(NULL));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/state/round-trip", test_round_trip);
    g_test_add_func("/state/resume", test_resume);
    g_test_add_func("/state/killed-before-resume", test_killed_before_resume);
    g_test_add_data_func("/state/broken/empty", "", test_broken);
    g_test_add_data_func("/state/broken/no-json", "{\"version\": 1,", test_broken);
    g_test_add_data_func("/state/broken/version", "{\"version\": 99, \"partitions\": []}",
                         test_broken);
    g_test_add_data_func("/state/broken/no-list", "{\"version\": 1, \"partitions\": {}}",
                         test_broken);
    g_test_add_func("/state/earlier-boot", test_earlier_boot);
    g_test_add_func("/state/without-ticks", test_without_ticks);
    g_test_add_func("/state/soon", test_soon);
    return g_test_run();
}
