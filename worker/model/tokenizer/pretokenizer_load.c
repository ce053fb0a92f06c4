#include <stdlib.h>
#include <string.h>

#include "worker/model/tokenizer/known_patterns.h"
#include "worker/model/tokenizer/pretokenizer.h"
#include "worker/model/tokenizer/unicode.h"

enum { NESTING_MAX = 32 };

void pretokenizer_free(struct pretokenizer *pretokenizer)
{
    for (size_t i = 0; i < pretokenizer->count; i++)
        pattern_free(pretokenizer->steps[i].pattern);
    free(pretokenizer->steps);
    *pretokenizer = (struct pretokenizer){0};
}

void pretokenizer_leave_bytes(struct pretokenizer *pretokenizer)
{
    if (pretokenizer->count && pretokenizer->steps[pretokenizer->count - 1].kind == PRETOKENIZER_BYTES) {
        pretokenizer->count--;
        pretokenizer->bytes_last = true;
    }
}

static struct pretokenizer_step *add(struct pretokenizer *p, enum pretokenizer_kind kind, struct error *err)
{
    struct pretokenizer_step *steps = array_grow(p->steps, &p->capacity, p->count + 1, sizeof(*steps), err);
    if (!steps)
        return NULL;
    p->steps = steps;
    steps[p->count] = (struct pretokenizer_step){.kind = kind, .behavior = SPLIT_ISOLATED};
    return &steps[p->count++];
}

static bool read_behavior(const json_t *json, enum split_behavior *out, struct error *err)
{
    static const char *const names[] = {[SPLIT_REMOVED] = "Removed",
        [SPLIT_ISOLATED] = "Isolated",
        [SPLIT_PREVIOUS] = "MergedWithPrevious",
        [SPLIT_NEXT] = "MergedWithNext",
        [SPLIT_CONTIGUOUS] = "Contiguous"};
    const json_t *value = json_object_get(json, "behavior");
    if (!value)
        return true;
    for (int i = 0; i <= SPLIT_CONTIGUOUS; i++) {
        if (json_is_string(value) && strcmp(json_string_value(value), names[i]) == 0) {
            *out = (enum split_behavior)i;
            return true;
        }
    }
    return error_set(err, ERROR_INVALID, "a pre-tokenizer's behavior is not known");
}

static bool load_split(struct pretokenizer *p, const json_t *json, struct error *err)
{
    struct pretokenizer_step *step = add(p, PRETOKENIZER_PATTERN, err);
    if (!step || !read_behavior(json, &step->behavior, err))
        return false;
    step->invert = json_is_true(json_object_get(json, "invert"));
    const json_t *pattern = json_object_get(json, "pattern");
    const json_t *literal = json_object_get(pattern, "String"), *regex = json_object_get(pattern, "Regex");
    if (json_is_string(literal))
        return pattern_literal(json_string_value(literal), json_string_length(literal), &step->pattern, err);
    if (json_is_string(regex))
        return pattern_compile(
            json_string_value(regex), json_string_length(regex), PATTERN_FASTEST, &step->pattern, err);
    return error_set(err, ERROR_INVALID, "the Split pre-tokenizer has no pattern");
}

static bool load_byte_level(struct pretokenizer *p, const json_t *json, int prefix_space, struct error *err)
{
    const json_t *use_regex = json_object_get(json, "use_regex"),
                 *prefix = json_object_get(json, "add_prefix_space");
    bool space = prefix && prefix_space >= 0 ? prefix_space : prefix ? json_is_true(prefix) : true;
    if (space && !add(p, PRETOKENIZER_SPACE_FIRST, err))
        return false;
    if (!use_regex || json_is_true(use_regex)) {
        struct pretokenizer_step *step = add(p, PRETOKENIZER_PATTERN, err);
        if (!step || !pattern_compile(known_gpt2, strlen(known_gpt2), PATTERN_FASTEST, &step->pattern, err))
            return false;
    }
    return add(p, PRETOKENIZER_BYTES, err) != NULL;
}

static bool load_metaspace(struct pretokenizer *p, const json_t *json, struct error *err)
{
    struct pretokenizer_step *step = add(p, PRETOKENIZER_METASPACE, err);
    if (!step)
        return false;
    const json_t *replacement = json_object_get(json, "replacement");
    step->replacement_len = json_string_length(replacement);
    if (!json_is_string(replacement) || !step->replacement_len || step->replacement_len > 4)
        return error_set(
            err, ERROR_INVALID, "the Metaspace pre-tokenizer's replacement is not one character");
    memcpy(step->replacement, json_string_value(replacement), step->replacement_len);
    const char *scheme = json_string_value(json_object_get(json, "prepend_scheme"));
    const json_t *legacy = json_object_get(json, "add_prefix_space");
    step->prepend = PREPEND_NEVER;
    if (scheme ? strcmp(scheme, "always") == 0 : !json_is_false(legacy))
        step->prepend = PREPEND_ALWAYS;
    else if (scheme && strcmp(scheme, "first") == 0)
        step->prepend = PREPEND_FIRST;
    if (!json_is_false(json_object_get(json, "split")))
        step->behavior = SPLIT_NEXT;
    return true;
}

static bool load_class(
    struct pretokenizer *p, uint32_t classes, enum split_behavior behavior, struct error *err)
{
    struct pretokenizer_step *step = add(p, PRETOKENIZER_CLASS, err);
    if (!step)
        return false;
    step->classes = classes;
    step->behavior = behavior;
    return true;
}

static bool load_character_kind(
    struct pretokenizer *p, const char *type, const json_t *json, bool *known, struct error *err)
{
    *known = true;
    if (strcmp(type, "WhitespaceSplit") == 0)
        return load_class(p, CLASS_SPACE, SPLIT_REMOVED, err);
    if (strcmp(type, "BertPreTokenizer") == 0)
        return load_class(p, CLASS_SPACE, SPLIT_REMOVED, err) &&
               load_class(p, CLASS_PUNCTUATION, SPLIT_ISOLATED, err);
    if (strcmp(type, "Digits") == 0) {
        bool single = json_is_true(json_object_get(json, "individual_digits"));
        return load_class(p, CLASS_NUMERIC, single ? SPLIT_ISOLATED : SPLIT_CONTIGUOUS, err);
    }
    if (strcmp(type, "Punctuation") == 0) {
        enum split_behavior behavior = SPLIT_ISOLATED;
        return read_behavior(json, &behavior, err) && load_class(p, CLASS_PUNCTUATION, behavior, err);
    }
    if (strcmp(type, "Whitespace") == 0)
        return add(p, PRETOKENIZER_WORDS, err) != NULL;
    *known = false;
    return true;
}

static bool load_delimiter(struct pretokenizer *p, const json_t *json, struct error *err)
{
    struct pretokenizer_step *step = add(p, PRETOKENIZER_PATTERN, err);
    const json_t *delimiter = json_object_get(json, "delimiter");
    if (!step)
        return false;
    step->behavior = SPLIT_REMOVED;
    if (!json_is_string(delimiter))
        return error_set(err, ERROR_INVALID, "the CharDelimiterSplit pre-tokenizer has no delimiter");
    return pattern_literal(json_string_value(delimiter), json_string_length(delimiter), &step->pattern, err);
}

static bool load_length(struct pretokenizer *p, const json_t *json, struct error *err)
{
    struct pretokenizer_step *step = add(p, PRETOKENIZER_LENGTH, err);
    const json_t *length = json_object_get(json, "length");
    if (!step)
        return false;
    step->length = length ? (size_t)json_integer_value(length) : 5;
    return json_integer_value(length) >= 0 && step->length > 0
               ? true
               : error_set(err, ERROR_INVALID, "the FixedLength pre-tokenizer's length is not positive");
}

static bool load(struct pretokenizer *p, const json_t *json, int prefix_space, int depth, struct error *err)
{
    const char *type = json_string_value(json_object_get(json, "type"));
    bool known;
    if (!type)
        return error_set(err, ERROR_INVALID, "a pre-tokenizer has no type");
    if (depth > NESTING_MAX)
        return error_set(err, ERROR_TOO_LARGE, "pre-tokenizers nest deeper than %d", NESTING_MAX);
    if (!load_character_kind(p, type, json, &known, err) || known)
        return known;
    if (strcmp(type, "Sequence") == 0) {
        size_t i;
        json_t *item;
        json_array_foreach(json_object_get(json, "pretokenizers"), i, item)
        {
            if (!load(p, item, -1, depth + 1, err))
                return false;
        }
        return true;
    }
    if (strcmp(type, "ByteLevel") == 0)
        return load_byte_level(p, json, prefix_space, err);
    if (strcmp(type, "Split") == 0)
        return load_split(p, json, err);
    if (strcmp(type, "Metaspace") == 0)
        return load_metaspace(p, json, err);
    if (strcmp(type, "CharDelimiterSplit") == 0)
        return load_delimiter(p, json, err);
    if (strcmp(type, "FixedLength") == 0)
        return load_length(p, json, err);
    return error_set(err, ERROR_UNSUPPORTED, "the pre-tokenizer \"%.60s\" is not known", type);
}

bool pretokenizer_load(
    struct pretokenizer *pretokenizer, const json_t *json, int prefix_space, struct error *err)
{
    unicode_open();
    *pretokenizer = (struct pretokenizer){0};
    if (!json || json_is_null(json))
        return true;
    if (load(pretokenizer, json, prefix_space, 0, err))
        return true;
    pretokenizer_free(pretokenizer);
    return false;
}
