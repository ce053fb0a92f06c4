/* Datasets: rows, raw pieces, samples. Uploads are in upload.c. */
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "coordinator/store/dataset.h"

void dataset_decode(const PGresult *result, int row, struct store_dataset *out)
{
    value_id(result, row, 0, out->id);
    out->filename = value_text(result, row, 1);
    out->format = value_text(result, row, 2);
    out->media = value_text(result, row, 3);
    out->run_id = value_text(result, row, 4);
    out->generated = value_bool(result, row, 5);
    out->generated_by = value_text(result, row, 6);
    out->owner = value_text(result, row, 7);
    out->ground_truth = value_bool(result, row, 8);
    out->predictions = value_bool(result, row, 9);
    out->size_bytes = (uint64_t)value_int(result, row, 10);
    out->sample_count = (uint64_t)value_int(result, row, 11);
    out->created_ms = value_int(result, row, 12);
}

static bool not_found(struct error *err, const struct call *call)
{
    return error_set(err, ERROR_NOT_FOUND, "there is no dataset %s", call->subject);
}

/* ---- one ---- */

static struct statement get = {
    .name = "dataset_get",
    .sql = "SELECT " DATASET_COLUMNS " FROM dataset WHERE id = $1 AND deleted_at IS NULL",
};

static void got(void *context, PGresult *result, const struct error *err)
{
    struct call *call = context;
    store_dataset_done done = (store_dataset_done)call->done;
    struct store_dataset dataset = {0};
    struct error missing = {0};
    if (!err && !PQntuples(result)) {
        not_found(&missing, call);
        err = &missing;
    } else if (!err) {
        dataset_decode(result, 0, &dataset);
    }
    done(call->context, err ? NULL : &dataset, err);
    free(call);
}

void store_dataset_get(struct store *store, const char *id, store_dataset_done done, void *context)
{
    struct call *call = call_new((void (*)(void))done, context, id);
    struct params params = {0};
    if (!id_checked(store, id, "dataset", got, call))
        return;
    params_text(&params, id);
    pool_send(store->pool, &get, &params, got, call);
}

/* ---- many ---- */

static struct statement list = {
    .name = "dataset_list",
    .sql = "SELECT " DATASET_COLUMNS ", count(*) OVER () FROM dataset WHERE deleted_at IS NULL"
           " ORDER BY created_at DESC, id OFFSET $1 LIMIT $2",
};
static struct statement count_all = {
    .name = "dataset_count",
    .sql = "SELECT count(*) FROM dataset WHERE deleted_at IS NULL",
};

static void counted(void *context, PGresult *result, const struct error *err)
{
    struct call *call = context;
    uint64_t total = err ? 0 : (uint64_t)value_int(result, 0, 0);
    ((store_dataset_list_done)call->done)(call->context, total, NULL, 0, err);
    free(call);
}

struct list_call {
    struct call *call;
    struct store *store;
};

static void listed(void *context, PGresult *result, const struct error *err)
{
    struct list_call *listing = context;
    struct call *call = listing->call;
    struct store *store = listing->store;
    free(listing);
    int count = err ? 0 : PQntuples(result);
    if (!err && !count) { /* beyond the end: the total is still to be told */
        struct params params = {0};
        pool_send(store->pool, &count_all, &params, counted, call);
        return;
    }
    struct store_dataset *items = alloc_zero((size_t)count, sizeof *items);
    for (int i = 0; i < count; i++)
        dataset_decode(result, i, &items[i]);
    uint64_t total = err ? 0 : (uint64_t)value_int(result, 0, DATASET_COLUMN_COUNT);
    ((store_dataset_list_done)call->done)(call->context, total, items, (size_t)count, err);
    free(items);
    free(call);
}

void store_dataset_list(
    struct store *store, uint64_t skip, uint64_t limit, store_dataset_list_done done, void *context)
{
    struct list_call *listing = alloc_zero(1, sizeof *listing);
    struct params params = {0};
    listing->call = call_new((void (*)(void))done, context, NULL);
    listing->store = store;
    params_int(&params, skip > INT64_MAX ? INT64_MAX : (int64_t)skip);
    params_int(&params, limit > INT64_MAX ? INT64_MAX : (int64_t)limit);
    pool_send(store->pool, &list, &params, listed, listing);
}

/* ---- delete ---- */

/* Samples stay while a finished job's document shows them; job.c takes them with the last such job. */
static struct statement delete = {
    .name = "dataset_delete",
    .sql =
        "WITH used AS (SELECT bool_or(status IN ('created', 'pending', 'running')) AS busy, count(*) AS jobs"
        "              FROM job WHERE dataset_id = $1),"
        " gone AS (UPDATE dataset SET deleted_at = clock_timestamp()"
        "          WHERE id = $1 AND deleted_at IS NULL AND NOT coalesce((SELECT busy FROM used), false)"
        "          RETURNING id),"
        " chunks AS (DELETE FROM dataset_chunk USING gone WHERE dataset_id = gone.id),"
        " samples AS (DELETE FROM sample USING gone WHERE dataset_id = gone.id"
        "             AND (SELECT jobs FROM used) = 0)"
        "SELECT (SELECT count(*) FROM gone), coalesce((SELECT busy FROM used), false)",
    .patience = PATIENCE_SENT,
    .slow = true,
};

static void deleted(void *context, PGresult *result, const struct error *err)
{
    struct call *call = context;
    struct error refused = {0};
    if (!err && !value_int(result, 0, 0)) {
        if (value_bool(result, 0, 1))
            error_set(
                &refused, ERROR_CONFLICT, "dataset %s is used by a job that has not finished", call->subject);
        else
            not_found(&refused, call);
        err = &refused;
    }
    ((store_done)call->done)(call->context, err);
    free(call);
}

void store_dataset_delete(struct store *store, const char *id, store_done done, void *context)
{
    struct call *call = call_new((void (*)(void))done, context, id);
    struct params params = {0};
    if (!id_checked(store, id, "dataset", deleted, call))
        return;
    params_text(&params, id);
    pool_send(store->pool, &delete, &params, deleted, call);
}

/* ---- raw pieces ---- */

static struct statement chunk = {
    .name = "dataset_chunk",
    .sql = "SELECT c.bytes FROM dataset d LEFT JOIN dataset_chunk c ON c.dataset_id = d.id AND c.seq = $2"
           " WHERE d.id = $1 AND d.deleted_at IS NULL",
    .binary = true,
};

static void chunk_got(void *context, PGresult *result, const struct error *err)
{
    struct call *call = context;
    struct error missing = {0};
    struct store_text bytes = {0};
    if (!err && !PQntuples(result)) {
        not_found(&missing, call);
        err = &missing;
    } else if (!err) {
        bytes = value_bytes(result, 0, 0);
    }
    ((store_chunk_done)call->done)(call->context, bytes.bytes, bytes.size, err);
    free(call);
}

void store_dataset_chunk(
    struct store *store, const char *id, uint64_t seq, store_chunk_done done, void *context)
{
    struct call *call = call_new((void (*)(void))done, context, id);
    struct params params = {0};
    if (!id_checked(store, id, "dataset", chunk_got, call))
        return;
    params_text(&params, id);
    params_int(&params, seq > INT64_MAX ? INT64_MAX : (int64_t)seq);
    pool_send(store->pool, &chunk, &params, chunk_got, call);
}

/* ---- samples ---- */

static struct statement samples = {
    .name = "sample_range",
    .sql =
        "SELECT index, example, ground_truth, prediction FROM ("
        " SELECT *, sum(size) OVER (ORDER BY index) - size AS before FROM ("
        "  SELECT *, octet_length(example) + coalesce(octet_length(ground_truth), 0)"
        "            + coalesce(octet_length(prediction), 0) AS size"
        "  FROM sample WHERE dataset_id = $1 AND index >= $2 AND index < $3 ORDER BY index LIMIT 10000) s) t"
        " WHERE before < $4 ORDER BY index",
    .binary = true,
};

static void samples_got(void *context, PGresult *result, const struct error *err)
{
    struct call *call = context;
    int count = err ? 0 : PQntuples(result);
    struct store_sample *items = alloc_zero((size_t)count, sizeof *items);
    for (int i = 0; i < count; i++) {
        items[i].index = read_u64(PQgetvalue(result, i, 0));
        items[i].example = value_bytes(result, i, 1);
        items[i].ground_truth = value_bytes(result, i, 2);
        items[i].prediction = value_bytes(result, i, 3);
    }
    ((store_samples_done)call->done)(call->context, items, (size_t)count, err);
    free(items);
    free(call);
}

void store_sample_range(struct store *store, const char *dataset_id, uint64_t first, uint64_t count,
    store_samples_done done, void *context)
{
    struct call *call = call_new((void (*)(void))done, context, dataset_id);
    struct params params = {0};
    if (!id_checked(store, dataset_id, "dataset", samples_got, call))
        return;
    uint64_t start = first > INT64_MAX ? INT64_MAX : first;
    uint64_t end = count > INT64_MAX - start ? INT64_MAX : start + count;
    params_text(&params, dataset_id);
    params_int(&params, (int64_t)start);
    params_int(&params, (int64_t)end);
    params_int(&params, TEXT_BYTES_PER_ANSWER);
    pool_send(store->pool, &samples, &params, samples_got, call);
}
