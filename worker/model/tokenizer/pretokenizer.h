/* tokenizer.json's pre-tokenizers, flattened into the order they run in: a text becomes pieces, each of which
 * the model tokenizes by itself. Immutable once loaded. */
#ifndef LUMIGRID_WORKER_MODEL_TOKENIZER_PRETOKENIZER_H
#define LUMIGRID_WORKER_MODEL_TOKENIZER_PRETOKENIZER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "worker/model/tokenizer/buffer.h"
#include "worker/model/tokenizer/pattern.h"

enum pretokenizer_kind {
    PRETOKENIZER_PATTERN,   /* Split, and ByteLevel's own split */
    PRETOKENIZER_CLASS,     /* single characters of some classes are the matches: Punctuation, Digits, … */
    PRETOKENIZER_WORDS,     /* Whitespace: runs of word characters and runs of the rest */
    PRETOKENIZER_LENGTH,    /* FixedLength */
    PRETOKENIZER_METASPACE, /* spaces become the replacement; perhaps one in front */
    PRETOKENIZER_SPACE_FIRST, /* ByteLevel's add_prefix_space */
    PRETOKENIZER_BYTES,       /* ByteLevel's alphabet */
};

enum split_behavior { SPLIT_REMOVED, SPLIT_ISOLATED, SPLIT_PREVIOUS, SPLIT_NEXT, SPLIT_CONTIGUOUS };
enum prepend_scheme { PREPEND_NEVER, PREPEND_FIRST, PREPEND_ALWAYS };

struct pretokenizer_step {
    enum pretokenizer_kind kind;
    enum split_behavior behavior;
    bool invert;
    struct pattern *pattern;
    uint32_t classes;
    size_t length; /* characters */
    enum prepend_scheme prepend;
    char replacement[4]; /* METASPACE */
    size_t replacement_len;
};

struct pretokenizer {
    struct pretokenizer_step *steps;
    size_t count, capacity;
    bool bytes_last; /* the last step was BYTES and is left to the model */
};

/* `prefix_space`: -1, or what ByteLevel's add_prefix_space is replaced by when it is the outermost. */
bool pretokenizer_load(
    struct pretokenizer *pretokenizer, const json_t *json, int prefix_space, struct error *err);
/* Leaves the byte alphabet of a final ByteLevel to a model that can do it cheaper. */
void pretokenizer_leave_bytes(struct pretokenizer *pretokenizer);
void pretokenizer_free(struct pretokenizer *pretokenizer);

struct piece {
    size_t begin, len;
    bool first; /* starts at the original text's first character */
};

struct pieces {
    struct buffer text;
    struct piece *items;
    size_t count, capacity;
};

void pieces_free(struct pieces *pieces);
bool pieces_push(struct pieces *pieces, size_t begin, size_t end, bool first, struct error *err);

/* Splits further: `pieces` in, `pieces` out; `spare` is scratch. */
bool pretokenizer_run(
    const struct pretokenizer *pretokenizer, struct pieces *pieces, struct pieces *spare, struct error *err);

#endif
