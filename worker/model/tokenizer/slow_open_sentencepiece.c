/* The classes over SentencePiece models. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/model/tokenizer/files.h"
#include "worker/model/tokenizer/slow_open.h"

#include "worker/model/tokenizer/languages.inc"

enum { MBART_LANGUAGES = 25, PEGASUS_OFFSET = 103 };

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
    slow->add_prefix_space = slow_flag(config, "add_prefix_space", true);
    if (!slow->modern)
        return true;
    slow->source->add_dummy_prefix = false;
    const char *unknown = t->special[SPECIAL_UNK];
    return sentencepiece_encode(
        slow->source, unknown, strlen(unknown), count_piece, &slow->unknown_pieces, err);
}

bool slow_open_t5(struct tokenizer *t, const char *dir, const json_t *config, const struct slow_family *f,
    struct error *err)
{
    double extra = slow_number(config, "extra_ids", 100);
    t->slow->join = SLOW_JOIN_PIECES_SPACED;
    t->slow->end_once = true;
    if (!(extra >= 0 && extra <= 10000))
        return error_set(err, ERROR_INVALID, "extra_ids is outside 0..10000");
    int64_t extra_ids = (int64_t)extra;
    if (!start_sentencepiece(t, dir, f->file, err) || !copy_pieces(t, 0, err) ||
        !slow_set_special(t, SPECIAL_EOS, "</s>", err) || !slow_set_special(t, SPECIAL_UNK, "<unk>", err) ||
        !slow_set_special(t, SPECIAL_PAD, "<pad>", err) || !modernise(t, config, err))
        return false;
    int64_t size = (int64_t)t->slow->source->count;
    struct added_token flags = {.special = true, .lstrip = true, .rstrip = true};
    for (int64_t i = 0; i < extra_ids; i++) {
        char name[32];
        snprintf(name, sizeof(name), "<extra_id_%d>", (int)i);
        if (!slow_add_at(t, name, size - 1 + extra_ids - i, flags, err))
            return false;
    }
    return slow_add_from_config(t, config, err) &&
           slow_finish(t, config, NULL, t->special[SPECIAL_EOS], NULL, err);
}

bool slow_open_llama(struct tokenizer *t, const char *dir, const json_t *config, const struct slow_family *f,
    struct error *err)
{
    t->slow->join = SLOW_JOIN_PIECES_LLAMA;
    if (!start_sentencepiece(t, dir, f->file, err) || !copy_pieces(t, 0, err) ||
        !slow_set_special(t, SPECIAL_UNK, "<unk>", err) || !slow_set_special(t, SPECIAL_BOS, "<s>", err) ||
        !slow_set_special(t, SPECIAL_EOS, "</s>", err) || !modernise(t, config, err) ||
        !slow_add_from_config(t, config, err))
        return false;
    return slow_finish(t, config, slow_flag(config, "add_bos_token", true) ? t->special[SPECIAL_BOS] : NULL,
        slow_flag(config, "add_eos_token", false) ? t->special[SPECIAL_EOS] : NULL, NULL, err);
}

/* fairseq's four tokens in front and every piece one up. */
static bool start_fairseq(struct tokenizer *t, const char *dir, const struct slow_family *f,
    const json_t *config, struct error *err)
{
    static const char *const first[] = {"<s>", "<pad>", "</s>", "<unk>"};
    static const enum special_name names[] = {SPECIAL_BOS, SPECIAL_PAD, SPECIAL_EOS, SPECIAL_UNK};
    t->slow->ids = SLOW_IDS_FAIRSEQ;
    t->slow->join = SLOW_JOIN_SPACES;
    t->slow->unknown = 3;
    if (!start_sentencepiece(t, dir, f->file, err) || !copy_pieces(t, 1, err))
        return false;
    for (int i = 0; i < 4; i++) {
        struct added_token flags = slow_special_flags(json_object_get(config, special_keys[names[i]]));
        if (!vocabulary_add(&t->vocabulary, first[i], strlen(first[i]), i, err) ||
            !slow_set_special(t, names[i], first[i], err) || !slow_add_at(t, first[i], i, flags, err))
            return false;
    }
    return slow_set_special(t, SPECIAL_SEP, "</s>", err) && slow_set_special(t, SPECIAL_CLS, "<s>", err) &&
           slow_set_special(t, SPECIAL_MASK, "<mask>", err);
}

bool slow_open_xlm_roberta(struct tokenizer *t, const char *dir, const json_t *config,
    const struct slow_family *f, struct error *err)
{
    struct added_token mask = slow_special_flags(json_object_get(config, "mask_token"));
    mask.lstrip = mask.lstrip || !json_is_object(json_object_get(config, "mask_token"));
    if (!start_fairseq(t, dir, f, config, err) ||
        !slow_add_at(t, t->special[SPECIAL_MASK], (int64_t)t->slow->source->count + 1, mask, err))
        return false;
    return slow_add_from_config(t, config, err) &&
           slow_finish(t, config, t->special[SPECIAL_CLS], t->special[SPECIAL_SEP], NULL, err);
}

static bool add_languages(struct tokenizer *t, const char *list, size_t most, int64_t id, struct error *err)
{
    struct added_token flags = {.special = true};
    for (size_t count = 0; *list && count < most; count++) {
        size_t len = strcspn(list, " ");
        char name[64];
        snprintf(name, sizeof(name), "%.*s", (int)len, list);
        if (!added_by_content(&t->added, name, strlen(name)) && !slow_add_at(t, name, id, flags, err))
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
    const char *from = slow_setting(config, "src_lang", source), *to = slow_setting(config, "tgt_lang", NULL);
    if (!slow_surround(t, &t->around, in_front ? from : NULL, end, in_front ? NULL : from, err))
        return false;
    return !to || slow_surround(t, &t->around_target, in_front ? to : NULL, end, in_front ? NULL : to, err);
}

bool slow_open_mbart(struct tokenizer *t, const char *dir, const json_t *config, const struct slow_family *f,
    struct error *err)
{
    bool fifty = strcmp(f->class_name, "MBart50Tokenizer") == 0;
    size_t languages = fifty ? 52 : MBART_LANGUAGES;
    if (!start_fairseq(t, dir, f, config, err))
        return false;
    if (fifty)
        t->slow->join = SLOW_JOIN_PIECES_SPACED;
    int64_t base = (int64_t)t->slow->source->count + 1;
    t->slow->base_size = (int32_t)(base + (int64_t)languages + 1);
    struct added_token mask = slow_special_flags(json_object_get(config, "mask_token"));
    mask.lstrip = mask.lstrip || !json_is_object(json_object_get(config, "mask_token"));
    return add_languages(t, mbart_languages, languages, base, err) &&
           slow_add_at(t, t->special[SPECIAL_MASK], base + (int64_t)languages, mask, err) &&
           slow_add_from_config(t, config, err) && slow_finish(t, config, NULL, NULL, NULL, err) &&
           surround_language(t, config, "en_XX", fifty, err);
}

bool slow_open_nllb(struct tokenizer *t, const char *dir, const json_t *config, const struct slow_family *f,
    struct error *err)
{
    bool legacy = slow_flag(config, "legacy_behaviour", false);
    if (!start_fairseq(t, dir, f, config, err) || !slow_add_from_config(t, config, err))
        return false;
    struct added_token mask = slow_special_flags(json_object_get(config, "mask_token"));
    mask.lstrip = mask.lstrip || !json_is_object(json_object_get(config, "mask_token"));
    /* Without a list of its own the mask comes first past the pieces, then the languages. */
    if (!slow_add_named(t, t->special[SPECIAL_MASK], mask, err))
        return false;
    if (!json_is_array(json_object_get(config, "additional_special_tokens")) &&
        !add_languages(t, nllb_languages, SIZE_MAX, (int64_t)tokenizer_vocabulary_size(t), err))
        return false;
    return slow_finish(t, config, NULL, NULL, NULL, err) &&
           surround_language(t, config, "eng_Latn", !legacy, err);
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

bool slow_open_m2m100(struct tokenizer *t, const char *dir, const json_t *config, const struct slow_family *f,
    struct error *err)
{
    const char *codes = slow_setting(config, "language_codes", "m2m100");
    const char *list = strcmp(codes, "wmt21") == 0 ? wmt21_languages : m2m100_languages;
    t->slow->ids = SLOW_IDS_VOCABULARY;
    t->slow->join = SLOW_JOIN_PIECES;
    if (!start_sentencepiece(t, dir, f->file, err) || !slow_load_vocabulary_json(t, dir, "vocab.json", err) ||
        !slow_set_special(t, SPECIAL_BOS, "<s>", err) || !slow_set_special(t, SPECIAL_EOS, "</s>", err) ||
        !slow_set_special(t, SPECIAL_SEP, "</s>", err) || !slow_set_special(t, SPECIAL_UNK, "<unk>", err) ||
        !slow_set_special(t, SPECIAL_PAD, "<pad>", err))
        return false;
    t->slow->unknown =
        vocabulary_find(&t->vocabulary, t->special[SPECIAL_UNK], strlen(t->special[SPECIAL_UNK]));
    if (t->slow->unknown < 0)
        return error_set(err, ERROR_INVALID, "vocab.json lacks the unknown token");
    t->slow->base_size = (int32_t)t->vocabulary.text_count;
    if (!add_language_words(t, list, err) || !slow_add_from_config(t, config, err) ||
        !slow_finish(t, config, NULL, NULL, NULL, err))
        return false;
    char from[64], to[64];
    snprintf(from, sizeof(from), "__%.40s__", slow_setting(config, "src_lang", "en"));
    snprintf(to, sizeof(to), "__%.40s__", slow_setting(config, "tgt_lang", ""));
    return slow_surround(t, &t->around, from, t->special[SPECIAL_EOS], NULL, err) &&
           (strcmp(to, "____") == 0 ||
               slow_surround(t, &t->around_target, to, t->special[SPECIAL_EOS], NULL, err));
}

bool slow_open_pegasus(struct tokenizer *t, const char *dir, const json_t *config,
    const struct slow_family *f, struct error *err)
{
    double configured = slow_number(config, "offset", PEGASUS_OFFSET);
    t->slow->ids = SLOW_IDS_OFFSET;
    t->slow->join = SLOW_JOIN_PIECES;
    if (!(configured >= 0 && configured <= 10000))
        return error_set(err, ERROR_INVALID, "offset is outside 0..10000");
    int64_t offset = (int64_t)configured;
    t->slow->offset = (int32_t)offset;
    const char *sentence_mask = slow_setting(config, "mask_token_sent", "<mask_1>");
    bool has_mask = !json_is_null(json_object_get(config, "mask_token_sent"));
    if (!start_sentencepiece(t, dir, f->file, err) || !copy_pieces(t, offset, err) ||
        !slow_set_special(t, SPECIAL_PAD, "<pad>", err) || !slow_set_special(t, SPECIAL_EOS, "</s>", err) ||
        !slow_set_special(t, SPECIAL_UNK, "<unk>", err) ||
        !slow_set_special(t, SPECIAL_MASK, "<mask_2>", err) || !slow_add_from_config(t, config, err))
        return false;
    struct added_token flags = {.special = true};
    int64_t id = 2;
    if (!slow_add_at(t, t->special[SPECIAL_PAD], 0, flags, err) ||
        !slow_add_at(t, t->special[SPECIAL_EOS], 1, flags, err))
        return false;
    if (has_mask && (!slow_add_at(t, sentence_mask, id++, flags, err) ||
                        !slow_add_at(t, t->special[SPECIAL_MASK], id++, flags, err)))
        return false;
    for (int64_t i = 2; i < offset; i++) {
        char name[32];
        snprintf(name, sizeof(name), "<unk_%d>", (int)i);
        if (!slow_add_at(t, name, id++, flags, err))
            return false;
    }
    return slow_finish(t, config, NULL, t->special[SPECIAL_EOS], NULL, err);
}

bool slow_open_marian(struct tokenizer *t, const char *dir, const json_t *config, const struct slow_family *f,
    struct error *err)
{
    t->slow->ids = SLOW_IDS_VOCABULARY;
    t->slow->join = SLOW_JOIN_PIECES_MARIAN;
    t->slow->language_code = true;
    if (slow_flag(config, "separate_vocabs", false))
        return error_set(
            err, ERROR_UNSUPPORTED, "Marian models with separate vocabularies are not supported");
    if (!start_sentencepiece(t, dir, f->file, err) ||
        !load_sentencepiece(dir, "target.spm", &t->slow->target, err) ||
        !slow_load_vocabulary_json(t, dir, "vocab.json", err) ||
        !slow_set_special(t, SPECIAL_UNK, "<unk>", err) || !slow_set_special(t, SPECIAL_EOS, "</s>", err) ||
        !slow_set_special(t, SPECIAL_PAD, "<pad>", err))
        return false;
    t->slow->unknown =
        vocabulary_find(&t->vocabulary, t->special[SPECIAL_UNK], strlen(t->special[SPECIAL_UNK]));
    if (t->slow->unknown < 0)
        return error_set(err, ERROR_INVALID, "vocab.json lacks the unknown token");
    return slow_add_from_config(t, config, err) &&
           slow_finish(t, config, NULL, t->special[SPECIAL_EOS], NULL, err);
}

bool slow_open_deberta(struct tokenizer *t, const char *dir, const json_t *config,
    const struct slow_family *f, struct error *err)
{
    t->slow->join = SLOW_JOIN_PIECES_SPACED;
    t->slow->lowercase = slow_flag(config, "do_lower_case", false);
    if (slow_flag(config, "split_by_punct", false))
        return error_set(
            err, ERROR_UNSUPPORTED, "DeBERTa tokenizers that split by punctuation are not supported");
    if (!start_sentencepiece(t, dir, f->file, err) || !copy_pieces(t, 0, err) ||
        !slow_set_special(t, SPECIAL_BOS, "[CLS]", err) || !slow_set_special(t, SPECIAL_EOS, "[SEP]", err) ||
        !slow_set_special(t, SPECIAL_UNK, "[UNK]", err) || !slow_set_special(t, SPECIAL_SEP, "[SEP]", err) ||
        !slow_set_special(t, SPECIAL_PAD, "[PAD]", err) || !slow_set_special(t, SPECIAL_CLS, "[CLS]", err) ||
        !slow_set_special(t, SPECIAL_MASK, "[MASK]", err))
        return false;
    t->slow->unknown = t->slow->source->unknown;
    return slow_add_from_config(t, config, err) &&
           slow_finish(t, config, t->special[SPECIAL_CLS], t->special[SPECIAL_SEP], NULL, err);
}
