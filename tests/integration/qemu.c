/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A QEMU for tests: see qemu.h. */
#include "tests/integration/qemu.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define QEMU            "qemu-system-x86_64"
#define MEMORY          (16u * 1024 * 1024)
#define BOOT_TIMEOUT_US (60 * G_USEC_PER_SEC)

const char *qemu_problem(void)
{
    g_autofree char *program = g_find_program_in_path(QEMU);
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

    if (kvm >= 0) {
        close(kvm);
    }
    return kvm < 0           ? "/dev/kvm can't be opened"
           : program == NULL ? QEMU " is not installed"
           : getuid() != 0   ? "only root may attach to other processes"
                             : NULL;
}

static char *file_in(const struct qemu *qemu, const char *name)
{
    return g_build_filename(qemu->directory, name, NULL);
}

static void die_with_parent(G_GNUC_UNUSED gpointer data)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static GPtrArray *command_line(const struct qemu *qemu, const char *boot_sector,
                               const char *const *arguments)
{
    GPtrArray *line = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *ram = file_in(qemu, "ram");
    const char *const fixed[] = {QEMU,         "-name",    "hvtimer-test,debug-threads=on",
                                 "-accel",     "kvm",      "-cpu",
                                 "qemu64",     "-m",       "16",
                                 "-display",   "none",     "-nodefaults",
                                 "-no-reboot", "-machine", "pc,memory-backend=ram"};

    for (size_t i = 0; i < G_N_ELEMENTS(fixed); i++) {
        g_ptr_array_add(line, g_strdup(fixed[i]));
    }
    g_ptr_array_add(line, g_strdup("-object"));
    g_ptr_array_add(
        line, g_strdup_printf("memory-backend-file,id=ram,size=16M,mem-path=%s,share=on", ram));
    g_ptr_array_add(line, g_strdup("-qmp"));
    g_ptr_array_add(line, g_strdup_printf("unix:%s,server=on,wait=off", qemu->socket));
    g_ptr_array_add(line, g_strdup("-drive"));
    g_ptr_array_add(line, g_strdup_printf("file=%s,format=raw,if=ide,snapshot=on", boot_sector));
    for (size_t i = 0; arguments != NULL && arguments[i] != NULL; i++) {
        g_ptr_array_add(line, g_strdup(arguments[i]));
    }
    g_ptr_array_add(line, NULL);
    return line;
}

/* QEMU makes the file with its full size at once. */
static void map_memory(struct qemu *qemu, gint64 until)
{
    g_autofree char *ram = file_in(qemu, "ram");
    GStatBuf info;

    while (g_stat(ram, &info) != 0 || info.st_size < (off_t)MEMORY) {
        g_assert_true(qemu_is_alive(qemu));
        g_assert_cmpint(g_get_monotonic_time(), <, until);
        g_usleep(1000);
    }
    int fd = open(ram, O_RDWR | O_CLOEXEC);
    g_assert_cmpint(fd, >=, 0);
    qemu->memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    g_assert_true(qemu->memory != MAP_FAILED);
    qemu->counts = (void *)((char *)qemu->memory + QEMU_GUEST_COUNTS);
}

static void wait_until_ready(struct qemu *qemu, gint64 until)
{
    while (qemu->counts->ready != QEMU_GUEST_READY_MAGIC) {
        g_assert_true(qemu_is_alive(qemu));
        g_assert_cmpint(g_get_monotonic_time(), <, until);
        g_usleep(10000);
    }
}

struct qemu *qemu_start(const char *boot_sector, const char *const *arguments)
{
    struct qemu *qemu = g_new0(struct qemu, 1);
    gint64 until = g_get_monotonic_time() + BOOT_TIMEOUT_US;
    const char *base = g_file_test("/dev/shm", G_FILE_TEST_IS_DIR) ? "/dev/shm" : g_get_tmp_dir();
    g_autoptr(GError) error = NULL;
    GPid pid;

    qemu->directory = g_build_filename(base, "hvtimer-test-XXXXXX", NULL);
    g_assert_nonnull(g_mkdtemp(qemu->directory));
    qemu->socket = file_in(qemu, "qmp");
    g_autoptr(GPtrArray) line = command_line(qemu, boot_sector, arguments);
    g_spawn_async(NULL, (char **)line->pdata, NULL,
                  G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_STDERR_TO_DEV_NULL,
                  die_with_parent, NULL, &pid, &error);
    g_assert_no_error(error);
    qemu->pid = pid;
    map_memory(qemu, until);
    wait_until_ready(qemu, until);
    return qemu;
}

/* Its monitor answers each line with one, and greets with one. */
static void say(int monitor, const char *line)
{
    char answer[4096];

    g_assert_cmpint(recv(monitor, answer, sizeof(answer), 0), >, 0);
    g_assert_cmpint(send(monitor, line, strlen(line), MSG_NOSIGNAL), ==, (ssize_t)strlen(line));
}

void qemu_reset(struct qemu *qemu)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int monitor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_strlcpy(address.sun_path, qemu->socket, sizeof(address.sun_path));
    g_assert_cmpint(connect(monitor, (struct sockaddr *)&address, sizeof(address)), ==, 0);
    say(monitor, "{\"execute\": \"qmp_capabilities\"}\n");
    qemu->counts->ready = 0;
    say(monitor, "{\"execute\": \"system_reset\"}\n");
    wait_until_ready(qemu, g_get_monotonic_time() + BOOT_TIMEOUT_US);
    close(monitor);
}

static void remove_file(const struct qemu *qemu, const char *name)
{
    g_autofree char *path = file_in(qemu, name);

    g_unlink(path);
}

void qemu_free(struct qemu *qemu)
{
    if (qemu->pid > 0) {
        kill(qemu->pid, SIGKILL);
        waitpid(qemu->pid, NULL, 0);
    }
    munmap(qemu->memory, MEMORY);
    remove_file(qemu, "ram");
    remove_file(qemu, "qmp");
    g_rmdir(qemu->directory);
    g_free(qemu->directory);
    g_free(qemu->socket);
    g_free(qemu);
}

gboolean qemu_is_alive(struct qemu *qemu)
{
    if (qemu->pid > 0 && waitpid(qemu->pid, NULL, WNOHANG) != 0) {
        qemu->pid = 0;
    }
    return qemu->pid > 0;
}

void qemu_stop(struct qemu *qemu)
{
    kill(qemu->pid, SIGSTOP);
}

void qemu_continue(struct qemu *qemu)
{
    kill(qemu->pid, SIGCONT);
}

static char *proc_file(const struct qemu *qemu, const char *name)
{
    return g_strdup_printf("/proc/%d/%s", (int)qemu->pid, name);
}

static unsigned count_threads(const struct qemu *qemu)
{
    g_autofree char *path = proc_file(qemu, "task");
    g_autoptr(GDir) directory = g_dir_open(path, 0, NULL);
    const char *tid;
    unsigned count = 0;

    while ((tid = g_dir_read_name(directory)) != NULL) {
        g_autofree char *comm = g_build_filename(path, tid, "comm", NULL);
        g_autofree char *name = NULL;
        count += g_file_get_contents(comm, &name, NULL, NULL) && !g_str_equal(name, "worker\n");
    }
    return count;
}

struct qemu_footprint qemu_footprint(const struct qemu *qemu)
{
    struct qemu_footprint footprint = {.threads = count_threads(qemu)};
    g_autofree char *fds = proc_file(qemu, "fd");
    g_autofree char *maps = proc_file(qemu, "maps");
    g_autofree char *mappings = NULL;
    g_autoptr(GDir) directory = g_dir_open(fds, 0, NULL);

    while (g_dir_read_name(directory) != NULL) {
        footprint.fds++;
    }
    g_assert_true(g_file_get_contents(maps, &mappings, NULL, NULL));
    for (const char *c = mappings; *c != '\0'; c++) {
        footprint.mappings += *c == '\n';
    }
    return footprint;
}

unsigned qemu_rtc_ticks_within(struct qemu *qemu, unsigned ms)
{
    uint32_t before = qemu->counts->rtc;

    g_usleep(ms * 1000);
    return qemu->counts->rtc - before;
}

gboolean qemu_rtc_goes_on(struct qemu *qemu)
{
    uint32_t before = qemu->counts->rtc;
    gint64 until = g_get_monotonic_time() + 5 * G_USEC_PER_SEC;

    while (qemu->counts->rtc - before < 5) {
        if (g_get_monotonic_time() > until) {
            return FALSE;
        }
        g_usleep(1000);
    }
    return TRUE;
}
