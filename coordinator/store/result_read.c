/* Results on their way out, in pieces, in the dataset's order. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "coordinator/store/result_row.h"
#include "coordinator/store/state.h"

/* What is not asked for is not read: $4 holds the STORE_RESULT_ bits. The size of what was read before a row
 * decides where the answer is cut. */
static struct statement range = {
    .name = "result_range",
    .sql = "SELECT index, prediction, metric_values, prompt_tokens, new_tokens, seconds, truncated, detail,"
           " error_code, error_message, finish_reason, worker_id::text, example, ground_truth FROM ("
           " SELECT *, sum(size) OVER (ORDER BY index) - size AS before FROM ("
           "  SELECT *, coalesce(octet_length(prediction), 0) + coalesce(octet_length(example), 0)"
           "            + coalesce(octet_length(ground_truth), 0) + 64 AS size FROM ("
           "   SELECT r.index, CASE WHEN $4::int & 1 <> 0 THEN r.prediction END AS prediction,"
           "     CASE WHEN $4::int & 2 <> 0 THEN r.metric_values END AS metric_values,"
           "     r.prompt_tokens, r.new_tokens, r.seconds, r.truncated,"
           "     CASE WHEN $4::int & 4 <> 0 THEN r.detail END AS detail, r.error_code,"
           "     CASE WHEN $4::int & 4 <> 0 THEN r.error_message END AS error_message,"
           "     CASE WHEN $4::int & 4 <> 0 THEN r.finish_reason END AS finish_reason,"
           "     CASE WHEN $4::int & 4 <> 0 THEN r.worker_id END AS worker_id,"
           "     CASE WHEN $4::int & 8 <> 0 THEN s.example END AS example,"
           "     CASE WHEN $4::int & 16 <> 0 THEN s.ground_truth END AS ground_truth"
           "   FROM result r JOIN job j ON j.id = r.job_id"
           "   LEFT JOIN sample s ON $4::int & 24 <> 0 AND s.dataset_id = j.dataset_id AND s.index = r.index"
           "   WHERE r.job_id = $1 AND r.index >= $2 ORDER BY r.index LIMIT $3) a) b) c"
           " WHERE before < $5 ORDER BY index",
    .binary = true,
};

/* A binary float8[]; NaN where it holds NULL. Returns how many; `out` has room for STORE_METRIC_KEYS_MAX. */
static size_t decode_values(struct store_text array, double *out)
{
    if (!array.bytes || array.size < 20)
        return 0;
    size_t count = read_u32(array.bytes + 12);
    const char *at = array.bytes + 20, *end = array.bytes + array.size;
    if (count > STORE_METRIC_KEYS_MAX)
        count = STORE_METRIC_KEYS_MAX;
    for (size_t i = 0; i < count && end - at >= 4; i++) {
        bool null = read_u32(at) != 8;
        at += 4;
        out[i] = null ? NAN : read_f64(at);
        at += null ? 0 : 8;
    }
    return count;
}

static const char *text_or_null(const PGresult *result, int row, int column)
{
    return PQgetisnull(result, row, column) ? NULL : PQgetvalue(result, row, column);
}

static void decode(const PGresult *result, int row, double *values, struct store_result *out)
{
    out->index = read_u64(PQgetvalue(result, row, 0));
    out->prediction = value_bytes(result, row, 1);
    out->value_count = decode_values(value_bytes(result, row, 2), values);
    out->values = values;
    out->prompt_tokens = read_u32(PQgetvalue(result, row, 3));
    out->new_tokens = read_u32(PQgetvalue(result, row, 4));
    out->seconds = read_f64(PQgetvalue(result, row, 5));
    out->truncated = *PQgetvalue(result, row, 6) != 0;
    out->detail = text_or_null(result, row, 7);
    out->error_code = text_or_null(result, row, 8);
    out->error_message = text_or_null(result, row, 9);
    out->finish_reason = text_or_null(result, row, 10);
    out->worker_id = text_or_null(result, row, 11);
    out->example = value_bytes(result, row, 12);
    out->ground_truth = value_bytes(result, row, 13);
}

static size_t values_of(const PGresult *result, int row)
{
    struct store_text array = value_bytes(result, row, 2);
    return array.bytes && array.size >= 20 ? read_u32(array.bytes + 12) : 0;
}

struct result_rows result_rows_decode(const PGresult *result, size_t *count)
{
    int rows = result ? PQntuples(result) : 0;
    size_t value_count = 0;
    for (int i = 0; i < rows; i++)
        value_count += values_of(result, i);
    struct result_rows out = {
        .items = alloc_zero((size_t)rows, sizeof *out.items),
        .values = alloc_zero(value_count, sizeof *out.values),
    };
    double *next = out.values;
    for (int i = 0; i < rows; i++) {
        decode(result, i, next, &out.items[i]);
        next += out.items[i].value_count;
    }
    *count = (size_t)rows;
    return out;
}

void result_rows_free(struct result_rows *rows)
{
    free(rows->values);
    free(rows->items);
}

static void range_got(void *context, PGresult *result, const struct error *err)
{
    struct call *call = context;
    size_t count;
    struct result_rows rows = result_rows_decode(err ? NULL : result, &count);
    ((store_results_done)call->done)(call->context, rows.items, count, err);
    result_rows_free(&rows);
    free(call);
}

void store_result_range(struct store *store, const char *job_id, uint64_t first, uint32_t count,
    uint32_t fields, store_results_done done, void *context)
{
    struct call *call = call_new((void (*)(void))done, context, job_id);
    struct params params = {0};
    if (!id_checked(store, job_id, "job", range_got, call))
        return;
    params_text(&params, job_id);
    params_int(&params, first > INT64_MAX ? INT64_MAX : (int64_t)first);
    params_int(&params, count);
    params_int(&params, fields);
    params_int(&params, TEXT_BYTES_PER_ANSWER);
    pool_send(store->pool, &range, &params, range_got, call);
}
