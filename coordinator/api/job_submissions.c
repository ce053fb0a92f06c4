/* POST /jobs/inference, /jobs/annotate, /jobs/evaluator: the second API's jobs. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "coordinator/api/handlers.h"
#include "coordinator/api/server.h"
#include "coordinator/api/submission.h"
#include "coordinator/api/views.h"

static const char *text_of(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

/* 422 for a field of job_config. */
static bool refuse(struct request *request, const char *field, const char *msg, json_t *input)
{
    json_t *problem = json_pack("{s:[{s:s, s:[s,s,s], s:s, s:O?}]}", "detail", "type", "value_error", "loc",
        "body", "job_config", field, "msg", msg, "input", input);
    request_answer_json(request, MHD_HTTP_UNPROCESSABLE_CONTENT, problem);
    return false;
}

/* Where each provider's models are reached. A name that is a reference already is kept. */
static bool model_of(struct request *request, const json_t *config, struct submission *out)
{
    static const struct {
        const char *provider, *scheme;
    } SCHEMES[] = {{"hf", "hf://"}, {"openai", "oai://"}, {"mistral", "mistral://"}, {"deepseek", "oai://"},
        {"hosted_vllm", "oai://"}};
    const char *model = text_of(config, "model"), *provider = text_of(config, "provider");
    const char *revision = text_of(config, "revision");
    bool hub = strcmp(provider, "hf") == 0;
    if (json_is_true(json_object_get(config, "trust_remote_code")))
        return refuse(request, "trust_remote_code", "Code that comes with a model is never run here",
            json_object_get(config, "trust_remote_code"));
    if (strcmp(provider, "hosted_vllm") == 0 && !text_of(config, "base_url"))
        return refuse(request, "base_url", "The provider hosted_vllm needs a base_url", NULL);
    if (strstr(model, "://")) {
        snprintf(out->model, sizeof(out->model), "%s", model);
        return true;
    }
    for (size_t i = 0; i < sizeof(SCHEMES) / sizeof(SCHEMES[0]); i++)
        if (strcmp(SCHEMES[i].provider, provider) == 0)
            snprintf(out->model, sizeof(out->model), "%s%s%s%s", SCHEMES[i].scheme, model,
                hub && revision && strcmp(revision, "main") != 0 ? "@" : "",
                hub && revision && strcmp(revision, "main") != 0 ? revision : "");
    return true;
}

/* "German" and "de" name the same; models are asked by the code. */
static const char *language_code(const char *name)
{
    static const struct {
        const char *name, *code;
    } LANGUAGES[] = {{"english", "en"}, {"german", "de"}, {"french", "fr"}, {"spanish", "es"},
        {"italian", "it"}, {"portuguese", "pt"}, {"dutch", "nl"}, {"romanian", "ro"}, {"polish", "pl"},
        {"russian", "ru"}, {"chinese", "zh"}, {"japanese", "ja"}, {"korean", "ko"}, {"arabic", "ar"},
        {"turkish", "tr"}, {"ukrainian", "uk"}, {"czech", "cs"}, {"swedish", "sv"}, {"hindi", "hi"},
        {"greek", "el"}};
    for (size_t i = 0; i < sizeof(LANGUAGES) / sizeof(LANGUAGES[0]); i++)
        if (strcasecmp(LANGUAGES[i].name, name) == 0)
            return LANGUAGES[i].code;
    return name;
}

static json_t *settings_of(const json_t *config)
{
    static const char *const COPIED[] = {"system_prompt", "base_url", "generation_config", "secret_key_name"};
    const json_t *definition = json_object_get(config, "task_definition");
    const char *task = text_of(definition, "task");
    json_t *settings = json_object();
    if (task && strcmp(task, "translation") == 0)
        json_object_set_new(settings, "task",
            json_sprintf("translation_%s_to_%s", language_code(text_of(definition, "source_language")),
                language_code(text_of(definition, "target_language"))));
    else
        json_object_set_new(settings, "task", json_string(task ? task : "summarization"));
    for (size_t i = 0; i < sizeof(COPIED) / sizeof(COPIED[0]); i++) {
        json_t *value = json_object_get(config, COPIED[i]);
        if (value && !json_is_null(value))
            json_object_set(settings, COPIED[i], value);
    }
    const char *dtype = text_of(config, "torch_dtype");
    json_object_set_new(settings, "dtype", json_string(dtype ? dtype : "auto"));
    return settings;
}

static bool check_task(struct request *request, const json_t *config)
{
    const char *task = text_of(json_object_get(config, "task_definition"), "task");
    const char *prompt = text_of(config, "system_prompt");
    if (task && strcmp(task, "text-generation") == 0 && (!prompt || !*prompt))
        return refuse(request, "system_prompt", "The task text-generation needs a system_prompt", NULL);
    return true;
}

static struct submission common(const struct request *request, enum store_job_kind kind)
{
    const json_t *body = request->json;
    return (struct submission){
        .kind = kind,
        .name = text_of(body, "name"),
        .description = text_of(body, "description"),
        .dataset_id = text_of(body, "dataset"),
        .max_samples = json_integer_value(json_object_get(body, "max_samples")),
    };
}

void handle_job_submit_inference(struct request *request)
{
    const json_t *config = json_object_get(request->json, "job_config");
    struct submission submission = common(request, STORE_JOB_INFERENCE);
    if (!model_of(request, config, &submission) || !check_task(request, config))
        return;
    if (json_is_true(json_object_get(config, "store_to_dataset"))) {
        refuse(request, "store_to_dataset", "Storing predictions as a dataset is not available yet", NULL);
        return;
    }
    json_t *none = json_array();
    submission.metrics = none;
    submission.settings = settings_of(config);
    submission_start(request, &submission, view_job);
    json_decref(none);
}

void handle_job_submit_evaluator(struct request *request)
{
    const json_t *config = json_object_get(request->json, "job_config");
    struct submission submission = common(request, STORE_JOB_EVALUATOR);
    json_t *metrics = json_object_get(config, "metrics");
    submission.metrics = json_is_array(metrics) ? metrics : NULL;
    submission.settings = settings_of(config);
    submission_start(request, &submission, view_job);
}

void handle_job_submit_annotate(struct request *request)
{
    request_answer_detail(request, MHD_HTTP_NOT_IMPLEMENTED,
        "annotate jobs are not available yet: run an inference job and upload its predictions as "
        "ground_truth");
}
