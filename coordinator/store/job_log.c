/* What a person following a job reads. */
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "coordinator/store/state.h"

static struct statement append = {
    .name = "log_append",
    .sql = "INSERT INTO job_log (job_id, level, text) SELECT $1::uuid, $2::text, $3::text"
           " WHERE EXISTS (SELECT FROM job WHERE id = $1::uuid)",
    .ordered = true,
};

static void appended(void *context, PGresult *result, const struct error *err)
{
    (void)context, (void)result, (void)err; /* a line is not worth waiting for */
}

void store_log_append(struct store *store, const char *job_id, const char *level, const char *text)
{
    struct params params = {0};
    if (store->state != STORE_ACTIVE || !store_id_valid(job_id))
        return;
    params_text(&params, job_id);
    params_text(&params, level);
    params_text(&params, text);
    pool_send(store->pool, &append, &params, appended, NULL);
}

static struct statement read_lines = {
    .name = "log_read",
    .sql = "SELECT seq, (extract(epoch FROM at) * 1000)::bigint, level, text FROM job_log"
           " WHERE job_id = $1 AND seq > $2 ORDER BY seq LIMIT $3",
};

static void read_done(void *context, PGresult *result, const struct error *err)
{
    struct call *call = context;
    int count = err ? 0 : PQntuples(result);
    struct store_log_line *lines = alloc_zero((size_t)count, sizeof *lines);
    for (int i = 0; i < count; i++) {
        lines[i].seq = (uint64_t)value_int(result, i, 0);
        lines[i].at_ms = value_int(result, i, 1);
        lines[i].level = value_text(result, i, 2);
        lines[i].text = value_text(result, i, 3);
    }
    ((store_log_done)call->done)(call->context, lines, (size_t)count, err);
    free(lines);
    free(call);
}

void store_log_read(struct store *store, const char *job_id, uint64_t after, uint32_t limit,
    store_log_done done, void *context)
{
    struct call *call = call_new((void (*)(void))done, context, job_id);
    struct params params = {0};
    if (!id_checked(store, job_id, "job", read_done, call))
        return;
    params_text(&params, job_id);
    params_int(&params, after > INT64_MAX ? INT64_MAX : (int64_t)after);
    params_int(&params, limit);
    pool_send(store->pool, &read_lines, &params, read_done, call);
}
