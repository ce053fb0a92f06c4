#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/model/tokenizer/files.h"
#include "worker/model/tokenizer/postprocessor.h"
#include "worker/model/tokenizer/slow.h"
#include "worker/model/tokenizer/slow_open.h"
#include "worker/model/tokenizer/unicode.h"

const char *slow_setting(const json_t *config, const char *key, const char *otherwise)
{
    const char *content = special_content(json_object_get(config, key));
    return content ? content : otherwise;
}

bool slow_flag(const json_t *config, const char *key, bool otherwise)
{
    const json_t *value = json_object_get(config, key);
    return json_is_boolean(value) ? json_is_true(value) : otherwise;
}

double slow_number(const json_t *config, const char *key, double otherwise)
{
    const json_t *value = json_object_get(config, key);
    return json_is_number(value) ? json_number_value(value) : otherwise;
}

bool slow_set_special(struct tokenizer *t, enum special_name name, const char *content, struct error *err)
{
    if (t->special[name])
        return true;
    t->special[name] = strdup(content);
    return t->special[name] || error_set(err, ERROR_MEMORY, "no memory for a tokenizer");
}

struct added_token slow_special_flags(const json_t *value)
{
    return (struct added_token){.special = true,
        .single_word = slow_flag(value, "single_word", false),
        .lstrip = slow_flag(value, "lstrip", false),
        .rstrip = slow_flag(value, "rstrip", false)};
}

bool slow_add_at(
    struct tokenizer *t, const char *content, int64_t id, struct added_token flags, struct error *err)
{
    flags.id = (int32_t)id;
    return added_push(&t->added, content, strlen(content), flags, err);
}

/* A token by name: the model's id for it, or the next one past everything. */
bool slow_add_named(struct tokenizer *t, const char *content, struct added_token flags, struct error *err)
{
    if (!*content || added_by_content(&t->added, content, strlen(content)))
        return true;
    int32_t id = vocabulary_find(&t->vocabulary, content, strlen(content));
    return slow_add_at(t, content, id >= 0 ? id : (int64_t)tokenizer_vocabulary_size(t), flags, err);
}

bool slow_add_from_config(struct tokenizer *t, const json_t *config, struct error *err)
{
    const char *key;
    json_t *item;
    json_object_foreach(json_object_get(config, "added_tokens_decoder"), key, item)
    {
        const char *content = special_content(item);
        char *end;
        long id = strtol(key, &end, 10);
        struct added_token flags = slow_special_flags(item);
        flags.special = slow_flag(item, "special", false);
        flags.normalized = slow_flag(item, "normalized", false);
        if (!content || *end || id < 0)
            return error_set(err, ERROR_INVALID, "added_tokens_decoder has a bad entry \"%.40s\"", key);
        if (!slow_add_at(t, content, id, flags, err))
            return false;
    }
    return true;
}

/* What every class ends with: named special tokens, the tokens' trie, the ids around a text. */
static bool add_specials(struct tokenizer *t, const json_t *config, struct error *err)
{
    for (int i = 0; i < SPECIAL_COUNT; i++) {
        const json_t *value = json_object_get(config, special_keys[i]);
        struct added_token flags = slow_special_flags(value);
        if (i == SPECIAL_MASK && !json_is_object(value) && !t->slow->end_once &&
            t->slow->text != SLOW_WORDPIECE && t->slow->ids != SLOW_IDS_OFFSET)
            flags.lstrip = true; /* <mask> behaves like a word and includes the space before it */
        if (t->special[i] && !slow_add_named(t, t->special[i], flags, err))
            return false;
    }
    size_t k;
    json_t *item;
    json_array_foreach(json_object_get(config, "additional_special_tokens"), k, item)
    {
        const char *content = special_content(item);
        if (content && !slow_add_named(t, content, slow_special_flags(item), err))
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
bool slow_surround(struct tokenizer *t, struct token_ids *around, const char *before, const char *after,
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

bool slow_finish(struct tokenizer *t, const json_t *config, const char *before, const char *after,
    const char *last, struct error *err)
{
    if (!t->slow->base_size)
        t->slow->base_size = (int32_t)t->vocabulary.text_count;
    return add_specials(t, config, err) && build_trie(t, err) &&
           slow_surround(t, &t->around, before, after, last, err);
}

bool slow_load_vocabulary_json(struct tokenizer *t, const char *dir, const char *name, struct error *err)
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
static bool open_byte_bpe(struct tokenizer *t, const char *dir, const json_t *config,
    const struct slow_family *f, struct error *err)
{
    bool gpt2 = strcmp(f->class_name, "GPT2Tokenizer") == 0;
    struct slow *slow = t->slow;
    slow->text = SLOW_BYTE_BPE;
    slow->join = SLOW_JOIN_BYTES;
    slow->add_prefix_space = slow_flag(config, "add_prefix_space", false);
    t->kind = "byte-level BPE";
    t->bpe = (struct bpe){.vocabulary = &t->vocabulary, .unknown = -1, .byte_level = true};
    if (!slow_load_vocabulary_json(t, dir, "vocab.json", err) || !load_merges(t, dir, err))
        return false;
    const char *end = gpt2 ? "<|endoftext|>" : "</s>", *begin = gpt2 ? end : "<s>",
               *unknown = gpt2 ? end : "<unk>";
    bool ok = slow_set_special(t, SPECIAL_BOS, begin, err) && slow_set_special(t, SPECIAL_EOS, end, err) &&
              slow_set_special(t, SPECIAL_UNK, unknown, err);
    if (!gpt2)
        ok = ok && slow_set_special(t, SPECIAL_SEP, "</s>", err) &&
             slow_set_special(t, SPECIAL_CLS, "<s>", err) && slow_set_special(t, SPECIAL_PAD, "<pad>", err) &&
             slow_set_special(t, SPECIAL_MASK, "<mask>", err);
    if (!ok)
        return false;
    t->bpe.unknown =
        vocabulary_find(&t->vocabulary, t->special[SPECIAL_UNK], strlen(t->special[SPECIAL_UNK]));
    bpe_prepare(&t->bpe);
    if (!slow_add_from_config(t, config, err))
        return false;
    if (gpt2)
        return slow_finish(t, config,
            slow_flag(config, "add_bos_token", false) ? t->special[SPECIAL_BOS] : NULL, NULL, NULL, err);
    return slow_finish(t, config, t->special[SPECIAL_CLS], t->special[SPECIAL_SEP], NULL, err);
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

static bool open_bert(struct tokenizer *t, const char *dir, const json_t *config, const struct slow_family *f,
    struct error *err)
{
    struct slow *slow = t->slow;
    slow->text = SLOW_WORDPIECE;
    slow->join = SLOW_JOIN_WORDS;
    slow->lowercase = slow_flag(config, "do_lower_case", true);
    slow->strip_accents = slow_flag(config, "strip_accents", slow->lowercase);
    slow->chinese = slow_flag(config, "tokenize_chinese_chars", true);
    t->clean_up = slow_flag(config, "clean_up_tokenization_spaces", true);
    t->kind = "WordPiece";
    if (!load_lines(t, dir, f->file, err) || !slow_set_special(t, SPECIAL_UNK, "[UNK]", err) ||
        !slow_set_special(t, SPECIAL_SEP, "[SEP]", err) || !slow_set_special(t, SPECIAL_PAD, "[PAD]", err) ||
        !slow_set_special(t, SPECIAL_CLS, "[CLS]", err) || !slow_set_special(t, SPECIAL_MASK, "[MASK]", err))
        return false;
    int32_t unknown =
        vocabulary_find(&t->vocabulary, t->special[SPECIAL_UNK], strlen(t->special[SPECIAL_UNK]));
    if (unknown < 0)
        return error_set(err, ERROR_INVALID, "%s lacks the unknown token", f->file);
    t->wordpiece = (struct wordpiece){
        .vocabulary = &t->vocabulary, .unknown = unknown, .prefix = strdup("##"), .max_characters = 100};
    if (!t->wordpiece.prefix)
        return error_set(err, ERROR_MEMORY, "no memory for a tokenizer");
    return slow_add_from_config(t, config, err) &&
           slow_finish(t, config, t->special[SPECIAL_CLS], t->special[SPECIAL_SEP], NULL, err);
}

/* Where a directory does not say its class, the first family whose file it has is taken. */
static const struct slow_family families[] = {
    {"BartTokenizer", "bart", "vocab.json", open_byte_bpe},
    {"LEDTokenizer", "led", "vocab.json", open_byte_bpe},
    {"RobertaTokenizer", "roberta", "vocab.json", open_byte_bpe},
    {"GPT2Tokenizer", "gpt2", "vocab.json", open_byte_bpe},
    {"T5Tokenizer", "t5", "spiece.model", slow_open_t5},
    {"T5Tokenizer", "mt5", "spiece.model", slow_open_t5},
    {"MT5Tokenizer", "mt5", "spiece.model", slow_open_t5},
    {"PegasusTokenizer", "pegasus", "spiece.model", slow_open_pegasus},
    {"MarianTokenizer", "marian", "source.spm", slow_open_marian},
    {"M2M100Tokenizer", "m2m_100", "sentencepiece.bpe.model", slow_open_m2m100},
    {"NllbTokenizer", "nllb", "sentencepiece.bpe.model", slow_open_nllb},
    {"MBart50Tokenizer", "mbart50", "sentencepiece.bpe.model", slow_open_mbart},
    {"MBartTokenizer", "mbart", "sentencepiece.bpe.model", slow_open_mbart},
    {"XLMRobertaTokenizer", "xlm-roberta", "sentencepiece.bpe.model", slow_open_xlm_roberta},
    {"LlamaTokenizer", "llama", "tokenizer.model", slow_open_llama},
    {"LlamaTokenizer", "mistral", "tokenizer.model", slow_open_llama},
    {"CodeLlamaTokenizer", "llama", "tokenizer.model", slow_open_llama},
    {"DebertaV2Tokenizer", "deberta-v2", "spm.model", slow_open_deberta},
    {"BertTokenizer", "bert", "vocab.txt", open_bert},
    {"DistilBertTokenizer", "distilbert", "vocab.txt", open_bert},
};

static const struct slow_family *find_family(const char *dir, const json_t *config, const char *model_type)
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
    const struct slow_family *family = find_family(dir, config, model_type);
    json_decref(model_config);
    if (!family)
        return error_set(err, ERROR_NOT_FOUND, "%s holds no tokenizer files", dir);
    unicode_open();
    t->slow = calloc(1, sizeof(*t->slow));
    if (!t->slow)
        return error_set(err, ERROR_MEMORY, "no memory for a tokenizer");
    return family->open(t, dir, config, family, err);
}
