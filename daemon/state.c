/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a daemon has to know of the one before it: see state.h. */
#include "daemon/state.h"

#include "common/values.h"
#include "daemon/attach/process.h"
#include "daemon/json.h"
#include "daemon/policy-names.h"
#include "daemon/ticks-file.h"
#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define STATE_VERSION 1
/* 65536 partitions with long names. */
#define SIZE_MAX_BYTES (64 * 1024 * 1024)

/* How long a change may wait for others to be written along with it. */
#define SOON_MS 5
/* The main loop may spend one part in that many on writing, however often something changes. */
#define WRITING_PART 10

struct state {
    char *directory; /* NULL: none */
    char *json, *ticks;
    int lock; /* -1: not claimed */
    GPtrArray *memories;
    struct manager *manager; /* to be saved soon */
    guint soon;              /* when that is to be done; 0: not */
    gint64 rest_until;       /* not before that */
};

static void free_memory(gpointer data)
{
    struct memory *memory = data;

    g_free(memory->name);
    g_free(memory->uuid);
    g_free(memory->source);
    g_free(memory);
}

/* The boot of the host: process ids and clocks of another one mean nothing. */
static char *boot_id(void)
{
    g_autofree char *id = NULL;

    g_file_get_contents("/proc/sys/kernel/random/boot_id", &id, NULL, NULL);
    return g_strdup(id != NULL ? g_strchomp(id) : "");
}

/* ---- reading ---- */

static const char *get_text(json_object *object, const char *key)
{
    json_object *value;

    return json_object_object_get_ex(object, key, &value) &&
                   json_object_is_type(value, json_type_string)
               ? json_object_get_string(value)
               : "";
}

static uint64_t get_number(json_object *object, const char *key)
{
    json_object *value;

    return json_object_object_get_ex(object, key, &value) &&
                   json_object_is_type(value, json_type_int)
               ? json_object_get_uint64(value)
               : 0;
}

static gboolean read_policy(json_object *object, struct ticker_policy *policy)
{
    policy->threshold = (uint32_t)get_number(object, "threshold");
    policy->slew = (uint32_t)get_number(object, "slew");
    policy->limit_ms = (uint32_t)get_number(object, "limit_ms");
    return policy_mode_from_name(get_text(object, "policy"), &policy->mode) &&
           policy_on_resume_from_name(get_text(object, "on_resume"), &policy->catch_up_suspends) &&
           ticker_policy_problem(policy) == NULL;
}

static gboolean counts_valid(const struct ticker_counts *c)
{
    return c->due == c->acknowledged + c->in_flight + c->backlog + c->skipped && c->in_flight <= 1;
}

/* The timer as it was last published: its counts, and when its period began. */
static void read_ticks(struct ticks_file *ticks, json_object *object, struct guest_memory *guest)
{
    uint64_t number = get_number(object, "slot");
    gboolean has_slot = json_object_object_get_ex(object, "slot", NULL);
    struct ticks_slot *slot = has_slot && ticks != NULL && number < UINT32_MAX
                                  ? ticks_file_slot(ticks, (unsigned)number)
                                  : NULL;
    struct published published;

    if (slot == NULL) {
        return;
    }
    ticks_slot_read_old(slot, &published);
    const struct ticker *ticker = &published.ticker;
    if (!counts_valid(&ticker->counts)) {
        return;
    }
    guest->counts = ticker->counts;
    if (guest->supervision.mode != SUPERVISION_OFF) {
        guest->period = ticker->period; /* that they were counted in, found since the saving */
    } else if (ticker->running && !ticker->frozen && period_equal(ticker->period, guest->period) &&
               ticker->next_ns > ticker->step_ns &&
               ticker->next_ns - ticker->step_ns <= engine_clock()) {
        guest->start_ns = ticker->next_ns - ticker->step_ns;
    }
}

/* Those that the daemon before had read, but had no timer for yet. */
static void read_counts(json_object *object, struct guest_memory *guest)
{
    struct ticker_counts counts = {
        .due = get_number(object, "due"),
        .injected = get_number(object, "injected"),
        .acknowledged = get_number(object, "acknowledged"),
        .in_flight = get_number(object, "in_flight"),
        .backlog = get_number(object, "backlog"),
        .skipped = get_number(object, "skipped"),
        .lost_ns = get_number(object, "lost_ns"),
    };
    uint64_t start_ns = get_number(object, "start_ns");

    if (counts_valid(&counts) && start_ns <= engine_clock()) {
        guest->counts = counts;
        guest->start_ns = start_ns;
    }
}

static void read_supervision(json_object *object, struct supervision *supervision)
{
    struct supervision s = SUPERVISION_NONE;

    s.force = get_number(object, "force") != 0;
    if (base_timer_from_name(get_text(object, "timer"), &s.timer) &&
        supervision_mode_from_name(get_text(object, "mode"), &s.mode) &&
        s.mode != SUPERVISION_OFF) {
        *supervision = s;
    }
}

static struct memory *read_memory(struct ticks_file *ticks, json_object *object)
{
    struct memory *memory = g_new0(struct memory, 1);
    struct guest_memory *guest = &memory->guest;
    json_object *counts, *supervision;

    memory->id = get_number(object, "id");
    memory->pid = (uint32_t)get_number(object, "pid");
    memory->start_time = get_number(object, "start_time");
    memory->name = g_strdup(get_text(object, "name"));
    memory->uuid = g_strdup(get_text(object, "uuid"));
    memory->source = g_strdup(get_text(object, "source"));
    g_strlcpy(guest->injector, get_text(object, "injector"), sizeof guest->injector);
    if (!period_make(get_number(object, "period_numerator"),
                     get_number(object, "period_denominator"), &guest->period) ||
        !value_parse_number("control", get_text(object, "control"), 0, UINT64_MAX, &guest->control,
                            NULL) ||
        !read_policy(object, &guest->policy)) {
        free_memory(memory);
        return NULL;
    }
    if (json_object_object_get_ex(object, "supervision", &supervision)) {
        read_supervision(supervision, &guest->supervision);
    }
    if (json_object_object_get_ex(object, "counts", &counts)) {
        read_counts(counts, guest);
    } else {
        read_ticks(ticks, object, guest);
    }
    guest->pending = TRUE;
    return memory;
}

static gboolean read_all(struct state *state, json_object *root)
{
    g_autofree char *boot = boot_id();
    struct ticks_file *ticks;
    json_object *list;

    if (get_number(root, "version") != STATE_VERSION ||
        !json_object_object_get_ex(root, "partitions", &list) ||
        !json_object_is_type(list, json_type_array)) {
        return FALSE;
    }
    if (!g_str_equal(get_text(root, "boot_id"), boot)) {
        return TRUE; /* of an earlier boot: nothing of it is still there */
    }
    ticks = ticks_file_open_old(state->ticks);
    gboolean ok = TRUE;
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        struct memory *memory = read_memory(ticks, json_object_array_get_idx(list, i));
        if (memory != NULL) {
            g_ptr_array_add(state->memories, memory);
        }
        ok = ok && memory != NULL;
    }
    ticks_file_free(ticks);
    return ok;
}

static void load(struct state *state)
{
    g_autofree char *broken = g_strconcat(state->json, ".broken", NULL);
    g_autoptr(GError) error = NULL;
    json_object *root = json_file_load(state->json, SIZE_MAX_BYTES, &error);

    if (root != NULL && read_all(state, root)) {
        json_object_put(root);
        return;
    }
    json_object_put(root);
    if (g_error_matches(error, G_FILE_ERROR, G_FILE_ERROR_NOENT)) {
        return;
    }
    g_rename(state->json, broken);
    g_warning("%s can't be used (%s): it is set aside as %s; partitions that are not listed there "
              "begin anew",
              state->json, error != NULL ? error->message : "it is not what this version writes",
              broken);
}

struct state *state_new(const char *directory)
{
    struct state *state = g_new0(struct state, 1);

    state->lock = -1;
    state->memories = g_ptr_array_new_with_free_func(free_memory);
    if (g_mkdir_with_parents(directory, 0700) != 0) {
        g_warning("%s can't be made (%s): what is set does not outlive the daemon; set "
                  "\"state_directory\" to a directory that it may write to",
                  directory, g_strerror(errno));
        return state;
    }
    state->directory = g_strdup(directory);
    state->json = g_build_filename(directory, "state.json", NULL);
    state->ticks = g_build_filename(directory, "ticks", NULL);
    load(state);
    return state;
}

gboolean state_claim(struct state *state, GError **error)
{
    if (state->directory == NULL) {
        return TRUE;
    }
    g_autofree char *path = g_build_filename(state->directory, "lock", NULL);
    state->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (state->lock < 0 || flock(state->lock, LOCK_EX | LOCK_NB) == 0) {
        return TRUE; /* without a lock it is as safe as it can be had */
    }
    g_set_error(
        error, G_IO_ERROR, G_IO_ERROR_BUSY,
        "another hvtimerd uses %s; end it, or give this one a \"state_directory\" of its own",
        state->directory);
    return FALSE;
}

void state_free(struct state *state)
{
    if (state != NULL) {
        g_clear_handle_id(&state->soon, g_source_remove);
        if (state->lock >= 0) {
            close(state->lock);
        }
        g_ptr_array_unref(state->memories);
        g_free(state->directory);
        g_free(state->json);
        g_free(state->ticks);
        g_free(state);
    }
}

const char *state_ticks_file(const struct state *state)
{
    return state->ticks;
}

static gboolean still_runs(const struct memory *memory)
{
    uint64_t start_time;

    return memory->pid != 0 && process_start_time((pid_t)memory->pid, &start_time, NULL) &&
           start_time == memory->start_time;
}

struct memory *state_find(const struct state *state, const char *source, const char *name,
                          const char *uuid)
{
    for (guint i = 0; i < state->memories->len; i++) {
        struct memory *memory = g_ptr_array_index(state->memories, i);
        gboolean same = *uuid != '\0' ? g_ascii_strcasecmp(memory->uuid, uuid) == 0
                                      : g_str_equal(memory->name, name);
        if (same && g_str_equal(memory->source, source)) {
            return memory;
        }
    }
    return NULL;
}

static gboolean is_pending(const struct memory *memory)
{
    return memory != NULL && memory->guest.pending && still_runs(memory);
}

struct memory *state_find_running(const struct state *state, const char *source, const char *name,
                                  const char *uuid, uint32_t pid)
{
    struct memory *memory = state_find(state, source, name, uuid);

    return is_pending(memory) && memory->pid == pid ? memory : NULL;
}

GPtrArray *state_list(const struct state *state, const char *source)
{
    GPtrArray *list = g_ptr_array_new();

    for (guint i = 0; i < state->memories->len; i++) {
        struct memory *memory = g_ptr_array_index(state->memories, i);
        if (g_str_equal(memory->source, source)) {
            g_ptr_array_add(list, memory);
        }
    }
    return list;
}

/* ---- writing ---- */

static void add_text(json_object *object, const char *key, const char *text)
{
    json_object_object_add(object, key, json_object_new_string(text));
}

static void add_number(json_object *object, const char *key, uint64_t number)
{
    json_object_object_add(object, key, json_object_new_uint64(number));
}

static void add_policy(json_object *object, const struct ticker_policy *policy)
{
    add_text(object, "policy", policy_mode_name(policy->mode));
    add_number(object, "threshold", policy->threshold);
    add_number(object, "slew", policy->slew);
    add_number(object, "limit_ms", policy->limit_ms);
    add_text(object, "on_resume", policy_on_resume_name(policy->catch_up_suspends));
}

/* What a guest and a memory of one have in common. */
static json_object *new_record(const struct guest_identity *identity, uint32_t pid,
                               uint64_t start_time, struct period period, uint64_t control,
                               const char *injector, const struct ticker_policy *policy)
{
    json_object *object = json_object_new_object();
    g_autofree char *text = g_strdup_printf("0x%016" G_GINT64_MODIFIER "x", control);

    add_number(object, "id", identity->id);
    add_text(object, "name", identity->name);
    add_text(object, "uuid", identity->uuid);
    add_text(object, "source", identity->source);
    add_number(object, "pid", pid);
    add_number(object, "start_time", start_time);
    add_text(object, "injector", injector);
    add_number(object, "period_numerator", period.numerator);
    add_number(object, "period_denominator", period.denominator);
    add_text(object, "control", text);
    add_policy(object, policy);
    return object;
}

static void add_supervision(json_object *object, const struct supervision *supervision)
{
    if (supervision->mode == SUPERVISION_OFF) {
        return;
    }
    json_object *fields = json_object_new_object();
    add_text(fields, "timer", base_timer_name(supervision->timer));
    add_text(fields, "mode", supervision_mode_name(supervision->mode));
    add_number(fields, "force", supervision->force != 0);
    json_object_object_add(object, "supervision", fields);
}

static void add_counts(json_object *object, const struct ticker_counts *c, uint64_t start_ns)
{
    json_object *counts = json_object_new_object();

    add_number(counts, "due", c->due);
    add_number(counts, "injected", c->injected);
    add_number(counts, "acknowledged", c->acknowledged);
    add_number(counts, "in_flight", c->in_flight);
    add_number(counts, "backlog", c->backlog);
    add_number(counts, "skipped", c->skipped);
    add_number(counts, "lost_ns", c->lost_ns);
    add_number(counts, "start_ns", start_ns);
    json_object_object_add(object, "counts", counts);
}

struct saving {
    struct state *state;
    gboolean pending; /* something of the daemon before was not resumed yet */
    GString *text;
};

/* One record after the other becomes text: thousands of them, as objects, are a lot of memory.
 * Takes @object. */
static void append(struct saving *saving, json_object *object)
{
    if (saving->text->str[saving->text->len - 1] != '[') {
        g_string_append_c(saving->text, ',');
    }
    g_string_append_c(saving->text, '\n');
    g_string_append(saving->text, json_object_to_json_string(object));
    json_object_put(object);
}

static void add_memory(struct saving *saving, const struct memory *memory)
{
    const struct guest_memory *guest = &memory->guest;
    struct guest_identity identity = {memory->id, memory->name, memory->uuid, memory->source};
    json_object *object = new_record(&identity, memory->pid, memory->start_time, guest->period,
                                     guest->control, guest->injector, &guest->policy);

    add_supervision(object, &guest->supervision);
    add_counts(object, &guest->counts, guest->start_ns);
    append(saving, object);
}

static void add_guest(struct guest *guest, gpointer user_data)
{
    struct saving *saving = user_data;
    const struct guest_identity *identity = guest_identity(guest);
    const struct partition *partition = guest_partition(guest);
    uint64_t start_time = 0;
    unsigned slot;

    if (saving->pending &&
        is_pending(state_find(saving->state, identity->source, identity->name, identity->uuid))) {
        return; /* what it was before counts until it is that again */
    }
    if (guest_pid(guest) != 0) {
        process_start_time((pid_t)guest_pid(guest), &start_time, NULL);
    }
    json_object *object =
        new_record(identity, guest_pid(guest), start_time, partition->period, partition->control,
                   guest_injector_name(guest), guest_policy(guest));
    add_supervision(object, guest_supervision(guest));
    if (guest_slot(guest, &slot)) {
        add_number(object, "slot", slot);
    } else {
        struct engine_reading reading;
        guest_read(guest, &reading);
        add_counts(object, &reading.ticks, 0);
    }
    append(saving, object);
}

/* (transfer full) */
static char *make_text(struct state *state, struct manager *manager)
{
    g_autofree char *boot = boot_id();
    struct saving saving = {.state = state, .text = g_string_new(NULL)};

    g_string_printf(saving.text, "{\"version\":%d,\"boot_id\":\"%s\",\"partitions\":[",
                    STATE_VERSION, boot);
    for (guint i = 0; i < state->memories->len; i++) {
        if (is_pending(g_ptr_array_index(state->memories, i))) {
            add_memory(&saving, g_ptr_array_index(state->memories, i));
            saving.pending = TRUE;
        }
    }
    if (manager != NULL) {
        manager_foreach(manager, add_guest, &saving);
    }
    g_string_append(saving.text, "]}\n");
    return g_string_free(saving.text, FALSE);
}

/* Atomic for whoever reads it, but not brought to the disk: if the host goes down, nothing of it
 * is of use any more. */
static gboolean replace_file(const char *path, const char *text, GError **error)
{
    g_autofree char *new = g_strconcat(path, ".new", NULL);

    if (!g_file_set_contents_full(new, text, -1, G_FILE_SET_CONTENTS_NONE, 0600, error)) {
        return FALSE;
    }
    if (g_rename(new, path) != 0) {
        g_set_error(error, G_FILE_ERROR, (gint)g_file_error_from_errno(errno),
                    "%s can't be renamed to %s: %s", new, path, g_strerror(errno));
        g_unlink(new);
        return FALSE;
    }
    return TRUE;
}

void state_save(struct state *state, struct manager *manager)
{
    gint64 begun = g_get_monotonic_time();
    g_autoptr(GError) error = NULL;

    g_clear_handle_id(&state->soon, g_source_remove);
    if (state->directory == NULL) {
        return;
    }
    g_autofree char *text = make_text(state, manager);
    if (!replace_file(state->json, text, &error)) {
        g_warning("what is set may not outlive the daemon: %s", error->message);
    }
    gint64 now = g_get_monotonic_time();
    state->rest_until = now + (now - begun) * WRITING_PART;
}

static gboolean on_soon(gpointer user_data)
{
    struct state *state = user_data;

    state->soon = 0;
    state_save(state, state->manager);
    return G_SOURCE_REMOVE;
}

void state_save_soon(struct state *state, struct manager *manager)
{
    if (state->soon == 0) {
        gint64 rest = (state->rest_until - g_get_monotonic_time() + 999) / 1000;

        state->manager = manager;
        state->soon = g_timeout_add((guint)MAX(rest, SOON_MS), on_soon, state);
    }
}
