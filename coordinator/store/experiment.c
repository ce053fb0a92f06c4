/* Experiments: those of several workflows, and the listing of both generations. */
#include <stdlib.h>

#include "common/alloc.h"
#include "coordinator/store/job_row.h"

#define EXPERIMENT_COLUMNS                                                                                   \
    "id, name, description, dataset_id, task, owner, max_samples, (extract(epoch FROM created_at) * "        \
    "1000)::bigint, (extract(epoch FROM updated_at) * 1000)::bigint"
enum { EXPERIMENT_COLUMN_COUNT = 9 };

static void decode(const PGresult *result, int row, int first, struct store_experiment *out)
{
    value_id(result, row, first, out->id);
    out->name = value_text(result, row, first + 1);
    out->description = value_text(result, row, first + 2);
    out->dataset_id = value_text(result, row, first + 3);
    out->task = value_text(result, row, first + 4);
    out->owner = value_text(result, row, first + 5);
    out->max_samples = value_int(result, row, first + 6);
    out->created_ms = value_int(result, row, first + 7);
    out->updated_ms = value_int(result, row, first + 8);
}

static void end_one(void *context, PGresult *result, const struct error *err, const char *missing_kind)
{
    struct call *call = context;
    struct store_experiment experiment = {0};
    struct error missing = {0};
    if (!err && !PQntuples(result)) {
        error_set(&missing, ERROR_NOT_FOUND, "there is no %s %s", missing_kind, call->subject);
        err = &missing;
    } else if (!err) {
        decode(result, 0, 0, &experiment);
    }
    ((store_experiment_done)call->done)(call->context, err ? NULL : &experiment, err);
    free(call);
}

static struct statement insert = {
    .name = "experiment_insert",
    .sql = "INSERT INTO experiment (id, name, description, dataset_id, max_samples, task, owner)"
           " SELECT $1::uuid, $2::text, $3::text, d.id, $5::bigint, $6::jsonb, $7::text FROM dataset d"
           " WHERE d.id = $4 AND d.deleted_at IS NULL"
           " ON CONFLICT (id) DO UPDATE SET id = excluded.id RETURNING " EXPERIMENT_COLUMNS,
    .patience = PATIENCE_SENT,
};

static void inserted(void *context, PGresult *result, const struct error *err)
{
    end_one(context, result, err, "dataset");
}

void store_experiment_insert(
    struct store *store, const struct store_experiment *experiment, store_experiment_done done, void *context)
{
    struct call *call = call_new((void (*)(void))done, context, experiment->dataset_id);
    struct params params = {0};
    char id[STORE_ID_BYTES];
    if (!id_checked(store, experiment->dataset_id, "dataset", inserted, call))
        return;
    store_id_new(id);
    params_text(&params, id);
    params_text(&params, experiment->name);
    params_text(&params, experiment->description ? experiment->description : "");
    params_text(&params, experiment->dataset_id);
    params_int(&params, experiment->max_samples);
    params_text(&params, experiment->task);
    params_text(&params, experiment->owner);
    pool_send(store->pool, &insert, &params, inserted, call);
}

static struct statement get = {
    .name = "experiment_get",
    .sql = "SELECT " EXPERIMENT_COLUMNS " FROM experiment WHERE id = $1",
};

static void got(void *context, PGresult *result, const struct error *err)
{
    end_one(context, result, err, "experiment");
}

void store_experiment_get(struct store *store, const char *id, store_experiment_done done, void *context)
{
    struct call *call = call_new((void (*)(void))done, context, id);
    struct params params = {0};
    if (!id_checked(store, id, "experiment", got, call))
        return;
    params_text(&params, id);
    pool_send(store->pool, &get, &params, got, call);
}

/* ---- both generations ---- */

/* The total comes with every row, and alone when the page is empty. */
static struct statement list = {
    .name = "experiment_list",
    .sql = "SELECT j.*, e.*, total FROM (SELECT (SELECT count(*) FROM experiment)"
           "  + (SELECT count(*) FROM job WHERE kind = 'experiment') AS total) t"
           " LEFT JOIN LATERAL (SELECT id, created_at FROM experiment"
           "  UNION ALL SELECT id, created_at FROM job WHERE kind = 'experiment'"
           "  ORDER BY created_at DESC, id OFFSET $1 LIMIT $2) page ON true"
           " LEFT JOIN LATERAL (SELECT " JOB_COLUMNS
           " FROM job WHERE id = page.id AND kind = 'experiment') j ON true"
           " LEFT JOIN LATERAL (SELECT " EXPERIMENT_COLUMNS " FROM experiment WHERE id = page.id) e ON true"
           " ORDER BY page.created_at DESC, page.id",
};

static void listed(void *context, PGresult *result, const struct error *err)
{
    struct call *call = context;
    int count = err ? 0 : PQntuples(result);
    uint64_t total = err ? 0 : (uint64_t)value_int(result, 0, JOB_COLUMN_COUNT + EXPERIMENT_COLUMN_COUNT);
    if (count == 1 && PQgetisnull(result, 0, 0) && PQgetisnull(result, 0, JOB_COLUMN_COUNT))
        count = 0;
    struct store_experiment_item *items = alloc_zero((size_t)count, sizeof *items);
    struct store_experiment *experiments = alloc_zero((size_t)count, sizeof *experiments);
    struct store_job *jobs = alloc_zero((size_t)count, sizeof *jobs);
    for (int i = 0; i < count; i++) {
        bool first_generation = !PQgetisnull(result, i, 0);
        if (first_generation)
            job_row_decode(result, i, &jobs[i]);
        else
            decode(result, i, JOB_COLUMN_COUNT, &experiments[i]);
        items[i].job = first_generation ? &jobs[i] : NULL;
        items[i].experiment = first_generation ? NULL : &experiments[i];
    }
    ((store_experiment_list_done)call->done)(call->context, total, items, (size_t)count, err);
    for (int i = 0; i < count; i++)
        if (items[i].job)
            job_row_free(&jobs[i]);
    free(jobs);
    free(experiments);
    free(items);
    free(call);
}

void store_experiment_list(
    struct store *store, uint64_t skip, uint64_t limit, store_experiment_list_done done, void *context)
{
    struct call *call = call_new((void (*)(void))done, context, NULL);
    struct params params = {0};
    params_int(&params, skip > INT64_MAX ? INT64_MAX : (int64_t)skip);
    params_int(&params, limit > INT64_MAX ? INT64_MAX : (int64_t)limit);
    pool_send(store->pool, &list, &params, listed, call);
}

/* ---- delete ---- */

static struct statement delete = {
    .name = "experiment_delete",
    .sql = "SELECT experiment_delete($1)",
    .patience = PATIENCE_SENT,
    .slow = true,
};

static void deleted(void *context, PGresult *result, const struct error *err)
{
    struct call *call = context;
    struct error missing = {0};
    if (!err && PQgetisnull(result, 0, 0)) {
        error_set(&missing, ERROR_NOT_FOUND, "there is no experiment %s", call->subject);
        err = &missing;
    }
    ((store_done)call->done)(call->context, err);
    free(call);
}

void store_experiment_delete(struct store *store, const char *id, store_done done, void *context)
{
    struct call *call = call_new((void (*)(void))done, context, id);
    struct params params = {0};
    if (!id_checked(store, id, "experiment", deleted, call))
        return;
    params_text(&params, id);
    pool_send(store->pool, &delete, &params, deleted, call);
}
