/* Result documents of experiments (first API) and jobs: the same rows, two shapes. */
#include "coordinator/api/results.h"

#include <stdio.h>
#include <string.h>

#include "coordinator/api/handlers.h"
#include "coordinator/api/server.h"
#include "coordinator/api/urls.h"
#include "coordinator/report/report.h"
#include "coordinator/store/store.h"

static bool is_experiment(const struct request *request)
{
    return strcmp(request->route->tag, "experiments") == 0;
}

/* 404 until there is a result; and an experiment's routes do not show jobs of the second API. */
static bool has_result(struct request *request, const struct store_job *job, const struct error *err)
{
    if (err) {
        request_answer_error(request, err);
    } else if (is_experiment(request) && job->kind != STORE_JOB_EXPERIMENT) {
        request_answer_detail(request, MHD_HTTP_NOT_FOUND, "there is no such experiment");
    } else if (job->status != STORE_JOB_SUCCEEDED) {
        request_answer_detail(request, MHD_HTTP_NOT_FOUND, "there is no result: the %s is %s%s%s",
            is_experiment(request) ? "experiment" : "job", store_job_status_name(job->status),
            job->message ? ": " : "", job->message ? job->message : "");
    } else {
        return true;
    }
    return false;
}

static void on_result(void *context, const struct store_job *job, const struct error *err)
{
    struct request *request = context;
    if (has_result(request, job, err))
        request_answer_json(request, MHD_HTTP_OK,
            json_pack(
                "{s:s, s:s}", "id", job->id, is_experiment(request) ? "experiment_id" : "job_id", job->id));
}

void handle_result(struct request *request)
{
    store_job_get(request->api->store, request_parameter(request, 0), on_result, request);
}

static void on_download(void *context, const struct store_job *job, const struct error *err)
{
    struct request *request = context;
    char path[128];
    if (!has_result(request, job, err))
        return;
    snprintf(path, sizeof(path), "/api/v1/%s/%s/result/content",
        is_experiment(request) ? "experiments" : "jobs", job->id);
    request_answer_json(request, MHD_HTTP_OK,
        json_pack("{s:s, s:o}", "id", job->id, "download_url", url_signed(request, path)));
}

void handle_result_download(struct request *request)
{
    store_job_get(request->api->store, request_parameter(request, 0), on_download, request);
}

static ssize_t document_read(void *context, char *buffer, size_t max)
{
    ssize_t got = report_document_read(context, buffer, max);
    return got == REPORT_END ? STREAM_END : got == REPORT_FAILED ? STREAM_FAILED : got;
}

static void document_close(void *context)
{
    report_document_close(context);
}

static void document_wake(void *context)
{
    request_wake(context);
}

void result_send(struct request *request, const struct store_job *job, enum report_kind kind)
{
    char filename[64];
    snprintf(filename, sizeof(filename), "results-%s.json", request_parameter(request, 0));
    url_add_disposition(request, filename);
    struct report_document *document =
        report_document_open(request->api->store, job, kind, document_wake, request);
    struct stream stream = {document_read, document_close, document, 0};
    request_answer_stream(request, MHD_HTTP_OK, "application/json", stream);
}

static void on_content(void *context, const struct store_job *job, const struct error *err)
{
    struct request *request = context;
    if (has_result(request, job, err))
        result_send(request, job, is_experiment(request) ? REPORT_EXPERIMENT : REPORT_JOB);
}

void handle_result_content(struct request *request)
{
    if (url_check(request))
        store_job_get(request->api->store, request_parameter(request, 0), on_content, request);
}
