/* Token strings and their ids, both ways. Immutable once filled: then any thread may read. */
#ifndef LUMIGRID_WORKER_MODEL_TOKENIZER_VOCABULARY_H
#define LUMIGRID_WORKER_MODEL_TOKENIZER_VOCABULARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

enum { VOCABULARY_ID_MAX = 1 << 24, TOKEN_BYTES_MAX = 1 << 20 };

struct token_text {
    const char *data; /* NULL: no token has this id */
    uint32_t len;
};

struct vocabulary {
    struct vocabulary_slot *slots;
    size_t slot_count; /* a power of two, or 0 */
    size_t count;      /* distinct strings */
    struct token_text *texts;
    size_t text_count; /* one past the highest id */
    size_t text_capacity;
    struct arena_block *blocks;
};

void vocabulary_free(struct vocabulary *vocabulary);

/* Adds or replaces: the string's id becomes `id`, the id's text becomes the string. Bytes are copied. */
bool vocabulary_add(
    struct vocabulary *vocabulary, const char *text, size_t len, int64_t id, struct error *err);

int32_t vocabulary_find(const struct vocabulary *vocabulary, const char *text, size_t len); /* -1: none */

/* data is NULL when no token has the id. */
struct token_text vocabulary_text(const struct vocabulary *vocabulary, int32_t id);

#endif
