/* The protobuf wire format of sentencepiece_model.proto, read by hand: the few fields that matter, all bounds
 * checked. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "worker/model/tokenizer/buffer.h"
#include "worker/model/tokenizer/sentencepiece.h"

enum { PIECES_MAX = 1 << 22 };

struct wire {
    const uint8_t *data;
    size_t len, at;
    bool bad;
};

struct field {
    uint32_t number;
    uint32_t type;    /* 0 varint, 1 fixed64, 2 bytes, 5 fixed32 */
    uint64_t value;   /* varint and fixed */
    const char *data; /* bytes */
    size_t len;
};

static uint64_t read_varint(struct wire *w)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (w->at >= w->len)
            break;
        uint8_t byte = w->data[w->at++];
        value |= (uint64_t)(byte & 0x7F) << shift;
        if (!(byte & 0x80))
            return value;
    }
    w->bad = true;
    return 0;
}

static bool next_field(struct wire *w, struct field *f)
{
    if (w->bad || w->at >= w->len)
        return false;
    uint64_t key = read_varint(w);
    *f = (struct field){.number = (uint32_t)(key >> 3), .type = (uint32_t)(key & 7)};
    uint64_t size = 0;
    switch (f->type) {
    case 0: f->value = read_varint(w); return !w->bad;
    case 1: size = 8; break;
    case 2: size = read_varint(w); break;
    case 5: size = 4; break;
    default: w->bad = true; return false;
    }
    if (w->bad || size > w->len - w->at) {
        w->bad = true;
        return false;
    }
    f->data = (const char *)w->data + w->at;
    f->len = (size_t)size;
    if (f->type != 2)
        memcpy(&f->value, f->data, f->len);
    w->at += f->len;
    return true;
}

static float as_float(const struct field *f)
{
    uint32_t bits = (uint32_t)f->value;
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static bool read_piece(struct sentencepiece *m, const struct field *message, struct error *err)
{
    struct wire w = {(const uint8_t *)message->data, message->len, 0, false};
    struct field f, piece = {0};
    float score = 0;
    uint64_t type = PIECE_NORMAL;
    while (next_field(&w, &f)) {
        if (f.number == 1 && f.type == 2)
            piece = f;
        else if (f.number == 2 && f.type == 5)
            score = as_float(&f);
        else if (f.number == 3 && f.type == 0)
            type = f.value;
    }
    if (w.bad || !piece.data || type < PIECE_NORMAL || type > PIECE_BYTE)
        return error_set(err, ERROR_INVALID, "piece %zu is malformed", m->count);
    if (isnan(score))
        return error_set(err, ERROR_INVALID, "piece %zu has a score that is no number", m->count);
    return sentencepiece_add(m, piece.data, piece.len, (double)score, (int)type, err);
}

static bool read_trainer(struct sentencepiece *m, const struct field *message, struct error *err)
{
    enum { MODEL_TYPE = 3, WHITESPACE_AS_SUFFIX = 24, BYTE_FALLBACK = 35, UNKNOWN_SURFACE = 44 };
    struct wire w = {(const uint8_t *)message->data, message->len, 0, false};
    struct field f;
    while (next_field(&w, &f)) {
        if (f.number == MODEL_TYPE && f.type == 0) {
            if (f.value != SENTENCEPIECE_UNIGRAM && f.value != SENTENCEPIECE_BPE)
                return error_set(err, ERROR_UNSUPPORTED, "its model type %u is neither unigram nor BPE",
                    (unsigned)f.value);
            m->model = (enum sentencepiece_model)f.value;
        } else if (f.number == WHITESPACE_AS_SUFFIX && f.type == 0) {
            m->whitespace_as_suffix = f.value;
        } else if (f.number == BYTE_FALLBACK && f.type == 0) {
            m->byte_fallback = f.value;
        } else if (f.number == UNKNOWN_SURFACE && f.type == 2) {
            free(m->unknown_surface);
            m->unknown_surface = strndup(f.data, f.len);
            if (!m->unknown_surface)
                return error_set(err, ERROR_MEMORY, "no memory for a tokenizer");
        }
    }
    return !w.bad || error_set(err, ERROR_INVALID, "its trainer settings are malformed");
}

static bool read_normalizer(struct sentencepiece *m, const struct field *message, struct error *err)
{
    enum { CHARSMAP = 2, DUMMY_PREFIX = 3, EXTRA_WHITESPACES = 4, ESCAPE = 5 };
    struct wire w = {(const uint8_t *)message->data, message->len, 0, false};
    struct field f;
    while (next_field(&w, &f)) {
        if (f.number == CHARSMAP && f.type == 2) {
            charsmap_free(&m->map);
            if (!charsmap_open(&m->map, f.data, f.len, err))
                return false;
        } else if (f.number == DUMMY_PREFIX && f.type == 0) {
            m->add_dummy_prefix = f.value;
        } else if (f.number == EXTRA_WHITESPACES && f.type == 0) {
            m->remove_extra_whitespaces = f.value;
        } else if (f.number == ESCAPE && f.type == 0) {
            m->escape_whitespaces = f.value;
        }
    }
    return !w.bad || error_set(err, ERROR_INVALID, "its normaliser settings are malformed");
}

static bool read_model(struct sentencepiece *m, const char *blob, size_t len, struct error *err)
{
    struct wire w = {(const uint8_t *)blob, len, 0, false};
    struct field f;
    bool ok = true;
    while (ok && next_field(&w, &f)) {
        if (f.type != 2)
            continue;
        if (f.number == 1)
            ok = read_piece(m, &f, err);
        else if (f.number == 2)
            ok = read_trainer(m, &f, err);
        else if (f.number == 3)
            ok = read_normalizer(m, &f, err);
    }
    if (ok && w.bad)
        ok =
            error_set(err, ERROR_INVALID, "it is cut or no SentencePiece model (byte %zu of %zu)", w.at, len);
    return ok;
}

bool sentencepiece_add(
    struct sentencepiece *m, const char *text, size_t len, double score, int type, struct error *err)
{
    if (m->count >= PIECES_MAX)
        return error_set(err, ERROR_TOO_LARGE, "it has more than %d pieces", PIECES_MAX);
    if (m->count == m->capacity || !m->scores) {
        size_t capacity = m->capacity ? m->capacity * 2 : 1024;
        double *scores = realloc(m->scores, capacity * sizeof(*scores));
        if (scores)
            m->scores = scores;
        uint8_t *types = realloc(m->types, capacity);
        if (types)
            m->types = types;
        if (!scores || !types)
            return error_set(err, ERROR_MEMORY, "no memory for %zu pieces", capacity);
        m->capacity = capacity;
    }
    if (!text_valid(text, len))
        return error_set(err, ERROR_INVALID, "piece %zu is no UTF-8", m->count);
    m->scores[m->count] = score;
    m->types[m->count] = (uint8_t)type;
    if (!vocabulary_add(&m->pieces, text, len, (int64_t)m->count, err))
        return false;
    m->count++;
    return true;
}

static bool index_pieces(struct sentencepiece *m, struct trie_key *keys, struct error *err)
{
    size_t symbols = 0, used = 0;
    for (size_t i = 0; i < m->count; i++) {
        struct token_text text = vocabulary_text(&m->pieces, (int32_t)i);
        if (m->types[i] == PIECE_USER_DEFINED)
            keys[symbols++] = (struct trie_key){text.data, text.len, (int32_t)i};
    }
    if (!trie_build(&m->user_symbols, keys, symbols, err))
        return false;
    for (size_t i = 0; i < m->count; i++) {
        struct token_text text = vocabulary_text(&m->pieces, (int32_t)i);
        m->user_defined[i] = m->types[i] == PIECE_USER_DEFINED;
        bool in_text = m->types[i] == PIECE_NORMAL || m->types[i] == PIECE_USER_DEFINED;
        if (m->model == SENTENCEPIECE_BPE && (in_text || m->types[i] == PIECE_UNUSED) &&
            !vocabulary_add(&m->mergeable, text.data, text.len, (int64_t)i, err))
            return false;
        if (in_text)
            keys[used++] = (struct trie_key){text.data, text.len, (int32_t)i};
    }
    return m->model == SENTENCEPIECE_BPE || trie_build(&m->unigram.trie, keys, used, err);
}

static void prepare_unigram(struct sentencepiece *m)
{
    const float unknown_penalty = 10.0F;
    float lowest = HUGE_VALF, highest = -HUGE_VALF;
    for (size_t i = 0; i < m->count; i++) {
        if (m->types[i] != PIECE_NORMAL)
            continue;
        lowest = fminf(lowest, (float)m->scores[i]);
        highest = fmaxf(highest, (float)m->scores[i]);
    }
    if (highest < lowest)
        lowest = highest = 0;
    m->unigram.flavor = UNIGRAM_SENTENCEPIECE;
    m->unigram.scores = m->scores;
    m->unigram.user_defined = m->user_defined;
    m->unigram.count = m->count;
    m->unigram.unknown = m->unknown;
    m->unigram.unknown_score = (double)(lowest - unknown_penalty);
    m->unigram.max_score = (double)highest;
    for (size_t i = 0; i < 256; i++)
        m->unigram.fallback_ids[i] = -1;
    for (size_t i = 0; i < m->count; i++) {
        struct token_text text = vocabulary_text(&m->pieces, (int32_t)i);
        if (m->types[i] == PIECE_BYTE && text.len == 6)
            m->unigram.fallback_ids[strtoul(text.data + 3, NULL, 16) & 0xFF] = (int32_t)i;
    }
}

bool sentencepiece_prepare(struct sentencepiece *m, const char *name, struct error *err)
{
    m->unknown = -1;
    for (size_t i = 0; i < m->count; i++) {
        if (m->types[i] == PIECE_UNKNOWN && m->unknown < 0)
            m->unknown = (int32_t)i;
    }
    if (m->unknown < 0) {
        error_set(err, ERROR_INVALID, "it has no unknown piece");
        return error_context(err, "%s: ", name);
    }
    struct trie_key *keys = calloc(m->count + 1, sizeof(*keys));
    m->user_defined = calloc(m->count + 1, 1);
    bool ok = keys && m->user_defined;
    if (!ok)
        error_set(err, ERROR_MEMORY, "no memory for %zu pieces", m->count);
    ok = ok && index_pieces(m, keys, err);
    free(keys);
    if (!ok)
        return error_context(err, "%s: ", name);
    prepare_unigram(m);
    return true;
}

bool sentencepiece_open(
    struct sentencepiece *model, const char *name, const char *blob, size_t len, struct error *err)
{
    *model = (struct sentencepiece){.model = SENTENCEPIECE_UNIGRAM,
        .add_dummy_prefix = true,
        .remove_extra_whitespaces = true,
        .escape_whitespaces = true};
    bool ok = read_model(model, blob, len, err) || error_context(err, "%s: ", name);
    ok = ok && sentencepiece_prepare(model, name, err);
    if (!ok)
        sentencepiece_free(model);
    return ok;
}

void sentencepiece_free(struct sentencepiece *model)
{
    vocabulary_free(&model->pieces);
    vocabulary_free(&model->mergeable);
    free(model->scores);
    free(model->types);
    free(model->user_defined);
    free(model->unknown_surface);
    charsmap_free(&model->map);
    trie_free(&model->user_symbols);
    trie_free(&model->unigram.trie);
    *model = (struct sentencepiece){0};
}
