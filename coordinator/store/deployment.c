/* Deployments: models that answer single texts. */
#include <stdlib.h>

#include "common/alloc.h"
#include "coordinator/store/state.h"

#define DEPLOYMENT_COLUMNS                                                                                   \
    "id, name, description, model, status, (extract(epoch FROM created_at) * 1000)::bigint, "                \
    "(extract(epoch FROM updated_at) * 1000)::bigint"

static void decode(const PGresult *result, int row, struct store_deployment *out)
{
    value_id(result, row, 0, out->id);
    out->name = value_text(result, row, 1);
    out->description = value_text(result, row, 2);
    out->model = value_text(result, row, 3);
    out->status = value_text(result, row, 4);
    out->created_ms = value_int(result, row, 5);
    out->updated_ms = value_int(result, row, 6);
}

static void one_done(void *context, PGresult *result, const struct error *err)
{
    struct call *call = context;
    struct store_deployment deployment = {0};
    struct error missing = {0};
    if (!err && !PQntuples(result)) {
        error_set(&missing, ERROR_NOT_FOUND, "there is no deployment %s", call->subject);
        err = &missing;
    } else if (!err) {
        decode(result, 0, &deployment);
    }
    ((store_deployment_done)call->done)(call->context, err ? NULL : &deployment, err);
    free(call);
}

static struct statement insert = {
    .name = "deployment_insert",
    .sql = "INSERT INTO deployment (id, name, description, model, num_gpus, num_cpus, num_replicas)"
           " VALUES ($1, $2, $3, $4, $5::bigint, $6::bigint, $7)"
           " ON CONFLICT (id) DO UPDATE SET id = excluded.id RETURNING " DEPLOYMENT_COLUMNS,
    .patience = PATIENCE_SENT,
};

void store_deployment_insert(
    struct store *store, const struct store_deployment *deployment, store_deployment_done done, void *context)
{
    struct params params = {0};
    params_text(&params, deployment->id);
    params_text(&params, deployment->name);
    params_text(&params, deployment->description);
    params_text(&params, deployment->model);
    params_int(&params, deployment->num_gpus);
    params_int(&params, deployment->num_cpus);
    params_int(&params, deployment->num_replicas);
    pool_send(
        store->pool, &insert, &params, one_done, call_new((void (*)(void))done, context, deployment->id));
}

static struct statement get = {
    .name = "deployment_get",
    .sql = "SELECT " DEPLOYMENT_COLUMNS " FROM deployment WHERE id = $1",
};

void store_deployment_get(struct store *store, const char *id, store_deployment_done done, void *context)
{
    struct call *call = call_new((void (*)(void))done, context, id);
    struct params params = {0};
    if (!id_checked(store, id, "deployment", one_done, call))
        return;
    params_text(&params, id);
    pool_send(store->pool, &get, &params, one_done, call);
}

static struct statement list = {
    .name = "deployment_list",
    .sql = "SELECT " DEPLOYMENT_COLUMNS " FROM deployment ORDER BY created_at DESC, id",
};

static void listed(void *context, PGresult *result, const struct error *err)
{
    struct call *call = context;
    int count = err ? 0 : PQntuples(result);
    struct store_deployment *items = alloc_zero((size_t)count, sizeof *items);
    for (int i = 0; i < count; i++)
        decode(result, i, &items[i]);
    ((store_deployment_list_done)call->done)(call->context, items, (size_t)count, err);
    free(items);
    free(call);
}

void store_deployment_list(struct store *store, store_deployment_list_done done, void *context)
{
    struct params params = {0};
    pool_send(store->pool, &list, &params, listed, call_new((void (*)(void))done, context, NULL));
}

static void changed(void *context, PGresult *result, const struct error *err)
{
    struct call *call = context;
    struct error missing = {0};
    if (!err && !PQntuples(result)) {
        error_set(&missing, ERROR_NOT_FOUND, "there is no deployment %s", call->subject);
        err = &missing;
    }
    ((store_done)call->done)(call->context, err);
    free(call);
}

static struct statement set_status = {
    .name = "deployment_status",
    .sql = "UPDATE deployment SET status = $2, updated_at = clock_timestamp() WHERE id = $1 RETURNING 1",
    .patience = PATIENCE_SENT,
};

void store_deployment_status(
    struct store *store, const char *id, const char *status, store_done done, void *context)
{
    struct params params = {0};
    params_text(&params, id);
    params_text(&params, status);
    pool_send(store->pool, &set_status, &params, changed, call_new((void (*)(void))done, context, id));
}

static struct statement delete = {
    .name = "deployment_delete",
    .sql = "DELETE FROM deployment WHERE id = $1 RETURNING 1",
    .patience = PATIENCE_SENT,
};

void store_deployment_delete(struct store *store, const char *id, store_done done, void *context)
{
    struct call *call = call_new((void (*)(void))done, context, id);
    struct params params = {0};
    if (!id_checked(store, id, "deployment", changed, call))
        return;
    params_text(&params, id);
    pool_send(store->pool, &delete, &params, changed, call);
}
