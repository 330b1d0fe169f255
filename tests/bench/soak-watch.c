/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is read all the time in a soak: see soak-watch.h. */
#include "tests/bench/soak-watch.h"

#include <stdlib.h>
#include <string.h>

#define READ_MS   20
#define SAMPLE_US (G_USEC_PER_SEC / 2)
/* Memory, in per cent: pages come and go with what was asked last. */
#define GROWTH_MAX 4.0
/* A life of less says nothing. */
#define SAMPLES_MIN 40

/* What a process has, at a time. */
struct sample {
    guint rss_kb, fds, threads;
};

/* From a start of the daemon to its end. */
struct life {
    GArray *samples; /* struct sample, all the time */
    GArray *quiet;   /* only when all is quiet */
};

struct soak_watch {
    struct soak *soak;
    GThread *thread;
    GMutex lock; /* of all that follows */
    gboolean serving, quit;
    HV_PARTITION_ID ids[SOAK_GUESTS];
    hvapi_statistics last[SOAK_GUESTS];
    guint64 backlog_most[SOAK_GUESTS];
    guint64 readings;
    GPtrArray *lives;
    gint64 sampled;
};

/* ---- What the daemon has ---- */

static guint count_fds(int pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/fd", pid);
    g_autoptr(GDir) directory = g_dir_open(path, 0, NULL);
    guint count = 0;

    while (directory != NULL && g_dir_read_name(directory) != NULL) {
        count++;
    }
    return count;
}

/* But for GLib's own, which come when there is something to do, and go when there has been nothing
 * for a while. */
static guint count_threads(int pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task", pid);
    g_autoptr(GDir) directory = g_dir_open(path, 0, NULL);
    const char *task;
    guint count = 0;

    while (directory != NULL && (task = g_dir_read_name(directory)) != NULL) {
        g_autofree char *file = g_build_filename(path, task, "comm", NULL);
        g_autofree char *name = NULL;
        count += g_file_get_contents(file, &name, NULL, NULL) && !g_str_has_prefix(name, "pool-");
    }
    return count;
}

static guint resident_kb(int pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/status", pid);
    g_autofree char *text = NULL;
    const char *line;

    if (!g_file_get_contents(path, &text, NULL, NULL) || (line = strstr(text, "VmRSS:")) == NULL) {
        return 0;
    }
    return (guint)strtoul(line + strlen("VmRSS:"), NULL, 10);
}

static struct sample take_sample(struct soak_watch *watch)
{
    int pid = atoi(g_subprocess_get_identifier(watch->soak->fixture.daemon));

    return (struct sample){
        .rss_kb = resident_kb(pid), .fds = count_fds(pid), .threads = count_threads(pid)};
}

static struct life *this_life(struct soak_watch *watch)
{
    return watch->lives->pdata[watch->lives->len - 1];
}

static void begin_life(struct soak_watch *watch)
{
    struct life *life = g_new(struct life, 1);

    life->samples = g_array_new(FALSE, FALSE, sizeof(struct sample));
    life->quiet = g_array_new(FALSE, FALSE, sizeof(struct sample));
    g_ptr_array_add(watch->lives, life);
}

static void end_life(gpointer data)
{
    struct life *life = data;

    g_array_unref(life->samples);
    g_array_unref(life->quiet);
    g_free(life);
}

static void sample(struct soak_watch *watch)
{
    gint64 now = g_get_monotonic_time();

    if (now - watch->sampled >= SAMPLE_US) {
        struct sample s = take_sample(watch);
        g_array_append_val(this_life(watch)->samples, s);
        watch->sampled = now;
    }
}

/* ---- Figures ---- */

static void check(struct soak_watch *watch, guint i, const hvapi_statistics *s)
{
    if (s->due != s->acknowledged + s->in_flight + s->backlog + s->skipped || s->in_flight > 1) {
        soak_fail(watch->soak,
                  "%s: due %" G_GUINT64_FORMAT " is not acknowledged %" G_GUINT64_FORMAT
                  " + in flight %" G_GUINT64_FORMAT " + backlog %" G_GUINT64_FORMAT
                  " + skipped %" G_GUINT64_FORMAT,
                  watch->soak->guests[i].name, s->due, s->acknowledged, s->in_flight, s->backlog,
                  s->skipped);
    }
    watch->backlog_most[i] = MAX(watch->backlog_most[i], s->backlog);
    watch->last[i] = *s;
    watch->readings++;
}

static void read_one(struct soak_watch *watch, guint i)
{
    const char *name = watch->soak->guests[i].name;
    HV_STATUS status = HV_STATUS_SUCCESS;
    hvapi_statistics s;

    if (watch->ids[i] == 0) {
        status = hvapi_lookup_partition(name, &watch->ids[i]);
    }
    if (status == HV_STATUS_SUCCESS) {
        status = hvapi_get_statistics(watch->ids[i], &s);
    }
    if (status == HV_STATUS_SUCCESS) {
        check(watch, i, &s);
    } else {
        soak_fail(watch->soak, "%s can't be read: %s: %s", name, hvapi_status_name(status),
                  hvapi_last_error());
        watch->ids[i] = 0;
    }
}

static gpointer read_all(gpointer data)
{
    struct soak_watch *watch = data;
    gboolean quit = FALSE;

    while (!quit) {
        g_usleep(READ_MS * 1000);
        g_mutex_lock(&watch->lock);
        for (guint i = 0; watch->serving && i < SOAK_GUESTS; i++) {
            read_one(watch, i);
        }
        if (watch->serving) {
            sample(watch);
        }
        quit = watch->quit;
        g_mutex_unlock(&watch->lock);
    }
    return NULL;
}

struct soak_watch *soak_watch_new(struct soak *soak)
{
    struct soak_watch *watch = g_new0(struct soak_watch, 1);

    watch->soak = soak;
    watch->lives = g_ptr_array_new_with_free_func(end_life);
    g_mutex_init(&watch->lock);
    watch->thread = g_thread_new("reader", read_all, watch);
    return watch;
}

void soak_watch_free(struct soak_watch *watch)
{
    g_mutex_lock(&watch->lock);
    watch->quit = TRUE;
    g_mutex_unlock(&watch->lock);
    g_thread_join(watch->thread);
    g_ptr_array_unref(watch->lives);
    g_mutex_clear(&watch->lock);
    g_free(watch);
}

void soak_watch_pause(struct soak_watch *watch)
{
    g_mutex_lock(&watch->lock);
    watch->serving = FALSE;
    g_mutex_unlock(&watch->lock);
}

void soak_watch_go_on(struct soak_watch *watch)
{
    g_mutex_lock(&watch->lock);
    memset(watch->ids, 0, sizeof(watch->ids));
    begin_life(watch);
    watch->serving = TRUE;
    g_mutex_unlock(&watch->lock);
}

void soak_watch_note_quiet(struct soak_watch *watch)
{
    g_mutex_lock(&watch->lock);
    struct sample s = take_sample(watch);
    g_array_append_val(this_life(watch)->quiet, s);
    g_mutex_unlock(&watch->lock);
}

hvapi_statistics soak_watch_sum(struct soak_watch *watch)
{
    hvapi_statistics sum = {0};

    g_mutex_lock(&watch->lock);
    for (guint i = 0; i < SOAK_GUESTS; i++) {
        sum.due += watch->last[i].due;
        sum.acknowledged += watch->last[i].acknowledged;
        sum.backlog += watch->last[i].backlog;
        sum.skipped += watch->last[i].skipped;
    }
    g_mutex_unlock(&watch->lock);
    return sum;
}

guint64 soak_watch_readings(struct soak_watch *watch)
{
    g_mutex_lock(&watch->lock);
    guint64 readings = watch->readings;
    g_mutex_unlock(&watch->lock);
    return readings;
}

guint64 soak_watch_backlog_most(struct soak_watch *watch, guint guest)
{
    g_mutex_lock(&watch->lock);
    guint64 most = watch->backlog_most[guest];
    g_mutex_unlock(&watch->lock);
    return most;
}

/* ---- Judging ---- */

static int compare(gconstpointer a, gconstpointer b)
{
    guint x = *(const guint *)a, y = *(const guint *)b;

    return x < y ? -1 : x > y;
}

/* Of a quarter of them, from @from on. */
static guint median_rss(const GArray *samples, guint from)
{
    guint n = samples->len / 4;
    g_autofree guint *values = g_new(guint, n);

    for (guint i = 0; i < n; i++) {
        values[i] = g_array_index(samples, struct sample, from + i).rss_kb;
    }
    qsort(values, n, sizeof(*values), compare);
    return values[n / 2];
}

/* The most that there was in one half of the quiet moments. */
static struct sample most_of(const GArray *quiet, guint from, guint to)
{
    struct sample most = {0};

    for (guint i = from; i < to; i++) {
        const struct sample *s = &g_array_index(quiet, struct sample, i);
        most.fds = MAX(most.fds, s->fds);
        most.threads = MAX(most.threads, s->threads);
    }
    return most;
}

static const struct life *longest_life(const struct soak_watch *watch)
{
    const struct life *longest = watch->lives->pdata[0];

    for (guint i = 1; i < watch->lives->len; i++) {
        const struct life *life = watch->lives->pdata[i];
        longest = life->samples->len > longest->samples->len ? life : longest;
    }
    return longest;
}

static void judge_memory(struct soak_watch *watch, const GArray *samples)
{
    if (samples->len < SAMPLES_MIN) {
        g_print("hvtimerd's memory: it did not live long enough to tell\n");
        return;
    }
    guint first = median_rss(samples, 0);
    guint last = median_rss(samples, samples->len - samples->len / 4);
    double growth = first > 0 ? 100.0 * ((double)last - first) / first : 0;

    g_print("hvtimerd's memory: %u KiB in the first quarter, %u KiB in the last (%+.1f %%)\n",
            first, last, growth);
    if (growth > GROWTH_MAX || first == 0) {
        soak_fail(watch->soak, "hvtimerd's memory has grown by %.1f %% (at most %.1f)", growth,
                  GROWTH_MAX);
    }
}

static void judge_quiet(struct soak_watch *watch, const GArray *quiet)
{
    if (quiet->len < 2) {
        g_print("hvtimerd's descriptors and threads: not enough quiet moments to tell\n");
        return;
    }
    struct sample first = most_of(quiet, 0, quiet->len / 2);
    struct sample last = most_of(quiet, quiet->len / 2, quiet->len);

    g_print("hvtimerd's descriptors: %u in the first half, %u in the second; threads: %u, %u\n",
            first.fds, last.fds, first.threads, last.threads);
    if (last.fds > first.fds || last.threads > first.threads) {
        soak_fail(watch->soak, "hvtimerd's descriptors or threads have grown");
    }
}

void soak_watch_judge(struct soak_watch *watch)
{
    g_mutex_lock(&watch->lock);
    const struct life *life = longest_life(watch);
    judge_memory(watch, life->samples);
    judge_quiet(watch, life->quiet);
    g_mutex_unlock(&watch->lock);
}
