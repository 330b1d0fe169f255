/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One libvirt domain as a partition: see libvirt-domain.h. */
#include "daemon/sources/libvirt-domain.h"

#include "common/status.h"
#include "daemon/attach/process.h"
#include "daemon/sources/clock-xml.h"
#include "daemon/sources/libvirt-rtc.h"
#include "daemon/sources/vm-process.h"
#include <libvirt/virterror.h>
#include <stdlib.h>
#include <string.h>

/* The prefix under which libvirt keeps the element. */
#define METADATA_KEY   "hvtimer"
#define FORGET_SECONDS 1

struct domain {
    const struct domain_context *context;
    struct guest *guest;
    /* What holds for the running domain: from its metadata, else from a drop-in. */
    struct assist assist;
    gboolean from_metadata;
    /* What its own XML says of catching up: only the policy counts. */
    struct assist clock;
    virDomainPtr suspended; /* NULL: it is not */
    guint forget; /* meanwhile QEMU is told to forget what it counts as lost, if it counts */
    /* The element of the persistent definition as last seen; NULL: none. */
    char *definition;
};

/* ---- bringing a configuration into force ---- */

static void on_applied(const GError *error, gpointer user_data)
{
    g_autofree char *name = user_data;

    if (error != NULL) {
        g_warning("domain %s: its configured assist can't be had: %s", name, error->message);
    }
}

static void apply_timer(struct domain *domain)
{
    const struct assist *assist = &domain->assist;
    struct guest *guest = domain->guest;
    const struct partition *now = guest_partition(guest);
    char *name = g_strdup(guest_identity(guest)->name);

    if (!assist->timer || assist->supervision.timer != BASE_TIMER_NONE) {
        guest_set_property(guest, HvPartitionPropertyEmulatedTimerPeriod, 0, on_applied, name);
    } else if (!period_equal(now->period, assist->period) || now->control != assist->control) {
        guest_enable(guest, assist->period, assist->control, assist->injector, on_applied, name);
    } else {
        g_free(name);
    }
}

/* What differs from @before, so that what was set by other means stays. One that is given up goes
 * before its timer's place is taken, a new one comes after. */
static void apply_supervision(struct domain *domain, const struct supervision *before, gboolean end)
{
    static const struct supervision none = SUPERVISION_NONE;
    const struct supervision *now = &domain->assist.supervision;
    char *name = g_strdup(guest_identity(domain->guest)->name);

    if (supervision_equal(before, now)) {
        g_free(name);
    } else if (end && before->timer != BASE_TIMER_NONE && before->timer != now->timer) {
        guest_supervise(domain->guest, &none, on_applied, name);
    } else if (!end && now->timer != BASE_TIMER_NONE) {
        guest_supervise(domain->guest, now, on_applied, name);
    } else {
        g_free(name);
    }
}

static struct ticker_policy policy_of(const struct domain *domain, const struct assist *assist)
{
    struct ticker_policy policy = domain->context->config->policy;

    assist_apply_policy(&domain->clock, &policy);
    assist_apply_policy(assist, &policy);
    return policy;
}

/* What differs from @before, so that what was changed by other means stays as it is. */
static void apply(struct domain *domain, const struct assist *before)
{
    struct ticker_policy old = policy_of(domain, before);
    struct ticker_policy new = policy_of(domain, &domain->assist);
    g_autoptr(GError) error = NULL;

    if (guest_state(domain->guest) == GUEST_OFF || assist_equal(before, &domain->assist)) {
        return;
    }
    if (memcmp(&old, &new, sizeof old) != 0 && !guest_set_policy(domain->guest, &new, &error)) {
        g_warning("%s", error->message);
    }
    apply_supervision(domain, &before->supervision, TRUE);
    if (domain->assist.supervision.timer == BASE_TIMER_NONE
            ? before->timer || domain->assist.timer
            : before->timer && before->supervision.timer == BASE_TIMER_NONE) {
        apply_timer(domain);
    }
    apply_supervision(domain, &before->supervision, FALSE);
}

static void report(struct domain *domain, const GError *error)
{
    const struct guest_identity *identity = guest_identity(domain->guest);

    if (error != NULL) {
        g_warning("domain %s: its metadata are not valid, and change nothing: %s", identity->name,
                  error->message);
    }
    guest_set_problem(domain->guest, error != NULL ? error->message : NULL);
}

/* The `assist` element; NULL: there is none. */
static char *get_element(virDomainPtr handle, unsigned flag)
{
    char *xml = virDomainGetMetadata(handle, VIR_DOMAIN_METADATA_ELEMENT, ASSIST_NAMESPACE, flag);
    char *copy = g_strdup(xml);

    free(xml);
    return copy;
}

/* @xml: NULL: the host's drop-ins hold, or nothing. FALSE: it is not valid. */
static gboolean choose(struct domain *domain, const char *xml)
{
    const struct guest_identity *identity = guest_identity(domain->guest);
    const struct assist *drop_in =
        config_find_assist(domain->context->config, identity->name, identity->uuid);
    struct assist chosen = ASSIST_NONE;
    g_autoptr(GError) error = NULL;

    if (xml != NULL && !assist_parse_xml(xml, strlen(xml), &chosen, &error)) {
        report(domain, error);
        return FALSE;
    }
    if (xml == NULL && drop_in != NULL) {
        chosen = *drop_in;
    }
    domain->assist = chosen;
    domain->from_metadata = xml != NULL;
    report(domain, NULL);
    return TRUE;
}

static char *get_definition(virDomainPtr handle)
{
    return virDomainIsPersistent(handle) == 1 ? get_element(handle, VIR_DOMAIN_AFFECT_CONFIG)
                                              : NULL;
}

static void choose_and_apply(struct domain *domain, const char *xml)
{
    struct assist before = domain->assist;

    if (guest_state(domain->guest) != GUEST_OFF && choose(domain, xml)) {
        apply(domain, &before);
    }
}

void domain_read_metadata(struct domain *domain, virDomainPtr handle)
{
    g_autofree char *xml = get_element(handle, VIR_DOMAIN_AFFECT_LIVE);

    g_free(domain->definition); /* it may be this that was written: for the next start */
    domain->definition = get_definition(handle);
    choose_and_apply(domain, xml);
}

void domain_read_definition(struct domain *domain, virDomainPtr handle)
{
    g_autofree char *before = domain->definition;

    domain->definition = get_definition(handle);
    if (g_strcmp0(before, domain->definition) != 0) {
        choose_and_apply(domain, domain->definition);
    }
}

void domain_configure(struct domain *domain)
{
    if (!domain->from_metadata) {
        choose_and_apply(domain, NULL);
    }
}

gboolean domain_write_metadata(virDomainPtr handle, unsigned flag, const struct assist *base,
                               libvirt_change_func change, gpointer user_data, GError **error)
{
    g_autofree char *before = get_element(handle, flag);
    struct assist assist = ASSIST_NONE;

    if (before == NULL && base != NULL) {
        assist = *base; /* the element will hold in the drop-in's place */
    } else if (before != NULL && !assist_parse_xml(before, strlen(before), &assist, NULL)) {
        assist = (struct assist)ASSIST_NONE; /* what is not valid is replaced */
    }
    const char *conflict = change(&assist, user_data);
    conflict = conflict != NULL ? conflict : assist_conflict(&assist);
    if (conflict != NULL) {
        g_set_error(error, HV_STATUS_ERROR, HV_STATUS_OBJECT_IN_USE,
                    "the metadata of domain %s would have %s", virDomainGetName(handle), conflict);
        return FALSE;
    }
    g_autofree char *after = assist_to_xml(&assist);
    if (virDomainSetMetadata(handle, VIR_DOMAIN_METADATA_ELEMENT, after, METADATA_KEY,
                             ASSIST_NAMESPACE, flag) != 0) {
        g_set_error(error, HV_STATUS_ERROR, HV_STATUS_OPERATION_DENIED,
                    "libvirt does not write the %s metadata of domain %s: %s",
                    flag == VIR_DOMAIN_AFFECT_CONFIG ? "persistent" : "live",
                    virDomainGetName(handle), virGetLastErrorMessage());
        return FALSE;
    }
    return TRUE;
}

/* ---- the domain's own clock ---- */

/* <catchup> of its RTC, which libvirt itself does not heed. Takes effect as all that is in <clock>
 * does: when the domain is started. */
static void read_clock(struct domain *domain, virDomainPtr handle)
{
    const char *name = guest_identity(domain->guest)->name;
    char *xml = virDomainGetXMLDesc(handle, 0);
    g_autoptr(GError) error = NULL;

    domain->clock = (struct assist)ASSIST_NONE;
    if (xml != NULL && !clock_xml_read_policy(xml, strlen(xml), &domain->clock, &error)) {
        g_warning("domain %s: its <catchup> is not heeded: %s", name, error->message);
    }
    free(xml);
}

static void apply_clock(struct domain *domain)
{
    static const struct assist none = ASSIST_NONE;
    struct ticker_policy policy = policy_of(domain, &none);
    g_autoptr(GError) error = NULL;

    if (domain->clock.policy_given != 0 && !guest_set_policy(domain->guest, &policy, &error)) {
        g_warning("%s", error->message);
    }
}

/* Ticks of the partition's own timer may count for something else than the time of day. */
void domain_clock_was_set(struct domain *domain)
{
    if (guest_supervision(domain->guest)->mode != SUPERVISION_OFF) {
        guest_reset_backlog(domain->guest);
    }
}

/* Would QEMU replay the time of a suspend, against what the policy says? */
static gboolean replays(const struct domain *domain)
{
    const struct injector *injector = guest_injector(domain->guest);
    const struct supervision *supervision = guest_supervision(domain->guest);

    return injector != NULL && injector->makes_up && supervision->timer == BASE_TIMER_RTC &&
           supervision->mode == SUPERVISION_SLEW && !guest_policy(domain->guest)->catch_up_suspends;
}

static gboolean on_forget(gpointer user_data)
{
    struct domain *domain = user_data;

    if (replays(domain)) {
        libvirt_rtc_forget_lost_ticks(domain->suspended);
    }
    return G_SOURCE_CONTINUE;
}

static void stop_forgetting(struct domain *domain)
{
    g_clear_handle_id(&domain->forget, g_source_remove);
    g_clear_pointer(&domain->suspended, virDomainFree);
}

/* Who resumes it does not tell before; so what QEMU has counted never gets old, and what is left of
 * it is dropped as soon as the domain runs. */
static void follow_suspend(struct domain *domain, virDomainPtr handle, gboolean running)
{
    gboolean was_suspended = domain->suspended != NULL;

    stop_forgetting(domain);
    if (running && was_suspended && replays(domain)) {
        libvirt_rtc_forget_lost_ticks(handle);
    } else if (!running) {
        virDomainRef(handle);
        domain->suspended = handle;
        domain->forget = g_timeout_add_seconds(FORGET_SECONDS, on_forget, domain);
    }
}

/* ---- following the domain ---- */

static gboolean start(struct domain *domain, virDomainPtr handle)
{
    const struct guest_identity *identity = guest_identity(domain->guest);
    g_autofree char *xml = get_element(handle, VIR_DOMAIN_AFFECT_LIVE);
    g_autoptr(GError) error = NULL;
    pid_t pid = process_find_qemu(identity->uuid, &error);
    struct memory *memory = state_find_running(domain->context->state, "libvirt", identity->name,
                                               identity->uuid, (uint32_t)pid);

    if (memory != NULL) {
        guest_remember(domain->guest, &memory->guest);
    }
    if (pid == 0 ||
        !vm_process_start(domain->guest, pid, domain->context->config, NULL, NULL, &error)) {
        g_warning("domain %s: its QEMU process can't be found: %s", identity->name, error->message);
        return FALSE;
    }
    domain->assist = (struct assist)ASSIST_NONE;
    read_clock(domain, handle);
    if (memory == NULL) {
        apply_clock(domain);
        choose_and_apply(domain, xml);
    } else { /* what was set, by whatever means, goes on */
        choose(domain, xml);
        guest_resume(domain->guest, &memory->guest);
    }
    return TRUE;
}

/* A domain that is still being received, or restored, is not there yet: what is written to its
 * interrupt controller now would be overwritten. */
static gboolean has_not_begun(int state, int reason)
{
    return state == VIR_DOMAIN_PAUSED &&
           (reason == VIR_DOMAIN_PAUSED_MIGRATION || reason == VIR_DOMAIN_PAUSED_STARTING_UP ||
            reason == VIR_DOMAIN_PAUSED_POSTCOPY);
}

void domain_follow(struct domain *domain, virDomainPtr handle)
{
    int state, reason;

    if (virDomainGetState(handle, &state, &reason, 0) != 0) {
        return;
    }
    gboolean off = guest_state(domain->guest) == GUEST_OFF;
    switch (state) {
    case VIR_DOMAIN_SHUTOFF:
    case VIR_DOMAIN_CRASHED:
        stop_forgetting(domain);
        guest_turn_off(domain->guest);
        return;
    case VIR_DOMAIN_RUNNING:
    case VIR_DOMAIN_PAUSED:
    case VIR_DOMAIN_PMSUSPENDED:
        break;
    default: /* on its way to one of these */
        return;
    }
    if (off && (has_not_begun(state, reason) || !start(domain, handle))) {
        return;
    }
    follow_suspend(domain, handle, state == VIR_DOMAIN_RUNNING);
    guest_set_running(domain->guest, state == VIR_DOMAIN_RUNNING);
}

static void on_reset_done(G_GNUC_UNUSED const GError *error, G_GNUC_UNUSED gpointer user_data)
{
}

void domain_was_reset(struct domain *domain)
{
    if (guest_state(domain->guest) != GUEST_OFF) {
        guest_reset(domain->guest, on_reset_done, NULL);
    }
}

/* ---- life ---- */

struct domain *domain_new(const struct domain_context *context, const char *name, const char *uuid)
{
    const struct memory *memory = state_find(context->state, "libvirt", name, uuid);
    struct guest_identity identity = {
        .id = memory != NULL ? memory->id : 0, .name = name, .uuid = uuid, .source = "libvirt"};
    g_autoptr(GError) error = NULL;
    struct guest *guest = manager_add(context->manager, &identity, &error);

    if (guest == NULL) {
        g_warning("domain %s: %s", name, error->message);
        return NULL;
    }
    struct domain *domain = g_new0(struct domain, 1);
    domain->context = context;
    domain->guest = guest;
    domain->assist = domain->clock = (struct assist)ASSIST_NONE;
    return domain;
}

void domain_free(gpointer data)
{
    struct domain *domain = data;

    stop_forgetting(domain);
    manager_remove(domain->context->manager, domain->guest);
    g_free(domain->definition);
    g_free(domain);
}
