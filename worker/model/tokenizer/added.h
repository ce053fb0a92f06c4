/* Added tokens: strings that are found in a text before anything else happens to it. Immutable once built. */
#ifndef LUMIGRID_WORKER_MODEL_TOKENIZER_ADDED_H
#define LUMIGRID_WORKER_MODEL_TOKENIZER_ADDED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "worker/model/tokenizer/normalizer.h"
#include "worker/model/tokenizer/trie.h"

struct added_token {
    char *content;
    size_t len;
    int32_t id;
    bool single_word, lstrip, rstrip, normalized, special;
};

struct added {
    struct added_token *tokens;
    size_t count, capacity;
    int32_t *by_id; /* index into tokens by id, -1: not an added token */
    size_t by_id_count;
    struct trie raw;        /* tokens matched in the original text */
    struct trie normalized; /* tokens matched, normalised, in the normalised text */
};

void added_free(struct added *added);
/* Adds, or replaces the token with the same content. */
bool added_push(
    struct added *added, const char *content, size_t len, struct added_token flags, struct error *err);
const struct added_token *added_by_content(const struct added *added, const char *content, size_t len);
const struct added_token *added_by_id(const struct added *added, int32_t id); /* NULL: none */

/* Builds the tries; `normalizer` may be NULL. */
bool added_build(struct added *added, const struct normalizer *normalizer, struct error *err);

/* Calls `each` for every stretch of text in order: token NULL for ordinary text. Stretches may be empty. */
typedef bool (*added_each)(
    void *context, size_t begin, size_t end, const struct added_token *token, struct error *err);
bool added_split(const struct added *added, const struct trie *trie, const char *text, size_t len,
    added_each each, void *context, struct error *err);

#endif
