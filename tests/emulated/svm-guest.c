/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The only process of the guest that check-svm runs: it answers questions on its second serial
 * port, a line each, and turns the RTC's periodic interrupt on and off. With the argument "clock"
 * it is a clock for shell scripts. */
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define PORT "/dev/ttyS1"

/* The RTC, as its data sheet (MC146818) has it. */
#define RTC_INDEX_PORT 0x70
#define RTC_DATA_PORT  0x71
#define RTC_A          0x0a
#define RTC_A_RATE     0x0f
#define RTC_A_UIP      0x80 /* read-only */
#define RTC_B          0x0b
#define RTC_B_PIE      0x40
#define RTC_BASE_HZ    32768
/* The rates that Linux's own driver offers: 2 Hz to 8192 Hz. */
#define RTC_CODE_MIN 3
#define RTC_CODE_MAX 15

static long long realtime_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Of all processors; 0 if /proc/interrupts has no such line. */
static unsigned long interrupts_of(const char *name)
{
    unsigned long sum = 0;
    char line[1024];
    FILE *file = fopen("/proc/interrupts", "re");

    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        char *at = line + strspn(line, " ");
        size_t length = strlen(name);
        if (strncmp(at, name, length) != 0 || at[length] != ':') {
            continue;
        }
        at += length + 1;
        for (;;) {
            char *end;
            unsigned long count = strtoul(at, &end, 10);
            if (end == at) {
                break;
            }
            sum += count;
            at = end;
        }
        break;
    }
    if (file != NULL) {
        fclose(file);
    }
    return sum;
}

/* Linux's handler, which may run between the two accesses, leaves the index at register C: so a
 * value counts when it is read twice, and is written until it is read back. */
static unsigned char rtc_read_once(unsigned char which)
{
    outb(which, RTC_INDEX_PORT);
    return inb(RTC_DATA_PORT);
}

static unsigned char rtc_read(unsigned char which)
{
    unsigned char value = rtc_read_once(which);

    for (;;) {
        unsigned char again = rtc_read_once(which);
        if (again == value) {
            return value;
        }
        value = again;
    }
}

static void rtc_write(unsigned char which, unsigned char value)
{
    do {
        outb(which, RTC_INDEX_PORT);
        outb(value, RTC_DATA_PORT);
    } while (rtc_read(which) != value);
}

/* Linux makes what /dev/rtc calls periodic interrupts with a timer of its own; so the registers are
 * written here. 0 Hz: off. Linux's driver takes the interrupts, and counts them. */
static bool set_rtc(int hz)
{
    if (ioperm(RTC_INDEX_PORT, 2, 1) != 0) {
        return false;
    }
    if (hz == 0) {
        rtc_write(RTC_B, (unsigned char)(rtc_read(RTC_B) & ~RTC_B_PIE));
        return true;
    }
    for (int code = RTC_CODE_MIN; code <= RTC_CODE_MAX; code++) {
        if (RTC_BASE_HZ >> (code - 1) == hz) {
            rtc_write(RTC_A, (unsigned char)((rtc_read(RTC_A) & ~(RTC_A_UIP | RTC_A_RATE)) | code));
            rtc_write(RTC_B, rtc_read(RTC_B) | RTC_B_PIE);
            return true;
        }
    }
    return false;
}

__attribute__((format(printf, 2, 3))) static void answer(int port, const char *format, ...)
{
    char line[512];
    va_list arguments;

    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (write(port, line, (size_t)length) != length) {
        perror("svm-guest: " PORT);
    }
}

/* "NUMBER report", "NUMBER rtc HZ"; the answer begins with the number. */
static void serve(int port, const char *request)
{
    long number;
    int hz;

    if (sscanf(request, "%ld rtc %d", &number, &hz) == 2) {
        answer(port, "%ld %s.\n", number, set_rtc(hz) ? "done" : "failed");
    } else if (sscanf(request, "%ld report", &number) == 1) {
        answer(port, "%ld realtime=%lld loc=%lu spu=%lu irq0=%lu irq8=%lu.\n", number,
               realtime_us(), interrupts_of("LOC"), interrupts_of("SPU"), interrupts_of("0"),
               interrupts_of("8"));
    }
}

static int open_port(void)
{
    int port = open(PORT, O_RDWR | O_NOCTTY | O_CLOEXEC);
    struct termios raw;

    if (port < 0 || tcgetattr(port, &raw) != 0) {
        return -1;
    }
    cfmakeraw(&raw);
    raw.c_lflag |= ICANON;
    raw.c_iflag |= ICRNL;
    cfsetspeed(&raw, B115200);
    return tcsetattr(port, TCSANOW, &raw) == 0 ? port : -1;
}

int main(int argc, char **argv)
{
    char request[128];

    if (argc == 2 && strcmp(argv[1], "clock") == 0) {
        printf("%lld\n", realtime_us());
        return 0;
    }
    mount("proc", "/proc", "proc", 0, NULL);
    mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
    int port = open_port();
    if (port < 0) {
        perror("svm-guest: " PORT);
        reboot(RB_POWER_OFF);
        return 1;
    }
    answer(port, "ready.\n");
    for (;;) {
        ssize_t length = read(port, request, sizeof request - 1);
        if (length > 0) {
            request[length] = '\0';
            serve(port, request);
        }
    }
}
