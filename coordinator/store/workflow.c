/* Workflows: written with their first job, read with what their jobs have come to. How they go on from one
 * job to the next is in job_end (migrations/0002_workflows.sql). */
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "coordinator/store/job_row.h"

static const char *const statuses[] = {"created", "running", "failed", "succeeded"};

const char *store_workflow_status_name(enum store_workflow_status status)
{
    return statuses[status];
}

/* ---- insert ---- */

/* The second writing of one id (after a connection broke half-way) finds the first and gives it back. */
static struct statement insert = {
    .name = "workflow_insert",
    .sql = "WITH flow AS (INSERT INTO workflow (id, experiment_id, name, description, model, request, owner,"
           "  metrics, settings, timeout_s)"
           " SELECT $1::uuid, e.id, $3::text, $4::text, $5::text, $6::jsonb, $7::text, $8::text[], $9::jsonb,"
           "  $10::integer FROM experiment e, dataset d"
           " WHERE e.id = $2 AND d.id = $12 AND d.deleted_at IS NULL"
           " ON CONFLICT (id) DO UPDATE SET id = excluded.id RETURNING *)"
           " INSERT INTO job (id, kind, experiment_id, workflow_id, name, description, dataset_id, model,"
           "  settings, request, owner, max_samples, sample_count, timeout_s, output_field, created_at)"
           " SELECT $11::uuid, 'inference', flow.experiment_id, flow.id, flow.name || '-inference', "
           "flow.description, d.id,"
           "  $13::text, $14::jsonb, flow.request, flow.owner, $15::bigint,"
           "  CASE WHEN $15::bigint > 0 THEN least($15::bigint, d.sample_count) ELSE d.sample_count END,"
           "  flow.timeout_s, $16::text, flow.created_at FROM flow, dataset d WHERE d.id = $12"
           " ON CONFLICT (id) DO UPDATE SET id = excluded.id RETURNING " JOB_COLUMNS,
    .patience = PATIENCE_SENT,
};

static void inserted(void *context, PGresult *result, const struct error *err)
{
    struct call *call = context;
    struct error missing = {0};
    if (!err && !PQntuples(result)) {
        error_set(
            &missing, ERROR_NOT_FOUND, "there is no experiment %s, or its dataset is gone", call->subject);
        ((store_job_done)call->done)(call->context, NULL, &missing);
        free(call);
        return;
    }
    job_row_done(context, result, err);
}

void store_workflow_insert(struct store *store, const struct store_workflow *workflow,
    const struct store_job *job, store_job_done done, void *context)
{
    struct call *call = call_new((void (*)(void))done, context, workflow->experiment_id);
    struct params params = {0};
    char workflow_id[STORE_ID_BYTES], job_id[STORE_ID_BYTES];
    if (!id_checked(store, workflow->experiment_id, "experiment", inserted, call) ||
        !id_checked(store, job->dataset_id, "dataset", inserted, call))
        return;
    store_id_new(workflow_id);
    store_id_new(job_id);
    params_text(&params, *workflow->id ? workflow->id : workflow_id);
    params_text(&params, workflow->experiment_id);
    params_text(&params, workflow->name);
    params_text(&params, workflow->description ? workflow->description : "");
    params_text(&params, workflow->model);
    params_text(&params, workflow->request);
    params_text(&params, workflow->owner);
    params_text_list(&params, workflow->metrics, workflow->metric_count);
    params_text(&params, workflow->settings ? workflow->settings : "{}");
    params_int(&params, workflow->timeout_s);
    params_text(&params, *job->id ? job->id : job_id);
    params_text(&params, job->dataset_id);
    params_text(&params, job->model);
    params_text(&params, job->settings ? job->settings : "{}");
    params_int(&params, job->max_samples);
    params_text(&params, job->output_field);
    pool_send(store->pool, &insert, &params, inserted, call);
}

/* ---- read ---- */

#define WORKFLOW_COLUMNS                                                                                     \
    "id, status, experiment_id, name, description, model, request, message, owner, (extract(epoch FROM "     \
    "created_at) * 1000)::bigint, (extract(epoch FROM updated_at) * 1000)::bigint, (SELECT "                 \
    "jsonb_agg(jsonb_build_object('id', j.id, 'kind', j.kind, 'status', j.status, 'model', j.model, "        \
    "'dataset_id', j.dataset_id, 'max_samples', j.max_samples, 'metric_keys', j.metric_keys, 'aggregates', " \
    "j.aggregates) ORDER BY j.created_at) FROM job j WHERE j.workflow_id = w.id)"

static void decode(const PGresult *result, int row, struct store_workflow *out)
{
    const char *status = value_text(result, row, 1);
    value_id(result, row, 0, out->id);
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
        if (strcmp(statuses[i], status) == 0)
            out->status = (enum store_workflow_status)i;
    out->experiment_id = value_text(result, row, 2);
    out->name = value_text(result, row, 3);
    out->description = value_text(result, row, 4);
    out->model = value_text(result, row, 5);
    out->request = value_text(result, row, 6);
    out->message = value_text(result, row, 7);
    out->owner = value_text(result, row, 8);
    out->created_ms = value_int(result, row, 9);
    out->updated_ms = value_int(result, row, 10);
    out->jobs = value_text(result, row, 11);
}

static struct statement get = {
    .name = "workflow_get",
    .sql = "SELECT " WORKFLOW_COLUMNS " FROM workflow w WHERE id = $1",
};

static void got(void *context, PGresult *result, const struct error *err)
{
    struct call *call = context;
    struct store_workflow workflow = {0};
    struct error missing = {0};
    if (!err && !PQntuples(result)) {
        error_set(&missing, ERROR_NOT_FOUND, "there is no workflow %s", call->subject);
        err = &missing;
    } else if (!err) {
        decode(result, 0, &workflow);
    }
    ((store_workflow_done)call->done)(call->context, err ? NULL : &workflow, err);
    free(call);
}

void store_workflow_get(struct store *store, const char *id, store_workflow_done done, void *context)
{
    struct call *call = call_new((void (*)(void))done, context, id);
    struct params params = {0};
    if (!id_checked(store, id, "workflow", got, call))
        return;
    params_text(&params, id);
    pool_send(store->pool, &get, &params, got, call);
}

static struct statement list = {
    .name = "workflow_list",
    .sql = "SELECT " WORKFLOW_COLUMNS " FROM workflow w WHERE experiment_id = ANY ($1::text[]::uuid[])"
           " ORDER BY created_at, id",
};

static void listed(void *context, PGresult *result, const struct error *err)
{
    struct call *call = context;
    int count = err ? 0 : PQntuples(result);
    struct store_workflow *items = alloc_zero((size_t)count, sizeof *items);
    for (int i = 0; i < count; i++)
        decode(result, i, &items[i]);
    ((store_workflow_list_done)call->done)(call->context, items, (size_t)count, err);
    free(items);
    free(call);
}

void store_workflow_list(struct store *store, const char *const *experiment_ids, size_t experiment_count,
    store_workflow_list_done done, void *context)
{
    struct call *call = call_new((void (*)(void))done, context, NULL);
    struct params params = {0};
    params_text_list(&params, experiment_ids, experiment_count);
    pool_send(store->pool, &list, &params, listed, call);
}

/* ---- delete ---- */

static struct statement delete = {
    .name = "workflow_delete",
    .sql = "SELECT workflow_delete($1, $2)",
    .patience = PATIENCE_SENT,
    .slow = true,
};

static void deleted(void *context, PGresult *result, const struct error *err)
{
    struct call *call = context;
    struct error refused = {0};
    if (!err && PQgetisnull(result, 0, 0)) {
        error_set(&refused, ERROR_NOT_FOUND, "there is no workflow %s", call->subject);
        err = &refused;
    } else if (!err && !value_bool(result, 0, 0)) {
        error_set(&refused, ERROR_CONFLICT, "workflow %s has not finished", call->subject);
        error_hint(&refused, "wait for its end, or delete it with force=true");
        err = &refused;
    }
    ((store_done)call->done)(call->context, err);
    free(call);
}

void store_workflow_delete(struct store *store, const char *id, bool force, store_done done, void *context)
{
    struct call *call = call_new((void (*)(void))done, context, id);
    struct params params = {0};
    if (!id_checked(store, id, "workflow", deleted, call))
        return;
    params_text(&params, id);
    params_bool(&params, force);
    pool_send(store->pool, &delete, &params, deleted, call);
}
