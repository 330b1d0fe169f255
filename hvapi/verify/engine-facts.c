/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A hvtimerd that runs: see engine-facts.h. The files are those of proc(5). */
#include "hvapi/verify/engine-facts.h"

#include <string.h>

/* As engine.c calls it. */
#define THREAD "hvt-engine"

/* Fields of a stat file, counted from the one behind the name, which is the third. */
#define STAT_PRIORITY (40 - 3)
#define STAT_POLICY   (41 - 3)

/* What stands behind "@key:" in a status file; NULL: it is not there. (transfer full) */
static char *find_status(const char *status, const char *key)
{
    g_autofree char *start = g_strdup_printf("\n%s:", key);
    const char *found = status != NULL ? strstr(status, start) : NULL;

    if (found == NULL) {
        return NULL;
    }
    found += strlen(start);
    return g_strstrip(g_strndup(found, strcspn(found, "\n")));
}

static void read_process(struct engine_facts *facts, const struct host *host, guint32 pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%u/status", pid);
    g_autofree char *status = host_read_text(host, path, NULL);
    g_autofree char *uid = find_status(status, "Uid");
    g_autofree char *locked = find_status(status, "VmLck");

    if (uid != NULL) {
        facts->uid_known = TRUE;
        facts->uid = (guint32)g_ascii_strtoull(uid, NULL, 10);
    }
    if (locked != NULL) {
        facts->locked_known = TRUE;
        facts->locked_kb = g_ascii_strtoull(locked, NULL, 10);
    }
}

/* Only in cgroup v1 does a group have a budget of its own; the file is there with
 * CONFIG_RT_GROUP_SCHED only (Documentation/scheduler/sched-rt-group.rst). */
static void read_rt_group(struct engine_facts *facts, const struct host *host, guint32 pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%u/cgroup", pid);
    g_autofree char *text = host_read_text(host, path, NULL);
    g_auto(GStrv) lines = g_strsplit(text != NULL ? text : "", "\n", -1);

    for (char **line = lines; *line != NULL; line++) {
        g_auto(GStrv) fields = g_strsplit(*line, ":", 3); /* number, controllers, group */
        g_auto(GStrv) names = g_strv_length(fields) == 3 ? g_strsplit(fields[1], ",", -1) : NULL;
        gint64 us;

        if (names == NULL || !g_strv_contains((const char *const *)names, "cpu")) {
            continue;
        }
        g_autofree char *group = g_strconcat("/sys/fs/cgroup/cpu", fields[2], NULL);
        g_autofree char *budget = g_build_filename(group, "cpu.rt_runtime_us", NULL);
        if (host_read_integer(host, budget, &us, NULL) && us == 0) {
            g_free(facts->rt_group);
            facts->rt_group = g_steal_pointer(&group);
        }
    }
}

/* FALSE: it is another thread, or has ended. */
static gboolean read_thread(struct engine_facts *facts, const struct host *host, const char *path)
{
    g_autofree char *comm_path = g_build_filename(path, "comm", NULL);
    g_autofree char *stat_path = g_build_filename(path, "stat", NULL);
    g_autofree char *status_path = g_build_filename(path, "status", NULL);
    g_autofree char *comm = host_read_text(host, comm_path, NULL);
    g_autofree char *stat = NULL, *status = NULL;

    if (comm == NULL || !g_str_equal(g_strstrip(comm), THREAD)) {
        return FALSE;
    }
    stat = host_read_text(host, stat_path, NULL);
    status = host_read_text(host, status_path, NULL);
    const char *name_end = stat != NULL ? strrchr(stat, ')') : NULL;
    g_auto(GStrv) fields = g_strsplit(name_end != NULL ? name_end + 1 : "", " ", -1);
    /* The first is empty: a blank follows the name. */
    if (g_strv_length(fields) <= 1 + STAT_POLICY) {
        return FALSE;
    }
    facts->priority = (int)g_ascii_strtoll(fields[1 + STAT_PRIORITY], NULL, 10);
    facts->policy = (int)g_ascii_strtoll(fields[1 + STAT_POLICY], NULL, 10);
    facts->cpus = find_status(status, "Cpus_allowed_list");
    return TRUE;
}

void engine_facts_read(struct engine_facts *ret_facts, const struct host *host, guint32 pid)
{
    g_autofree char *tasks = g_strdup_printf("/proc/%u/task", pid);
    g_autofree char *full = g_strconcat(host->root, tasks, NULL);
    g_autoptr(GDir) directory = NULL;
    const char *name;

    *ret_facts = (struct engine_facts){0};
    if (pid == 0) {
        return;
    }
    read_process(ret_facts, host, pid);
    read_rt_group(ret_facts, host, pid);
    directory = g_dir_open(full, 0, NULL);
    while (directory != NULL && !ret_facts->thread_known &&
           (name = g_dir_read_name(directory)) != NULL) {
        g_autofree char *path = g_build_filename(tasks, name, NULL);

        ret_facts->thread_known = read_thread(ret_facts, host, path);
    }
}

void engine_facts_clear(struct engine_facts *facts)
{
    g_free(facts->rt_group);
    g_free(facts->cpus);
    *facts = (struct engine_facts){0};
}
