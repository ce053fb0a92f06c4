#include "worker/model/tokenizer/postprocessor.h"

#include <string.h>

enum { NESTING_MAX = 32, ITEMS_MAX = 4096 };

static bool load_pair(const json_t *json, const char *key, struct token_ids *out, struct error *err)
{
    const json_t *id = json_array_get(json_object_get(json, key), 1);
    if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) > INT32_MAX)
        return error_set(err, ERROR_INVALID, "the post-processor's \"%s\" is no pair of token and id", key);
    return token_ids_push(out, (int32_t)json_integer_value(id), err);
}

static bool load_special(const json_t *json, const json_t *item, struct token_ids *out, struct error *err)
{
    const char *name = json_string_value(json_object_get(item, "id"));
    const json_t *ids =
        name ? json_object_get(json_object_get(json_object_get(json, "special_tokens"), name), "ids") : NULL;
    if (!json_is_array(ids))
        return error_set(err, ERROR_INVALID, "the post-processor's template names an unknown token");
    size_t i;
    json_t *id;
    json_array_foreach(ids, i, id)
    {
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) > INT32_MAX)
            return error_set(err, ERROR_INVALID, "the post-processor's token \"%.60s\" has a bad id", name);
        if (!token_ids_push(out, (int32_t)json_integer_value(id), err))
            return false;
    }
    return true;
}

static bool load_template(const json_t *json, struct token_ids *out, struct error *err)
{
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(json, "single"), i, item)
    {
        const json_t *special = json_object_get(item, "SpecialToken");
        bool ok =
            special ? load_special(json, special, out, err) : token_ids_push(out, POSTPROCESSOR_TEXT, err);
        if (!ok)
            return false;
    }
    return true;
}

static bool load(const json_t *json, int depth, struct token_ids *out, struct error *err);

/* Each processor's result is the text of the next. */
static bool load_sequence(const json_t *json, int depth, struct token_ids *out, struct error *err)
{
    struct token_ids inner = {0};
    bool ok = token_ids_push(&inner, POSTPROCESSOR_TEXT, err);
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(json, "processors"), i, item)
    {
        struct token_ids outer = {0}, joined = {0};
        ok = ok && load(item, depth + 1, &outer, err) && postprocessor_run(&outer, &inner, &joined, err);
        if (ok && joined.count > ITEMS_MAX)
            ok = error_set(err, ERROR_TOO_LARGE, "the post-processor adds more than %d tokens", ITEMS_MAX);
        token_ids_free(&outer);
        token_ids_free(&inner);
        inner = joined;
    }
    for (size_t k = 0; ok && k < inner.count; k++)
        ok = token_ids_push(out, inner.ids[k], err);
    token_ids_free(&inner);
    return ok;
}

static bool load(const json_t *json, int depth, struct token_ids *out, struct error *err)
{
    const char *type = json_string_value(json_object_get(json, "type"));
    if (!type)
        return error_set(err, ERROR_INVALID, "a post-processor has no type");
    if (depth > NESTING_MAX)
        return error_set(err, ERROR_TOO_LARGE, "post-processors nest deeper than %d", NESTING_MAX);
    if (strcmp(type, "Sequence") == 0)
        return load_sequence(json, depth, out, err);
    if (strcmp(type, "TemplateProcessing") == 0)
        return load_template(json, out, err);
    if (strcmp(type, "RobertaProcessing") == 0 || strcmp(type, "BertProcessing") == 0)
        return load_pair(json, "cls", out, err) && token_ids_push(out, POSTPROCESSOR_TEXT, err) &&
               load_pair(json, "sep", out, err);
    if (strcmp(type, "ByteLevel") == 0) /* moves offsets only */
        return token_ids_push(out, POSTPROCESSOR_TEXT, err);
    return error_set(err, ERROR_UNSUPPORTED, "the post-processor \"%.60s\" is not known", type);
}

bool postprocessor_load(const json_t *json, struct token_ids *out, struct error *err)
{
    if (!json || json_is_null(json))
        return token_ids_push(out, POSTPROCESSOR_TEXT, err);
    return load(json, 0, out, err);
}

bool postprocessor_run(
    const struct token_ids *items, const struct token_ids *text, struct token_ids *out, struct error *err)
{
    for (size_t i = 0; i < items->count; i++) {
        if (items->ids[i] != POSTPROCESSOR_TEXT) {
            if (!token_ids_push(out, items->ids[i], err))
                return false;
            continue;
        }
        for (size_t k = 0; k < text->count; k++) {
            if (!token_ids_push(out, text->ids[k], err))
                return false;
        }
    }
    return true;
}
