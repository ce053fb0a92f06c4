/* Unigram language model tokenization: the best-scoring way to cut a text into pieces (Viterbi over a trie).
 * Immutable once loaded. */
#ifndef LUMIGRID_WORKER_MODEL_TOKENIZER_UNIGRAM_H
#define LUMIGRID_WORKER_MODEL_TOKENIZER_UNIGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "worker/model/tokenizer/tokenizer.h"
#include "worker/model/tokenizer/trie.h"

enum unigram_flavor {
    UNIGRAM_JSON,          /* the `tokenizers` library: scores and sums in double */
    UNIGRAM_SENTENCEPIECE, /* SentencePiece: float, user-defined pieces always win, unused ones never */
};

struct unigram {
    enum unigram_flavor flavor;
    struct trie trie;            /* SENTENCEPIECE: only pieces that a text may contain */
    const double *scores;        /* by id; borrowed */
    const uint8_t *user_defined; /* by id; borrowed; NULL: none are */
    size_t count;
    int32_t unknown;
    int32_t fallback_ids[256];
    bool byte_fallback;
    double unknown_score;
    double max_score; /* over pieces a text may contain */
};

/* One piece of the best path. */
struct unigram_span {
    size_t begin, end;
    int32_t id;
};
struct unigram_path {
    struct unigram_span *spans; /* malloc'd */
    size_t count;
};

/* The best path through well-formed text, unknown characters each by itself. ERROR_INVALID when a character
 * is unknown and there is no unknown piece. */
bool unigram_best_path(
    const struct unigram *unigram, const char *text, size_t len, struct unigram_path *out, struct error *err);

/* Appends ids; neighbouring unknowns become one, or their bytes. */
bool unigram_encode(
    const struct unigram *unigram, const char *text, size_t len, struct token_ids *out, struct error *err);

#endif
