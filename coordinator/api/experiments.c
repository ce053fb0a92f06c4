/* Experiments: of the first API, a dataset and one model, inferred and scored in one job; of the second, a
 * dataset and a task, for several workflows. One set of routes shows both. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "coordinator/api/handlers.h"
#include "coordinator/api/inference.h"
#include "coordinator/api/server.h"
#include "coordinator/api/submission.h"
#include "coordinator/api/views.h"
#include "coordinator/report/report.h"
#include "coordinator/scheduler/scheduler.h"
#include "coordinator/store/store.h"

enum { MAX_RETRIES = 3 };

static const char *text_of(const json_t *body, const char *name)
{
    return json_string_value(json_object_get(body, name));
}

static void copy_member(json_t *to, const char *to_name, const json_t *from, const char *from_name)
{
    json_t *value = json_object_get(from, from_name);
    if (value && !json_is_null(value))
        json_object_set(to, to_name, value);
}

static void on_experiment_made(
    void *context, const struct store_experiment *experiment, const struct error *err)
{
    struct request *request = context;
    if (err) {
        request_answer_error(request, err);
        return;
    }
    request_add_header(request, "Location", "/api/v1/experiments/%s", experiment->id);
    request_answer_json(request, MHD_HTTP_CREATED, view_workflow_experiment(request, experiment, NULL, 0));
}

static void submit_for_workflows(struct request *request, const struct store_dataset *dataset)
{
    const json_t *body = request->json, *definition = json_object_get(body, "task_definition");
    if (!inference_languages(request, body, definition))
        return;
    char *task = definition ? json_dumps(definition, JSON_COMPACT) : NULL;
    const struct store_experiment experiment = {
        .name = text_of(body, "name"),
        .description = text_of(body, "description"),
        .dataset_id = dataset->id,
        .task = task ? task : "{\"task\":\"summarization\"}",
        .owner = request->actor,
        .max_samples = json_integer_value(json_object_get(body, "max_samples")),
    };
    store_experiment_insert(request->api->store, &experiment, on_experiment_made, request);
    free(task);
}

static void submit_model(struct request *request, const struct store_dataset *dataset)
{
    const json_t *body = request->json;
    json_t *settings = json_pack("{s:s, s:i}", "task", "summarization", "max_retries", MAX_RETRIES);
    copy_member(settings, "system_prompt", body, "system_prompt");
    copy_member(settings, "base_url", body, "model_url");
    copy_member(settings, "generation_config", body, "generation_config");
    copy_member(settings, "dtype", body, "dtype");
    copy_member(settings, "seed", body, "seed");
    json_t *metrics = json_object_get(body, "metrics");
    struct submission submission = {
        .kind = STORE_JOB_EXPERIMENT,
        .name = text_of(body, "name"),
        .description = text_of(body, "description"),
        .metrics = json_is_array(metrics) ? metrics : NULL,
        .settings = settings,
        .max_samples = json_integer_value(json_object_get(body, "max_samples")),
        .priority = (int32_t)json_integer_value(json_object_get(body, "priority")),
    };
    snprintf(submission.model, sizeof(submission.model), "%s", text_of(body, "model"));
    submission_start(request, &submission, dataset);
}

void handle_experiment_submit(struct request *request)
{
    submission_with_dataset(request, text_of(request->json, "dataset"),
        text_of(request->json, "model") ? submit_model : submit_for_workflows);
}

/* ---- listing: the page's experiments, then the workflows of those that have some ---- */

struct page {
    struct request *request;
    uint64_t total;
    json_t *items; /* complete views, and nulls to be filled */
    struct store_experiment *experiments;
    size_t *places, count;
};

static void page_free(struct page *page)
{
    for (size_t i = 0; i < page->count; i++) {
        free((char *)page->experiments[i].name);
        free((char *)page->experiments[i].description);
        free((char *)page->experiments[i].dataset_id);
        free((char *)page->experiments[i].task);
    }
    free(page->experiments);
    free(page->places);
    json_decref(page->items);
    free(page);
}

/* `workflows` are sorted by age, not by experiment: those of one are put together first. */
static void fill(struct page *page, const struct store_workflow *workflows, size_t count)
{
    struct store_workflow *own = alloc_zero(count, sizeof(*own));
    for (size_t i = 0; i < page->count; i++) {
        size_t owned = 0;
        for (size_t k = 0; k < count; k++)
            if (strcmp(workflows[k].experiment_id, page->experiments[i].id) == 0)
                own[owned++] = workflows[k];
        json_array_set_new(page->items, page->places[i],
            view_workflow_experiment(page->request, &page->experiments[i], own, owned));
    }
    free(own);
}

static void on_workflows(
    void *context, const struct store_workflow *workflows, size_t count, const struct error *err)
{
    struct page *page = context;
    if (err) {
        request_answer_error(page->request, err);
    } else {
        fill(page, workflows, count);
        request_answer_json(page->request, MHD_HTTP_OK, view_listing(page->total, json_incref(page->items)));
    }
    page_free(page);
}

static void keep(struct page *page, const struct store_experiment *experiment, size_t place)
{
    struct store_experiment *kept = &page->experiments[page->count];
    *kept = *experiment;
    kept->name = alloc_string(experiment->name);
    kept->description = alloc_string(experiment->description);
    kept->dataset_id = alloc_string(experiment->dataset_id);
    kept->task = alloc_string(experiment->task);
    page->places[page->count++] = place;
}

static void ask_workflows(struct page *page)
{
    const char **ids = alloc_zero(page->count, sizeof(*ids));
    for (size_t i = 0; i < page->count; i++)
        ids[i] = page->experiments[i].id;
    store_workflow_list(page->request->api->store, ids, page->count, on_workflows, page);
    free(ids);
}

static void on_list(void *context, uint64_t total, const struct store_experiment_item *items, size_t count,
    const struct error *err)
{
    struct request *request = context;
    if (err) {
        request_answer_error(request, err);
        return;
    }
    struct page *page = alloc_zero(1, sizeof(*page));
    *page = (struct page){request, total, json_array(), alloc_zero(count, sizeof(*page->experiments)),
        alloc_zero(count, sizeof(*page->places)), 0};
    for (size_t i = 0; i < count; i++) {
        json_array_append_new(
            page->items, items[i].job ? view_experiment(request->api, items[i].job) : json_null());
        if (items[i].experiment)
            keep(page, items[i].experiment, i);
    }
    ask_workflows(page);
}

void handle_experiment_list(struct request *request)
{
    store_experiment_list(request->api->store, (uint64_t)request_query_integer(request, "skip"),
        (uint64_t)request_query_integer(request, "limit"), on_list, request);
}

/* ---- one ---- */

static void on_shown(
    void *context, const struct store_workflow *workflows, size_t count, const struct error *err)
{
    struct page *page = context;
    if (err) {
        request_answer_error(page->request, err);
    } else {
        fill(page, workflows, count);
        request_answer_json(page->request, MHD_HTTP_OK, json_incref(json_array_get(page->items, 0)));
    }
    page_free(page);
}

static void on_get_second(void *context, const struct store_experiment *experiment, const struct error *err)
{
    struct request *request = context;
    if (err) {
        request_answer_error(request, err);
        return;
    }
    struct page *page = alloc_zero(1, sizeof(*page));
    *page = (struct page){request, 1, json_pack("[n]"), alloc_zero(1, sizeof(*page->experiments)),
        alloc_zero(1, sizeof(*page->places)), 0};
    keep(page, experiment, 0);
    const char *id = experiment->id;
    store_workflow_list(request->api->store, &id, 1, on_shown, page);
}

static void on_get(void *context, const struct store_job *job, const struct error *err)
{
    struct request *request = context;
    if (job && job->kind == STORE_JOB_EXPERIMENT)
        request_answer_json(request, MHD_HTTP_OK, view_experiment(request->api, job));
    else if (job || err->code == ERROR_NOT_FOUND)
        store_experiment_get(request->api->store, request_parameter(request, 0), on_get_second, request);
    else
        request_answer_error(request, err);
}

void handle_experiment_get(struct request *request)
{
    store_job_get(request->api->store, request_parameter(request, 0), on_get, request);
}

/* ---- cancel and delete: the jobs of all its workflows, or the job that it is ---- */

enum { WORKFLOW_JOBS_MAX = 100000 };

static void stop_jobs(struct request *request, const struct store_job *jobs, size_t count, const char *why)
{
    for (size_t i = 0; i < count; i++)
        scheduler_job_cancel(request->api->scheduler, jobs[i].id, why);
}

static void on_cancel_jobs(
    void *context, uint64_t total, const struct store_job *jobs, size_t count, const struct error *err)
{
    struct request *request = context;
    (void)total;
    if (err) {
        request_answer_error(request, err);
        return;
    }
    stop_jobs(request, jobs, count, "cancelled by a user");
    request_answer_json(request, MHD_HTTP_ACCEPTED,
        json_pack("{s:s, s:s}", "id", request_parameter(request, 0), "status", "stopped"));
}

static void on_delete_jobs(
    void *context, uint64_t total, const struct store_job *jobs, size_t count, const struct error *err)
{
    struct request *request = context;
    (void)total;
    if (err) {
        request_answer_error(request, err);
        return;
    }
    stop_jobs(request, jobs, count, "its experiment is deleted");
    store_experiment_delete(
        request->api->store, request_parameter(request, 0), request_answer_deleted, request);
}

static void with_jobs(struct request *request, store_job_list_done done)
{
    const struct store_job_filter filter = {.experiment_id = request_parameter(request, 0)};
    store_job_list(request->api->store, &filter, 0, WORKFLOW_JOBS_MAX, done, request);
}

static void on_cancel(void *context, const struct store_experiment *experiment, const struct error *err)
{
    if (experiment)
        with_jobs(context, on_cancel_jobs);
    else if (err->code == ERROR_NOT_FOUND)
        handle_job_cancel(context);
    else
        request_answer_error(context, err);
}

void handle_experiment_cancel(struct request *request)
{
    store_experiment_get(request->api->store, request_parameter(request, 0), on_cancel, request);
}

static void on_delete(void *context, const struct store_experiment *experiment, const struct error *err)
{
    if (experiment)
        with_jobs(context, on_delete_jobs);
    else if (err->code == ERROR_NOT_FOUND)
        handle_job_delete(context);
    else
        request_answer_error(context, err);
}

void handle_experiment_delete(struct request *request)
{
    store_experiment_get(request->api->store, request_parameter(request, 0), on_delete, request);
}

/* ---- comparison ---- */

struct ids {
    char text[REPORT_COMPARED_MAX][STORE_ID_BYTES];
    size_t count;
    bool too_many, repeated;
    char bad[64];
};

static void take_id(struct ids *ids, const char *text, size_t len)
{
    char one[64], uuid[37];
    snprintf(one, sizeof(one), "%.*s", (int)(len < sizeof(one) ? len : sizeof(one) - 1), text);
    if (len >= sizeof(one) || !request_parse_uuid(one, uuid)) {
        snprintf(ids->bad, sizeof(ids->bad), "%s", one[0] ? one : "(nothing)");
        return;
    }
    for (size_t i = 0; i < ids->count; i++)
        ids->repeated = ids->repeated || strcmp(ids->text[i], uuid) == 0;
    if (ids->count < REPORT_COMPARED_MAX)
        memcpy(ids->text[ids->count++], uuid, sizeof(uuid));
    else
        ids->too_many = true;
}

/* `ids` may be repeated, and each may be a list with commas. */
static void on_ids(void *context, const char *value)
{
    for (const char *p = value;; p++) {
        size_t len = strcspn(p, ",");
        take_id(context, p, len);
        p += len;
        if (*p == '\0')
            return;
    }
}

static void on_compared(void *context, json_t *document, const struct error *err)
{
    struct request *request = context;
    if (err)
        request_answer_error(request, err);
    else
        request_answer_json(request, MHD_HTTP_OK, document);
}

void handle_experiment_compare(struct request *request)
{
    struct ids ids = {0};
    const char *list[REPORT_COMPARED_MAX];
    request_query_each(request, "ids", on_ids, &ids);
    if (ids.bad[0] || ids.too_many || ids.repeated) {
        json_t *input = json_string(ids.bad);
        request_answer_invalid(request, "query", "ids", ids.bad[0] ? "uuid_parsing" : "value_error",
            ids.bad[0]     ? "Input should be valid UUIDs, separated by commas"
            : ids.too_many ? "At most 16 experiments can be compared"
                           : "An experiment is named twice",
            ids.bad[0] ? input : NULL);
        json_decref(input);
        return;
    }
    for (size_t i = 0; i < ids.count; i++)
        list[i] = ids.text[i];
    report_compare(request->api->loop, request->api->store, list, ids.count, on_compared, request);
}
