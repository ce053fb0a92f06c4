/* Jobs on their way: started, provenance, metric keys, figures, the end; and what a restart finds unfinished.
 */
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "coordinator/store/job_row.h"

static struct statement start = {
    .name = "job_start",
    .sql = "WITH begun AS (UPDATE job SET status = 'running', updated_at = clock_timestamp(),"
           "  started_at = coalesce(started_at, clock_timestamp())"
           "  WHERE id = $1 AND status IN ('created', 'pending') RETURNING workflow_id)"
           "UPDATE workflow SET status = 'running', updated_at = clock_timestamp()"
           " FROM begun WHERE workflow.id = begun.workflow_id AND status = 'created'",
    .patience = PATIENCE_LONG,
    .slow = true, /* as its end: one lane keeps their order */
};

void store_job_start(struct store *store, const char *id, store_done done, void *context)
{
    struct call *call = call_new((void (*)(void))done, context, id);
    struct params params = {0};
    if (!id_checked(store, id, "job", call_done, call))
        return;
    params_text(&params, id);
    pool_send(store->pool, &start, &params, call_done, call);
}

static struct statement provenance = {
    .name = "job_provenance",
    .sql = "UPDATE job SET provenance = $2::jsonb, updated_at = clock_timestamp() WHERE id = $1",
    .patience = PATIENCE_LONG,
};

void store_job_provenance(
    struct store *store, const char *id, const char *provenance_json, store_done done, void *context)
{
    struct call *call = call_new((void (*)(void))done, context, id);
    struct params params = {0};
    if (!id_checked(store, id, "job", call_done, call))
        return;
    params_text(&params, id);
    params_text(&params, provenance_json);
    pool_send(store->pool, &provenance, &params, call_done, call);
}

static struct statement add_keys = {
    .name = "job_add_keys",
    .sql = "UPDATE job SET metric_keys = metric_keys || ARRAY("
           "  SELECT key FROM unnest($2::text[]) WITH ORDINALITY AS k(key, place)"
           "  WHERE key <> ALL (metric_keys) ORDER BY place), updated_at = clock_timestamp()"
           " WHERE id = $1 RETURNING " JOB_COLUMNS,
    .patience = PATIENCE_LONG,
};

void store_job_add_keys(struct store *store, const char *id, const char *const *keys, size_t key_count,
    store_job_done done, void *context)
{
    struct call *call = call_new((void (*)(void))done, context, id);
    struct params params = {0};
    if (!id_checked(store, id, "job", job_row_done, call))
        return;
    params_text(&params, id);
    params_text_list(&params, keys, key_count);
    pool_send(store->pool, &add_keys, &params, job_row_done, call);
}

/* ---- the end ---- */

/* A job that is over already comes back as it is. */
static struct statement finish = {
    .name = "job_finish",
    .sql = "SELECT " JOB_COLUMNS " FROM job_end($1, $2, $3, $4) WITH ORDINALITY ORDER BY ordinality",
    .patience = PATIENCE_LONG,
    .slow = true,
};

static struct statement prune_log = {
    .name = "job_prune_log",
    .sql = "DELETE FROM job_log WHERE job_id = $1 AND seq <="
           " (SELECT seq FROM job_log WHERE job_id = $1 ORDER BY seq DESC OFFSET 10000 LIMIT 1)",
    .slow = true,
};

static void pruned(void *context, PGresult *result, const struct error *err)
{
    (void)context, (void)result, (void)err; /* the next end prunes what this one could not */
}

static void finished(void *context, PGresult *result, const struct error *err)
{
    struct call *call = context;
    struct store_job jobs[2] = {0};
    int count = err ? 0 : PQntuples(result) < 2 ? PQntuples(result) : 2;
    struct error missing = {0};
    if (!err && !count) {
        error_set(&missing, ERROR_NOT_FOUND, "there is no job %s", call->subject);
        err = &missing;
    }
    for (int i = 0; i < count; i++)
        job_row_decode(result, i, &jobs[i]);
    if (call->done)
        ((store_job_finish_done)call->done)(
            call->context, count > 0 ? &jobs[0] : NULL, count > 1 ? &jobs[1] : NULL, err);
    for (int i = 0; i < count; i++)
        job_row_free(&jobs[i]);
    free(call);
}

void store_job_finish(struct store *store, const char *id, enum store_job_status status,
    const struct error *reason, store_job_finish_done done, void *context)
{
    struct call *call = call_new((void (*)(void))done, context, id);
    struct params params = {0}, prune = {0};
    if (!id_checked(store, id, "job", finished, call))
        return;
    params_text(&params, id);
    params_text(&params, store_job_status_name(status));
    params_text(&params, reason ? reason->message : NULL);
    params_text(&params, reason && *reason->hint ? reason->hint : NULL);
    pool_send(store->pool, &finish, &params, finished, call);
    params_text(&prune, id);
    pool_send(store->pool, &prune_log, &prune, pruned, NULL);
}

static struct statement figures = {
    .name = "job_figures",
    .sql = "SELECT job_figures(id, metric_keys) FROM job WHERE id = $1",
    .slow = true,
};

static void figures_got(void *context, PGresult *result, const struct error *err)
{
    struct call *call = context;
    struct error missing = {0};
    if (!err && !PQntuples(result)) {
        error_set(&missing, ERROR_NOT_FOUND, "there is no job %s", call->subject);
        err = &missing;
    }
    ((store_json_done)call->done)(call->context, err ? NULL : value_text(result, 0, 0), err);
    free(call);
}

void store_job_figures(struct store *store, const char *id, store_json_done done, void *context)
{
    struct call *call = call_new((void (*)(void))done, context, id);
    struct params params = {0};
    if (!id_checked(store, id, "job", figures_got, call))
        return;
    params_text(&params, id);
    pool_send(store->pool, &figures, &params, figures_got, call);
}

/* ---- after a restart ---- */

static struct statement unfinished = {
    .name = "job_unfinished",
    .sql = "SELECT " JOB_COLUMNS " FROM job WHERE status IN " JOB_UNFINISHED " ORDER BY created_at, id",
    .patience = PATIENCE_LONG,
    .slow = true,
};

/* The samples between, before and after those that have results. */
static struct statement gaps = {
    .name = "job_gaps",
    .sql = "SELECT low, high - low FROM ("
           " SELECT lag(index, 1, -1::bigint) OVER (ORDER BY index) + 1 AS low, index AS high"
           " FROM result WHERE job_id = $1"
           " UNION ALL SELECT coalesce(max(index), -1) + 1, $2::bigint FROM result WHERE job_id = $1) g"
           " WHERE low < high ORDER BY low",
    .patience = PATIENCE_LONG,
    .slow = true,
    .binary = true,
};

struct recovery {
    struct store *store;
    store_unfinished_done done;
    void *context;
    PGresult *jobs; /* a copy: the pool's result ends with its callback */
    int at;
};

static void recover_next(struct recovery *recovery);

static void recovery_end(struct recovery *recovery, const struct error *err)
{
    recovery->done(recovery->context, NULL, NULL, 0, err);
    PQclear(recovery->jobs);
    free(recovery);
}

static void gaps_got(void *context, PGresult *result, const struct error *err)
{
    struct recovery *recovery = context;
    if (err) {
        recovery_end(recovery, err);
        return;
    }
    size_t count = (size_t)PQntuples(result);
    struct store_range *ranges = alloc_zero(count, sizeof *ranges);
    for (size_t i = 0; i < count; i++) {
        ranges[i].first = read_u64(PQgetvalue(result, (int)i, 0));
        ranges[i].count = read_u64(PQgetvalue(result, (int)i, 1));
    }
    struct store_job job = {0};
    job_row_decode(recovery->jobs, recovery->at, &job);
    recovery->done(recovery->context, &job, ranges, count, NULL);
    job_row_free(&job);
    free(ranges);
    recovery->at++;
    recover_next(recovery);
}

static void recover_next(struct recovery *recovery)
{
    if (recovery->at == PQntuples(recovery->jobs)) {
        recovery_end(recovery, NULL);
        return;
    }
    struct params params = {0};
    params_text(&params, PQgetvalue(recovery->jobs, recovery->at, 0));
    params_text(&params, PQgetvalue(recovery->jobs, recovery->at, 15)); /* sample_count */
    pool_send(recovery->store->pool, &gaps, &params, gaps_got, recovery);
}

static void unfinished_got(void *context, PGresult *result, const struct error *err)
{
    struct recovery *recovery = context;
    if (err) {
        recovery_end(recovery, err);
        return;
    }
    recovery->jobs = PQcopyResult(result, PG_COPYRES_ATTRS | PG_COPYRES_TUPLES);
    recover_next(recovery);
}

void store_job_unfinished(struct store *store, store_unfinished_done done, void *context)
{
    struct recovery *recovery = alloc_zero(1, sizeof *recovery);
    struct params params = {0};
    recovery->store = store;
    recovery->done = done;
    recovery->context = context;
    pool_send(store->pool, &unfinished, &params, unfinished_got, recovery);
}
