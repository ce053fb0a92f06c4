#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/model/tokenizer/files.h"
#include "worker/model/tokenizer/postprocessor.h"
#include "worker/model/tokenizer/slow.h"
#include "worker/model/tokenizer/unicode.h"

#include "worker/model/tokenizer/languages.inc"

enum { MBART_LANGUAGES = 25, PEGASUS_OFFSET = 103 };

/* One class and the files it is made of. */
struct family {
    const char *class_name; /* tokenizer_class without "Fast" */
    const char *model_type; /* config.json's, when there is no tokenizer_class */
    const char *file;
    bool (*open)(struct tokenizer *t, const char *dir, const json_t *config, const struct family *f,
        struct error *err);
};

static const char *setting(const json_t *config, const char *key, const char *otherwise)
{
    const char *content = special_content(json_object_get(config, key));
    return content ? content : otherwise;
}

static bool flag(const json_t *config, const char *key, bool otherwise)
{
    const json_t *value = json_object_get(config, key);
    return json_is_boolean(value) ? json_is_true(value) : otherwise;
}

static double number(const json_t *config, const char *key, double otherwise)
{
    const json_t *value = json_object_get(config, key);
    return json_is_number(value) ? json_number_value(value) : otherwise;
}

static bool set_special(struct tokenizer *t, enum special_name name, const char *content, struct error *err)
{
    if (t->special[name])
        return true;
    t->special[name] = strdup(content);
    return t->special[name] || error_set(err, ERROR_MEMORY, "no memory for a tokenizer");
}

static struct added_token special_flags(const json_t *value)
{
    return (struct added_token){.special = true,
        .single_word = flag(value, "single_word", false),
        .lstrip = flag(value, "lstrip", false),
        .rstrip = flag(value, "rstrip", false)};
}

static bool add_at(
    struct tokenizer *t, const char *content, int64_t id, struct added_token flags, struct error *err)
{
    flags.id = (int32_t)id;
    return added_push(&t->added, content, strlen(content), flags, err);
}

/* A token by name: the model's id for it, or the next one past everything. */
static bool add_named(struct tokenizer *t, const char *content, struct added_token flags, struct error *err)
{
    if (!*content || added_by_content(&t->added, content, strlen(content)))
        return true;
    int32_t id = vocabulary_find(&t->vocabulary, content, strlen(content));
    return add_at(t, content, id >= 0 ? id : (int64_t)tokenizer_vocabulary_size(t), flags, err);
}

static bool add_from_config(struct tokenizer *t, const json_t *config, struct error *err)
{
    const char *key;
    json_t *item;
    json_object_foreach(json_object_get(config, "added_tokens_decoder"), key, item)
    {
        const char *content = special_content(item);
        char *end;
        long id = strtol(key, &end, 10);
        struct added_token flags = special_flags(item);
        flags.special = flag(item, "special", false);
        flags.normalized = flag(item, "normalized", false);
        if (!content || *end || id < 0)
            return error_set(err, ERROR_INVALID, "added_tokens_decoder has a bad entry \"%.40s\"", key);
        if (!add_at(t, content, id, flags, err))
            return false;
    }
    return true;
}

/* What every class ends with: named special tokens, the tokens' trie, the ids around a text. */
static bool add_specials(struct tokenizer *t, const json_t *config, struct error *err)
{
    for (int i = 0; i < SPECIAL_COUNT; i++) {
        const json_t *value = json_object_get(config, special_keys[i]);
        struct added_token flags = special_flags(value);
        if (i == SPECIAL_MASK && !json_is_object(value) && !t->slow->end_once &&
            t->slow->text != SLOW_WORDPIECE && t->slow->ids != SLOW_IDS_OFFSET)
            flags.lstrip = true; /* <mask> behaves like a word and includes the space before it */
        if (t->special[i] && !add_named(t, t->special[i], flags, err))
            return false;
    }
    size_t k;
    json_t *item;
    json_array_foreach(json_object_get(config, "additional_special_tokens"), k, item)
    {
        const char *content = special_content(item);
        if (content && !add_named(t, content, special_flags(item), err))
            return false;
    }
    return true;
}

static bool build_trie(struct tokenizer *t, struct error *err)
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

/* `before` and `after` are special tokens' contents, NULL: none. */
static bool surround(struct tokenizer *t, struct token_ids *around, const char *before, const char *after,
    const char *last, struct error *err)
{
    const char *names[] = {before, NULL, after, last};
    around->count = 0;
    for (size_t i = 0; i < 4; i++) {
        int32_t id = i == 1 ? POSTPROCESSOR_TEXT : -2;
        if (names[i]) {
            id = tokenizer_token_id(t, names[i]);
            if (id < 0)
                return error_set(err, ERROR_INVALID, "the special token \"%.60s\" has no id", names[i]);
        }
        if (id != -2 && !token_ids_push(around, id, err))
            return false;
    }
    return true;
}

static bool finish(struct tokenizer *t, const json_t *config, const char *before, const char *after,
    const char *last, struct error *err)
{
    if (!t->slow->base_size)
        t->slow->base_size = (int32_t)t->vocabulary.text_count;
    return add_specials(t, config, err) && build_trie(t, err) &&
           surround(t, &t->around, before, after, last, err);
}

static bool load_vocabulary_json(struct tokenizer *t, const char *dir, const char *name, struct error *err)
{
    json_t *json = NULL;
    if (!files_read_json(dir, name, 0, &json, err))
        return false;
    bool ok = json_is_object(json) || error_set(err, ERROR_INVALID, "%s/%s is no object", dir, name);
    const char *token;
    json_t *id;
    json_object_foreach(json, token, id)
    {
        ok = ok && (json_is_integer(id) ||
                       error_set(err, ERROR_INVALID, "the id of \"%.60s\" is no integer", token));
        ok = ok && vocabulary_add(&t->vocabulary, token, strlen(token), json_integer_value(id), err);
    }
    json_decref(json);
    return ok;
}

static bool load_merges(struct tokenizer *t, const char *dir, struct error *err)
{
    char *text;
    size_t len;
    if (!files_read(dir, "merges.txt", &text, &len, err))
        return false;
    bool ok = true;
    size_t number = 0;
    for (char *line = text, *end; ok && line < text + len; line = end + 1) {
        end = memchr(line, '\n', (size_t)(text + len - line));
        /* The first line is a version, and what follows the last line end is dropped, as the reference does.
         */
        if (!end)
            break;
        if (number++ == 0)
            continue;
        *end = '\0';
        char *space = strchr(line, ' ');
        if (!space || strchr(space + 1, ' '))
            ok = *line == '\0' ||
                 error_set(err, ERROR_INVALID, "merges.txt line %zu is no pair of tokens", number);
        else
            ok = bpe_add_merge(&t->bpe, line, (size_t)(space - line), space + 1, strlen(space + 1), err);
    }
    free(text);
    return ok;
}

/* GPT-2, BART, RoBERTa, LED. */
static bool open_byte_bpe(
    struct tokenizer *t, const char *dir, const json_t *config, const struct family *f, struct error *err)
{
    bool gpt2 = strcmp(f->class_name, "GPT2Tokenizer") == 0;
    struct slow *slow = t->slow;
    slow->text = SLOW_BYTE_BPE;
    slow->join = SLOW_JOIN_BYTES;
    slow->add_prefix_space = flag(config, "add_prefix_space", false);
    t->kind = "byte-level BPE";
    t->bpe = (struct bpe){.vocabulary = &t->vocabulary, .unknown = -1, .byte_level = true};
    if (!load_vocabulary_json(t, dir, "vocab.json", err) || !load_merges(t, dir, err))
        return false;
    const char *end = gpt2 ? "<|endoftext|>" : "</s>", *begin = gpt2 ? end : "<s>",
               *unknown = gpt2 ? end : "<unk>";
    bool ok = set_special(t, SPECIAL_BOS, begin, err) && set_special(t, SPECIAL_EOS, end, err) &&
              set_special(t, SPECIAL_UNK, unknown, err);
    if (!gpt2)
        ok = ok && set_special(t, SPECIAL_SEP, "</s>", err) && set_special(t, SPECIAL_CLS, "<s>", err) &&
             set_special(t, SPECIAL_PAD, "<pad>", err) && set_special(t, SPECIAL_MASK, "<mask>", err);
    if (!ok)
        return false;
    t->bpe.unknown =
        vocabulary_find(&t->vocabulary, t->special[SPECIAL_UNK], strlen(t->special[SPECIAL_UNK]));
    bpe_prepare(&t->bpe);
    if (!add_from_config(t, config, err))
        return false;
    if (gpt2)
        return finish(t, config, flag(config, "add_bos_token", false) ? t->special[SPECIAL_BOS] : NULL, NULL,
            NULL, err);
    return finish(t, config, t->special[SPECIAL_CLS], t->special[SPECIAL_SEP], NULL, err);
}

static bool load_lines(struct tokenizer *t, const char *dir, const char *name, struct error *err)
{
    char *text;
    size_t len;
    if (!files_read(dir, name, &text, &len, err))
        return false;
    bool ok = true;
    int64_t id = 0;
    for (char *line = text; ok && line < text + len; id++) {
        char *end = memchr(line, '\n', (size_t)(text + len - line));
        size_t line_len = end ? (size_t)(end - line) : (size_t)(text + len - line);
        size_t token_len = line_len && line[line_len - 1] == '\r' ? line_len - 1 : line_len;
        ok = vocabulary_add(&t->vocabulary, line, token_len, id, err);
        line += line_len + 1;
    }
    free(text);
    return ok;
}

static bool open_bert(
    struct tokenizer *t, const char *dir, const json_t *config, const struct family *f, struct error *err)
{
    struct slow *slow = t->slow;
    slow->text = SLOW_WORDPIECE;
    slow->join = SLOW_JOIN_WORDS;
    slow->lowercase = flag(config, "do_lower_case", true);
    slow->strip_accents = flag(config, "strip_accents", slow->lowercase);
    slow->chinese = flag(config, "tokenize_chinese_chars", true);
    t->clean_up = flag(config, "clean_up_tokenization_spaces", true);
    t->kind = "WordPiece";
    if (!load_lines(t, dir, f->file, err) || !set_special(t, SPECIAL_UNK, "[UNK]", err) ||
        !set_special(t, SPECIAL_SEP, "[SEP]", err) || !set_special(t, SPECIAL_PAD, "[PAD]", err) ||
        !set_special(t, SPECIAL_CLS, "[CLS]", err) || !set_special(t, SPECIAL_MASK, "[MASK]", err))
        return false;
    int32_t unknown =
        vocabulary_find(&t->vocabulary, t->special[SPECIAL_UNK], strlen(t->special[SPECIAL_UNK]));
    if (unknown < 0)
        return error_set(err, ERROR_INVALID, "%s lacks the unknown token", f->file);
    t->wordpiece = (struct wordpiece){
        .vocabulary = &t->vocabulary, .unknown = unknown, .prefix = strdup("##"), .max_characters = 100};
    if (!t->wordpiece.prefix)
        return error_set(err, ERROR_MEMORY, "no memory for a tokenizer");
    return add_from_config(t, config, err) &&
           finish(t, config, t->special[SPECIAL_CLS], t->special[SPECIAL_SEP], NULL, err);
}

static bool load_sentencepiece(
    const char *dir, const char *name, struct sentencepiece **out, struct error *err)
{
    char *blob;
    size_t len;
    if (!files_read(dir, name, &blob, &len, err))
        return false;
    struct sentencepiece *model = calloc(1, sizeof(*model));
    bool ok = model || error_set(err, ERROR_MEMORY, "no memory for a tokenizer");
    ok = ok && sentencepiece_open(model, name, blob, len, err);
    free(blob);
    if (!ok) {
        free(model);
        return false;
    }
    *out = model;
    return true;
}

/* The model's own ids with their spellings, for decoding. */
static bool copy_pieces(struct tokenizer *t, int64_t shift, struct error *err)
{
    const struct sentencepiece *model = t->slow->source;
    for (size_t i = 0; i < model->count; i++) {
        struct token_text text = vocabulary_text(&model->pieces, (int32_t)i);
        if (text.data && !vocabulary_add(&t->vocabulary, text.data, text.len, (int64_t)i + shift, err))
            return false;
    }
    return true;
}

static bool start_sentencepiece(struct tokenizer *t, const char *dir, const char *file, struct error *err)
{
    t->slow->text = SLOW_SENTENCEPIECE;
    if (!load_sentencepiece(dir, file, &t->slow->source, err))
        return false;
    t->kind = t->slow->source->model == SENTENCEPIECE_BPE ? "SentencePiece BPE" : "SentencePiece unigram";
    return true;
}

static bool count_piece(void *context, const char *piece, size_t len, int32_t id, struct error *err)
{
    (void)piece;
    (void)len;
    (void)id;
    (void)err;
    ++*(size_t *)context;
    return true;
}

/* legacy=false: the model itself adds no space in front; the class does. */
static bool modernise(struct tokenizer *t, const json_t *config, struct error *err)
{
    struct slow *slow = t->slow;
    slow->modern = json_is_false(json_object_get(config, "legacy"));
    slow->add_prefix_space = flag(config, "add_prefix_space", true);
    if (!slow->modern)
        return true;
    slow->source->add_dummy_prefix = false;
    const char *unknown = t->special[SPECIAL_UNK];
    return sentencepiece_encode(
        slow->source, unknown, strlen(unknown), count_piece, &slow->unknown_pieces, err);
}

static bool open_t5(
    struct tokenizer *t, const char *dir, const json_t *config, const struct family *f, struct error *err)
{
    double extra = number(config, "extra_ids", 100);
    t->slow->join = SLOW_JOIN_PIECES_SPACED;
    t->slow->end_once = true;
    if (!(extra >= 0 && extra <= 10000))
        return error_set(err, ERROR_INVALID, "extra_ids is outside 0..10000");
    int64_t extra_ids = (int64_t)extra;
    if (!start_sentencepiece(t, dir, f->file, err) || !copy_pieces(t, 0, err) ||
        !set_special(t, SPECIAL_EOS, "</s>", err) || !set_special(t, SPECIAL_UNK, "<unk>", err) ||
        !set_special(t, SPECIAL_PAD, "<pad>", err) || !modernise(t, config, err))
        return false;
    int64_t size = (int64_t)t->slow->source->count;
    struct added_token flags = {.special = true, .lstrip = true, .rstrip = true};
    for (int64_t i = 0; i < extra_ids; i++) {
        char name[32];
        snprintf(name, sizeof(name), "<extra_id_%d>", (int)i);
        if (!add_at(t, name, size - 1 + extra_ids - i, flags, err))
            return false;
    }
    return add_from_config(t, config, err) && finish(t, config, NULL, t->special[SPECIAL_EOS], NULL, err);
}

static bool open_llama(
    struct tokenizer *t, const char *dir, const json_t *config, const struct family *f, struct error *err)
{
    t->slow->join = SLOW_JOIN_PIECES_LLAMA;
    if (!start_sentencepiece(t, dir, f->file, err) || !copy_pieces(t, 0, err) ||
        !set_special(t, SPECIAL_UNK, "<unk>", err) || !set_special(t, SPECIAL_BOS, "<s>", err) ||
        !set_special(t, SPECIAL_EOS, "</s>", err) || !modernise(t, config, err) ||
        !add_from_config(t, config, err))
        return false;
    return finish(t, config, flag(config, "add_bos_token", true) ? t->special[SPECIAL_BOS] : NULL,
        flag(config, "add_eos_token", false) ? t->special[SPECIAL_EOS] : NULL, NULL, err);
}

/* fairseq's four tokens in front and every piece one up. */
static bool start_fairseq(
    struct tokenizer *t, const char *dir, const struct family *f, const json_t *config, struct error *err)
{
    static const char *const first[] = {"<s>", "<pad>", "</s>", "<unk>"};
    static const enum special_name names[] = {SPECIAL_BOS, SPECIAL_PAD, SPECIAL_EOS, SPECIAL_UNK};
    t->slow->ids = SLOW_IDS_FAIRSEQ;
    t->slow->join = SLOW_JOIN_SPACES;
    t->slow->unknown = 3;
    if (!start_sentencepiece(t, dir, f->file, err) || !copy_pieces(t, 1, err))
        return false;
    for (int i = 0; i < 4; i++) {
        struct added_token flags = special_flags(json_object_get(config, special_keys[names[i]]));
        if (!vocabulary_add(&t->vocabulary, first[i], strlen(first[i]), i, err) ||
            !set_special(t, names[i], first[i], err) || !add_at(t, first[i], i, flags, err))
            return false;
    }
    return set_special(t, SPECIAL_SEP, "</s>", err) && set_special(t, SPECIAL_CLS, "<s>", err) &&
           set_special(t, SPECIAL_MASK, "<mask>", err);
}

static bool open_xlm_roberta(
    struct tokenizer *t, const char *dir, const json_t *config, const struct family *f, struct error *err)
{
    struct added_token mask = special_flags(json_object_get(config, "mask_token"));
    mask.lstrip = mask.lstrip || !json_is_object(json_object_get(config, "mask_token"));
    if (!start_fairseq(t, dir, f, config, err) ||
        !add_at(t, t->special[SPECIAL_MASK], (int64_t)t->slow->source->count + 1, mask, err))
        return false;
    return add_from_config(t, config, err) &&
           finish(t, config, t->special[SPECIAL_CLS], t->special[SPECIAL_SEP], NULL, err);
}

static bool add_languages(struct tokenizer *t, const char *list, size_t most, int64_t id, struct error *err)
{
    struct added_token flags = {.special = true};
    for (size_t count = 0; *list && count < most; count++) {
        size_t len = strcspn(list, " ");
        char name[64];
        snprintf(name, sizeof(name), "%.*s", (int)len, list);
        if (!added_by_content(&t->added, name, strlen(name)) && !add_at(t, name, id, flags, err))
            return false;
        id++;
        list += len + 1;
    }
    return true;
}

/* mBART: text </s> code; mBART-50 and today's NLLB: code text </s>. */
static bool surround_language(
    struct tokenizer *t, const json_t *config, const char *source, bool in_front, struct error *err)
{
    const char *end = t->special[SPECIAL_EOS];
    const char *from = setting(config, "src_lang", source), *to = setting(config, "tgt_lang", NULL);
    if (!surround(t, &t->around, in_front ? from : NULL, end, in_front ? NULL : from, err))
        return false;
    return !to || surround(t, &t->around_target, in_front ? to : NULL, end, in_front ? NULL : to, err);
}

static bool open_mbart(
    struct tokenizer *t, const char *dir, const json_t *config, const struct family *f, struct error *err)
{
    bool fifty = strcmp(f->class_name, "MBart50Tokenizer") == 0;
    size_t languages = fifty ? 52 : MBART_LANGUAGES;
    if (!start_fairseq(t, dir, f, config, err))
        return false;
    if (fifty)
        t->slow->join = SLOW_JOIN_PIECES_SPACED;
    int64_t base = (int64_t)t->slow->source->count + 1;
    t->slow->base_size = (int32_t)(base + (int64_t)languages + 1);
    struct added_token mask = special_flags(json_object_get(config, "mask_token"));
    mask.lstrip = mask.lstrip || !json_is_object(json_object_get(config, "mask_token"));
    return add_languages(t, mbart_languages, languages, base, err) &&
           add_at(t, t->special[SPECIAL_MASK], base + (int64_t)languages, mask, err) &&
           add_from_config(t, config, err) && finish(t, config, NULL, NULL, NULL, err) &&
           surround_language(t, config, "en_XX", fifty, err);
}

static bool open_nllb(
    struct tokenizer *t, const char *dir, const json_t *config, const struct family *f, struct error *err)
{
    bool legacy = flag(config, "legacy_behaviour", false);
    if (!start_fairseq(t, dir, f, config, err) || !add_from_config(t, config, err))
        return false;
    struct added_token mask = special_flags(json_object_get(config, "mask_token"));
    mask.lstrip = mask.lstrip || !json_is_object(json_object_get(config, "mask_token"));
    /* Without a list of its own the mask comes first past the pieces, then the languages. */
    if (!add_named(t, t->special[SPECIAL_MASK], mask, err))
        return false;
    if (!json_is_array(json_object_get(config, "additional_special_tokens")) &&
        !add_languages(t, nllb_languages, SIZE_MAX, (int64_t)tokenizer_vocabulary_size(t), err))
        return false;
    return finish(t, config, NULL, NULL, NULL, err) && surround_language(t, config, "eng_Latn", !legacy, err);
}

/* "__en__" and its like: ids without being added tokens, so that a text never holds them. */
static bool add_language_words(struct tokenizer *t, const char *list, struct error *err)
{
    for (int64_t id = (int64_t)t->vocabulary.text_count; *list; id++) {
        size_t len = strcspn(list, " ");
        char name[64];
        snprintf(name, sizeof(name), "__%.*s__", (int)len, list);
        if (!vocabulary_add(&t->vocabulary, name, strlen(name), id, err))
            return false;
        list += len + 1;
    }
    return true;
}

static bool open_m2m100(
    struct tokenizer *t, const char *dir, const json_t *config, const struct family *f, struct error *err)
{
    const char *codes = setting(config, "language_codes", "m2m100");
    const char *list = strcmp(codes, "wmt21") == 0 ? wmt21_languages : m2m100_languages;
    t->slow->ids = SLOW_IDS_VOCABULARY;
    t->slow->join = SLOW_JOIN_PIECES;
    if (!start_sentencepiece(t, dir, f->file, err) || !load_vocabulary_json(t, dir, "vocab.json", err) ||
        !set_special(t, SPECIAL_BOS, "<s>", err) || !set_special(t, SPECIAL_EOS, "</s>", err) ||
        !set_special(t, SPECIAL_SEP, "</s>", err) || !set_special(t, SPECIAL_UNK, "<unk>", err) ||
        !set_special(t, SPECIAL_PAD, "<pad>", err))
        return false;
    t->slow->unknown =
        vocabulary_find(&t->vocabulary, t->special[SPECIAL_UNK], strlen(t->special[SPECIAL_UNK]));
    if (t->slow->unknown < 0)
        return error_set(err, ERROR_INVALID, "vocab.json lacks the unknown token");
    t->slow->base_size = (int32_t)t->vocabulary.text_count;
    if (!add_language_words(t, list, err) || !add_from_config(t, config, err) ||
        !finish(t, config, NULL, NULL, NULL, err))
        return false;
    char from[64], to[64];
    snprintf(from, sizeof(from), "__%.40s__", setting(config, "src_lang", "en"));
    snprintf(to, sizeof(to), "__%.40s__", setting(config, "tgt_lang", ""));
    return surround(t, &t->around, from, t->special[SPECIAL_EOS], NULL, err) &&
           (strcmp(to, "____") == 0 ||
               surround(t, &t->around_target, to, t->special[SPECIAL_EOS], NULL, err));
}

static bool open_pegasus(
    struct tokenizer *t, const char *dir, const json_t *config, const struct family *f, struct error *err)
{
    double configured = number(config, "offset", PEGASUS_OFFSET);
    t->slow->ids = SLOW_IDS_OFFSET;
    t->slow->join = SLOW_JOIN_PIECES;
    if (!(configured >= 0 && configured <= 10000))
        return error_set(err, ERROR_INVALID, "offset is outside 0..10000");
    int64_t offset = (int64_t)configured;
    t->slow->offset = (int32_t)offset;
    const char *sentence_mask = setting(config, "mask_token_sent", "<mask_1>");
    bool has_mask = !json_is_null(json_object_get(config, "mask_token_sent"));
    if (!start_sentencepiece(t, dir, f->file, err) || !copy_pieces(t, offset, err) ||
        !set_special(t, SPECIAL_PAD, "<pad>", err) || !set_special(t, SPECIAL_EOS, "</s>", err) ||
        !set_special(t, SPECIAL_UNK, "<unk>", err) || !set_special(t, SPECIAL_MASK, "<mask_2>", err) ||
        !add_from_config(t, config, err))
        return false;
    struct added_token flags = {.special = true};
    int64_t id = 2;
    if (!add_at(t, t->special[SPECIAL_PAD], 0, flags, err) ||
        !add_at(t, t->special[SPECIAL_EOS], 1, flags, err))
        return false;
    if (has_mask && (!add_at(t, sentence_mask, id++, flags, err) ||
                        !add_at(t, t->special[SPECIAL_MASK], id++, flags, err)))
        return false;
    for (int64_t i = 2; i < offset; i++) {
        char name[32];
        snprintf(name, sizeof(name), "<unk_%d>", (int)i);
        if (!add_at(t, name, id++, flags, err))
            return false;
    }
    return finish(t, config, NULL, t->special[SPECIAL_EOS], NULL, err);
}

static bool open_marian(
    struct tokenizer *t, const char *dir, const json_t *config, const struct family *f, struct error *err)
{
    t->slow->ids = SLOW_IDS_VOCABULARY;
    t->slow->join = SLOW_JOIN_PIECES_MARIAN;
    t->slow->language_code = true;
    if (flag(config, "separate_vocabs", false))
        return error_set(
            err, ERROR_UNSUPPORTED, "Marian models with separate vocabularies are not supported");
    if (!start_sentencepiece(t, dir, f->file, err) ||
        !load_sentencepiece(dir, "target.spm", &t->slow->target, err) ||
        !load_vocabulary_json(t, dir, "vocab.json", err) || !set_special(t, SPECIAL_UNK, "<unk>", err) ||
        !set_special(t, SPECIAL_EOS, "</s>", err) || !set_special(t, SPECIAL_PAD, "<pad>", err))
        return false;
    t->slow->unknown =
        vocabulary_find(&t->vocabulary, t->special[SPECIAL_UNK], strlen(t->special[SPECIAL_UNK]));
    if (t->slow->unknown < 0)
        return error_set(err, ERROR_INVALID, "vocab.json lacks the unknown token");
    return add_from_config(t, config, err) && finish(t, config, NULL, t->special[SPECIAL_EOS], NULL, err);
}

static bool open_deberta(
    struct tokenizer *t, const char *dir, const json_t *config, const struct family *f, struct error *err)
{
    t->slow->join = SLOW_JOIN_PIECES_SPACED;
    t->slow->lowercase = flag(config, "do_lower_case", false);
    if (flag(config, "split_by_punct", false))
        return error_set(
            err, ERROR_UNSUPPORTED, "DeBERTa tokenizers that split by punctuation are not supported");
    if (!start_sentencepiece(t, dir, f->file, err) || !copy_pieces(t, 0, err) ||
        !set_special(t, SPECIAL_BOS, "[CLS]", err) || !set_special(t, SPECIAL_EOS, "[SEP]", err) ||
        !set_special(t, SPECIAL_UNK, "[UNK]", err) || !set_special(t, SPECIAL_SEP, "[SEP]", err) ||
        !set_special(t, SPECIAL_PAD, "[PAD]", err) || !set_special(t, SPECIAL_CLS, "[CLS]", err) ||
        !set_special(t, SPECIAL_MASK, "[MASK]", err))
        return false;
    t->slow->unknown = t->slow->source->unknown;
    return add_from_config(t, config, err) &&
           finish(t, config, t->special[SPECIAL_CLS], t->special[SPECIAL_SEP], NULL, err);
}

/* Where a directory does not say its class, the first family whose file it has is taken. */
static const struct family families[] = {
    {"BartTokenizer", "bart", "vocab.json", open_byte_bpe},
    {"LEDTokenizer", "led", "vocab.json", open_byte_bpe},
    {"RobertaTokenizer", "roberta", "vocab.json", open_byte_bpe},
    {"GPT2Tokenizer", "gpt2", "vocab.json", open_byte_bpe},
    {"T5Tokenizer", "t5", "spiece.model", open_t5},
    {"T5Tokenizer", "mt5", "spiece.model", open_t5},
    {"MT5Tokenizer", "mt5", "spiece.model", open_t5},
    {"PegasusTokenizer", "pegasus", "spiece.model", open_pegasus},
    {"MarianTokenizer", "marian", "source.spm", open_marian},
    {"M2M100Tokenizer", "m2m_100", "sentencepiece.bpe.model", open_m2m100},
    {"NllbTokenizer", "nllb", "sentencepiece.bpe.model", open_nllb},
    {"MBart50Tokenizer", "mbart50", "sentencepiece.bpe.model", open_mbart},
    {"MBartTokenizer", "mbart", "sentencepiece.bpe.model", open_mbart},
    {"XLMRobertaTokenizer", "xlm-roberta", "sentencepiece.bpe.model", open_xlm_roberta},
    {"LlamaTokenizer", "llama", "tokenizer.model", open_llama},
    {"LlamaTokenizer", "mistral", "tokenizer.model", open_llama},
    {"CodeLlamaTokenizer", "llama", "tokenizer.model", open_llama},
    {"DebertaV2Tokenizer", "deberta-v2", "spm.model", open_deberta},
    {"BertTokenizer", "bert", "vocab.txt", open_bert},
    {"DistilBertTokenizer", "distilbert", "vocab.txt", open_bert},
};

static const struct family *find_family(const char *dir, const json_t *config, const char *model_type)
{
    const char *class_name = json_string_value(json_object_get(config, "tokenizer_class"));
    size_t len = class_name ? strlen(class_name) : 0;
    if (len > 4 && strcmp(class_name + len - 4, "Fast") == 0)
        len -= 4;
    for (size_t i = 0; class_name && i < sizeof(families) / sizeof(*families); i++) {
        if (strlen(families[i].class_name) == len && memcmp(families[i].class_name, class_name, len) == 0 &&
            files_exist(dir, families[i].file))
            return &families[i];
    }
    for (size_t i = 0; model_type && i < sizeof(families) / sizeof(*families); i++) {
        if (strcmp(families[i].model_type, model_type) == 0 && files_exist(dir, families[i].file))
            return &families[i];
    }
    for (size_t i = 0; i < sizeof(families) / sizeof(*families); i++) {
        bool merges = families[i].open != open_byte_bpe || files_exist(dir, "merges.txt");
        if (merges && files_exist(dir, families[i].file))
            return &families[i];
    }
    return NULL;
}

bool slow_open(struct tokenizer *t, const char *dir, const json_t *config, struct error *err)
{
    json_t *model_config = NULL;
    if (files_exist(dir, "config.json") &&
        !files_read_json(dir, "config.json", JSON_DECODE_INT_AS_REAL, &model_config, err))
        return false;
    const char *model_type = json_string_value(json_object_get(model_config, "model_type"));
    const struct family *family = find_family(dir, config, model_type);
    json_decref(model_config);
    if (!family)
        return error_set(err, ERROR_NOT_FOUND, "%s holds no tokenizer files", dir);
    unicode_open();
    t->slow = calloc(1, sizeof(*t->slow));
    if (!t->slow)
        return error_set(err, ERROR_MEMORY, "no memory for a tokenizer");
    return family->open(t, dir, config, family, err);
}
