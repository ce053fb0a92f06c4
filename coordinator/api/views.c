#include "coordinator/api/views.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/alloc.h"
#include "coordinator/api/server.h"
#include "coordinator/scheduler/scheduler.h"
#include "coordinator/store/store.h"

json_t *view_time(int64_t ms)
{
    if (ms == 0)
        return json_null();
    time_t seconds = (time_t)(ms / 1000);
    struct tm parts;
    char text[32];
    gmtime_r(&seconds, &parts);
    size_t used = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(text + used, sizeof(text) - used, ".%03uZ", (unsigned)(ms % 1000));
    return json_string(text);
}

json_t *view_text(const char *text)
{
    json_t *value = text ? json_string(text) : NULL;
    return value ? value : json_null();
}

json_t *view_listing(uint64_t total, json_t *items)
{
    return json_pack("{s:I, s:o}", "total", (json_int_t)total, "items", items);
}

json_t *view_dataset(const struct store_dataset *d)
{
    return json_pack("{s:s, s:o, s:o, s:I, s:b, s:o, s:b, s:o, s:o}", "id", d->id, "filename",
        view_text(d->filename), "format", view_text(d->format), "size", (json_int_t)d->size_bytes,
        "ground_truth", d->ground_truth, "run_id", view_text(d->run_id), "generated", d->generated,
        "generated_by", view_text(d->generated_by), "created_at", view_time(d->created_ms));
}

char *view_log(const struct store_log_line *lines, size_t count)
{
    size_t size = 1, used = 0;
    for (size_t i = 0; i < count; i++)
        size += 64 + strlen(lines[i].level) + strlen(lines[i].text);
    char *text = alloc_zero(size, 1);
    for (size_t i = 0; i < count; i++) {
        json_t *at = view_time(lines[i].at_ms);
        used += (size_t)snprintf(
            text + used, size - used, "%s %s %s\n", json_string_value(at), lines[i].level, lines[i].text);
        json_decref(at);
    }
    return text;
}

static json_int_t member(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

json_t *view_progress(const struct api *api, const struct store_job *job)
{
    struct scheduler_job_progress p;
    if (scheduler_job_progress(api->scheduler, job->id, uv_now(api->loop), &p))
        return json_pack("{s:I, s:I, s:I, s:f, s:o}", "total", (json_int_t)p.total, "done",
            (json_int_t)p.done, "failed", (json_int_t)p.failed, "samples_per_s", p.samples_per_s, "waiting",
            p.waiting[0] ? view_text(p.waiting) : json_null());
    json_t *aggregates = job->aggregates ? json_loads(job->aggregates, 0, NULL) : NULL;
    json_t *value = json_pack("{s:I, s:I, s:I, s:f, s:n}", "total", (json_int_t)job->sample_count, "done",
        member(aggregates, "samples"), "failed", member(aggregates, "failed"), "samples_per_s", 0.0,
        "waiting");
    json_decref(aggregates);
    return value;
}

/* The first API knows four states. */
static const char *experiment_status(enum store_job_status status)
{
    switch (status) {
    case STORE_JOB_CREATED:
    case STORE_JOB_PENDING: return "created";
    case STORE_JOB_RUNNING: return "running";
    case STORE_JOB_SUCCEEDED: return "succeeded";
    case STORE_JOB_FAILED:
    case STORE_JOB_STOPPED: break;
    }
    return "failed";
}

static json_t *names(const char *const *items, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_string(items[i]));
    return list;
}

static json_t *message_of(const struct store_job *job)
{
    if (!job->message || !job->hint || !job->hint[0])
        return view_text(job->message);
    return json_sprintf("%s; %s", job->message, job->hint);
}

json_t *view_experiment(const struct api *api, const struct store_job *job)
{
    json_t *aggregates = job->aggregates ? json_loads(job->aggregates, 0, NULL) : NULL;
    json_t *means = json_incref(json_object_get(aggregates, "means"));
    json_t *value = json_pack("{s:s, s:o, s:s, s:s, s:o, s:o}", "id", job->id, "name", view_text(job->name),
        "description", job->description ? job->description : "", "status", experiment_status(job->status),
        "created_at", view_time(job->created_ms), "updated_at", view_time(job->updated_ms));
    json_object_set_new(value, "task_definition", json_pack("{s:s}", "task", "summarization"));
    json_object_set_new(value, "workflows", json_array());
    json_object_set_new(value, "model", view_text(job->model));
    json_object_set_new(value, "dataset", view_text(job->dataset_id));
    json_object_set_new(value, "max_samples", json_integer(job->max_samples > 0 ? job->max_samples : -1));
    json_object_set_new(value, "metrics", names(job->metrics, job->metric_count));
    json_object_set_new(value, "message", message_of(job));
    json_object_set_new(value, "started_at", view_time(job->started_ms));
    json_object_set_new(value, "finished_at", view_time(job->finished_ms));
    json_object_set_new(value, "progress", view_progress(api, job));
    json_object_set_new(value, "means", means ? means : json_object());
    json_decref(aggregates);
    return value;
}

json_t *view_job(const struct api *api, const struct store_job *job)
{
    (void)api;
    return json_pack("{s:s, s:o, s:s, s:s, s:s, s:o, s:o, s:o}", "id", job->id, "name", view_text(job->name),
        "description", job->description ? job->description : "", "status", store_job_status_name(job->status),
        "job_type", store_job_kind_name(job->kind), "created_at", view_time(job->created_ms), "experiment_id",
        view_text(job->experiment_id), "updated_at", view_time(job->updated_ms));
}

static const char *ray_status(enum store_job_status status)
{
    switch (status) {
    case STORE_JOB_CREATED:
    case STORE_JOB_PENDING: return "PENDING";
    case STORE_JOB_RUNNING: return "RUNNING";
    case STORE_JOB_SUCCEEDED: return "SUCCEEDED";
    case STORE_JOB_FAILED: return "FAILED";
    case STORE_JOB_STOPPED: break;
    }
    return "STOPPED";
}

/* The command line that Ray would have shown, of which clients read what follows --config: dataset, number of
 * samples and model. Single-quoted for a shell, so a quote inside is written as its JSON escape. */
static json_t *entrypoint(const struct store_job *job)
{
    json_t *config = json_pack("{s:{s:o}, s:{s:I}}", "dataset", "path",
        json_sprintf("lumigrid://datasets/%s/dataset", job->dataset_id), "job", "max_samples",
        (json_int_t)(job->max_samples > 0 ? job->max_samples : -1));
    if (job->model)
        json_object_set_new(
            config, "hf_pipeline", json_pack("{s:o}", "model_name_or_path", view_text(job->model)));
    char *text = json_dumps(config, JSON_COMPACT);
    json_decref(config);
    size_t quotes = 0, used = 0;
    for (const char *p = text; p && *p; p++)
        quotes += *p == '\'';
    char *line = malloc(strlen("lumigrid --config ''") + (text ? strlen(text) : 0) + quotes * 5 + 1);
    json_t *value = json_null();
    if (text && line) {
        used = (size_t)sprintf(line, "lumigrid --config '");
        for (const char *p = text; *p; p++)
            used += (size_t)(*p == '\'' ? sprintf(line + used, "\\u0027") : sprintf(line + used, "%c", *p));
        sprintf(line + used, "'");
        value = json_string(line);
    }
    free(line);
    free(text);
    return value;
}

static void add_ray_fields(json_t *value, const struct store_job *job)
{
    json_t *metadata = json_pack(
        "{s:s, s:o}", "job_type", store_job_kind_name(job->kind), "dataset", view_text(job->dataset_id));
    json_object_set_new(value, "type", json_string("SUBMISSION"));
    json_object_set_new(value, "job_id", json_string(job->id));
    json_object_set_new(value, "submission_id", json_string(job->id));
    json_object_set_new(value, "driver_info", json_null());
    json_object_set_new(value, "entrypoint", entrypoint(job));
    json_object_set_new(value, "message", message_of(job));
    json_object_set_new(value, "error_type", json_null());
    json_object_set_new(value, "start_time", view_time(job->started_ms ? job->started_ms : job->created_ms));
    json_object_set_new(value, "end_time", view_time(job->finished_ms));
    json_object_set_new(value, "metadata", metadata);
    json_object_set_new(value, "runtime_env", json_object());
    json_object_set_new(value, "driver_agent_http_address", json_null());
    json_object_set_new(value, "driver_node_id", json_null());
    json_object_set_new(value, "driver_exit_code",
        job->finished_ms == 0 ? json_null() : json_integer(job->status != STORE_JOB_SUCCEEDED));
}

json_t *view_ray_job(const struct store_job *job)
{
    json_t *value = json_pack("{s:s}", "status", ray_status(job->status));
    add_ray_fields(value, job);
    return value;
}

json_t *view_job_details(const struct api *api, const struct store_job *job)
{
    json_t *value = view_job(api, job);
    add_ray_fields(value, job);
    json_object_set_new(value, "progress", view_progress(api, job));
    return value;
}
