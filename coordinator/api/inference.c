#include "coordinator/api/inference.h"

#include <stdio.h>
#include <string.h>

#include "common/languages.h"
#include "common/outbound.h"
#include "coordinator/api/model_reference.h"
#include "coordinator/api/server.h"

static const char *text_of(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

/* 422 for a field of the object that `config` is. */
static bool refuse(struct request *request, const json_t *config, const char *field, const char *msg)
{
    json_t *loc = config == request->json ? json_pack("[s,s]", "body", field)
                                          : json_pack("[s,s,s]", "body", "job_config", field);
    json_t *problem = json_pack("{s:s, s:o, s:s, s:O*}", "type", "value_error", "loc", loc, "msg", msg,
        "input", json_object_get(config, field));
    request_answer_json(request, MHD_HTTP_UNPROCESSABLE_CONTENT, json_pack("{s:[o]}", "detail", problem));
    return false;
}

/* Where each provider's models are reached. A name that is a reference already is kept. */
bool inference_model(struct request *request, const json_t *config, char *reference, size_t size)
{
    static const struct {
        const char *provider, *scheme;
    } SCHEMES[] = {{"hf", "hf://"}, {"openai", "oai://"}, {"mistral", "mistral://"}, {"deepseek", "oai://"},
        {"hosted_vllm", "oai://"}};
    const char *model = text_of(config, "model"), *provider = text_of(config, "provider");
    const char *revision = text_of(config, "revision");
    bool pinned = strcmp(provider, "hf") == 0 && revision && *revision && strcmp(revision, "main") != 0;
    if (json_is_true(json_object_get(config, "trust_remote_code")))
        return refuse(request, config, "trust_remote_code", "Code that comes with a model is never run here");
    if (strcmp(provider, "hosted_vllm") == 0 && !text_of(config, "base_url"))
        return refuse(request, config, "base_url", "The provider hosted_vllm needs a base_url");
    if (strstr(model, "://")) {
        snprintf(reference, size, "%s", model);
        return true;
    }
    for (size_t i = 0; i < sizeof(SCHEMES) / sizeof(SCHEMES[0]); i++)
        if (strcmp(SCHEMES[i].provider, provider) == 0)
            snprintf(reference, size, "%s%s%s%s", SCHEMES[i].scheme, model, pinned ? "@" : "",
                pinned ? revision : "");
    return true;
}

bool inference_languages(struct request *request, const json_t *config, const json_t *task_definition)
{
    static const char *const SIDES[] = {"source_language", "target_language"};
    const char *task = text_of(task_definition, "task");
    char msg[256];
    for (size_t i = 0; i < 2 && task && strcmp(task, "translation") == 0; i++) {
        const char *language = text_of(task_definition, SIDES[i]);
        if (language_find(language))
            continue;
        snprintf(msg, sizeof(msg), "The %s \"%.40s\" is not known: use its English name or its ISO 639 code",
            SIDES[i], language);
        return refuse(request, config, "task_definition", msg);
    }
    return true;
}

bool inference_task(struct request *request, const json_t *config, const json_t *task_definition)
{
    const char *task = text_of(task_definition, "task"), *prompt = text_of(config, "system_prompt");
    if (task && strcmp(task, "text-generation") == 0 && (!prompt || !*prompt))
        return refuse(request, config, "system_prompt", "The task text-generation needs a system_prompt");
    return inference_languages(request, config, task_definition);
}

bool inference_output(struct request *request, const json_t *config, const char *member)
{
    const char *name = text_of(config, member);
    if (!name)
        return true;
    if (!*name || strcmp(name, "examples") == 0 || strpbrk(name, "\r\n"))
        return refuse(request, config, member, "Predictions cannot be stored in a column of this name");
    return true;
}

static json_t *task_settings(const json_t *task_definition)
{
    const char *task = text_of(task_definition, "task");
    if (!task || strcmp(task, "translation") != 0)
        return json_pack("{s:s}", "task", task ? task : "summarization");
    const char *from = language_find(text_of(task_definition, "source_language"))->code;
    const char *to = language_find(text_of(task_definition, "target_language"))->code;
    return json_pack("{s:o, s:s, s:s}", "task", json_sprintf("translation_%s_to_%s", from, to),
        "source_language", from, "target_language", to);
}

static void copy_members(json_t *to, const json_t *from, const char *const *names)
{
    for (; *names; names++) {
        json_t *value = json_object_get(from, *names);
        bool empty = json_is_string(value) && json_string_length(value) == 0;
        if (value && !json_is_null(value) && !empty)
            json_object_set(to, *names, value);
    }
}

json_t *inference_settings(const json_t *config, const json_t *task_definition)
{
    static const char *const COPIED[] = {
        "system_prompt", "base_url", "generation_config", "secret_key_name", "provider", NULL};
    const char *dtype = text_of(config, "torch_dtype");
    json_t *settings = task_settings(task_definition);
    copy_members(settings, config, COPIED);
    json_object_set_new(settings, "dtype", json_string(dtype ? dtype : "auto"));
    return settings;
}

bool evaluation_check(struct request *request, const json_t *config)
{
    const char *url = text_of(json_object_get(config, "llm_as_judge"), "model_base_url");
    struct error err;
    char msg[800];
    if (!url || outbound_url_allowed(url, request->api->options.outbound_hosts, NULL, &err))
        return true;
    snprintf(msg, sizeof(msg), "model_base_url: %s; %s", err.message, err.hint);
    return refuse(request, config, "llm_as_judge", msg);
}

json_t *evaluation_settings(const json_t *config, const json_t *task_definition)
{
    static const char *const COPIED[] = {"llm_as_judge", "secret_key_name", NULL};
    json_t *settings = task_settings(task_definition);
    copy_members(settings, config, COPIED);
    return settings;
}
