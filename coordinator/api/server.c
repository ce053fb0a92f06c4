#include "coordinator/api/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/log.h"
#include "coordinator/api/audit.h"
#include "coordinator/api/auth.h"
#include "coordinator/api/dataset_upload.h"
#include "coordinator/api/events.h"
#include "coordinator/api/query.h"
#include "coordinator/api/rotation.h"
#include "coordinator/api/tls.h"
#include "coordinator/store/store.h"

enum {
    LISTEN_BACKLOG = 1024,
    /* Request line and headers; more is answered 431. libmicrohttpd clears all of it for every request, which
     * at 32 KiB took a seventh of the time of a small one. */
    CONNECTION_MEMORY_BYTES = 16 * 1024,
    UPLOAD_OVERHEAD_BYTES = 64 * 1024, /* multipart framing and the form's other fields */
    BODY_BYTES_PER_S_MIN = 256,        /* slower than this, after the timeout, is an attack or a dead link */
    SWEEP_INTERVAL_MS = 1000,
};

static char TLS_PRIORITIES[] = "NORMAL:-VERS-TLS1.0:-VERS-TLS1.1";

/* What is read only so that the client, still sending, can see the answer; beyond this the connection is cut.
 */
static const uint64_t SWALLOW_BYTES_MAX = 1024ULL * 1024 * 1024;

/* One per TCP connection, so that a client that drips its headers can be cut off. */
struct http_connection {
    int fd;
    uint64_t waiting_since_ns; /* 0: a request is being handled */
    struct http_connection *previous, *next;
};

static void server_run(struct api *api)
{
    MHD_run(api->daemon);
    MHD_UNSIGNED_LONG_LONG wait_ms;
    if (MHD_get_timeout(api->daemon, &wait_ms) == MHD_YES)
        uv_timer_start(&api->run_timer, api->run_timer.timer_cb, wait_ms, 0);
    else
        uv_timer_stop(&api->run_timer);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    server_run(poll->data);
}

static void on_run_timer(uv_timer_t *timer)
{
    server_run(timer->data);
}

void server_kick(struct api *api)
{
    uv_timer_start(&api->run_timer, on_run_timer, 0, 0);
}

static void on_connection(void *context, struct MHD_Connection *connection, void **socket_context,
    enum MHD_ConnectionNotificationCode code)
{
    struct api *api = context;
    struct http_connection *c = *socket_context;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        c = alloc_zero(1, sizeof(*c));
        int on = 1;
        setsockopt(info->connect_fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        c->fd = info->connect_fd;
        c->waiting_since_ns = uv_hrtime();
        c->next = api->connections;
        if (c->next)
            c->next->previous = c;
        api->connections = c;
        *socket_context = c;
    } else if (c) {
        if (c->previous)
            c->previous->next = c->next;
        else
            api->connections = c->next;
        if (c->next)
            c->next->previous = c->previous;
        free(c);
        *socket_context = NULL;
    }
}

static struct http_connection *connection_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

static bool id_is_sane(const char *id)
{
    size_t len = strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:");
    return len > 0 && len <= REQUEST_ID_BYTES_MAX && id[len] == '\0';
}

static struct request *request_new(
    struct api *api, struct MHD_Connection *connection, const char *path, const char *method)
{
    struct request *r = alloc_zero(1, sizeof(*r));
    r->api = api;
    r->connection = connection;
    r->method = method;
    r->path = path;
    r->started_ns = uv_hrtime();
    const char *given = request_header(r, "X-Request-ID");
    if (given && id_is_sane(given))
        snprintf(r->id, sizeof(r->id), "%s", given);
    else
        snprintf(r->id, sizeof(r->id), "%08x%08x", (unsigned)api->id_prefix, (unsigned)++api->id_counter);
    struct http_connection *c = connection_of(connection);
    if (c)
        c->waiting_since_ns = 0;
    r->next = api->requests;
    if (r->next)
        r->next->previous = r;
    api->requests = r;
    api->request_count++;
    return r;
}

static void request_free(struct request *r)
{
    struct api *api = r->api;
    if (r->stream_open)
        r->stream.close(r->stream.context);
    if (r->upload)
        dataset_upload_abort(r->upload);
    if (r->response)
        MHD_destroy_response(r->response);
    json_decref(r->json);
    free(r->body);
    if (r->previous)
        r->previous->next = r->next;
    else
        api->requests = r->next;
    if (r->next)
        r->next->previous = r->previous;
    api->request_count--;
    free(r);
}

static bool body_expected(const struct request *r)
{
    return strcmp(r->method, "POST") == 0 || strcmp(r->method, "PUT") == 0 || strcmp(r->method, "PATCH") == 0;
}

static uint64_t body_limit(const struct request *r)
{
    if (r->route && r->route->body == BODY_DATASET)
        return r->api->options.upload_bytes_max + UPLOAD_OVERHEAD_BYTES;
    return r->api->options.body_bytes_max;
}

static void answer_no_route(struct request *r)
{
    if (!r->match.path_known) {
        request_answer_detail(r, MHD_HTTP_NOT_FOUND, "Not Found");
        return;
    }
    request_add_header(r, "Allow", "%s", r->match.allow);
    if (strcmp(r->method, "OPTIONS") != 0) {
        request_answer_detail(r, MHD_HTTP_METHOD_NOT_ALLOWED, "Method Not Allowed");
        return;
    }
    request_add_header(r, "Access-Control-Allow-Methods", "%s", r->match.allow);
    request_add_header(r, "Access-Control-Allow-Headers", "Authorization, Content-Type, X-Request-ID");
    request_add_header(r, "Access-Control-Max-Age", "600");
    request_answer_empty(r, MHD_HTTP_NO_CONTENT);
}

static void request_authorised(struct request *r);

/* Everything that can be refused from the headers alone. */
static void request_begin(struct request *r)
{
    route_find(ROUTES, ROUTE_COUNT, r->method, r->path, &r->match);
    r->route = r->match.route;
    if (!r->route) {
        answer_no_route(r);
        return;
    }
    if (r->api->closing) {
        request_answer_detail(r, MHD_HTTP_SERVICE_UNAVAILABLE, "the coordinator is shutting down");
        return;
    }
    enum store_state state = store_state(r->api->store);
    if (r->route->role != ROLE_NOBODY && (state == STORE_STANDBY || state == STORE_REFUSED)) {
        request_add_header(r, "Retry-After", "1");
        request_answer_detail(
            r, MHD_HTTP_SERVICE_UNAVAILABLE, "this coordinator is not the active one: see /readyz");
        return;
    }
    auth_check(r, request_authorised);
}

static void request_authorised(struct request *r)
{
    if (!request_check_parameters(r))
        return;
    const char *length = request_header(r, "Content-Length");
    bool chunked = request_header(r, "Transfer-Encoding") != NULL;
    if (r->route->body != BODY_NONE && body_expected(r) && !length && !chunked) {
        request_answer_detail(r, MHD_HTTP_LENGTH_REQUIRED, "a body is needed: send Content-Length or chunks");
        return;
    }
    if (length && strtoull(length, NULL, 10) > body_limit(r)) {
        request_answer_detail(r, MHD_HTTP_CONTENT_TOO_LARGE, "the request is larger than %llu bytes",
            (unsigned long long)body_limit(r));
        return;
    }
    if (r->route->body == BODY_DATASET)
        r->upload = dataset_upload_begin(r);
}

static bool body_append(struct request *r, const char *data, size_t size)
{
    size_t used = r->body_bytes;
    if (used + size + 1 > r->body_capacity) {
        size_t capacity = r->body_capacity ? r->body_capacity * 2 : 4096;
        while (capacity < used + size + 1)
            capacity *= 2;
        char *body = realloc(r->body, capacity);
        if (!body)
            return false;
        r->body = body;
        r->body_capacity = capacity;
    }
    memcpy(r->body + used, data, size);
    r->body[used + size] = '\0';
    return true;
}

static void request_suspend(struct request *r)
{
    r->suspended = true;
    MHD_suspend_connection(r->connection);
}

/* Takes what it can of a piece of the body; returns how many bytes are left for later. */
static size_t request_take_body(struct request *r, const char *data, size_t size)
{
    if (r->response) {
        r->body_bytes += size;
        r->swallowed += size;
        return 0;
    }
    if (r->upload) {
        size_t taken = dataset_upload_feed(r->upload, data, size);
        r->body_bytes += taken;
        r->api->counts.bytes_uploaded += taken;
        if (taken < size)
            request_suspend(r);
        return size - taken;
    }
    if (r->body_bytes + size > body_limit(r)) {
        request_answer_detail(r, MHD_HTTP_CONTENT_TOO_LARGE, "the request is larger than %llu bytes",
            (unsigned long long)body_limit(r));
    } else if (r->route->body == BODY_JSON && !body_append(r, data, size)) {
        request_answer_detail(r, MHD_HTTP_SERVICE_UNAVAILABLE, "not enough memory for the request's body");
    }
    r->body_bytes += size;
    return 0;
}

static void request_dispatch(struct request *r)
{
    r->dispatched = true;
    if (r->upload)
        dataset_upload_finish(r->upload);
    else if (request_check_body(r))
        r->route->handle(r);
}

static enum MHD_Result request_send(struct request *r)
{
    enum MHD_Result ok = MHD_queue_response(r->connection, r->status, r->response);
    MHD_destroy_response(r->response);
    r->response = NULL;
    return ok;
}

/* An answer known before the body came may be sent at once when the client waits for our go-ahead, or must be
 * when the body is too large to read to its end. */
static bool answer_early(const struct request *r)
{
    if (!r->response)
        return false;
    if (request_header(r, "Expect"))
        return true;
    const char *length = request_header(r, "Content-Length");
    return length && strtoull(length, NULL, 10) > SWALLOW_BYTES_MAX;
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url,
    const char *method, const char *version, const char *upload_data, size_t *upload_size, void **slot)
{
    (void)version;
    struct request *r = *slot;
    if (!r) {
        r = request_new(context, connection, url, method);
        *slot = r;
        request_begin(r);
        r->headers_again = r->authorising;
        if (r->authorising)
            request_suspend(r);
        return answer_early(r) ? request_send(r) : MHD_YES;
    }
    if (r->headers_again) { /* the call in which it was suspended is made once more before any body comes */
        r->headers_again = false;
        return answer_early(r) ? request_send(r) : MHD_YES;
    }
    if (*upload_size > 0) {
        *upload_size = request_take_body(r, upload_data, *upload_size);
        return r->swallowed > SWALLOW_BYTES_MAX ? MHD_NO : MHD_YES;
    }
    if (!r->response && !r->dispatched)
        request_dispatch(r);
    if (r->response)
        return request_send(r);
    request_suspend(r);
    return MHD_YES;
}

static void request_log(const struct request *r, double seconds)
{
    bool asks = strcmp(r->method, "GET") == 0 || strcmp(r->method, "HEAD") == 0;
    bool ours = r->status >= 500 && r->status != MHD_HTTP_NOT_IMPLEMENTED &&
                r->status != MHD_HTTP_SERVICE_UNAVAILABLE;
    bool probe =
        r->route && strcmp(r->route->tag, "health") == 0; /* asked every second; not ready is no event */
    enum log_level level = ours                                 ? LOG_LEVEL_ERROR
                           : asks && (probe || r->status < 400) ? LOG_LEVEL_DEBUG
                                                                : LOG_LEVEL_INFO;
    if (!log_enabled(level))
        return;
    log_write(level, "request", "method", r->method, "path", r->path, "status", LOG_INT(r->status), "seconds",
        LOG_FLOAT(seconds), "request_id", r->id, "actor", r->actor[0] ? r->actor : "-", (char *)0);
}

static void on_completed(
    void *context, struct MHD_Connection *connection, void **slot, enum MHD_RequestTerminationCode code)
{
    (void)code;
    struct api *api = context;
    struct request *r = *slot;
    if (!r)
        return;
    *slot = NULL;
    double seconds = (double)(uv_hrtime() - r->started_ns) / 1e9;
    api->counts.requests++;
    api->counts.seconds += seconds;
    api->counts.errors_client += r->status >= 400 && r->status < 500;
    api->counts.errors_server += r->status >= 500;
    request_log(r, seconds);
    audit_request(r, connection);
    struct http_connection *c = connection_of(connection);
    if (c)
        c->waiting_since_ns = uv_hrtime();
    r->connection = NULL;
    r->path = r->method = "";
    /* A handler that still owes its answer (only at shutdown) frees the request with it. */
    bool owed = (r->dispatched || r->authorising) && r->status == 0;
    if (!owed)
        request_free(r);
}

void server_request_abandoned(struct request *r)
{
    request_free(r);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Percent-decoding as libmicrohttpd does it, except that an encoded zero byte stays encoded: it must not cut
 * a path or a value short. */
static size_t unescape(void *context, struct MHD_Connection *connection, char *text)
{
    (void)context;
    (void)connection;
    char *to = text;
    for (const char *p = text; *p; p++) {
        int high = *p == '%' ? hex_digit(p[1]) : -1;
        int low = high >= 0 ? hex_digit(p[2]) : -1;
        if (low >= 0 && (high | low) != 0) {
            *to++ = (char)(high * 16 + low);
            p += 2;
        } else {
            *to++ = *p;
        }
    }
    *to = '\0';
    return (size_t)(to - text);
}

static void server_end(struct api *api, uint64_t now_ns);

static bool request_is_too_slow(const struct api *api, const struct request *r, uint64_t now_ns)
{
    if (r->suspended || r->dispatched || r->status != 0)
        return false; /* it waits for us */
    double age_s = (double)(now_ns - r->started_ns) / 1e9;
    return age_s > api->options.body_timeout_s + (double)r->body_bytes / BODY_BYTES_PER_S_MIN;
}

static void on_sweep(uv_timer_t *timer)
{
    struct api *api = timer->data;
    uint64_t now_ns = uv_hrtime();
    uint64_t headers_ns = (api->options.body_timeout_s + 5) * 1000000000ULL;
    for (struct http_connection *c = api->connections; c; c = c->next)
        if (c->waiting_since_ns && now_ns - c->waiting_since_ns > headers_ns)
            shutdown(c->fd, SHUT_RDWR);
    for (struct request *r = api->requests; r; r = r->next) {
        if (!r->connection || !request_is_too_slow(api, r, now_ns))
            continue;
        struct http_connection *c = connection_of(r->connection);
        log_warn("request body is too slow", "path", r->path, "request_id", r->id, "bytes",
            LOG_INT(r->body_bytes));
        if (c)
            shutdown(c->fd, SHUT_RDWR);
    }
    rotation_tick(api);
    queries_tick(api);
    if (api->closing)
        server_end(api, now_ns);
}

static bool parse_address(
    const struct api_options *options, struct sockaddr_storage *out, socklen_t *len, struct error *err)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
    memset(out, 0, sizeof(*out));
    if (inet_pton(AF_INET, options->address, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(options->port);
        *len = sizeof(*v4);
        return true;
    }
    if (inet_pton(AF_INET6, options->address, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(options->port);
        *len = sizeof(*v6);
        return true;
    }
    return error_set(
        err, ERROR_INVALID, "the HTTP address \"%s\" is no IPv4 or IPv6 address", options->address);
}

static bool bind_failed(const struct api_options *options, int number, struct error *err)
{
    error_set(err, number == EADDRINUSE ? ERROR_CONFLICT : ERROR_UNAVAILABLE,
        "cannot listen for HTTP on %s:%u: %s", options->address, options->port,
        number == EADDRINUSE ? "the port is in use" : strerror(number));
    if (number == EADDRINUSE)
        error_hint(err, "stop the other program, or choose another port with --http ADDR:PORT");
    return false;
}

static bool listen_on(struct api *api, struct error *err)
{
    struct sockaddr_storage address;
    socklen_t len;
    if (!parse_address(&api->options, &address, &len, err))
        return false;
    api->listen_fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;
    if (api->listen_fd < 0)
        return bind_failed(&api->options, errno, err);
    setsockopt(api->listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(api->listen_fd, (struct sockaddr *)&address, len) < 0 ||
        listen(api->listen_fd, LISTEN_BACKLOG) < 0 ||
        getsockname(api->listen_fd, (struct sockaddr *)&address, &len) < 0) {
        int number = errno;
        close(api->listen_fd);
        api->listen_fd = -1;
        return bind_failed(&api->options, number, err);
    }
    api->port = ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                                    : ((struct sockaddr_in *)&address)->sin_port);
    return true;
}

void server_handle_closed(struct api *api)
{
    if (--api->handles_open == 0)
        api->closed(api->closed_context);
}

static void on_handle_closed(uv_handle_t *handle)
{
    server_handle_closed(handle->data);
}

static void start_daemon(struct api *api)
{
    const bool tls = api->tls_key != NULL;
    const struct MHD_OptionItem certificate[] = {{MHD_OPTION_HTTPS_MEM_CERT, 0, api->tls_cert},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, api->tls_key}, {MHD_OPTION_HTTPS_PRIORITIES, 0, TLS_PRIORITIES},
        {MHD_OPTION_END, 0, NULL}};
    const struct MHD_OptionItem nothing[] = {{MHD_OPTION_END, 0, NULL}};
    api->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | (tls ? MHD_USE_TLS : MHD_NO_FLAG), 0, NULL, NULL,
        on_request, api, MHD_OPTION_LISTEN_SOCKET, api->listen_fd, MHD_OPTION_CONNECTION_LIMIT,
        api->options.connections_max, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY_BYTES,
        MHD_OPTION_CONNECTION_TIMEOUT, api->options.body_timeout_s, MHD_OPTION_NOTIFY_COMPLETED, on_completed,
        api, MHD_OPTION_NOTIFY_CONNECTION, on_connection, api, MHD_OPTION_UNESCAPE_CALLBACK, unescape, NULL,
        MHD_OPTION_ARRAY, tls ? certificate : nothing, MHD_OPTION_END);
}

bool server_open(struct api *api, struct error *err)
{
    if (!tls_load(api, err) || !listen_on(api, err))
        return false;
    start_daemon(api);
    if (!api->daemon) {
        close(api->listen_fd);
        error_set(err, api->tls_key ? ERROR_INVALID : ERROR_INTERNAL, "the HTTP server does not start%s%s",
            api->tls_key ? ": does the key belong to the certificate? " : ": ",
            api->tls_key ? api->options.tls_cert_file : strerror(errno));
        return false;
    }
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(api->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    api->poll.data = api->run_timer.data = api->sweep_timer.data = api;
    uv_poll_init(api->loop, &api->poll, info->epoll_fd);
    uv_timer_init(api->loop, &api->run_timer);
    uv_timer_init(api->loop, &api->sweep_timer);
    api->handles_open += 3;
    uv_poll_start(&api->poll, UV_READABLE, on_readable);
    uv_timer_start(&api->sweep_timer, on_sweep, SWEEP_INTERVAL_MS, SWEEP_INTERVAL_MS);
    server_kick(api);
    return true;
}

void server_close(struct api *api, uint32_t grace_ms)
{
    api->closing = true;
    api->closing_deadline_ns = uv_hrtime() + grace_ms * 1000000ULL;
    events_end(api);
    int fd = MHD_quiesce_daemon(api->daemon);
    if (fd >= 0)
        close(fd);
    uv_timer_start(&api->sweep_timer, on_sweep, 0, 50);
}

/* Cuts what still runs once the grace is over; the room itself goes only when every handler has had its
 * callback, because those hold pointers into it. */
static void server_end(struct api *api, uint64_t now_ns)
{
    if (api->daemon && (api->request_count == 0 || now_ns >= api->closing_deadline_ns)) {
        for (struct request *r = api->requests; r; r = r->next) {
            if (!r->suspended)
                continue;
            r->suspended = false;
            MHD_resume_connection(r->connection);
        }
        uv_poll_stop(&api->poll);
        uv_timer_stop(&api->run_timer);
        MHD_stop_daemon(api->daemon);
        api->daemon = NULL;
    }
    if (api->daemon || api->request_count > 0 || api->queries || api->rotation == ROTATION_RUNNING)
        return;
    events_close(api);
    uv_close((uv_handle_t *)&api->poll, on_handle_closed);
    uv_close((uv_handle_t *)&api->run_timer, on_handle_closed);
    uv_close((uv_handle_t *)&api->sweep_timer, on_handle_closed);
}
