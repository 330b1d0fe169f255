/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The VMM that calls libhvapi, in a process of its own, as it has to be stopped as QEMU is. The
 * guest's memory is shared with the benchmark, which reads its counts while neither of them runs.
 */
#include "tests/bench/lost.h"

#include "tests/guest/vmm-private.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#define MEMORY_FD  3 /* of the process */
#define PATIENCE_S 20

struct lost_vmm {
    GSubprocess *process;
    void *memory;
};

/* ---- The process ---- */

/* KVM goes by the address, whatever is mapped there. */
static gboolean share_memory(Vmm *vmm, GError **error)
{
    if (pwrite(MEMORY_FD, vmm->memory, GUEST_MEMORY_SIZE, 0) == GUEST_MEMORY_SIZE &&
        mmap(vmm->memory, GUEST_MEMORY_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
             MEMORY_FD, 0) != MAP_FAILED) {
        return TRUE;
    }
    vmm_set_error_from_errno(error, "sharing the guest's memory");
    return FALSE;
}

/* Says so when it is a partition; ends with its input. */
int lost_vmm_main(const char *name)
{
    g_autoptr(GError) error = NULL;
    uint64_t id;
    char byte;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    Vmm *vmm = vmm_new(1, &error);
    if (vmm == NULL || !share_memory(vmm, &error) || !vmm_add_tick(vmm, TRUE, &error) ||
        !vmm_start(vmm, &error) || !vmm_wait_ready(vmm, PATIENCE_S * G_USEC_PER_SEC, &error) ||
        !vmm_hand_over(vmm, name, NULL, &id, &error)) {
        g_print("%s\n", error->message);
        return EXIT_FAILURE;
    }
    g_print("\n");
    while (read(STDIN_FILENO, &byte, 1) < 0 && errno == EINTR) {
    }
    vmm_take_back(vmm);
    vmm_free(vmm);
    return EXIT_SUCCESS;
}

/* ---- Whoever starts it ---- */

static void die_with_parent(G_GNUC_UNUSED gpointer user_data)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static int make_memory(struct lost_vmm *vmm)
{
    int fd = memfd_create("guest", MFD_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, GUEST_MEMORY_SIZE), ==, 0);
    vmm->memory = mmap(NULL, GUEST_MEMORY_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    g_assert_true(vmm->memory != MAP_FAILED);
    return fd;
}

struct lost_vmm *lost_vmm_up(const char *name, GError **error)
{
    g_autoptr(GSubprocessLauncher) launcher =
        g_subprocess_launcher_new(G_SUBPROCESS_FLAGS_STDIN_PIPE | G_SUBPROCESS_FLAGS_STDOUT_PIPE);
    struct lost_vmm *vmm = g_new0(struct lost_vmm, 1);
    const char *const argv[] = {"/proc/self/exe", LOST_VMM_ARGUMENT, name, NULL};

    g_subprocess_launcher_take_fd(launcher, make_memory(vmm), MEMORY_FD);
    g_subprocess_launcher_set_child_setup(launcher, die_with_parent, NULL, NULL);
    vmm->process = g_subprocess_launcher_spawnv(launcher, argv, error);
    if (vmm->process != NULL) {
        g_autoptr(GDataInputStream) output =
            g_data_input_stream_new(g_subprocess_get_stdout_pipe(vmm->process));
        g_autofree char *line = g_data_input_stream_read_line(output, NULL, NULL, NULL);
        if (line != NULL && *line == '\0') {
            return vmm;
        }
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_FAILED, "%s",
                    line != NULL ? line : "the VMM has ended");
    }
    lost_vmm_down(vmm);
    return NULL;
}

void lost_vmm_down(struct lost_vmm *vmm)
{
    if (vmm->process != NULL) {
        g_output_stream_close(g_subprocess_get_stdin_pipe(vmm->process), NULL, NULL);
        g_subprocess_wait(vmm->process, NULL, NULL);
        g_object_unref(vmm->process);
    }
    munmap(vmm->memory, GUEST_MEMORY_SIZE);
    g_free(vmm);
}

pid_t lost_vmm_pid(const struct lost_vmm *vmm)
{
    return (pid_t)atoi(g_subprocess_get_identifier(vmm->process));
}

volatile uint32_t *lost_vmm_count(const struct lost_vmm *vmm, guint vector)
{
    struct guest_page *page = (void *)((guint8 *)vmm->memory + GUEST_PAGES);

    return &page->counts[vector];
}
