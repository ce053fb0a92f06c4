/* Bearer tokens, kept as hashes. */
#include <stdlib.h>

#include "common/alloc.h"
#include "coordinator/store/state.h"

enum { HASH_BYTES = 32 };

#define TOKEN_COLUMNS                                                                                        \
    "id, name, role, (extract(epoch FROM created_at) * 1000)::bigint, "                                      \
    "(extract(epoch FROM expires_at) * 1000)::bigint, (extract(epoch FROM used_at) * 1000)::bigint"

static void decode(const PGresult *result, int row, struct store_token *out)
{
    value_id(result, row, 0, out->id);
    out->name = value_text(result, row, 1);
    out->role = value_text(result, row, 2);
    out->created_ms = value_int(result, row, 3);
    out->expires_ms = value_int(result, row, 4);
    out->used_ms = value_int(result, row, 5);
}

static void one_done(void *context, PGresult *result, const struct error *err)
{
    struct call *call = context;
    struct store_token token = {0};
    struct error missing = {0};
    if (!err && !PQntuples(result)) {
        error_set(&missing, ERROR_NOT_FOUND, "there is no such token");
        err = &missing;
    } else if (!err) {
        decode(result, 0, &token);
    }
    ((store_token_done)call->done)(call->context, err ? NULL : &token, err);
    free(call);
}

static struct statement insert = {
    .name = "token_insert",
    .sql = "INSERT INTO token (id, name, role, hash, expires_at)"
           " VALUES ($1, $2, $3, $4, to_timestamp($5::bigint / 1000.0))"
           " ON CONFLICT (id) DO UPDATE SET id = excluded.id RETURNING " TOKEN_COLUMNS,
    .patience = PATIENCE_SENT,
};

void store_token_insert(
    struct store *store, const struct store_token *token, store_token_done done, void *context)
{
    struct params params = {0};
    char id[STORE_ID_BYTES];
    store_id_new(id);
    params_text(&params, store_id_valid(token->id) ? token->id : id);
    params_text(&params, token->name ? token->name : "");
    params_text(&params, token->role);
    params_bytes(&params, token->hash, HASH_BYTES);
    params_time(&params, token->expires_ms);
    pool_send(store->pool, &insert, &params, one_done, call_new((void (*)(void))done, context, NULL));
}

/* The time of use is noted once a minute at most: a read must not write each time. */
static struct statement find = {
    .name = "token_find",
    .sql = "WITH found AS (SELECT * FROM token WHERE hash = $1"
           "               AND (expires_at IS NULL OR expires_at > clock_timestamp())),"
           " used AS (UPDATE token t SET used_at = clock_timestamp() FROM found"
           "          WHERE t.id = found.id AND (t.used_at IS NULL"
           "            OR t.used_at < clock_timestamp() - interval '1 minute'))"
           "SELECT " TOKEN_COLUMNS " FROM found",
};

void store_token_find(struct store *store, const void *hash, store_token_done done, void *context)
{
    struct params params = {0};
    params_bytes(&params, hash, HASH_BYTES);
    pool_send(store->pool, &find, &params, one_done, call_new((void (*)(void))done, context, NULL));
}

static struct statement list = {
    .name = "token_list",
    .sql = "SELECT " TOKEN_COLUMNS " FROM token ORDER BY created_at, id",
};

static void listed(void *context, PGresult *result, const struct error *err)
{
    struct call *call = context;
    int count = err ? 0 : PQntuples(result);
    struct store_token *items = alloc_zero((size_t)count, sizeof *items);
    for (int i = 0; i < count; i++)
        decode(result, i, &items[i]);
    ((store_token_list_done)call->done)(call->context, items, (size_t)count, err);
    free(items);
    free(call);
}

void store_token_list(struct store *store, store_token_list_done done, void *context)
{
    struct params params = {0};
    pool_send(store->pool, &list, &params, listed, call_new((void (*)(void))done, context, NULL));
}

static struct statement delete = {
    .name = "token_delete",
    .sql = "DELETE FROM token WHERE id = $1 RETURNING 1",
    .patience = PATIENCE_SENT,
};

static void deleted(void *context, PGresult *result, const struct error *err)
{
    struct call *call = context;
    struct error missing = {0};
    if (!err && !PQntuples(result)) {
        error_set(&missing, ERROR_NOT_FOUND, "there is no token %s", call->subject);
        err = &missing;
    }
    ((store_done)call->done)(call->context, err);
    free(call);
}

void store_token_delete(struct store *store, const char *id, store_done done, void *context)
{
    struct call *call = call_new((void (*)(void))done, context, id);
    struct params params = {0};
    if (!id_checked(store, id, "token", deleted, call))
        return;
    params_text(&params, id);
    pool_send(store->pool, &delete, &params, deleted, call);
}
