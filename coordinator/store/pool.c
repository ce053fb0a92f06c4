#include "coordinator/store/pool.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/log.h"

enum {
    DEPTH_MAX = 32, /* requests on one connection at a time */
    SENDS_MAX = 5,  /* tries of a request whose connection broke; PATIENCE_LONG has no limit */
    PAUSE_MS = 300, /* after the server said that it cannot now */
    TICK_MS = 200,
    STATEMENTS_MAX = 128,
};

struct request {
    struct request *next;
    struct statement *statement;
    struct params params;
    request_done done;
    void *context;
    uint64_t born_ms;
    uint32_t sends;
    bool preparing; /* the answer to its Prepare comes first */
    bool abandoned; /* its caller was told; only the answer is awaited */
    PGresult *result;
    struct error err; /* of pool_fail */
};

struct queue {
    struct request *first, **last;
    uint32_t count;
};

struct lane {
    struct pool *pool;
    struct connection *connection;
    struct queue sent;
    bool prepared[STATEMENTS_MAX];
    bool slow, broken;
};

struct pool {
    struct pool_options options;
    struct lane *lanes;
    uint32_t lane_count;
    struct queue waiting[2]; /* fast, slow */
    struct queue failed;
    uv_timer_t *defer, *tick; /* on the heap: they outlive the pool by one turn of the loop */
    bool allowed, closing;
    uint64_t pause_until_ms;
    char trouble[256];
};

static int statements_known; /* numbers are given once for the process: statements are static */

static void queue_init(struct queue *queue)
{
    *queue = (struct queue){.last = &queue->first};
}

static void queue_add(struct queue *queue, struct request *request)
{
    request->next = NULL;
    *queue->last = request;
    queue->last = &request->next;
    queue->count++;
}

static struct request *queue_take(struct queue *queue)
{
    struct request *request = queue->first;
    if (!request)
        return NULL;
    queue->first = request->next;
    if (!queue->first)
        queue->last = &queue->first;
    queue->count--;
    return request;
}

/* All of `from` goes in front of `to`, in order. */
static void queue_prepend(struct queue *to, struct queue *from)
{
    if (!from->first)
        return;
    *from->last = to->first;
    if (!to->first)
        to->last = from->last;
    to->first = from->first;
    to->count += from->count;
    queue_init(from);
}

static void request_free(struct request *request)
{
    params_free(&request->params);
    PQclear(request->result);
    free(request);
}

static void request_end(struct request *request, PGresult *result, const struct error *err)
{
    if (!request->abandoned)
        request->done(request->context, result, err);
    request_free(request);
}

static void request_fail(struct request *request, enum error_code code, const char *reason)
{
    struct error err = {0};
    error_set(&err, code, "%s", reason);
    if (code == ERROR_UNAVAILABLE)
        error_hint(&err, "see the coordinator's log; try again when Postgres is back");
    request_end(request, NULL, &err);
}

bool result_is_temporary(const PGresult *result)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    static const char *const temporary[] = {"08", "53", "57P", "58", "40", "25006", "55P03"};
    for (size_t i = 0; state && i < sizeof temporary / sizeof *temporary; i++)
        if (strncmp(state, temporary[i], strlen(temporary[i])) == 0)
            return true;
    return state == NULL; /* libpq's own: the connection broke */
}

void result_error(const PGresult *result, struct error *err)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    enum error_code code = ERROR_INTERNAL;
    if (!state || result_is_temporary(result))
        code = ERROR_UNAVAILABLE;
    else if (strncmp(state, "22", 2) == 0 || strcmp(state, "23514") == 0 || strcmp(state, "23502") == 0)
        code = ERROR_INVALID;
    else if (strcmp(state, "54000") == 0)
        code = ERROR_TOO_LARGE;
    else if (strncmp(state, "23", 2) == 0)
        code = ERROR_CONFLICT;
    else if (strcmp(state, "42501") == 0)
        code = ERROR_DENIED;
    error_set(err, code, "Postgres said: %s (%s)", message ? message : "nothing", state ? state : "-");
}

/* ---- sending ---- */

static int statement_number(struct statement *statement)
{
    if (!statement->number) {
        statement->number = ++statements_known;
        assert(statements_known < STATEMENTS_MAX);
    }
    return statement->number;
}

static bool lane_send(struct lane *lane, struct request *request)
{
    PGconn *pg = connection_pg(lane->connection);
    struct statement *statement = request->statement;
    const struct params *params = &request->params;
    int number = statement_number(statement);
    request->sends++;
    request->preparing = !lane->prepared[number];
    queue_add(&lane->sent, request);
    if (request->preparing && !PQsendPrepare(pg, statement->name, statement->sql, 0, NULL))
        return false;
    lane->prepared[number] = true;
    return PQsendQueryPrepared(pg, statement->name, params->count, (const char *const *)params->values,
               params->lengths, params->formats, statement->binary) &&
           PQpipelineSync(pg);
}

/* A lane for that request; NULL when all that may take it are taken. */
static struct lane *least_busy(struct pool *pool, const struct statement *statement)
{
    bool slow = statement->slow;
    struct lane *best = NULL;
    for (uint32_t i = 0; i < pool->lane_count; i++) {
        struct lane *lane = &pool->lanes[i];
        if (lane->slow != slow || lane->broken || !connection_pg(lane->connection) ||
            lane->sent.count >= DEPTH_MAX)
            continue;
        if (statement->ordered && i != 0)
            continue;
        if (!best || lane->sent.count < best->sent.count)
            best = lane;
    }
    return best;
}

static void pump(struct pool *pool)
{
    if (!pool->allowed || pool->closing || uv_now(pool->options.loop) < pool->pause_until_ms)
        return;
    for (int slow = 0; slow < 2; slow++) {
        struct lane *lane = NULL;
        while (pool->waiting[slow].first && (lane = least_busy(pool, pool->waiting[slow].first->statement))) {
            if (!lane_send(lane, queue_take(&pool->waiting[slow]))) {
                lane->broken = true;
                connection_break(lane->connection);
            }
        }
    }
    for (uint32_t i = 0; i < pool->lane_count; i++)
        if (pool->lanes[i].sent.count)
            connection_flush(pool->lanes[i].connection);
}

static void on_defer(uv_timer_t *timer)
{
    struct pool *pool = timer->data;
    struct request *request = NULL;
    while ((request = queue_take(&pool->failed)))
        request_end(request, NULL, &request->err);
    pump(pool);
}

static struct request *request_new(
    struct pool *pool, struct statement *statement, request_done done, void *context)
{
    struct request *request = alloc_zero(1, sizeof *request);
    request->statement = statement;
    request->done = done;
    request->context = context;
    request->born_ms = uv_now(pool->options.loop);
    return request;
}

void pool_fail(struct pool *pool, request_done done, void *context, const struct error *err)
{
    struct request *request = request_new(pool, NULL, done, context);
    request->err = *err;
    queue_add(&pool->failed, request);
    uv_timer_start(pool->defer, on_defer, 0, 0);
}

void pool_send(
    struct pool *pool, struct statement *statement, struct params *params, request_done done, void *context)
{
    struct queue *queue = &pool->waiting[statement->slow];
    if (queue->count >= pool->options.requests_max && statement->patience != PATIENCE_LONG) {
        struct error err = {0};
        error_set(&err, ERROR_UNAVAILABLE, "Postgres is too slow: %u requests are waiting", queue->count);
        params_free(params);
        pool_fail(pool, done, context, &err);
        return;
    }
    struct request *request = request_new(pool, statement, done, context);
    request->params = *params;
    *params = (struct params){0};
    queue_add(queue, request);
    /* Sent on the loop's next turn, so that what one event asks for leaves in one write. */
    uv_timer_start(pool->defer, on_defer, 0, 0);
}

/* ---- answers ---- */

static void requeue(struct pool *pool, struct request *request)
{
    struct queue one;
    queue_init(&one);
    PQclear(request->result);
    request->result = NULL;
    queue_add(&one, request);
    queue_prepend(&pool->waiting[request->statement->slow], &one);
}

static void answered(struct pool *pool, struct request *request)
{
    ExecStatusType status = PQresultStatus(request->result);
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) {
        request_end(request, request->result, NULL);
        return;
    }
    bool again = result_is_temporary(request->result) && !request->abandoned &&
                 (request->statement->patience == PATIENCE_LONG || request->sends < SENDS_MAX);
    if (again) {
        pool->pause_until_ms = uv_now(pool->options.loop) + PAUSE_MS;
        requeue(pool, request);
        return;
    }
    struct error err = {0};
    result_error(request->result, &err);
    if (err.code == ERROR_INTERNAL)
        log_error_value(LOG_LEVEL_ERROR, request->statement->name, &err);
    request_end(request, NULL, &err);
}

static void take_result(struct lane *lane, PGresult *result)
{
    struct request *request = lane->sent.first;
    ExecStatusType status = PQresultStatus(result);
    bool good = status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK;
    if (status == PGRES_PIPELINE_SYNC) {
        PQclear(result);
        queue_take(&lane->sent);
        answered(lane->pool, request);
    } else if (request->preparing && good) {
        request->preparing = false;
        PQclear(result);
    } else if (!request->result) {
        if (request->preparing)
            lane->prepared[request->statement->number] = false;
        request->result = result;
    } else {
        PQclear(result); /* the rest of an aborted pipeline */
    }
}

static void on_input(void *context)
{
    struct lane *lane = context;
    PGconn *pg = connection_pg(lane->connection);
    while (lane->sent.first && !PQisBusy(pg)) {
        PGresult *result = PQgetResult(pg);
        if (result)
            take_result(lane, result);
        else if (PQstatus(pg) == CONNECTION_BAD)
            break;
    }
    if (lane->sent.first && PQstatus(pg) == CONNECTION_BAD)
        connection_break(lane->connection);
    pump(lane->pool);
}

static void on_ready(void *context)
{
    struct lane *lane = context;
    memset(lane->prepared, 0, sizeof lane->prepared);
    lane->broken = false;
    if (!PQenterPipelineMode(connection_pg(lane->connection))) {
        connection_break(lane->connection);
        return;
    }
    lane->pool->options.on_change(lane->pool->options.context);
    pump(lane->pool);
}

static void on_lost(void *context, const char *reason)
{
    struct lane *lane = context;
    struct pool *pool = lane->pool;
    struct request *request = NULL;
    struct queue again;
    queue_init(&again);
    snprintf(pool->trouble, sizeof pool->trouble, "%s", reason);
    while ((request = queue_take(&lane->sent))) {
        PQclear(request->result);
        request->result = NULL;
        bool patient = request->statement->patience == PATIENCE_LONG || request->sends < SENDS_MAX;
        if (request->abandoned || !patient)
            request_fail(request, ERROR_UNAVAILABLE, "the connection to Postgres broke several times");
        else
            queue_add(&again, request);
    }
    queue_prepend(&pool->waiting[lane->slow], &again);
    pool->options.on_change(pool->options.context);
}

/* ---- time ---- */

static void expire_waiting(struct pool *pool, struct queue *queue, uint64_t now_ms)
{
    struct queue kept, ended;
    struct request *request = NULL;
    queue_init(&kept);
    queue_init(&ended);
    while ((request = queue_take(queue))) {
        /* A write that was sent and came back may have been done: its answer must be found out. */
        bool waits = request->statement->patience == PATIENCE_LONG ||
                     (request->statement->patience == PATIENCE_SENT && request->sends);
        bool old = now_ms - request->born_ms > pool->options.timeout_ms;
        queue_add(waits || !old ? &kept : &ended, request);
    }
    queue_prepend(queue, &kept);
    while ((request = queue_take(&ended))) {
        char reason[384];
        snprintf(reason, sizeof reason, "the Postgres database does not answer%s%s",
            *pool->trouble ? ": " : "", pool->trouble);
        request_fail(request, ERROR_UNAVAILABLE, reason);
    }
}

static void expire_sent(struct pool *pool, struct lane *lane, uint64_t now_ms)
{
    for (struct request *request = lane->sent.first; request; request = request->next) {
        if (request->abandoned || lane->slow || request->statement->patience != PATIENCE_SHORT ||
            now_ms - request->born_ms <= 3 * (uint64_t)pool->options.timeout_ms)
            continue;
        struct error err = {0};
        error_set(&err, ERROR_UNAVAILABLE, "Postgres took longer than %u s over a request",
            3 * pool->options.timeout_ms / 1000);
        request->abandoned = true;
        request->done(request->context, NULL, &err);
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct pool *pool = timer->data;
    uint64_t now_ms = uv_now(pool->options.loop);
    for (int slow = 0; slow < 2; slow++)
        if (pool->waiting[slow].first)
            expire_waiting(pool, &pool->waiting[slow], now_ms);
    for (uint32_t i = 0; i < pool->lane_count; i++)
        expire_sent(pool, &pool->lanes[i], now_ms);
    pump(pool);
}

/* ---- life ---- */

static uv_timer_t *timer_new(struct pool *pool)
{
    uv_timer_t *timer = alloc_zero(1, sizeof *timer);
    uv_timer_init(pool->options.loop, timer);
    timer->data = pool;
    return timer;
}

struct pool *pool_open(const struct pool_options *options)
{
    struct pool *pool = alloc_zero(1, sizeof *pool);
    pool->options = *options;
    pool->lane_count = options->connections < 2 ? 2 : options->connections;
    pool->lanes = alloc_zero(pool->lane_count, sizeof *pool->lanes);
    for (uint32_t i = 0; i < pool->lane_count; i++) {
        pool->lanes[i].pool = pool;
        pool->lanes[i].slow = i + 1 == pool->lane_count;
        queue_init(&pool->lanes[i].sent);
    }
    queue_init(&pool->waiting[0]);
    queue_init(&pool->waiting[1]);
    queue_init(&pool->failed);
    pool->defer = timer_new(pool);
    pool->tick = timer_new(pool);
    uv_timer_start(pool->tick, on_tick, TICK_MS, TICK_MS);
    return pool;
}

void pool_allow(struct pool *pool, bool allowed)
{
    pool->allowed = allowed;
    for (uint32_t i = 0; allowed && i < pool->lane_count; i++) {
        struct lane *lane = &pool->lanes[i];
        const struct connection_events events = {on_ready, on_input, on_lost, lane};
        if (!lane->connection)
            lane->connection = connection_open(
                pool->options.loop, pool->options.info, CONNECTION_KEEP_TRYING | CONNECTION_FENCED, &events);
    }
    pump(pool);
}

bool pool_ready(const struct pool *pool)
{
    bool ready[2] = {false, false};
    for (uint32_t i = 0; i < pool->lane_count; i++)
        if (connection_pg(pool->lanes[i].connection))
            ready[pool->lanes[i].slow] = true;
    return pool->allowed && ready[0] && ready[1];
}

const char *pool_trouble(const struct pool *pool)
{
    return pool->trouble;
}

static void end_all(struct queue *queue)
{
    struct request *request = NULL;
    while ((request = queue_take(queue)))
        request_fail(request, ERROR_CANCELLED, "the coordinator is shutting down");
}

static void free_timer(uv_handle_t *handle)
{
    free(handle);
}

void pool_close(struct pool *pool)
{
    pool->closing = true;
    for (uint32_t i = 0; i < pool->lane_count; i++) {
        connection_close(pool->lanes[i].connection);
        pool->lanes[i].connection = NULL;
        end_all(&pool->lanes[i].sent);
    }
    /* A callback may ask for something more, to be told the same. */
    while (pool->waiting[0].first || pool->waiting[1].first || pool->failed.first) {
        end_all(&pool->waiting[0]);
        end_all(&pool->waiting[1]);
        end_all(&pool->failed);
    }
    uv_close((uv_handle_t *)pool->defer, free_timer);
    uv_close((uv_handle_t *)pool->tick, free_timer);
    free(pool->lanes);
    free(pool);
}
