/* tokenizer.json's normalizers, flattened into the order they run in. Immutable once loaded. */
#ifndef LUMIGRID_WORKER_MODEL_TOKENIZER_NORMALIZER_H
#define LUMIGRID_WORKER_MODEL_TOKENIZER_NORMALIZER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "worker/model/tokenizer/buffer.h"
#include "worker/model/tokenizer/charsmap.h"
#include "worker/model/tokenizer/pattern.h"

enum normalizer_kind {
    NORMALIZER_FORM,
    NORMALIZER_LOWERCASE,
    NORMALIZER_STRIP,
    NORMALIZER_STRIP_ACCENTS,
    NORMALIZER_REPLACE,
    NORMALIZER_PREPEND,
    NORMALIZER_NMT,
    NORMALIZER_CHARSMAP,
    NORMALIZER_BERT_CLEAN,
    NORMALIZER_BERT_CHINESE,
    NORMALIZER_BERT_ACCENTS,
    NORMALIZER_BYTE_LEVEL,
};

struct normalizer_step {
    enum normalizer_kind kind;
    int form;             /* enum unicode_form */
    bool left, right;     /* STRIP */
    struct pattern *from; /* REPLACE */
    char *text;           /* REPLACE, PREPEND */
    size_t text_len;
    struct charsmap map;
};

struct normalizer {
    struct normalizer_step *steps;
    size_t count, capacity;
};

/* `json` is the value of "normalizer": an object or null. */
bool normalizer_load(struct normalizer *normalizer, const json_t *json, struct error *err);
void normalizer_free(struct normalizer *normalizer);

/* Normalises `text` in place. *first (bytes from the start that came from the original's first character) is
 * carried along: 0 when that character was removed. */
bool normalizer_run(
    const struct normalizer *normalizer, struct buffer *text, size_t *first, struct error *err);

#endif
