/* tokenizer.json: the model, its added tokens, and the steps around them. */
#include <stdlib.h>
#include <string.h>

#include "worker/model/tokenizer/implementation.h"
#include "worker/model/tokenizer/postprocessor.h"

static bool load_vocabulary(struct vocabulary *v, const json_t *json, struct error *err)
{
    const char *token;
    json_t *id;
    if (!json_is_object(json))
        return error_set(err, ERROR_INVALID, "the model's vocab is no object");
    json_object_foreach((json_t *)json, token, id)
    {
        if (!json_is_integer(id))
            return error_set(err, ERROR_INVALID, "the id of token \"%.60s\" is no integer", token);
        if (!vocabulary_add(v, token, strlen(token), json_integer_value(id), err))
            return false;
    }
    return true;
}

static bool copy_optional(char **out, const json_t *value, struct error *err)
{
    const char *text = json_string_value(value);
    if (!text || !*text)
        return true;
    *out = strdup(text);
    return *out || error_set(err, ERROR_MEMORY, "no memory for a tokenizer");
}

/* "a b", or ["a", "b"] since tokenizers 0.20. */
static bool load_merge(struct bpe *bpe, const json_t *merge, struct error *err)
{
    if (json_is_array(merge)) {
        const json_t *a = json_array_get(merge, 0), *b = json_array_get(merge, 1);
        if (!json_is_string(a) || !json_is_string(b))
            return error_set(err, ERROR_INVALID, "merge %zu is no pair of strings", bpe->merge_count);
        return bpe_add_merge(bpe, json_string_value(a), json_string_length(a), json_string_value(b),
            json_string_length(b), err);
    }
    const char *text = json_string_value(merge);
    const char *space = text ? strchr(text, ' ') : NULL;
    if (!space || strchr(space + 1, ' '))
        return error_set(err, ERROR_INVALID, "merge %zu is no pair of tokens", bpe->merge_count);
    size_t left = (size_t)(space - text);
    return bpe_add_merge(bpe, text, left, space + 1, json_string_length(merge) - left - 1, err);
}

static bool load_bpe(struct tokenizer *t, const json_t *model, struct error *err)
{
    struct bpe *bpe = &t->bpe;
    *bpe = (struct bpe){.vocabulary = &t->vocabulary, .unknown = -1};
    t->model = MODEL_BPE;
    if (!load_vocabulary(&t->vocabulary, json_object_get(model, "vocab"), err) ||
        !copy_optional(&bpe->prefix, json_object_get(model, "continuing_subword_prefix"), err) ||
        !copy_optional(&bpe->suffix, json_object_get(model, "end_of_word_suffix"), err))
        return false;
    size_t i;
    json_t *merge;
    json_array_foreach(json_object_get(model, "merges"), i, merge)
    {
        if (!load_merge(bpe, merge, err))
            return false;
    }
    const char *unknown = json_string_value(json_object_get(model, "unk_token"));
    if (unknown)
        bpe->unknown = vocabulary_find(&t->vocabulary, unknown, strlen(unknown));
    bpe->fuse_unknown = json_is_true(json_object_get(model, "fuse_unk"));
    bpe->byte_fallback = json_is_true(json_object_get(model, "byte_fallback"));
    bpe->ignore_merges = json_is_true(json_object_get(model, "ignore_merges"));
    pretokenizer_leave_bytes(&t->pretokenizer);
    bpe->byte_level = t->pretokenizer.bytes_last;
    t->kind = bpe->byte_level ? "byte-level BPE" : bpe->byte_fallback ? "BPE with byte fallback" : "BPE";
    bpe_prepare(bpe);
    return true;
}

static bool load_scores(struct tokenizer *t, const json_t *vocab, struct trie_key **keys, struct error *err)
{
    size_t count = json_array_size(vocab), i;
    json_t *entry;
    *keys = calloc(count + 1, sizeof(**keys));
    t->scores = calloc(count + 1, sizeof(*t->scores));
    if (!*keys || !t->scores)
        return error_set(err, ERROR_MEMORY, "no memory for %zu pieces", count);
    json_array_foreach(vocab, i, entry)
    {
        const json_t *text = json_array_get(entry, 0), *score = json_array_get(entry, 1);
        if (!json_is_string(text) || !json_is_number(score))
            return error_set(err, ERROR_INVALID, "piece %zu is no pair of text and score", i);
        if (!vocabulary_add(
                &t->vocabulary, json_string_value(text), json_string_length(text), (int64_t)i, err))
            return false;
        t->scores[i] = json_number_value(score);
        (*keys)[i] =
            (struct trie_key){json_string_value(text), (uint32_t)json_string_length(text), (int32_t)i};
    }
    return true;
}

static void prepare_fallback(struct tokenizer *t)
{
    struct bpe names = {.vocabulary = &t->vocabulary};
    bpe_prepare(&names);
    memcpy(t->unigram.fallback_ids, names.fallback_ids, sizeof(names.fallback_ids));
}

static bool load_unigram(struct tokenizer *t, const json_t *model, struct error *err)
{
    const double unknown_penalty = 10.0;
    const json_t *vocab = json_object_get(model, "vocab"), *unknown = json_object_get(model, "unk_id");
    struct trie_key *keys = NULL;
    struct unigram *u = &t->unigram;
    t->model = MODEL_UNIGRAM;
    t->kind = "unigram";
    size_t count = json_array_size(vocab);
    bool ok = json_is_array(vocab) || error_set(err, ERROR_INVALID, "the model's vocab is no array");
    ok = ok && load_scores(t, vocab, &keys, err) && trie_build(&u->trie, keys, count, err);
    free(keys);
    if (!ok)
        return false;
    u->scores = t->scores;
    u->count = count;
    u->unknown = -1;
    if (json_is_integer(unknown)) {
        if (json_integer_value(unknown) < 0 || (size_t)json_integer_value(unknown) >= count)
            return error_set(err, ERROR_INVALID, "the model's unk_id is not in its vocab");
        u->unknown = (int32_t)json_integer_value(unknown);
    }
    double lowest = count ? t->scores[0] : 0;
    for (size_t i = 1; i < count; i++)
        lowest = t->scores[i] < lowest ? t->scores[i] : lowest;
    u->unknown_score = lowest - unknown_penalty;
    u->byte_fallback = json_is_true(json_object_get(model, "byte_fallback"));
    prepare_fallback(t);
    return true;
}

static bool load_words(struct tokenizer *t, const json_t *model, bool pieces, struct error *err)
{
    if (!load_vocabulary(&t->vocabulary, json_object_get(model, "vocab"), err))
        return false;
    const char *unknown = json_string_value(json_object_get(model, "unk_token"));
    t->unknown = unknown ? vocabulary_find(&t->vocabulary, unknown, strlen(unknown)) : -1;
    t->model = pieces ? MODEL_WORDPIECE : MODEL_WORDLEVEL;
    t->kind = pieces ? "WordPiece" : "word level";
    if (!pieces)
        return true;
    if (t->unknown < 0)
        return error_set(err, ERROR_INVALID, "the WordPiece model's unk_token is not in its vocab");
    const char *prefix = json_string_value(json_object_get(model, "continuing_subword_prefix"));
    json_int_t longest = json_integer_value(json_object_get(model, "max_input_chars_per_word"));
    t->wordpiece = (struct wordpiece){.vocabulary = &t->vocabulary,
        .unknown = t->unknown,
        .prefix = strdup(prefix ? prefix : "##"),
        .max_characters = longest > 0 ? (size_t)longest : 100};
    return t->wordpiece.prefix || error_set(err, ERROR_MEMORY, "no memory for a tokenizer");
}

/* Files written before models named their type are told apart by what they hold. */
static const char *model_type(const json_t *model)
{
    const char *type = json_string_value(json_object_get(model, "type"));
    if (type)
        return type;
    if (json_object_get(model, "merges"))
        return "BPE";
    return json_is_array(json_object_get(model, "vocab")) ? "Unigram" : "WordPiece";
}

static bool load_model(struct tokenizer *t, const json_t *model, struct error *err)
{
    const char *type = model_type(model);
    if (!json_is_object(model))
        return error_set(err, ERROR_INVALID, "there is no model");
    if (strcmp(type, "BPE") == 0)
        return load_bpe(t, model, err);
    if (strcmp(type, "Unigram") == 0)
        return load_unigram(t, model, err);
    if (strcmp(type, "WordPiece") == 0 || strcmp(type, "WordLevel") == 0)
        return load_words(t, model, strcmp(type, "WordPiece") == 0, err);
    return error_set(err, ERROR_UNSUPPORTED, "the model \"%.60s\" is not known", type);
}

static struct added_token read_flags(const json_t *json, int32_t id)
{
    return (struct added_token){.id = id,
        .single_word = json_is_true(json_object_get(json, "single_word")),
        .lstrip = json_is_true(json_object_get(json, "lstrip")),
        .rstrip = json_is_true(json_object_get(json, "rstrip")),
        .normalized = json_is_true(json_object_get(json, "normalized")),
        .special = json_is_true(json_object_get(json, "special"))};
}

/* The id of a token that is added by name: its own, or the next free one. */
static int32_t id_for(const struct tokenizer *t, const char *content, size_t len)
{
    int32_t id = vocabulary_find(&t->vocabulary, content, len);
    if (id >= 0)
        return id;
    int32_t next = (int32_t)t->vocabulary.count;
    for (size_t i = 0; i < t->added.count; i++) {
        if (t->added.tokens[i].id >= next)
            next = t->added.tokens[i].id + 1;
    }
    return next;
}

static bool load_added(struct tokenizer *t, const json_t *json, struct error *err)
{
    size_t i;
    json_t *item;
    json_array_foreach(json, i, item)
    {
        const json_t *content = json_object_get(item, "content"), *id = json_object_get(item, "id");
        if (!json_is_string(content) || !json_is_integer(id))
            return error_set(err, ERROR_INVALID, "added token %zu has no content or id", i);
        /* As the reference, what the model knows under another id keeps the model's. */
        int32_t known =
            vocabulary_find(&t->vocabulary, json_string_value(content), json_string_length(content));
        json_int_t wanted = known >= 0 ? known : json_integer_value(id);
        if (wanted < 0 || wanted > INT32_MAX)
            return error_set(err, ERROR_INVALID, "added token %zu has a bad id", i);
        if (json_string_length(content) &&
            !added_push(&t->added, json_string_value(content), json_string_length(content),
                read_flags(item, (int32_t)wanted), err))
            return false;
    }
    return true;
}

static bool add_missing(
    struct tokenizer *t, const char *content, size_t len, struct added_token flags, struct error *err)
{
    if (!len || added_by_content(&t->added, content, len))
        return true;
    flags.id = id_for(t, content, len);
    return added_push(&t->added, content, len, flags, err);
}

/* Tokens that tokenizer_config.json names and tokenizer.json does not know are added, as transformers does.
 */
static bool add_from_config(struct tokenizer *t, const json_t *config, struct error *err)
{
    const char *key;
    json_t *item;
    json_object_foreach(json_object_get(config, "added_tokens_decoder"), key, item)
    {
        const json_t *content = json_object_get(item, "content");
        if (json_is_string(content) && !add_missing(t, json_string_value(content),
                                           json_string_length(content), read_flags(item, -1), err))
            return false;
    }
    for (int i = 0; i < SPECIAL_COUNT; i++) {
        struct added_token flags = {.special = true};
        if (t->special[i] && !add_missing(t, t->special[i], strlen(t->special[i]), flags, err))
            return false;
    }
    size_t k;
    json_array_foreach(json_object_get(config, "additional_special_tokens"), k, item)
    {
        const char *content = special_content(item);
        struct added_token flags = json_is_object(item) ? read_flags(item, -1) : (struct added_token){0};
        flags.special = true;
        if (content && !add_missing(t, content, strlen(content), flags, err))
            return false;
    }
    return true;
}

bool tokenizer_load_json(struct tokenizer *t, const json_t *json, const json_t *config, struct error *err)
{
    int prefix_space = json_is_true(json_object_get(config, "add_prefix_space"));
    if (!json_is_object(json))
        return error_set(err, ERROR_INVALID, "tokenizer.json is no object");
    return normalizer_load(&t->normalizer, json_object_get(json, "normalizer"), err) &&
           pretokenizer_load(&t->pretokenizer, json_object_get(json, "pre_tokenizer"), prefix_space, err) &&
           load_model(t, json_object_get(json, "model"), err) &&
           load_added(t, json_object_get(json, "added_tokens"), err) && add_from_config(t, config, err) &&
           added_build(&t->added, &t->normalizer, err) &&
           decoder_load(&t->decoder, json_object_get(json, "decoder"), err) &&
           postprocessor_load(json_object_get(json, "post_processor"), &t->around, err);
}
