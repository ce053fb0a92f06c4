#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/alloc.h"
#include "coordinator/api/handlers.h"
#include "coordinator/api/server.h"
#include "coordinator/api/views.h"
#include "coordinator/scheduler/scheduler.h"
#include "coordinator/store/store.h"

enum { LOG_LINES_MAX = 10000 };

/* ---- listing ---- */

struct kinds {
    uint32_t bits;
    bool wrong;
    char unknown[64];
};

static void on_kind(void *context, const char *value)
{
    struct kinds *kinds = context;
    for (int k = STORE_JOB_EXPERIMENT; k <= STORE_JOB_EVALUATOR; k++) {
        if (strcasecmp(value, store_job_kind_name((enum store_job_kind)k)) == 0) {
            kinds->bits |= 1u << k;
            return;
        }
    }
    kinds->wrong = true;
    snprintf(kinds->unknown, sizeof(kinds->unknown), "%s", value);
}

static void on_list(
    void *context, uint64_t total, const struct store_job *items, size_t count, const struct error *err)
{
    struct request *request = context;
    if (err) {
        request_answer_error(request, err);
        return;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, view_job_details(request->api, &items[i]));
    request_answer_json(request, MHD_HTTP_OK, view_listing(total, list));
}

void handle_job_list(struct request *request)
{
    struct kinds kinds = {0};
    request_query_each(request, "job_types", on_kind, &kinds);
    if (kinds.wrong) {
        json_t *input = json_string(kinds.unknown);
        request_answer_invalid(request, "query", "job_types", "enum",
            "Input should be 'experiment', 'inference', 'annotate' or 'evaluator'", input);
        json_decref(input);
        return;
    }
    /* Without a filter: the jobs of the second API, whose clients know no other type. */
    uint32_t usual = 1u << STORE_JOB_INFERENCE | 1u << STORE_JOB_ANNOTATE | 1u << STORE_JOB_EVALUATOR;
    struct store_job_filter filter = {.kinds = kinds.bits ? kinds.bits : usual};
    store_job_list(request->api->store, &filter, (uint64_t)request_query_integer(request, "skip"),
        (uint64_t)request_query_integer(request, "limit"), on_list, request);
}

static void on_get(void *context, const struct store_job *job, const struct error *err)
{
    struct request *request = context;
    if (err)
        request_answer_error(request, err);
    else
        request_answer_json(request, MHD_HTTP_OK, view_job_details(request->api, job));
}

void handle_job_get(struct request *request)
{
    store_job_get(request->api->store, request_parameter(request, 0), on_get, request);
}

/* ---- cancel and delete: also of experiments of the first API ---- */

static const char REASON[] = "cancelled by a user";

static void answer_cancelled(struct request *request)
{
    request_answer_json(request, MHD_HTTP_ACCEPTED,
        json_pack("{s:s, s:s}", "id", request_parameter(request, 0), "status", "stopped"));
}

/* The scheduler does not have it: it has ended, or it is ours to end. */
static void on_stopped(
    void *context, const struct store_job *job, const struct store_job *next, const struct error *err)
{
    (void)next;
    struct request *request = context;
    if (err)
        request_answer_error(request, err);
    else if (job->status != STORE_JOB_STOPPED)
        request_answer_detail(
            request, MHD_HTTP_CONFLICT, "it has ended already: %s", store_job_status_name(job->status));
    else
        answer_cancelled(request);
}

void handle_job_cancel(struct request *request)
{
    const char *id = request_parameter(request, 0);
    struct error reason;
    if (scheduler_job_cancel(request->api->scheduler, id, REASON)) {
        answer_cancelled(request);
        return;
    }
    error_set(&reason, ERROR_CANCELLED, "%s", REASON);
    store_job_finish(request->api->store, id, STORE_JOB_STOPPED, &reason, on_stopped, request);
}

static void on_stopped_for_delete(
    void *context, const struct store_job *job, const struct store_job *next, const struct error *err)
{
    (void)next;
    struct request *request = context;
    (void)job;
    if (err)
        request_answer_error(request, err);
    else
        store_job_delete(request->api->store, request_parameter(request, 0), request_answer_deleted, request);
}

/* A running one is stopped first: ending it here and now makes the later end by the scheduler a no-op. */
void handle_job_delete(struct request *request)
{
    const char *id = request_parameter(request, 0);
    struct error reason;
    scheduler_job_cancel(request->api->scheduler, id, REASON);
    error_set(&reason, ERROR_CANCELLED, "%s", REASON);
    store_job_finish(request->api->store, id, STORE_JOB_STOPPED, &reason, on_stopped_for_delete, request);
}

/* ---- the dataset that it wrote ---- */

static void on_dataset(void *context, const struct store_dataset *dataset, const struct error *err)
{
    struct request *request = context;
    if (err && err->code != ERROR_NOT_FOUND)
        request_answer_error(request, err);
    else
        request_answer_json(request, MHD_HTTP_OK, dataset ? view_dataset(dataset) : json_null());
}

static void on_dataset_job(void *context, const struct store_job *job, const struct error *err)
{
    struct request *request = context;
    if (err)
        request_answer_error(request, err);
    else if (job->output_dataset_id)
        store_dataset_get(request->api->store, job->output_dataset_id, on_dataset, request);
    else
        request_answer_json(request, MHD_HTTP_OK, json_null());
}

void handle_job_dataset(struct request *request)
{
    store_job_get(request->api->store, request_parameter(request, 0), on_dataset_job, request);
}

/* ---- logs ---- */

static void on_log(void *context, const struct store_log_line *lines, size_t count, const struct error *err)
{
    struct request *request = context;
    if (err) {
        request_answer_error(request, err);
        return;
    }
    char *text = view_log(lines, count);
    request_answer_json(request, MHD_HTTP_OK, json_pack("{s:o}", "logs", view_text(text)));
    free(text);
}

static void on_log_job(void *context, const struct store_job *job, const struct error *err)
{
    struct request *request = context;
    if (err)
        request_answer_error(request, err);
    else
        store_log_read(request->api->store, job->id, 0, LOG_LINES_MAX, on_log, request);
}

void handle_job_logs(struct request *request)
{
    store_job_get(request->api->store, request_parameter(request, 0), on_log_job, request);
}
