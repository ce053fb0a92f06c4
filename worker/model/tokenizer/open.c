/* A model directory's tokenizer: tokenizer.json where there is one, the original files where not, and what
 * tokenizer_config.json says about either. */
#include <stdlib.h>
#include <string.h>

#include "worker/model/tokenizer/chat.h"
#include "worker/model/tokenizer/files.h"
#include "worker/model/tokenizer/implementation.h"
#include "worker/model/tokenizer/postprocessor.h"
#include "worker/model/tokenizer/slow.h"
#include "worker/model/tokenizer/unicode.h"

const char *const special_keys[SPECIAL_COUNT] = {
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"};

const char *special_content(const json_t *value)
{
    if (json_is_object(value))
        value = json_object_get(value, "content");
    return json_string_value(value);
}

/* tokenizer_config.json; special_tokens_map.json fills gaps where it has no added_tokens_decoder, as
 * transformers. */
static bool read_config(const char *dir, json_t **out, struct error *err)
{
    json_t *config = NULL, *map = NULL;
    if (files_exist(dir, "tokenizer_config.json") &&
        !files_read_json(dir, "tokenizer_config.json", JSON_DECODE_INT_AS_REAL, &config, err))
        return false;
    if (!json_is_object(config)) {
        json_decref(config);
        config = json_object();
    }
    *out = config;
    if (json_object_get(config, "added_tokens_decoder") || !files_exist(dir, "special_tokens_map.json"))
        return true;
    if (!files_read_json(dir, "special_tokens_map.json", JSON_DECODE_INT_AS_REAL, &map, err))
        return false;
    if (json_is_object(map))
        json_object_update_missing(config, map);
    json_decref(map);
    return true;
}

static bool read_settings(struct tokenizer *t, const json_t *config, struct error *err)
{
    for (int i = 0; i < SPECIAL_COUNT; i++) {
        const char *content = special_content(json_object_get(config, special_keys[i]));
        if (content && !(t->special[i] = strdup(content)))
            return error_set(err, ERROR_MEMORY, "no memory for a tokenizer");
    }
    t->clean_up = json_is_true(json_object_get(config, "clean_up_tokenization_spaces"));
    /* "Unlimited" is written as 1e30. */
    double longest = json_number_value(json_object_get(config, "model_max_length"));
    t->max_length = longest >= 1 && longest < 1e15 ? (size_t)longest : SIZE_MAX;
    return true;
}

/* Classes that build what goes around a text from settings instead of taking tokenizer.json's. */
static bool surround_by_class(struct tokenizer *t, const json_t *config, struct error *err)
{
    const char *name = json_string_value(json_object_get(config, "tokenizer_class"));
    static const char *const classes[] = {"LlamaTokenizer", "LlamaTokenizerFast", "GemmaTokenizer",
        "GemmaTokenizerFast", "CodeLlamaTokenizer", "CodeLlamaTokenizerFast"};
    bool rebuilt = false;
    for (size_t i = 0; name && i < sizeof(classes) / sizeof(*classes); i++)
        rebuilt = rebuilt || strcmp(name, classes[i]) == 0;
    if (!rebuilt)
        return true;
    const json_t *add_bos = json_object_get(config, "add_bos_token");
    bool bos = !add_bos || json_is_true(add_bos);
    bool eos = json_is_true(json_object_get(config, "add_eos_token"));
    int32_t bos_id = tokenizer_token_id(t, t->special[SPECIAL_BOS] ? t->special[SPECIAL_BOS] : "<s>");
    int32_t eos_id = tokenizer_token_id(t, t->special[SPECIAL_EOS] ? t->special[SPECIAL_EOS] : "</s>");
    if ((bos && bos_id < 0) || (eos && eos_id < 0))
        return true;
    t->around.count = 0;
    return (!bos || token_ids_push(&t->around, bos_id, err)) &&
           token_ids_push(&t->around, POSTPROCESSOR_TEXT, err) &&
           (!eos || token_ids_push(&t->around, eos_id, err));
}

static bool open_fast(struct tokenizer *t, const char *dir, const json_t *config, struct error *err)
{
    json_t *json = NULL;
    if (!files_read_json(dir, "tokenizer.json", 0, &json, err))
        return false;
    bool ok = tokenizer_load_json(t, json, config, err) && surround_by_class(t, config, err);
    json_decref(json);
    return ok || error_context(err, "%s/tokenizer.json: ", dir);
}

static bool read_chat(struct tokenizer *t, const char *dir, const json_t *config, struct error *err)
{
    char *text = NULL;
    size_t len = 0;
    if (files_exist(dir, "chat_template.jinja")) {
        bool ok = files_read(dir, "chat_template.jinja", &text, &len, err) &&
                  chat_template_open(text, len, &t->chat, err);
        free(text);
        return ok || error_context(err, "%s/chat_template.jinja: ", dir);
    }
    const json_t *value = json_object_get(config, "chat_template"), *chosen = NULL;
    if (json_is_array(value)) {
        size_t i;
        json_t *item;
        json_array_foreach(value, i, item)
        {
            const char *name = json_string_value(json_object_get(item, "name"));
            if (name && strcmp(name, "default") == 0)
                chosen = json_object_get(item, "template");
        }
        value = chosen;
    }
    if (!json_is_string(value))
        return true;
    return chat_template_open(json_string_value(value), json_string_length(value), &t->chat, err) ||
           error_context(err, "%s/tokenizer_config.json: ", dir);
}

bool tokenizer_open(const char *dir, struct tokenizer **out, struct error *err)
{
    json_t *config = NULL;
    struct tokenizer *t = calloc(1, sizeof(*t));
    if (!t)
        return error_set(err, ERROR_MEMORY, "no memory for a tokenizer");
    bool ok =
        read_config(dir, &config, err) && read_settings(t, config, err) && word_cache_init(&t->cache, err);
    if (ok)
        ok = files_exist(dir, "tokenizer.json") ? open_fast(t, dir, config, err)
                                                : slow_open(t, dir, config, err);
    ok = ok && read_chat(t, dir, config, err) && files_digest(dir, t->digest, err);
    json_decref(config);
    if (!ok) {
        tokenizer_close(t);
        return false;
    }
    *out = t;
    return true;
}
