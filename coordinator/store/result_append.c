/* Results on their way in. Appends of all jobs gather for a few milliseconds (or until there are many) and
 * become one INSERT from arrays; COPY cannot be pipelined and cannot skip duplicates. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/log.h"
#include "coordinator/store/state.h"

enum {
    GROUP_ROWS = 4096,     /* rows that make a group leave at once */
    GROUP_BYTES = 4 << 20, /* the same for its size */
    GROUPS_IN_FLIGHT = 4,  /* while so many are being written, the next one grows */
};

enum column {
    COLUMN_JOB,
    COLUMN_INDEX,
    COLUMN_PREDICTION,
    COLUMN_VALUES, /* all rows' values in one array; the slices come with the columns after the last */
    COLUMN_DETAIL,
    COLUMN_ERROR_CODE,
    COLUMN_ERROR_MESSAGE,
    COLUMN_PROMPT_TOKENS,
    COLUMN_NEW_TOKENS,
    COLUMN_SECONDS,
    COLUMN_TRUNCATED,
    COLUMN_FINISH_REASON,
    COLUMN_WORKER,
    COLUMN_COUNT,
};

static const uint32_t column_types[COLUMN_COUNT] = {TYPE_UUID, TYPE_INT8, TYPE_BYTEA, TYPE_FLOAT8, TYPE_TEXT,
    TYPE_TEXT, TYPE_TEXT, TYPE_INT4, TYPE_INT4, TYPE_FLOAT8, TYPE_BOOL, TYPE_TEXT, TYPE_UUID};

/* A job that was deleted meanwhile takes no rows; a sample that has its result keeps it. */
static struct statement insert = {
    .name = "result_insert",
    .sql = "INSERT INTO result (job_id, index, prediction, metric_values, detail, error_code, error_message,"
           " prompt_tokens, new_tokens, seconds, truncated, finish_reason, worker_id)"
           " SELECT r.job_id, r.index, r.prediction,"
           "        array_replace(($4::float8[])[r.low : r.high], 'NaN', NULL), r.detail, r.error_code,"
           "        r.error_message, r.prompt_tokens, r.new_tokens, r.seconds, r.truncated, r.finish_reason,"
           "        r.worker_id"
           " FROM unnest($1::uuid[], $2::int8[], $3::bytea[], $5::text[], $6::text[], $7::text[], $8::int4[],"
           "   $9::int4[], $10::float8[], $11::bool[], $12::text[], $13::uuid[], $14::int4[], $15::int4[])"
           "   AS r(job_id, index, prediction, detail, error_code, error_message, prompt_tokens, new_tokens,"
           "        seconds, truncated, finish_reason, worker_id, low, high)"
           " WHERE EXISTS (SELECT FROM job WHERE job.id = r.job_id)"
           " ON CONFLICT DO NOTHING",
    .patience = PATIENCE_LONG,
};

/* One store_results_append. Its rows are kept until they are committed: a group with a bad row is written
 * again append by append. */
struct append {
    struct append *next;
    store_done done;
    void *context;
    struct packet columns[COLUMN_COUNT]; /* elements without the array's head */
    uint32_t *value_counts;              /* a row */
    uint32_t rows, values;
    size_t bytes;
};

struct group {
    struct appender *appender;
    struct append *appends;
    uint32_t count;
};

struct appender {
    struct store *store;
    struct append *first, **last; /* gathered */
    uint32_t rows, in_flight;
    size_t gathered_bytes, bytes; /* bytes: with what is being written */
    uv_timer_t *timer;
};

static void append_end(struct appender *appender, struct append *append, const struct error *err)
{
    appender->bytes -= append->bytes;
    if (append->done)
        append->done(append->context, err);
    for (int i = 0; i < COLUMN_COUNT; i++)
        packet_free(&append->columns[i]);
    free(append->value_counts);
    free(append);
}

static void put_text(struct packet *packet, const char *text)
{
    char *clean = text_clean(text);
    packet_value(packet, clean, clean ? strlen(clean) : 0);
    free(clean);
}

static void put_int4(struct packet *packet, uint32_t value)
{
    packet_u32(packet, 4);
    packet_u32(packet, value > INT32_MAX ? INT32_MAX : value);
}

static void put_float(struct packet *packet, double value)
{
    packet_u32(packet, 8);
    packet_f64(packet, value);
}

static void put_uuid(struct packet *packet, const char *id)
{
    if (!store_id_valid(id)) {
        packet_value(packet, NULL, 0);
        return;
    }
    packet_u32(packet, 16);
    packet_uuid(packet, id);
}

static void put_row(struct append *append, const char *job_id, const struct store_result *result)
{
    struct packet *columns = append->columns;
    const char truncated = (char)result->truncated;
    put_uuid(&columns[COLUMN_JOB], job_id);
    packet_u32(&columns[COLUMN_INDEX], 8);
    packet_u64(&columns[COLUMN_INDEX], result->index);
    packet_value(&columns[COLUMN_PREDICTION], result->prediction.bytes, result->prediction.size);
    for (size_t i = 0; i < result->value_count; i++)
        put_float(&columns[COLUMN_VALUES], isfinite(result->values[i]) ? result->values[i] : NAN);
    append->value_counts[append->rows++] = (uint32_t)result->value_count;
    append->values += (uint32_t)result->value_count;
    put_text(&columns[COLUMN_DETAIL], result->detail);
    put_text(&columns[COLUMN_ERROR_CODE], result->error_code);
    put_text(&columns[COLUMN_ERROR_MESSAGE], result->error_message);
    put_int4(&columns[COLUMN_PROMPT_TOKENS], result->prompt_tokens);
    put_int4(&columns[COLUMN_NEW_TOKENS], result->new_tokens);
    put_float(&columns[COLUMN_SECONDS], isfinite(result->seconds) ? result->seconds : 0);
    packet_value(&columns[COLUMN_TRUNCATED], &truncated, 1);
    put_text(&columns[COLUMN_FINISH_REASON], result->finish_reason);
    put_uuid(&columns[COLUMN_WORKER], result->worker_id);
}

/* One column of all appends as an array parameter. */
static void put_column(
    struct params *params, const struct append *appends, enum column column, uint32_t count)
{
    struct packet array = {0};
    array_open(&array, column_types[column]);
    for (const struct append *append = appends; append; append = append->next)
        packet_put(&array, append->columns[column].bytes, append->columns[column].size);
    array_count(&array, count);
    params_binary(params, array.bytes, array.size);
}

/* Where each row's values begin and end in the array of all, counted from 1 as Postgres does. */
static void put_slices(struct params *params, const struct append *appends, uint32_t rows)
{
    struct packet low = {0}, high = {0};
    uint32_t next = 1;
    array_open(&low, TYPE_INT4);
    array_open(&high, TYPE_INT4);
    for (const struct append *append = appends; append; append = append->next) {
        for (uint32_t i = 0; i < append->rows; i++) {
            put_int4(&low, next);
            next += append->value_counts[i];
            put_int4(&high, next - 1);
        }
    }
    array_count(&low, rows);
    array_count(&high, rows);
    params_binary(params, low.bytes, low.size);
    params_binary(params, high.bytes, high.size);
}

static void written(void *context, PGresult *result, const struct error *err);

static void write_group(struct appender *appender, struct append *appends)
{
    struct group *group = alloc_zero(1, sizeof *group);
    struct params params = {0};
    uint32_t rows = 0, values = 0;
    for (const struct append *append = appends; append; append = append->next) {
        rows += append->rows;
        values += append->values;
        group->count++;
    }
    for (int column = 0; column < COLUMN_COUNT; column++)
        put_column(&params, appends, (enum column)column, column == COLUMN_VALUES ? values : rows);
    put_slices(&params, appends, rows);
    group->appender = appender;
    group->appends = appends;
    appender->in_flight++;
    pool_send(appender->store->pool, &insert, &params, written, group);
}

static void flush(struct appender *appender)
{
    if (!appender->first || appender->in_flight >= GROUPS_IN_FLIGHT)
        return;
    struct append *appends = appender->first;
    appender->first = NULL;
    appender->last = &appender->first;
    appender->rows = 0;
    appender->gathered_bytes = 0;
    uv_timer_stop(appender->timer);
    write_group(appender, appends);
}

static void written(void *context, PGresult *result, const struct error *err)
{
    struct group *group = context;
    struct appender *appender = group->appender;
    bool split = err && err->code != ERROR_CANCELLED && group->count > 1;
    (void)result;
    appender->in_flight--;
    if (err && err->code != ERROR_CANCELLED)
        log_error_value(LOG_LEVEL_ERROR, "results refused by the database", err);
    for (struct append *append = group->appends, *next; append; append = next) {
        next = append->next;
        append->next = NULL;
        if (split)
            write_group(appender, append);
        else
            append_end(appender, append, err);
    }
    free(group);
    flush(appender);
}

static void on_timer(uv_timer_t *timer)
{
    flush(timer->data);
}

struct refused {
    store_done done;
    void *context;
};

static void refuse(void *context, PGresult *result, const struct error *err)
{
    struct refused *refused = context;
    (void)result;
    if (refused->done)
        refused->done(refused->context, err);
    free(refused);
}

static bool append_valid(
    const char *job_id, const struct store_result *results, size_t count, struct error *err)
{
    size_t bytes = 0;
    if (!store_id_valid(job_id))
        return error_set(err, ERROR_INVALID, "results for something that is not a job: %.60s", job_id);
    for (size_t i = 0; i < count; i++) {
        bytes += results[i].prediction.size;
        if (results[i].index > INT64_MAX || results[i].value_count > STORE_METRIC_KEYS_MAX ||
            results[i].prediction.size > STORE_SAMPLE_BYTES_MAX || bytes > INT32_MAX / 2)
            return error_set(err, ERROR_TOO_LARGE, "a result of job %s is beyond the limits", job_id);
    }
    return true;
}

void store_results_append(struct store *store, const char *job_id, const struct store_result *results,
    size_t count, store_done done, void *context)
{
    struct appender *appender = store->appender;
    struct error err = {0};
    if (!append_valid(job_id, results, count, &err)) {
        struct refused *refused = alloc_zero(1, sizeof *refused);
        *refused = (struct refused){done, context};
        pool_fail(store->pool, refuse, refused, &err);
        return;
    }
    struct append *append = alloc_zero(1, sizeof *append);
    append->done = done;
    append->context = context;
    append->value_counts = alloc_zero(count, sizeof *append->value_counts);
    for (size_t i = 0; i < count; i++)
        put_row(append, job_id, &results[i]);
    append->bytes = sizeof *append;
    for (int i = 0; i < COLUMN_COUNT; i++)
        append->bytes += append->columns[i].size;
    *appender->last = append;
    appender->last = &append->next;
    appender->rows += append->rows;
    appender->gathered_bytes += append->bytes;
    appender->bytes += append->bytes;
    if (appender->rows >= GROUP_ROWS || appender->gathered_bytes >= GROUP_BYTES)
        flush(appender);
    else if (!uv_is_active((uv_handle_t *)appender->timer))
        uv_timer_start(appender->timer, on_timer, store->options.group_ms, 0);
}

bool store_results_full(const struct store *store)
{
    return store->appender->bytes > store->options.results_bytes_max;
}

struct appender *appender_open(struct store *store)
{
    struct appender *appender = alloc_zero(1, sizeof *appender);
    appender->store = store;
    appender->last = &appender->first;
    appender->timer = alloc_zero(1, sizeof *appender->timer);
    uv_timer_init(store->loop, appender->timer);
    appender->timer->data = appender;
    return appender;
}

static void free_timer(uv_handle_t *handle)
{
    free(handle);
}

void appender_close(struct appender *appender)
{
    struct error err = {0};
    error_set(&err, ERROR_CANCELLED, "the coordinator is shutting down");
    while (appender->first) {
        struct append *append = appender->first;
        appender->first = append->next;
        append_end(appender, append, &err);
    }
    uv_close((uv_handle_t *)appender->timer, free_timer);
    free(appender);
}
