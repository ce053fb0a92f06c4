#include "coordinator/store/connection.h"

#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"

enum { RETRY_MS = 100, RETRY_MS_MAX = 5000, CONNECT_MS = 10000, KEYWORDS_EXTRA = 8, ADDRESS_BYTES = 64 };

struct connection {
    uv_loop_t *loop;
    const struct conninfo *info;
    struct connection_events events;
    unsigned kind;
    bool checking, passed; /* the fence is asked; it said yes */
    bool ready, closed;
    PGconn *pg;
    uv_poll_t *poll; /* one for each socket: libpq may change it while connecting */
    int poll_fd;
    uv_timer_t timer; /* the next try, or the end of this one */
    uint64_t retry_ms;
    uv_getaddrinfo_t *resolving;
    char address[ADDRESS_BYTES]; /* resolved off the loop; empty: libpq needs no name */
};

bool conninfo_parse(const char *text, struct conninfo *out, struct error *err)
{
    char *message = NULL;
    *out = (struct conninfo){0};
    PQconninfoOption *options = PQconninfoParse(text ? text : "", &message);
    if (!options) {
        error_set(err, ERROR_INVALID, "the database's connection string cannot be read: %.*s",
            (int)strcspn(message ? message : "no memory", "\n"), message ? message : "no memory");
        PQfreemem(message);
        return error_hint(err, "write it as libpq takes it: \"host=/run/postgresql dbname=lumigrid\" or "
                               "postgresql://user@host/name");
    }
    for (const PQconninfoOption *option = options; option->keyword; option++)
        out->count += option->val != NULL;
    out->keywords = alloc_zero((size_t)out->count + 1, sizeof(char *));
    out->values = alloc_zero((size_t)out->count + 1, sizeof(char *));
    int at = 0;
    for (const PQconninfoOption *option = options; option->keyword; option++) {
        if (!option->val)
            continue;
        out->keywords[at] = alloc_string(option->keyword);
        out->values[at++] = alloc_string(option->val);
    }
    PQconninfoFree(options);
    return true;
}

void conninfo_free(struct conninfo *info)
{
    for (int i = 0; i < info->count; i++) {
        free(info->keywords[i]);
        free(info->values[i]);
    }
    free(info->keywords);
    free(info->values);
    *info = (struct conninfo){0};
}

static const char *conninfo_get(const struct conninfo *info, const char *keyword)
{
    for (int i = 0; i < info->count; i++)
        if (strcmp(info->keywords[i], keyword) == 0)
            return info->values[i];
    return NULL;
}

static void free_handle(uv_handle_t *handle)
{
    free(handle);
}

static void stop_polling(struct connection *connection)
{
    if (!connection->poll)
        return;
    uv_poll_stop(connection->poll);
    uv_close((uv_handle_t *)connection->poll, free_handle);
    connection->poll = NULL;
}

static void on_timer(uv_timer_t *timer);

static void lost(struct connection *connection, const char *reason)
{
    /* libpq's messages are several lines with a prefix; the first says it. */
    char line[256];
    snprintf(line, sizeof line, "%.*s", (int)strcspn(reason, "\n"), *reason ? reason : "connection lost");
    stop_polling(connection);
    PQfinish(connection->pg);
    connection->pg = NULL;
    connection->ready = connection->checking = connection->passed = false;
    uv_timer_stop(&connection->timer);
    if (connection->kind & CONNECTION_KEEP_TRYING) {
        uv_timer_start(&connection->timer, on_timer, connection->retry_ms, 0);
        connection->retry_ms *= 2;
        if (connection->retry_ms > RETRY_MS_MAX)
            connection->retry_ms = RETRY_MS_MAX;
    }
    connection->events.on_lost(connection->events.context, line);
}

static void on_poll(uv_poll_t *poll, int status, int events);

/* Watches the socket that libpq uses now, for these events. */
static void watch(struct connection *connection, int events)
{
    int fd = PQsocket(connection->pg);
    if (connection->poll && connection->poll_fd != fd)
        stop_polling(connection);
    if (!connection->poll) {
        connection->poll = alloc_zero(1, sizeof *connection->poll);
        connection->poll_fd = fd;
        uv_poll_init(connection->loop, connection->poll, fd);
        connection->poll->data = connection;
    }
    uv_poll_start(connection->poll, events, on_poll);
}

static void become_ready(struct connection *connection)
{
    uv_timer_stop(&connection->timer);
    PQsetnonblocking(connection->pg, 1);
    connection->ready = true;
    connection->retry_ms = RETRY_MS;
    watch(connection, UV_READABLE);
    connection->events.on_ready(connection->events.context);
}

/* In this order, so that a new leader either finds this session or is seen by it. */
static void ask_fence(struct connection *connection)
{
    char sql[512];
    snprintf(sql, sizeof sql,
        "SELECT pg_advisory_lock_shared(" CONNECTION_LOCK_FENCED ");"
        "SELECT pid FROM pg_locks WHERE" CONNECTION_LOCK_IS(CONNECTION_LOCK_LEADER) " AND pid = %d",
        connection->info->leader_pid);
    connection->checking = true;
    if (PQsendQuery(connection->pg, sql))
        watch(connection, UV_READABLE);
    else
        lost(connection, PQerrorMessage(connection->pg));
}

static void read_fence(struct connection *connection)
{
    if (!PQconsumeInput(connection->pg)) {
        lost(connection, PQerrorMessage(connection->pg));
        return;
    }
    while (!PQisBusy(connection->pg)) {
        PGresult *result = PQgetResult(connection->pg);
        if (!result) {
            connection->checking = false;
            if (connection->passed)
                become_ready(connection);
            else
                lost(connection, "this coordinator is not the active one");
            return;
        }
        connection->passed = PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1;
        PQclear(result);
    }
}

static void connect_on(struct connection *connection)
{
    switch (PQconnectPoll(connection->pg)) {
    case PGRES_POLLING_READING: watch(connection, UV_READABLE); break;
    case PGRES_POLLING_WRITING: watch(connection, UV_WRITABLE); break;
    case PGRES_POLLING_OK:
        if (connection->kind & CONNECTION_FENCED)
            ask_fence(connection);
        else
            become_ready(connection);
        break;
    default: lost(connection, PQerrorMessage(connection->pg)); break;
    }
}

void connection_flush(struct connection *connection)
{
    if (!connection->ready)
        return;
    int left = PQflush(connection->pg);
    if (left < 0)
        connection_break(connection);
    else
        watch(connection, left ? UV_READABLE | UV_WRITABLE : UV_READABLE);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct connection *connection = poll->data;
    if (connection->checking) {
        read_fence(connection);
        return;
    }
    if (!connection->ready) {
        connect_on(connection);
        return;
    }
    if (status < 0) {
        lost(connection, uv_strerror(status));
        return;
    }
    if (events & UV_WRITABLE)
        connection_flush(connection);
    if (!(events & UV_READABLE) || !connection->ready)
        return;
    bool alive = PQconsumeInput(connection->pg);
    connection->events.on_input(connection->events.context);
    if (connection->closed)
        return;
    if (!alive && connection->ready)
        lost(connection, PQerrorMessage(connection->pg));
    else if (connection->ready)
        connection_flush(connection);
}

static void begin(struct connection *connection)
{
    const struct conninfo *info = connection->info;
    const char **keywords = alloc_zero((size_t)info->count + KEYWORDS_EXTRA, sizeof(char *));
    const char **values = alloc_zero((size_t)info->count + KEYWORDS_EXTRA, sizeof(char *));
    int at = 0;
    for (int i = 0; i < info->count; i++) {
        keywords[at] = info->keywords[i];
        values[at++] = info->values[i];
    }
    const char *fixed[][2] = {{"application_name", "lumigrid-coordinator"}, {"client_encoding", "UTF8"},
        /* A dead machine's session, and with it its lock, ends after about ten seconds. JIT compiles longer
         * than any of our statements run. */
        {"options", "-c jit=off -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 "
                    "-c tcp_keepalives_count=3"},
        {"keepalives_idle", "5"}, {"keepalives_interval", "2"}, {"keepalives_count", "3"}};
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++) {
        if (conninfo_get(info, fixed[i][0]))
            continue;
        keywords[at] = fixed[i][0];
        values[at++] = fixed[i][1];
    }
    if (connection->address[0]) {
        keywords[at] = "hostaddr";
        values[at] = connection->address;
    }
    connection->pg = PQconnectStartParams(keywords, values, 0);
    free(keywords);
    free(values);
    uv_timer_start(&connection->timer, on_timer, CONNECT_MS, 0);
    if (!connection->pg || PQstatus(connection->pg) == CONNECTION_BAD)
        lost(connection, connection->pg ? PQerrorMessage(connection->pg) : "no memory");
    else
        watch(connection, UV_WRITABLE);
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *list)
{
    struct connection *connection = request->data;
    free(request);
    if (connection) {
        connection->resolving = NULL;
        connection->address[0] = 0;
        if (!status)
            status = getnameinfo(
                list->ai_addr, list->ai_addrlen, connection->address, ADDRESS_BYTES, NULL, 0, NI_NUMERICHOST);
    }
    uv_freeaddrinfo(list);
    if (!connection)
        return;
    if (status)
        lost(connection, "the database's host name cannot be resolved");
    else
        begin(connection);
}

/* libpq would look a name up on this thread; do it before. Lists of hosts and sockets are left to libpq. */
static bool needs_resolving(const struct conninfo *info)
{
    const char *host = conninfo_get(info, "host");
    if (!host)
        host = getenv("PGHOST");
    return host && *host && !strchr("/@", *host) && !strchr(host, ',') && !conninfo_get(info, "hostaddr") &&
           !getenv("PGHOSTADDR");
}

static void start(struct connection *connection)
{
    if (!needs_resolving(connection->info)) {
        begin(connection);
        return;
    }
    const char *host = conninfo_get(connection->info, "host");
    uv_getaddrinfo_t *request = alloc_zero(1, sizeof *request);
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    request->data = connection;
    connection->resolving = request;
    if (uv_getaddrinfo(
            connection->loop, request, on_resolved, host ? host : getenv("PGHOST"), NULL, &hints)) {
        connection->resolving = NULL;
        free(request);
        lost(connection, "the database's host name cannot be resolved");
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct connection *connection = timer->data;
    if (connection->ready)
        lost(connection, PQerrorMessage(connection->pg)); /* connection_break */
    else if (connection->pg)
        lost(connection, "no answer within 10 s");
    else if (!connection->resolving)
        start(connection);
}

struct connection *connection_open(
    uv_loop_t *loop, const struct conninfo *info, unsigned kind, const struct connection_events *events)
{
    struct connection *connection = alloc_zero(1, sizeof *connection);
    connection->loop = loop;
    connection->info = info;
    connection->events = *events;
    connection->kind = kind;
    connection->retry_ms = RETRY_MS;
    uv_timer_init(loop, &connection->timer);
    connection->timer.data = connection;
    uv_timer_start(&connection->timer, on_timer, 0, 0);
    return connection;
}

static void free_connection(uv_handle_t *handle)
{
    free(handle->data);
}

void connection_close(struct connection *connection)
{
    if (!connection)
        return;
    connection->closed = true;
    connection->ready = false;
    if (connection->resolving) {
        connection->resolving->data = NULL;
        connection->resolving = NULL;
    }
    stop_polling(connection);
    PQfinish(connection->pg);
    connection->pg = NULL;
    uv_close((uv_handle_t *)&connection->timer, free_connection);
}

PGconn *connection_pg(const struct connection *connection)
{
    return connection && connection->ready ? connection->pg : NULL;
}

void connection_break(struct connection *connection)
{
    uv_timer_start(&connection->timer, on_timer, 0, 0);
}
