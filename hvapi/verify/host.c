/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading what the kernel and the CPU tell of a host: see host.h. */
#include "hvapi/verify/host.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* More than the first CPU of /proc/cpuinfo takes; a parameter is a page at most. */
#define READ_MAX 16384

#define TEXT_MAX (1024 * 1024)

/* As much of a file's nonsense as an error shows. */
#define SHOWN_MAX 24

/* Linux's driver: a register's number is its offset, whatever lies between (msr(4)). */
#define MSR_FILE "/dev/cpu/0/msr"

/* Intel's Software Developer's Manual, vol. 2A, CPUID: leaves 15H and 16H. */
#define CPUID_TSC       0x15
#define CPUID_FREQUENCY 0x16

#define HZ_PER_MHZ 1000000

static gboolean cpuid(uint32_t leaf, uint32_t r[4])
{
    return __get_cpuid_count(leaf, 0, &r[0], &r[1], &r[2], &r[3]) != 0;
}

static uint64_t timer_resolution(void)
{
    struct timespec resolution = {0};

    clock_getres(CLOCK_MONOTONIC, &resolution);
    return (uint64_t)resolution.tv_sec * 1000000000 + (uint64_t)resolution.tv_nsec;
}

static int open_tracing(void)
{
    int fs = (int)syscall(SYS_fsopen, "tracefs", FSOPEN_CLOEXEC);
    int fd = -1, code;

    if (fs < 0) {
        return -1;
    }
    if (syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0) {
        fd = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC,
                          MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
                              MOUNT_ATTR_NOEXEC);
    }
    code = errno;
    close(fs);
    errno = code;
    return fd;
}

const struct host this_host = {
    .root = "",
    .msr_bytes = 1,
    .cpuid = cpuid,
    .timer_resolution = timer_resolution,
    .open_tracing = open_tracing,
};

static void set_error(GError **error, int code, const char *what, const char *path)
{
    g_set_error(error, G_FILE_ERROR, (gint)g_file_error_from_errno(code), "can't %s %s: %s", what,
                path, g_strerror(code));
}

int host_open(const struct host *host, const char *path, int flags)
{
    g_autofree char *full = g_strconcat(host->root, path, NULL);

    return open(full, flags | O_CLOEXEC | O_NONBLOCK);
}

/* Up to @size bytes. Returns: how many, or -1, and errno. */
static gssize read_all(int fd, char *buffer, gsize size)
{
    gsize done = 0;

    while (done < size) {
        gssize got = read(fd, buffer + done, size - done);

        if (got < 0 && errno != EINTR) {
            return -1;
        }
        if (got == 0) {
            break;
        }
        done += got > 0 ? (gsize)got : 0;
    }
    return (gssize)done;
}

/* The first @most bytes of a file, as text. (transfer full) */
static char *read_text(const struct host *host, const char *path, gsize most, GError **error)
{
    g_autofree char *text = g_malloc(most + 1);
    int fd = host_open(host, path, O_RDONLY);
    gssize length = fd >= 0 ? read_all(fd, text, most) : -1;
    int code = errno;

    if (fd >= 0) {
        close(fd);
    }
    if (length < 0) {
        set_error(error, code, "read", path);
        return NULL;
    }
    text[length] = '\0';
    return g_steal_pointer(&text);
}

char *host_read_text(const struct host *host, const char *path, GError **error)
{
    return read_text(host, path, TEXT_MAX, error);
}

gboolean host_has_file(const struct host *host, const char *path)
{
    g_autofree char *full = g_strconcat(host->root, path, NULL);

    return g_file_test(full, G_FILE_TEST_EXISTS);
}

static void set_nonsense(GError **error, const char *path, const char *text, const char *expected)
{
    g_autofree char *start = g_strndup(text, SHOWN_MAX);
    g_autofree char *shown = g_strescape(start, NULL);

    g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL, "%s holds '%s%s', which is not %s", path,
                shown, strlen(text) > SHOWN_MAX ? "..." : "", expected);
}

gboolean host_read_integer(const struct host *host, const char *path, gint64 *ret_number,
                           GError **error)
{
    g_autofree char *text = read_text(host, path, READ_MAX, error);

    if (text == NULL) {
        return FALSE;
    }
    if (!g_ascii_string_to_signed(g_strstrip(text), 10, G_MININT64, G_MAXINT64, ret_number, NULL)) {
        set_nonsense(error, path, text, "a whole number");
        return FALSE;
    }
    return TRUE;
}

/* ---- the CPU ---- */

void host_cpu_clear(struct host_cpu *cpu)
{
    g_free(cpu->vendor);
    g_free(cpu->flags);
    g_free(cpu->vmx_flags);
    *cpu = (struct host_cpu){0};
}

/* What stands behind @key in the first paragraph of @lines; NULL: it is not there. */
static const char *find_value(char *const *lines, const char *key)
{
    for (; *lines != NULL && **lines != '\0'; lines++) {
        size_t length = strlen(key);

        if (strncmp(*lines, key, length) == 0) {
            const char *behind = *lines + length + strspn(*lines + length, " \t");

            if (*behind == ':') {
                return behind + 1 + strspn(behind + 1, " \t");
            }
        }
    }
    return NULL;
}

/* A part of the CPU's signature: 12 bits at most (a family). */
static gboolean find_number(char *const *lines, const char *key, unsigned *ret_number)
{
    const char *text = find_value(lines, key);
    guint64 number;

    if (text == NULL || !g_ascii_string_to_unsigned(text, 10, 0, 0xFFF, &number, NULL)) {
        return FALSE;
    }
    *ret_number = (unsigned)number;
    return TRUE;
}

gboolean host_read_cpu(const struct host *host, struct host_cpu *ret_cpu, GError **error)
{
    g_autofree char *text = read_text(host, "/proc/cpuinfo", READ_MAX, error);
    g_auto(GStrv) lines = text != NULL ? g_strsplit(text, "\n", -1) : NULL;
    struct host_cpu cpu = {0};

    if (lines == NULL) {
        return FALSE;
    }
    if (find_value(lines, "vendor_id") == NULL || find_value(lines, "flags") == NULL ||
        !find_number(lines, "cpu family", &cpu.family) ||
        !find_number(lines, "model", &cpu.model) ||
        !find_number(lines, "stepping", &cpu.stepping)) {
        g_set_error_literal(error, G_FILE_ERROR, G_FILE_ERROR_INVAL,
                            "/proc/cpuinfo does not say which CPU this is");
        return FALSE;
    }
    cpu.vendor = g_strdup(find_value(lines, "vendor_id"));
    cpu.flags = g_strdup(find_value(lines, "flags"));
    cpu.vmx_flags = g_strdup(find_value(lines, "vmx flags"));
    *ret_cpu = cpu;
    return TRUE;
}

gboolean host_list_has_cpu(const char *list, int cpu)
{
    g_auto(GStrv) parts = g_strsplit(list != NULL ? list : "", ",", -1);

    for (char **part = parts; *part != NULL; part++) {
        char *end;
        gint64 first = g_ascii_strtoll(*part, &end, 10);
        gint64 last = *end == '-' ? g_ascii_strtoll(end + 1, NULL, 10) : first;

        if (end != *part && cpu >= first && cpu <= last) {
            return TRUE;
        }
    }
    return FALSE;
}

gboolean host_has_flag(const char *flags, const char *flag)
{
    g_auto(GStrv) words = g_strsplit(flags != NULL ? flags : "", " ", -1);

    return g_strv_contains((const char *const *)words, flag);
}

uint64_t host_tsc_hz(const struct host *host)
{
    uint32_t ratio[4], rates[4]; /* eax, ebx, ecx, edx */

    /* TSC : crystal = ebx : eax. */
    if (!host->cpuid(CPUID_TSC, ratio) || ratio[0] == 0 || ratio[1] == 0) {
        return 0;
    }
    if (ratio[2] != 0) {
        return (uint64_t)ratio[2] * ratio[1] / ratio[0];
    }
    /* Where the crystal's rate is not told, the base rate is the TSC's, to the MHz: so does Linux
     * (native_calibrate_tsc()). */
    return host->cpuid(CPUID_FREQUENCY, rates) ? (uint64_t)(rates[0] & 0xFFFF) * HZ_PER_MHZ : 0;
}

gboolean host_read_msr(const struct host *host, uint32_t msr, uint64_t *ret_value, GError **error)
{
    uint64_t value = 0;
    int fd = host_open(host, MSR_FILE, O_RDONLY);
    gssize got;
    int code = errno;

    if (fd < 0) {
        set_error(error, code, "open", MSR_FILE);
        return FALSE;
    }
    got = pread(fd, &value, sizeof(value), (off_t)msr * (off_t)host->msr_bytes);
    code = got < 0 ? errno : EIO;
    close(fd);
    if (got != sizeof(value)) {
        g_set_error(error, G_FILE_ERROR, (gint)g_file_error_from_errno(code),
                    "can't read MSR 0x%x from " MSR_FILE ": %s", msr, g_strerror(code));
        return FALSE;
    }
    *ret_value = value;
    return TRUE;
}

/* ---- modules ---- */

gboolean host_has_module(const struct host *host, const char *module)
{
    g_autofree char *path = g_strconcat(host->root, "/sys/module/", module, NULL);

    return g_file_test(path, G_FILE_TEST_IS_DIR);
}

/* Neither Intel's nor AMD's: the first by name. */
static char *find_other_kvm_module(const struct host *host)
{
    g_autofree char *path = g_strconcat(host->root, "/sys/module", NULL);
    g_autoptr(GDir) modules = g_dir_open(path, 0, NULL);
    const char *name, *found = NULL;

    while (modules != NULL && (name = g_dir_read_name(modules)) != NULL) {
        if (g_str_has_prefix(name, "kvm_") && !g_str_equal(name, "kvm_intel") &&
            !g_str_equal(name, "kvm_amd") && (found == NULL || strcmp(name, found) < 0)) {
            found = g_intern_string(name);
        }
    }
    return g_strdup(found);
}

char *host_find_kvm_module(const struct host *host, const struct host_cpu *cpu)
{
    gboolean intel = host_has_module(host, "kvm_intel"), amd = host_has_module(host, "kvm_amd");
    char *other;

    if (intel && (cpu == NULL || host_has_flag(cpu->flags, "vmx"))) {
        return g_strdup("kvm_intel");
    }
    if (amd && (cpu == NULL || host_has_flag(cpu->flags, "svm"))) {
        return g_strdup("kvm_amd");
    }
    other = find_other_kvm_module(host);
    if (other != NULL) {
        return other;
    }
    return intel || amd ? g_strdup(intel ? "kvm_intel" : "kvm_amd") : NULL;
}

static char *parameter_path(const char *module, const char *parameter)
{
    return g_strdup_printf("/sys/module/%s/parameters/%s", module, parameter);
}

char *host_read_parameter(const struct host *host, const char *module, const char *parameter,
                          GError **error)
{
    g_autofree char *path = parameter_path(module, parameter);
    char *text = read_text(host, path, READ_MAX, error);

    return text != NULL ? g_strstrip(text) : NULL;
}

gboolean host_read_switch(const struct host *host, const char *module, const char *parameter,
                          gboolean *ret_on, GError **error)
{
    g_autofree char *text = host_read_parameter(host, module, parameter, error);
    g_autofree char *path = parameter_path(module, parameter);

    if (text == NULL) {
        return FALSE;
    }
    /* A bool is Y or N; an int that takes only these two (bint) is 1 or 0: kernel/params.c. */
    *ret_on = g_str_equal(text, "Y") || g_str_equal(text, "1");
    if (!*ret_on && !g_str_equal(text, "N") && !g_str_equal(text, "0")) {
        set_nonsense(error, path, text, "Y or N");
        return FALSE;
    }
    return TRUE;
}

gboolean host_read_number(const struct host *host, const char *module, const char *parameter,
                          guint64 *ret_number, GError **error)
{
    g_autofree char *text = host_read_parameter(host, module, parameter, error);
    g_autofree char *path = parameter_path(module, parameter);

    if (text == NULL) {
        return FALSE;
    }
    if (!g_ascii_string_to_unsigned(text, 10, 0, G_MAXUINT64, ret_number, NULL)) {
        set_nonsense(error, path, text, "a number");
        return FALSE;
    }
    return TRUE;
}
