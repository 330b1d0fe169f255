/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Asking libvirt and hvtimerd: see services.h. Each is asked in a thread of its own, which is left
 * behind if it does not come back: neither library can be told to give up at every step.
 */
#include "hvapi/verify/services.h"

#include "common/bus-address.h"
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <stdlib.h>

#define BUS_NAME  "org.hvtimer1"
#define ROOT_PATH "/org/hvtimer1"

/* So that a daemon that hangs is told from one that is not there. */
#define CALL_MS ((SERVICES_PATIENCE_S - 1) * 1000)

static GError *new_timeout(void)
{
    return g_error_new(G_IO_ERROR, G_IO_ERROR_TIMED_OUT, "no answer within %d s",
                       SERVICES_PATIENCE_S);
}

/* ---- threads ---- */

struct question {
    GAsyncQueue *answers;
    gpointer (*ask)(const char *whom);
    char *whom;
};

static void question_free(struct question *question)
{
    g_async_queue_unref(question->answers);
    g_free(question->whom);
    g_free(question);
}

static gpointer ask_in_thread(gpointer data)
{
    struct question *question = data;

    g_async_queue_push(question->answers, question->ask(question->whom));
    question_free(question);
    return NULL;
}

/* Where the answer will be. (transfer full) */
static GAsyncQueue *ask(gpointer (*function)(const char *whom), const char *whom,
                        GDestroyNotify answer_free)
{
    struct question *question = g_new(struct question, 1);
    GAsyncQueue *answers = g_async_queue_new_full(answer_free);

    *question = (struct question){g_async_queue_ref(answers), function, g_strdup(whom)};
    g_thread_unref(g_thread_new("ask", ask_in_thread, question));
    return answers;
}

/* NULL: there is none in time. */
static gpointer take_answer(GAsyncQueue *answers, gint64 until)
{
    gint64 rest = until - g_get_monotonic_time();
    gpointer answer = g_async_queue_timeout_pop(answers, (guint64)MAX(rest, 0));

    g_async_queue_unref(answers);
    return answer;
}

/* ---- libvirt ---- */

static void domain_free(gpointer data)
{
    struct services_domain *domain = data;

    g_free(domain->name);
    g_free(domain->xml);
    g_free(domain);
}

struct services_libvirt *services_libvirt_new(const char *uri)
{
    struct services_libvirt *libvirt = g_new0(struct services_libvirt, 1);

    libvirt->uri = g_strdup(uri);
    libvirt->domains = g_ptr_array_new_with_free_func(domain_free);
    return libvirt;
}

void services_libvirt_free(struct services_libvirt *libvirt)
{
    if (libvirt == NULL) {
        return;
    }
    g_free(libvirt->uri);
    g_clear_error(&libvirt->error);
    g_free(libvirt->version);
    g_free(libvirt->hypervisor);
    g_ptr_array_unref(libvirt->domains);
    g_free(libvirt);
}

void services_add_domain(struct services_libvirt *libvirt, const char *name, const char *xml)
{
    struct services_domain *domain = g_new(struct services_domain, 1);

    *domain = (struct services_domain){g_strdup(name), g_strdup(xml)};
    g_ptr_array_add(libvirt->domains, domain);
}

static void free_libvirt(gpointer data)
{
    services_libvirt_free(data);
}

static void set_libvirt_error(struct services_libvirt *libvirt)
{
    const char *message = virGetLastErrorMessage();

    libvirt->error = g_error_new(G_IO_ERROR, G_IO_ERROR_FAILED, "%s", message);
}

/* libvirt's own errors would be printed. */
static void be_silent(G_GNUC_UNUSED void *data, G_GNUC_UNUSED virErrorPtr error)
{
}

/* As virConnectGetLibVersion() has it. */
static char *version_text(unsigned long version)
{
    return g_strdup_printf("%lu.%lu.%lu", version / 1000000, version / 1000 % 1000, version % 1000);
}

static void ask_versions(struct services_libvirt *libvirt, virConnectPtr connection)
{
    unsigned long version = 0, hypervisor = 0;
    const char *type = virConnectGetType(connection);

    if (virConnectGetLibVersion(connection, &version) != 0 || type == NULL) {
        set_libvirt_error(libvirt);
        return;
    }
    libvirt->version = version_text(version);
    /* It has none where no emulator is installed. */
    if (virConnectGetVersion(connection, &hypervisor) == 0 && hypervisor != 0) {
        g_autofree char *text = version_text(hypervisor);
        libvirt->hypervisor = g_strdup_printf("%s %s", type, text);
    } else {
        libvirt->hypervisor = g_strdup_printf("%s of an unknown version", type);
    }
}

static gint compare_domains(gconstpointer a, gconstpointer b)
{
    const struct services_domain *const *left = a, *const *right = b;

    return g_strcmp0((*left)->name, (*right)->name);
}

static void ask_domains(struct services_libvirt *libvirt, virConnectPtr connection)
{
    virDomainPtr *domains = NULL;
    int n = virConnectListAllDomains(connection, &domains, VIR_CONNECT_LIST_DOMAINS_ACTIVE);

    if (n < 0) {
        set_libvirt_error(libvirt);
        return;
    }
    for (int i = 0; i < n; i++) {
        char *xml = virDomainGetXMLDesc(domains[i], 0);

        /* One that has ended since is none that runs. */
        if (xml != NULL || virDomainIsActive(domains[i]) == 1) {
            services_add_domain(libvirt, virDomainGetName(domains[i]), xml);
        }
        free(xml);
        virDomainFree(domains[i]);
    }
    free(domains);
    g_ptr_array_sort(libvirt->domains, compare_domains);
}

static gpointer ask_libvirt(const char *uri)
{
    struct services_libvirt *libvirt = services_libvirt_new(uri);
    virConnectPtr connection;

    virSetErrorFunc(NULL, be_silent);
    connection = virInitialize() == 0 ? virConnectOpenReadOnly(uri) : NULL;
    if (connection == NULL) {
        set_libvirt_error(libvirt);
        return libvirt;
    }
    ask_versions(libvirt, connection);
    if (libvirt->error == NULL) {
        ask_domains(libvirt, connection);
    }
    virConnectClose(connection);
    return libvirt;
}

/* ---- hvtimerd ---- */

static void hvtimerd_free(gpointer data)
{
    struct services_hvtimerd *hvtimerd = data;

    g_clear_error(&hvtimerd->error);
    g_free(hvtimerd->version);
    g_free(hvtimerd);
}

static GVariant *call(GDBusConnection *connection, const char *name, const char *path,
                      const char *interface, const char *method, GVariant *parameters,
                      const char *reply, GError **error)
{
    return g_dbus_connection_call_sync(connection, name, path, interface, method, parameters,
                                       G_VARIANT_TYPE(reply), G_DBUS_CALL_FLAGS_NO_AUTO_START,
                                       CALL_MS, NULL, error);
}

static gpointer ask_hvtimerd(const char *bus)
{
    struct services_hvtimerd *hvtimerd = g_new0(struct services_hvtimerd, 1);
    g_autoptr(GDBusConnection) connection = bus_open(bus, &hvtimerd->error);
    g_autoptr(GVariant) pid = NULL, version = NULL, value = NULL;

    if (connection == NULL) {
        return hvtimerd;
    }
    pid =
        call(connection, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus",
             "GetConnectionUnixProcessID", g_variant_new("(s)", BUS_NAME), "(u)", &hvtimerd->error);
    if (pid == NULL) {
        return hvtimerd;
    }
    g_variant_get(pid, "(u)", &hvtimerd->pid);
    version = call(connection, BUS_NAME, ROOT_PATH, "org.freedesktop.DBus.Properties", "Get",
                   g_variant_new("(ss)", BUS_NAME ".Manager", "Version"), "(v)", &hvtimerd->error);
    if (version != NULL) {
        g_variant_get(version, "(v)", &value);
        hvtimerd->version = g_variant_is_of_type(value, G_VARIANT_TYPE_STRING)
                                ? g_variant_dup_string(value, NULL)
                                : g_strdup("?");
    }
    return hvtimerd;
}

/* ---- both ---- */

struct services *services_ask(const char *bus, const char *libvirt_uri)
{
    gint64 until = g_get_monotonic_time() + SERVICES_PATIENCE_S * G_USEC_PER_SEC;
    GAsyncQueue *hvtimerd = ask(ask_hvtimerd, bus, hvtimerd_free);
    GAsyncQueue *libvirt = libvirt_uri != NULL ? ask(ask_libvirt, libvirt_uri, free_libvirt) : NULL;
    struct services *services = g_new0(struct services, 1);

    services->hvtimerd = take_answer(hvtimerd, until);
    if (services->hvtimerd == NULL) {
        services->hvtimerd = g_new0(struct services_hvtimerd, 1);
        services->hvtimerd->error = new_timeout();
    }
    services->libvirt = libvirt != NULL ? take_answer(libvirt, until) : NULL;
    if (libvirt != NULL && services->libvirt == NULL) {
        services->libvirt = services_libvirt_new(libvirt_uri);
        services->libvirt->error = new_timeout();
    }
    return services;
}

void services_free(struct services *services)
{
    hvtimerd_free(services->hvtimerd);
    services_libvirt_free(services->libvirt);
    g_free(services);
}
