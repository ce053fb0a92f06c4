/* Generation settings: one table of names is the source for files, overrides, copies and listings.
 *
 * Facts from transformers 4.57.1: GenerationConfig's defaults, Pipeline.__init__ (a task's own defaults stay
 * unless they are the library's defaults; max_length set by the model wins over a task's max_new_tokens),
 * generate()'s legacy rule (a generation_config.json that was derived from config.json gives way to it). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "worker/engine/engine.h"

enum setting_kind { KIND_INT, KIND_SEED, KIND_REAL, KIND_BOOL, KIND_EARLY, KIND_IDS, KIND_WORDS, KIND_TEXTS };

struct setting {
    const char *name;
    enum setting_kind kind;
    size_t offset, count_offset;
    double min, max, unset; /* unset: the default, and what JSON null means */
};

#define FIELD(field) offsetof(struct generation_settings, field)
#define INT(field, low, high, unset)                                                                         \
    {                                                                                                        \
#field, KIND_INT, FIELD(field), 0, low, high, unset                                                  \
    }
#define REAL(field, low, high, unset)                                                                        \
    {                                                                                                        \
#field, KIND_REAL, FIELD(field), 0, low, high, unset                                                 \
    }
enum { TOKENS_MAX = 1 << 24, IDS_MAX = 1 << 20, BEAMS_MAX = 128 };

static const struct setting table[] = {
    INT(num_beams, 1, BEAMS_MAX, 1),
    INT(num_return_sequences, 1, BEAMS_MAX, 1),
    INT(max_new_tokens, 0, TOKENS_MAX, -1),
    INT(min_new_tokens, 0, TOKENS_MAX, -1),
    INT(max_length, 0, TOKENS_MAX, -1),
    INT(min_length, 0, TOKENS_MAX, -1),
    REAL(length_penalty, -100, 100, 1),
    {"early_stopping", KIND_EARLY, FIELD(early_stopping), 0, 0, 0, EARLY_STOPPING_FALSE},
    INT(no_repeat_ngram_size, 0, TOKENS_MAX, 0),
    REAL(repetition_penalty, 1e-6, 1e6, 1),
    REAL(frequency_penalty, -100, 100, 0),
    REAL(presence_penalty, -100, 100, 0),
    {"do_sample", KIND_BOOL, FIELD(do_sample), 0, 0, 1, 0},
    REAL(temperature, 0, 1e6, 1),
    REAL(top_p, 0, 1, 1),
    REAL(min_p, 0, 1, 0),
    REAL(typical_p, 1e-9, 1, 1),
    INT(top_k, 0, INT32_MAX, 50),
    {"seed", KIND_SEED, FIELD(seed), 0, 0, 0, 0},
    INT(decoder_start_token_id, 0, INT32_MAX, -1),
    INT(pad_token_id, -1, INT32_MAX, -1),
    INT(bos_token_id, 0, INT32_MAX, -1),
    INT(forced_bos_token_id, 0, INT32_MAX, -1),
    INT(forced_eos_token_id, 0, INT32_MAX, -1),
    {"eos_token_id", KIND_IDS, FIELD(eos_token_ids), FIELD(eos_token_count), 0, 0, 0},
    {"suppress_tokens", KIND_IDS, FIELD(suppress_tokens), FIELD(suppress_count), 0, 0, 0},
    {"begin_suppress_tokens", KIND_IDS, FIELD(begin_suppress_tokens), FIELD(begin_suppress_count), 0, 0, 0},
    {"bad_words_ids", KIND_WORDS, FIELD(bad_words), FIELD(bad_words_count), 0, 0, 0},
    {"stop_strings", KIND_TEXTS, FIELD(stop_strings), FIELD(stop_strings_count), 0, 0, 0},
};
enum { SETTING_COUNT = sizeof table / sizeof *table };

/* transformers settings that are not implemented here, with the value at which they do nothing. */
static const struct {
    const char *name;
    double neutral;
} unsupported[] = {
    {"encoder_no_repeat_ngram_size", 0},
    {"encoder_repetition_penalty", 1},
    {"epsilon_cutoff", 0},
    {"eta_cutoff", 0},
    {"num_beam_groups", 1},
    {"diversity_penalty", 0},
    {"renormalize_logits", 0},
    {"sequence_bias", 0},
    {"exponential_decay_length_penalty", 0},
    {"guidance_scale", 1},
    {"penalty_alpha", 0},
    {"constraints", 0},
    {"force_words_ids", 0},
    {"watermarking_config", 0},
};
enum { UNSUPPORTED_COUNT = sizeof unsupported / sizeof *unsupported };

static const struct setting *find(const char *name)
{
    for (size_t i = 0; i < SETTING_COUNT; i++)
        if (strcmp(table[i].name, name) == 0)
            return &table[i];
    return NULL;
}

static void *at(const struct generation_settings *settings, size_t offset)
{
    return (char *)settings + offset;
}

static void free_list(struct generation_settings *settings, const struct setting *setting)
{
    void **list = at(settings, setting->offset);
    size_t *count = at(settings, setting->count_offset);
    if (setting->kind == KIND_WORDS || setting->kind == KIND_TEXTS)
        for (size_t i = 0; i < *count; i++)
            free(((void **)*list)[i]);
    free(*list);
    *list = NULL;
    *count = 0;
}

static void unset(struct generation_settings *settings, const struct setting *setting)
{
    void *field = at(settings, setting->offset);
    switch (setting->kind) {
    case KIND_INT: *(int32_t *)field = (int32_t)setting->unset; break;
    case KIND_SEED: *(uint64_t *)field = 0; break;
    case KIND_REAL: *(double *)field = setting->unset; break;
    case KIND_BOOL: *(bool *)field = false; break;
    case KIND_EARLY: settings->early_stopping = EARLY_STOPPING_FALSE; break;
    case KIND_IDS:
    case KIND_WORDS:
    case KIND_TEXTS: free_list(settings, setting); break;
    }
}

static bool is_unset(const struct generation_settings *settings, const struct setting *setting)
{
    const void *field = at(settings, setting->offset);
    switch (setting->kind) {
    case KIND_INT: return *(const int32_t *)field == (int32_t)setting->unset;
    case KIND_SEED: return settings->seed == 0;
    case KIND_REAL: return *(const double *)field == setting->unset;
    case KIND_BOOL: return !*(const bool *)field;
    case KIND_EARLY: return settings->early_stopping == EARLY_STOPPING_FALSE;
    case KIND_IDS:
    case KIND_WORDS:
    case KIND_TEXTS: break;
    }
    return *(const size_t *)at(settings, setting->count_offset) == 0;
}

static void unset_all(struct generation_settings *settings)
{
    memset(settings, 0, sizeof *settings);
    for (size_t i = 0; i < SETTING_COUNT; i++)
        unset(settings, &table[i]);
}

/* Ids are token ids: non-negative and within int32. `*out` is ended by -1 beyond its count. */
static bool read_ids(const char *name, const json_t *value, int32_t **out, size_t *count, struct error *err)
{
    size_t n = json_is_array(value) ? json_array_size(value) : 1;
    if (n > IDS_MAX)
        return error_set(err, ERROR_TOO_LARGE, "%s: more than %d ids", name, IDS_MAX);
    int32_t *ids = malloc((n + 1) * sizeof *ids);
    if (!ids)
        return error_set(err, ERROR_MEMORY, "%s: out of memory", name);
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_is_array(value) ? json_array_get(value, i) : value;
        if (!json_is_integer(item) || json_integer_value(item) < 0 || json_integer_value(item) > INT32_MAX) {
            free(ids);
            return error_set(err, ERROR_INVALID, "%s: expected a token id or a list of token ids", name);
        }
        ids[i] = (int32_t)json_integer_value(item);
    }
    ids[n] = -1;
    *out = ids;
    *count = n;
    return true;
}

static bool read_words(
    const struct setting *setting, const json_t *value, struct generation_settings *out, struct error *err)
{
    size_t n = json_array_size(value);
    if (!json_is_array(value) || n > IDS_MAX)
        return error_set(err, ERROR_INVALID, "%s: expected a list of lists of token ids", setting->name);
    int32_t **words = calloc(n + 1, sizeof *words);
    if (!words)
        return error_set(err, ERROR_MEMORY, "%s: out of memory", setting->name);
    free_list(out, setting);
    out->bad_words = words;
    for (size_t i = 0; i < n; i++) {
        size_t count;
        const json_t *word = json_array_get(value, i);
        if (!json_is_array(word) || json_array_size(word) == 0)
            return error_set(err, ERROR_INVALID, "%s: expected a list of lists of token ids", setting->name);
        if (!read_ids(setting->name, word, &words[i], &count, err))
            return false;
        out->bad_words_count++;
    }
    return true;
}

static bool read_texts(
    const struct setting *setting, const json_t *value, struct generation_settings *out, struct error *err)
{
    size_t n = json_is_array(value) ? json_array_size(value) : 1;
    char **texts = n > IDS_MAX ? NULL : calloc(n + 1, sizeof *texts);
    if (!texts)
        return error_set(err, ERROR_MEMORY, "%s: out of memory", setting->name);
    free_list(out, setting);
    out->stop_strings = texts;
    for (size_t i = 0; i < n; i++) {
        const char *text = json_string_value(json_is_array(value) ? json_array_get(value, i) : value);
        if (!text || !*text)
            return error_set(err, ERROR_INVALID, "%s: expected a text or a list of texts", setting->name);
        if (!(texts[i] = strdup(text)))
            return error_set(err, ERROR_MEMORY, "%s: out of memory", setting->name);
        out->stop_strings_count++;
    }
    return true;
}

static bool read_early_stopping(const json_t *value, struct generation_settings *out, struct error *err)
{
    const char *text = json_string_value(value);
    if (json_is_boolean(value))
        out->early_stopping = json_is_true(value) ? EARLY_STOPPING_TRUE : EARLY_STOPPING_FALSE;
    else if (text && strcmp(text, "never") == 0)
        out->early_stopping = EARLY_STOPPING_NEVER;
    else
        return error_set(err, ERROR_INVALID, "early_stopping: expected true, false or \"never\"");
    return true;
}

static bool read_number(
    const struct setting *setting, const json_t *value, struct generation_settings *out, struct error *err)
{
    double number = json_number_value(value);
    /* 2.0 is an integer too: Python's JSON writers are not strict about it. */
    bool whole = json_is_number(value) && (setting->kind == KIND_REAL || number == floor(number));
    if (!whole)
        return error_set(err, ERROR_INVALID, "%s: expected %s", setting->name,
            setting->kind == KIND_REAL ? "a number" : "a whole number");
    if (!(number >= setting->min && number <= setting->max))
        return error_set(err, ERROR_INVALID, "%s: %g is outside %g to %g", setting->name, number,
            setting->min, setting->max);
    if (setting->kind == KIND_REAL)
        *(double *)at(out, setting->offset) = number;
    else
        *(int32_t *)at(out, setting->offset) = (int32_t)number;
    return true;
}

static bool read_setting(
    const struct setting *setting, const json_t *value, struct generation_settings *out, struct error *err)
{
    if (json_is_null(value)) {
        unset(out, setting);
        return true;
    }
    switch (setting->kind) {
    case KIND_INT:
    case KIND_REAL: return read_number(setting, value, out, err);
    case KIND_SEED:
        if (!json_is_integer(value))
            return error_set(err, ERROR_INVALID, "%s: expected a whole number", setting->name);
        out->seed = (uint64_t)json_integer_value(value);
        return true;
    case KIND_BOOL:
        if (!json_is_boolean(value))
            return error_set(err, ERROR_INVALID, "%s: expected true or false", setting->name);
        *(bool *)at(out, setting->offset) = json_is_true(value);
        return true;
    case KIND_EARLY: return read_early_stopping(value, out, err);
    case KIND_WORDS: return read_words(setting, value, out, err);
    case KIND_TEXTS: return read_texts(setting, value, out, err);
    case KIND_IDS: break;
    }
    int32_t *ids;
    size_t count;
    if (!read_ids(setting->name, value, &ids, &count, err))
        return false;
    free_list(out, setting);
    *(int32_t **)at(out, setting->offset) = ids;
    *(size_t *)at(out, setting->count_offset) = count;
    return true;
}

static bool is_neutral(const json_t *value, double neutral)
{
    return json_is_null(value) || json_is_false(value) ||
           (json_is_number(value) && json_number_value(value) == neutral);
}

bool engine_settings_set(
    struct generation_settings *settings, const char *name, const json_t *value, struct error *err)
{
    const struct setting *setting = find(name);
    if (setting)
        return read_setting(setting, value, settings, err);
    if (strcmp(name, "prefix") == 0) {
        char *prefix = NULL;
        if (!json_is_string(value) && !json_is_null(value))
            return error_set(err, ERROR_INVALID, "prefix: expected a text");
        if (json_is_string(value) && !(prefix = strdup(json_string_value(value))))
            return error_set(err, ERROR_MEMORY, "prefix: out of memory");
        free(settings->prefix);
        settings->prefix = prefix;
        return true;
    }
    for (size_t i = 0; i < UNSUPPORTED_COUNT; i++)
        if (strcmp(unsupported[i].name, name) == 0)
            return is_neutral(value, unsupported[i].neutral) ||
                   error_set(err, ERROR_UNSUPPORTED, "%s is not implemented; its only value is %g", name,
                       unsupported[i].neutral);
    error_set(err, ERROR_INVALID, "there is no generation setting named \"%s\"", name);
    return error_hint(err, "names are transformers' (num_beams, max_new_tokens, …), see docs");
}

/* What a file says. Unknown keys are other programs' business; a setting that would change the text and is
 * not implemented is said once. */
static bool apply_file(
    struct generation_settings *out, const json_t *object, const char *const *keep, struct error *err)
{
    const char *name;
    const json_t *value;
    json_object_foreach((json_t *)object, name, value)
    {
        const struct setting *setting = find(name);
        bool kept = false;
        for (const char *const *k = keep; k && *k; k++)
            kept |= strcmp(*k, name) == 0;
        if (setting && !kept && !json_is_null(value) && !read_setting(setting, value, out, err))
            return error_context(err, "generation settings of the model: ");
        for (size_t i = 0; !setting && i < UNSUPPORTED_COUNT; i++)
            if (strcmp(unsupported[i].name, name) == 0 && !is_neutral(value, unsupported[i].neutral))
                log_warn("the model asks for a generation setting that is not implemented", "name", name);
    }
    /* 20 is the library's default, which it cannot tell from a chosen 20. */
    if (out->max_length == 20)
        out->max_length = -1;
    return true;
}

/* A setting in config.json that differs from the library's default. */
static bool config_sets_generation(const json_t *config)
{
    static const char *const ids[] = {"eos_token_id", "pad_token_id", "bos_token_id",
        "decoder_start_token_id", "forced_eos_token_id", "forced_bos_token_id", NULL};
    struct generation_settings changed;
    bool differs = false;
    for (size_t i = 0; i < SETTING_COUNT && !differs; i++) {
        const json_t *value = json_object_get(config, table[i].name);
        bool is_id = false;
        for (const char *const *id = ids; *id; id++)
            is_id |= strcmp(*id, table[i].name) == 0;
        if (!value || json_is_null(value) || is_id)
            continue;
        unset_all(&changed);
        if (read_setting(&table[i], value, &changed, NULL)) {
            bool default_length = table[i].offset == FIELD(max_length) && changed.max_length == 20;
            bool default_minimum = table[i].offset == FIELD(min_length) && changed.min_length == 0;
            differs = !default_length && !default_minimum && !is_unset(&changed, &table[i]);
        }
        engine_settings_free(&changed);
    }
    return differs;
}

static const json_t *generation_source(const struct model *model)
{
    const json_t *file = model_generation_config(model), *config = model_config(model);
    if (json_is_true(json_object_get(file, "_from_model_config")) && config_sets_generation(config))
        return config;
    return file;
}

static bool apply_task(
    const struct model *model, const char *task, struct generation_settings *out, struct error *err)
{
    const json_t *config = model_config(model);
    const json_t *params = json_object_get(json_object_get(config, "task_specific_params"), task);
    const json_t *prefix = json_object_get(params, "prefix");
    if (!json_is_string(prefix))
        prefix = json_object_get(config, "prefix");
    if (json_is_string(prefix) && !engine_settings_set(out, "prefix", prefix, err))
        return false;
    return !params || apply_file(out, params, NULL, err);
}

bool engine_settings_from_model(
    const struct model *model, const char *task, struct generation_settings *out, struct error *err)
{
    static const char *const seq2seq[] = {"max_new_tokens", "num_beams", NULL};
    static const char *const decoder[] = {"max_new_tokens", "do_sample", "temperature", NULL};
    enum { TASK_NEW_TOKENS = 256 };
    const char *const *keep = NULL;
    unset_all(out);
    if (task && strcmp(task, "text-generation") == 0) {
        keep = decoder;
        out->do_sample = true;
        out->temperature = 0.7;
    } else if (task) {
        keep = seq2seq;
        out->num_beams = 4;
    }
    if (task)
        out->max_new_tokens = TASK_NEW_TOKENS;
    if (!apply_file(out, generation_source(model), keep, err))
        goto fail;
    if (task && out->max_length >= 0)
        out->max_new_tokens = -1;
    if (task && !apply_task(model, task, out, err))
        goto fail;
    return true;
fail:
    engine_settings_free(out);
    return false;
}

static void *copy_bytes(const void *from, size_t bytes)
{
    void *copy = malloc(bytes ? bytes : 1);
    if (copy && bytes)
        memcpy(copy, from, bytes);
    return copy;
}

static size_t word_length(const int32_t *word)
{
    size_t n = 0;
    while (word[n] >= 0)
        n++;
    return n;
}

static bool copy_list(
    struct generation_settings *out, const struct generation_settings *from, const struct setting *setting)
{
    size_t count = *(size_t *)at(from, setting->count_offset);
    const void *source = *(void **)at(from, setting->offset);
    void **list = at(out, setting->offset);
    size_t *copied = at(out, setting->count_offset);
    if (!source)
        return true;
    if (setting->kind == KIND_IDS) {
        *list = copy_bytes(source, count * sizeof(int32_t));
        *copied = *list ? count : 0;
        return *list != NULL;
    }
    if (!(*list = calloc(count + 1, sizeof(void *))))
        return false;
    for (size_t i = 0; i < count; i++) {
        const void *item = ((void *const *)source)[i];
        size_t bytes =
            setting->kind == KIND_WORDS ? (word_length(item) + 1) * sizeof(int32_t) : strlen(item) + 1;
        if (!(((void **)*list)[i] = copy_bytes(item, bytes)))
            return false;
        (*copied)++;
    }
    return true;
}

bool engine_settings_copy(
    struct generation_settings *out, const struct generation_settings *from, struct error *err)
{
    *out = *from;
    out->prefix = NULL;
    bool fine = true;
    for (size_t i = 0; i < SETTING_COUNT; i++)
        if (table[i].count_offset) {
            *(void **)at(out, table[i].offset) = NULL;
            *(size_t *)at(out, table[i].count_offset) = 0;
        }
    for (size_t i = 0; i < SETTING_COUNT && fine; i++)
        if (table[i].count_offset)
            fine = copy_list(out, from, &table[i]);
    if (fine && from->prefix)
        fine = (out->prefix = strdup(from->prefix)) != NULL;
    if (fine)
        return true;
    engine_settings_free(out);
    return error_set(err, ERROR_MEMORY, "generation settings: out of memory");
}

void engine_settings_free(struct generation_settings *settings)
{
    if (!settings)
        return;
    for (size_t i = 0; i < SETTING_COUNT; i++)
        if (table[i].count_offset)
            free_list(settings, &table[i]);
    free(settings->prefix);
    settings->prefix = NULL;
}

static json_t *ids_to_json(const int32_t *ids, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < count; i++)
        json_array_append_new(list, json_integer(ids[i]));
    return list;
}

static json_t *setting_to_json(const struct generation_settings *settings, const struct setting *setting)
{
    static const char *const early[] = {"false", "true", "never"};
    const void *field = at(settings, setting->offset);
    switch (setting->kind) {
    case KIND_INT: {
        int32_t value = *(const int32_t *)field;
        return value < 0 ? json_null() : json_integer(value);
    }
    case KIND_SEED: return json_integer((json_int_t)settings->seed);
    case KIND_REAL: return json_real(*(const double *)field);
    case KIND_BOOL: return json_boolean(*(const bool *)field);
    case KIND_EARLY:
        if (settings->early_stopping == EARLY_STOPPING_NEVER)
            return json_string(early[EARLY_STOPPING_NEVER]);
        return json_boolean(settings->early_stopping == EARLY_STOPPING_TRUE);
    case KIND_IDS:
        return ids_to_json(*(int32_t *const *)field, *(size_t *)at(settings, setting->count_offset));
    case KIND_WORDS: {
        json_t *list = json_array();
        for (size_t i = 0; list && i < settings->bad_words_count; i++)
            json_array_append_new(
                list, ids_to_json(settings->bad_words[i], word_length(settings->bad_words[i])));
        return list;
    }
    case KIND_TEXTS: break;
    }
    json_t *list = json_array();
    for (size_t i = 0; list && i < settings->stop_strings_count; i++)
        json_array_append_new(list, json_string(settings->stop_strings[i]));
    return list;
}

json_t *engine_settings_to_json(const struct generation_settings *settings)
{
    json_t *object = json_object();
    for (size_t i = 0; object && i < SETTING_COUNT; i++)
        json_object_set_new(object, table[i].name, setting_to_json(settings, &table[i]));
    if (object && settings->prefix)
        json_object_set_new(object, "prefix", json_string(settings->prefix));
    return object;
}
