/* How workflows, and experiments of several, look in answers. */
#include <stdio.h>
#include <string.h>

#include "coordinator/api/server.h"
#include "coordinator/api/urls.h"
#include "coordinator/api/views.h"
#include "coordinator/report/report.h"
#include "coordinator/store/store.h"

static const char *text_of(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

static json_t *parse(const char *json)
{
    json_t *value = json ? json_loads(json, 0, NULL) : NULL;
    return value ? value : json_null();
}

json_t *view_workflow(const struct store_workflow *w)
{
    json_t *request = parse(w->request);
    const char *prompt = text_of(request, "system_prompt");
    json_t *value = json_pack("{s:s, s:s, s:o, s:o, s:s, s:s, s:s, s:o, s:o, s:o}", "id", w->id,
        "experiment_id", w->experiment_id, "model", view_text(w->model), "name", view_text(w->name),
        "description", w->description ? w->description : "", "system_prompt", prompt ? prompt : "", "status",
        store_workflow_status_name(w->status), "created_at", view_time(w->created_ms), "updated_at",
        view_time(w->updated_ms), "message", view_text(w->message));
    json_decref(request);
    return value;
}

static bool is_kind(const json_t *job, const char *kind)
{
    return strcmp(text_of(job, "kind"), kind) == 0;
}

static json_t *means_of(const json_t *job)
{
    json_t *aggregates = json_object_get(job, "aggregates");
    return report_means(json_object_get(job, "metric_keys"), json_object_get(aggregates, "means"));
}

/* What its model was asked with; keys never. */
static json_t *parameters_of(const json_t *request, const json_t *job)
{
    static const char *const SHOWN[] = {"model", "provider", "base_url", "batch_size", "system_prompt",
        "generation_config", "metrics", "llm_as_judge", "job_timeout_sec", NULL};
    json_t *parameters = json_object();
    for (size_t i = 0; SHOWN[i]; i++) {
        json_t *value = json_object_get(request, SHOWN[i]);
        if (value && !json_is_null(value))
            json_object_set(parameters, SHOWN[i], value);
    }
    if (job) {
        json_object_set(parameters, "dataset", json_object_get(job, "dataset_id"));
        json_object_set(parameters, "max_samples", json_object_get(job, "max_samples"));
    }
    return parameters;
}

/* {"a": 1} as [{"name": "a", "value": 1}]; takes `object`. */
static json_t *as_list(json_t *object)
{
    json_t *list = json_array(), *value;
    const char *name;
    json_object_foreach(object, name, value)
        json_array_append_new(list, json_pack("{s:s, s:O}", "name", name, "value", value));
    json_decref(object);
    return list;
}

static json_t *job_view(const struct request *request, const json_t *asked, const json_t *job)
{
    const char *id = text_of(job, "id");
    bool inference = is_kind(job, "inference");
    bool done = strcmp(text_of(job, "status"), "succeeded") == 0;
    char path[128];
    snprintf(path, sizeof(path), "/api/v1/jobs/%s", id);
    json_t *metric_url = url_plain(request, path);
    snprintf(path, sizeof(path), "/api/v1/jobs/%s/result/%s", id, done ? "content" : "download");
    return json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o}", "id", id, "job_type", text_of(job, "kind"),
        "status", text_of(job, "status"), "metrics", inference ? json_array() : as_list(means_of(job)),
        "parameters", inference ? as_list(parameters_of(asked, job)) : json_array(), "metric_url", metric_url,
        "artifact_url", done ? url_signed(request, path) : url_plain(request, path));
}

json_t *view_workflow_details(const struct request *request, const struct store_workflow *w)
{
    json_t *value = view_workflow(w), *asked = parse(w->request), *jobs = parse(w->jobs), *job;
    json_t *views = json_array(), *metrics = NULL;
    char path[128];
    size_t i;
    json_array_foreach(jobs, i, job)
    {
        json_array_append_new(views, job_view(request, asked, job));
        if (is_kind(job, "evaluator") && w->status == STORE_WORKFLOW_SUCCEEDED)
            metrics = means_of(job);
    }
    snprintf(path, sizeof(path), "/api/v1/workflows/%s/result/content", w->id);
    json_object_set_new(value, "jobs", views);
    json_object_set_new(value, "metrics", metrics ? metrics : json_object());
    json_object_set_new(value, "parameters", parameters_of(asked, json_array_get(jobs, 0)));
    json_object_set_new(value, "artifacts_download_url",
        w->status == STORE_WORKFLOW_SUCCEEDED ? url_signed(request, path) : json_null());
    json_decref(jobs);
    json_decref(asked);
    return value;
}

/* Nothing began: created; anything is under way: running; else failed when one failed. */
static const char *status_of(const struct store_workflow *workflows, size_t count)
{
    size_t of[4] = {0};
    for (size_t i = 0; i < count; i++)
        of[workflows[i].status]++;
    if (of[STORE_WORKFLOW_CREATED] == count)
        return "created";
    if (of[STORE_WORKFLOW_RUNNING] || of[STORE_WORKFLOW_CREATED])
        return "running";
    return of[STORE_WORKFLOW_FAILED] ? "failed" : "succeeded";
}

json_t *view_workflow_experiment(const struct request *request, const struct store_experiment *e,
    const struct store_workflow *workflows, size_t count)
{
    json_t *list = json_array();
    int64_t updated_ms = e->updated_ms;
    for (size_t i = 0; i < count; i++) {
        json_array_append_new(list, view_workflow_details(request, &workflows[i]));
        updated_ms = workflows[i].updated_ms > updated_ms ? workflows[i].updated_ms : updated_ms;
    }
    return json_pack("{s:s, s:o, s:s, s:s, s:o, s:o, s:I, s:o, s:o, s:o}", "id", e->id, "name",
        view_text(e->name), "description", e->description ? e->description : "", "status",
        status_of(workflows, count), "created_at", view_time(e->created_ms), "updated_at",
        view_time(updated_ms), "max_samples", (json_int_t)(e->max_samples > 0 ? e->max_samples : -1),
        "task_definition", parse(e->task), "dataset", view_text(e->dataset_id), "workflows", list);
}
