/* One libpq connection on the libuv loop: connects, keeps trying, tells when there is input. What is sent and
 * how answers are read is its user's (pool, leader, upload). */
#ifndef LUMIGRID_COORDINATOR_STORE_CONNECTION_H
#define LUMIGRID_COORDINATOR_STORE_CONNECTION_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "common/error.h"

/* Where Postgres is: libpq keywords and values, parsed once. */
struct conninfo {
    char **keywords;
    char **values;
    int count;
    int leader_pid; /* of the session with the coordinators' lock; what fenced connections ask for */
};
bool conninfo_parse(const char *text, struct conninfo *out, struct error *err);
void conninfo_free(struct conninfo *info);

/* Advisory locks of this database, all of one series: "LUMIGRID" as a number and what follows. */
#define CONNECTION_LOCK_LEADER "5500663921286621508"    /* held by the session of the active coordinator */
#define CONNECTION_LOCK_MIGRATION "5500663921286621509" /* held while the tables change */
#define CONNECTION_LOCK_FENCED "5500663921286621510"    /* shared by all fenced sessions, to be found by */
/* For WHERE, over pg_locks: a granted lock of this database. */
#define CONNECTION_LOCK_IS(key)                                                                              \
    " locktype = 'advisory' AND granted AND objsubid = 1 AND"                                                \
    " database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND"                       \
    " (classid::bigint << 32) + objid::bigint = " key

enum connection_kind {
    CONNECTION_KEEP_TRYING =
        1, /* after a loss it connects again with backoff; otherwise on_lost is the last */
    /* Ready only after Postgres said that info->leader_pid still has the lock. Whoever takes the lock ends
     * all sessions that heard so before: an overthrown coordinator can write nothing. */
    CONNECTION_FENCED = 2,
};

struct connection;

struct connection_events {
    void (*on_ready)(void *context);                    /* connected; in plain (not pipeline) mode */
    void (*on_input)(void *context);                    /* PQconsumeInput was called: read results */
    void (*on_lost)(void *context, const char *reason); /* one line; also when a first try failed */
    void *context;
};

/* Starts to connect at once. `info` is borrowed for the connection's life. `kind`: connection_kind's bits. */
struct connection *connection_open(
    uv_loop_t *loop, const struct conninfo *info, unsigned kind, const struct connection_events *events);

/* Closes at once: no event follows; memory goes with the loop's next turn. May be called from an event. */
void connection_close(struct connection *connection);

PGconn *connection_pg(const struct connection *connection); /* NULL when not ready */

/* Sends what was queued with libpq, now and as the socket takes it. */
void connection_flush(struct connection *connection);

/* The user saw the connection fail (a send returned 0, a fatal result): handled as a loss, from the loop. */
void connection_break(struct connection *connection);

#endif
