/* Experiments of the first API: a dataset and one model, inferred and scored in one job. */
#include <stdio.h>
#include <string.h>

#include "coordinator/api/handlers.h"
#include "coordinator/api/server.h"
#include "coordinator/api/submission.h"
#include "coordinator/api/views.h"
#include "coordinator/report/report.h"

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

void handle_experiment_submit(struct request *request)
{
    const json_t *body = request->json;
    if (!text_of(body, "model")) {
        request_answer_detail(request, MHD_HTTP_NOT_IMPLEMENTED,
            "experiments without a model (several workflows) are not available yet: name a model, or use "
            "/jobs");
        return;
    }
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
        .dataset_id = text_of(body, "dataset"),
        .metrics = json_is_array(metrics) ? metrics : NULL,
        .settings = settings,
        .max_samples = json_integer_value(json_object_get(body, "max_samples")),
        .priority = (int32_t)json_integer_value(json_object_get(body, "priority")),
    };
    snprintf(submission.model, sizeof(submission.model), "%s", text_of(body, "model"));
    submission_start(request, &submission, view_experiment);
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
        json_array_append_new(list, view_experiment(request->api, &items[i]));
    request_answer_json(request, MHD_HTTP_OK, view_listing(total, list));
}

void handle_experiment_list(struct request *request)
{
    struct store_job_filter filter = {.kinds = 1u << STORE_JOB_EXPERIMENT};
    store_job_list(request->api->store, &filter, (uint64_t)request_query_integer(request, "skip"),
        (uint64_t)request_query_integer(request, "limit"), on_list, request);
}

static void on_get(void *context, const struct store_job *job, const struct error *err)
{
    struct request *request = context;
    if (err)
        request_answer_error(request, err);
    else if (job->kind != STORE_JOB_EXPERIMENT)
        request_answer_detail(request, MHD_HTTP_NOT_FOUND, "there is no such experiment");
    else
        request_answer_json(request, MHD_HTTP_OK, view_experiment(request->api, job));
}

void handle_experiment_get(struct request *request)
{
    store_job_get(request->api->store, request_parameter(request, 0), on_get, request);
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
