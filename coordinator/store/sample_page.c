/* Pages of samples for people: a job's results beside their inputs, in any order, and how long a dataset's
 * texts are. */
#include <stdlib.h>

#include "common/alloc.h"
#include "coordinator/store/result_row.h"
#include "coordinator/store/state.h"

/* ---- a page of results ---- */

/* $4: the metric value to order by, counted from 1; 0: by index. $5: 1 or -1. $6: bytes to look for. $7: with
 * texts. What is found is kept as places in an order; the rows themselves are read for the page alone. */
static struct statement page = {
    .name = "result_page",
    .sql =
        "WITH found AS (SELECT r.index, r.index * $5::int AS place, j.dataset_id,"
        "  CASE WHEN $4::int > 0 THEN r.metric_values[$4] * $5::int END AS key"
        "  FROM result r JOIN job j ON j.id = r.job_id"
        "  LEFT JOIN sample s ON $6::bytea IS NOT NULL AND s.dataset_id = j.dataset_id AND s.index = r.index"
        "  WHERE r.job_id = $1 AND ($6::bytea IS NULL OR position($6 IN r.prediction) > 0"
        "   OR position($6 IN s.example) > 0 OR position($6 IN s.ground_truth) > 0)),"
        " chosen AS (SELECT * FROM found ORDER BY key NULLS LAST, place OFFSET $2 LIMIT $3) "
        "SELECT r.index, CASE WHEN $7 THEN r.prediction END, metric_values, prompt_tokens, new_tokens, "
        "seconds,"
        " truncated, detail, error_code, error_message, finish_reason, worker_id::text,"
        " CASE WHEN $7 THEN example END, CASE WHEN $7 THEN ground_truth END, (SELECT count(*) FROM found)"
        " FROM chosen c JOIN result r ON r.job_id = $1 AND r.index = c.index"
        " LEFT JOIN sample s ON s.dataset_id = c.dataset_id AND s.index = c.index"
        " ORDER BY c.key NULLS LAST, c.place",
    .binary = true,
    .slow = true,
};

static void page_got(void *context, PGresult *result, const struct error *err)
{
    struct call *call = context;
    size_t count = 0;
    struct result_rows rows = result_rows_decode(err ? NULL : result, &count);
    uint64_t total = count ? read_u64(PQgetvalue(result, 0, RESULT_ROW_COLUMNS)) : 0;
    ((store_result_page_done)call->done)(call->context, total, rows.items, count, err);
    result_rows_free(&rows);
    free(call);
}

void store_result_page(struct store *store, const char *job_id, const struct store_result_query *query,
    store_result_page_done done, void *context)
{
    struct call *call = call_new((void (*)(void))done, context, job_id);
    struct params params = {0};
    if (!id_checked(store, job_id, "job", page_got, call))
        return;
    params_text(&params, job_id);
    params_int(&params, query->skip > INT64_MAX ? INT64_MAX : (int64_t)query->skip);
    params_int(&params, query->limit);
    params_int(&params, (int64_t)query->order_by);
    params_int(&params, query->descending ? -1 : 1);
    params_bytes(&params, query->search.bytes, query->search.size);
    params_bool(&params, query->texts);
    pool_send(store->pool, &page, &params, page_got, call);
}

/* ---- a dataset's lengths ---- */

static struct statement lengths = {
    .name = "dataset_lengths",
    .sql = "WITH field AS (SELECT 'examples' AS name, octet_length(example) AS x FROM sample WHERE "
           "dataset_id = $1"
           "  UNION ALL SELECT 'ground_truth', octet_length(ground_truth) FROM sample"
           "  WHERE dataset_id = $1 AND ground_truth IS NOT NULL),"
           " summary AS (SELECT name, count(*) AS n, min(x) AS low, max(x) AS high, avg(x)::float8 AS mean,"
           "  percentile_disc(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY x) AS q FROM field GROUP BY name),"
           " bin AS (SELECT name, least((x::bigint - low) * 20 / (high - low + 1), 19) AS b, count(*) AS c"
           "  FROM field JOIN summary USING (name) GROUP BY name, b),"
           " filled AS (SELECT name, jsonb_agg(coalesce(c, 0) ORDER BY b) AS bins FROM summary"
           "  CROSS JOIN generate_series(0, 19) AS b LEFT JOIN bin USING (name, b) GROUP BY name)"
           "SELECT coalesce(jsonb_object_agg(name, jsonb_build_object('count', n, 'min', low, 'max', high, "
           "'mean', mean,"
           " 'median', q[1], 'p95', q[2], 'histogram', bins)), '{}') FROM summary JOIN filled USING (name)",
    .slow = true,
};

static void lengths_got(void *context, PGresult *result, const struct error *err)
{
    struct call *call = context;
    ((store_json_done)call->done)(call->context, err ? NULL : value_text(result, 0, 0), err);
    free(call);
}

void store_dataset_lengths(struct store *store, const char *id, store_json_done done, void *context)
{
    struct call *call = call_new((void (*)(void))done, context, id);
    struct params params = {0};
    if (!id_checked(store, id, "dataset", lengths_got, call))
        return;
    params_text(&params, id);
    pool_send(store->pool, &lengths, &params, lengths_got, call);
}
