/* The tokenizer inside a GGUF file: SentencePiece-style BPE by scores ("llama") and byte-level BPE by merges
 * ("gpt2"), as llama.cpp reads them. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "worker/model/gguf.h"
#include "worker/model/tokenizer/chat.h"
#include "worker/model/tokenizer/implementation.h"
#include "worker/model/tokenizer/known_patterns.h"
#include "worker/model/tokenizer/postprocessor.h"
#include "worker/model/tokenizer/slow.h"
#include "worker/model/tokenizer/unicode.h"

#define WORDS_END "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define CASED_LETTERS "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+"
#define UPPER_LETTERS "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*"

static const char pattern_tekken[] =
    "[^\\r\\n\\p{L}\\p{N}]?" CASED_LETTERS "|[^\\r\\n\\p{L}\\p{N}]?" UPPER_LETTERS
    "|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*" WORDS_END;
static const char pattern_gpt4o[] =
    "[^\\r\\n\\p{L}\\p{N}]?" CASED_LETTERS
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\\r\\n\\p{L}\\p{N}]?" UPPER_LETTERS
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*" WORDS_END;
static const char pattern_digit[] = "\\p{N}";
static const char pattern_punctuation[] = "[\\p{P}\\$\\+<=>\\^~\\|]+";
static const char pattern_digits[] = "\\p{N}+";
static const char pattern_three[] = "[0-9][0-9][0-9]";

/* tokenizer.ggml.pre, the patterns it stands for, each splitting what the one before left. */
static const struct pre {
    const char *name;
    const char *patterns[4];
    bool whole_words; /* a word that is a token is not merged */
    bool add_bos;
} pres[] = {
    {"llama-bpe", {known_llama3}, true, true},
    {"llama3", {known_llama3}, true, true},
    {"llama-v3", {known_llama3}, true, true},
    {"falcon3", {known_llama3}, true, true},
    {"pixtral", {known_llama3}, true, true},
    {"dbrx", {known_llama3}, false, false},
    {"smaug-bpe", {known_llama3}, false, false},
    {"qwen2", {known_qwen2}, false, false},
    {"deepseek-r1-qwen", {known_qwen2}, false, false},
    {"stablelm2", {known_qwen2}, false, false},
    {"hunyuan", {known_qwen2}, false, false},
    {"gpt-2", {known_gpt2}, false, false},
    {"phi-2", {known_gpt2}, false, false},
    {"mpt", {known_gpt2}, false, false},
    {"olmo", {known_gpt2}, false, false},
    {"roberta-bpe", {known_gpt2}, false, false},
    {"smollm", {pattern_digit, known_gpt2}, false, false},
    {"command-r", {pattern_digit, known_gpt2}, false, false},
    {"refact", {pattern_digit, known_gpt2}, false, false},
    {"starcoder", {pattern_digit, known_gpt2}, false, false},
    {"exaone", {pattern_digit, known_gpt2}, false, false},
    {"tekken", {pattern_tekken}, true, true},
    {"gpt-4o", {pattern_gpt4o}, false, false},
    {"llama4", {pattern_gpt4o}, false, false},
    {"default", {pattern_punctuation, known_gpt2, pattern_digits, pattern_three}, false, false},
};

static bool token_at(const struct gguf *file, size_t index, struct gguf_string *text, int64_t *type,
    double *score, struct error *err)
{
    *type = PIECE_NORMAL;
    *score = 0;
    if (!gguf_array_string(file, "tokenizer.ggml.tokens", index, text))
        return error_set(err, ERROR_INVALID, "tokenizer.ggml.tokens holds no strings");
    gguf_array_int(file, "tokenizer.ggml.token_type", index, type);
    gguf_array_float(file, "tokenizer.ggml.scores", index, score);
    if (*type < PIECE_NORMAL || *type > PIECE_BYTE)
        return error_set(err, ERROR_INVALID, "token %zu has the unknown type %lld", index, (long long)*type);
    if (*score != *score)
        return error_set(err, ERROR_INVALID, "token %zu has a score that is no number", index);
    return true;
}

static bool add_special(
    struct tokenizer *t, struct gguf_string text, int64_t type, size_t id, struct error *err)
{
    if (type != PIECE_CONTROL && type != PIECE_USER_DEFINED && type != PIECE_UNKNOWN)
        return true;
    struct added_token flags = {.id = (int32_t)id, .special = type != PIECE_USER_DEFINED};
    return !text.len || added_push(&t->added, text.data, text.len, flags, err);
}

/* "tokenizer.ggml.bos_token_id" and its like, by content. */
static bool read_special(struct tokenizer *t, const struct gguf *file, struct error *err)
{
    static const char *const keys[SPECIAL_COUNT] = {"tokenizer.ggml.bos_token_id",
        "tokenizer.ggml.eos_token_id", "tokenizer.ggml.unknown_token_id", "tokenizer.ggml.seperator_token_id",
        "tokenizer.ggml.padding_token_id", "tokenizer.ggml.cls_token_id", "tokenizer.ggml.mask_token_id"};
    for (int i = 0; i < SPECIAL_COUNT; i++) {
        int64_t id = -1;
        if (!gguf_get_int(file, keys[i], &id))
            continue;
        struct token_text text = id >= 0 && id < VOCABULARY_ID_MAX
                                     ? vocabulary_text(&t->vocabulary, (int32_t)id)
                                     : (struct token_text){NULL, 0};
        if (!text.data)
            return error_set(
                err, ERROR_INVALID, "%s names token %lld, which is not there", keys[i], (long long)id);
        t->special[i] = strdup(text.data);
        if (!t->special[i])
            return error_set(err, ERROR_MEMORY, "no memory for a tokenizer");
    }
    return true;
}

static bool surround(struct tokenizer *t, const struct gguf *file, bool bos, struct error *err)
{
    bool eos = false;
    int64_t bos_id = -1, eos_id = -1;
    gguf_get_bool(file, "tokenizer.ggml.add_bos_token", &bos);
    gguf_get_bool(file, "tokenizer.ggml.add_eos_token", &eos);
    bos = gguf_get_int(file, "tokenizer.ggml.bos_token_id", &bos_id) && bos;
    eos = gguf_get_int(file, "tokenizer.ggml.eos_token_id", &eos_id) && eos;
    return (!bos || token_ids_push(&t->around, (int32_t)bos_id, err)) &&
           token_ids_push(&t->around, POSTPROCESSOR_TEXT, err) &&
           (!eos || token_ids_push(&t->around, (int32_t)eos_id, err));
}

static bool build_slow_trie(struct tokenizer *t, struct error *err)
{
    struct trie_key *keys = calloc(t->added.count + 1, sizeof(*keys));
    if (!keys)
        return error_set(err, ERROR_MEMORY, "no memory for added tokens");
    for (size_t i = 0; i < t->added.count; i++)
        keys[i] = (struct trie_key){t->added.tokens[i].content, (uint32_t)t->added.tokens[i].len, (int32_t)i};
    bool ok = trie_build(&t->slow->added, keys, t->added.count, err);
    free(keys);
    return ok;
}

static bool open_scores(struct tokenizer *t, const struct gguf *file, size_t count, struct error *err)
{
    struct slow *slow = calloc(1, sizeof(*slow));
    struct sentencepiece *model = calloc(1, sizeof(*model));
    t->slow = slow;
    if (slow)
        slow->source = model;
    if (!slow || !model) {
        if (!slow)
            free(model);
        return error_set(err, ERROR_MEMORY, "no memory for a tokenizer");
    }
    slow->text = SLOW_SENTENCEPIECE;
    slow->join = SLOW_JOIN_PIECES_LLAMA;
    slow->space_after_special = true;
    gguf_get_bool(file, "tokenizer.ggml.add_space_prefix", &slow->space_after_special);
    slow->add_prefix_space = slow->space_after_special;
    model->model = SENTENCEPIECE_BPE;
    model->byte_fallback = true;
    model->escape_whitespaces = true;
    t->kind = "SentencePiece BPE";
    int64_t unknown = -1; /* some files give it the type of a control token */
    gguf_get_int(file, "tokenizer.ggml.unknown_token_id", &unknown);
    for (size_t i = 0; i < count; i++) {
        struct gguf_string text;
        int64_t type;
        double score;
        if (!token_at(file, i, &text, &type, &score, err) ||
            !sentencepiece_add(
                model, text.data, text.len, score, (int64_t)i == unknown ? PIECE_UNKNOWN : (int)type, err) ||
            !vocabulary_add(&t->vocabulary, text.data, text.len, (int64_t)i, err) ||
            !add_special(t, text, type, i, err))
            return false;
    }
    return sentencepiece_prepare(model, "tokenizer.ggml", err) && build_slow_trie(t, err) &&
           surround(t, file, true, err);
}

static const struct pre *find_pre(const struct gguf *file, struct error *err)
{
    struct gguf_string name = {"default", 7};
    gguf_get_string(file, "tokenizer.ggml.pre", &name);
    for (size_t i = 0; i < sizeof(pres) / sizeof(*pres); i++) {
        if (strlen(pres[i].name) == name.len && memcmp(pres[i].name, name.data, name.len) == 0)
            return &pres[i];
    }
    error_set(err, ERROR_UNSUPPORTED, "the pre-tokenizer \"%.*s\" of a GGUF file is not known",
        (int)(name.len < 60 ? name.len : 60), name.data);
    return NULL;
}

static bool load_merges(struct tokenizer *t, const struct gguf *file, struct error *err)
{
    size_t count = 0;
    enum gguf_type element;
    if (!gguf_get_array(file, "tokenizer.ggml.merges", &element, &count))
        return error_set(err, ERROR_INVALID, "the GGUF file has no tokenizer.ggml.merges");
    for (size_t i = 0; i < count; i++) {
        struct gguf_string text;
        if (!gguf_array_string(file, "tokenizer.ggml.merges", i, &text) || text.len < 3)
            return error_set(err, ERROR_INVALID, "merge %zu is no pair of tokens", i);
        /* A token may itself begin with a space, so the dividing one is looked for past the first byte. */
        const char *space = memchr(text.data + 1, ' ', text.len - 1);
        size_t left = space ? (size_t)(space - text.data) : text.len;
        if (left + 1 >= text.len)
            return error_set(err, ERROR_INVALID, "merge %zu is no pair of tokens", i);
        if (!bpe_add_merge(&t->bpe, text.data, left, text.data + left + 1, text.len - left - 1, err))
            return false;
    }
    return true;
}

static json_t *pretokenizer_json(const struct pre *pre)
{
    json_t *steps = json_array();
    for (size_t i = 0; i < 4 && pre->patterns[i]; i++)
        json_array_append_new(steps, json_pack("{s:s,s:{s:s},s:s}", "type", "Split", "pattern", "Regex",
                                         pre->patterns[i], "behavior", "Isolated"));
    json_array_append_new(
        steps, json_pack("{s:s,s:b,s:b}", "type", "ByteLevel", "add_prefix_space", 0, "use_regex", 0));
    return json_pack("{s:s,s:o}", "type", "Sequence", "pretokenizers", steps);
}

static bool open_merges(struct tokenizer *t, const struct gguf *file, size_t count, struct error *err)
{
    const struct pre *pre = find_pre(file, err);
    if (!pre)
        return false;
    for (size_t i = 0; i < count; i++) {
        struct gguf_string text;
        int64_t type;
        double score;
        if (!token_at(file, i, &text, &type, &score, err) ||
            !vocabulary_add(&t->vocabulary, text.data, text.len, (int64_t)i, err) ||
            !add_special(t, text, type, i, err))
            return false;
    }
    json_t *steps = pretokenizer_json(pre), *decoder = json_pack("{s:s}", "type", "ByteLevel");
    bool ok = steps && decoder ? pretokenizer_load(&t->pretokenizer, steps, -1, err) &&
                                     decoder_load(&t->decoder, decoder, err)
                               : error_set(err, ERROR_MEMORY, "no memory for a tokenizer");
    json_decref(steps);
    json_decref(decoder);
    if (!ok)
        return false;
    pretokenizer_leave_bytes(&t->pretokenizer);
    t->model = MODEL_BPE;
    t->kind = "byte-level BPE";
    t->bpe = (struct bpe){
        .vocabulary = &t->vocabulary, .unknown = -1, .byte_level = true, .ignore_merges = pre->whole_words};
    bpe_prepare(&t->bpe);
    return load_merges(t, file, err) && added_build(&t->added, NULL, err) &&
           surround(t, file, pre->add_bos, err);
}

static bool read_chat(struct tokenizer *t, const struct gguf *file, struct error *err)
{
    struct gguf_string source;
    if (!gguf_get_string(file, "tokenizer.chat_template", &source))
        return true;
    return chat_template_open(source.data, source.len, &t->chat, err) ||
           error_context(err, "tokenizer.chat_template: ");
}

static void digest(struct tokenizer *t, const struct gguf *file)
{
    static const char *const arrays[] = {"tokenizer.ggml.tokens", "tokenizer.ggml.merges"};
    static const char *const strings[] = {
        "tokenizer.ggml.model", "tokenizer.ggml.pre", "tokenizer.chat_template"};
    crypto_hash_sha256_state state;
    unsigned char bytes[crypto_hash_sha256_BYTES];
    struct gguf_string text;
    crypto_hash_sha256_init(&state);
    for (size_t k = 0; k < sizeof(arrays) / sizeof(*arrays); k++) {
        for (size_t i = 0; gguf_array_string(file, arrays[k], i, &text); i++) {
            uint64_t len = text.len;
            double score = 0;
            crypto_hash_sha256_update(&state, (const unsigned char *)&len, sizeof(len));
            crypto_hash_sha256_update(&state, (const unsigned char *)text.data, text.len);
            if (k == 0 && gguf_array_float(file, "tokenizer.ggml.scores", i, &score))
                crypto_hash_sha256_update(&state, (const unsigned char *)&score, sizeof(score));
        }
    }
    for (size_t k = 0; k < sizeof(strings) / sizeof(*strings); k++) {
        if (gguf_get_string(file, strings[k], &text))
            crypto_hash_sha256_update(&state, (const unsigned char *)text.data, text.len);
    }
    crypto_hash_sha256_final(&state, bytes);
    sodium_bin2hex(t->digest, sizeof(t->digest), bytes, sizeof(bytes));
}

bool tokenizer_open_gguf(const struct gguf *file, struct tokenizer **out, struct error *err)
{
    struct gguf_string model;
    enum gguf_type element;
    size_t count = 0;
    if (!gguf_get_string(file, "tokenizer.ggml.model", &model) ||
        !gguf_get_array(file, "tokenizer.ggml.tokens", &element, &count) || element != GGUF_STRING)
        return error_set(err, ERROR_NOT_FOUND, "the GGUF file carries no tokenizer");
    bool scores = model.len == 5 && memcmp(model.data, "llama", 5) == 0;
    bool merges = model.len == 4 && memcmp(model.data, "gpt2", 4) == 0;
    if (!scores && !merges)
        return error_set(err, ERROR_UNSUPPORTED, "the tokenizer \"%.*s\" of a GGUF file is not known",
            (int)(model.len < 60 ? model.len : 60), model.data);
    struct tokenizer *t = calloc(1, sizeof(*t));
    if (!t)
        return error_set(err, ERROR_MEMORY, "no memory for a tokenizer");
    unicode_open();
    t->max_length = SIZE_MAX;
    bool ok = word_cache_init(&t->cache, err) &&
              (scores ? open_scores(t, file, count, err) : open_merges(t, file, count, err)) &&
              read_special(t, file, err) && read_chat(t, file, err);
    if (!ok) {
        tokenizer_close(t);
        return false;
    }
    digest(t, file);
    *out = t;
    return true;
}
