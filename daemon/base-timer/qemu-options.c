/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a QEMU's command line says of lost ticks: see qemu-options.h. What each option stands for,
 * and which of several wins, was tried with QEMU 7.2. Two are of older ones (docs/about/
 * removed-features of QEMU): -no-kvm-pit-reinjection until 3.0, -rtc-td-hack until 3.1.
 */
#include "daemon/base-timer/qemu-options.h"

#include "common/status.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* What execve() takes at most for arguments and environment: 3/4 of _STK_LIM (fs/exec.c). */
#define CMDLINE_MAX (6u * 1024 * 1024)

/* ---- one option ---- */

/* The value of @name in "name=value,…", where a comma within a value is written twice. The last one
 * of several; NULL: there is none. (transfer full) */
static char *find_in_list(const char *list, const char *name)
{
    gsize name_length = strlen(name);
    g_autofree char *found = NULL;

    while (*list != '\0') {
        g_autoptr(GString) part = g_string_new(NULL);

        for (; *list != '\0' && (*list != ',' || list[1] == ','); list++) {
            g_string_append_c(part, *list);
            list += *list == ',';
        }
        list += *list == ',';
        if (strncmp(part->str, name, name_length) == 0 && part->str[name_length] == '=') {
            g_free(found);
            found = g_strdup(part->str + name_length + 1);
        }
    }
    return g_steal_pointer(&found);
}

/* What -global @text gives one of @drivers for its lost ticks: "DRIVER.PROPERTY=VALUE", or
 * "driver=DRIVER,property=PROPERTY,value=VALUE" in any order. NULL: nothing. (transfer full) */
static char *find_policy(const char *text, const char *const *drivers)
{
    static const char property[] = "lost_tick_policy";
    const char *dot = strchr(text, '.'), *equals = strchr(text, '=');

    if (dot != NULL && equals != NULL && dot < equals) {
        g_autofree char *driver = g_strndup(text, (gsize)(dot - text));
        g_autofree char *name = g_strndup(dot + 1, (gsize)(equals - dot - 1));

        return g_strv_contains(drivers, driver) && g_str_equal(name, property)
                   ? g_strdup(equals + 1)
                   : NULL;
    }
    g_autofree char *driver = find_in_list(text, "driver");
    g_autofree char *name = find_in_list(text, "property");

    return driver != NULL && g_strv_contains(drivers, driver) && g_strcmp0(name, property) == 0
               ? find_in_list(text, "value")
               : NULL;
}

/* ---- all of them ---- */

/* What concerns the timer, as far as it was read. The last of a kind holds. */
struct said {
    char *global;            /* the policy that -global gives */
    char *driftfix;          /* of -rtc */
    gboolean td_hack;        /* -rtc-td-hack */
    gboolean no_reinjection; /* -no-kvm-pit-reinjection */
};

/* "-name" and "--name" are the same. */
static gboolean is_option(const char *argument, const char *name)
{
    return argument[0] == '-' && g_str_equal(argument + 1 + (argument[1] == '-'), name);
}

static void replace(char **old, char *new)
{
    if (new != NULL) {
        g_free(*old);
        *old = new;
    }
}

/* An option's value is the next argument. */
static void read_option(struct said *said, const char *option, const char *value,
                        const char *const *drivers)
{
    if (is_option(option, "global")) {
        replace(&said->global, find_policy(value, drivers));
    } else if (is_option(option, "rtc")) {
        replace(&said->driftfix, find_in_list(value, "driftfix"));
    } else if (is_option(option, "rtc-td-hack")) {
        said->td_hack = TRUE;
    } else if (is_option(option, "no-kvm-pit-reinjection")) {
        said->no_reinjection = TRUE;
    }
}

static void read_all(struct said *said, const char *cmdline, gsize length,
                     const char *const *drivers)
{
    g_autofree char *copy = g_malloc0(length + 1);
    const char *end = copy + length;

    memcpy(copy, cmdline, length);
    /* The first is the program's name. */
    for (const char *c = copy + strlen(copy) + 1; c < end; c += strlen(c) + 1) {
        const char *next = c + strlen(c) + 1;

        read_option(said, c, next < end ? next : "", drivers);
    }
}

/* -global wins over the special options, wherever it stands. */
gboolean qemu_options_make_up(const char *cmdline, gsize length, enum base_timer timer)
{
    /* Globals of a device's parent are its own too. */
    static const char *const rtc_drivers[] = {"mc146818rtc", NULL};
    static const char *const pit_drivers[] = {"kvm-pit", "pit-common", NULL};
    struct said said = {0};
    gboolean result = FALSE;

    if (timer == BASE_TIMER_NONE || length == 0) {
        return FALSE;
    }
    read_all(&said, cmdline, length, timer == BASE_TIMER_RTC ? rtc_drivers : pit_drivers);
    if (said.global != NULL) {
        result = g_str_equal(said.global, timer == BASE_TIMER_RTC ? "slew" : "delay");
    } else if (timer == BASE_TIMER_RTC) {
        result = said.td_hack || g_strcmp0(said.driftfix, "slew") == 0;
    } else {
        result = !said.no_reinjection;
    }
    g_free(said.global);
    g_free(said.driftfix);
    return result;
}

/* ---- a process ---- */

/* Up to CMDLINE_MAX; the process can't be trusted to have no more. FALSE with errno. */
static gboolean read_cmdline(pid_t pid, GByteArray *cmdline)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/cmdline", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    guint8 buffer[4096];
    ssize_t got = -1;

    while (fd >= 0 && cmdline->len < CMDLINE_MAX && (got = read(fd, buffer, sizeof(buffer))) > 0) {
        g_byte_array_append(cmdline, buffer, (guint)got);
    }
    int saved = errno;
    if (fd >= 0) {
        close(fd);
    }
    errno = saved;
    return got >= 0;
}

/* As its own program calls itself: qemu-system-x86_64, qemu-kvm, kvm. */
static gboolean is_qemu(const GByteArray *cmdline)
{
    g_autofree char *program = g_strndup((const char *)cmdline->data, cmdline->len);
    g_autofree char *name = g_path_get_basename(program);

    return g_str_has_prefix(name, "qemu") || g_str_equal(name, "kvm");
}

gboolean qemu_makes_up(pid_t pid, enum base_timer timer, gboolean *ret_makes_up, GError **error)
{
    g_autoptr(GByteArray) cmdline = g_byte_array_new();

    if (!read_cmdline(pid, cmdline) && errno != ENOENT && errno != ESRCH) {
        g_set_error(error, HV_STATUS_ERROR, HV_STATUS_ACCESS_DENIED,
                    "the command line of process %d can't be read: %s", (int)pid,
                    g_strerror(errno));
        return FALSE;
    }
    if (cmdline->len == 0) {
        g_set_error(error, HV_STATUS_ERROR, HV_STATUS_INVALID_PARTITION_ID,
                    "there is no process %d", (int)pid);
        return FALSE;
    }
    if (is_qemu(cmdline)) {
        *ret_makes_up =
            qemu_options_make_up((const char *)cmdline->data, (gsize)cmdline->len, timer);
        return TRUE;
    }
    if (timer != BASE_TIMER_RTC) {
        *ret_makes_up = timer == BASE_TIMER_PIT;
        return TRUE;
    }
    g_set_error(error, HV_STATUS_ERROR, HV_STATUS_INVALID_PARTITION_STATE,
                "process %d is not a QEMU: whether it makes up lost ticks of its RTC, if it has "
                "one, is not known; only a QEMU's RTC can be watched",
                (int)pid);
    return FALSE;
}
