/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Hyper-V's types, codes and statuses, as far as the periodic timer assist uses them.
 *
 * Names, values and layouts are those of Microsoft's Hypervisor Top-Level Functional
 * Specification (TLFS) 2.0a: partition properties in section 5 and appendix A, the periodic
 * timer assist in 15.1.5, statuses in appendix C; and of the WDK's hvgdk.h. The wider
 * destination is that of the later mshv headers (rust-vmm, OpenVMM).
 *
 * This header stands alone, as C11 and as C++.
 */
#ifndef HVAPI_HVGDK_H
#define HVAPI_HVGDK_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The result of a call. 16 bits, 0 is success. */
typedef uint16_t HV_STATUS;

#define HV_STATUS_SUCCESS                     ((HV_STATUS)0x0000)
#define HV_STATUS_INVALID_PARAMETER           ((HV_STATUS)0x0005)
#define HV_STATUS_ACCESS_DENIED               ((HV_STATUS)0x0006)
#define HV_STATUS_INVALID_PARTITION_STATE     ((HV_STATUS)0x0007)
#define HV_STATUS_OPERATION_DENIED            ((HV_STATUS)0x0008)
#define HV_STATUS_UNKNOWN_PROPERTY            ((HV_STATUS)0x0009)
#define HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE ((HV_STATUS)0x000A)
#define HV_STATUS_INSUFFICIENT_MEMORY         ((HV_STATUS)0x000B)
#define HV_STATUS_INVALID_PARTITION_ID        ((HV_STATUS)0x000D)
#define HV_STATUS_OBJECT_IN_USE               ((HV_STATUS)0x0019)

/* Names a partition: a guest that the daemon knows. Never reused while the daemon runs. */
typedef uint64_t HV_PARTITION_ID, *PHV_PARTITION_ID;

/* No partition; as a "previous" id it stands before the first child. */
#define HV_PARTITION_ID_INVALID ((HV_PARTITION_ID)0)
/* The caller's own partition: on a host, the parent of every guest. */
#define HV_PARTITION_ID_SELF ((HV_PARTITION_ID)0xFFFFFFFFFFFFFFFFull)

/* The value of any property, and a pointer to it. */
typedef uint64_t HV_PARTITION_PROPERTY, *PHV_PARTITION_PROPERTY;

/* Which property. Of Hyper-V's codes only the first two are served. */
typedef enum {
    HvPartitionPropertyEmulatedTimerPeriod = 0x00030000,
    HvPartitionPropertyEmulatedTimerControl = 0x00030001,
    HvPartitionPropertyPmTimerAssist = 0x00030002
} HV_PARTITION_PROPERTY_CODE;

/* EmulatedTimerPeriod: the time between two ticks in units of 100 ns; 0: no timer. */
typedef union {
    uint64_t AsUINT64;
} HV_EMULATED_TIMER_PERIOD;

/* DeliveryMode, encoded as in the local APIC's interrupt command register (ICR). */
#define HV_EMULATED_TIMER_DELIVERY_FIXED           0u
#define HV_EMULATED_TIMER_DELIVERY_LOWEST_PRIORITY 1u

/*
 * EmulatedTimerControl: where a tick goes. Bit 0 is the lowest of Vector.
 * Mda is the message destination address: an APIC id (LogicalDestinationMode 0), or a
 * logical destination (1).
 */
typedef union {
    uint64_t AsUINT64;
    __extension__ struct {
        uint64_t Vector : 8;                 /* bits 7:0; 16 to 255 */
        uint64_t DeliveryMode : 3;           /* bits 10:8 */
        uint64_t LogicalDestinationMode : 1; /* bit 11; 0: physical */
        uint64_t Enabled : 1;                /* bit 12 */
        uint64_t Reserved1 : 19;             /* bits 31:13; 0 */
        uint64_t Reserved2 : 24;             /* bits 55:32; 0 */
        uint64_t Mda : 8;                    /* bits 63:56 */
    };
} HV_EMULATED_TIMER_CONTROL;

/*
 * The later layout, with a 32-bit destination for x2APIC. Only partitions whose VMM routes
 * ticks by MSI take it; a value whose bits 55:32 are not all zero is read this way.
 */
typedef union {
    uint64_t AsUINT64;
    __extension__ struct {
        uint64_t Vector : 8;
        uint64_t DeliveryMode : 3;
        uint64_t LogicalDestinationMode : 1;
        uint64_t Enabled : 1;
        uint64_t Reserved1 : 19;
        uint64_t Mda : 32; /* bits 63:32 */
    };
} HV_EMULATED_TIMER_CONTROL_WIDE;

#define HV_EMULATED_TIMER_CONTROL_ENABLED (1ull << 12)

#ifdef __cplusplus
}
#endif

#endif /* HVAPI_HVGDK_H */
