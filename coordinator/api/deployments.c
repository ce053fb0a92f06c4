/* Deployments of the first API: a model with a name, asked about single texts. */
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/log.h"
#include "coordinator/api/handlers.h"
#include "coordinator/api/model_reference.h"
#include "coordinator/api/query.h"
#include "coordinator/api/server.h"
#include "coordinator/api/views.h"
#include "coordinator/store/store.h"

static json_t *view(const struct store_deployment *d)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:o}", "id", d->id, "name", d->name, "description",
        d->description, "model", d->model, "status", d->status, "created_at", view_time(d->created_ms),
        "updated_at", view_time(d->updated_ms));
}

static json_t *settings(void)
{
    return json_pack("{s:s, s:{s:i, s:i, s:i, s:b}}", "task", "summarization", "generation_config",
        "min_length", 30, "max_length", 1024, "num_beams", 1, "do_sample", 0);
}

/* ---- making one: its first query loads the model ---- */

struct warming {
    struct store *store;
    char id[STORE_ID_BYTES];
};

static void on_status(void *context, const struct error *err)
{
    (void)context;
    if (err && err->code != ERROR_NOT_FOUND) /* deleted meanwhile */
        log_error_value(LOG_LEVEL_WARN, "a deployment's status is not written", err);
}

static void on_warm(void *context, json_t *prediction, unsigned status, const struct error *err)
{
    struct warming *warming = context;
    (void)status;
    if (err)
        log_error_value(LOG_LEVEL_WARN, "a deployment does not answer", err);
    store_deployment_status(warming->store, warming->id, prediction ? "running" : "failed", on_status, NULL);
    json_decref(prediction);
    free(warming);
}

static void on_made(void *context, const struct store_deployment *deployment, const struct error *err)
{
    struct request *request = context;
    if (err) {
        request_answer_error(request, err);
        return;
    }
    struct warming *warming = alloc_zero(1, sizeof(*warming));
    json_t *text = json_string("This text is summarized once, so that the model is loaded.");
    const struct query_spec spec = {deployment->name, deployment->model, settings(), text, request->actor};
    warming->store = request->api->store;
    memcpy(warming->id, deployment->id, sizeof(warming->id));
    query_start(request->api, &spec, on_warm, warming);
    json_decref(text);
    request_add_header(request, "Location", "/api/v1/ground-truth/deployments/%s", deployment->id);
    request_answer_json(request, MHD_HTTP_CREATED, view(deployment));
}

static int64_t wish(const struct request *request, const char *name)
{
    return json_integer_value(json_object_get(request->json, name));
}

void handle_deployment_create(struct request *request)
{
    json_t *model = json_object_get(request->json, "model");
    struct error err;
    struct store_deployment deployment = {
        .description = "Answers single texts",
        .model = json_is_string(model) ? json_string_value(model) : request->api->options.deployment_model,
        .num_gpus = wish(request, "num_gpus"),
        .num_cpus = wish(request, "num_cpus"),
        .num_replicas = wish(request, "num_replicas"),
    };
    if (!model_reference_check(deployment.model, &err)) {
        request_answer_invalid(request, "body", "model", "value_error", err.message, model);
        return;
    }
    store_id_new(deployment.id);
    char *name = alloc_format("deployment-%.8s", deployment.id);
    deployment.name = name;
    store_deployment_insert(request->api->store, &deployment, on_made, request);
    free(name);
}

/* ---- asking one ---- */

static void on_answer(void *context, json_t *prediction, unsigned status, const struct error *err)
{
    struct request *request = context;
    if (err)
        query_answer_failure(request, status, err);
    else
        request_answer_json(
            request, MHD_HTTP_OK, json_pack("{s:{s:o}}", "deployment_response", "result", prediction));
}

static void on_asked(void *context, const struct store_deployment *deployment, const struct error *err)
{
    struct request *request = context;
    if (err) {
        request_answer_error(request, err);
        return;
    }
    const struct query_spec spec = {deployment->name, deployment->model, settings(),
        json_object_get(request->json, "text"), request->actor};
    query_start(request->api, &spec, on_answer, request);
}

void handle_deployment_query(struct request *request)
{
    store_deployment_get(request->api->store, request_parameter(request, 0), on_asked, request);
}

/* ---- the rest ---- */

static void on_list(
    void *context, const struct store_deployment *items, size_t count, const struct error *err)
{
    struct request *request = context;
    if (err) {
        request_answer_error(request, err);
        return;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, view(&items[i]));
    request_answer_json(request, MHD_HTTP_OK, view_listing(count, list));
}

void handle_deployment_list(struct request *request)
{
    store_deployment_list(request->api->store, on_list, request);
}

static void on_running(
    void *context, const struct store_deployment *items, size_t count, const struct error *err)
{
    struct request *request = context;
    if (err) {
        request_answer_error(request, err);
        return;
    }
    json_t *running = json_object();
    for (size_t i = 0; i < count; i++)
        if (strcmp(items[i].status, "running") == 0)
            json_object_set_new(running, items[i].name, view(&items[i]));
    request_answer_json(request, MHD_HTTP_OK, running);
}

void handle_health_deployments(struct request *request)
{
    store_deployment_list(request->api->store, on_running, request);
}

void handle_deployment_delete(struct request *request)
{
    store_deployment_delete(
        request->api->store, request_parameter(request, 0), request_answer_deleted, request);
}
