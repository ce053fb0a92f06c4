#include "coordinator/store/leader.h"

#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/log.h"
#include "coordinator/store/migrations.h"
#include "coordinator/store/pool.h"

enum { TRY_MS = 250, END_MS = 5000 /* for a session to end in */, BEATS = 6 /* in a lease */ };

/* Who has the lock and when that session was last heard, if it is idle: a stopped program's is, a slow
 * statement's is not. NULL too where Postgres does not say (track_activities is off). */
#define HOLDER                                                                                               \
    "SELECT pid || ' ' || extract(epoch FROM backend_start) || ' ' || extract(epoch FROM state_change)"      \
    " AS holder, pid FROM pg_locks JOIN pg_stat_activity USING (pid)"                                        \
    " WHERE" CONNECTION_LOCK_IS(CONNECTION_LOCK_LEADER) " AND state = 'idle'"

enum step {
    STEP_TRY,
    STEP_EVICT,
    STEP_FENCE,
    STEP_PREPARE,
    STEP_VERSION,
    STEP_MIGRATE,
    STEP_BEAT,
    STEP_NONE
};

struct leader {
    struct leader_options options;
    struct connection *connection;
    enum leader_state state;
    enum step step;
    bool was_active; /* once: losing the lock to another is then the end */
    const struct migration *next;
    uv_timer_t timer; /* waiting: the next try; active: the next sign of life */
    char holder[128]; /* as it was when it last changed, at: */
    uint64_t holder_since_ms;
    char *answer; /* first value of the last good result */
    struct error trouble;
};

static void enter(struct leader *leader, enum leader_state state, const struct error *reason)
{
    leader->state = state;
    leader->options.on_state(leader->options.context, state, reason);
}

static void refuse(struct leader *leader, const struct error *reason)
{
    leader->step = STEP_NONE;
    uv_timer_stop(&leader->timer);
    connection_close(leader->connection);
    leader->connection = NULL;
    enter(leader, LEADER_REFUSED, reason);
}

static void ask(struct leader *leader, enum step step, const char *sql)
{
    leader->step = step;
    free(leader->answer);
    leader->answer = NULL;
    leader->trouble = (struct error){0};
    if (PQsendQuery(connection_pg(leader->connection), sql))
        connection_flush(leader->connection);
    else
        connection_break(leader->connection);
}

/* The session must be seen to live: a standby ends one that is silent for a lease (SIGSTOP, a frozen
 * machine). */
static void on_beat(uv_timer_t *timer)
{
    struct leader *leader = timer->data;
    if (leader->step == STEP_NONE && connection_pg(leader->connection))
        ask(leader, STEP_BEAT, "SELECT 1");
}

static void migrate_next(struct leader *leader)
{
    if (!leader->next->number) {
        leader->step = STEP_NONE;
        leader->was_active = true;
        uv_timer_start(
            &leader->timer, on_beat, leader->options.lease_ms / BEATS, leader->options.lease_ms / BEATS);
        enter(leader, LEADER_ACTIVE, NULL);
        return;
    }
    log_info("migrating the database", "migration", leader->next->name);
    char *sql = alloc_format("BEGIN; SELECT pg_advisory_xact_lock(" CONNECTION_LOCK_MIGRATION ");\n%s\n;"
                             "INSERT INTO schema_migration (number, name) VALUES (%d, '%s'); COMMIT",
        leader->next->sql, leader->next->number, leader->next->name);
    ask(leader, STEP_MIGRATE, sql);
    free(sql);
}

static void version_known(struct leader *leader)
{
    long version = leader->answer ? strtol(leader->answer, NULL, 10) : 0, newest = 0;
    for (leader->next = migrations; leader->next->number; leader->next++)
        newest = leader->next->number;
    if (version > newest) {
        struct error err = {0};
        error_set(&err, ERROR_CONFLICT,
            "the database's tables are of version %ld; this program knows up to %ld", version, newest);
        error_hint(&err, "run the newer version of lumigrid-coordinator, or restore a backup");
        refuse(leader, &err);
        return;
    }
    leader->next = migrations;
    while (leader->next->number && leader->next->number <= version)
        leader->next++;
    migrate_next(leader);
}

/* Ends the sessions of coordinators before: nothing of theirs is written from here on. */
static void fence(struct leader *leader)
{
    char sql[512];
    snprintf(sql, sizeof sql,
        "SELECT count(*) FILTER (WHERE NOT ended) FROM (SELECT pg_terminate_backend(pid, %d) AS ended"
        " FROM pg_locks WHERE" CONNECTION_LOCK_IS(CONNECTION_LOCK_FENCED) ") AS earlier",
        END_MS);
    ask(leader, STEP_FENCE, sql);
}

static void locked(struct leader *leader)
{
    enter(leader, LEADER_MIGRATING, NULL);
    fence(leader);
}

static void fenced(struct leader *leader)
{
    if (!leader->answer || strcmp(leader->answer, "0") != 0) {
        fence(leader); /* one is still ending */
        return;
    }
    ask(leader, STEP_PREPARE,
        "SET client_min_messages = warning;"
        "CREATE TABLE IF NOT EXISTS schema_migration (number integer PRIMARY KEY, name text NOT NULL,"
        " applied_at timestamptz NOT NULL DEFAULT clock_timestamp())");
}

static void try_lock(struct leader *leader)
{
    ask(leader, STEP_TRY,
        "SELECT CASE WHEN pg_try_advisory_lock(" CONNECTION_LOCK_LEADER ") THEN 't'"
        " ELSE (SELECT holder FROM (" HOLDER ") AS h) END");
}

static void on_try(uv_timer_t *timer)
{
    struct leader *leader = timer->data;
    if (leader->step == STEP_NONE && connection_pg(leader->connection))
        try_lock(leader);
}

/* As a standby, with `holder` being the other's last sign of life; empty: not known, or it is at work. */
static void wait_on(struct leader *leader, const char *holder)
{
    uint64_t now_ms = uv_now(leader->options.loop);
    leader->step = STEP_NONE;
    if (leader->state != LEADER_WAITING)
        enter(leader, LEADER_WAITING, NULL);
    if (!*holder || strcmp(holder, leader->holder) != 0) {
        snprintf(leader->holder, sizeof leader->holder, "%s", holder);
        leader->holder_since_ms = now_ms;
    }
    /* Of BEATS signs in a lease it may miss all but two: the lock is had before the lease is over. */
    if (now_ms - leader->holder_since_ms < leader->options.lease_ms / BEATS * (BEATS - 2)) {
        uv_timer_start(&leader->timer, on_try, TRY_MS, 0);
        return;
    }
    log_warn("the active coordinator is silent; its session is ended", "session", leader->holder);
    char sql[1024];
    snprintf(sql, sizeof sql,
        "SELECT pg_terminate_backend(pid, %d) FROM (" HOLDER ") AS h WHERE holder = '%s'", END_MS,
        leader->holder);
    ask(leader, STEP_EVICT, sql);
}

static void tried(struct leader *leader)
{
    struct error err = {0};
    const char *answer = leader->answer ? leader->answer : "";
    if (*answer == 't') {
        locked(leader);
    } else if (leader->was_active) {
        error_set(&err, ERROR_CONFLICT, "another coordinator took over this database while it was away");
        error_hint(&err, "start this one again: it will wait as the standby");
        refuse(leader, &err);
    } else if (leader->options.no_standby) {
        error_set(&err, ERROR_CONFLICT, "another coordinator is active on this database");
        error_hint(&err, "stop it first, or start this one without --no-standby to wait for it");
        refuse(leader, &err);
    } else {
        wait_on(leader, answer);
    }
}

/* All results of a step are in. */
static void step_done(struct leader *leader)
{
    enum step step = leader->step;
    if (leader->trouble.code == ERROR_UNAVAILABLE) {
        connection_break(leader->connection);
        return;
    }
    if (leader->trouble.code) {
        struct error err = leader->trouble;
        if (step == STEP_MIGRATE)
            error_context(&err, "migration %s: ", leader->next->name);
        else
            error_context(&err, "preparing the database: ");
        refuse(leader, &err);
        return;
    }
    switch (step) {
    case STEP_TRY: tried(leader); break;
    case STEP_EVICT: try_lock(leader); break;
    case STEP_FENCE: fenced(leader); break;
    case STEP_PREPARE: ask(leader, STEP_VERSION, "SELECT max(number) FROM schema_migration"); break;
    case STEP_VERSION: version_known(leader); break;
    case STEP_MIGRATE:
        leader->next++;
        migrate_next(leader);
        break;
    case STEP_BEAT: leader->step = STEP_NONE; break;
    case STEP_NONE: break;
    }
}

static void on_input(void *context)
{
    struct leader *leader = context;
    PGconn *pg = connection_pg(leader->connection);
    while (leader->step != STEP_NONE && !PQisBusy(pg)) {
        PGresult *result = PQgetResult(pg);
        if (!result) {
            step_done(leader);
            return; /* the next step's answer, or none, comes with new input */
        }
        if (PQresultStatus(result) == PGRES_FATAL_ERROR && !leader->trouble.code)
            result_error(result, &leader->trouble);
        else if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) && !leader->answer)
            leader->answer = alloc_string(PQgetvalue(result, 0, 0));
        PQclear(result);
    }
}

static void on_ready(void *context)
{
    try_lock(context);
}

static void on_lost(void *context, const char *reason)
{
    struct leader *leader = context;
    struct error err = {0};
    leader->step = STEP_NONE;
    uv_timer_stop(&leader->timer);
    error_set(&err, ERROR_UNAVAILABLE, "Postgres cannot be reached: %s", reason);
    error_hint(&err, "check that Postgres runs and that --database is right; it is tried again and again");
    enter(leader, LEADER_CONNECTING, &err);
}

struct leader *leader_open(const struct leader_options *options)
{
    struct leader *leader = alloc_zero(1, sizeof *leader);
    const struct connection_events events = {on_ready, on_input, on_lost, leader};
    leader->options = *options;
    leader->step = STEP_NONE;
    uv_timer_init(options->loop, &leader->timer);
    leader->timer.data = leader;
    leader->connection = connection_open(options->loop, options->info, CONNECTION_KEEP_TRYING, &events);
    return leader;
}

int leader_pid(const struct leader *leader)
{
    PGconn *pg = connection_pg(leader->connection);
    return pg ? PQbackendPID(pg) : 0;
}

static void free_leader(uv_handle_t *handle)
{
    free(handle->data);
}

void leader_close(struct leader *leader)
{
    if (!leader)
        return;
    connection_close(leader->connection);
    free(leader->answer);
    uv_close((uv_handle_t *)&leader->timer, free_leader);
}
