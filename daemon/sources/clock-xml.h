/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a libvirt domain's own XML says of catching up. libvirt has an element for it, which no
 * hypervisor driver of its own heeds, and takes it with tickpolicy 'catchup' only:
 *
 *     <clock …><timer name='rtc' tickpolicy='catchup'>
 *       <catchup threshold='123' slew='120' limit='10000'/>
 *     </timer></clock>
 *
 * libvirt does not say in what units. Here they are those of the policy: threshold in ticks of
 * backlog, slew in percent of speed-up, limit in milliseconds (ticker.h). To libvirt 0 is as good
 * as not given: what it hands out has no such attribute.
 */
#pragma once

#include "daemon/assist.h"

/* As long as a string can be that libvirt's protocol carries (VIR_NET_MESSAGE_STRING_MAX). */
#define CLOCK_XML_MAX (4 * 1024 * 1024)

/* Only policy_given and policy of @ret_assist are written: threshold, slew, limit, as far as
 * given; without the element, policy_given is 0. @length: of @domain_xml in bytes; no NUL needs to
 * follow. Errors, with nothing written: G_MARKUP_ERROR, and G_OPTION_ERROR_BAD_VALUE for a value.
 */
gboolean clock_xml_read_policy(const char *domain_xml, gsize length, struct assist *ret_assist,
                               GError **error);
