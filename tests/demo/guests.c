/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The demo's guests: see guests.h. */
#include "tests/demo/guests.h"

#include <hvapi/hvapi.h>
#include <stdlib.h>

static void fail(const char *what, const char *why)
{
    g_printerr("demo: %s: %s\n", what, why);
    exit(EXIT_FAILURE);
}

static void start_vmm(struct demo_guests *guests, int i, const char *name)
{
    g_autoptr(GError) error = NULL;
    Vmm *vmm = guests->vmms[i] = vmm_new(1, &error);

    if (vmm == NULL || !vmm_add_tick(vmm, TRUE, &error) || !vmm_start(vmm, &error) ||
        !vmm_wait_ready(vmm, 10 * G_USEC_PER_SEC, &error) ||
        !vmm_hand_over(vmm, name, NULL, &guests->ids[i], &error)) {
        fail("the KVM guest can't be started", error->message);
    }
}

static void find_model(struct demo_guests *guests, int i, const char *name)
{
    if (hvapi_lookup_partition(name, &guests->ids[i]) != HV_STATUS_SUCCESS) {
        fail("the model can't be found", hvapi_last_error());
    }
}

void demo_guests_up(struct demo_guests *guests, struct fixture *fixture,
                    const char *const *policies)
{
    const char *missing = vmm_kvm_missing();

    *guests = (struct demo_guests){.fixture = fixture};
    if (missing != NULL) {
        g_print("There is no KVM here (%s): the guests are software models.\n", missing);
    } else {
        g_print("The guests are KVM virtual machines of the demo's own VMM.\n");
    }
    for (int i = 0; i < DEMO_GUESTS; i++) {
        g_autofree char *name =
            g_strdup_printf("%s-%s", missing != NULL ? "model" : "kvm", policies[i]);
        if (missing != NULL) {
            find_model(guests, i, name);
        } else {
            start_vmm(guests, i, name);
        }
        if (fixture_run(fixture, NULL, "hvtimerctl policy %s --policy %s", name, policies[i])) {
            fail("the policy can't be set", name);
        }
    }
}

void demo_guests_down(struct demo_guests *guests)
{
    for (int i = 0; i < DEMO_GUESTS; i++) {
        if (guests->vmms[i] != NULL) {
            vmm_take_back(guests->vmms[i]);
            g_clear_pointer(&guests->vmms[i], vmm_free);
        }
    }
}

/* A call to the model's own interface; @parameters floating. */
static GVariant *call_model(const struct demo_guests *guests, int i, const char *method,
                            GVariant *parameters)
{
    g_autofree char *path =
        g_strdup_printf("/org/hvtimer1/partition/%" G_GUINT64_FORMAT, guests->ids[i]);
    g_autoptr(GError) error = NULL;
    GVariant *reply = g_dbus_connection_call_sync(guests->fixture->connection, "org.hvtimer1", path,
                                                  "org.hvtimer1.Model", method, parameters, NULL,
                                                  G_DBUS_CALL_FLAGS_NONE, -1, NULL, &error);

    if (reply == NULL) {
        fail(method, error->message);
    }
    return reply;
}

uint64_t demo_guest_taken(const struct demo_guests *guests, int i)
{
    guint64 taken;

    if (guests->vmms[i] != NULL) {
        return vmm_total(guests->vmms[i], 0);
    }
    g_autoptr(GVariant) reply = call_model(guests, i, "CountTaken", NULL);
    g_variant_get(reply, "(t)", &taken);
    return taken;
}

void demo_guest_hold(const struct demo_guests *guests, int i, unsigned ms)
{
    if (guests->vmms[i] != NULL) {
        vmm_hold(guests->vmms[i], 0, (gint64)ms * 1000);
    } else {
        g_autoptr(GVariant) reply =
            call_model(guests, i, "Hold", g_variant_new("(t)", (guint64)ms * 1000));
    }
}
