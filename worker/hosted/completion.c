#include "worker/hosted/completion.h"

#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"

enum { NEW_TOKENS_GUESS = 256 };

/* A setting by its transformers name, and what the API calls it. */
static bool set_one(
    const struct target *target, json_t *body, const char *name, json_t *value, struct error *err)
{
    static const char *const SAME[] = {"temperature", "top_p", "frequency_penalty", "presence_penalty"};
    for (size_t i = 0; i < sizeof(SAME) / sizeof(SAME[0]); i++) {
        if (strcmp(name, SAME[i]) != 0)
            continue;
        if (!json_is_number(value))
            return error_set(err, ERROR_INVALID, "generation_config: %s is not a number", name);
        json_object_set(body, name, value);
        return true;
    }
    if (strcmp(name, "max_new_tokens") == 0) {
        if (!json_is_integer(value) || json_integer_value(value) < 1 || json_integer_value(value) > 10000000)
            return error_set(
                err, ERROR_INVALID, "generation_config: max_new_tokens is not a positive integer");
        json_object_set(body, target->own ? "max_completion_tokens" : "max_tokens", value);
    } else if (strcmp(name, "stop_strings") == 0) {
        if (!json_is_array(value) && !json_is_string(value))
            return error_set(err, ERROR_INVALID, "generation_config: stop_strings is not a list of strings");
        json_object_set(body, "stop", value);
    } else {
        return error_set(err, ERROR_INVALID,
            "generation_config: a hosted model takes max_new_tokens, temperature, top_p, frequency_penalty, "
            "presence_penalty and stop_strings, not %.40s",
            name);
    }
    return true;
}

char *completion_request(const struct target *target, const struct hosted_request *request,
    uint32_t *new_tokens_max, struct error *err)
{
    const char *name;
    json_t *value, *body = json_pack("{s:s, s:[]}", "model", target->model, "messages");
    json_t *messages = json_object_get(body, "messages");
    json_t *text = json_stringn(request->text ? request->text : "", request->text_len);
    char *out = NULL;
    if (!body || !text) {
        error_set(err, ERROR_INVALID, "the text is not valid UTF-8");
        goto cleanup;
    }
    if (request->system_prompt && *request->system_prompt)
        json_array_append_new(
            messages, json_pack("{s:s, s:s}", "role", "system", "content", request->system_prompt));
    json_array_append_new(messages, json_pack("{s:s, s:O}", "role", "user", "content", text));
    if (request->seed)
        json_object_set_new(
            body, target->mistral ? "random_seed" : "seed", json_integer((json_int_t)(request->seed >> 1)));
    json_object_foreach((json_t *)request->generation, name, value)
    {
        if (!json_is_null(value) && !set_one(target, body, name, value, err))
            goto cleanup;
    }
    value = json_object_get(request->generation, "max_new_tokens");
    *new_tokens_max = json_is_integer(value) ? (uint32_t)json_integer_value(value) : NEW_TOKENS_GUESS;
    out = json_dumps(body, JSON_COMPACT);
cleanup:
    json_decref(text);
    json_decref(body);
    return out;
}

static uint32_t count_of(const json_t *usage, const char *name)
{
    json_int_t count = json_integer_value(json_object_get(usage, name));
    return count > 0 && count < UINT32_MAX ? (uint32_t)count : 0;
}

/* Content is a string, or a list of parts of which some are text. */
static const char *text_of(json_t *message)
{
    json_t *content = json_object_get(message, "content"), *part;
    size_t i;
    if (!json_is_array(content))
        return json_string_value(content);
    char *all = alloc_string("");
    json_array_foreach(content, i, part)
    {
        const char *text = json_string_value(json_object_get(part, "text"));
        char *longer = alloc_format("%s%s", all, text ? text : "");
        free(all);
        all = longer;
    }
    json_object_set_new(message, "content", json_string(all));
    free(all);
    return json_string_value(json_object_get(message, "content"));
}

bool completion_parse(
    const char *body, size_t size, json_t **root, struct hosted_answer *out, struct error *err)
{
    json_error_t where;
    *root = json_loadb(body ? body : "", size, 0, &where);
    if (!*root)
        return error_set(err, ERROR_UNAVAILABLE, "the answer is not JSON: %s", where.text);
    const json_t *choice = json_array_get(json_object_get(*root, "choices"), 0);
    json_t *message = json_object_get(choice, "message");
    const json_t *usage = json_object_get(*root, "usage");
    if (!json_is_object(message))
        return error_set(err, ERROR_UNAVAILABLE, "the answer is no chat completion");
    out->text = text_of(message);
    if (!out->text)
        return error_set(err, ERROR_INVALID, "the model answered without a text");
    out->text_len = strlen(out->text);
    out->prompt_tokens = count_of(usage, "prompt_tokens");
    out->new_tokens = count_of(usage, "completion_tokens");
    const char *reason = json_string_value(json_object_get(choice, "finish_reason"));
    out->finish_reason = reason ? reason : "stop";
    return true;
}
