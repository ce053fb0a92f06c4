/* lumigrid workflow … */
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "coordinator/cli/client.h"
#include "coordinator/cli/listing.h"

static const struct config_option SUBMIT_OPTIONS[] = {
    {"experiment", "ID", NULL, "an experiment without a model, or none: --dataset makes one", false, false},
    {"dataset", "ID", NULL, "makes an experiment over this dataset", false, false},
    {"model", "MODEL", NULL, "a model's name at its provider, or a reference", false, false},
    {"provider", "NAME", "hf", "hf, openai, mistral, deepseek or hosted_vllm", false, false},
    {"base-url", "URL", NULL, "where hosted_vllm is", false, false},
    {"secret", "NAME", NULL, "the secret that holds the provider's key", false, false},
    {"metrics", "a,b", NULL, "metrics to compute; the task's default otherwise", false, false},
    {"max-samples", "N", "-1", "at most this many samples, with --dataset; -1: all", false, false},
    {"source", "LANGUAGE", NULL, "with --dataset and --target: a translation, from this language", false,
        false},
    {"target", "LANGUAGE", NULL, "… to this one", false, false},
    {"name", "S", NULL, "a name; the model's otherwise", false, false},
    {"system-prompt", "TEXT", NULL, "for chat models", false, false},
    {"timeout-s", "N", "3600", "longest time of each of its jobs", false, false}, {0}};

static const struct config_option LIST_OPTIONS[] = {
    {"experiment", "ID", NULL, "only those of this experiment", false, false}, {0}};

static const struct config_option DELETE_OPTIONS[] = {
    {"force", NULL, NULL, "also while it is under way", false, false}, {0}};

static const struct listing_column COLUMNS[] = {{"ID", "id", LISTING_TEXT}, {"NAME", "name", LISTING_TEXT},
    {"MODEL", "model", LISTING_TEXT}, {"STATUS", "status", LISTING_STATUS},
    {"EXPERIMENT", "experiment_id", LISTING_TEXT}, {"CREATED", "created_at", LISTING_TIME}, {0}};

static const struct listing_column DETAILS[] = {{"id", "id", LISTING_TEXT}, {"name", "name", LISTING_TEXT},
    {"description", "description", LISTING_TEXT}, {"model", "model", LISTING_TEXT},
    {"experiment", "experiment_id", LISTING_TEXT}, {"status", "status", LISTING_STATUS},
    {"message", "message", LISTING_TEXT}, {"jobs", "jobs", LISTING_COUNT},
    {"metrics", "metrics", LISTING_TEXT}, {"created", "created_at", LISTING_TIME},
    {"updated", "updated_at", LISTING_TIME}, {0}};

static char *workflow_path(const struct command_context *context, const char *suffix)
{
    return alloc_format("/workflows/%s%s", command_argument(context, 0), suffix);
}

/* ---- submit ---- */

static void set_text(json_t *body, const char *field, const struct config *config, const char *option)
{
    const char *text = config_text(config, option);
    if (text)
        json_object_set_new(body, field, json_string(text));
}

static json_t *split(const char *names)
{
    json_t *list = json_array();
    while (*names) {
        size_t len = strcspn(names, ",");
        if (len > 0)
            json_array_append_new(list, json_stringn(names, len));
        names += len + (names[len] == ',');
    }
    return list;
}

/* The experiment that was named, or a new one over a dataset; owned by the caller. */
static char *experiment_of(const struct command_context *context, struct error *err)
{
    const struct config *config = context->config;
    const char *experiment = config_text(config, "experiment"), *dataset = config_text(config, "dataset");
    const char *source = config_text(config, "source"), *target = config_text(config, "target");
    int64_t samples = 0;
    if (experiment)
        return alloc_string(experiment);
    if (!dataset || !source != !target) {
        error_set(err, ERROR_INVALID,
            dataset ? "--source and --target come together" : "--experiment or --dataset is needed");
        return NULL;
    }
    if (!config_integer(config, "max-samples", -1, INT64_MAX, &samples, err))
        return NULL;
    json_t *task = source ? json_pack("{s:s, s:s, s:s}", "task", "translation", "source_language", source,
                                "target_language", target)
                          : json_pack("{s:s}", "task", "summarization");
    json_t *body = json_pack("{s:s, s:s, s:I, s:o}", "name", config_text(config, "model"), "dataset", dataset,
        "max_samples", (json_int_t)samples, "task_definition", task);
    json_t *made = client_call("POST", "/experiments/", body, err);
    const char *id = json_string_value(json_object_get(made, "id"));
    char *copy = id ? alloc_string(id) : NULL;
    json_decref(made);
    json_decref(body);
    return copy;
}

static json_t *body_of(const struct config *config, const char *experiment, int64_t timeout_s)
{
    const char *model = config_text(config, "model"), *name = config_text(config, "name");
    json_t *body = json_pack("{s:s, s:s, s:s, s:I}", "name", name ? name : model, "experiment_id", experiment,
        "model", model, "job_timeout_sec", (json_int_t)timeout_s);
    set_text(body, "provider", config, "provider");
    set_text(body, "base_url", config, "base-url");
    set_text(body, "secret_key_name", config, "secret");
    set_text(body, "system_prompt", config, "system-prompt");
    if (config_text(config, "metrics"))
        json_object_set_new(body, "metrics", split(config_text(config, "metrics")));
    return body;
}

static int submit(const struct command_context *context)
{
    struct error err = {0};
    int64_t timeout_s = 0;
    if (!config_text(context->config, "model")) {
        error_set(&err, ERROR_INVALID, "--model is needed");
        return command_fail(&err);
    }
    char *experiment = NULL;
    if (!config_integer(context->config, "timeout-s", 1, 31536000, &timeout_s, &err) ||
        !(experiment = experiment_of(context, &err)))
        return command_fail(&err);
    json_t *body = body_of(context->config, experiment, timeout_s);
    json_t *made = client_call("POST", "/workflows/", body, &err);
    free(experiment);
    json_decref(body);
    return listing_made(context, made, &err);
}

/* ---- list: experiments carry their workflows ---- */

static int list(const struct command_context *context)
{
    struct error err = {0};
    const char *only = config_text(context->config, "experiment");
    json_t *experiments, *workflows = json_array(), *one;
    size_t i;
    if (only) {
        char *path = alloc_format("/experiments/%s", only);
        json_t *experiment = client_call("GET", path, NULL, &err);
        experiments = experiment ? json_pack("[o]", experiment) : NULL;
        free(path);
    } else {
        experiments = client_list("/experiments/", SIZE_MAX, &err);
    }
    json_array_foreach(experiments, i, one) json_array_extend(workflows, json_object_get(one, "workflows"));
    if (experiments)
        listing_print(workflows, COLUMNS, context->json);
    json_decref(workflows);
    json_decref(experiments);
    return experiments ? EXIT_DONE : command_fail(&err);
}

static int show(const struct command_context *context)
{
    char *path = workflow_path(context, "");
    int status = listing_run_object(context, path, DETAILS);
    free(path);
    return status;
}

static int logs(const struct command_context *context)
{
    char *path = workflow_path(context, "/logs");
    int status = listing_run_logs(context, path);
    free(path);
    return status;
}

static int delete (const struct command_context *context)
{
    char *path = workflow_path(context, config_switch(context->config, "force") ? "?force=true" : "");
    int status = listing_call(context, "DELETE", path, "deleted");
    free(path);
    return status;
}

const struct command WORKFLOW_COMMANDS[] = {
    {"workflow submit", "", 0, 0, "run a model over an experiment's dataset, then score it", SUBMIT_OPTIONS,
        submit},
    {"workflow list", "", 0, 0, "all workflows, or those of an experiment", LIST_OPTIONS, list},
    {"workflow show", "ID", 1, 1, "one workflow, its jobs and metrics", NULL, show},
    {"workflow logs", "ID", 1, 1, "what happened in its jobs", NULL, logs},
    {"workflow delete", "ID", 1, 1, "delete it with its jobs and results", DELETE_OPTIONS, delete},
    {0},
};
