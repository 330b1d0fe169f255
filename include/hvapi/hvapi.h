/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libhvapi: Hyper-V's partition property calls for KVM guests, served by hvtimerd over D-Bus.
 *
 * Threads: every call may be made from any thread at any time; each waits for the daemon's
 * answer (25 s at most). No call may be made from a hvapi_set_route_func.
 *
 * The daemon is reached on the bus named by the environment variable HVTIMER_BUS_ADDRESS
 * ("system", "session" or a D-Bus address), on the system bus where it is not set. A daemon
 * that is restarted is found again by the next call.
 *
 * Errors: an HV_STATUS. Besides the statuses named at a call, each call may return
 *   HV_STATUS_ACCESS_DENIED     the caller may not do this: see ACCESS in hvtimerd(8);
 *   HV_STATUS_OPERATION_DENIED  the daemon is not running, or did not answer.
 * hvapi_last_error() says why in words. Outputs are written on success only.
 */
#ifndef HVAPI_HVAPI_H
#define HVAPI_HVAPI_H

#include <hvapi/hvgdk.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define HVAPI_EXPORT __attribute__((visibility("default")))
#else
#define HVAPI_EXPORT
#endif

/* ---- Microsoft's calls ---- */

/**
 * HvGetPartitionProperty:
 * @PartitionId: a partition
 * @PropertyCode: EmulatedTimerPeriod or EmulatedTimerControl
 * @PropertyValue: (out): the value, as last written; Enabled as it is now
 *
 * Returns: SUCCESS; INVALID_PARTITION_ID; UNKNOWN_PROPERTY; INVALID_PARAMETER for a NULL pointer.
 */
HVAPI_EXPORT HV_STATUS HvGetPartitionProperty(HV_PARTITION_ID PartitionId,
                                              HV_PARTITION_PROPERTY_CODE PropertyCode,
                                              PHV_PARTITION_PROPERTY PropertyValue);

/**
 * HvSetPartitionProperty:
 * @PartitionId: a partition
 * @PropertyCode: EmulatedTimerPeriod (units of 100 ns) or EmulatedTimerControl
 * @PropertyValue: HV_EMULATED_TIMER_PERIOD or HV_EMULATED_TIMER_CONTROL, AsUINT64
 *
 * With a period set, a Control with Enabled starts the timer: the first tick falls one period
 * after this call. A new period starts it anew. Another vector or destination holds from the
 * next tick on. Period 0 clears Enabled and stops the timer. On any error nothing has changed.
 *
 * Returns: SUCCESS; INVALID_PARTITION_ID; UNKNOWN_PROPERTY; INVALID_PARAMETER (reserved bits,
 * an unsupported delivery mode, a vector below 16); PROPERTY_VALUE_OUT_OF_RANGE (a period below
 * the configured minimum or above the maximum); INVALID_PARTITION_STATE (its VM does not run,
 * or ticks can't be brought to it); INSUFFICIENT_MEMORY.
 */
HVAPI_EXPORT HV_STATUS HvSetPartitionProperty(HV_PARTITION_ID PartitionId,
                                              HV_PARTITION_PROPERTY_CODE PropertyCode,
                                              HV_PARTITION_PROPERTY PropertyValue);

/**
 * HvGetNextChildPartition:
 * @ParentId: HV_PARTITION_ID_SELF
 * @PreviousChildId: the child after which to look; HV_PARTITION_ID_INVALID for the first
 * @NextChildId: (out): the next child, HV_PARTITION_ID_INVALID where there is none
 *
 * Returns: SUCCESS; INVALID_PARTITION_ID for another parent; INVALID_PARAMETER for NULL.
 */
HVAPI_EXPORT HV_STATUS HvGetNextChildPartition(HV_PARTITION_ID ParentId,
                                               HV_PARTITION_ID PreviousChildId,
                                               PHV_PARTITION_ID NextChildId);

/* ---- What Hyper-V has no call for ---- */

/**
 * hvapi_last_error:
 *
 * Why the last failed call of this thread failed, in a sentence: what was asked, what was
 * wrong. "" if none failed. The text is the library's, good until the thread's next call.
 */
HVAPI_EXPORT const char *hvapi_last_error(void);

/**
 * hvapi_status_name:
 * @status: any value
 *
 * Returns: the name without its prefix ("INVALID_PARAMETER"), "UNKNOWN" for others. Static.
 */
HVAPI_EXPORT const char *hvapi_status_name(HV_STATUS status);

/**
 * hvapi_lookup_partition:
 * @domain: a partition's name, UUID, or id in decimal
 * @ret_id: (out): its id
 *
 * Returns: SUCCESS; INVALID_PARTITION_ID if there is none; INVALID_PARAMETER for NULL.
 */
HVAPI_EXPORT HV_STATUS hvapi_lookup_partition(const char *domain, HV_PARTITION_ID *ret_id);

/**
 * hvapi_statistics:
 *
 * One consistent reading: due = acknowledged + in_flight + backlog + skipped.
 */
typedef struct {
    uint64_t due;             /* ticks whose time has come */
    uint64_t injected;        /* interrupts raised */
    uint64_t acknowledged;    /* ticks that the guest has taken (EOI) */
    uint64_t in_flight;       /* raised, not yet taken: 0 or 1 */
    uint64_t backlog;         /* missed, to be made up */
    uint64_t skipped;         /* given up */
    uint64_t clock_behind_ns; /* what a clock that counts the ticks is behind: backlog and skipped,
                                 since the timer began or its backlog was reset */
    uint64_t lateness_p50_ns; /* from the moment a tick should be raised to its raising; */
    uint64_t lateness_p99_ns; /*   percentiles are upper bounds, within an eighth of the value */
    uint64_t lateness_max_ns;
} hvapi_statistics;

/**
 * hvapi_get_statistics:
 * @id: a partition
 * @ret_statistics: (out) (caller-allocates): its figures since it was attached
 *
 * Returns: SUCCESS; INVALID_PARTITION_ID; INVALID_PARAMETER for NULL.
 */
HVAPI_EXPORT HV_STATUS hvapi_get_statistics(HV_PARTITION_ID id, hvapi_statistics *ret_statistics);

/* ---- For a VMM: handing over a KVM virtual machine ---- */

/**
 * hvapi_vmm:
 *
 * A virtual machine handed over to the daemon. The VMM has made two things in its own KVM VM:
 *  - an irqfd (KVM_IRQFD) on a GSI that it routes as an MSI (KVM_SET_GSI_ROUTING), through which
 *    the daemon raises ticks;
 *  - optionally a listener: an irqfd with KVM_IRQFD_FLAG_RESAMPLE, never written, on an unused
 *    IOAPIC pin whose redirection entry carries the same vector and destination. Its resamplefd
 *    counts the guest's EOIs. Without one the daemon runs open loop: it can't tell which ticks
 *    the guest has taken, and makes up only those that it was late with itself.
 */
typedef struct hvapi_vmm hvapi_vmm;

/**
 * hvapi_set_route_func:
 * @control: where ticks are to go from now on; Enabled is of no interest here
 * @opaque: as handed over
 *
 * Called on a thread of the library's own whenever vector, delivery mode or destination change,
 * and first before the first tick. Between the call and its return no tick is raised. It must
 * bring the MSI route, and the listener's redirection entry, in line, and return soon (1 s).
 *
 * Returns: 0; or an errno value, and then ticks go on by the route before, and the
 * property that was being set keeps its value.
 */
typedef int (*hvapi_set_route_func)(uint64_t control, void *opaque);

typedef struct {
    const char *name;               /* the partition's name; NULL: the process's name */
    const char *uuid;               /* 36 characters, or NULL: it has none */
    int tick_fd;                    /* the irqfd's eventfd */
    int ack_fd;                     /* the listener's resamplefd, or -1: open loop */
    hvapi_set_route_func set_route; /* never NULL */
    void *opaque;                   /* handed to set_route */
} hvapi_vmm_config;

/**
 * hvapi_vmm_hand_over:
 * @config: what is handed over; copied, the descriptors duplicated
 * @ret_vmm: (out) (transfer full): give back to hvapi_vmm_take_back()
 * @ret_id: (out): the new partition's id
 *
 * Makes the VM a partition, both properties zero. The library follows the daemon: when it is
 * restarted, the VM is handed over again, under the same id where that is free. The descriptors
 * become non-blocking, for every holder.
 *
 * Returns: SUCCESS; INVALID_PARAMETER (a descriptor that is no eventfd, a bad UUID, NULL);
 * OBJECT_IN_USE (another partition has that UUID or name); INSUFFICIENT_MEMORY (the daemon serves
 * as many partitions as it is configured for).
 */
HVAPI_EXPORT HV_STATUS hvapi_vmm_hand_over(const hvapi_vmm_config *config, hvapi_vmm **ret_vmm,
                                           HV_PARTITION_ID *ret_id);

/**
 * hvapi_vmm_set_running:
 * @vmm: a VM handed over
 * @running: 0 when the VM is suspended, 1 when it goes on
 *
 * A suspended VM is not late: its timer stands still with it.
 *
 * Returns: SUCCESS; INVALID_PARTITION_STATE if the daemon does not have it at the moment.
 */
HVAPI_EXPORT HV_STATUS hvapi_vmm_set_running(hvapi_vmm *vmm, int running);

/**
 * hvapi_vmm_guest_reset:
 * @vmm: a VM handed over
 *
 * The guest was reset: clears Enabled, and forgets a tick in flight and the backlog.
 *
 * Returns: as hvapi_vmm_set_running().
 */
HVAPI_EXPORT HV_STATUS hvapi_vmm_guest_reset(hvapi_vmm *vmm);

/**
 * hvapi_vmm_take_back:
 * @vmm: (transfer full) (nullable): a VM handed over
 *
 * Ends the partition. When it returns, no set_route is running and none will be called.
 */
HVAPI_EXPORT void hvapi_vmm_take_back(hvapi_vmm *vmm);

#ifdef __cplusplus
}
#endif

#endif /* HVAPI_HVAPI_H */
