#include "coordinator/api/query.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/log.h"
#include "coordinator/api/model_reference.h"
#include "coordinator/api/server.h"
#include "coordinator/scheduler/scheduler.h"
#include "coordinator/store/store.h"

enum { PRIORITY = 100 /* interactive, also when a restarted coordinator finds the job */ };

struct query {
    struct query *next;
    struct api *api;
    query_done done;
    void *context;
    char *name, *model, *settings, *actor;
    json_t *text;
    struct store_upload *upload;
    char dataset_id[STORE_ID_BYTES]; /* empty: not written yet */
    char job_id[STORE_ID_BYTES];
    bool waiting; /* the job is scheduled and no call of the store is under way */
    bool changed; /* the job's row is to be read again */
    uint64_t started_ms;
};

/* ---- what a query leaves behind ---- */

struct remains {
    struct store *store;
    char job_id[STORE_ID_BYTES], dataset_id[STORE_ID_BYTES];
};

static void on_dataset_deleted(void *context, const struct error *err)
{
    if (err)
        log_error_value(LOG_LEVEL_WARN, "the dataset of an ended query stays", err);
    free(context);
}

static void on_job_deleted(void *context, const struct error *err)
{
    struct remains *remains = context;
    if (err && err->code != ERROR_NOT_FOUND)
        log_error_value(LOG_LEVEL_WARN, "the job of an ended query stays", err);
    store_dataset_delete(remains->store, remains->dataset_id, on_dataset_deleted, remains);
}

static void on_job_ended(
    void *context, const struct store_job *job, const struct store_job *next, const struct error *err)
{
    struct remains *remains = context;
    (void)job;
    (void)next;
    (void)err; /* deleting says the same */
    store_job_delete(remains->store, remains->job_id, on_job_deleted, remains);
}

/* The store alone is needed from here on: a closing API does not wait. */
static void clean_up(const struct query *q)
{
    struct error reason;
    struct remains *remains = alloc_zero(1, sizeof(*remains));
    remains->store = q->api->store;
    memcpy(remains->job_id, q->job_id, sizeof(remains->job_id));
    memcpy(remains->dataset_id, q->dataset_id, sizeof(remains->dataset_id));
    scheduler_job_cancel(q->api->scheduler, q->job_id, "nobody waits for its answer any more");
    error_set(&reason, ERROR_CANCELLED, "nobody waits for its answer any more");
    store_job_finish(remains->store, q->job_id, STORE_JOB_STOPPED, &reason, on_job_ended, remains);
}

/* Takes the query out of the list and says how it ended. */
static void query_end(struct query *q, json_t *prediction, unsigned status, const struct error *err)
{
    struct query **link = &q->api->queries;
    while (*link != q)
        link = &(*link)->next;
    *link = q->next;
    if (q->dataset_id[0])
        clean_up(q);
    q->done(q->context, prediction, status, err);
    free(q->name);
    free(q->model);
    free(q->settings);
    free(q->actor);
    json_decref(q->text);
    free(q);
}

static void fail(struct query *q, const struct error *err)
{
    query_end(q, NULL, 0, err);
}

void query_answer_failure(struct request *request, unsigned status, const struct error *err)
{
    if (status)
        request_answer_detail(request, status, "%s%s%s", err->message, err->hint[0] ? "; " : "", err->hint);
    else
        request_answer_error(request, err);
}

/* ---- its end ---- */

static void on_result(
    void *context, const struct store_result *results, size_t count, const struct error *err)
{
    struct query *q = context;
    struct error own;
    json_t *prediction = !err && count == 1 && results->prediction.bytes
                             ? json_stringn(results->prediction.bytes, results->prediction.size)
                             : NULL;
    error_set(&own, ERROR_INTERNAL, "the model gave no text");
    if (prediction)
        query_end(q, prediction, 0, NULL);
    else
        query_end(q, NULL, err ? 0 : MHD_HTTP_BAD_GATEWAY, err ? err : &own);
}

static void on_job(void *context, const struct store_job *job, const struct error *err)
{
    struct query *q = context;
    struct error own;
    if (err) {
        fail(q, err);
    } else if (job->status == STORE_JOB_SUCCEEDED) {
        store_result_range(q->api->store, q->job_id, 0, 1, STORE_RESULT_PREDICTION, on_result, q);
    } else if (job->finished_ms) {
        error_set(&own, ERROR_INTERNAL, "the model did not answer: %s",
            job->message ? job->message : "its job was stopped");
        if (job->hint && job->hint[0])
            error_hint(&own, "%s", job->hint);
        query_end(q, NULL, MHD_HTTP_BAD_GATEWAY, &own);
    } else {
        q->waiting = true;
    }
}

static void look(struct query *q)
{
    q->waiting = q->changed = false;
    store_job_get(q->api->store, q->job_id, on_job, q);
}

void queries_changed(struct api *api, const char *job_id)
{
    for (struct query *q = api->queries; q; q = q->next) {
        if (strcmp(q->job_id, job_id) != 0)
            continue;
        q->changed = true;
        if (q->waiting)
            look(q);
        return;
    }
}

/* ---- who could run it ---- */

struct search {
    char scheme[16];
    bool found;
};

static void on_worker(void *context, const struct api_worker *worker)
{
    struct search *search = context;
    for (size_t i = 0; strcmp(worker->state, "online") == 0 && i < worker->scheme_count; i++)
        search->found = search->found || strcmp(worker->schemes[i], search->scheme) == 0;
}

static bool can_run(const struct api *api, const char *model)
{
    struct search search = {0};
    model_reference_scheme(model, search.scheme, sizeof(search.scheme));
    api->cluster.workers(api->cluster.context, on_worker, &search);
    return search.found;
}

static void no_worker(struct error *err, const char *model)
{
    error_set(err, ERROR_UNAVAILABLE, "no connected worker can run %.300s", model);
    error_hint(err, "start one: lumigrid-worker --help");
}

void queries_tick(struct api *api)
{
    struct error err;
    uint64_t now_ms = uv_now(api->loop);
    for (struct query *q = api->queries, *next; q; q = next) {
        next = q->next;
        if (!q->waiting)
            continue;
        if (api->closing) {
            error_set(&err, ERROR_UNAVAILABLE, "this coordinator is stopping; ask again");
            fail(q, &err);
        } else if (now_ms - q->started_ms >= api->options.query_timeout_s * 1000ULL) {
            error_set(&err, ERROR_UNAVAILABLE, "the model did not answer within %u s",
                api->options.query_timeout_s);
            query_end(q, NULL, MHD_HTTP_GATEWAY_TIMEOUT, &err);
        } else if (!can_run(api, q->model)) {
            no_worker(&err, q->model);
            fail(q, &err);
        } else {
            look(q);
        }
    }
}

/* ---- its beginning ---- */

static void on_inserted(void *context, const struct store_job *job, const struct error *err)
{
    struct query *q = context;
    struct api *api = q->api;
    struct error own;
    if (err) {
        fail(q, err);
        return;
    }
    const struct scheduler_job_spec spec = {
        .id = job->id,
        .model = job->model,
        .sample_count = job->sample_count,
        .interactive = true,
    };
    /* CONFLICT: the recovery of unfinished jobs found the row first, and scheduled it. */
    if (!scheduler_job_add(api->scheduler, &spec, uv_now(api->loop), &own) && own.code != ERROR_CONFLICT) {
        fail(q, &own);
        return;
    }
    q->waiting = true;
    if (q->changed)
        look(q);
}

static void on_committed(void *context, const struct store_dataset *dataset, const struct error *err)
{
    struct query *q = context;
    if (err) {
        fail(q, err);
        return;
    }
    memcpy(q->dataset_id, dataset->id, sizeof(q->dataset_id));
    struct store_job job = {
        .kind = STORE_JOB_INFERENCE,
        .name = q->name,
        .description = "",
        .dataset_id = q->dataset_id,
        .model = q->model,
        .settings = q->settings,
        .request = "{}",
        .owner = q->actor,
        .priority = PRIORITY,
    };
    memcpy(job.id, q->job_id, sizeof(job.id));
    store_job_insert(q->api->store, &job, on_inserted, q);
}

static void on_ready(void *context, const struct error *err)
{
    struct query *q = context;
    if (err) {
        fail(q, err);
        return;
    }
    const struct store_sample sample = {.example = {json_string_value(q->text), json_string_length(q->text)}};
    store_upload_samples(q->upload, &sample, 1);
    store_upload_commit(q->upload, on_committed, q);
}

/* The commit follows the only sample at once, and tells what goes wrong. */
static void on_drain(void *context, const struct error *err)
{
    (void)context;
    (void)err;
}

void query_start(struct api *api, const struct query_spec *spec, query_done done, void *context)
{
    struct error err;
    bool good = model_reference_check(spec->model, &err);
    if (!good || !can_run(api, spec->model)) {
        if (good)
            no_worker(&err, spec->model);
        json_decref(spec->settings);
        done(context, NULL, 0, &err);
        return;
    }
    struct query *q = alloc_zero(1, sizeof(*q));
    q->api = api;
    q->done = done;
    q->context = context;
    q->name = alloc_string(spec->name);
    q->model = alloc_string(spec->model);
    q->settings = json_dumps(spec->settings, JSON_COMPACT);
    q->actor = alloc_string(spec->actor);
    q->text = json_copy((json_t *)spec->text);
    q->started_ms = uv_now(api->loop);
    store_id_new(q->job_id);
    q->next = api->queries;
    api->queries = q;
    json_decref(spec->settings);
    const struct store_dataset meta = {
        .filename = q->name, .format = "job", .media = "jsonl", .generated = true, .owner = q->actor};
    q->upload = store_upload_begin(api->store, &meta, on_ready, on_drain, q);
}
