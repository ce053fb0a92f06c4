/* WordPiece: the longest piece from the left, again and again; a word with a gap is unknown as a whole. */
#ifndef LUMIGRID_WORKER_MODEL_TOKENIZER_WORDPIECE_H
#define LUMIGRID_WORKER_MODEL_TOKENIZER_WORDPIECE_H

#include "worker/model/tokenizer/tokenizer.h"
#include "worker/model/tokenizer/vocabulary.h"

struct wordpiece {
    const struct vocabulary *vocabulary; /* borrowed */
    int32_t unknown;
    char *prefix; /* continuing_subword_prefix; owned */
    size_t max_characters;
};

bool wordpiece_encode(const struct wordpiece *wordpiece, const char *word, size_t len, struct token_ids *out,
    struct error *err);

#endif
