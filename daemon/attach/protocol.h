/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the daemon and hvtimer-attach say to each other: one request and one reply over a
 * SOCK_SEQPACKET socket, which is the helper's standard input. One request per process. Both ends
 * are built together and share the machine's byte order; `version` tells a helper left over from
 * another build.
 */
#pragma once

#include <stdint.h>

#define ATTACH_MAGIC   UINT32_C(0x68767461) /* "hvta" */
#define ATTACH_VERSION UINT32_C(4)

#define ATTACH_PINS       24u
#define ATTACH_PICS       2u   /* master, slave */
#define ATTACH_FDS        253u /* most that come with a reply: SCM_MAX_FD of Linux */
#define ATTACH_EVENTFDS   3u   /* most of all kinds but TRACE */
#define ATTACH_PORTS      4u
#define ATTACH_REASON_MAX 512u
#define ATTACH_PIN_ANY    UINT32_MAX
/* Pins below belong to the PC's own devices, whatever the guest says. */
#define ATTACH_PIN_FIRST 16u

/* From here on the helper gives up and undoes what it did; the daemon should wait a little longer.
 */
#define ATTACH_DEADLINE_MS 2000u

/* Descriptors are eventfds, but for TRACE, in the order named. The VMM keeps none: an irqfd lives
 * for as long as the receiver keeps its trigger open, and goes with it. */
enum attach_kind {
    /* All redirection entries, and the PICs. Stops one thread that is not a vCPU. */
    ATTACH_READ = 1,
    /* A listener on `pin` (a GSI): trigger, never to be written, and the resamplefd that counts
     * EOIs. With ATTACH_WITH_PULSE also the trigger of a plain irqfd on the same GSI. Tells what
     * READ does. Stops one thread that is not a vCPU. */
    ATTACH_LISTEN,
    /* A plain irqfd on `pin` (a GSI): trigger. Stops one thread that is not a vCPU. */
    ATTACH_PULSE,
    /* An unused IOAPIC pin, or ATTACH_PIN_ANY, gets `entry`; one that has it already, left by an
     * earlier daemon, is preferred. Level-triggered: trigger of a resample
     * irqfd, and its resamplefd: a write raises the line, the EOI lowers it and is counted. With
     * ATTACH_EDGE: trigger of a plain irqfd, and a listener's trigger and resamplefd. */
    ATTACH_BORROW,
    /* The borrowed `pin` gets `entry`, if `expected` is still there. */
    ATTACH_REROUTE,
    /* The borrowed `pin` gets `entry`, which it had before, if `expected` is still there. */
    ATTACH_RETURN,
    /* Is there a KVM guest in the process? No thread is stopped, and nothing is looked at but that.
     */
    ATTACH_CHECK,
    /* KVM's trace events, as `trace` says, in the threads of the process: perf events, in a row for
     * each thread, off until PERF_EVENT_IOC_ENABLE, with filters that the helper makes. The threads
     * are those named as QEMU names its vCPUs', "CPU 0/KVM" and so on, or, if none is, all that
     * there are now. No thread is stopped. Who holds such a descriptor may give it another filter,
     * but not another event or thread. */
    ATTACH_TRACE,
};

enum attach_trace {
    /* kvm_pio: accesses of one byte to one of `ports`. Sampled with CLOCK_MONOTONIC and raw data,
     * in which the `fields` are. A row is one. */
    ATTACH_TRACE_PORTS = 1,
    /* kvm_hv_timer_state: whether the local APIC timer of `vcpu` is on the preemption timer.
     * Counted. A row is two: it is not; it is. */
    ATTACH_TRACE_HV_TIMER,
    /* kvm_apic, kvm_msr: the guest uses the local APIC timer of `vcpu`, or switches that APIC's
     * mode. Sampled without contents; the first one wakes up. A row is two: registers, MSRs. */
    ATTACH_TRACE_LAPIC,
};

/* Request flags. */
#define ATTACH_EDGE       1u /* BORROW */
#define ATTACH_WITH_PULSE 2u /* LISTEN */
/* BORROW with EDGE: the local APIC timer of the vCPU that `entry` goes to is leased too, for
 * `entry`'s vector and the period asked for. REROUTE: the lease moves along, and to that period, if
 * it is not 0. RETURN: it is given back. READ: tells what its registers are now. All threads are
 * stopped. */
#define ATTACH_LEASE 4u
/* BORROW with LEASE: where a lease isn't possible, the pin alone. */
#define ATTACH_OR_PIN 8u
/* REROUTE with LEASE: the lease is given back, the pin stays. */
#define ATTACH_END_LEASE 16u

/* An entry of the IOAPIC's redirection table, as KVM and the guest see it. */
#define ATTACH_ENTRY_VECTOR      UINT64_C(0xff)
#define ATTACH_ENTRY_DELIVERY    (UINT64_C(7) << 8) /* 0: fixed, 1: lowest priority */
#define ATTACH_ENTRY_LOGICAL     (UINT64_C(1) << 11)
#define ATTACH_ENTRY_STATUS      (UINT64_C(1) << 12) /* delivery status, read-only */
#define ATTACH_ENTRY_REMOTE_IRR  (UINT64_C(1) << 14) /* level: accepted, no EOI yet; read-only */
#define ATTACH_ENTRY_LEVEL       (UINT64_C(1) << 15)
#define ATTACH_ENTRY_MASKED      (UINT64_C(1) << 16)
#define ATTACH_ENTRY_DESTINATION (UINT64_C(0xff) << 56)
/* What says whom an entry serves; the rest is the IOAPIC's, or follows from the kind. */
#define ATTACH_ENTRY_ROUTE \
    (ATTACH_ENTRY_VECTOR | ATTACH_ENTRY_DELIVERY | ATTACH_ENTRY_LOGICAL | ATTACH_ENTRY_DESTINATION)

/* A local APIC's timer, in its registers' own encoding (Intel SDM volume 3, 11.5.4). */
struct attach_timer {
    uint32_t lvtt;
    uint32_t divide;  /* TDCR */
    uint32_t initial; /* TMICT */
    uint32_t current; /* TMCCT */
};

/* A vCPU's local APIC timer, on loan. */
struct attach_lease {
    uint32_t vcpu; /* its number, as KVM has it */
    uint32_t reserved;
    struct attach_timer ours; /* what was written, `current` apart */
    struct attach_timer old;  /* what it goes back to */
    uint64_t started_ns;      /* CLOCK_MONOTONIC: when the first period began */
    uint64_t tick_ns;         /* the timer's period: not shorter than asked for */
};

struct attach_request {
    uint32_t magic;
    uint32_t version;
    uint32_t kind; /* enum attach_kind */
    int32_t pid;
    uint64_t start_time; /* /proc/PID/stat, field 22: another process that got its pid is refused */
    uint32_t pin;
    uint32_t flags;
    uint32_t pins; /* ATTACH_PIN_ANY: those that may be taken, a bit each; 0: all */
    uint32_t reserved;
    uint64_t entry;    /* BORROW, REROUTE: of interest is ATTACH_ENTRY_ROUTE; RETURN: all of it */
    uint64_t expected; /* REROUTE, RETURN: of interest is ATTACH_ENTRY_ROUTE */
    uint64_t period_numerator; /* LEASE: a ratio of nanoseconds */
    uint64_t period_denominator;
    struct attach_lease lease; /* LEASE, but for BORROW: the one in force */
    uint32_t trace;            /* TRACE: enum attach_trace */
    uint32_t vcpu;    /* TRACE: of HV_TIMER and LAPIC: its number, as KVM has it; where it can't be
                         told which thread that is: those of all vCPUs */
    uint32_t n_ports; /* TRACE: of PORTS */
    uint16_t ports[ATTACH_PORTS]; /* the first `n_ports` */
    uint32_t reserved2;
};

/* Of kvm_pio, in the raw data of a sample. */
enum attach_field {
    ATTACH_PIO_RW,
    ATTACH_PIO_PORT,
    ATTACH_PIO_SIZE,
    ATTACH_PIO_COUNT,
    ATTACH_PIO_VAL,
    ATTACH_FIELDS
};
struct attach_place {
    uint32_t offset, size; /* of 8 bytes at most */
};

enum attach_status {
    ATTACH_OK,
    ATTACH_BAD_REQUEST,
    ATTACH_GONE,           /* there is no such process (any more) */
    ATTACH_NOT_A_VMM,      /* no KVM guest in there */
    ATTACH_NOT_ATTACHABLE, /* a guest that this can't be done to; untouched */
    ATTACH_PIN_IN_USE,     /* the guest uses the pin, or all of them */
    ATTACH_PIN_LOST,       /* the guest has taken the borrowed pin back */
    ATTACH_NO_LEASE,       /* the local APIC timer is not to be had for this */
    ATTACH_LEASE_LOST,     /* the guest uses the leased timer itself by now */
    ATTACH_NOT_PERMITTED,  /* the helper lacks a privilege */
    ATTACH_NO_EVENT,       /* the kernel has no such trace event */
    ATTACH_NO_RESOURCES,   /* the kernel gives no more memory or descriptors */
    ATTACH_TIMED_OUT,
    ATTACH_INTERNAL,
};

/* Reply flags. */
#define ATTACH_TICK_DROPPED 1u /* REROUTE, RETURN: the EOI of a tick in flight won't be seen */
#define ATTACH_LEASED       2u /* BORROW: `lease` is in force */
/* BORROW: a lease that nobody knew of any more was given back: the guest has had ticks by it. */
#define ATTACH_LEFT_OVER 4u

struct attach_reply {
    uint32_t magic;
    uint32_t version;
    uint32_t status; /* enum attach_status */
    uint32_t fds;    /* how many come along */
    uint64_t
        stall_ns; /* from stopping the first vCPU thread to letting the last one go; 0: none was */
    uint32_t pin; /* the one that was borrowed */
    uint32_t flags;
    uint64_t old_entry;            /* BORROW, REROUTE, RETURN: what `pin` had */
    uint64_t entries[ATTACH_PINS]; /* all kinds but PULSE: as they were before */
    uint8_t pic_base[ATTACH_PICS]; /* READ, LISTEN: the vector of a PIC's line 0 (from ICW2) */
    uint8_t pic_mask[ATTACH_PICS]; /* READ, LISTEN: its lines that are masked, a bit each */
    uint32_t pit_length; /* READ, LISTEN: of channel 0's period, in the PIT's counts; 0: it is not
                            periodic, or KVM has none */
    uint32_t unseen; /* REROUTE, RETURN with LEASE: so many ticks are in the guest whose EOIs won't
                        be seen */
    uint64_t reserved;
    struct attach_lease lease;                 /* LEASE; READ: `ours` is what the registers are */
    struct attach_place fields[ATTACH_FIELDS]; /* TRACE of PORTS: by enum attach_field */
    char reason[ATTACH_REASON_MAX]; /* not OK, or BORROW without the lease: what was asked, what was
                                       wrong, what to do */
};
