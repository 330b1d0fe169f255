/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Real QEMU guests for tests: see libvirt-machine.h. */
#include "tests/support/libvirt-machine.h"

#include "tests/support/test.h"
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

/* SeaBIOS takes 5 s on a KVM that emulates real mode, more on a busy machine. */
#define BOOT_SECONDS 60
#define STOP_SECONDS 30

/* What QEMU and KVM may deliver too late, at once, of the time before a measurement. */
#define MADE_UP_SECONDS 0.5

#define MEMORY_MIB  16
#define MAPPED_SIZE (DOMAIN_GUEST_END - DOMAIN_GUEST_SHARED)

/* ---- The image ---- */

static void make_image(struct machine *machine, const struct machine_options *options,
                       const char *directory)
{
    g_autofree guint8 *image = g_memdup2(domain_guest_start, DOMAIN_GUEST_ROM_SIZE);
    g_autoptr(GError) error = NULL;
    struct domain_guest_options asked = {
        .flags = (options->pic ? DOMAIN_GUEST_PIC : 0) |
                 (machine->cpus > 1 ? DOMAIN_GUEST_SMP : 0) |
                 (options->stamps ? DOMAIN_GUEST_STAMPS : 0) | options->clock,
        .timer_ns = options->timer_ns,
        .rtc_rate = options->no_rtc          ? 0
                    : options->rtc_rate != 0 ? (guint8)options->rtc_rate
                                             : 6,
        .other_rate = (guint8)options->other_rate,
        .ticks = (guint16)options->ticks,
        .other_ticks = (guint16)options->other_ticks,
        .pit_count = (guint16)options->pit_count,
    };

    memcpy(image + DOMAIN_GUEST_OPTIONS, &asked, sizeof(asked));
    machine->image = g_strdup_printf("%s/%s.img", directory, machine->name);
    g_file_set_contents(machine->image, (const char *)image, DOMAIN_GUEST_ROM_SIZE, &error);
    g_assert_no_error(error);
}

static void init(struct machine *machine, struct libvirt *libvirt,
                 const struct machine_options *options)
{
    *machine = (struct machine){.libvirt = libvirt};
    machine->name = g_strdup(options->name != NULL ? options->name : "guest");
    machine->cpus = MAX(options->cpus, 1);
    g_assert_cmpuint(machine->cpus, <=, DOMAIN_GUEST_CPUS);
    make_image(machine, options, libvirt != NULL ? LIBVIRT_IMAGES : g_get_tmp_dir());
}

/* ---- Its definition ---- */

static char *make_xml(const struct machine *machine, const struct machine_options *options)
{
    GString *xml = g_string_new("<domain type='kvm'>");

    g_string_append_printf(xml, "<name>%s</name>", machine->name);
    if (options->uuid != NULL) {
        g_string_append_printf(xml, "<uuid>%s</uuid>", options->uuid);
    }
    if (options->metadata != NULL) {
        g_string_append_printf(xml, "<metadata>%s</metadata>", options->metadata);
    }
    g_string_append_printf(xml,
                           "<memory unit='MiB'>%d</memory><vcpu>%u</vcpu>"
                           "<memoryBacking><source type='memfd'/><access mode='shared'/>"
                           "</memoryBacking>"
                           "<os><type arch='x86_64' machine='pc'>hvm</type>",
                           MEMORY_MIB, machine->cpus);
    if (!options->bios) {
        g_string_append_printf(xml, "<loader type='rom'>%s</loader>", machine->image);
    }
    /* No check: a KVM may lack features of qemu64, which QEMU only warns of. */
    g_string_append_printf(xml,
                           "</os><features><acpi/><apic/>%s</features>"
                           "<cpu mode='custom' match='exact' check='none'>"
                           "<model fallback='forbid'>qemu64</model></cpu>"
                           "<clock offset='utc'>",
                           options->split_irqchip ? "<ioapic driver='qemu'/>" : "");
    if (options->rtc_policy != NULL) {
        g_string_append_printf(xml, "<timer name='rtc' tickpolicy='%s'><catchup %s/></timer>",
                               options->rtc_policy,
                               options->rtc_catchup != NULL ? options->rtc_catchup : "");
    }
    if (options->pit_policy != NULL) {
        g_string_append_printf(xml, "<timer name='pit' tickpolicy='%s'/>", options->pit_policy);
    }
    g_string_append(xml, "</clock><devices><controller type='usb' model='none'/>"
                         "<memballoon model='none'/>");
    if (options->bios) {
        g_string_append_printf(xml,
                               "<disk type='file' device='disk'><driver name='qemu' type='raw'/>"
                               "<source file='%s'/><target dev='hda' bus='ide'/></disk>",
                               machine->image);
    }
    g_string_append(xml, "</devices></domain>");
    return g_string_free(xml, FALSE);
}

void machine_define(struct machine *machine, struct libvirt *libvirt,
                    const struct machine_options *options)
{
    init(machine, libvirt, options);
    g_autofree char *xml = make_xml(machine, options);
    virDomainPtr handle = virDomainDefineXML(libvirt->connection, xml);
    libvirt_assert(handle != NULL);
    virDomainFree(handle);
}

/* By name each time, as the connection may be another one by now. */
static virDomainPtr get_handle(const struct machine *machine)
{
    virDomainPtr handle = virDomainLookupByName(machine->libvirt->connection, machine->name);

    libvirt_assert(handle != NULL);
    return handle;
}

const char *machine_state(const struct machine *machine)
{
    virDomainPtr handle = get_handle(machine);
    int state;

    libvirt_assert(virDomainGetState(handle, &state, NULL, 0) == 0);
    virDomainFree(handle);
    switch (state) {
    case VIR_DOMAIN_RUNNING:
        return "running";
    case VIR_DOMAIN_PAUSED:
        return "paused";
    case VIR_DOMAIN_SHUTOFF:
        return "shutoff";
    default:
        return "in another state";
    }
}

/* ---- Its process and memory ---- */

static void unmap(struct machine *machine)
{
    if (machine->memory != NULL) {
        munmap(machine->memory, MAPPED_SIZE);
    }
    machine->memory = NULL;
    machine->pages = NULL;
    machine->pid = 0;
}

/* QEMU keeps the descriptor of its memory. Returns it, or -1. */
static int open_memory(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/fd", pid);
    g_autoptr(GDir) directory = g_dir_open(path, 0, NULL);
    const char *name;

    while (directory != NULL && (name = g_dir_read_name(directory)) != NULL) {
        g_autofree char *link = g_build_filename(path, name, NULL);
        g_autofree char *target = g_file_read_link(link, NULL);
        if (target != NULL && g_str_has_prefix(target, "/memfd:")) {
            return open(link, O_RDWR | O_CLOEXEC);
        }
    }
    return -1;
}

static gboolean map(struct machine *machine)
{
    int fd = open_memory(machine->pid);
    struct stat info;

    /* One that has just been made has no size yet: to touch it would be the end of us. */
    if (fd >= 0 && (fstat(fd, &info) != 0 || info.st_size < DOMAIN_GUEST_END)) {
        close(fd);
        fd = -1;
    }
    if (fd < 0) {
        return FALSE;
    }
    void *memory =
        mmap(NULL, MAPPED_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, DOMAIN_GUEST_SHARED);
    close(fd);
    if (memory == MAP_FAILED) {
        return FALSE;
    }
    machine->memory = memory;
    machine->pages = (volatile void *)((char *)memory + (DOMAIN_GUEST_PAGES - DOMAIN_GUEST_SHARED));
    return TRUE;
}

void machine_follow(struct machine *machine)
{
    g_autofree char *path = g_strdup_printf("/run/libvirt/qemu/%s.pid", machine->name);
    g_autofree char *text = NULL;

    unmap(machine);
    if (g_str_equal(machine_state(machine), "shutoff")) {
        return;
    }
    libvirt_assert(g_file_get_contents(path, &text, NULL, NULL));
    machine->pid = (pid_t)atoi(text);
    libvirt_assert(map(machine));
}

/* ---- Its life ---- */

void machine_start(struct machine *machine)
{
    virDomainPtr handle = get_handle(machine);

    libvirt_assert(virDomainCreate(handle) == 0);
    virDomainFree(handle);
    machine_follow(machine);
}

static volatile struct domain_guest_shared *shared_of(const struct machine *machine)
{
    g_assert_nonnull(machine->memory);
    return machine->memory;
}

static gboolean is_ready(const struct machine *machine)
{
    for (guint cpu = 0; cpu < machine->cpus; cpu++) {
        if (machine->pages[cpu].ready != DOMAIN_GUEST_READY_MAGIC) {
            return FALSE;
        }
    }
    return TRUE;
}

void machine_wait_ready(struct machine *machine)
{
    g_assert_nonnull(machine->memory);
    test_wait_until(BOOT_SECONDS, is_ready(machine));
}

void machine_boot(struct machine *machine)
{
    machine_start(machine);
    machine_wait_ready(machine);
}

static void die_with_parent(G_GNUC_UNUSED gpointer user_data)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

void machine_spawn(struct machine *machine, const struct machine_options *options)
{
    g_autoptr(GSubprocessLauncher) launcher =
        g_subprocess_launcher_new(G_SUBPROCESS_FLAGS_STDERR_SILENCE);
    g_autoptr(GError) error = NULL;

    init(machine, NULL, options);
    g_autofree char *cpus = g_strdup_printf("%u", machine->cpus);
    g_autofree char *memory =
        g_strdup_printf("memory-backend-memfd,id=m,share=on,size=%dM", MEMORY_MIB);
    g_autofree char *disk = g_strdup_printf("file=%s,format=raw,if=ide", machine->image);
    const char *argv[] = {"qemu-system-x86_64",
                          "-accel",
                          "kvm",
                          "-machine",
                          "pc,memory-backend=m",
                          "-cpu",
                          "qemu64",
                          "-m",
                          G_STRINGIFY(MEMORY_MIB),
                          "-object",
                          memory,
                          "-smp",
                          cpus,
                          "-display",
                          "none",
                          "-nodefaults",
                          options->bios ? "-drive" : "-bios",
                          options->bios ? disk : machine->image,
                          NULL};
    g_subprocess_launcher_set_child_setup(launcher, die_with_parent, NULL, NULL);
    machine->process = g_subprocess_launcher_spawnv(launcher, argv, &error);
    g_assert_no_error(error);
    machine->pid = (pid_t)atoi(g_subprocess_get_identifier(machine->process));
    test_wait_until(BOOT_SECONDS, map(machine));
    machine_wait_ready(machine);
}

void machine_suspend(struct machine *machine)
{
    virDomainPtr handle = get_handle(machine);

    libvirt_assert(virDomainSuspend(handle) == 0);
    virDomainFree(handle);
}

void machine_resume(struct machine *machine)
{
    virDomainPtr handle = get_handle(machine);

    libvirt_assert(virDomainResume(handle) == 0);
    virDomainFree(handle);
}

void machine_save(struct machine *machine)
{
    virDomainPtr handle = get_handle(machine);

    libvirt_assert(virDomainManagedSave(handle, 0) == 0);
    virDomainFree(handle);
    machine_follow(machine);
}

void machine_destroy(struct machine *machine)
{
    virDomainPtr handle = get_handle(machine);

    libvirt_assert(virDomainDestroy(handle) == 0);
    virDomainFree(handle);
    machine_follow(machine);
}

void machine_reset(struct machine *machine)
{
    virDomainPtr handle = get_handle(machine);

    libvirt_assert(virDomainReset(handle, 0) == 0);
    virDomainFree(handle);
}

void machine_crash(struct machine *machine)
{
    g_assert_cmpint(kill(machine->pid, SIGKILL), ==, 0);
    test_wait_until(STOP_SECONDS, g_str_equal(machine_state(machine), "shutoff"));
    machine_follow(machine);
}

static void undefine(struct machine *machine)
{
    virDomainPtr handle = get_handle(machine);

    if (virDomainIsActive(handle) == 1) {
        libvirt_assert(virDomainDestroy(handle) == 0);
    }
    libvirt_assert(virDomainUndefineFlags(handle, VIR_DOMAIN_UNDEFINE_MANAGED_SAVE) == 0);
    virDomainFree(handle);
}

void machine_down(struct machine *machine)
{
    unmap(machine);
    if (machine->libvirt != NULL) {
        undefine(machine);
    }
    if (machine->process != NULL) {
        g_subprocess_force_exit(machine->process);
        g_subprocess_wait(machine->process, NULL, NULL);
        g_clear_object(&machine->process);
    }
    g_unlink(machine->image);
    g_free(machine->image);
    g_free(machine->name);
}

/* ---- What the guest has seen ---- */

guint machine_count_on(const struct machine *machine, guint cpu, guint vector)
{
    g_assert_nonnull(machine->memory);
    return machine->pages[cpu].vectors[vector];
}

guint machine_count(const struct machine *machine, guint vector)
{
    guint sum = 0;

    for (guint cpu = 0; cpu < machine->cpus; cpu++) {
        sum += machine_count_on(machine, cpu, vector);
    }
    return sum;
}

guint machine_rtc(const struct machine *machine)
{
    g_assert_nonnull(machine->memory);
    return machine->pages[0].rtc;
}

guint machine_timer(const struct machine *machine)
{
    return machine_count_on(machine, 0, DOMAIN_GUEST_TIMER_VECTOR);
}

guint machine_spurious(const struct machine *machine)
{
    guint sum = 0;

    g_assert_nonnull(machine->memory);
    for (guint cpu = 0; cpu < machine->cpus; cpu++) {
        sum += machine->pages[cpu].spurious;
    }
    return sum;
}

guint machine_boots(const struct machine *machine)
{
    return shared_of(machine)->boots;
}

gboolean machine_failed(const struct machine *machine)
{
    return shared_of(machine)->exception != 0;
}

volatile struct clock_guest *machine_clock(const struct machine *machine)
{
    g_assert_nonnull(machine->memory);
    return (volatile void *)((volatile char *)machine->pages + CLOCK_GUEST);
}

struct machine_rate machine_rate_begin(const struct machine *machine,
                                       guint (*read)(const struct machine *machine))
{
    struct machine_rate rate = {.machine = machine, .read = read};

    rate.before = g_get_monotonic_time();
    rate.count = read(machine);
    rate.after = g_get_monotonic_time();
    return rate;
}

gboolean machine_rate_is(const struct machine_rate *rate, double hz, double part)
{
    struct machine_rate now = machine_rate_begin(rate->machine, rate->read);
    double counted = now.count - rate->count;
    double least = (double)(now.before - rate->after) / G_USEC_PER_SEC;
    double most = (double)(now.after - rate->before) / G_USEC_PER_SEC;

    g_assert_cmpfloat(counted, <=, hz * 1.01 * (most + MADE_UP_SECONDS));
    if (counted < hz * part * least) {
        return FALSE;
    }
    g_test_message("%.1f a second, of %.0f", counted / most, hz);
    return TRUE;
}

/* ---- Getting in the guest's way ---- */

static void set_mask(struct machine *machine, guint cpu, guint32 mask)
{
    g_assert_nonnull(machine->memory);
    machine->pages[cpu].mask = mask;
    test_wait_until(STOP_SECONDS, machine->pages[cpu].masked == mask);
}

void machine_mask(struct machine *machine, guint cpu)
{
    set_mask(machine, cpu, 1);
}

void machine_unmask(struct machine *machine, guint cpu)
{
    set_mask(machine, cpu, 0);
}

void machine_reset_itself(struct machine *machine)
{
    guint boots = machine_boots(machine);

    shared_of(machine)->reset = 1;
    test_wait_until(BOOT_SECONDS, machine_boots(machine) > boots);
    machine_wait_ready(machine);
}

/* ---- What its process has ---- */

/* @eventfds: how many of the entries are eventfds, if they are descriptors. */
static guint count_entries(pid_t pid, const char *what, guint *eventfds)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/%s", pid, what);
    g_autoptr(GDir) directory = g_dir_open(path, 0, NULL);
    const char *name;
    guint count = 0;

    g_assert_nonnull(directory);
    while ((name = g_dir_read_name(directory)) != NULL) {
        g_autofree char *link = g_build_filename(path, name, NULL);
        g_autofree char *target = g_file_read_link(link, NULL);
        count++;
        *eventfds += g_strcmp0(target, "anon_inode:[eventfd]") == 0;
    }
    return count;
}

struct machine_resources machine_resources(const struct machine *machine)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/maps", machine->pid);
    g_autofree char *maps = NULL;
    struct machine_resources found = {0};
    guint none = 0;

    found.fds = count_entries(machine->pid, "fd", &found.eventfds);
    found.threads = count_entries(machine->pid, "task", &none);
    g_assert_true(g_file_get_contents(path, &maps, NULL, NULL));
    for (const char *at = maps; (at = strchr(at, '\n')) != NULL; at++) {
        found.mappings++;
    }
    return found;
}
