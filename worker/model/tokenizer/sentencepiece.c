#include "worker/model/tokenizer/sentencepiece.h"

#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "worker/model/tokenizer/merge.h"

#define SPACE "\xE2\x96\x81" /* U+2581 */
enum { SPACE_BYTES = 3 };

/* What the text's next characters become; returns how many bytes they are. */
static size_t normalize_prefix(
    const struct sentencepiece *m, const char *text, size_t len, const char **to, size_t *to_len)
{
    size_t used = 0;
    if (m->user_symbols.count > 1 && trie_longest(&m->user_symbols, text, len, &used) >= 0) {
        *to = text;
        *to_len = used;
        return used;
    }
    used = charsmap_longest(&m->map, text, len, to, to_len);
    if (!used) {
        used = text_step(text[0]);
        *to = text;
        *to_len = used;
    }
    return used;
}

static bool append_escaped(
    const struct sentencepiece *m, struct buffer *out, const char *text, size_t len, struct error *err)
{
    for (size_t i = 0; i < len; i++) {
        bool ok = text[i] == ' ' && m->escape_whitespaces ? buffer_append(out, SPACE, SPACE_BYTES, err)
                                                          : buffer_append(out, text + i, 1, err);
        if (!ok)
            return false;
    }
    return true;
}

static bool ends_with(const struct buffer *text, const char *end, size_t len)
{
    return text->len >= len && memcmp(text->data + text->len - len, end, len) == 0;
}

static size_t skip_heading_spaces(const struct sentencepiece *m, const char *text, size_t len)
{
    size_t at = 0;
    while (at < len) {
        const char *to;
        size_t to_len;
        size_t used = normalize_prefix(m, text + at, len - at, &to, &to_len);
        if (to_len != 1 || to[0] != ' ')
            break;
        at += used;
    }
    return at;
}

static bool normalize(
    const struct sentencepiece *m, const char *text, size_t len, struct buffer *out, struct error *err)
{
    const char *space = m->escape_whitespaces ? SPACE : " ";
    size_t space_len = strlen(space);
    size_t at = m->remove_extra_whitespaces ? skip_heading_spaces(m, text, len) : 0;
    if (at == len)
        return true;
    if (!m->whitespace_as_suffix && m->add_dummy_prefix && !buffer_append(out, space, space_len, err))
        return false;
    bool after_space = m->remove_extra_whitespaces;
    while (at < len) {
        const char *to;
        size_t to_len;
        at += normalize_prefix(m, text + at, len - at, &to, &to_len);
        for (; after_space && to_len && *to == ' '; to_len--)
            to++;
        if (to_len) {
            if (!append_escaped(m, out, to, to_len, err))
                return false;
            after_space = to[to_len - 1] == ' ';
        }
        after_space = after_space && m->remove_extra_whitespaces;
    }
    while (m->remove_extra_whitespaces && ends_with(out, space, space_len))
        out->len -= space_len;
    return !m->whitespace_as_suffix || !m->add_dummy_prefix || buffer_append(out, space, space_len, err);
}

int32_t sentencepiece_find(const struct sentencepiece *model, const char *piece, size_t len)
{
    int32_t id = vocabulary_find(&model->pieces, piece, len);
    return id < 0 ? model->unknown : id;
}

/* Hands pieces on; neighbouring unknowns become one, or bytes. */
struct emitter {
    const struct sentencepiece *model;
    const char *text;
    size_t unknown_begin, unknown_end; /* equal: none waits */
    sentencepiece_each each;
    void *context;
    struct error *err;
};

static bool emit_unknown(struct emitter *e)
{
    const struct sentencepiece *m = e->model;
    size_t begin = e->unknown_begin, end = e->unknown_end;
    e->unknown_begin = e->unknown_end = 0;
    if (begin == end)
        return true;
    if (!m->byte_fallback)
        return e->each(e->context, e->text + begin, end - begin,
            sentencepiece_find(m, e->text + begin, end - begin), e->err);
    for (size_t i = begin; i < end; i++) {
        int32_t id = m->unigram.fallback_ids[(uint8_t)e->text[i]];
        struct token_text name = vocabulary_text(&m->pieces, id < 0 ? m->unknown : id);
        if (!e->each(e->context, name.data, name.len, id < 0 ? m->unknown : id, e->err))
            return false;
    }
    return true;
}

static bool emit(struct emitter *e, size_t begin, size_t end, int32_t id)
{
    if (id == e->model->unknown) {
        if (e->unknown_begin == e->unknown_end)
            e->unknown_begin = begin;
        e->unknown_end = end;
        return true;
    }
    return emit_unknown(e) && e->each(e->context, e->text + begin, end - begin, id, e->err);
}

static bool encode_unigram(struct emitter *e, size_t len)
{
    struct unigram_path path;
    if (!unigram_best_path(&e->model->unigram, e->text, len, &path, e->err))
        return false;
    bool ok = true;
    for (size_t i = 0; ok && i < path.count; i++)
        ok = emit(e, path.spans[i].begin, path.spans[i].end, path.spans[i].id);
    free(path.spans);
    return ok && emit_unknown(e);
}

struct bpe_context {
    const struct sentencepiece *model;
    const char *text;
};

/* A pair merges when its text is a piece; the piece's score is the order. User-defined symbols never merge.
 */
static bool find_merge(const void *context, const struct merge_symbol *left, const struct merge_symbol *right,
    struct merge_found *out)
{
    const struct bpe_context *c = context;
    const uint8_t *user = c->model->user_defined;
    if ((left->id >= 0 && user[left->id]) || (right->id >= 0 && user[right->id]))
        return false;
    int32_t id = vocabulary_find(&c->model->mergeable, c->text + left->begin, left->len + right->len);
    if (id < 0)
        return false;
    out->order = -c->model->scores[id];
    out->id = id;
    return true;
}

/* An unused piece may appear on the way but not in the result: it is cut back into the halves it was made of,
 * by the best-scoring cut, as a merge would have made it. */
static bool emit_merged(struct emitter *e, size_t begin, size_t end, int depth)
{
    const struct sentencepiece *m = e->model;
    enum { DEPTH_MAX = 100 };
    int32_t id = sentencepiece_find(m, e->text + begin, end - begin);
    size_t best = 0;
    if (m->types[id] == PIECE_UNUSED && depth < DEPTH_MAX) {
        double best_score = 0;
        for (size_t cut = begin + text_step(e->text[begin]); cut < end; cut += text_step(e->text[cut])) {
            int32_t a = vocabulary_find(&m->mergeable, e->text + begin, cut - begin);
            int32_t b = vocabulary_find(&m->mergeable, e->text + cut, end - cut);
            if (a < 0 || b < 0)
                continue;
            double score = m->scores[a] < m->scores[b] ? m->scores[a] : m->scores[b];
            if (!best || score > best_score) {
                best = cut;
                best_score = score;
            }
        }
    }
    if (!best)
        return emit(e, begin, end, id);
    return emit_merged(e, begin, best, depth + 1) && emit_merged(e, best, end, depth + 1);
}

static bool encode_bpe(struct emitter *e, size_t len)
{
    const struct sentencepiece *m = e->model;
    struct merge_list list = {0};
    struct bpe_context context = {m, e->text};
    bool ok = len < UINT32_MAX || error_set(e->err, ERROR_TOO_LARGE, "a text of %zu bytes is too long", len);
    for (size_t at = 0; ok && at < len;) {
        size_t step = 0;
        int32_t id =
            m->user_symbols.count > 1 ? trie_longest(&m->user_symbols, e->text + at, len - at, &step) : -1;
        if (id < 0) {
            step = text_step(e->text[at]);
            id = vocabulary_find(&m->mergeable, e->text + at, step);
        }
        ok = merge_list_push(&list, id, (uint32_t)step, e->err);
        at += step;
    }
    ok = ok && merge_list_run(&list, find_merge, &context, e->err);
    for (size_t i = 0; ok && i < list.count; i++) {
        const struct merge_symbol *s = &list.symbols[i];
        if (s->len)
            ok = emit_merged(e, s->begin, (size_t)s->begin + s->len, 0);
    }
    merge_list_free(&list);
    return ok && emit_unknown(e);
}

bool sentencepiece_encode(const struct sentencepiece *model, const char *text, size_t len,
    sentencepiece_each each, void *context, struct error *err)
{
    struct buffer normalized = {0};
    bool ok = normalize(model, text, len, &normalized, err);
    struct emitter emitter = {
        .model = model, .text = normalized.data, .each = each, .context = context, .err = err};
    if (ok && normalized.len)
        ok = model->model == SENTENCEPIECE_BPE ? encode_bpe(&emitter, normalized.len)
                                               : encode_unigram(&emitter, normalized.len);
    buffer_free(&normalized);
    return ok;
}

/* Bytes of characters; what is no UTF-8 becomes one U+FFFD a byte. */
static bool flush_bytes(struct sentencepiece_decoder *d, struct error *err)
{
    for (size_t i = 0; i < d->bytes.len;) {
        uint32_t c;
        size_t step = text_decode(d->bytes.data + i, d->bytes.len - i, &c);
        bool genuine = c != TEXT_REPLACEMENT || (step == 3 && d->bytes.data[i] == '\xEF');
        if (!buffer_append_code_point(&d->text, c, err))
            return false;
        i += genuine ? step : 1;
    }
    d->bytes.len = 0;
    return true;
}

bool sentencepiece_decode_piece(
    struct sentencepiece_decoder *d, const char *piece, size_t len, struct error *err)
{
    const struct sentencepiece *m = d->model;
    int32_t id = sentencepiece_find(m, piece, len);
    if (m->types[id] == PIECE_BYTE && len == 6) {
        char byte = (char)strtoul(piece + 3, NULL, 16);
        return buffer_append(&d->bytes, &byte, 1, err);
    }
    if (!flush_bytes(d, err))
        return false;
    bool at_start = !d->space_seen && !d->text.len;
    d->space_seen = false;
    if (m->types[id] == PIECE_CONTROL)
        return true;
    struct token_text name = vocabulary_text(&m->pieces, id);
    if (id == m->unknown) {
        if (name.len == len && memcmp(name.data, piece, len) == 0)
            return buffer_append_string(
                &d->text, m->unknown_surface ? m->unknown_surface : " \xE2\x81\x87 ", err);
        return buffer_append(&d->text, piece, len, err);
    }
    if (at_start && (m->add_dummy_prefix || m->remove_extra_whitespaces) && len >= SPACE_BYTES &&
        memcmp(piece, SPACE, SPACE_BYTES) == 0) {
        piece += SPACE_BYTES;
        len -= SPACE_BYTES;
        d->space_seen = !m->remove_extra_whitespaces;
    }
    for (size_t i = 0; i < len;) {
        bool space = len - i >= SPACE_BYTES && memcmp(piece + i, SPACE, SPACE_BYTES) == 0;
        if (!buffer_append(&d->text, space ? " " : piece + i, 1, err))
            return false;
        i += space ? SPACE_BYTES : 1;
    }
    return true;
}

bool sentencepiece_decode_end(struct sentencepiece_decoder *d, struct error *err)
{
    return flush_bytes(d, err);
}
