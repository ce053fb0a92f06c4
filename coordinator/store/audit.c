/* Who did what. */
#include <stdlib.h>

#include "common/alloc.h"
#include "coordinator/store/state.h"

static struct statement append = {
    .name = "audit_append",
    .sql = "INSERT INTO audit (actor, role, address, method, path, status, request_id)"
           " VALUES ($1, $2, $3, $4, $5, $6, $7)",
    .patience = PATIENCE_SENT,
    .ordered = true,
};

static void appended(void *context, PGresult *result, const struct error *err)
{
    (void)context, (void)result, (void)err; /* the request's own log line says the same */
}

void store_audit_append(struct store *store, const struct store_audit *entry)
{
    struct params params = {0};
    if (store->state != STORE_ACTIVE)
        return;
    params_text(&params, entry->actor);
    params_text(&params, entry->role);
    params_text(&params, entry->address);
    params_text(&params, entry->method);
    params_text(&params, entry->path);
    params_int(&params, entry->status);
    params_text(&params, entry->request_id);
    pool_send(store->pool, &append, &params, appended, NULL);
}

/* The total comes with every row, and alone when the page is empty. */
static struct statement list = {
    .name = "audit_list",
    .sql =
        "SELECT total, (extract(epoch FROM at) * 1000)::bigint, actor, role, address, method, path, status,"
        " request_id FROM (SELECT count(*) AS total FROM audit) t"
        " LEFT JOIN LATERAL (SELECT * FROM audit ORDER BY seq DESC OFFSET $1 LIMIT $2) a ON true"
        " ORDER BY seq DESC",
};

static void listed(void *context, PGresult *result, const struct error *err)
{
    struct call *call = context;
    int count = err ? 0 : PQntuples(result);
    uint64_t total = err ? 0 : (uint64_t)value_int(result, 0, 0);
    if (count == 1 && PQgetisnull(result, 0, 1))
        count = 0;
    struct store_audit *items = alloc_zero((size_t)count, sizeof *items);
    for (int i = 0; i < count; i++)
        items[i] = (struct store_audit){.at_ms = value_int(result, i, 1),
            .actor = value_text(result, i, 2),
            .role = value_text(result, i, 3),
            .address = value_text(result, i, 4),
            .method = value_text(result, i, 5),
            .path = value_text(result, i, 6),
            .status = (unsigned)value_int(result, i, 7),
            .request_id = value_text(result, i, 8)};
    ((store_audit_list_done)call->done)(call->context, total, items, (size_t)count, err);
    free(items);
    free(call);
}

void store_audit_list(
    struct store *store, uint64_t skip, uint64_t limit, store_audit_list_done done, void *context)
{
    struct params params = {0};
    params_int(&params, skip > INT64_MAX ? INT64_MAX : (int64_t)skip);
    params_int(&params, limit > INT64_MAX ? INT64_MAX : (int64_t)limit);
    pool_send(store->pool, &list, &params, listed, call_new((void (*)(void))done, context, NULL));
}
