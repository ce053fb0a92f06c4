/* Jobs: written, read, listed, deleted. How they go on and end is in job_progress.c. */
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "coordinator/store/job_row.h"

/* ---- insert ---- */

/* The second writing of one id (after a connection broke half-way) finds the first and gives it back. */
static struct statement insert = {
    .name = "job_insert",
    .sql =
        "INSERT INTO job (id, kind, experiment_id, workflow_id, name, description, dataset_id, model, "
        "settings,"
        " request, owner, metrics, metric_keys, max_samples, sample_count, priority, timeout_s, output_field)"
        " SELECT $1::uuid, $2::text, $3::uuid, $4::uuid, $5::text, $6::text, d.id, $8::text, "
        "coalesce($9::jsonb, '{}'), $10::jsonb, $11::text,"
        "        $12::text[], $13::text[], $14::bigint,"
        "        CASE WHEN $14::bigint > 0 THEN least($14::bigint, d.sample_count) ELSE d.sample_count END,"
        "        $15::integer, $16::integer, $17::text"
        " FROM dataset d WHERE d.id = $7 AND d.deleted_at IS NULL"
        " ON CONFLICT (id) DO UPDATE SET id = excluded.id RETURNING " JOB_COLUMNS,
    .patience = PATIENCE_SENT,
};

static void inserted(void *context, PGresult *result, const struct error *err)
{
    struct call *call = context;
    struct error missing = {0};
    if (!err && !PQntuples(result)) {
        error_set(&missing, ERROR_NOT_FOUND, "there is no dataset %s", call->subject);
        ((store_job_done)call->done)(call->context, NULL, &missing);
        free(call);
        return;
    }
    job_row_done(context, result, err);
}

void store_job_insert(struct store *store, const struct store_job *job, store_job_done done, void *context)
{
    struct call *call = call_new((void (*)(void))done, context, job->dataset_id);
    struct params params = {0};
    char id[STORE_ID_BYTES];
    if (!id_checked(store, job->dataset_id, "dataset", inserted, call))
        return;
    if (*job->id)
        memcpy(id, job->id, sizeof id);
    else
        store_id_new(id);
    if (!id_checked(store, id, "job", inserted, call))
        return;
    params_text(&params, id);
    params_text(&params, store_job_kind_name(job->kind));
    params_text(&params, job->experiment_id);
    params_text(&params, job->workflow_id);
    params_text(&params, job->name ? job->name : "");
    params_text(&params, job->description);
    params_text(&params, job->dataset_id);
    params_text(&params, job->model);
    params_text(&params, job->settings);
    params_text(&params, job->request);
    params_text(&params, job->owner);
    params_text_list(&params, job->metrics, job->metric_count);
    params_text_list(&params, job->metric_keys, job->metric_key_count);
    params_int(&params, job->max_samples);
    params_int(&params, job->priority);
    params_int(&params, job->timeout_s);
    params_text(&params, job->output_field);
    pool_send(store->pool, &insert, &params, inserted, call);
}

/* ---- read ---- */

static struct statement get = {
    .name = "job_get",
    .sql = "SELECT " JOB_COLUMNS " FROM job WHERE id = $1",
};

void store_job_get(struct store *store, const char *id, store_job_done done, void *context)
{
    struct call *call = call_new((void (*)(void))done, context, id);
    struct params params = {0};
    if (!id_checked(store, id, "job", job_row_done, call))
        return;
    params_text(&params, id);
    pool_send(store->pool, &get, &params, job_row_done, call);
}

#define JOB_FILTER                                                                                           \
    " WHERE ($1::text[] IS NULL OR kind = ANY ($1)) AND ($2::uuid IS NULL OR experiment_id = $2)"            \
    " AND ($3::uuid IS NULL OR workflow_id = $3) AND ($4::uuid IS NULL OR dataset_id = $4)"

/* The total comes with every row, and alone when the page is empty. */
static struct statement list = {
    .name = "job_list",
    .sql = "SELECT " JOB_COLUMNS ", total FROM (SELECT count(*) AS total FROM job" JOB_FILTER ") t"
           " LEFT JOIN LATERAL (SELECT * FROM job" JOB_FILTER
           " ORDER BY created_at DESC, id OFFSET $5 LIMIT $6) j ON true ORDER BY created_at DESC, id",
};

static void listed(void *context, PGresult *result, const struct error *err)
{
    struct call *call = context;
    int count = err ? 0 : PQntuples(result);
    if (count == 1 && PQgetisnull(result, 0, 0))
        count = 0;
    struct store_job *items = alloc_zero((size_t)count, sizeof *items);
    for (int i = 0; i < count; i++)
        job_row_decode(result, i, &items[i]);
    uint64_t total = err ? 0 : (uint64_t)value_int(result, 0, JOB_COLUMN_COUNT);
    ((store_job_list_done)call->done)(call->context, total, items, (size_t)count, err);
    for (int i = 0; i < count; i++)
        job_row_free(&items[i]);
    free(items);
    free(call);
}

static void params_kinds(struct params *params, uint32_t kinds)
{
    const char *names[4];
    size_t count = 0;
    for (int kind = STORE_JOB_EXPERIMENT; kind <= STORE_JOB_EVALUATOR; kind++)
        if (kinds & 1U << kind)
            names[count++] = store_job_kind_name((enum store_job_kind)kind);
    if (count)
        params_text_list(params, names, count);
    else
        params_text(params, NULL);
}

void store_job_list(struct store *store, const struct store_job_filter *filter, uint64_t skip, uint64_t limit,
    store_job_list_done done, void *context)
{
    static const struct store_job_filter all;
    struct call *call = call_new((void (*)(void))done, context, NULL);
    struct params params = {0};
    if (!filter)
        filter = &all;
    params_kinds(&params, filter->kinds);
    params_text(&params, filter->experiment_id);
    params_text(&params, filter->workflow_id);
    params_text(&params, filter->dataset_id);
    params_int(&params, skip > INT64_MAX ? INT64_MAX : (int64_t)skip);
    params_int(&params, limit > INT64_MAX ? INT64_MAX : (int64_t)limit);
    pool_send(store->pool, &list, &params, listed, call);
}

/* ---- delete ---- */

static struct statement delete = {
    .name = "job_delete",
    .sql = "WITH gone AS (DELETE FROM job WHERE id = $1 AND status NOT IN " JOB_UNFINISHED
           "              RETURNING id, dataset_id),"
           " results AS (DELETE FROM result USING gone WHERE job_id = gone.id),"
           " lines AS (DELETE FROM job_log USING gone WHERE job_id = gone.id),"
           " samples AS (DELETE FROM sample s USING gone, dataset d"
           "             WHERE s.dataset_id = gone.dataset_id AND d.id = gone.dataset_id"
           "             AND d.deleted_at IS NOT NULL"
           "             AND NOT EXISTS (SELECT FROM job o WHERE o.dataset_id = d.id AND o.id <> gone.id))"
           "SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM job WHERE id = $1)",
    .patience = PATIENCE_SENT,
    .slow = true,
};

static void deleted(void *context, PGresult *result, const struct error *err)
{
    struct call *call = context;
    struct error refused = {0};
    if (!err && !value_int(result, 0, 0)) {
        /* The second count sees the table as it was before this statement. */
        if (value_int(result, 0, 1))
            error_set(&refused, ERROR_CONFLICT, "job %s has not finished; cancel it first", call->subject);
        else
            error_set(&refused, ERROR_NOT_FOUND, "there is no job %s", call->subject);
        err = &refused;
    }
    ((store_done)call->done)(call->context, err);
    free(call);
}

void store_job_delete(struct store *store, const char *id, store_done done, void *context)
{
    struct call *call = call_new((void (*)(void))done, context, id);
    struct params params = {0};
    if (!id_checked(store, id, "job", deleted, call))
        return;
    params_text(&params, id);
    pool_send(store->pool, &delete, &params, deleted, call);
}
