#include "worker/model/tokenizer/slow.h"

#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "worker/model/tokenizer/byte_level.h"
#include "worker/model/tokenizer/known_patterns.h"
#include "worker/model/tokenizer/postprocessor.h"
#include "worker/model/tokenizer/unicode.h"

#define SPACE "\xE2\x96\x81" /* U+2581 */
enum { SPACE_BYTES = 3 };

void slow_free(struct slow *slow)
{
    if (!slow)
        return;
    if (slow->source) {
        sentencepiece_free(slow->source);
        free(slow->source);
    }
    if (slow->target) {
        sentencepiece_free(slow->target);
        free(slow->target);
    }
    trie_free(&slow->added);
    free(slow);
}

/* Byte-level BPE: GPT-2's words, each through the cache. */
static bool encode_bytes(
    const struct tokenizer *t, const char *text, size_t len, struct token_ids *out, struct error *err)
{
    for (size_t at = 0; at < len;) {
        size_t end = known_match_gpt2_python(text, len, at), slot, before = out->count;
        enum word_cache_result cached = word_cache_get(&t->cache, text + at, end - at, &slot, out, err);
        if (cached == WORD_CACHE_ERROR)
            return false;
        if (cached == WORD_CACHE_MISS) {
            if (!bpe_encode(&t->bpe, text + at, end - at, out, err))
                return false;
            word_cache_keep(&t->cache, slot, text + at, end - at, out->ids + before, out->count - before);
        }
        at = end;
    }
    return true;
}

/* Receives SentencePiece's pieces and turns them into the model's ids. */
struct collector {
    const struct tokenizer *tokenizer;
    struct token_ids *out;
    size_t skip; /* pieces left out at the front */
    size_t seen;
    bool underline_first; /* the first piece kept is U+2581 alone */
};

static int32_t model_id(const struct tokenizer *t, const char *piece, size_t len, int32_t id)
{
    const struct slow *slow = t->slow;
    const struct added_token *added =
        id == slow->source->unknown ? added_by_content(&t->added, piece, len) : NULL;
    if (added)
        return added->id;
    switch (slow->ids) {
    case SLOW_IDS_SAME: return id;
    case SLOW_IDS_FAIRSEQ: return id ? id + 1 : slow->unknown;
    case SLOW_IDS_OFFSET: return id + slow->offset;
    case SLOW_IDS_VOCABULARY: break;
    }
    int32_t found = vocabulary_find(&t->vocabulary, piece, len);
    return found < 0 ? slow->unknown : found;
}

static bool collect(void *context, const char *piece, size_t len, int32_t id, struct error *err)
{
    struct collector *c = context;
    if (c->seen++ < c->skip)
        return true;
    if (c->seen == c->skip + 1)
        c->underline_first = len == SPACE_BYTES && memcmp(piece, SPACE, SPACE_BYTES) == 0;
    return token_ids_push(c->out, model_id(c->tokenizer, piece, len, id), err);
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

static bool encode_behind_space(const struct sentencepiece *model, const char *text, size_t len,
    struct collector *collector, struct error *err)
{
    struct buffer spaced = {0};
    bool ok = buffer_append(&spaced, " ", 1, err) && buffer_append(&spaced, text, len, err) &&
              sentencepiece_encode(model, spaced.data, spaced.len, collect, collector, err);
    buffer_free(&spaced);
    return ok;
}

/* Behind the unknown token's own spelling a leading space survives SentencePiece's normaliser; those pieces
 * are then left out again. */
static bool encode_after_unknown(const struct sentencepiece *model, const struct tokenizer *t,
    const char *text, size_t len, struct collector *collector, struct error *err)
{
    struct buffer whole = {0};
    size_t total = 0;
    const char *unknown = t->special[SPECIAL_UNK] ? t->special[SPECIAL_UNK] : "<unk>";
    bool ok = buffer_append_string(&whole, unknown, err) && buffer_append(&whole, text, len, err) &&
              sentencepiece_encode(model, whole.data, whole.len, count_piece, &total, err);
    collector->skip = total >= t->slow->unknown_pieces ? t->slow->unknown_pieces : 0;
    ok = ok && sentencepiece_encode(model, whole.data, whole.len, collect, collector, err);
    buffer_free(&whole);
    return ok;
}

static bool encode_pieces(const struct tokenizer *t, const char *text, size_t len, bool target,
    bool *underline_first, struct token_ids *out, struct error *err)
{
    const struct slow *slow = t->slow;
    const struct sentencepiece *model = target && slow->target ? slow->target : slow->source;
    struct collector collector = {.tokenizer = t, .out = out};
    bool ok;
    if (slow->language_code && len > 2 && memcmp(text, ">>", 2) == 0) {
        const char *end = memmem(text, len, "<<", 2);
        if (end) {
            size_t code = (size_t)(end - text) + 2;
            int32_t id = vocabulary_find(&t->vocabulary, text, code);
            if (!token_ids_push(out, id < 0 ? slow->unknown : id, err))
                return false;
            text += code;
            len -= code;
        }
    }
    bool spaced = len && (text[0] == ' ' || (len >= SPACE_BYTES && memcmp(text, SPACE, SPACE_BYTES) == 0));
    if (slow->modern && spaced)
        ok = encode_after_unknown(model, t, text, len, &collector, err);
    else if (slow->space_after_special)
        ok = encode_behind_space(model, text, len, &collector, err);
    else
        ok = sentencepiece_encode(model, text, len, collect, &collector, err);
    *underline_first = collector.underline_first;
    return ok;
}

static bool encode_stretches(const struct tokenizer *t, const char *text, size_t len, bool target,
    struct token_ids *out, struct error *err)
{
    struct slow_stretches list = {0};
    bool ok = slow_split(t, text, len, &list, err);
    size_t before = out->count;
    bool underline_first = false, second_special = false;
    for (size_t i = 0; ok && i < list.count; i++) {
        const struct slow_stretch *s = &list.items[i];
        size_t count = out->count - before;
        bool underline = false;
        if (s->begin == s->end)
            continue;
        if (s->token) {
            second_special = second_special || (count == 1 && s->token->special);
            ok = token_ids_push(out, s->token->id, err);
            continue;
        }
        const char *part = text + s->begin;
        size_t part_len = s->end - s->begin;
        if (t->slow->text == SLOW_BYTE_BPE)
            ok = encode_bytes(t, part, part_len, out, err);
        else if (t->slow->text == SLOW_WORDPIECE)
            ok = slow_bert_encode(t, part, part_len, out, err);
        else
            ok = encode_pieces(t, part, part_len, target, &underline, out, err);
        underline_first = underline_first || (count == 0 && underline);
    }
    free(list.items);
    /* The space that was put in front goes again when a special token follows at once. */
    if (ok && t->slow->modern && underline_first && second_special) {
        memmove(out->ids + before, out->ids + before + 1, (out->count - before - 1) * sizeof(int32_t));
        out->count--;
    }
    return ok;
}

/* What the class does to the text before anything else. */
static bool prepare(
    const struct tokenizer *t, const char *text, size_t len, struct buffer *out, struct error *err)
{
    const struct slow *slow = t->slow;
    uint32_t c;
    if (slow->modern) {
        if (slow->add_prefix_space && !buffer_append(out, SPACE, SPACE_BYTES, err))
            return false;
        for (size_t i = 0; i < len;) {
            bool space = len - i >= SPACE_BYTES && memcmp(text + i, SPACE, SPACE_BYTES) == 0;
            if (!buffer_append(out, space ? " " : text + i, 1, err))
                return false;
            i += space ? SPACE_BYTES : 1;
        }
        return true;
    }
    if (slow->text == SLOW_BYTE_BPE && slow->add_prefix_space) {
        text_decode(text, len, &c);
        if (!unicode_is(c, CLASS_PYTHON_SPACE) && !buffer_append(out, " ", 1, err))
            return false;
    }
    if (slow->lowercase)
        return slow_lower(t, text, len, out, err);
    return buffer_append(out, text, len, err);
}

bool slow_encode(const struct tokenizer *tokenizer, const char *text, size_t len, bool target,
    struct token_ids *out, struct error *err)
{
    if (!len)
        return true;
    struct buffer prepared = {0};
    bool ok = prepare(tokenizer, text, len, &prepared, err) &&
              encode_stretches(tokenizer, prepared.data, prepared.len, target, out, err);
    buffer_free(&prepared);
    return ok;
}

bool slow_around(const struct tokenizer *t, const struct token_ids *around, const struct token_ids *ids,
    struct token_ids *out, struct error *err)
{
    bool ended = t->slow && t->slow->end_once && ids->count && around->count &&
                 ids->ids[ids->count - 1] == around->ids[around->count - 1];
    struct token_ids items = *around;
    items.count -= ended;
    return postprocessor_run(&items, ids, out, err);
}
