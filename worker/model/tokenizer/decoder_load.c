#include <stdlib.h>
#include <string.h>

#include "worker/model/tokenizer/decoder.h"

enum { NESTING_MAX = 32 };

void decoder_free(struct decoder *decoder)
{
    for (size_t i = 0; i < decoder->count; i++) {
        pattern_free(decoder->steps[i].from);
        free(decoder->steps[i].text);
    }
    free(decoder->steps);
    *decoder = (struct decoder){0};
}

static struct decoder_step *add(struct decoder *d, enum decoder_kind kind, struct error *err)
{
    struct decoder_step *steps = array_grow(d->steps, &d->capacity, d->count + 1, sizeof(*steps), err);
    if (!steps)
        return NULL;
    d->steps = steps;
    steps[d->count] = (struct decoder_step){.kind = kind};
    return &steps[d->count++];
}

static bool read_text(
    struct decoder_step *step, const json_t *json, const char *key, bool empty, struct error *err)
{
    const json_t *value = json_object_get(json, key);
    if (!json_is_string(value) || (!empty && !json_string_length(value)))
        return error_set(err, ERROR_INVALID, "a decoder's \"%s\" is no string or empty", key);
    step->text_len = json_string_length(value);
    step->text = malloc(step->text_len + 1);
    if (!step->text)
        return error_set(err, ERROR_MEMORY, "no memory for a decoder");
    memcpy(step->text, json_string_value(value), step->text_len + 1);
    return true;
}

static bool load_metaspace(struct decoder *d, const json_t *json, struct error *err)
{
    struct decoder_step *step = add(d, DECODER_METASPACE, err);
    if (!step || !read_text(step, json, "replacement", false, err))
        return false;
    const char *scheme = json_string_value(json_object_get(json, "prepend_scheme"));
    step->flag =
        scheme ? strcmp(scheme, "never") != 0 : !json_is_false(json_object_get(json, "add_prefix_space"));
    return true;
}

static bool load_replace(struct decoder *d, const json_t *json, struct error *err)
{
    struct decoder_step *step = add(d, DECODER_REPLACE, err);
    if (!step || !read_text(step, json, "content", true, err))
        return false;
    const json_t *pattern = json_object_get(json, "pattern");
    const json_t *literal = json_object_get(pattern, "String"), *regex = json_object_get(pattern, "Regex");
    if (json_is_string(literal))
        return pattern_literal(json_string_value(literal), json_string_length(literal), &step->from, err);
    if (json_is_string(regex))
        return pattern_compile(
            json_string_value(regex), json_string_length(regex), PATTERN_FASTEST, &step->from, err);
    return error_set(err, ERROR_INVALID, "the Replace decoder has no pattern");
}

static bool load_strip(struct decoder *d, const json_t *json, struct error *err)
{
    struct decoder_step *step = add(d, DECODER_STRIP, err);
    if (!step || !read_text(step, json, "content", false, err))
        return false;
    json_int_t start = json_integer_value(json_object_get(json, "start"));
    json_int_t stop = json_integer_value(json_object_get(json, "stop"));
    step->start = start > 0 ? (size_t)start : 0;
    step->stop = stop > 0 ? (size_t)stop : 0;
    return true;
}

static bool load(struct decoder *d, const json_t *json, int depth, struct error *err)
{
    const char *type = json_string_value(json_object_get(json, "type"));
    if (!type)
        return error_set(err, ERROR_INVALID, "a decoder has no type");
    if (depth > NESTING_MAX)
        return error_set(err, ERROR_TOO_LARGE, "decoders nest deeper than %d", NESTING_MAX);
    if (strcmp(type, "Sequence") == 0) {
        size_t i;
        json_t *item;
        json_array_foreach(json_object_get(json, "decoders"), i, item)
        {
            if (!load(d, item, depth + 1, err))
                return false;
        }
        return true;
    }
    if (strcmp(type, "ByteLevel") == 0)
        return add(d, DECODER_BYTE_LEVEL, err) != NULL;
    if (strcmp(type, "ByteFallback") == 0)
        return add(d, DECODER_BYTE_FALLBACK, err) != NULL;
    if (strcmp(type, "Fuse") == 0)
        return add(d, DECODER_FUSE, err) != NULL;
    if (strcmp(type, "Metaspace") == 0)
        return load_metaspace(d, json, err);
    if (strcmp(type, "Replace") == 0)
        return load_replace(d, json, err);
    if (strcmp(type, "Strip") == 0)
        return load_strip(d, json, err);
    struct decoder_step *step = NULL;
    if (strcmp(type, "WordPiece") == 0) {
        step = add(d, DECODER_WORDPIECE, err);
        if (step)
            step->flag = !json_is_false(json_object_get(json, "cleanup"));
        return step && read_text(step, json, "prefix", true, err);
    }
    if (strcmp(type, "BPEDecoder") == 0) {
        step = add(d, DECODER_SUFFIX, err);
        return step && read_text(step, json, "suffix", true, err);
    }
    return error_set(err, ERROR_UNSUPPORTED, "the decoder \"%.60s\" is not known", type);
}

bool decoder_load(struct decoder *decoder, const json_t *json, struct error *err)
{
    *decoder = (struct decoder){0};
    if (!json || json_is_null(json))
        return true;
    decoder->present = true;
    if (load(decoder, json, 0, err))
        return true;
    decoder_free(decoder);
    return false;
}
