/* tokenizer.json's decoders: from token strings to text. Immutable once loaded. */
#ifndef LUMIGRID_WORKER_MODEL_TOKENIZER_DECODER_H
#define LUMIGRID_WORKER_MODEL_TOKENIZER_DECODER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "worker/model/tokenizer/pattern.h"
#include "worker/model/tokenizer/pretokenizer.h"

enum decoder_kind {
    DECODER_BYTE_LEVEL,
    DECODER_METASPACE,
    DECODER_WORDPIECE,
    DECODER_BYTE_FALLBACK,
    DECODER_REPLACE,
    DECODER_FUSE,
    DECODER_STRIP,
    DECODER_SUFFIX, /* BPEDecoder */
};

struct decoder_step {
    enum decoder_kind kind;
    struct pattern *from;
    char *
        text; /* REPLACE: what with; WORDPIECE: the prefix; METASPACE, STRIP: the character; SUFFIX: itself */
    size_t text_len;
    size_t start, stop; /* STRIP */
    bool flag;          /* WORDPIECE: clean up; METASPACE: the first token loses its replacement */
};

struct decoder {
    struct decoder_step *steps;
    size_t count, capacity;
    bool present; /* without a decoder tokens are joined by spaces */
};

bool decoder_load(struct decoder *decoder, const json_t *json, struct error *err);
void decoder_free(struct decoder *decoder);

/* `tokens` holds one item a token; the text is appended to `out`. */
bool decoder_run(const struct decoder *decoder, struct pieces *tokens, struct buffer *out, struct error *err);

/* transformers' clean_up_tokenization: " ." becomes "." and the like, in place. */
bool decoder_clean_up(struct buffer *text, struct error *err);

#endif
