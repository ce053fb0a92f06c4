#include "worker/task/translation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/languages.h"

enum { CODE_BYTES_MAX = 32 };

/* The forms of a language's code that multilingual models have as tokens. */
enum code_form { CODE_MBART, CODE_NLLB, CODE_M2M100, CODE_FORMS };

static bool write_code(const struct language *language, enum code_form form, char out[CODE_BYTES_MAX])
{
    const char *code = form == CODE_MBART  ? language->mbart
                       : form == CODE_NLLB ? language->nllb
                                           : language->code;
    if (!code)
        return false;
    snprintf(out, CODE_BYTES_MAX, form == CODE_M2M100 ? "__%s__" : "%s", code);
    return true;
}

static int32_t code_id(
    const struct tokenizer *tokenizer, const struct language *language, enum code_form form)
{
    char code[CODE_BYTES_MAX];
    return write_code(language, form, code) ? tokenizer_token_id(tokenizer, code) : -1;
}

static bool set_prefix(struct generation_settings *settings, const char *prefix, struct error *err)
{
    json_t *value = json_string(prefix);
    bool set = value && engine_settings_set(settings, "prefix", value, err);
    json_decref(value);
    return set;
}

/* ">>deu<<" or ">>de<<": only models of several target languages have such tokens. */
static bool open_marian(const struct tokenizer *tokenizer, const struct language *target,
    struct generation_settings *settings, struct error *err)
{
    const char *const codes[] = {target->code3, target->code};
    char token[CODE_BYTES_MAX], prefix[CODE_BYTES_MAX + 1];
    for (size_t i = 0; i < 2; i++) {
        snprintf(token, sizeof(token), ">>%s<<", codes[i]);
        if (tokenizer_token_id(tokenizer, token) < 0)
            continue;
        snprintf(prefix, sizeof(prefix), "%s ", token);
        return set_prefix(settings, prefix, err);
    }
    return true;
}

static bool open_multilingual(const struct tokenizer *tokenizer, const struct language *source,
    const struct language *target, struct generation_settings *settings, struct translation *out,
    struct error *err)
{
    enum code_form form = CODE_MBART;
    size_t count = language_count();
    while (form < CODE_FORMS && code_id(tokenizer, language_find("en"), form) < 0)
        form++;
    if (form == CODE_FORMS)
        return error_set(err, ERROR_UNSUPPORTED, "the model's vocabulary has no tokens for languages");
    int32_t target_id = code_id(tokenizer, target, form);
    out->source_id = code_id(tokenizer, source, form);
    if (out->source_id < 0 || target_id < 0)
        return error_set(err, ERROR_UNSUPPORTED, "the model does not know the language %s",
            out->source_id < 0 ? source->name : target->name);
    settings->forced_bos_token_id = target_id;
    out->language_ids = malloc(count * sizeof(*out->language_ids));
    if (!out->language_ids)
        return error_set(err, ERROR_MEMORY, "out of memory for the list of languages");
    for (size_t i = 0; i < count; i++) {
        int32_t id = code_id(tokenizer, language_at(i), form);
        if (id >= 0)
            out->language_ids[out->language_count++] = id;
    }
    return true;
}

bool translation_open(const char *model_type, const json_t *config, const struct tokenizer *tokenizer,
    const char *task, const char *source, const char *target, struct generation_settings *settings,
    struct translation *out, struct error *err)
{
    const struct language *from = language_find(source), *to = language_find(target);
    char prefix[128];
    *out = (struct translation){.source_id = -1};
    if (!source || !target)
        return true;
    if (!from || !to)
        return error_set(err, ERROR_INVALID, "the language \"%.40s\" is not known", from ? target : source);
    if (strcmp(model_type, "marian") == 0)
        return open_marian(tokenizer, to, settings, err);
    if (strcmp(model_type, "mbart") == 0 || strcmp(model_type, "m2m_100") == 0)
        return open_multilingual(tokenizer, from, to, settings, out, err);
    if (strcmp(model_type, "t5") != 0 && strcmp(model_type, "mt5") != 0)
        return true;
    const json_t *own = json_object_get(json_object_get(config, "task_specific_params"), task);
    if (json_is_string(json_object_get(own, "prefix")))
        return true;
    snprintf(prefix, sizeof(prefix), "translate %s to %s: ", from->name, to->name);
    return set_prefix(settings, prefix, err);
}

void translation_free(struct translation *translation)
{
    free(translation->language_ids);
    *translation = (struct translation){.source_id = -1};
}

static bool is_language(const struct translation *translation, int32_t id)
{
    for (size_t i = 0; i < translation->language_count; i++)
        if (translation->language_ids[i] == id)
            return true;
    return false;
}

/* mBART-50, M2M100 and NLLB have it first, mBART last. */
bool translation_mark(const struct translation *translation, struct token_ids *ids, struct error *err)
{
    if (translation->source_id < 0)
        return true;
    if (ids->count > 0 && is_language(translation, ids->ids[0])) {
        ids->ids[0] = translation->source_id;
    } else if (ids->count > 0 && is_language(translation, ids->ids[ids->count - 1])) {
        ids->ids[ids->count - 1] = translation->source_id;
    } else {
        if (!token_ids_push(ids, translation->source_id, err))
            return false;
        memmove(ids->ids + 1, ids->ids, (ids->count - 1) * sizeof(*ids->ids));
        ids->ids[0] = translation->source_id;
    }
    return true;
}
