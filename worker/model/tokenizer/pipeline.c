/* The way of a text through a tokenizer.json: added tokens, normaliser, added tokens again, pre-tokenizer,
 * model. */
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "worker/model/tokenizer/implementation.h"

struct passage {
    const struct tokenizer *tokenizer;
    const char *text; /* the one being split */
    size_t first;     /* bytes from its start that came from the original's first character */
    struct buffer normalized;
    struct pieces pieces, spare;
    struct token_ids *out;
};

static bool encode_word(
    const struct tokenizer *t, const char *word, size_t len, struct token_ids *out, struct error *err)
{
    switch (t->model) {
    case MODEL_BPE: return bpe_encode(&t->bpe, word, len, out, err);
    case MODEL_UNIGRAM: return unigram_encode(&t->unigram, word, len, out, err);
    case MODEL_WORDPIECE: return wordpiece_encode(&t->wordpiece, word, len, out, err);
    case MODEL_WORDLEVEL: break;
    }
    int32_t id = vocabulary_find(&t->vocabulary, word, len);
    if (id < 0)
        id = t->unknown;
    return id >= 0 ? token_ids_push(out, id, err)
                   : error_set(err, ERROR_INVALID,
                         "a word is not in the vocabulary, and there is no unknown token");
}

static bool encode_cached(
    const struct tokenizer *t, const char *word, size_t len, struct token_ids *out, struct error *err)
{
    size_t slot, before = out->count;
    switch (word_cache_get(&t->cache, word, len, &slot, out, err)) {
    case WORD_CACHE_HIT: return true;
    case WORD_CACHE_ERROR: return false;
    case WORD_CACHE_MISS: break;
    }
    if (!encode_word(t, word, len, out, err))
        return false;
    word_cache_keep(&t->cache, slot, word, len, out->ids + before, out->count - before);
    return true;
}

static bool normalized_stretch(
    void *context, size_t begin, size_t end, const struct added_token *token, struct error *err)
{
    struct passage *p = context;
    if (token)
        return token_ids_push(p->out, token->id, err);
    struct pieces *pieces = &p->pieces;
    pieces->count = 0;
    pieces->text.len = 0;
    if (!buffer_append(&pieces->text, p->normalized.data + begin, end - begin, err) ||
        !pieces_push(pieces, 0, end - begin, begin < p->first, err) ||
        !pretokenizer_run(&p->tokenizer->pretokenizer, pieces, &p->spare, err))
        return false;
    for (size_t i = 0; i < pieces->count; i++) {
        const struct piece *piece = &pieces->items[i];
        if (piece->len &&
            !encode_cached(p->tokenizer, pieces->text.data + piece->begin, piece->len, p->out, err))
            return false;
    }
    return true;
}

static bool raw_stretch(
    void *context, size_t begin, size_t end, const struct added_token *token, struct error *err)
{
    struct passage *p = context;
    const struct tokenizer *t = p->tokenizer;
    if (token)
        return token_ids_push(p->out, token->id, err);
    if (begin == end)
        return true;
    p->normalized.len = 0;
    p->first = begin == 0 ? text_step(p->text[0]) : 0;
    return buffer_append(&p->normalized, p->text + begin, end - begin, err) &&
           normalizer_run(&t->normalizer, &p->normalized, &p->first, err) &&
           added_split(&t->added, &t->added.normalized, p->normalized.data, p->normalized.len,
               normalized_stretch, p, err);
}

bool pipeline_encode(
    const struct tokenizer *tokenizer, const char *text, size_t len, struct token_ids *out, struct error *err)
{
    struct passage p = {.tokenizer = tokenizer, .text = text, .out = out};
    bool ok = added_split(&tokenizer->added, &tokenizer->added.raw, text, len, raw_stretch, &p, err);
    buffer_free(&p.normalized);
    pieces_free(&p.pieces);
    pieces_free(&p.spare);
    return ok;
}

bool pipeline_decode(const struct tokenizer *t, const int32_t *ids, size_t count, bool skip_special,
    struct buffer *out, struct error *err)
{
    struct pieces tokens = {0};
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++) {
        const struct added_token *added = added_by_id(&t->added, ids[i]);
        struct token_text text = added ? (struct token_text){added->content, (uint32_t)added->len}
                                       : vocabulary_text(&t->vocabulary, ids[i]);
        if (!text.data)
            continue;
        if (skip_special && added && added->special)
            continue;
        size_t begin = tokens.text.len;
        ok = buffer_append(&tokens.text, text.data, text.len, err) &&
             pieces_push(&tokens, begin, tokens.text.len, false, err);
    }
    ok = ok && decoder_run(&t->decoder, &tokens, out, err);
    pieces_free(&tokens);
    return ok && (!t->clean_up || decoder_clean_up(out, err));
}
