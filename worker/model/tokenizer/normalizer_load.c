#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "worker/model/tokenizer/normalizer.h"
#include "worker/model/tokenizer/unicode.h"

enum { NESTING_MAX = 32 };

void normalizer_free(struct normalizer *normalizer)
{
    for (size_t i = 0; i < normalizer->count; i++) {
        pattern_free(normalizer->steps[i].from);
        free(normalizer->steps[i].text);
        charsmap_free(&normalizer->steps[i].map);
    }
    free(normalizer->steps);
    *normalizer = (struct normalizer){0};
}

static struct normalizer_step *add(struct normalizer *n, enum normalizer_kind kind, struct error *err)
{
    struct normalizer_step *steps = array_grow(n->steps, &n->capacity, n->count + 1, sizeof(*steps), err);
    if (!steps)
        return NULL;
    n->steps = steps;
    steps[n->count] = (struct normalizer_step){.kind = kind};
    return &steps[n->count++];
}

static bool copy_text(struct normalizer_step *step, const json_t *value, struct error *err)
{
    if (!json_is_string(value))
        return error_set(err, ERROR_INVALID, "a normalizer's text is no string");
    step->text_len = json_string_length(value);
    step->text = malloc(step->text_len + 1);
    if (!step->text)
        return error_set(err, ERROR_MEMORY, "no memory for a normalizer");
    memcpy(step->text, json_string_value(value), step->text_len + 1);
    return true;
}

static bool load_replace(struct normalizer *n, const json_t *json, struct error *err)
{
    struct normalizer_step *step = add(n, NORMALIZER_REPLACE, err);
    if (!step || !copy_text(step, json_object_get(json, "content"), err))
        return false;
    const json_t *pattern = json_object_get(json, "pattern");
    const json_t *literal = json_object_get(pattern, "String"), *regex = json_object_get(pattern, "Regex");
    if (json_is_string(literal))
        return pattern_literal(json_string_value(literal), json_string_length(literal), &step->from, err);
    if (json_is_string(regex))
        return pattern_compile(
            json_string_value(regex), json_string_length(regex), PATTERN_FASTEST, &step->from, err);
    return error_set(err, ERROR_INVALID, "the Replace normalizer has no pattern");
}

static bool load_charsmap(struct normalizer *n, const json_t *json, struct error *err)
{
    struct normalizer_step *step = add(n, NORMALIZER_CHARSMAP, err);
    const json_t *encoded = json_object_get(json, "precompiled_charsmap");
    if (!step)
        return false;
    if (!encoded || json_is_null(encoded))
        return true;
    size_t encoded_len = json_string_length(encoded), len = 0;
    unsigned char *blob = malloc(encoded_len / 4 * 3 + 4);
    if (!blob)
        return error_set(err, ERROR_MEMORY, "no memory for a character map");
    bool ok = json_is_string(encoded) &&
              sodium_base642bin(blob, encoded_len / 4 * 3 + 4, json_string_value(encoded), encoded_len, NULL,
                  &len, NULL, sodium_base64_VARIANT_ORIGINAL) == 0;
    if (!ok)
        error_set(err, ERROR_INVALID, "the Precompiled normalizer's character map is no base64");
    ok = ok && charsmap_open(&step->map, (const char *)blob, len, err);
    free(blob);
    return ok;
}

static bool load_bert(struct normalizer *n, const json_t *json, struct error *err)
{
    const json_t *accents = json_object_get(json, "strip_accents");
    bool lowercase = json_is_true(json_object_get(json, "lowercase"));
    bool strip = json_is_boolean(accents) ? json_is_true(accents) : lowercase;
    if (json_is_true(json_object_get(json, "clean_text")) && !add(n, NORMALIZER_BERT_CLEAN, err))
        return false;
    if (json_is_true(json_object_get(json, "handle_chinese_chars")) && !add(n, NORMALIZER_BERT_CHINESE, err))
        return false;
    if (strip) {
        struct normalizer_step *form = add(n, NORMALIZER_FORM, err);
        if (!form)
            return false;
        form->form = FORM_NFD;
        if (!add(n, NORMALIZER_BERT_ACCENTS, err))
            return false;
    }
    return !lowercase || add(n, NORMALIZER_LOWERCASE, err);
}

static bool load_form(struct normalizer *n, const char *type, bool *known, struct error *err)
{
    static const char *const names[] = {
        [FORM_NFC] = "NFC", [FORM_NFD] = "NFD", [FORM_NFKC] = "NFKC", [FORM_NFKD] = "NFKD"};
    for (int i = 0; i < 4; i++) {
        if (strcmp(type, names[i]) == 0) {
            struct normalizer_step *step = add(n, NORMALIZER_FORM, err);
            if (step)
                step->form = i;
            *known = true;
            return step != NULL;
        }
    }
    *known = false;
    return true;
}

static bool load_simple(struct normalizer *n, const char *type, bool *known, struct error *err)
{
    static const struct {
        const char *type;
        enum normalizer_kind kind;
    } simple[] = {{"Lowercase", NORMALIZER_LOWERCASE}, {"StripAccents", NORMALIZER_STRIP_ACCENTS},
        {"Nmt", NORMALIZER_NMT}, {"ByteLevel", NORMALIZER_BYTE_LEVEL}};
    for (size_t i = 0; i < sizeof(simple) / sizeof(*simple); i++) {
        if (strcmp(type, simple[i].type) == 0) {
            *known = true;
            return add(n, simple[i].kind, err) != NULL;
        }
    }
    return load_form(n, type, known, err);
}

static bool load(struct normalizer *n, const json_t *json, int depth, struct error *err)
{
    const char *type = json_string_value(json_object_get(json, "type"));
    bool known = false;
    if (!type)
        return error_set(err, ERROR_INVALID, "a normalizer has no type");
    if (depth > NESTING_MAX)
        return error_set(err, ERROR_TOO_LARGE, "normalizers nest deeper than %d", NESTING_MAX);
    if (!load_simple(n, type, &known, err) || known)
        return known;
    if (strcmp(type, "Sequence") == 0) {
        size_t i;
        json_t *item;
        json_array_foreach(json_object_get(json, "normalizers"), i, item)
        {
            if (!load(n, item, depth + 1, err))
                return false;
        }
        return true;
    }
    if (strcmp(type, "Strip") == 0) {
        struct normalizer_step *step = add(n, NORMALIZER_STRIP, err);
        if (step) {
            step->left = json_is_true(json_object_get(json, "strip_left"));
            step->right = json_is_true(json_object_get(json, "strip_right"));
        }
        return step != NULL;
    }
    if (strcmp(type, "Prepend") == 0) {
        struct normalizer_step *step = add(n, NORMALIZER_PREPEND, err);
        return step && copy_text(step, json_object_get(json, "prepend"), err);
    }
    if (strcmp(type, "Replace") == 0)
        return load_replace(n, json, err);
    if (strcmp(type, "Precompiled") == 0)
        return load_charsmap(n, json, err);
    if (strcmp(type, "BertNormalizer") == 0)
        return load_bert(n, json, err);
    return error_set(err, ERROR_UNSUPPORTED, "the normalizer \"%.60s\" is not known", type);
}

bool normalizer_load(struct normalizer *normalizer, const json_t *json, struct error *err)
{
    unicode_open();
    *normalizer = (struct normalizer){0};
    if (!json || json_is_null(json))
        return true;
    if (load(normalizer, json, 0, err))
        return true;
    normalizer_free(normalizer);
    return false;
}
