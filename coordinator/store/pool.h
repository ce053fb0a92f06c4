/* Requests over a few connections in pipeline mode: each is one prepared statement and a transaction of its
 * own. The last connection is the slow lane, so that a pass over millions of rows holds nobody up. */
#ifndef LUMIGRID_COORDINATOR_STORE_POOL_H
#define LUMIGRID_COORDINATOR_STORE_POOL_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "common/error.h"
#include "coordinator/store/connection.h"
#include "coordinator/store/params.h"

enum patience {
    PATIENCE_SHORT, /* reads: ends with ERROR_UNAVAILABLE after a while, whether sent or not */
    PATIENCE_SENT,  /* writes: once sent, the answer is waited for: it may have been done */
    PATIENCE_LONG,  /* waits for Postgres as long as it takes */
};

/* One for each SQL text, static. */
struct statement {
    const char *name; /* unique; the prepared statement's */
    const char *sql;
    enum patience patience;
    bool slow;    /* goes to the slow lane */
    bool ordered; /* goes to the first lane only: takes effect in the order in which it was asked for */
    bool binary;  /* results come binary */
    int number;   /* 0; given by the pool */
};

struct pool;

struct pool_options {
    uv_loop_t *loop;
    const struct conninfo *info;
    uint32_t connections, requests_max, timeout_ms;
    void (*on_change)(void *context); /* pool_ready may have changed */
    void *context;
};

/* `result` is valid until it returns; NULL with err. */
typedef void (*request_done)(void *context, PGresult *result, const struct error *err);

struct pool *pool_open(const struct pool_options *options);
void pool_close(
    struct pool *pool); /* every request ends with ERROR_CANCELLED, from within; not from a callback */

/* Requests wait until the pool is allowed to send (the leader has its lock). Allowing opens the connections.
 */
void pool_allow(struct pool *pool, bool allowed);
bool pool_ready(const struct pool *pool);
const char *pool_trouble(const struct pool *pool); /* why it is not ready */

/* Takes the params. `done` comes later, exactly once. */
void pool_send(
    struct pool *pool, struct statement *statement, struct params *params, request_done done, void *context);
/* Ends with this error, later, as if it had been sent. */
void pool_fail(struct pool *pool, request_done done, void *context, const struct error *err);

/* The error of a failed result, by its SQLSTATE. */
void result_error(const PGresult *result, struct error *err);
/* The server could not do it now: the same request may succeed later. */
bool result_is_temporary(const PGresult *result);

#endif
