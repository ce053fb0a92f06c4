/* SentencePiece models (spiece.model, tokenizer.model, source.spm, …): a protobuf of pieces with scores, a
 * character map, and a few switches. Unigram and BPE. Immutable once open.
 *
 * Facts about the format: sentencepiece_model.proto of the reference. */
#ifndef LUMIGRID_WORKER_MODEL_TOKENIZER_SENTENCEPIECE_H
#define LUMIGRID_WORKER_MODEL_TOKENIZER_SENTENCEPIECE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "worker/model/tokenizer/buffer.h"
#include "worker/model/tokenizer/charsmap.h"
#include "worker/model/tokenizer/unigram.h"
#include "worker/model/tokenizer/vocabulary.h"

enum piece_type {
    PIECE_NORMAL = 1,
    PIECE_UNKNOWN,
    PIECE_CONTROL,
    PIECE_USER_DEFINED,
    PIECE_UNUSED,
    PIECE_BYTE
};
enum sentencepiece_model { SENTENCEPIECE_UNIGRAM = 1, SENTENCEPIECE_BPE = 2 };

struct sentencepiece {
    struct vocabulary pieces;    /* every piece by id */
    struct vocabulary mergeable; /* BPE: those a text may contain */
    double *scores;
    uint8_t *types;
    uint8_t *user_defined;
    size_t count, capacity;
    enum sentencepiece_model model;
    int32_t unknown;
    bool byte_fallback;
    bool add_dummy_prefix, remove_extra_whitespaces, escape_whitespaces, whitespace_as_suffix;
    char *unknown_surface; /* what an unknown id decodes to */
    struct charsmap map;
    struct trie user_symbols; /* never normalised, never cut */
    struct unigram unigram;
};

/* Parses `blob` (borrowed until this returns). `name` is for messages. */
bool sentencepiece_open(
    struct sentencepiece *model, const char *name, const char *blob, size_t len, struct error *err);
void sentencepiece_free(struct sentencepiece *model);

/* For makers other than the file: add pieces in id order, then prepare. */
bool sentencepiece_add(
    struct sentencepiece *model, const char *text, size_t len, double score, int type, struct error *err);
bool sentencepiece_prepare(struct sentencepiece *model, const char *name, struct error *err);

/* Calls `each` for every piece of well-formed text: its spelling and id (a byte's, when an unknown falls
 * back). */
typedef bool (*sentencepiece_each)(
    void *context, const char *piece, size_t len, int32_t id, struct error *err);
bool sentencepiece_encode(const struct sentencepiece *model, const char *text, size_t len,
    sentencepiece_each each, void *context, struct error *err);

/* The id of a piece's spelling; the unknown id when there is none. */
int32_t sentencepiece_find(const struct sentencepiece *model, const char *piece, size_t len);

/* Appends the text of pieces, given by spelling, as the reference's DecodePieces. */
struct sentencepiece_decoder {
    const struct sentencepiece *model;
    struct buffer text;
    struct buffer bytes; /* byte pieces that wait for the end of their character */
    bool space_seen;
};
bool sentencepiece_decode_piece(
    struct sentencepiece_decoder *decoder, const char *piece, size_t len, struct error *err);
bool sentencepiece_decode_end(struct sentencepiece_decoder *decoder, struct error *err);

#endif
