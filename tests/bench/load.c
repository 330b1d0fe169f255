/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Busy processes: see load.h. */
#include "tests/bench/load.h"

#include <glib.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

struct load {
    GArray *pids;
};

static void spin(pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (getppid() == parent) {
    }
    _exit(0);
}

struct load *load_start(void)
{
    struct load *load = g_new(struct load, 1);
    pid_t self = getpid();

    load->pids = g_array_new(FALSE, FALSE, sizeof(pid_t));
    for (guint i = 0; i < g_get_num_processors(); i++) {
        pid_t pid = fork();
        if (pid == 0) {
            spin(self);
        }
        g_assert_cmpint(pid, >, 0);
        g_array_append_val(load->pids, pid);
    }
    return load;
}

void load_stop(struct load *load)
{
    if (load == NULL) {
        return;
    }
    for (guint i = 0; i < load->pids->len; i++) {
        pid_t pid = g_array_index(load->pids, pid_t, i);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    g_array_unref(load->pids);
    g_free(load);
}
