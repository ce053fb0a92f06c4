#include <stdlib.h>
#include <string.h>

#include "worker/tools/tool.h"

static const struct config_option options[] = {
    {"models", "DIR", NULL, "the model cache; the Hugging Face cache otherwise", false, false},
    {"task", "TASK", NULL, "show the settings for this task, such as summarization", false, false},
    {"json", NULL, NULL, "one JSON object", false, false},
    {0},
};

static json_t *tensors_to_json(const struct model *model, json_int_t *parameters, json_int_t *bytes)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < model_tensor_count(model); i++) {
        const struct tensor_view *view = model_tensor_at(model, i);
        json_t *shape = json_array();
        json_int_t elements = 1;
        for (int d = 0; d < view->rank; d++) {
            json_array_append_new(shape, json_integer(view->shape[d]));
            elements *= view->shape[d];
        }
        *parameters += elements;
        *bytes += (json_int_t)view->bytes;
        json_array_append_new(
            list, json_pack("{ss ss so sI}", "name", view->name, "dtype", dtype_name(view->dtype), "shape",
                      shape, "bytes", (json_int_t)view->bytes));
    }
    return list;
}

static json_t *tokenizer_to_json(const struct tokenizer *tokenizer)
{
    if (!tokenizer)
        return json_null();
    size_t longest = tokenizer_max_length(tokenizer);
    return json_pack("{ss sI so sb ss}", "kind", tokenizer_kind(tokenizer), "vocabulary",
        (json_int_t)tokenizer_vocabulary_size(tokenizer), "max_length",
        longest == SIZE_MAX ? json_null() : json_integer((json_int_t)longest), "chat_template",
        tokenizer_has_chat(tokenizer), "digest", tokenizer_digest(tokenizer));
}

static json_t *describe(struct model *model, const char *task, struct error *err)
{
    struct generation_settings settings;
    json_int_t parameters = 0, bytes = 0;
    const char *digest = model_digest(model, err);
    if (!digest || !engine_settings_from_model(model, task, &settings, err))
        return NULL;
    json_t *tensors = tensors_to_json(model, &parameters, &bytes);
    json_t *object = json_pack("{ss ss ss sI sI so so sO so}", "reference", model_reference(model),
        "architecture", model_type(model), "digest", digest, "parameters", parameters, "bytes", bytes,
        "tokenizer", tokenizer_to_json(model_tokenizer(model)), "settings",
        engine_settings_to_json(&settings), "config", model_config(model), "tensors", tensors);
    engine_settings_free(&settings);
    if (!object)
        error_set(err, ERROR_MEMORY, "out of memory");
    return object;
}

static void print_value(const char *indent, const char *name, const json_t *value)
{
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(6));
    printf("%s%-24s %s\n", indent, name, json_is_string(value) ? json_string_value(value) : text ? text : "");
    free(text);
}

static void print_object(const char *title, const json_t *object)
{
    const char *name;
    json_t *value;
    if (json_is_null(object)) {
        printf("\n%s: none\n", title);
        return;
    }
    printf("\n%s\n", title);
    json_object_foreach((json_t *)object, name, value) print_value("  ", name, value);
}

static void print_tensors(const json_t *tensors)
{
    size_t i;
    json_t *tensor;
    printf("\ntensors (%zu)\n", json_array_size(tensors));
    json_array_foreach(tensors, i, tensor)
    {
        char *shape = json_dumps(json_object_get(tensor, "shape"), 0);
        printf("  %-72s %-5s %-18s %12lld bytes\n", json_string_value(json_object_get(tensor, "name")),
            json_string_value(json_object_get(tensor, "dtype")), shape ? shape : "",
            (long long)json_integer_value(json_object_get(tensor, "bytes")));
        free(shape);
    }
}

static bool run(const struct config *config, bool *usage_error, struct error *err)
{
    static const char *const first[] = {"reference", "architecture", "digest", "parameters", "bytes"};
    struct model_options model_options = {.cache_dir = config_text(config, "models")};
    const char *reference = config_argument(config, 0);
    struct model *model = NULL;
    if (!reference || config_argument(config, 1)) {
        *usage_error = true;
        return error_set(err, ERROR_INVALID, "give one model reference");
    }
    json_t *object = NULL;
    if (model_open(reference, &model_options, &model, err))
        object = describe(model, config_text(config, "task"), err);
    bool fine = object != NULL;
    if (fine && config_switch(config, "json")) {
        fine = output_line(stdout, object, err);
    } else if (fine) {
        for (size_t i = 0; i < sizeof first / sizeof *first; i++)
            print_value("", first[i], json_object_get(object, first[i]));
        print_object("tokenizer", json_object_get(object, "tokenizer"));
        print_object("settings", json_object_get(object, "settings"));
        print_tensors(json_object_get(object, "tensors"));
    }
    json_decref(object);
    model_close(model);
    return fine;
}

const struct tool tool_inspect = {"inspect",
    "REF [--json]\n\nWhat a model is: architecture, tensors, sizes, digest, tokenizer, settings.", options,
    run};
