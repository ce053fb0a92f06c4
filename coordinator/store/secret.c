/* Sealed secrets by name. */
#include <stdlib.h>

#include "common/alloc.h"
#include "coordinator/store/state.h"

/* xmax is 0 in a row that was just inserted. */
static struct statement put = {
    .name = "secret_put",
    .sql = "INSERT INTO secret (name, description, sealed) VALUES ($1, $2, $3) ON CONFLICT (name) DO UPDATE"
           " SET description = excluded.description, sealed = excluded.sealed, updated_at = clock_timestamp()"
           " RETURNING xmax = 0",
    .patience = PATIENCE_SENT,
};

static void put_done(void *context, PGresult *result, const struct error *err)
{
    struct call *call = context;
    ((store_secret_put_done)call->done)(call->context, !err && value_bool(result, 0, 0), err);
    free(call);
}

void store_secret_put(
    struct store *store, const struct store_secret *secret, store_secret_put_done done, void *context)
{
    struct call *call = call_new((void (*)(void))done, context, NULL);
    struct params params = {0};
    params_text(&params, secret->name);
    params_text(&params, secret->description ? secret->description : "");
    params_bytes(&params, secret->sealed, secret->sealed_size);
    pool_send(store->pool, &put, &params, put_done, call);
}

static struct statement list = {
    .name = "secret_list",
    .sql =
        "SELECT name, description, (extract(epoch FROM updated_at) * 1000)::bigint FROM secret ORDER BY name",
};

static void listed(void *context, PGresult *result, const struct error *err)
{
    struct call *call = context;
    int count = err ? 0 : PQntuples(result);
    struct store_secret *items = alloc_zero((size_t)count, sizeof *items);
    for (int i = 0; i < count; i++) {
        items[i].name = value_text(result, i, 0);
        items[i].description = value_text(result, i, 1);
        items[i].updated_ms = value_int(result, i, 2);
    }
    ((store_secret_list_done)call->done)(call->context, items, (size_t)count, err);
    free(items);
    free(call);
}

void store_secret_list(struct store *store, store_secret_list_done done, void *context)
{
    struct params params = {0};
    pool_send(store->pool, &list, &params, listed, call_new((void (*)(void))done, context, NULL));
}

static struct statement get = {
    .name = "secret_get",
    .sql = "SELECT name, description, sealed FROM secret WHERE name = $1",
    .binary = true,
};

static void got(void *context, PGresult *result, const struct error *err)
{
    struct call *call = context;
    struct store_secret secret = {0};
    struct error missing = {0};
    if (!err && !PQntuples(result)) {
        error_set(&missing, ERROR_NOT_FOUND, "there is no secret of that name");
        err = &missing;
    } else if (!err) {
        secret.name = value_text(result, 0, 0);
        secret.description = value_text(result, 0, 1);
        secret.sealed = PQgetvalue(result, 0, 2);
        secret.sealed_size = (size_t)PQgetlength(result, 0, 2);
    }
    ((store_secret_get_done)call->done)(call->context, err ? NULL : &secret, err);
    free(call);
}

void store_secret_get(struct store *store, const char *name, store_secret_get_done done, void *context)
{
    struct params params = {0};
    params_text(&params, name);
    pool_send(store->pool, &get, &params, got, call_new((void (*)(void))done, context, NULL));
}

static struct statement reseal = {
    .name = "secret_reseal",
    .sql = "UPDATE secret SET sealed = $3 WHERE name = $1 AND sealed = $2",
    .patience = PATIENCE_SENT,
};

void store_secret_reseal(struct store *store, const char *name, const void *old_sealed, size_t old_size,
    const void *sealed, size_t size, store_done done, void *context)
{
    struct params params = {0};
    params_text(&params, name);
    params_bytes(&params, old_sealed, old_size);
    params_bytes(&params, sealed, size);
    pool_send(store->pool, &reseal, &params, call_done, call_new((void (*)(void))done, context, NULL));
}

static struct statement delete = {
    .name = "secret_delete",
    .sql = "DELETE FROM secret WHERE name = $1 RETURNING 1",
    .patience = PATIENCE_SENT,
};

static void deleted(void *context, PGresult *result, const struct error *err)
{
    struct call *call = context;
    struct error missing = {0};
    if (!err && !PQntuples(result)) {
        error_set(&missing, ERROR_NOT_FOUND, "there is no secret of that name");
        err = &missing;
    }
    ((store_done)call->done)(call->context, err);
    free(call);
}

void store_secret_delete(struct store *store, const char *name, store_done done, void *context)
{
    struct params params = {0};
    params_text(&params, name);
    pool_send(store->pool, &delete, &params, deleted, call_new((void (*)(void))done, context, NULL));
}
