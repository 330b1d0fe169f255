/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The metrics over HTTP: see metrics-server.h. libsoup speaks HTTP; connections are accepted here,
 * so that there are few of them, none stays for long, and a Unix socket is nobody else's.
 */
#include "daemon/metrics-server.h"

#include "daemon/metrics.h"
#include <errno.h>
#include <gio/gunixsocketaddress.h>
#include <glib/gstdio.h>
#include <libsoup/soup.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* At a time; those who come then wait in the kernel's queue. A scraper makes one every few
 * seconds. */
#define CLIENTS_MAX 8
/* From its first byte to its last, a connection may take so long: one request is answered in it. */
#define CLIENT_SECONDS 5
#define BACKLOG        16
/* As much of a body is read and thrown away so that whoever sent it can read why it is refused. */
#define BODY_MAX 65536

/* What is listened on. */
struct listener {
    struct metrics_server *server;
    char *text; /* as configured */
    GSocketService *service;
    char *path;  /* of a Unix socket; NULL: it is none */
    ino_t inode; /* of the socket at that path */
};

struct metrics_server {
    struct manager *manager;
    SoupServer *http;
    struct listener *listener; /* NULL: off */
    GPtrArray *clients;        /* struct client */
};

struct client {
    struct metrics_server *server;
    GSocketConnection *connection; /* not ours: told when it goes */
    GSocketAddress *remote;
    guint deadline;
};

/* ---- addresses ---- */

static GSocketAddress *parse_unix(const char *path)
{
    if (!g_path_is_absolute(path) ||
        strlen(path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path)) {
        return NULL;
    }
    return g_unix_socket_address_new(path);
}

/* In brackets if, and only if, it is of IPv6. Names are not looked up: what they mean may change.
 */
static GInetAddress *parse_host(const char *host, gsize length)
{
    gboolean brackets = length >= 2 && host[0] == '[' && host[length - 1] == ']';
    g_autofree char *text = brackets ? g_strndup(host + 1, length - 2) : g_strndup(host, length);
    g_autoptr(GInetAddress) address = g_inet_address_new_from_string(text);

    if (address == NULL || !g_inet_address_get_is_loopback(address) ||
        brackets != (g_inet_address_get_family(address) == G_SOCKET_FAMILY_IPV6)) {
        return NULL;
    }
    return g_steal_pointer(&address);
}

GSocketAddress *metrics_address_parse(const char *text)
{
    const char *colon = strrchr(text, ':');
    guint64 port;

    if (g_str_has_prefix(text, "unix:")) {
        return parse_unix(text + strlen("unix:"));
    }
    if (colon == NULL || !g_ascii_string_to_unsigned(colon + 1, 10, 1, 65535, &port, NULL)) {
        return NULL;
    }
    g_autoptr(GInetAddress) host = parse_host(text, (gsize)(colon - text));

    return host != NULL ? g_inet_socket_address_new(host, (guint16)port) : NULL;
}

/* ---- hanging up ---- */

/* Of connections that it has not accepted itself, libsoup knows no socket, but for each message the
 * address of whoever sent it: the very object that it was given. */
static GQuark socket_quark(void)
{
    return g_quark_from_static_string("hvtimer-socket");
}

/* libsoup notices, and lets go of the connection. */
static void hang_up(GSocketAddress *remote)
{
    g_socket_shutdown(g_object_get_qdata(G_OBJECT(remote), socket_quark()), TRUE, TRUE, NULL);
}

/* ---- requests ---- */

/* Whether whoever asks would rather have the text format: what they like best decides. Those who
 * say nothing, or that anything will do, get OpenMetrics; people's browsers ask for text. */
static enum metrics_format choose_format(SoupMessageHeaders *request)
{
    const char *accept = soup_message_headers_get_list(request, "Accept");
    GSList *types = accept != NULL ? soup_header_parse_quality_list(accept, NULL) : NULL;
    enum metrics_format format = METRICS_OPENMETRICS;

    for (GSList *type = types; type != NULL; type = type->next) {
        if (g_str_has_prefix(type->data, "text/")) {
            format = METRICS_TEXT;
            break;
        }
        if (g_str_has_prefix(type->data, "application/openmetrics-text") ||
            g_str_has_prefix(type->data, "application/*") || g_str_has_prefix(type->data, "*/*")) {
            break;
        }
    }
    soup_header_free_list(types);
    return format;
}

static void answer(SoupServerMessage *message, guint status, const char *type, char *body)
{
    soup_server_message_set_status(message, status, NULL);
    soup_server_message_set_response(message, type, SOUP_MEMORY_TAKE, body, strlen(body));
}

static void answer_text(SoupServerMessage *message, guint status, const char *text)
{
    answer(message, status, "text/plain; charset=utf-8", g_strdup(text));
}

static gboolean has_body(SoupMessageHeaders *request)
{
    return soup_message_headers_get_one(request, "Transfer-Encoding") != NULL ||
           soup_message_headers_get_content_length(request) > 0;
}

static void on_body(SoupServerMessage *message, GBytes *chunk, gpointer user_data)
{
    gsize *received = user_data;

    *received += g_bytes_get_size(chunk);
    if (*received > BODY_MAX) {
        hang_up(soup_server_message_get_remote_address(message));
    }
}

static void free_count(gpointer received, G_GNUC_UNUSED GClosure *closure)
{
    g_free(received);
}

/* Before the body of a request is read. What is refused here has its answer. */
static void on_headers(G_GNUC_UNUSED SoupServer *http, SoupServerMessage *message,
                       G_GNUC_UNUSED const char *path, G_GNUC_UNUSED GHashTable *query,
                       G_GNUC_UNUSED gpointer user_data)
{
    SoupMessageHeaders *request = soup_server_message_get_request_headers(message);
    SoupMessageHeaders *response = soup_server_message_get_response_headers(message);
    const char *method = soup_server_message_get_method(message);

    /* What comes nevertheless is not kept. */
    soup_message_body_set_accumulate(soup_server_message_get_request_body(message), FALSE);
    g_signal_connect_data(message, "got-chunk", G_CALLBACK(on_body), g_new0(gsize, 1), free_count,
                          0);
    soup_message_headers_remove(request, "Range"); /* parts of it make no sense */
    soup_message_headers_replace(response, "Connection", "close");
    soup_message_headers_replace(response, "Cache-Control", "no-store");
    if (!g_str_equal(method, "GET") && !g_str_equal(method, "HEAD")) {
        soup_message_headers_replace(response, "Allow", "GET, HEAD");
        answer_text(message, SOUP_STATUS_METHOD_NOT_ALLOWED,
                    "Metrics can only be read: GET or HEAD.\n");
    } else if (has_body(request)) {
        answer_text(message, SOUP_STATUS_REQUEST_ENTITY_TOO_LARGE,
                    "A request for metrics has no body.\n");
    }
}

static void on_request(G_GNUC_UNUSED SoupServer *http, SoupServerMessage *message, const char *path,
                       G_GNUC_UNUSED GHashTable *query, gpointer user_data)
{
    struct metrics_server *server = user_data;
    enum metrics_format format = choose_format(soup_server_message_get_request_headers(message));

    if (g_str_equal(path, "/metrics")) {
        soup_message_headers_replace(soup_server_message_get_response_headers(message), "Vary",
                                     "Accept");
        answer(message, SOUP_STATUS_OK, metrics_content_type(format),
               metrics_read(server->manager, format));
    } else if (g_str_equal(path, "/")) {
        answer_text(message, SOUP_STATUS_OK, "hvtimerd " PACKAGE_VERSION ": see /metrics\n");
    } else {
        answer_text(message, SOUP_STATUS_NOT_FOUND, "There is nothing here: see /metrics\n");
    }
}

/* ---- connections ---- */

static void client_free(gpointer data)
{
    struct client *client = data;

    g_clear_handle_id(&client->deadline, g_source_remove);
    g_object_unref(client->remote);
    g_free(client);
}

static void on_connection_gone(gpointer data, G_GNUC_UNUSED GObject *connection)
{
    struct client *client = data;
    struct metrics_server *server = client->server;

    g_ptr_array_remove_fast(server->clients, client); /* frees it */
    if (server->listener != NULL && server->clients->len < CLIENTS_MAX) {
        g_socket_service_start(server->listener->service);
    }
}

static gboolean on_deadline(gpointer user_data)
{
    struct client *client = user_data;

    client->deadline = 0;
    hang_up(client->remote);
    return G_SOURCE_REMOVE;
}

/* libsoup asks for the address that was connected to, where a request does not name its host, and
 * knows of none but those of IP. */
static GSocketAddress *address_for_soup(GSocketAddress *address)
{
    if (address != NULL && G_IS_INET_SOCKET_ADDRESS(address)) {
        return g_object_ref(address);
    }
    return g_inet_socket_address_new_from_string("127.0.0.1", 80);
}

static struct client *add_client(struct metrics_server *server, GSocketConnection *connection)
{
    g_autoptr(GSocketAddress) remote = g_socket_connection_get_remote_address(connection, NULL);
    struct client *client = g_new(struct client, 1);

    *client = (struct client){server, connection, address_for_soup(remote), 0};
    g_object_set_qdata_full(G_OBJECT(client->remote), socket_quark(),
                            g_object_ref(g_socket_connection_get_socket(connection)),
                            g_object_unref);
    client->deadline = g_timeout_add_seconds(CLIENT_SECONDS, on_deadline, client);
    g_ptr_array_add(server->clients, client);
    g_object_weak_ref(G_OBJECT(connection), on_connection_gone, client);
    return client;
}

static gboolean on_incoming(G_GNUC_UNUSED GSocketService *service, GSocketConnection *connection,
                            G_GNUC_UNUSED GObject *source, gpointer user_data)
{
    struct listener *listener = user_data;
    struct metrics_server *server = listener->server;
    g_autoptr(GSocketAddress) address = g_socket_connection_get_local_address(connection, NULL);
    g_autoptr(GSocketAddress) local = address_for_soup(address);
    struct client *client = add_client(server, connection);

    if (server->clients->len >= CLIENTS_MAX) {
        g_socket_service_stop(listener->service);
    }
    soup_server_accept_iostream(server->http, G_IO_STREAM(connection), local, client->remote, NULL);
    return TRUE;
}

/* ---- listening ---- */

static void listener_free(struct listener *listener)
{
    struct stat status;

    if (listener == NULL) {
        return;
    }
    g_signal_handlers_disconnect_by_data(listener->service, listener);
    g_socket_service_stop(listener->service);
    g_socket_listener_close(G_SOCKET_LISTENER(listener->service));
    g_object_unref(listener->service);
    /* Somebody may have put another in its place. */
    if (listener->path != NULL && lstat(listener->path, &status) == 0 &&
        status.st_ino == listener->inode) {
        g_unlink(listener->path);
    }
    g_free(listener->path);
    g_free(listener->text);
    g_free(listener);
}

static void set_os_error(GError **error, const char *what)
{
    int code = errno;

    g_set_error(error, G_IO_ERROR, (gint)g_io_error_from_errno(code), "%s: %s", what,
                g_strerror(code));
}

/* A socket that nobody listens on any more, as of a daemon that was killed. */
static gboolean remove_stale(const char *path, GSocketAddress *address, GError **error)
{
    g_autoptr(GSocket) probe =
        g_socket_new(G_SOCKET_FAMILY_UNIX, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_DEFAULT, error);
    g_autoptr(GError) answer = NULL;
    struct stat status;

    if (probe == NULL) {
        return FALSE;
    }
    if (lstat(path, &status) != 0) {
        return TRUE;
    }
    if (!S_ISSOCK(status.st_mode)) {
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_EXISTS,
                            "there is a file of this name that is no socket; remove it, or give "
                            "another path");
        return FALSE;
    }
    g_socket_set_blocking(probe, FALSE);
    g_socket_connect(probe, address, NULL, &answer);
    if (!g_error_matches(answer, G_IO_ERROR, G_IO_ERROR_CONNECTION_REFUSED)) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_ADDRESS_IN_USE, "another's socket is there: %s",
                    answer != NULL ? answer->message : "somebody listens");
        return FALSE;
    }
    if (g_unlink(path) != 0) {
        set_os_error(error, "a socket that was left there can't be removed");
        return FALSE;
    }
    return TRUE;
}

/* For the owner and the group of this process, and at no moment for others. */
static gboolean bind_unix(GSocket *socket, GSocketAddress *address, const char *path,
                          GError **error)
{
    if (!remove_stale(path, address, error)) {
        return FALSE;
    }
    if (fchmod(g_socket_get_fd(socket), 0660) != 0) { /* the file's, less the umask */
        set_os_error(error, "its mode can't be set");
        return FALSE;
    }
    if (!g_socket_bind(socket, address, FALSE, error)) {
        return FALSE;
    }
    if (g_chmod(path, 0660) != 0) {
        set_os_error(error, "its mode can't be set");
        g_unlink(path);
        return FALSE;
    }
    return TRUE;
}

static gboolean listen_on(struct listener *listener, GSocketAddress *address, GError **error)
{
    g_autoptr(GSocket) socket =
        g_socket_new(g_socket_address_get_family(address), G_SOCKET_TYPE_STREAM,
                     G_SOCKET_PROTOCOL_DEFAULT, error);
    struct stat status;

    if (socket == NULL) {
        return FALSE;
    }
    g_socket_set_listen_backlog(socket, BACKLOG);
    if (G_IS_UNIX_SOCKET_ADDRESS(address)) {
        const char *path = g_unix_socket_address_get_path(G_UNIX_SOCKET_ADDRESS(address));

        if (!bind_unix(socket, address, path, error)) {
            return FALSE;
        }
        listener->path = g_strdup(path);
        listener->inode = lstat(path, &status) == 0 ? status.st_ino : 0;
    } else if (!g_socket_bind(socket, address, TRUE, error)) {
        return FALSE;
    }
    return g_socket_listen(socket, error) &&
           g_socket_listener_add_socket(G_SOCKET_LISTENER(listener->service), socket, NULL, error);
}

static struct listener *listener_new(struct metrics_server *server, const char *text,
                                     GError **error)
{
    g_autoptr(GSocketAddress) address = metrics_address_parse(text);
    struct listener *listener = g_new0(struct listener, 1);

    listener->server = server;
    listener->text = g_strdup(text);
    listener->service = g_socket_service_new();
    g_signal_connect(listener->service, "incoming", G_CALLBACK(on_incoming), listener);
    if (address == NULL) { /* the configuration is read by the same rule */
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT, "it is no address");
    } else if (listen_on(listener, address, error)) {
        return listener;
    }
    listener_free(listener);
    return NULL;
}

void metrics_server_listen(struct metrics_server *server, const char *address)
{
    const char *before = server->listener != NULL ? server->listener->text : "";
    g_autoptr(GError) error = NULL;
    struct listener *listener = NULL;

    if (g_str_equal(address, before)) {
        return;
    }
    if (*address != '\0') {
        listener = listener_new(server, address, &error);
        if (listener == NULL) {
            g_warning("metrics can't be served at %s (%s)%s%s: give another address as "
                      "metrics_listen, or free this one, and reload",
                      address, error->message,
                      *before != '\0' ? "; they still are at " : ", so they are not", before);
            return;
        }
        g_message("metrics are served at %s", address);
    } else {
        g_message("metrics are not served any more");
    }
    listener_free(server->listener);
    server->listener = listener;
}

struct metrics_server *metrics_server_new(struct manager *manager)
{
    struct metrics_server *server = g_new0(struct metrics_server, 1);

    server->manager = manager;
    server->clients = g_ptr_array_new_with_free_func(client_free);
    server->http = soup_server_new(NULL, NULL);
    soup_server_add_early_handler(server->http, NULL, on_headers, server, NULL);
    soup_server_add_early_handler(server->http, "*", on_headers, server, NULL);
    soup_server_add_handler(server->http, NULL, on_request, server, NULL);
    return server;
}

void metrics_server_free(struct metrics_server *server)
{
    if (server == NULL) {
        return;
    }
    listener_free(g_steal_pointer(&server->listener));
    soup_server_disconnect(server->http); /* and all its clients */
    g_object_unref(server->http);
    /* What GIO still holds on to must not call back. */
    for (guint i = 0; i < server->clients->len; i++) {
        struct client *client = server->clients->pdata[i];

        g_object_weak_unref(G_OBJECT(client->connection), on_connection_gone, client);
    }
    g_ptr_array_unref(server->clients);
    g_free(server);
}
