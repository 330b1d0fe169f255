/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Partitions of libvirt's QEMU/KVM domains: see libvirt.h. Here: the connection and its events. */
#include "daemon/sources/libvirt.h"

#include "common/status.h"
#include "daemon/sources/libvirt-domain.h"
#include <libvirt-glib/libvirt-glib.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#define RETRY_SECONDS 1
/* A libvirtd that does not answer for so long counts as gone: SECONDS x TIMES. */
#define KEEPALIVE_SECONDS 3
#define KEEPALIVE_TIMES   2

struct libvirt_source {
    struct domain_context context; /* what the domains share */
    char *uri;
    virConnectPtr connection; /* NULL: lost */
    int events[4];
    guint retry;
    gboolean told;       /* that it can't be reached */
    GHashTable *domains; /* UUID -> struct domain (owned) */
};

static void schedule_retry(struct libvirt_source *source);

/* ---- domains ---- */

static struct domain *find_domain(struct libvirt_source *source, virDomainPtr handle)
{
    char uuid[VIR_UUID_STRING_BUFLEN];

    if (virDomainGetUUIDString(handle, uuid) != 0) {
        return NULL;
    }
    return g_hash_table_lookup(source->domains, uuid);
}

static struct domain *find_or_add_domain(struct libvirt_source *source, virDomainPtr handle)
{
    struct domain *domain = find_domain(source, handle);
    char uuid[VIR_UUID_STRING_BUFLEN];

    if (domain != NULL || virDomainGetUUIDString(handle, uuid) != 0) {
        return domain;
    }
    domain = domain_new(&source->context, virDomainGetName(handle), uuid);
    if (domain != NULL) {
        g_hash_table_insert(source->domains, g_strdup(uuid), domain);
    }
    return domain;
}

static void drop_domain(struct libvirt_source *source, virDomainPtr handle)
{
    char uuid[VIR_UUID_STRING_BUFLEN];

    if (virDomainGetUUIDString(handle, uuid) == 0) {
        g_hash_table_remove(source->domains, uuid);
    }
}

/* Neither runs nor is defined; or is not known at all any more, as the news of it came later. */
static gboolean is_gone(virDomainPtr handle)
{
    int active = virDomainIsActive(handle);

    if (active < 0) {
        return virGetLastErrorCode() == VIR_ERR_NO_DOMAIN;
    }
    return active == 0 && virDomainIsPersistent(handle) == 0;
}

/* ---- events ---- */

static int on_lifecycle(G_GNUC_UNUSED virConnectPtr connection, virDomainPtr handle, int event,
                        int detail, void *opaque)
{
    struct libvirt_source *source = opaque;

    if ((event == VIR_DOMAIN_EVENT_UNDEFINED || event == VIR_DOMAIN_EVENT_STOPPED) &&
        is_gone(handle)) {
        drop_domain(source, handle);
        return 0;
    }
    struct domain *domain = find_or_add_domain(source, handle);
    if (domain == NULL) {
        return 0;
    }
    if (event == VIR_DOMAIN_EVENT_DEFINED) {
        if (detail == VIR_DOMAIN_EVENT_DEFINED_RENAMED) {
            drop_domain(source, handle);
            domain = find_or_add_domain(source, handle);
            if (domain == NULL) {
                return 0;
            }
        }
        domain_read_definition(domain, handle);
    }
    domain_follow(domain, handle);
    return 0;
}

static int on_reboot(G_GNUC_UNUSED virConnectPtr connection, virDomainPtr handle, void *opaque)
{
    struct domain *domain = find_domain(opaque, handle);

    if (domain != NULL) {
        domain_was_reset(domain);
    }
    return 0;
}

static int on_rtc_change(G_GNUC_UNUSED virConnectPtr connection, virDomainPtr handle,
                         G_GNUC_UNUSED long long utc_offset, void *opaque)
{
    struct domain *domain = find_domain(opaque, handle);

    if (domain != NULL) {
        domain_clock_was_set(domain);
    }
    return 0;
}

static int on_metadata(G_GNUC_UNUSED virConnectPtr connection, virDomainPtr handle, int type,
                       const char *uri, void *opaque)
{
    struct domain *domain = find_domain(opaque, handle);

    if (domain != NULL && type == VIR_DOMAIN_METADATA_ELEMENT &&
        g_strcmp0(uri, ASSIST_NAMESPACE) == 0) {
        domain_read_metadata(domain, handle);
    }
    return 0;
}

/* ---- the connection ---- */

static void drop_connection(struct libvirt_source *source)
{
    if (source->connection == NULL) {
        return;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(source->events); i++) {
        if (source->events[i] >= 0) {
            virConnectDomainEventDeregisterAny(source->connection, source->events[i]);
        }
    }
    virConnectUnregisterCloseCallback(source->connection, NULL);
    virConnectClose(source->connection);
    source->connection = NULL;
}

static gboolean on_lost(gpointer user_data)
{
    struct libvirt_source *source = user_data;

    source->retry = 0;
    g_warning("the connection to libvirt (%s) is lost; guests that tick go on ticking",
              source->uri);
    drop_connection(source);
    schedule_retry(source);
    return G_SOURCE_REMOVE;
}

/* Called by libvirt in the middle of its own work on the connection: let it finish first. */
static void on_close(G_GNUC_UNUSED virConnectPtr connection, G_GNUC_UNUSED int reason, void *opaque)
{
    struct libvirt_source *source = opaque;

    if (source->retry == 0) {
        source->retry = g_idle_add(on_lost, source);
    }
}

static gboolean subscribe(struct libvirt_source *source)
{
    static const struct {
        int event;
        virConnectDomainEventGenericCallback callback;
    } rows[] = {
        {VIR_DOMAIN_EVENT_ID_LIFECYCLE, VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle)},
        {VIR_DOMAIN_EVENT_ID_REBOOT, VIR_DOMAIN_EVENT_CALLBACK(on_reboot)},
        {VIR_DOMAIN_EVENT_ID_METADATA_CHANGE, VIR_DOMAIN_EVENT_CALLBACK(on_metadata)},
        {VIR_DOMAIN_EVENT_ID_RTC_CHANGE, VIR_DOMAIN_EVENT_CALLBACK(on_rtc_change)},
    };
    gboolean ok = TRUE;

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        source->events[i] = virConnectDomainEventRegisterAny(
            source->connection, NULL, rows[i].event, rows[i].callback, source, NULL);
        ok = ok && source->events[i] >= 0;
    }
    return ok && virConnectRegisterCloseCallback(source->connection, on_close, source, NULL) == 0;
}

/* Domains that went while nobody looked are dropped; the others follow what they are now. */
static void list_domains(struct libvirt_source *source)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
    virDomainPtr *handles = NULL;
    int n = virConnectListAllDomains(source->connection, &handles, 0);
    GHashTableIter iter;
    gpointer domain;

    if (n < 0) {
        return;
    }
    for (int i = 0; i < n; i++) {
        struct domain *found = find_or_add_domain(source, handles[i]);
        if (found != NULL) {
            g_hash_table_add(seen, found);
            domain_read_definition(found, handles[i]);
            domain_follow(found, handles[i]);
        }
        virDomainFree(handles[i]);
    }
    free(handles);
    g_hash_table_iter_init(&iter, source->domains);
    while (g_hash_table_iter_next(&iter, NULL, &domain)) {
        if (!g_hash_table_contains(seen, domain)) {
            g_hash_table_iter_remove(&iter);
        }
    }
}

static gboolean connect_libvirt(struct libvirt_source *source)
{
    source->connection = virConnectOpen(source->uri);
    if (source->connection == NULL) {
        return FALSE;
    }
    virConnectSetKeepAlive(source->connection, KEEPALIVE_SECONDS, KEEPALIVE_TIMES);
    if (!subscribe(source)) {
        drop_connection(source);
        return FALSE;
    }
    return TRUE;
}

static gboolean try_to_connect(gpointer user_data)
{
    struct libvirt_source *source = user_data;

    source->retry = 0;
    if (connect_libvirt(source)) {
        g_message("connected to libvirt (%s)", source->uri);
        source->told = FALSE;
        list_domains(source);
        return G_SOURCE_REMOVE;
    }
    if (!source->told) {
        g_warning("libvirt (%s) can't be reached: %s; trying again every %d s", source->uri,
                  virGetLastErrorMessage(), RETRY_SECONDS);
        source->told = TRUE;
    }
    schedule_retry(source);
    return G_SOURCE_REMOVE;
}

static void schedule_retry(struct libvirt_source *source)
{
    source->retry = g_timeout_add_seconds(RETRY_SECONDS, try_to_connect, source);
}

/* libvirt's own words come as errors of its calls; it need not print them too. */
static void be_silent(G_GNUC_UNUSED void *opaque, G_GNUC_UNUSED virErrorPtr error)
{
}

struct libvirt_source *libvirt_source_new(struct manager *manager, const struct config *config,
                                          const struct state *state, const char *uri)
{
    struct libvirt_source *source = g_new0(struct libvirt_source, 1);

    gvir_event_register();
    virSetErrorFunc(NULL, be_silent);
    source->context = (struct domain_context){manager, config, state};
    source->uri = g_strdup(uri);
    source->domains = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, domain_free);
    try_to_connect(source);
    return source;
}

void libvirt_source_free(struct libvirt_source *source)
{
    if (source == NULL) {
        return;
    }
    g_clear_handle_id(&source->retry, g_source_remove);
    drop_connection(source);
    g_hash_table_unref(source->domains);
    g_free(source->uri);
    g_free(source);
}

/* ---- what others ask ---- */

static virDomainPtr handle_of(struct libvirt_source *source, struct guest *guest, GError **error)
{
    const struct guest_identity *identity = guest_identity(guest);
    virDomainPtr handle = NULL;

    if (source == NULL || !g_hash_table_contains(source->domains, identity->uuid)) {
        g_set_error(error, HV_STATUS_ERROR, HV_STATUS_OPERATION_DENIED,
                    "partition %" G_GUINT64_FORMAT " (%s) has no persistent configuration, which "
                    "only libvirt domains have; leave --config out",
                    identity->id, identity->name);
        return NULL;
    }
    if (source->connection != NULL) {
        handle = virDomainLookupByUUIDString(source->connection, identity->uuid);
    }
    if (handle == NULL) {
        g_set_error(error, HV_STATUS_ERROR, HV_STATUS_INVALID_PARTITION_STATE,
                    "domain %s can't be reached through libvirt (%s) at the moment: try again",
                    identity->name, source->uri);
    }
    return handle;
}

gboolean libvirt_source_write(struct libvirt_source *source, struct guest *guest,
                              enum libvirt_where where, libvirt_change_func change,
                              gpointer user_data, GError **error)
{
    virDomainPtr handle = handle_of(source, guest, error);

    if (handle == NULL) {
        return FALSE;
    }
    const struct guest_identity *identity = guest_identity(guest);
    const struct assist *base =
        config_find_assist(source->context.config, identity->name, identity->uuid);
    gboolean ok = TRUE;
    if ((where & LIBVIRT_CONFIG) != 0) {
        ok =
            domain_write_metadata(handle, VIR_DOMAIN_AFFECT_CONFIG, base, change, user_data, error);
    }
    if (ok && (where & LIBVIRT_LIVE) != 0) {
        ok = domain_write_metadata(handle, VIR_DOMAIN_AFFECT_LIVE, base, change, user_data, error);
    }
    virDomainFree(handle);
    return ok;
}

void libvirt_source_configure(struct libvirt_source *source)
{
    GHashTableIter iter;
    gpointer domain;

    g_hash_table_iter_init(&iter, source->domains);
    while (g_hash_table_iter_next(&iter, NULL, &domain)) {
        domain_configure(domain);
    }
}
