/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Handing a test's virtual machine over to hvtimerd, by libhvapi.
 */
#include "tests/guest/vmm-private.h"

#include <hvapi/hvapi.h>

static int on_set_route(uint64_t control, void *opaque)
{
    return vmm_set_route(opaque, control);
}

gboolean vmm_hand_over(Vmm *vmm, const char *name, const char *uuid, uint64_t *ret_id,
                       GError **error)
{
    hvapi_vmm_config config = {
        .name = name,
        .uuid = uuid,
        .tick_fd = vmm->tick_fd,
        .ack_fd = vmm->ack_fd,
        .set_route = on_set_route,
        .opaque = vmm,
    };
    HV_STATUS status;

    g_assert(!vmm->handed_over);
    status = hvapi_vmm_hand_over(&config, &vmm->handed_over, ret_id);
    if (status == HV_STATUS_SUCCESS)
        return TRUE;
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_FAILED, "handing over %s: %s: %s",
                name ? name : "a virtual machine", hvapi_status_name(status), hvapi_last_error());
    return FALSE;
}

struct hvapi_vmm *vmm_handed_over(Vmm *vmm)
{
    return vmm->handed_over;
}

void vmm_take_back(Vmm *vmm)
{
    hvapi_vmm_take_back(g_steal_pointer(&vmm->handed_over));
}
