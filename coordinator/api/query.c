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
    struct request *request;
    void (*answer)(struct request *request, json_t *prediction);
    char *name, *model, *settings;
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
    remains->store = q->request->api->store;
    memcpy(remains->job_id, q->job_id, sizeof(remains->job_id));
    memcpy(remains->dataset_id, q->dataset_id, sizeof(remains->dataset_id));
    scheduler_job_cancel(q->request->api->scheduler, q->job_id, "nobody waits for its answer any more");
    error_set(&reason, ERROR_CANCELLED, "nobody waits for its answer any more");
    store_job_finish(remains->store, q->job_id, STORE_JOB_STOPPED, &reason, on_job_ended, remains);
}

/* Takes the query out of the list; its request is to be answered by the caller. */
static struct request *query_end(struct query *q)
{
    struct request *request = q->request;
    struct query **link = &request->api->queries;
    while (*link != q)
        link = &(*link)->next;
    *link = q->next;
    if (q->dataset_id[0])
        clean_up(q);
    free(q->name);
    free(q->model);
    free(q->settings);
    json_decref(q->text);
    free(q);
    return request;
}

/* ---- its end ---- */

static void on_result(
    void *context, const struct store_result *results, size_t count, const struct error *err)
{
    struct query *q = context;
    void (*answer)(struct request *, json_t *) = q->answer;
    struct request *request = query_end(q);
    json_t *prediction = !err && count == 1 && results->prediction.bytes
                             ? json_stringn(results->prediction.bytes, results->prediction.size)
                             : NULL;
    if (err)
        request_answer_error(request, err);
    else if (prediction)
        answer(request, prediction);
    else
        request_answer_detail(request, MHD_HTTP_BAD_GATEWAY, "the model gave no text");
}

static void on_job(void *context, const struct store_job *job, const struct error *err)
{
    struct query *q = context;
    if (err) {
        request_answer_error(query_end(q), err);
    } else if (job->status == STORE_JOB_SUCCEEDED) {
        store_result_range(q->request->api->store, q->job_id, 0, 1, STORE_RESULT_PREDICTION, on_result, q);
    } else if (job->finished_ms) {
        request_answer_detail(query_end(q), MHD_HTTP_BAD_GATEWAY, "the model did not answer: %s%s%s",
            job->message ? job->message : "its job was stopped", job->hint && job->hint[0] ? "; " : "",
            job->hint ? job->hint : "");
    } else {
        q->waiting = true;
    }
}

static void look(struct query *q)
{
    q->waiting = q->changed = false;
    store_job_get(q->request->api->store, q->job_id, on_job, q);
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

static void refuse(struct request *request, const char *model)
{
    request_answer_detail(request, MHD_HTTP_SERVICE_UNAVAILABLE,
        "no connected worker can run %.500s; start one: lumigrid-worker --help", model);
}

void queries_tick(struct api *api)
{
    uint64_t now_ms = uv_now(api->loop);
    for (struct query *q = api->queries, *next; q; q = next) {
        next = q->next;
        if (!q->waiting)
            continue;
        if (api->closing) {
            request_answer_detail(
                query_end(q), MHD_HTTP_SERVICE_UNAVAILABLE, "this coordinator is stopping; ask again");
        } else if (now_ms - q->started_ms >= api->options.query_timeout_s * 1000ULL) {
            request_answer_detail(query_end(q), MHD_HTTP_GATEWAY_TIMEOUT,
                "the model did not answer within %u s", api->options.query_timeout_s);
        } else if (!can_run(api, q->model)) {
            char *model = alloc_string(q->model);
            refuse(query_end(q), model);
            free(model);
        } else {
            look(q);
        }
    }
}

/* ---- its beginning ---- */

static void on_inserted(void *context, const struct store_job *job, const struct error *err)
{
    struct query *q = context;
    struct api *api = q->request->api;
    struct error own;
    if (err) {
        request_answer_error(query_end(q), err);
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
        request_answer_error(query_end(q), &own);
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
        request_answer_error(query_end(q), err);
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
        .owner = q->request->actor,
        .priority = PRIORITY,
    };
    memcpy(job.id, q->job_id, sizeof(job.id));
    store_job_insert(q->request->api->store, &job, on_inserted, q);
}

static void on_ready(void *context, const struct error *err)
{
    struct query *q = context;
    if (err) {
        request_answer_error(query_end(q), err);
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

void query_start(struct request *request, const char *name, const char *model, json_t *settings,
    const json_t *text, void (*answer)(struct request *request, json_t *prediction))
{
    struct api *api = request->api;
    struct error err;
    if (!model_reference_check(model, &err)) {
        json_decref(settings);
        request_answer_error(request, &err);
        return;
    }
    if (!can_run(api, model)) {
        json_decref(settings);
        refuse(request, model);
        return;
    }
    struct query *q = alloc_zero(1, sizeof(*q));
    q->request = request;
    q->answer = answer;
    q->name = alloc_string(name);
    q->model = alloc_string(model);
    q->settings = json_dumps(settings, JSON_COMPACT);
    q->text = json_copy((json_t *)text);
    q->started_ms = uv_now(api->loop);
    store_id_new(q->job_id);
    q->next = api->queries;
    api->queries = q;
    json_decref(settings);
    const struct store_dataset meta = {
        .filename = name, .format = "job", .media = "jsonl", .generated = true, .owner = request->actor};
    q->upload = store_upload_begin(api->store, &meta, on_ready, on_drain, q);
}
