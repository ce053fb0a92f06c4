/* Workflows of the second API: one model's way through an experiment, inference and then evaluation. */
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "coordinator/api/handlers.h"
#include "coordinator/api/inference.h"
#include "coordinator/api/results.h"
#include "coordinator/api/server.h"
#include "coordinator/api/submission.h"
#include "coordinator/api/urls.h"
#include "coordinator/api/views.h"
#include "coordinator/scheduler/scheduler.h"

enum { LOG_LINES_MAX = 10000, JOBS_MAX = 8 };

/* ---- submission ---- */

static const char *text_of(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

/* What of the experiment is still needed when its dataset is known. */
struct asked {
    struct request *request;
    char experiment_id[STORE_ID_BYTES];
    json_t *task;
    int64_t max_samples;
};

static void start(const struct asked *asked, const struct store_dataset *dataset)
{
    struct request *request = asked->request;
    const json_t *body = request->json;
    json_t *metrics = json_object_get(body, "metrics");
    struct submission submission = {
        .kind = STORE_JOB_INFERENCE,
        .name = text_of(body, "name"),
        .description = text_of(body, "description"),
        .experiment_id = asked->experiment_id,
        .metrics = json_is_array(metrics) ? metrics : NULL,
        .task = text_of(asked->task, "task"),
        .output_field = text_of(body, "inference_output_field"),
        .max_samples = asked->max_samples,
        .timeout_s = (uint32_t)json_integer_value(json_object_get(body, "job_timeout_sec")),
    };
    if (!inference_model(request, body, submission.model, sizeof(submission.model)) ||
        !inference_task(request, body, asked->task) ||
        !inference_output(request, body, "inference_output_field") || !evaluation_check(request, body))
        return;
    submission.settings = inference_settings(body, asked->task);
    submission.evaluation = evaluation_settings(body, asked->task);
    submission_start(request, &submission, dataset);
}

static void on_dataset(void *context, const struct store_dataset *dataset, const struct error *err)
{
    struct asked *asked = context;
    if (err)
        request_answer_error(asked->request, err);
    else
        start(asked, dataset);
    json_decref(asked->task);
    free(asked);
}

static void on_experiment(void *context, const struct store_experiment *experiment, const struct error *err)
{
    struct request *request = context;
    if (err) {
        request_answer_error(request, err);
        return;
    }
    struct asked *asked = alloc_zero(1, sizeof(*asked));
    asked->request = request;
    memcpy(asked->experiment_id, experiment->id, sizeof(asked->experiment_id));
    asked->task = json_loads(experiment->task, 0, NULL);
    asked->max_samples = experiment->max_samples;
    store_dataset_get(request->api->store, experiment->dataset_id, on_dataset, asked);
}

void handle_workflow_submit(struct request *request)
{
    store_experiment_get(
        request->api->store, text_of(request->json, "experiment_id"), on_experiment, request);
}

/* ---- one ---- */

static void on_get(void *context, const struct store_workflow *workflow, const struct error *err)
{
    struct request *request = context;
    if (err)
        request_answer_error(request, err);
    else
        request_answer_json(request, MHD_HTTP_OK, view_workflow_details(request, workflow));
}

void handle_workflow_get(struct request *request)
{
    store_workflow_get(request->api->store, request_parameter(request, 0), on_get, request);
}

/* ---- logs: those of its jobs, one after another ---- */

struct logs {
    struct request *request;
    char ids[JOBS_MAX][STORE_ID_BYTES];
    size_t count, next;
    char *text;
};

static void next_log(struct logs *logs);

static void on_log(void *context, const struct store_log_line *lines, size_t count, const struct error *err)
{
    struct logs *logs = context;
    if (err) {
        request_answer_error(logs->request, err);
        free(logs->text);
        free(logs);
        return;
    }
    char *more = view_log(lines, count), *joined = alloc_format("%s%s", logs->text, more);
    free(more);
    free(logs->text);
    logs->text = joined;
    next_log(logs);
}

static void next_log(struct logs *logs)
{
    if (logs->next < logs->count) {
        store_log_read(logs->request->api->store, logs->ids[logs->next++], 0, LOG_LINES_MAX, on_log, logs);
        return;
    }
    request_answer_json(logs->request, MHD_HTTP_OK, json_pack("{s:o}", "logs", view_text(logs->text)));
    free(logs->text);
    free(logs);
}

static void on_logged(void *context, const struct store_workflow *workflow, const struct error *err)
{
    struct request *request = context;
    if (err) {
        request_answer_error(request, err);
        return;
    }
    struct logs *logs = alloc_zero(1, sizeof(*logs));
    json_t *jobs = workflow->jobs ? json_loads(workflow->jobs, 0, NULL) : NULL, *job;
    size_t i;
    logs->request = request;
    logs->text = alloc_string("");
    json_array_foreach(jobs, i, job)
    {
        if (logs->count < JOBS_MAX)
            strncpy(logs->ids[logs->count++], text_of(job, "id"), STORE_ID_BYTES - 1);
    }
    json_decref(jobs);
    next_log(logs);
}

void handle_workflow_logs(struct request *request)
{
    store_workflow_get(request->api->store, request_parameter(request, 0), on_logged, request);
}

/* ---- results ---- */

static bool has_result(
    struct request *request, const struct store_workflow *workflow, const struct error *err)
{
    if (!err && workflow->status == STORE_WORKFLOW_SUCCEEDED)
        return true;
    if (err)
        request_answer_error(request, err);
    else
        request_answer_detail(request, MHD_HTTP_NOT_FOUND, "there is no result: the workflow is %s%s%s",
            store_workflow_status_name(workflow->status), workflow->message ? ": " : "",
            workflow->message ? workflow->message : "");
    return false;
}

static void on_download(void *context, const struct store_workflow *workflow, const struct error *err)
{
    struct request *request = context;
    if (!has_result(request, workflow, err))
        return;
    char *path = alloc_format("/api/v1/workflows/%s/result/content", workflow->id);
    request_answer_json(request, MHD_HTTP_OK,
        json_pack("{s:s, s:o}", "id", workflow->id, "download_url", url_signed(request, path)));
    free(path);
}

void handle_workflow_result_download(struct request *request)
{
    store_workflow_get(request->api->store, request_parameter(request, 0), on_download, request);
}

struct document {
    struct request *request;
    char *model;
};

/* The last job's document, with the model that the workflow is about. */
static void on_document(void *context, const struct store_job *job, const struct error *err)
{
    struct document *document = context;
    struct request *request = document->request;
    if (err) {
        request_answer_error(request, err);
    } else {
        struct store_job shown = *job;
        shown.model = document->model;
        result_send(request, &shown, REPORT_JOB);
    }
    free(document->model);
    free(document);
}

static void on_content(void *context, const struct store_workflow *workflow, const struct error *err)
{
    struct request *request = context;
    if (!has_result(request, workflow, err))
        return;
    json_t *jobs = json_loads(workflow->jobs, 0, NULL);
    const json_t *last = json_array_get(jobs, json_array_size(jobs) - 1);
    struct document *document = alloc_zero(1, sizeof(*document));
    document->request = request;
    document->model = alloc_string(workflow->model);
    store_job_get(request->api->store, text_of(last, "id"), on_document, document);
    json_decref(jobs);
}

void handle_workflow_result_content(struct request *request)
{
    if (url_check(request))
        store_workflow_get(request->api->store, request_parameter(request, 0), on_content, request);
}

/* ---- delete ---- */

static void on_delete(void *context, const struct store_workflow *workflow, const struct error *err)
{
    struct request *request = context;
    bool force = request_query_boolean(request, "force");
    size_t i;
    json_t *jobs = !err && workflow->jobs ? json_loads(workflow->jobs, 0, NULL) : NULL, *job;
    if (err) {
        request_answer_error(request, err);
        return;
    }
    if (force)
        json_array_foreach(jobs, i, job)
            scheduler_job_cancel(request->api->scheduler, text_of(job, "id"), "its workflow is deleted");
    json_decref(jobs);
    store_workflow_delete(request->api->store, workflow->id, force, request_answer_deleted, request);
}

void handle_workflow_delete(struct request *request)
{
    store_workflow_get(request->api->store, request_parameter(request, 0), on_delete, request);
}
