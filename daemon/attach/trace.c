/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* KVM's trace events as perf events: see trace.h. */
#include "daemon/attach/trace.h"

#include "daemon/attach/trace-event.h"
#include <errno.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define ROW_MAX    2u
#define FILTER_MAX 256u

/* One perf event of each thread. */
struct event {
    const char *name;
    const char *fields[ATTACH_FIELDS]; /* that the filter, or the reader, needs */
    const char *filter;                /* NULL: it is made of the request's numbers */
};

struct kind {
    bool of_vcpu;                /* it is about one vCPU */
    struct event row[ROW_MAX];   /* up to the first one without a name */
    struct perf_event_attr attr; /* how to sample */
};

/*
 * kvm_apic, which arch/x86/kvm/lapic.c has in kvm_lapic_reg_write() and _read(). There come the
 * accesses by memory; those by x2APIC MSRs and by Hyper-V's (kvm_x2apic_msr_write(),
 * kvm_hv_vapic_msr_write()); and, where the hardware does the rest by itself (APICv, AVIC), the
 * writes that it leaves to KVM (kvm_apic_write_nodecode()), all of these among them. Registers that
 * are set by the VMM (KVM_SET_LAPIC) or by a reset don't come there.
 *
 * Registers by their offset (Intel SDM volume 3, table 11-1). @rw: 1 is a write. The count is read
 * by who uses the timer, and may be read in parts; a write always comes whole. A system that boots
 * switches its APIC on, which it is already, and sets its logical ID: that does the timer no harm.
 */
#define APIC_FILTER                                                        \
    "(rw == 1 && ("                                                        \
    "reg == 0x320 || "                          /* LVT timer */            \
    "reg == 0x380 || "                          /* initial count */        \
    "reg == 0x3e0 || "                          /* divide configuration */ \
    "(reg == 0xf0 && !(val & 0x100)))) || "     /* software disable */     \
    "(rw == 0 && reg >= 0x390 && reg <= 0x393)" /* current count */

/* (Intel SDM volume 4, table 2-2.) */
#define MSR_FILTER                                                 \
    "write == 1 && ("                                              \
    "ecx == 0x1b || " /* APIC base: its address, x2APIC, or off */ \
    "ecx == 0x6e0)"   /* TSC deadline */

static const struct kind kinds[] = {
    /* @rw: 0 is IN, 1 is OUT (KVM_PIO_IN and _OUT, arch/x86/kvm/trace.h); @val is the first one's.
     */
    [ATTACH_TRACE_PORTS] = {.row = {{"kvm_pio",
                                     {[ATTACH_PIO_RW] = "rw",
                                      [ATTACH_PIO_PORT] = "port",
                                      [ATTACH_PIO_SIZE] = "size",
                                      [ATTACH_PIO_COUNT] = "count",
                                      [ATTACH_PIO_VAL] = "val"},
                                     NULL}},
                            .attr = {.sample_period = 1,
                                     .sample_type = PERF_SAMPLE_TIME | PERF_SAMPLE_RAW,
                                     .use_clockid = 1,
                                     .clockid = CLOCK_MONOTONIC}},
    /* Without samples: counted. */
    [ATTACH_TRACE_HV_TIMER] =
        {.of_vcpu = true,
         .row = {{"kvm_hv_timer_state", {"vcpu_id", "hv_timer_in_use"}, NULL},
                 {"kvm_hv_timer_state", {"vcpu_id", "hv_timer_in_use"}, NULL}}},
    /* Records without contents, and a wakeup with the first one. */
    [ATTACH_TRACE_LAPIC] = {.of_vcpu = true,
                            .row = {{"kvm_apic", {"rw", "reg", "val"}, APIC_FILTER},
                                    {"kvm_msr", {"write", "ecx", "data"}, MSR_FILTER}},
                            .attr = {.sample_period = 1, .wakeup_events = 1}},
};

static unsigned row_of(const struct kind *kind)
{
    return kind->row[1].name != NULL ? 2 : 1;
}

bool trace_check(const struct attach_request *request)
{
    switch (request->trace) {
    case ATTACH_TRACE_PORTS:
        return request->vcpu == 0 && request->n_ports >= 1 && request->n_ports <= ATTACH_PORTS;
    case ATTACH_TRACE_HV_TIMER:
    case ATTACH_TRACE_LAPIC:
        return request->n_ports == 0;
    default:
        return false;
    }
}

/* ---- filters ---- */

static void make_port_filter(const struct attach_request *request, char *filter)
{
    int length = snprintf(filter, FILTER_MAX, "size == 1 && count == 1 && (");

    for (unsigned i = 0; i < request->n_ports; i++) {
        length += snprintf(filter + length, FILTER_MAX - (size_t)length, "%sport == 0x%x",
                           i > 0 ? " || " : "", request->ports[i]);
    }
    snprintf(filter + length, FILTER_MAX - (size_t)length, ")");
}

/* Of the @at-th event of a row. */
static void make_filter(const struct attach_request *request, unsigned at, char *filter)
{
    const char *fixed = kinds[request->trace].row[at].filter;

    if (fixed != NULL) {
        snprintf(filter, FILTER_MAX, "%s", fixed);
    } else if (request->trace == ATTACH_TRACE_PORTS) {
        make_port_filter(request, filter);
    } else {
        snprintf(filter, FILTER_MAX, "vcpu_id == %u && hv_timer_in_use == %u", request->vcpu, at);
    }
}

/* ---- in the threads ---- */

/* What is opened in each thread. */
struct plan {
    const struct target *target;
    struct perf_event_attr attr;
    unsigned row;
    uint64_t ids[ROW_MAX];
    char filters[ROW_MAX][FILTER_MAX];
};

static bool find_events(struct plan *plan, const struct attach_request *request,
                        struct attach_place places[ATTACH_FIELDS], struct failure *failure)
{
    const struct kind *kind = &kinds[request->trace];

    for (unsigned i = 0; i < plan->row; i++) {
        const struct event *event = &kind->row[i];
        unsigned n = 0;

        while (n < ATTACH_FIELDS && event->fields[n] != NULL) {
            n++;
        }
        if (!trace_event_find(event->name, event->fields, n, &plan->ids[i], places, failure)) {
            return false;
        }
        make_filter(request, i, plan->filters[i]);
    }
    return true;
}

/* True with -1: the thread has ended. */
static bool open_one(const struct plan *plan, unsigned at, pid_t thread, int *ret_fd,
                     struct failure *failure)
{
    struct perf_event_attr attr = plan->attr;
    int fd;

    attr.type = PERF_TYPE_TRACEPOINT;
    attr.size = sizeof(attr);
    attr.config = plan->ids[at];
    attr.disabled = 1;
    *ret_fd = fd = (int)syscall(SYS_perf_event_open, &attr, thread, -1, -1, PERF_FLAG_FD_CLOEXEC);
    if (fd < 0) {
        return errno == ESRCH || trace_event_fail(failure, errno, "opening a perf event");
    }
    if (ioctl(fd, PERF_EVENT_IOC_SET_FILTER, plan->filters[at]) != 0) {
        trace_event_fail(failure, errno, "a perf event's filter");
    } else if (target_has_thread(plan->target, thread)) {
        return true;
    } /* else it has ended, and who has its number now is somebody else */
    close(fd);
    *ret_fd = -1;
    return failure->status == ATTACH_OK;
}

static void close_all(const int *fds, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        close(fds[i]);
    }
}

/* One for each of the row, or none if the thread has ended. */
static bool open_row(const struct plan *plan, pid_t thread, int *fds, uint32_t *count,
                     struct failure *failure)
{
    for (unsigned i = 0; i < plan->row; i++) {
        bool done = open_one(plan, i, thread, &fds[*count + i], failure);
        if (!done || fds[*count + i] < 0) {
            close_all(fds + *count, i);
            return done;
        }
    }
    *count += plan->row;
    return true;
}

bool trace_open(const struct target *target, const struct attach_request *request,
                struct attach_reply *reply, int fds[ATTACH_FDS], struct failure *failure)
{
    const struct kind *kind = &kinds[request->trace];
    struct plan plan = {.target = target, .attr = kind->attr, .row = row_of(kind)};
    pid_t threads[ATTACH_FDS];
    unsigned count;

    if (!target_vcpu_threads(target, kind->of_vcpu ? (int64_t)request->vcpu : -1, threads,
                             ATTACH_FDS / plan.row, &count, failure) ||
        !find_events(&plan, request, reply->fields, failure)) {
        return false;
    }
    for (unsigned i = 0; i < count && failure->status == ATTACH_OK; i++) {
        open_row(&plan, threads[i], fds, &reply->fds, failure);
    }
    if (failure->status == ATTACH_OK && reply->fds == 0) {
        fail(failure, ATTACH_GONE, "process %d has ended; nothing is left to be traced",
             target->pid);
    }
    if (failure->status != ATTACH_OK) {
        close_all(fds, reply->fds);
        reply->fds = 0;
    }
    return failure->status == ATTACH_OK;
}
