#include "coordinator/api/submission.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/log.h"
#include "common/outbound.h"
#include "coordinator/api/metric_table.h"
#include "coordinator/api/model_reference.h"
#include "coordinator/api/server.h"
#include "coordinator/api/views.h"
#include "coordinator/scheduler/scheduler.h"

struct pending {
    struct request *request;
    struct submission submission;
    char dataset_id[STORE_ID_BYTES], experiment_id[STORE_ID_BYTES];
    const char *metrics[SUBMISSION_METRICS_MAX];
    size_t metric_count;
};

static void pending_free(struct pending *p)
{
    json_decref(p->submission.metrics);
    json_decref(p->submission.settings);
    json_decref(p->submission.evaluation);
    free(p);
}

/* What the submission's fields are members of, but for the dataset. */
static json_t *fields_of(const struct pending *p)
{
    return p->submission.nested ? json_object_get(p->request->json, "job_config") : p->request->json;
}

static void refuse(struct pending *p, const char *field, const char *msg)
{
    json_t *loc = json_pack("[s]", "body"), *from = p->request->json, *problem;
    if (p->submission.nested && strcmp(field, "dataset") != 0) {
        json_array_append_new(loc, json_string("job_config"));
        from = fields_of(p);
    }
    json_array_append_new(loc, json_string(field));
    problem = json_pack("{s:s, s:o, s:s, s:O*}", "type", "value_error", "loc", loc, "msg", msg, "input",
        json_object_get(from, field));
    request_answer_json(p->request, MHD_HTTP_UNPROCESSABLE_CONTENT, json_pack("{s:[o]}", "detail", problem));
    pending_free(p);
}

/* ---- what the connected workers can do ---- */

struct ability {
    const char *wanted;
    bool metric; /* else a scheme */
    bool found;
    size_t workers;
    char known[512];
};

static void note(struct ability *a, const char *name)
{
    size_t len = strlen(name), used = strlen(a->known);
    a->found = a->found || strcmp(name, a->wanted) == 0;
    for (const char *p = a->known; (p = strstr(p, name)); p += len)
        if ((p == a->known || p[-1] == ' ') && (p[len] == ',' || p[len] == '\0'))
            return;
    snprintf(a->known + used, sizeof(a->known) - used, "%s%s", used ? ", " : "", name);
}

static void on_worker(void *context, const struct api_worker *worker)
{
    struct ability *a = context;
    if (strcmp(worker->state, "lost") == 0)
        return;
    a->workers++;
    for (size_t i = 0; i < (a->metric ? worker->metric_count : worker->scheme_count); i++)
        note(a, a->metric ? worker->metrics[i] : worker->schemes[i]);
}

static struct ability ask_workers(const struct api *api, const char *wanted, bool metric)
{
    struct ability a = {.wanted = wanted, .metric = metric};
    api->cluster.workers(api->cluster.context, on_worker, &a);
    return a;
}

/* ---- checks ---- */

static bool check_metric(struct pending *p, const char *name)
{
    char msg[1024], names[512];
    if (!metric_table_find(name)) {
        metric_table_names(names, sizeof(names));
        snprintf(msg, sizeof(msg), "There is no metric \"%.60s\"; known are: %s", name, names);
        refuse(p, "metrics", msg);
        return false;
    }
    struct ability a = ask_workers(p->request->api, name, true);
    if (a.workers > 0 && !a.found) {
        snprintf(msg, sizeof(msg), "No connected worker computes \"%s\"; they compute: %s", name, a.known);
        refuse(p, "metrics", msg);
        return false;
    }
    return true;
}

/* What a task is scored by when nobody says: its first metric, and those of the rest that a worker computes.
 */
static json_t *default_metrics(const struct pending *p)
{
    static const struct {
        const char *task, *metrics[4];
    } DEFAULTS[] = {{"translation", {"bleu", "meteor"}}, {"text-generation", {"rouge", "bleu", "meteor"}},
        {"summarization", {"rouge", "meteor"}}};
    size_t i = 0, last = sizeof(DEFAULTS) / sizeof(DEFAULTS[0]) - 1;
    while (i < last && (!p->submission.task || strcmp(DEFAULTS[i].task, p->submission.task) != 0))
        i++;
    json_t *metrics = json_array();
    for (size_t k = 0; k < 4 && DEFAULTS[i].metrics[k]; k++)
        if (k == 0 || ask_workers(p->request->api, DEFAULTS[i].metrics[k], true).found)
            json_array_append_new(metrics, json_string(DEFAULTS[i].metrics[k]));
    return metrics;
}

static bool check_metrics(struct pending *p)
{
    size_t i;
    json_t *name;
    if (!p->submission.metrics)
        p->submission.metrics = default_metrics(p);
    json_array_foreach(p->submission.metrics, i, name)
    {
        const char *text = json_string_value(name);
        bool seen = false;
        for (size_t k = 0; k < p->metric_count; k++)
            seen = seen || strcmp(p->metrics[k], text) == 0;
        if (seen)
            continue;
        if (!check_metric(p, text))
            return false;
        if (p->metric_count < SUBMISSION_METRICS_MAX)
            p->metrics[p->metric_count++] = text;
    }
    return true;
}

static bool check_model(struct pending *p)
{
    const struct api *api = p->request->api;
    const char *model = p->submission.model;
    struct error err;
    char scheme[16], msg[800];
    const char *url = json_string_value(json_object_get(p->submission.settings, "base_url"));
    if (model[0] == '\0')
        return true;
    if (!model_reference_check(model, &err)) {
        refuse(p, "model", err.message);
        return false;
    }
    model_reference_scheme(model, scheme, sizeof(scheme));
    if (!url && strncmp(scheme, "http", 4) == 0)
        url = model;
    if (url && !outbound_url_allowed(url, api->options.outbound_hosts, NULL, &err)) {
        snprintf(msg, sizeof(msg), "%s; %s", err.message, err.hint);
        refuse(p,
            url == model                                 ? "model"
            : p->submission.kind == STORE_JOB_EXPERIMENT ? "model_url"
                                                         : "base_url",
            msg);
        return false;
    }
    struct ability a = ask_workers(api, scheme, false);
    if (a.workers > 0 && !a.found) {
        snprintf(msg, sizeof(msg), "No connected worker runs %s:// models; they run: %s", scheme, a.known);
        refuse(p, "model", msg);
        return false;
    }
    return true;
}

/* ---- the way into the store and the scheduler ---- */

static void on_unscheduled(
    void *context, const struct store_job *job, const struct store_job *next, const struct error *err)
{
    (void)next;
    (void)context;
    (void)job;
    if (err)
        log_error_value(
            LOG_LEVEL_ERROR, "a job that could not be scheduled stays unfinished until the next start", err);
}

static void on_workflow(void *context, const struct store_workflow *workflow, const struct error *err)
{
    struct request *request = context;
    if (err)
        request_answer_error(request, err);
    else
        request_answer_json(request, MHD_HTTP_CREATED, view_workflow(workflow));
}

static void answer_made(struct pending *p, const struct store_job *job)
{
    struct request *request = p->request;
    bool experiment = job->kind == STORE_JOB_EXPERIMENT;
    if (job->workflow_id) {
        request_add_header(request, "Location", "/api/v1/workflows/%s", job->workflow_id);
        store_workflow_get(request->api->store, job->workflow_id, on_workflow, request);
    } else {
        request_add_header(
            request, "Location", "/api/v1/%s/%s", experiment ? "experiments" : "jobs", job->id);
        request_answer_json(request, MHD_HTTP_CREATED,
            experiment ? view_experiment(request->api, job) : view_job(request->api, job));
    }
    pending_free(p);
}

static void on_inserted(void *context, const struct store_job *job, const struct error *err)
{
    struct pending *p = context;
    struct request *request = p->request;
    struct error own;
    if (err) {
        request_answer_error(request, err);
        pending_free(p);
        return;
    }
    struct scheduler_job_spec spec = {
        .id = job->id,
        .model = job->model,
        .metrics = job->metrics,
        .metric_count = job->metric_count,
        .sample_count = job->sample_count,
        .weight = ldexp(1, job->priority),
        .timeout_ms = (uint64_t)job->timeout_s * 1000,
    };
    /* CONFLICT: the recovery of unfinished jobs found the row first, and scheduled it. */
    if (!scheduler_job_add(request->api->scheduler, &spec, uv_now(request->api->loop), &own) &&
        own.code != ERROR_CONFLICT) {
        store_job_finish(request->api->store, job->id, STORE_JOB_FAILED, &own, on_unscheduled, NULL);
        request_answer_error(request, &own);
        pending_free(p);
        return;
    }
    log_info("job submitted", "job", job->id, "kind", store_job_kind_name(job->kind), "model",
        job->model ? job->model : "-", "samples", LOG_INT(job->sample_count), "request_id", request->id,
        "actor", request->actor);
    answer_made(p, job);
}

static void insert(struct pending *p)
{
    struct submission *s = &p->submission;
    struct store *store = p->request->api->store;
    char *settings = json_dumps(s->settings, JSON_COMPACT);
    char *evaluation = s->evaluation ? json_dumps(s->evaluation, JSON_COMPACT) : NULL;
    char *body = json_dumps(p->request->json, JSON_COMPACT);
    struct store_job job = {
        .kind = s->kind,
        .name = s->name,
        .description = s->description ? s->description : "",
        .dataset_id = p->dataset_id,
        .model = s->model[0] ? s->model : NULL,
        .settings = settings,
        .request = body,
        .owner = p->request->actor,
        .max_samples = s->max_samples,
        .priority = s->priority,
        .timeout_s = s->timeout_s,
        .output_field = s->output_field,
    };
    if (s->experiment_id) {
        const struct store_workflow workflow = {
            .experiment_id = p->experiment_id,
            .name = s->name,
            .description = s->description,
            .model = json_string_value(json_object_get(p->request->json, "model")),
            .request = body,
            .owner = p->request->actor,
            .metrics = p->metrics,
            .metric_count = p->metric_count,
            .settings = evaluation,
            .timeout_s = s->timeout_s,
        };
        store_workflow_insert(store, &workflow, &job, on_inserted, p);
    } else {
        job.metrics = p->metrics;
        job.metric_count = p->metric_count;
        store_job_insert(store, &job, on_inserted, p);
    }
    free(settings);
    free(evaluation);
    free(body);
}

/* Whether the dataset holds what is scored. */
static bool check_dataset(struct pending *p, const struct store_dataset *dataset)
{
    char msg[512];
    for (size_t i = 0; i < p->metric_count && !dataset->ground_truth; i++) {
        if (!metric_table_find(p->metrics[i])->needs_reference)
            continue;
        snprintf(msg, sizeof(msg),
            "The dataset has no ground_truth, which the metric \"%s\" needs; send \"metrics\": [] for "
            "predictions only",
            p->metrics[i]);
        refuse(p, p->submission.experiment_id ? "metrics" : "dataset", msg);
        return false;
    }
    if (p->submission.kind == STORE_JOB_EVALUATOR && !dataset->predictions) {
        refuse(p, "dataset",
            "The dataset has no column \"predictions\" with content, which is what is evaluated");
        return false;
    }
    return true;
}

struct looking {
    struct request *request;
    void (*then)(struct request *request, const struct store_dataset *dataset);
};

static void on_dataset(void *context, const struct store_dataset *dataset, const struct error *err)
{
    struct looking looking = *(struct looking *)context;
    free(context);
    if (err)
        request_answer_error(looking.request, err);
    else
        looking.then(looking.request, dataset);
}

void submission_with_dataset(struct request *request, const char *dataset_id,
    void (*then)(struct request *request, const struct store_dataset *dataset))
{
    struct looking *looking = alloc_zero(1, sizeof(*looking));
    *looking = (struct looking){request, then};
    store_dataset_get(request->api->store, dataset_id, on_dataset, looking);
}

/* Which encoder scores, for the workers: what the submission names, else what this coordinator was told to
 * take. */
static void name_encoder(struct pending *p)
{
    const json_t *from = fields_of(p);
    json_t *settings = p->submission.evaluation ? p->submission.evaluation : p->submission.settings;
    json_t *model = json_object_get(from, "bertscore_model"),
           *layer = json_object_get(from, "bertscore_layer");
    json_t *encoder = json_object();
    if (json_is_string(model))
        json_object_set(encoder, "model", model);
    else if (p->request->api->options.bertscore_model)
        json_object_set_new(encoder, "model", json_string(p->request->api->options.bertscore_model));
    if (json_is_integer(layer))
        json_object_set(encoder, "layer", layer);
    for (size_t i = 0; settings && i < p->metric_count; i++)
        if (strcmp(p->metrics[i], "bertscore") == 0)
            json_object_set(settings, "bertscore", encoder);
    json_decref(encoder);
}

static bool check_encoder(struct pending *p)
{
    const char *model = json_string_value(json_object_get(fields_of(p), "bertscore_model"));
    struct error err;
    if (!model || model_reference_check(model, &err))
        return true;
    refuse(p, "bertscore_model", err.message);
    return false;
}

void submission_start(
    struct request *request, const struct submission *submission, const struct store_dataset *dataset)
{
    struct pending *p = alloc_zero(1, sizeof(*p));
    p->request = request;
    p->submission = *submission;
    snprintf(p->dataset_id, sizeof(p->dataset_id), "%s", dataset->id);
    if (submission->experiment_id)
        snprintf(p->experiment_id, sizeof(p->experiment_id), "%s", submission->experiment_id);
    json_incref(p->submission.metrics);
    if (check_model(p) && check_metrics(p) && check_encoder(p) && check_dataset(p, dataset)) {
        name_encoder(p);
        insert(p);
    }
}
