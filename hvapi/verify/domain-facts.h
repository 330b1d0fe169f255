/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a running domain's XML says of its interrupts and of lost ticks. Pure.
 */
#pragma once

#include <glib.h>

struct domain_facts {
    gboolean kvm;   /* KVM runs it */
    gboolean split; /* QEMU has its IOAPIC, and KVM the local APICs only */
    /* What makes up lost ticks of its own accord. */
    gboolean qemu_slews_rtc;
    gboolean kvm_slews_pit;
    /* What its metadata ask hvtimer to make up, and not to force. */
    gboolean wants_rtc;
    gboolean wants_pit;
};

/* @xml: as libvirt has it of a domain that runs. Errors: G_MARKUP_ERROR. */
gboolean domain_facts_read(const char *xml, struct domain_facts *ret_facts, GError **error);
