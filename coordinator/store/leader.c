#include "coordinator/store/leader.h"

#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/log.h"
#include "coordinator/store/migrations.h"
#include "coordinator/store/pool.h"

/* "LUMIGRID" as a number: the key of the session's lock; one more is that of a migration. */
#define LOCK_KEY "5500663921286621508"
#define MIGRATION_KEY "5500663921286621509"

enum step { STEP_TRY, STEP_WAIT, STEP_PREPARE, STEP_VERSION, STEP_MIGRATE, STEP_NONE };

struct leader {
    struct leader_options options;
    struct connection *connection;
    enum leader_state state;
    enum step step;
    bool was_active; /* once: losing the lock to another is then the end */
    const struct migration *next;
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

static void migrate_next(struct leader *leader)
{
    if (!leader->next->number) {
        leader->step = STEP_NONE;
        leader->was_active = true;
        enter(leader, LEADER_ACTIVE, NULL);
        return;
    }
    log_info("migrating the database", "migration", leader->next->name);
    char *sql = alloc_format("BEGIN; SELECT pg_advisory_xact_lock(" MIGRATION_KEY ");\n%s\n;"
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

static void locked(struct leader *leader)
{
    enter(leader, LEADER_MIGRATING, NULL);
    ask(leader, STEP_PREPARE,
        "SET client_min_messages = warning;"
        "CREATE TABLE IF NOT EXISTS schema_migration (number integer PRIMARY KEY, name text NOT NULL,"
        " applied_at timestamptz NOT NULL DEFAULT clock_timestamp())");
}

static void tried(struct leader *leader)
{
    struct error err = {0};
    if (leader->answer && *leader->answer == 't') {
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
        enter(leader, LEADER_WAITING, NULL);
        ask(leader, STEP_WAIT, "SELECT pg_advisory_lock(" LOCK_KEY ")");
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
    case STEP_WAIT: locked(leader); break;
    case STEP_PREPARE: ask(leader, STEP_VERSION, "SELECT max(number) FROM schema_migration"); break;
    case STEP_VERSION: version_known(leader); break;
    case STEP_MIGRATE:
        leader->next++;
        migrate_next(leader);
        break;
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
    ask(context, STEP_TRY, "SELECT pg_try_advisory_lock(" LOCK_KEY ")");
}

static void on_lost(void *context, const char *reason)
{
    struct leader *leader = context;
    struct error err = {0};
    leader->step = STEP_NONE;
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
    leader->connection = connection_open(options->loop, options->info, true, &events);
    return leader;
}

void leader_close(struct leader *leader)
{
    if (!leader)
        return;
    connection_close(leader->connection);
    free(leader->answer);
    free(leader);
}
